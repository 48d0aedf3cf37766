"""What the routes answer, to good questions and to bad ones."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from status_support import BEARER, ListStatus, alarm_row, asset_row, commanding, plant_of

from edge_agent.ops import handlers
from edge_agent.service import ASSET_COMMANDS, COMMANDS
from edge_agent.store import AuditFilter

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.ops.http import HttpServer

ACK = "/api/alarms/P-042.model/ack"


async def ask(
    server: HttpServer, path: str, method: str = "GET", **more: Any
) -> tuple[int, Any, aiohttp.ClientResponse]:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=BEARER | more.pop("headers", {}), **more) as answer,
    ):
        is_json = answer.content_type == "application/json"
        return answer.status, await (answer.json() if is_json else answer.text()), answer


@pytest.mark.parametrize(
    ("change", "path", "status", "body"),
    [
        ({}, "/health/live", 200, {"live": True, "reason": ""}),
        (
            {"alive": False},
            "/health/live",
            503,
            {"live": False, "reason": "the pipeline is stopped"},
        ),
        ({}, "/health/ready", 200, {"ready": True, "troubles": []}),
        (
            {"started": False, "troubles": ["plc1: no answer"]},
            "/health/ready",
            503,
            {"ready": False, "troubles": ["plc1: no answer"]},
        ),
    ],
)
async def test_health_gives_its_reasons(
    change: dict[str, Any], path: str, status: int, body: Any
) -> None:
    async with commanding(ListStatus(**change)) as server:
        assert (await ask(server, path))[:2] == (status, body)


async def test_assets_come_abnormal_first_and_in_pages() -> None:
    async with commanding(plant_of(500)) as server:
        _, rows, answer = await ask(server, "/api/assets?limit=4")
        assert [row["id"] for row in rows] == ["P-042", "P-007", "P-010", "P-001"]
        assert answer.headers["X-Total-Count"] == "500"
        _, rows, _ = await ask(server, "/api/assets?limit=2&offset=499")
        assert len(rows) == 1


async def test_assets_are_found_by_id_path_and_state() -> None:
    async with commanding(plant_of(50)) as server:
        _, rows, _ = await ask(server, "/api/assets?search=p-04")
        assert sorted(row["id"] for row in rows) == [f"P-04{digit}" for digit in range(10)]
        assert len((await ask(server, "/api/assets?search=LINE1"))[1]) == 50
        _, rows, _ = await ask(server, "/api/assets?search=learning")
        assert [row["id"] for row in rows] == ["P-050"]
        assert (await ask(server, "/api/assets?search=nothing"))[1] == []


async def test_a_value_that_is_no_number_is_null() -> None:
    status = ListStatus([asset_row("P-1", score=float("nan"))])
    async with commanding(status) as server:
        assert (await ask(server, "/api/assets"))[1][0]["score"] is None


async def test_alarms_by_state() -> None:
    async with commanding(plant_of(50)) as server:
        assert len((await ask(server, "/api/alarms"))[1]) == 3
        _, rows, answer = await ask(server, "/api/alarms?state=acked")
        assert [row["alarm_id"] for row in rows] == ["P-007.model"]
        assert answer.headers["X-Total-Count"] == "1"


async def test_history_passes_on_what_was_asked() -> None:
    status = ListStatus()
    async with commanding(status) as server:
        await ask(server, "/api/alarms/history")
        await ask(server, "/api/alarms/history?asset=P-1&alarm_id=P-1.model&before=9&limit=7")
    assert status.asked == [(None, None, None, 100), ("P-1", "P-1.model", 9, 7)]


async def test_the_audit_passes_on_what_was_asked() -> None:
    """Each filter under its own name; what is not given is none."""
    status = ListStatus()
    async with commanding(status) as server:
        await ask(server, "/api/audit")
        query = "asset=P-1&alarm_id=P-1.*&by=anna&since_ms=1767225600000&before=12&limit=7"
        await ask(server, f"/api/audit?{query}")
    assert status.audited == [
        (AuditFilter(), 100),
        (AuditFilter("P-1", "P-1.*", "anna", 1_767_225_600_000_000, 12), 7),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "audit?since_ms=yesterday",
        "audit?before=-1",
        "audit?actor=anna",
        "alarms?state=loud",
        "alarms?limit=-1",
        "alarms?limit=1e3",
        "alarms?limit=99999999999999999999",
        "alarms?limit=%D9%A3",
        "alarms?stat=unack",
        "alarms?state=unack&state=acked",
        "alarms/history?limit=ten",
        f"alarms/history?asset={'x' * 300}",
        f"assets?search={'x' * 300}",
    ],
)
async def test_a_wrong_parameter_is_400_with_a_reason(query: str) -> None:
    async with commanding() as server:
        status, body, _ = await ask(server, f"/api/{query}")
        assert status == 400
        assert set(body) == {"error", "hint"}
        assert body["error"]


@pytest.mark.parametrize("kind", COMMANDS)
async def test_each_command_reaches_the_daemon(kind: str) -> None:
    status = plant_of(50)
    body = {"by": " Lena ", **({"duration_s": 900} if kind == "shelve" else {})}
    async with commanding(status) as server:
        code, row, _ = await ask(server, f"/api/alarms/P-042.model/{kind}", "POST", json=body)
    assert code == 200
    assert row["alarm_id"] == "P-042.model"
    assert status.commands == [(kind, "P-042.model", "Lena", 900.0 if kind == "shelve" else None)]


async def test_a_command_to_several_alarms_reaches_the_daemon() -> None:
    """With what selects them, and the comment; the rows of all come back."""
    status = plant_of(50)
    wanted = {"pattern": "P-*", "asset": "P-0*", "state": "unack", "ids": ["P-042.model"]}
    body = {"by": "Lena", "comment": " seen ", **wanted}
    async with commanding(status) as server:
        code, rows, _ = await ask(server, "/api/alarms/ack", "POST", json=body)
        every = await ask(server, "/api/alarms/unshelve", "POST", json={"by": "L", "all": True})
        audit = (await ask(server, "/api/audit?limit=1"))[1]
    assert code == every[0] == 200
    assert [row["alarm_id"] for row in rows] == ["P-042.model"]
    assert status.selected == [
        ("ack", wanted, "Lena", None, "seen"),
        ("unshelve", {}, "L", None, ""),
    ]
    assert audit[0]["subject"] == "P-042.model"


async def test_a_path_that_is_no_command_says_which_there_are() -> None:
    async with commanding(plant_of(50)) as server:
        status, body, _ = await ask(server, "/api/alarms/X/foo")
    assert status == 404
    assert "ack, confirm" in body["hint"]


@pytest.mark.parametrize("kind", ASSET_COMMANDS)
async def test_each_command_to_an_asset_reaches_the_daemon(kind: str) -> None:
    """With the comment, and the time at which its life ended, where it did."""
    status = plant_of(50)
    at_ms = {"at_ms": 1_767_225_600_000} if kind in {"failed", "overhauled"} else {}
    body = {"by": " Lena ", "comment": " new impeller ", **at_ms}
    async with commanding(status) as server:
        code, row, _ = await ask(server, f"/api/assets/P-042/{kind}", "POST", json=body)
    assert (code, row["asset"]) == (200, "P-042")
    assert status.commands == [(kind, "P-042", "Lena", at_ms.get("at_ms"))]
    assert status.comments == ["new impeller"]


async def test_an_alarm_id_may_hold_what_a_path_may_not() -> None:
    status = ListStatus(alarm_rows=[alarm_row("P 1/ü.model")])
    async with commanding(status) as server:
        path = "/api/alarms/P%201%2F%C3%BC.model/ack"
        code, _, _ = await ask(server, path, "POST", json={"by": "Lena"})
    assert code == 200
    assert status.commands[0][1] == "P 1/ü.model"


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/alarms/nobody/ack", {"by": "Lena"}, 404, "'nobody': no such alarm"),
        ("/api/alarms/P-007.model/ack", {"by": "Lena"}, 409, "cannot ack"),
        ("/api/alarms/P-042.model/silence", {"by": "Lena"}, 404, "no such command"),
        ("/api/alarms/P-042.model/ack", {"by": "anna (key mes)"}, 400, "by may not contain (key"),
        ("/api/alarms/P-042.model/ack", {"by": "(key mes)"}, 400, "by may not contain (key"),
        ("/api/alarms/ack", {"by": "Lena"}, 400, "which alarms?"),
        ("/api/alarms/ack", {"by": "Lena", "all": False}, 400, "which alarms?"),
        ("/api/alarms/ack", {"by": "Lena", "all": 1}, 400, "all: true or false"),
        ("/api/alarms/ack", {"by": "Lena", "pattern": ""}, 400, "pattern: a text"),
        ("/api/alarms/ack", {"by": "Lena", "state": "loud"}, 400, "no such alarm state"),
        ("/api/alarms/ack", {"by": "Lena", "ids": "P-1"}, 400, "ids: a list"),
        ("/api/alarms/ack", {"pattern": "*"}, 400, "by: who"),
        ("/api/alarms/shelve", {"by": "Lena", "pattern": "*"}, 400, "duration_s"),
        (ACK, {}, 400, "by: who"),
        (ACK, {"by": ""}, 400, "by: who"),
        (ACK, {"by": "a\nb"}, 400, "by: who"),
        (ACK, {"by": 7}, 400, "by: who"),
        (ACK, {"by": "x" * 65}, 400, "longer than 64"),
        (ACK, {"by": "Lena", "duration_s": 3}, 400, "shelve only"),
        (ACK, {"by": "Lena", "remark": "x"}, 400, "no key 'remark'"),
        (ACK, {"by": "Lena", "comment": "x" * 501}, 400, "comment: a text"),
        (ACK, ["Lena"], 400, "no JSON object"),
        ("/api/alarms/P-042.model/shelve", {"by": "Lena"}, 400, "duration_s"),
        ("/api/alarms/P-042.model/shelve", {"by": "Lena", "duration_s": True}, 400, "duration_s"),
        ("/api/alarms/P-042.model/shelve", {"by": "Lena", "duration_s": -1}, 400, "not above 0"),
        ("/api/assets/nobody/failed", {"by": "Lena"}, 404, "no such asset"),
        ("/api/assets/P-042/failed", {}, 400, "by: who"),
        ("/api/assets/P-042/failed", {"by": "Lena", "at_ms": "now"}, 400, "at_ms"),
        ("/api/assets/P-042/failed", {"by": "Lena", "at_ms": True}, 400, "at_ms"),
        ("/api/assets/P-042/failed", {"by": "Lena", "at_ms": 1e300}, 400, "at_ms"),
        ("/api/assets/P-042/overhauled", {"by": "Lena", "at": 5}, 400, "no key 'at'"),
        ("/api/assets/P-042/learn", {"by": "Lena", "at_ms": 5}, 400, "no key 'at_ms'"),
        ("/api/assets/P-042/healthy", {"by": "Lena", "comment": 5}, 400, "comment: a text"),
        ("/api/assets/P-042/healthy", {"comment": "new"}, 400, "by: who"),
        ("/api/alarms/P-042.model/feedback", {"by": "Lena"}, 400, "verdict:"),
        ("/api/alarms/P-042.model/feedback", {"by": "Lena", "verdict": False}, 400, "verdict:"),
        ("/api/alarms/P-042.model/feedback", {"verdict": "false"}, 400, "by: who"),
        ("/api/assets/P-042/explode", {"by": "Lena"}, 404, "not found"),
    ],
)
async def test_a_wrong_command_is_refused_with_a_reason(
    path: str, body: Any, status: int, error: str
) -> None:
    plant = plant_of(50)
    async with commanding(plant) as server:
        code, answer, _ = await ask(server, path, "POST", json=body)
    assert code == status
    assert error in answer["error"]
    assert set(answer) == {"error", "hint"}
    assert plant.commands == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_405_with_what_is_allowed(method: str) -> None:
    async with commanding(plant_of(50)) as server:
        status, body, answer = await ask(server, ACK, method)
        assert status == 405
        assert body["error"] == "method not allowed"
        assert answer.headers["Allow"] == "POST"


@settings(max_examples=150, deadline=None)
@given(
    body=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(json.dumps).map(str.encode))
)
def test_no_body_makes_an_internal_error(body: bytes) -> None:
    async def post() -> int:
        async with commanding(plant_of(50)) as server:
            headers = {"Content-Type": "application/json"}
            return (await ask(server, ACK, "POST", data=body, headers=headers))[0]

    assert asyncio.run(post()) == 400


async def test_a_bug_in_the_daemon_is_500_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = ListStatus([{"id": "no path"}])
    async with commanding(status) as server:
        code, body, _ = await ask(server, "/api/assets")
        assert (code, body["error"]) == (500, "internal error")
        assert "KeyError" not in json.dumps(body)
        assert (await ask(server, "/health/live"))[0] == 200
    assert [record.message for record in caplog.records] == ["request failed"]


async def test_questions_are_answered_side_by_side() -> None:
    async with commanding(plant_of(500)) as server:
        paths = ["/metrics", "/api/assets", "/api/alarms", "/health/live", "/"] * 20
        answers = await asyncio.gather(*(ask(server, path) for path in paths))
    assert {status for status, _, _ in answers} == {200}


class SlowStatus(ListStatus):
    """Works for 10 ms on the event loop, and notes when it began."""

    def assets(self, only: Collection[str] | None = None) -> list[dict[str, Any]]:
        self.begun = [*getattr(self, "begun", []), time.monotonic()]
        while time.monotonic() < self.begun[-1] + 0.01:
            pass
        return super().assets(only)


@pytest.mark.parametrize("rests", [handlers.REST_FACTOR, 0.0])
async def test_readers_leave_time_to_the_pipeline(
    rests: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run on its event loop: 20 at once get a third of it; without the rests they get all."""
    monkeypatch.setattr(handlers, "REST_FACTOR", rests)
    status = SlowStatus()
    async with commanding(status) as server:
        answers = await asyncio.gather(*(ask(server, "/api/assets") for _ in range(20)))
    assert {status for status, _, _ in answers} == {200}
    closest = min(after - before for before, after in pairwise(status.begun))
    assert (closest >= 0.028) == bool(rests)


