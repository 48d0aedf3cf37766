"""`POST /api/predict` in front of any predictor: what it hands on, and who has to wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.ops.routes import INFER, Client, Refusal, Request
from edge_agent.service import SentTable, predict_api, predict_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Ask = Callable[..., Coroutine[Any, Any, Any]]

CSV = {"Content-Type": "text/csv; charset=utf-8"}


class Gate:
    """A predictor that answers when it is opened."""

    def __init__(self) -> None:
        self.tables: list[SentTable] = []
        self.opened = asyncio.Event()

    async def predict(self, table: SentTable) -> tuple[int, bytes]:
        self.tables.append(table)
        await self.opened.wait()
        return 200, b"{}"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def ask(gate: Gate) -> Ask:
    """Ask as a client with this key; further parameters of the query."""
    (route,) = predict_routes(gate)
    assert (route.method, route.path, route.scope) == ("POST", "/api/predict", INFER)
    assert route.max_body == 16 << 20

    async def call(key: str = "", headers: dict[str, str] | None = None, **query: str) -> Any:
        given = {
            name: one.parse(name, query[name]) if name in query else one.default
            for name, one in route.query.items()
        }
        request = Request({}, given, b"[[1]]", Client(key), headers or {})
        answer: Any = route.handler(request)
        return await answer

    return call


async def test_the_table_is_handed_on_unread(gate: Gate, ask: Ask) -> None:
    """Its body may be megabytes: nothing of it is parsed in the daemon."""
    gate.opened.set()
    answer = await ask(asset="P-1", headers=CSV, windows="true", timezone="Europe/Berlin")
    assert (answer.status, answer.body) == (200, b"{}")
    reading = {"timezone": "Europe/Berlin"}
    assert gate.tables == [SentTable("P-1", "", b"[[1]]", False, reading, True)]  # noqa: FBT003
    await ask(model="pump")
    assert gate.tables[1] == SentTable("", "pump", b"[[1]]")


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({}, {}, 400),
        ({"asset": "P-1", "model": "pump"}, {}, 400),
        ({"asset": "P-1", "windows": "maybe"}, {}, 400),
        ({"asset": "P" * 257}, {}, 400),
        ({"asset": "P-1"}, {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_a_question_that_is_none_is_refused(
    gate: Gate, ask: Ask, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    with pytest.raises(Refusal) as raised:
        await ask(headers=headers, **query)
    assert raised.value.status == status
    assert gate.tables == []


async def test_of_each_client_one_table_at_a_time(gate: Gate, ask: Ask) -> None:
    """Another client waits for its turn; the second table of the first one is refused."""
    first = asyncio.create_task(ask("anna", asset="P-1"))
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as raised:
        await ask("anna", asset="P-1")
    assert (raised.value.status, raised.value.headers) == (429, {"Retry-After": "2"})
    second = asyncio.create_task(ask("ben", asset="P-1"))
    await asyncio.sleep(0)
    assert len(gate.tables) == 1
    gate.opened.set()
    assert [(await one).status for one in (first, second)] == [200, 200]
    assert (await ask("anna", asset="P-1")).status == 200


async def test_few_clients_wait(gate: Gate, ask: Ask) -> None:
    waiting = [
        asyncio.create_task(ask(str(n), asset="P-1")) for n in range(1 + predict_api.MOST_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Refusal, match="too many"):
        await ask("one more", asset="P-1")
    gate.opened.set()
    await asyncio.gather(*waiting)


async def test_nobody_waits_for_ever(gate: Gate, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """504, also for the clients that waited behind; and then the way is free again."""
    monkeypatch.setattr(predict_api, "PREDICT_S", 0.01)
    asked = [asyncio.create_task(ask(name, asset="P-1")) for name in ("anna", "ben")]
    for one in asked:
        with pytest.raises(Refusal) as raised:
            await one
        assert raised.value.status == 504
    gate.opened.set()
    assert (await ask("anna", asset="P-1")).status == 200
