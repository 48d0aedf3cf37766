"""A table of routes from anywhere is served behind the guard; no other room knows of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from status_support import serving

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.ops import handlers
from edge_agent.ops.http import HttpServer
from edge_agent.ops.routes import (
    INFER,
    OPEN,
    READ,
    TEXT,
    Refusal,
    Request,
    Response,
    Route,
    choice,
    number,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

TOKEN = "correct-horse-battery"  # noqa: S105
ELSEWHERE = {"Forwarded": "for=10.0.0.9"}  # a proxy on this machine lends nobody its address
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PICTURE = {"Content-Type": "image/png"}


async def classify(request: Request) -> Response:
    """A fake interface of pictures: longer than a command, of another type, with an own answer."""
    if request.parts["model"] != "cat":
        raise Refusal(404, "no such model", "cat")
    body = f"{len(request.body)} {request.query}".encode()
    return Response(body, "text/plain; charset=utf-8", headers={"X-Model": "cat"})


async def count(request: Request) -> Response:
    """A stream without an end; it notes when it is closed."""

    async def parts() -> AsyncGenerator[bytes]:
        try:
            for number in range(1 << 30):
                yield f"{number}\n".encode()
                await asyncio.sleep(0)
        finally:
            CLOSED.append(request.parts["model"])

    return Response(parts(), "text/plain")


CLOSED: list[str] = []
ROUTES = [
    Route("GET", "/fake/models/{model}/stream", count, TEXT),
    Route("POST", "/fake/raw", lambda r: [len(r.body), r.headers["x-n"]], INFER, content_type=""),
    Route("GET", "/fake/health", lambda _: {"live": True}, OPEN),
    Route("GET", "/fake/models", lambda _: ["cat"], READ),
    Route(
        "POST",
        "/fake/models/{model}/infer",
        classify,
        scope="infer",
        query={"top": number(9, 3), "form": choice(("short", "long"), "no such form")},
        content_type="image/png",
        max_body=100_000,
    ),
    Route("GET", "/fake/keys", lambda _: [], scope="admin"),
    Route("PUT", "/fake/models/{model}", lambda request: request.body, scope="admin"),
]


@asynccontextmanager
async def asking(**config: Any) -> AsyncIterator[Any]:
    """A function that asks the server, with its token, and returns status, body and headers."""
    os.environ["TEST_TOKEN"] = TOKEN
    config = {"token": Secret(env="TEST_TOKEN"), **config}
    server = HttpServer(Http(**{"port": 0, **config}), ROUTES, FakeClock())
    await server.start()

    async def ask(method: str, path: str, **more: Any) -> tuple[int, bytes, Any]:
        url = f"http://127.0.0.1:{server.port}/fake/{path}"
        headers = BEARER | more.pop("headers", {})
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, **more) as got,
        ):
            return got.status, await got.read(), got.headers

    try:
        yield ask
    finally:
        await server.stop()


async def test_a_row_has_its_own_content_type_body_limit_and_answer() -> None:
    """100,000 bytes of a picture pass, which no command of the status API could have."""
    async with asking() as ask:
        status, body, headers = await ask(
            "POST", "models/cat/infer?form=long", data=b"x" * 100_000, headers=PICTURE
        )
        assert (status, body) == (200, b"100000 {'top': 3, 'form': 'long'}")
        assert (headers["X-Model"], headers["Server"]) == ("cat", "edge-agent")
        assert headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(("slowest", "status"), [(100_000, 200), (1 << 20, 408)])
async def test_a_large_body_has_more_time(
    slowest: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second more for each megabyte that the row allows; none for a command."""
    monkeypatch.setattr(handlers, "BODY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(handlers, "SLOWEST_BYTES_S", slowest)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(0.4)
        yield b"x"

    async with asking() as ask:
        assert (await ask("POST", "models/cat/infer", data=slowly(), headers=PICTURE))[0] == status


@pytest.mark.parametrize("kind", [{}, {"Content-Type": "application/octet-stream"}])
async def test_a_row_can_take_a_body_of_any_type_or_none(kind: dict[str, str]) -> None:
    """And reads headers in whatever case they are sent."""
    async with asking() as ask:
        more: dict[str, Any] = {"skip_auto_headers": ["Content-Type"], "data": b"\0" * 9}
        status, body, _ = await ask("POST", "raw", headers={"X-N": "1"} | kind, **more)
    assert (status, body) == (200, b'[9,"1"]')


async def test_a_stream_is_sent_part_by_part_and_closed_with_its_client() -> None:
    """The first parts are there long before the last; a client that goes ends it."""
    CLOSED.clear()
    server = HttpServer(Http(port=0), ROUTES, FakeClock())
    await server.start()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}/fake/models/cat/stream"
        async with session.get(url) as answer:
            assert await answer.content.readexactly(4) == b"0\n1\n"
    async with asyncio.timeout(5):
        while not CLOSED:
            await asyncio.sleep(0.01)
    await server.stop()
    assert CLOSED == ["cat"]


