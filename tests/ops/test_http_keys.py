"""API keys over HTTP: limits of a key, its end during a stream, and pages of other origins."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from chromium import browsing
from test_key_file import add

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.ops import handlers
from edge_agent.ops.http import HttpServer
from edge_agent.ops.key_file import changed_keys
from edge_agent.ops.routes import COMMAND, INFER, OPEN, READ, TEXT, Request, Response, Route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path


class Server:
    """A server with a key; `reached` has the paths of which a handler heard."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        self.reached: list[str] = []
        self.gate = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.port = 0

    def routes(self) -> list[Route]:
        """One row of each kind."""
        return [
            Route("GET", "/t/read", self._reach("read"), READ),
            Route("GET", "/t/open", self._reach("open"), OPEN),
            Route("POST", "/t/infer", self._reach("infer"), INFER, content_type="", max_body=9000),
            Route("POST", "/t/command", self._reach("command"), COMMAND),
            Route("GET", "/t/wait", self._wait, INFER),
            Route("GET", "/t/stream", self._stream, TEXT),
        ]

    def _reach(self, name: str) -> Any:
        def handler(_: Request) -> Response:
            self.reached.append(name)
            return Response(b"secret data", "text/plain")

        return handler

    async def _wait(self, _: Request) -> Response:
        self.reached.append("wait")
        await self.gate.wait()
        return Response(b"", "text/plain")

    async def _stream(self, _: Request) -> Response:
        return Response(self._parts(), "text/event-stream")

    async def _parts(self) -> AsyncGenerator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self.is_closed.set()

    def revoke(self) -> None:
        """End all keys, as `edge-agent keys revoke` does."""
        with changed_keys(self.path) as keys:
            keys |= {one.id: replace(one, revoked_ms=0) for one in keys.values()}


@asynccontextmanager
async def serving(folder: Path, **config: Any) -> AsyncIterator[Server]:
    """A running server."""
    server = Server(folder)
    http = HttpServer(Http(**{"port": 0, **config}), server.routes(), FakeClock(), server.path)
    await http.start()
    server.port = http.port
    try:
        yield server
    finally:
        await http.stop()


@asynccontextmanager
async def client(server: Server, secret: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a key, on one connection that stays open."""
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{server.port}",
        headers={"Authorization": f"Bearer {secret}"},
        connector=aiohttp.TCPConnector(limit=4),
    ) as session:
        yield session


async def test_a_revoked_key_ends_on_an_open_connection(tmp_path: Path) -> None:
    """Each request looks at the file; nothing has to be told or started anew."""
    async with serving(tmp_path) as server:
        secret = add(server.path)[1]
        async with client(server, secret) as session:
            assert (await session.post("/t/infer")).status == 200
            server.revoke()
            answer = await session.post("/t/infer")
            assert answer.status == 401
            assert "was revoked" in (await answer.json())["error"]
    assert server.reached == ["infer"]


async def test_what_a_revoked_key_asked_before_is_not_sent_and_not_done(tmp_path: Path) -> None:
    """A request that was admitted waits, or its body takes its time: it ends as the key does."""
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await sent.wait()
        yield b"}"

    async with serving(tmp_path) as server:
        secret = add(server.path, "mes", "infer", "command")[1]
        async with client(server, secret) as session, asyncio.timeout(10):
            kind = {"Content-Type": "application/json"}
            command = session.post("/t/command", data=slowly(), headers=kind)
            running = [asyncio.ensure_future(one) for one in (session.get("/t/wait"), command)]
            while server.reached != ["wait"]:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # the command's head is there
            server.revoke()
            server.gate.set()
            sent.set()
            for answer in await asyncio.gather(*running):
                assert answer.status == 401
                assert "mes was revoked" in (await answer.json())["error"]
    assert server.reached == ["wait"]


async def test_a_revoked_key_cuts_its_stream_though_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut, not ended, so that nobody takes what came for the whole."""
    monkeypatch.setattr(handlers, "STREAM_CHECK_S", 0.05)
    async with serving(tmp_path) as server:
        secret = add(server.path, "mes", "text")[1]
        async with client(server, secret) as session, session.get("/t/stream") as answer:
            assert await answer.content.readexactly(5) == b"first"
            server.revoke()
            async with asyncio.timeout(10):
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.content.read()
                await server.is_closed.wait()


async def test_a_client_that_leaves_a_silent_stream_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the stream costs nothing any more, though it has nothing to send."""
    monkeypatch.setattr(handlers, "STREAM_CHECK_S", 0.05)
    async with serving(tmp_path) as server:
        secret = add(server.path, "mes", "text")[1]
        async with client(server, secret) as session, session.get("/t/stream") as answer:
            assert await answer.content.readexactly(5) == b"first"
            assert not server.is_closed.is_set()
        async with asyncio.timeout(10):
            await server.is_closed.wait()


async def test_rate_concurrency_and_size_are_limits_of_the_key(tmp_path: Path) -> None:
    """429 says when to come again, 413 how much is allowed; another key is not touched."""
    async with serving(tmp_path) as server:
        few = add(server.path, "few", "infer", concurrency=1, max_body=100)[1]
        slow = add(server.path, "slow", "infer", rate=0.5)[1]
        async with client(server, few) as session, client(server, slow) as other:
            assert (await session.post("/t/infer", data=b"x" * 100)).status == 200
            answer = await session.post("/t/infer", data=b"x" * 101)
            assert answer.status == 413
            assert "100 bytes that the key few" in (await answer.json())["error"]
            chunked = await session.post("/t/infer", data=parts_of(101))
            assert chunked.status == 413
            assert (await other.post("/t/infer", data=b"x" * 101)).status == 200
            answer = await other.post("/t/infer")
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
            waiting = asyncio.create_task(session.get("/t/wait"))
            while "wait" not in server.reached:
                await asyncio.sleep(0.01)
            answer = await session.post("/t/infer")
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            server.gate.set()
            assert (await waiting).status == 200
            assert (await session.post("/t/infer")).status == 200


async def parts_of(size: int) -> AsyncIterator[bytes]:
    """A body whose size is not told before."""
    yield b"x" * size


async def test_no_key_is_in_any_log_answer_or_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Right, wrong, cut, or in the wrong place; also where a handler fails."""
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path) as server:
        secret = add(server.path, "mes", "infer")[1]
        said = []
        for given in (secret, secret[:-1], secret + "x", secret[::-1]):
            paths = ("/t/infer", "/t/command", f"/t/infer?api_key={given}", "/nowhere")
            async with client(server, given) as session:
                said += [await (await session.post(path, json={})).text() for path in paths]
        server.path.write_bytes(b"{")
        async with client(server, secret) as session:
            said.append(await (await session.post("/t/infer")).text())
    for text in (*said, caplog.text):
        assert secret[20:40] not in text
        assert secret[::-1][20:40] not in text


