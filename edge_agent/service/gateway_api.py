"""The routes by which people look behind the plant: sources and their tags, outbox, config, doctor.

docs/http.md shows each with the fields of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from edge_agent.ops.routes import (
    ADMIN,
    COMMAND,
    READ,
    Parameter,
    Request,
    Route,
    choice,
    number,
    text,
)
from edge_agent.service import schemas
from edge_agent.service.command_body import parse_doctor, parse_tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

MAX_LINES: Final = 5000  # of the config, in one answer
_DEFAULT_LINES: Final = 1000
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
_ROWS: Final = schemas.list_of(schemas.FREE)
_CONFIG: Final = schemas.object_of(
    "disk", "total", "lines", disk=schemas.TEXT, total=schemas.WHOLE, lines=_ROWS
)
_TAKES_TAGS: Final = schemas.object_of(
    "by", by=schemas.BY, pattern={"type": "string", "maxLength": 256}
)
_TAGS: Final = schemas.object_of("source", "type", "tags", "stopped", tags=_ROWS)
_TAKES_DOCTOR: Final = schemas.object_of("by", by=schemas.BY)
_DOCTOR: Final = schemas.object_of("ok", "findings", ok=schemas.FLAG, findings=_ROWS)
_WHICH: Final = ("all", "set")


class ConfigQuestion(NamedTuple):
    """Which lines of the config; search: part of key, value or file; is_set_only: no defaults."""

    search: str = ""
    is_set_only: bool = False
    offset: int = 0
    limit: int = MAX_LINES


class TagQuestion(NamedTuple):
    """Which tags of a source; pattern: of a path or address, or a topic filter; empty: all."""

    source: str
    pattern: str
    actor: str


class GatewayProvider(Protocol):
    """What knows how values come in, how messages go out, and what is configured.

    What is asynchronous runs on the loop of the server.
    """

    @property
    def sources(self) -> Callable[[], list[dict[str, Any]]]:
        """Rates, lags, clocks and bad signals, by source."""

    @property
    def outbox(self) -> Callable[[], list[dict[str, Any]]]:
        """What waits and what is refused, by sink."""

    @property
    def config(self) -> Callable[[ConfigQuestion], Awaitable[dict[str, Any]]]:
        """The config as it is in use, without any secret."""

    @property
    def tags(self) -> Callable[[TagQuestion], Awaitable[dict[str, Any]]]:
        """The nodes of a server, or the topics heard for some seconds; only reads."""

    @property
    def doctor(self) -> Callable[[str], Awaitable[dict[str, Any]]]:
        """What `edge-agent doctor` finds."""


def gateway_routes(gateway: GatewayProvider) -> list[Route]:
    """The table of sources, outbox, config and doctor."""

    async def config(request: Request) -> dict[str, Any]:
        asked = request.query
        search = (asked["search"] or "").casefold()
        is_set_only = asked["only"] == "set"
        wanted = ConfigQuestion(search, is_set_only, asked["offset"], asked["limit"])
        return await gateway.config(wanted)

    async def tags(request: Request) -> dict[str, Any]:
        by, pattern = request.body
        actor = request.client.actor(by)
        return await gateway.tags(TagQuestion(request.parts["name"], pattern, actor))

    async def doctor(request: Request) -> dict[str, Any]:
        return await gateway.doctor(request.client.actor(request.body))

    lines: Mapping[str, Parameter] = {
        "search": text(),
        "only": choice(_WHICH, "only: all or set"),
        "offset": number(1_000_000, 0),
        "limit": number(MAX_LINES, _DEFAULT_LINES),
    }
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
            "POST",
            "/api/sources/{name}/tags",
            tags,
            COMMAND,
            parse=lambda body, _: parse_tags(body),
            summary="The nodes of an OPC UA server, or the topics heard on a broker",
            takes=_TAKES_TAGS,
            answer=_TAGS,
            is_apart=True,
        ),
        Route(
            "GET",
            "/api/outbox",
            lambda _: gateway.outbox(),
            READ,
            summary="What waits for each sink, and what it refuses",
            answer=_OUTBOX,
        ),
        Route(
            "GET",
            "/api/config",
            config,
            ADMIN,
            query=lines,
            summary="The config in use, without secrets, with the place of each key",
            answer=_CONFIG,
            is_apart=True,
        ),
        Route(
            "POST",
            "/api/doctor",
            doctor,
            ADMIN,
            parse=lambda body, _: parse_doctor(body),
            summary="What is wrong with this gateway, as `edge-agent doctor` finds it",
            takes=_TAKES_DOCTOR,
            answer=_DOCTOR,
            is_apart=True,
        ),
    ]