async def test_json_comes_as_a_value_and_goes_as_one() -> None:
    async with asking() as ask:
        assert (await ask("PUT", "models/cat", json=[1, {"a": None}]))[1] == b'[1,{"a":null}]'
        status, body, headers = await ask("GET", "models")
    assert (status, body) == (200, b'["cat"]')
    assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "more", "status", "error"),
    [
        ("models/cat/infer", {"data": b"x" * 100_001, "headers": PICTURE}, 413, b"too large"),
        ("models/cat/infer", {"json": {}}, 415, b"the body is not image/png"),
        ("models/dog/infer", {"data": b"x", "headers": PICTURE}, 404, b"no such model"),
        ("models/cat/infer?top=10", {"data": b"x", "headers": PICTURE}, 400, b"top is not a whole"),
        (
            "models/cat/infer?top=ten",
            {"data": b"x", "headers": PICTURE},
            400,
            b"top is not a whole",
        ),
        ("models/cat/infer?form=odd", {"data": b"x", "headers": PICTURE}, 400, b"no such form"),
        ("models/cat/infer?tops=1", {"data": b"x", "headers": PICTURE}, 400, b"no parameter"),
        ("models", {"data": b"x"}, 405, b"not allowed"),
    ],
)
async def test_what_a_row_does_not_allow_is_refused(
    path: str, more: dict[str, Any], status: int, error: bytes
) -> None:
    """Before its handler hears of it, in the words of the API."""
    async with asking() as ask:
        got, body, _ = await ask("POST", path, **more)
    assert got == status
    assert error in body.lower()


@pytest.mark.parametrize(
    ("method", "path", "answers"),
    [
        ("GET", "health", (200, 200, 200)),
        ("GET", "models", (200, 401, 200)),
        ("GET", "keys", (403, 401, 200)),
        ("GET", "nothing", (404, 401, 404)),
        ("POST", "models/cat/infer", (403, 401, 415)),
        ("PUT", "models/cat", (403, 401, 415)),
    ],
)
async def test_a_scope_says_who_may_ask(
    method: str, path: str, answers: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From elsewhere: no token configured, a wrong one, the right one. 415: it came through."""
    monkeypatch.setenv("HTTP_TOKEN", TOKEN)
    none = {"Authorization": ""}
    async with asking(token=None) as ask:
        codes = [(await ask(method, path, headers=ELSEWHERE))[0]]
    async with asking(token=Secret(env="HTTP_TOKEN")) as ask:
        codes += [(await ask(method, path, headers=ELSEWHERE | more))[0] for more in (none, {})]
    assert tuple(codes) == answers


async def test_a_handler_hears_that_its_client_has_gone() -> None:
    """Long work for nobody can end."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def work(request: Request) -> str:
        begun.set()
        while request.goes_on():
            await asyncio.sleep(0)
        gone.set()
        return ""

    async with serving(routes=[Route("GET", "/x", work, READ)]) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(begun.wait(), 5)
        assert not gone.is_set()
        writer.close()
        await asyncio.wait_for(gone.wait(), 5)


async def test_an_interface_says_in_its_own_form_why_it_refuses() -> None:
    """Also where no route of it is; the others keep theirs."""
    async with serving() as server, aiohttp.ClientSession() as session:
        server.guard.error_forms["/own/"] = lambda refusal: {"why": refusal.error}
        for path, said in (
            ("/own/x", {"why": "not found"}),
            ("/x", {"error": "not found", "hint": ""}),
        ):
            async with session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                assert (answer.status, await answer.json()) == (404, said)
