"""The routes of config, tags and doctor: what they pass on, and what they refuse."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from status_support import BEARER, serving

from edge_agent.config.types import Secret
from edge_agent.service import ConfigQuestion, TagQuestion, gateway_routes


class Asked:
    """Keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def sources(self) -> list[dict[str, Any]]:
        return [{"name": "plc"}]

    def outbox(self) -> list[dict[str, Any]]:
        return [{"sink": "bus"}]

    async def config(self, question: ConfigQuestion) -> dict[str, Any]:
        self.asked.append(question)
        return {"disk": "same", "total": 0, "lines": []}

    async def tags(self, question: TagQuestion) -> dict[str, Any]:
        self.asked.append(question)
        return {"source": question.source, "type": "opcua", "tags": [], "stopped": ""}

    async def doctor(self, actor: str) -> dict[str, Any]:
        self.asked.append(actor)
        return {"ok": True, "findings": []}


async def ask(asked: Asked, method: str, path: str, **more: Any) -> tuple[int, Any]:
    token = Secret(env="EDGE_AGENT_TEST_TOKEN")
    async with (
        serving(routes=gateway_routes(asked), token=token) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=BEARER) as session,
        session.request(method, path, **more) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_question_about_the_config_is_bounded() -> None:
    """The search knows no upper case; more lines than fit are cut to what one answer may have."""
    asked = Asked()
    assert (await ask(asked, "GET", "/api/config"))[0] == 200
    assert (await ask(asked, "GET", "/api/config?search=PLC&only=set&offset=5&limit=9999"))[
        0
    ] == 200
    assert (await ask(asked, "GET", "/api/config?only=secrets"))[0] == 400
    assert asked.asked == [ConfigQuestion(limit=1000), ConfigQuestion("plc", True, 5, 5000)]  # noqa: FBT003 (a field)


async def test_who_browses_and_who_examines_is_passed_on() -> None:
    asked = Asked()
    body = {"by": "Lena", "pattern": "Line1/*"}
    status, told = await ask(asked, "POST", "/api/sources/plc/tags", json=body)
    assert (status, told["source"]) == (200, "plc")
    assert (await ask(asked, "POST", "/api/doctor", json={"by": "Lena"}))[0] == 200
    assert asked.asked == [TagQuestion("plc", "Line1/*", "Lena"), "Lena"]
    assert (await ask(asked, "GET", "/api/sources"))[1] == [{"name": "plc"}]
    assert (await ask(asked, "GET", "/api/outbox"))[1] == [{"sink": "bus"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/doctor", {}),
        ("/api/doctor", {"by": "Lena", "seconds": 3600}),
        ("/api/sources/plc/tags", {"by": "Lena", "pattern": 5}),
        ("/api/sources/plc/tags", {"by": "Lena", "pattern": "x" * 257}),
        ("/api/sources/plc/tags", {"by": "Lena", "pattern": "a\x00b"}),
    ],
)
async def test_how_long_and_how_much_is_not_for_the_client_to_say(
    path: str, body: dict[str, Any]
) -> None:
    """The limits are the daemon's; a pattern is a short printable text."""
    asked = Asked()
    status, told = await ask(asked, "POST", path, json=body)
    assert status == 400, told
    assert asked.asked == []