# -- pages of other origins -----------------------------------------------------------------------

ATTACK = """
async () => {
  const target = "http://127.0.0.1:%d";
  const tried = [];
  const attempt = async (name, action) => {
    try { tried.push([name, await action()]); } catch (error) { tried.push([name, String(error)]); }
  };
  const text = { method: "POST", headers: { "Content-Type": "text/plain" }, body: "{}" };
  const asked = [["read", {}], ["open", {}], ["infer", text], ["command", text],
    ["infer", { method: "POST", body: new Blob(["{}"]) }],
    ["command", { ...text, headers: { "Content-Type": "application/json" } }]];
  for (const [path, how] of asked) {
    for (const mode of ["cors", "no-cors"]) {
      await attempt(`${mode} ${path}`, async () => {
        const answer = await fetch(`${target}/t/${path}`, { ...how, mode });
        return await answer.text();
      });
    }
  }
  await attempt("beacon", async () => navigator.sendBeacon(`${target}/t/infer`, "{}"));
  await attempt("form", async () => {
    const frame = document.createElement("iframe");
    frame.name = "hidden";
    document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", target: "hidden", enctype: "text/plain" });
    form.action = `${target}/t/infer`;
    document.body.append(form);
    form.submit();
    await new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
    return "submitted";
  });
  for (const kind of ["script", "img", "iframe"]) {
    await attempt(kind, () => new Promise((done) => {
      const node = document.createElement(kind);
      node.onload = () => done("loaded");
      node.onerror = () => done("failed");
      setTimeout(() => done("late"), 2000);
      node.src = `${target}/t/open`;
      document.body.append(node);
    }));
  }
  return tried;
}
"""


@asynccontextmanager
async def other_site(host: str) -> AsyncIterator[str]:
    """A page of another origin; its URL."""
    app = aiohttp.web.Application()

    async def page(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text="<!doctype html><body></body>", content_type="text/html")

    app.router.add_get("/", page)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_page_of_another_origin_gets_nothing(tmp_path: Path, host: str) -> None:
    """Same site (another port) or another one; by fetch, beacon, form, script, picture, frame.

    The same requests of the gateway's own page arrive: so it is the origin that is refused.
    """
    async with serving(tmp_path) as server, other_site(host) as url:
        async with browsing(tmp_path / "evil", url) as page:
            await page.until("document.readyState === 'complete'")
            tried = await page.js(f"({ATTACK % server.port})()")
            assert len(tried) == 17
            assert server.reached == []
            assert "secret data" not in str(tried)
        async with browsing(tmp_path / "own", f"http://127.0.0.1:{server.port}/") as page:
            await page.until("document.getElementById('gateway') !== null")
            own = "fetch('/t/infer', { method: 'POST', body: '{}' }).then((a) => a.text())"
            assert await page.js(own) == "secret data"
            assert await page.js("fetch('/t/read').then((a) => a.text())") == "secret data"
    assert server.reached == ["infer", "read"]
