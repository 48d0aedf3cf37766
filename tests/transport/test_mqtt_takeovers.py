"""Two clients of one id are noticed by the lives of connections, and named."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.messages import Link
from edge_agent.transport.mqtt import takeover
from edge_agent.transport.mqtt.takeover import Takeovers
from edge_agent.transport.mqtt.wire import OWN_END

QUESTION = "does another client use client_id edge-agent-x?"


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def takeovers(link: Link) -> Takeovers:
    return Takeovers("bus", "edge-agent-x", link)


def test_several_short_lives_in_a_row_ask_for_the_client_id(
    takeovers: Takeovers, link: Link
) -> None:
    """mosquitto 2.0 hangs up without a word; one broken connection says nothing yet."""
    for _ in range(2):
        assert takeovers.count_end("closed by the broker", 1.5) == "closed by the broker"
    assert takeovers.count_end("closed by the broker", 3.0) == f"closed by the broker ({QUESTION})"
    fault = link.faults["client_id.bus"]
    assert fault.text == f"bus: connections end within seconds: {QUESTION}"
    takeovers.clear_suspicion()
    assert link.faults == {}


def test_a_broker_that_says_so_is_believed_at_once(takeovers: Takeovers, link: Link) -> None:
    """MQTT 5, 3.14.2.1: 0x8E, whatever time the connection had lasted."""
    reason = takeovers.count_end("the broker's reason: Session taken over", 3600)
    assert QUESTION in reason
    assert "client_id.bus" in link.faults


def test_connections_that_last_are_no_suspicion(takeovers: Takeovers, link: Link) -> None:
    for lived_s in (1, 1, 40, 1, 1, 600):
        assert QUESTION not in takeovers.count_end("closed by the broker", lived_s)
    assert link.faults == {}


def test_a_broker_that_is_away_in_between_throws_nobody_out(
    takeovers: Takeovers, link: Link
) -> None:
    """A line that flaps every few seconds is no second client: the other one would be connected."""
    for _ in range(10):
        assert QUESTION not in takeovers.count_end("closed by the broker", 4)
        takeovers.forget_short_connections()
    assert link.faults == {}


def test_a_broker_that_says_it_shuts_down_throws_nobody_out(
    takeovers: Takeovers, link: Link
) -> None:
    """MQTT 5, 3.14.2.1: 0x8B, a broker that restarts faster than we dial."""
    for _ in range(10):
        assert QUESTION not in takeovers.count_end("the broker's reason: Server shutting down", 4)
    assert link.faults == {}


@pytest.mark.parametrize("listens", [True, False])
def test_a_suspicion_needs_a_broker_that_takes_connections(
    takeovers: Takeovers, link: Link, monkeypatch: pytest.MonkeyPatch, *, listens: bool
) -> None:
    """A broker that flaps faster than we dial is away at the end of each connection."""
    monkeypatch.setattr(takeover, "_SETTLE_S", 0.0)

    async def end_several() -> None:
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if not listens:
            server.close()
            await server.wait_closed()
        for _ in range(3):
            await takeovers.check_end("closed by the broker", 4, "127.0.0.1", port)
        server.close()

    asyncio.run(end_several())
    assert ("client_id.bus" in link.faults) is listens


async def test_an_end_of_our_own_is_no_suspicion(takeovers: Takeovers, link: Link) -> None:
    """Closed for another version of MQTT, or by a stop, however often and however soon."""
    for _ in range(5):
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ended.set_result(OWN_END)
        assert await takeovers.end_of(ended, lambda: 1.0, "127.0.0.1", 1) == OWN_END
    assert takeovers.count_end("closed by the broker", 1.0) == "closed by the broker"
    assert link.faults == {}
