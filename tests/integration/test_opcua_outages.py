"""Outages of OPC UA servers of three makers, and a server whose sessions are all taken.

Silence is told within three keepalives, values are back within 15 s, and no session is left behind.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asyncua.client.client import Client
from opcua_support import CutProxy, NodeServer, PeerServer, Rig

from edge_agent.config import schema
from edge_agent.messages import LinkState
from edge_agent.values import BAD_NO_COMMUNICATION
from scripts.rigs.faults.plugin import REPORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(REPORT not in os.environ, reason="minutes long: scripts/faults runs it"),
]

MAKERS = ["node-opcua", "asyncua", "open62541"]
KEEPALIVE_S = 2.0  # what a source asks for by default
TOLD_S = 3 * KEEPALIVE_S
BUSY_S = 2.0  # of a machine with other work
BACK_S = 15.0
SESSION_TIMEOUT_S = 10.0
LIMIT = 2  # sessions
FULL = {"node-opcua": "BadTooManySessions", "asyncua": "BadMaxConnectionsReached"}
FULL_S = 12.0  # how long all are taken


@pytest.fixture
def make_server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., NodeServer]]:
    """Call it with a maker and options of opcua_server.js for a running server."""
    servers: list[NodeServer] = []

    def make(maker: str, **options: Any) -> NodeServer:
        if maker == "open62541" and importlib.util.find_spec("o6") is None:
            pytest.skip("pip install o6")
        if maker == "node-opcua":
            modules = request.getfixturevalue("node_modules")
            servers.append(NodeServer(modules, tmp_path, trust_all=True, period_ms=100, **options))
        else:
            servers.append(PeerServer(maker, tmp_path))
        return servers[-1].start()

    yield make
    for server in servers:
        server.kill()


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Rig]:
    """A source that has had values of this server."""
    signals = {"s0": schema.Signal()}
    options: dict[str, Any] = {"timeout": 1.0, "session_timeout": SESSION_TIMEOUT_S}
    async with Rig(url, signals, **options) as rig:
        await lives(rig)
        yield rig


async def lives(rig: Rig, timeout_s: float = 30.0) -> float:
    """Wait until the link is up and brings values; returns how long that took."""
    began_s, seen = time.monotonic(), len(rig.of("s0"))
    await rig.until_state(LinkState.UP, timeout_s)
    await rig.until(lambda: len(rig.of("s0")) > seen and rig.of("s0")[-1][2] == 0, timeout_s)
    return time.monotonic() - began_s


async def told(rig: Rig) -> float:
    """Wait until the values count as stale; returns how long that took."""
    began_s = time.monotonic()
    await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION, 30)
    return time.monotonic() - began_s


async def open_sessions(server: NodeServer) -> int:
    found = await asyncio.to_thread(server.ask, sessions=True)
    return int(found["sessions"])


async def settles_at(server: NodeServer, number: int) -> int:
    """The number of sessions when it is this one, or when all old ones have timed out."""
    deadline_s = time.monotonic() + 3 * SESSION_TIMEOUT_S
    while (found := await open_sessions(server)) != number and time.monotonic() < deadline_s:
        await asyncio.sleep(0.5)
    return found


@pytest.mark.parametrize(
    ("maker", "is_guarded"),
    [*((maker, True) for maker in MAKERS), (MAKERS[0], False)],
    ids=[*MAKERS, "control"],
)
async def test_a_server_that_stalls_and_dies_is_told_found_again_and_holds_no_old_session(
    maker: str,
    make_server: Callable[..., NodeServer],
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_guarded: bool,
) -> None:
    """SIGSTOP for 12 s, then SIGKILL. The control: nobody looks at the silence."""
    server = make_server(maker)
    if not is_guarded:
        no_stall(monkeypatch)
    async with watched(server.url) as rig:
        server.freeze()
        began_s = time.monotonic()
        if not is_guarded:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(TOLD_S + BUSY_S):
                    await told(rig)
            server.thaw()
            return
        silent_s = await told(rig)
        await asyncio.sleep(max(0.0, began_s + 12.0 - time.monotonic()))
        server.thaw()
        thawed_s = await lives(rig)
        server.kill()
        gone_s = await told(rig)
        server.start()
        restarted_s = await lives(rig)
        assert await settles_at(server, 1) == 1
    assert await settles_at(server, 0) == 0
    record_property(
        "figure",
        f"{maker}: silence told after {silent_s:.1f} s, end after {gone_s:.1f} s; back "
        f"{thawed_s:.1f} and {restarted_s:.1f} s after it; no session left",
    )
    assert max(silent_s, gone_s) < TOLD_S + BUSY_S
    assert max(thawed_s, restarted_s) < BACK_S


def no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edge_agent.sources.opcua.subscribe.Subscriptions._set_stall",
        lambda self, _: setattr(self, "stall_after_s", math.inf),
    )


@pytest.mark.parametrize("maker", MAKERS[:2])
async def test_a_server_whose_sessions_are_all_taken_is_told_and_found_again(
    maker: str,
    make_server: Callable[..., NodeServer],
    record_property: Callable[[str, object], None],
) -> None:
    """While the link is away, others take every session; ours is there again when one is free."""
    server = make_server(maker, **({"max_sessions": LIMIT} if maker == "node-opcua" else {}))
    if maker != "node-opcua":
        await asyncio.to_thread(server.ask, limit=LIMIT)
    proxy = CutProxy(server.url)
    async with proxy, watched(proxy.url) as rig:
        await proxy.cut()
        gone_s = await told(rig)
        assert await settles_at(server, 0) == 0
        others = [Client(server.url) for _ in range(LIMIT)]
        for one in others:
            await one.connect()
        await proxy.mend()
        await rig.until(lambda: FULL[maker] in rig.source.link.detail, BACK_S, "the reason")
        await asyncio.sleep(FULL_S)
        assert rig.source.link.state is not LinkState.UP
        assert await open_sessions(server) <= LIMIT
        for one in others:
            await one.disconnect()
        back_s = await lives(rig)
        assert await settles_at(server, 1) == 1
    assert await settles_at(server, 0) == 0
    record_property("figure", f"{maker}, all sessions taken: back {back_s:.1f} s after one is free")
    assert gone_s < TOLD_S + BUSY_S
    assert back_s < BACK_S
