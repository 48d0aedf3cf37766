"""The routes of installed models: what they pass on, and what they refuse."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from status_support import BEARER, serving

from edge_agent.config.types import Secret
from edge_agent.errors import NotFoundError
from edge_agent.service import ModelRequest, model_routes


class Shelf:
    """Keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.chosen: list[ModelRequest] = []

    async def installed(self, name: str, version: str) -> dict[str, Any]:
        self.asked.append((name, version))
        if name == "none":
            raise NotFoundError("no such model", where="'none'", hint="installed: watch")
        return {"name": name, "versions": [], "card": None, "drift": [], "drift_limit": 0.2}

    async def choose(self, request: ModelRequest) -> dict[str, Any]:
        self.chosen.append(request)
        return {"name": request.name, "version": "2", "done": request.kind, "signer": ""}


async def ask(shelf: Shelf, method: str, path: str, **more: Any) -> tuple[int, Any]:
    token = Secret(env="EDGE_AGENT_TEST_TOKEN")
    async with (
        serving(routes=model_routes(shelf), token=token) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=BEARER) as session,
        session.request(method, path, **more) as answer,
    ):
        return answer.status, await answer.json()


async def test_what_is_installed_is_read_by_name_and_version() -> None:
    """One version's card is asked for by the query; an unknown name is a 404 with the names."""
    shelf = Shelf()
    assert (await ask(shelf, "GET", "/api/models/watch"))[0] == 200
    assert (await ask(shelf, "GET", "/api/models/watch?version=1.2"))[0] == 200
    status, told = await ask(shelf, "GET", "/api/models/none")
    assert (status, told["hint"]) == (404, "installed: watch")
    assert shelf.asked == [("watch", ""), ("watch", "1.2"), ("none", "")]


async def test_a_choice_names_its_actor() -> None:
    """The name in the request proves nothing; with the token it is taken as it is said."""
    shelf = Shelf()
    body = {"by": "Lena", "version": "2", "comment": " after the trial "}
    status, told = await ask(shelf, "POST", "/api/models/watch/activate", json=body)
    assert (status, told["done"]) == (200, "activate")
    assert shelf.chosen == [ModelRequest("activate", "watch", "2", "Lena", "after the trial")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("activate", {}),
        ("activate", {"by": "Lena", "version": 2}),
        ("rollback", {"by": "Lena", "version": "2"}),
        ("stop_shadow", {"by": "Lena", "more": 1}),
        ("activate", {"by": "Lena", "comment": "x" * 501}),
    ],
)
async def test_a_choice_that_says_too_little_or_too_much_is_refused(
    path: str, body: dict[str, Any]
) -> None:
    """A rollback takes no version: which one it restores is the repository's business."""
    shelf = Shelf()
    status, told = await ask(shelf, "POST", f"/api/models/watch/{path}", json=body)
    assert status == 400, told
    assert told["error"]
    assert shelf.chosen == []
