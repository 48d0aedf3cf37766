"""What the API and the page show of the outbox: by sink what waits, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_MS

if TYPE_CHECKING:
    from edge_agent.delivery import Publisher

MAX_REFUSED: Final = 50  # messages that a row names; `refused` counts all


def outbox_rows(publisher: Publisher) -> list[dict[str, Any]]:
    """One row for each sink; what waits is as of the last second."""
    return [row | _of_sink(publisher, row["sink"]) for row in publisher.stats()]


def _of_sink(publisher: Publisher, name: str) -> dict[str, Any]:
    link, refusals = publisher.sinks[name].link, publisher.refusals(name)
    return {
        "state": link.state,
        "detail": link.detail,
        "since_ms": link.since_us // US_PER_MS,
        "last_error": refusals.last_error,
        "last_error_ms": refusals.last_error_us // US_PER_MS or None,
        "refused_messages": refusals.rows(MAX_REFUSED),
    }
