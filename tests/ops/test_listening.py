"""Listening sockets: who has gone already is not served."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from edge_agent.ops.listening import ListeningSocket, listen_tcp

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def listening() -> Iterator[ListeningSocket]:
    with ListeningSocket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        one.settimeout(0)
        yield one


def test_connections_that_were_closed_are_left_out(listening: ListeningSocket) -> None:
    """A flood of them costs no connection object, and the one behind it has its turn."""
    for _ in range(150):
        socket.create_connection(listening.getsockname()).close()
    with socket.create_connection(listening.getsockname()) as waiting:
        accepted, address = listening.accept()
        assert address == waiting.getsockname()
        accepted.close()
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_reset_connection_is_left_out(listening: ListeningSocket) -> None:
    one = socket.create_connection(listening.getsockname())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_a_request_is_read_although_its_client_sends_no_more(listening: ListeningSocket) -> None:
    """Half-closed after the request (`nc -N`): there is something to answer."""
    with socket.create_connection(listening.getsockname()) as one:
        one.sendall(b"GET")
        one.shutdown(socket.SHUT_WR)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(3) == b"GET"


def test_others_have_their_turn_during_a_flood(
    listening: ListeningSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many that have gone, the event loop is asked again."""
    monkeypatch.setattr("edge_agent.ops.listening._GONE_AT_ONCE", 2)
    for _ in range(2):
        socket.create_connection(listening.getsockname()).close()
    with socket.create_connection(listening.getsockname()):
        with pytest.raises(BlockingIOError):
            listening.accept()
        listening.accept()[0].close()


async def test_a_port_that_is_taken_is_an_error() -> None:
    """The daemon shows it, and tries again."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        await listen_tcp(asyncio.Protocol, *other.getsockname())


async def test_an_address_that_is_not_here_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        await listen_tcp(asyncio.Protocol, "192.0.2.1", 0)
