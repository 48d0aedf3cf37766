"""The server itself: its port, its start and its stop."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.ops.http import RETRY_S, HttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def serving(**config: Any) -> AsyncIterator[HttpServer]:
    """A running server without any routes but those of the page."""
    server = HttpServer(Http(**{"port": 0, **config}), [], FakeClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_port_0_leaves_the_choice_to_the_system() -> None:
    async with serving() as one, serving() as other:
        assert one.port != other.port
        assert 0 not in {one.port, other.port}


async def test_stop_is_safe_unstarted_and_repeated_and_frees_the_port() -> None:
    server = HttpServer(Http(port=0), [], FakeClock())
    await server.stop()
    await server.start()
    await server.start()
    port = server.port
    await server.stop()
    await server.stop()
    async with serving(port=port) as again:
        assert again.port == port


async def test_a_taken_port_is_a_fault_that_is_tried_again() -> None:
    """It says which port and what to do; a free port ends it without a restart."""
    clock = FakeClock()
    async with serving() as first:
        second = HttpServer(Http(port=first.port), [], clock)
        await second.start()
        [fault] = second.faults()
        assert f"127.0.0.1:{first.port}" in fault.text
        assert "another program" in fault.text
        clock.advance(RETRY_S)
        await second.listen()
        assert second.faults()
    await second.listen()
    assert second.faults()  # not before its time
    clock.advance(RETRY_S)
    await second.listen()
    assert second.faults() == []
    async with aiohttp.ClientSession() as session:
        assert (await session.get(f"http://127.0.0.1:{second.port}/")).status == 200
    await second.stop()


async def test_disabled_binds_nothing() -> None:
    async with serving(enabled=False) as server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{server.port}/")
