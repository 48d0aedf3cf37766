"""The routes of questions: what they pass on, and what they refuse."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from status_support import BEARER, TOKEN  # noqa: F401 (TOKEN: its variable is set)

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.errors import NotFoundError
from edge_agent.ops.http import HttpServer
from edge_agent.service import Question, ask_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = "/api/manuals/0123456789abcdef/page/2"


class Oracle:
    """Keeps the questions."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> dict[str, Any]:
        self.asked.append(question)
        if question.alarm == "P-9.none":
            raise NotFoundError("no such alarm", where="'P-9.none'")
        return {"answer": "42"}

    async def manuals(self) -> dict[str, Any]:
        return {"documents": []}

    async def manual_page(self, document: str, number: int) -> str:
        return f"<script>{document} {number}"


@asynccontextmanager
async def serving(oracle: Oracle) -> AsyncIterator[str]:
    http = Http(port=0, token=Secret(env="EDGE_AGENT_TEST_TOKEN"))
    server = HttpServer(http, ask_routes(oracle), FakeClock())
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def post(url: str, body: object, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=BEARER | headers) as session,
        session.post(f"{url}/api/ask", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_question_reaches_its_provider() -> None:
    oracle = Oracle()
    async with serving(oracle) as url:
        body = {"question": " why? ", "alarm": "P-1.a", "language": "zh"}
        assert await post(url, body) == (200, {"answer": "42"})
    assert oracle.asked == [Question("why?", None, "P-1.a", "zh")]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"question": ""},
        {"question": " "},
        {"question": 7},
        {"question": "x" * 1001},
        {"question": "x", "alarms": "P-1"},
        {"question": "x", "asset": ""},
        {"question": "x", "language": "not a tag"},
    ],
)
async def test_what_is_no_question_is_refused(body: object) -> None:
    """With an example, and without a call."""
    oracle = Oracle()
    async with serving(oracle) as url:
        status, answer = await post(url, body)
    assert (status, bool(answer["hint"]), oracle.asked) == (400, True, [])


async def test_refusals_of_the_provider_and_of_strangers() -> None:
    """404 for an alarm that does not exist; nothing for another site's page."""
    oracle = Oracle()
    async with serving(oracle) as url:
        assert (await post(url, {"question": "x", "alarm": "P-9.none"}))[0] == 404
        crossed = {"Sec-Fetch-Site": "cross-site"}
        assert (await post(url, {"question": "x"}, **crossed))[0] == 403
    assert len(oracle.asked) == 1


async def test_a_page_is_plain_text() -> None:
    """Whatever a manual holds, a browser shows it as text."""
    async with serving(Oracle()) as url, aiohttp.ClientSession(headers=BEARER) as session:
        async with session.get(f"{url}{PAGE}") as answer:
            assert answer.content_type == "text/plain"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert await answer.text() == "<script>0123456789abcdef 2"
        for wrong in ("/api/manuals/../page/1", "/api/manuals/0123/page/1", f"{PAGE}x"):
            async with session.get(f"{url}{wrong}") as answer:
                assert answer.status == 404
