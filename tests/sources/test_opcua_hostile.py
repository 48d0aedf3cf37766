"""Other sides that are no OPC UA server, or a malicious one: a clear error each, in time."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import struct
from typing import TYPE_CHECKING

import pytest
from opcua_support import Rig

from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.notification import Notification
from edge_agent.sources.opcua.session import Session
from edge_agent.sources.opcua.source import probe
from edge_agent.testing import find_free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ACKNOWLEDGE = b"ACKF" + struct.pack("<IIIIII", 28, 0, 65535, 65535, 0, 0)
ERROR = b"ERRF" + struct.pack("<IIi", 16, 0x80830000, -1)


def says(*parts: bytes, times: int = 1) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for part in parts:
            for _ in range(times if part is parts[-1] else 1):
                writer.write(part)
                await writer.drain()
        await reader.read()

    return speak


@contextlib.asynccontextmanager
async def serving(speak: Speak) -> AsyncIterator[str]:
    """The url of a server that speaks so to everybody."""
    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.Event()
        ended.append(done)
        with contextlib.suppress(ConnectionError):
            await speak(reader, writer)
        writer.transport.abort()
        await asyncio.sleep(0)
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in ended:
            await one.wait()


async def met(speak: Speak, timeout_s: float = 0.5) -> ConnectError:
    """What the source makes of a server that speaks so."""
    async with serving(speak) as url, asyncio.timeout(20):
        with pytest.raises(ConnectError) as caught:
            await probe(Rig(url, timeout=timeout_s).config)
    return caught.value


async def test_silence_is_no_answer_in_time() -> None:
    assert "no answer in time" in str(await met(says()))


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        (b"\x00" * 64,),
        (b"ACKF" + struct.pack("<I", 9) + b"x",),
        (ACKNOWLEDGE, b"\xff" * 128),
        (ACKNOWLEDGE, b"OPNF" + struct.pack("<II", 40, 1) + b"\xff" * 28),
        (ACKNOWLEDGE, b"MSGF" + struct.pack("<II", 40, 1) + b"\x00" * 28),
        (ERROR,),
    ],
)
async def test_garbage_is_a_connect_error(parts: tuple[bytes, ...]) -> None:
    await met(says(*parts))


async def test_an_error_message_is_read() -> None:
    assert "BadTcpEndpointUrlInvalid" in str(await met(says(ERROR)))


async def test_a_chunk_without_end_is_cut_off() -> None:
    """It says it is 4 GB; what is held of it has a limit."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endless = b"MSGF" + struct.pack("<II", 0xFFFF_FFF0, 1)
    chunk = b"\x00" * (1 << 20)
    error = await met(says(ACKNOWLEDGE, endless, chunk, times=200), timeout_s=15)
    assert "no answer in time" not in str(error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 6 * wire.MAX_MESSAGE_BYTES


async def test_a_source_survives_a_port_that_talks_nonsense() -> None:
    async with serving(says(b"hello, who is there?\n")) as url, Rig(url, timeout=0.5) as rig:
        await rig.until_state(LinkState.DOWN)


def followed(*heard: tuple[int, bool]) -> tuple[float, list[int]]:
    """(gaps, acknowledged numbers) after notifications of these numbers, with data or without."""
    rig = Rig(f"opc.tcp://127.0.0.1:{find_free_port()}")
    source = rig.source
    session = Session(
        rig.config,
        "test",
        source._feed,
        source._clock,
        source="plc",
        discovered=asyncio.Event(),
        add_signals=lambda: None,
        on_up=lambda *_: None,
    )
    for sequence, data in heard:
        session._acknowledge(Notification(1, sequence, data))
    return rig.rejected("sequence_gap"), [int(ack.SequenceNumber) for ack in session._acks]


def test_notifications_with_data_are_acknowledged_and_keepalives_are_not() -> None:
    assert followed((1, True), (2, False), (2, True), (3, True)) == (0, [1, 2, 3])


def test_a_notification_that_never_came_is_counted() -> None:
    assert followed((1, True), (3, True), (4, True)) == (1, [1, 3, 4])
    assert followed((1, True), (5, False), (5, True)) == (1, [1, 5])


def test_sequence_numbers_begin_again_at_one() -> None:
    assert followed((0xFFFF_FFFF, True), (1, True)) == (0, [0xFFFF_FFFF, 1])
