"""Opening of connections: every address of a name, no shared threads, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.testing import find_free_port
from edge_agent.transport.dialling import _interleaved, dial, dial_error, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def hole() -> Iterator[int]:
    """A port of 127.0.0.2 whose backlog is full: it is as behind a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for one in fillers:
            one.setblocking(False)  # noqa: FBT003
            one.connect_ex(("127.0.0.2", port))
        yield port
        for one in fillers:
            one.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def give_addresses(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Make the resolver answer these to every name."""

    def getaddrinfo(*_: object, flags: int = 0, **__: Any) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        return [(V4, socket.SOCK_STREAM, 6, "", (one, 0)) for one in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def serve(host: str, port: int) -> asyncio.Server:
    return await asyncio.start_server(lambda _, writer: writer.close(), host, port)


async def test_an_address_that_goes_nowhere_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch, hole: int
) -> None:
    give_addresses(monkeypatch, "127.0.0.2", "127.0.0.1")
    async with await serve("127.0.0.1", hole):
        opened = await dial("plc.test", hole, 5)
        assert opened.getpeername() == ("127.0.0.1", hole)
        opened.close()


async def test_an_address_that_refuses_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    port = find_free_port()
    give_addresses(monkeypatch, "127.0.0.3", "127.0.0.1")
    monkeypatch.setattr("edge_agent.transport.dialling.STAGGER_S", 60)
    async with await serve("127.0.0.1", port):
        opened = await dial("plc.test", port, 5)
        opened.close()


async def test_all_addresses_are_named_where_none_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = find_free_port()
    give_addresses(monkeypatch, "127.0.0.3", "127.0.0.4")
    with pytest.raises(ConnectionRefusedError) as caught:
        await dial("plc.test", port, 5)
    text = str(dial_error(caught.value, "mqtt://plc.test"))
    for host in ("127.0.0.3", "127.0.0.4"):
        assert f"{host} port {port}: connection refused" in text
    assert "is the broker running" in text


async def test_a_dead_address_ends_in_time_and_leaves_no_descriptor(hole: int) -> None:
    before = descriptors()
    for _ in range(5):
        with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
            await dial("127.0.0.2", hole, 0.05)
    await asyncio.sleep(0)
    assert descriptors() == before


async def test_a_name_server_that_is_silent_blocks_nobody_else(
    hanging: Callable[[], None],
) -> None:
    """Not the threads of the store and the pages, and one name never costs more than one thread."""
    hanging()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            await dial("dead.test", 1, 0.01)
    names = [one.name for one in threading.enumerate() if one.name.startswith("resolve ")]
    assert names == ["resolve dead.test"]
    assert await asyncio.to_thread(lambda: "free") == "free"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it: from then on no name is resolved before the test ends."""
    ended, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **more: Any) -> Any:
        if not more.get("flags", 0) & socket.AI_NUMERICHOST:
            ended.wait(20)
        return real(host, *args, **more)

    yield lambda: monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    ended.set()
    for one in threading.enumerate():
        if one.name.startswith("resolve "):
            one.join(20)


async def test_an_address_is_never_looked_up(hanging: Callable[[], None]) -> None:
    hanging()
    assert await resolve("::1", 4840) == [(V6, ("::1", 4840, 0, 0))]
    assert await resolve("127.0.0.1", 4840) == [(V4, ("127.0.0.1", 4840))]


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70])
async def test_what_is_no_name_is_an_error_that_says_so(host: str) -> None:
    with pytest.raises(socket.gaierror) as caught:
        await dial(host, 1, 10)
    assert "the name is unknown" in str(dial_error(caught.value, "mqtt://x"))


def test_families_take_turns() -> None:
    """RFC 8305: a network whose IPv6 leads nowhere must not cost one wait for each address."""
    six, four = [(V6, (c,)) for c in "abc"], [(V4, (c,)) for c in "xy"]
    assert _interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]


async def test_a_peer_that_never_answers_the_handshake_is_given_up() -> None:
    before = descriptors()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(TimeoutError, match="no answer within"):
            await dial("127.0.0.1", port, 0.1, context)
    assert descriptors() == before
