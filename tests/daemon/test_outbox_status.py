"""What is shown of the outbox: what waits joined with the link and with what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from edge_agent.daemon.outbox_status import MAX_REFUSED, outbox_rows
from edge_agent.messages import Link, LinkState


def test_a_row_says_what_waits_and_why() -> None:
    """A sink that never failed has no time of its last error."""
    refusals = {
        "bus": SimpleNamespace(last_error="", last_error_us=0, rows=lambda limit: [limit]),
        "cmms": SimpleNamespace(last_error="503", last_error_us=5_000_000, rows=lambda _: []),
    }
    down = Link(LinkState.DOWN, "https://cmms: 503", 1_000_000)
    publisher: Any = SimpleNamespace(
        stats=lambda: [{"sink": "bus", "rows": 0}, {"sink": "cmms", "rows": 3}],
        sinks={
            "bus": SimpleNamespace(link=Link(LinkState.UP)),
            "cmms": SimpleNamespace(link=down),
        },
        refusals=refusals.__getitem__,
    )
    bus, cmms = outbox_rows(publisher)
    assert (bus["last_error_ms"], bus["refused_messages"]) == (None, [MAX_REFUSED])
    assert cmms == {
        "sink": "cmms",
        "rows": 3,
        "state": "down",
        "detail": "https://cmms: 503",
        "since_ms": 1000,
        "last_error": "503",
        "last_error_ms": 5000,
        "refused_messages": [],
    }
