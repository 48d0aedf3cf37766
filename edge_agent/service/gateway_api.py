"""The routes by which people look behind the plant: sources, outbox.

docs/http.md shows each with the fields of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.ops.routes import READ, Route
from edge_agent.service import schemas

if TYPE_CHECKING:
    from collections.abc import Callable

_SOURCES: Final = schemas.list_of(
    schemas.object_of(
        "name", "type", "state", "rate", "lag_s", name=schemas.TEXT, rate=schemas.MAYBE
    )
)
_OUTBOX: Final = schemas.list_of(
    schemas.object_of(
        "sink", "rows", "oldest_s", "refused_messages", sink=schemas.TEXT, rows=schemas.WHOLE
    )
)


class GatewayProvider(Protocol):
    """What knows how values come in and how messages go out."""

    @property
    def sources(self) -> Callable[[], list[dict[str, Any]]]:
        """Rates, lags, clocks and bad signals, by source."""

    @property
    def outbox(self) -> Callable[[], list[dict[str, Any]]]:
        """What waits and what is refused, by sink."""


def gateway_routes(gateway: GatewayProvider) -> list[Route]:
    """The table of sources and the outbox."""
    return [
        Route(
            "GET",
            "/api/sources",
            lambda _: gateway.sources(),
            READ,
            summary="Sources: rates, lags, clocks, bad signals",
            answer=_SOURCES,
        ),
        Route(
            "GET",
            "/api/outbox",
            lambda _: gateway.outbox(),
            READ,
            summary="What waits for each sink, and what it refuses",
            answer=_OUTBOX,
        ),
    ]
