"""The loop of other programs: on its own thread, with a way back, not on the plant's account."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edge_agent.clock import APART, FakeClock
from edge_agent.config.settings import Http
from edge_agent.ops.http import HttpServer
from edge_agent.ops.routes import OPEN, READ, Refusal, Request, Response, Route
from edge_agent.ops.service_loop import ServiceLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


@pytest.fixture
async def apart() -> AsyncIterator[ServiceLoop]:
    made = ServiceLoop()
    made.start()
    yield made
    await made.stop()


async def where() -> int:
    return threading.get_ident()


async def busy(seconds: float) -> None:
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


async def test_work_runs_on_its_thread_and_finds_its_way_home(apart: ServiceLoop) -> None:
    """Results and errors come back to who asked."""
    here = threading.get_ident()
    there = await apart.run(where())
    assert there != here
    assert await apart.run(apart.at_home(where())) == here
    assert await apart.at_home(where()) == here

    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await apart.run(fail())


async def test_without_a_thread_work_runs_here() -> None:
    """Before the start, and after a stop, which may be repeated."""
    made, here = ServiceLoop(), threading.get_ident()
    assert await made.run(where()) == await made.at_home(where()) == here
    await made.stop()
    made.start()
    made.start()
    assert await made.run(where()) != here
    await made.stop()
    await made.stop()
    assert await made.run(where()) == here


async def test_who_gives_up_ends_the_work(apart: ServiceLoop) -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(apart.run(wait()))
    await asyncio.sleep(0.05)
    waiting.cancel()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_what_it_computes_is_not_the_plants(apart: ServiceLoop) -> None:
    """The pace of the pipeline and of the readers leaves it out."""
    before_s = APART.s
    await busy(0.02)
    assert APART.s - before_s < 0.02
    await apart.run(busy(0.05))
    await apart.run(where())
    assert APART.s - before_s >= 0.05


async def test_what_still_runs_at_the_end_is_cancelled(apart: ServiceLoop) -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(apart.run(wait()))
    await asyncio.sleep(0.05)
    await apart.stop()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_handlers_run_where_their_objects_are(apart: ServiceLoop) -> None:

    def refuse(_: Request) -> Any:
        raise Refusal(404, "nothing")

    async def answer(_: Request) -> int:
        return threading.get_ident()

    async def parts() -> AsyncGenerator[bytes]:
        for _ in range(2):
            yield f"{threading.get_ident()} ".encode()

    routes = [
        Route("GET", "/stream", lambda _: Response(parts(), "text/plain"), OPEN),
        Route("GET", "/apart", answer, OPEN, is_apart=True),
        Route("GET", "/home", answer, OPEN),
        Route("GET", "/paced", lambda _: threading.get_ident(), READ),
        Route("GET", "/refused", refuse, READ),
    ]
    server = HttpServer(Http(port=0), routes, FakeClock(), at_home=apart.at_home)
    await apart.run(server.start())
    here, there = threading.get_ident(), await apart.run(where())
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        found = []
        for path in ("/apart", "/home", "/paced", "/refused"):
            async with session.get(path) as reply:
                found.append((reply.status, await reply.json()))
        async with session.get("/stream") as reply:
            assert await reply.text() == f"{here} {here} "
    await apart.run(server.stop())
    assert found[:3] == [(200, there), (200, here), (200, here)]
    assert found[3] == (404, {"error": "nothing", "hint": ""})