async def test_a_scrape_does_not_wait_for_readers() -> None:
    """Monitoring goes on while others read without end."""
    status = SlowStatus()
    async with commanding(status) as server:
        readers = [asyncio.create_task(ask(server, "/api/assets")) for _ in range(40)]
        while not hasattr(status, "begun"):
            await asyncio.sleep(0)
        assert (await ask(server, "/metrics"))[0] == 200
        assert sum(one.done() for one in readers) < 30
        await asyncio.gather(*readers)


async def test_all_who_wait_for_a_scrape_get_the_next_one() -> None:
    status = ListStatus()
    async with commanding(status) as server:
        answers = await asyncio.gather(*(ask(server, "/metrics") for _ in range(50)))
    assert {status for status, _, _ in answers} == {200}
    assert status.exports < 10


async def test_models_and_the_report_of_a_shadow() -> None:
    status = ListStatus()
    async with commanding(status) as server:
        code, rows, _ = await ask(server, "/api/models")
        assert (code, rows) == (200, status.model_rows)
        code, report, _ = await ask(server, "/api/models/pump-vibration/report")
        assert (code, report["agreement"]) == (200, 0.998)
        code, refusal, _ = await ask(server, "/api/models/none/report")
        assert (code, refusal["error"]) == (404, "'none': no shadow was compared")
