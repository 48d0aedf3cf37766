"""The interface of texts behind a server, and a stand-in for a server with a language model."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from edge_agent.clock import FakeClock
from edge_agent.config.language import EngineKind, Language
from edge_agent.config.settings import Http
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service import openai
from edge_agent.service.openapi import with_document
from scripts.rigs import find_text_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.clock import Clock
    from edge_agent.service.ask_api import Question
    from edge_agent.service.openai import OpenAi

MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@dataclass
class FakeServer:
    """Says the words of `said`, one a piece; `asked`: the bodies of the requests."""

    said: list[str] = field(default_factory=lambda: ["All ", "is ", "well."])
    status: int = 200
    speak: Callable[[dict[str, Any]], str] | None = None  # instead, by the body of a request
    pause: asyncio.Event | None = None  # set it, and the next word comes
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    closed: int = 0  # requests that ended before their time
    url: str = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`/v1/chat/completions`."""
        return await self._answer(request, lambda text: {"delta": {"content": text}})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """`/v1/completions`."""
        return await self._answer(request, lambda text: {"text": text})

    async def _answer(self, request: web.Request, piece: Any) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        usage = {"prompt_tokens": 7, "completion_tokens": len(self.said), "total_tokens": 0}
        if not body.get("stream"):
            await self._wait()
            text = "".join(self.said) if self.speak is None else self.speak(body)
            whole = {"message": {"role": "assistant", "content": text}, "text": text}
            choice = {"index": 0, "finish_reason": "stop"} | whole
            return web.json_response({"choices": [choice], "usage": usage, "model": "theirs"})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        try:
            for text in self.said:
                await stream.write(
                    b'data: {"choices": [' + _json({"index": 0} | piece(text)) + b"]}\n\n"
                )
                await self._wait()
            await stream.write(b'data: {"choices": [], "usage": ' + _json(usage) + b"}\n\n")
            await stream.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.closed += 1
            raise
        return stream

    async def _wait(self) -> None:
        if self.pause is not None:
            await self.pause.wait()

    async def embeddings(self, request: web.Request) -> web.Response:
        """`/v1/embeddings`: one number for each text."""
        body = await request.json()
        rows = [{"index": i, "embedding": [len(text)]} for i, text in enumerate(body["input"])]
        return web.json_response({"data": rows, "usage": {"prompt_tokens": 2}})


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "theirs"}]})


def _json(value: object) -> bytes:
    return web.json_response(value).body  # type: ignore[return-value]


@asynccontextmanager
async def fake_server(**changes: Any) -> AsyncIterator[FakeServer]:
    """The stand-in on a free port."""
    fake = FakeServer(**changes)
    app = web.Application()
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", fake.chat)
    app.router.add_post("/v1/completions", fake.completions)
    app.router.add_post("/v1/embeddings", fake.embeddings)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def told(question: Question) -> dict[str, Any]:
    """A stand-in for the assistant."""
    return {"answer": f"Facts.\nOf: {question.text}"}


@dataclass
class Texts:
    """The interface, what it counted, and where it is."""

    api: OpenAi
    metrics: Metrics
    server: HttpServer
    url: str

    async def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a request."""
        method = "GET" if body is None else "POST"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, json=body) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def texts(config: Language, clock: Clock | None = None, **http: Any) -> AsyncIterator[Texts]:
    """The interface of a config on a free port; http: changes of that section."""
    metrics, clock = Metrics(), clock or FakeClock()
    api = openai.text_of(config, told, metrics, clock)
    server = HttpServer(Http(**{"port": 0, **http}), with_document(api.routes()), clock)
    server.guard.error_forms[api.errors_below] = api.error_body
    await server.start()
    try:
        yield Texts(api, metrics, server, f"http://127.0.0.1:{server.port}")
    finally:
        await server.stop()
        await api.stop()


def foreign(url: str, **changes: Any) -> Language:
    """The config of a server elsewhere."""
    return Language(**{"engine": EngineKind.OPENAI, "url": url, "name": "theirs", **changes})


def local(**changes: Any) -> Language:
    """The config of the real child with the small model that is on the package index."""
    given = {"model": find_text_model(), "sha256": MODEL_SHA256, "name": "smollm2", "context": 1024}
    return Language(**{"engine": EngineKind.LLAMA_CPP, **given, **changes})
