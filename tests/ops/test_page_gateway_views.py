"""The views models, sources, outbox, config and doctor as a person uses them, in a browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from chromium import Page, browsing
from status_support import TOKEN, ListStatus, model_row, now_ms, serving

from edge_agent.config.types import Secret
from edge_agent.errors import ModelError, NotFoundError
from edge_agent.service import (
    ConfigQuestion,
    ModelRequest,
    TagQuestion,
    gateway_routes,
    model_routes,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.ops.http import HttpServer

pytestmark = [pytest.mark.slow, pytest.mark.integration]

EVIL = "<img src=x onerror=\"document.title='owned'\">"
CARD = {
    "version": "1.2.0",
    "task": "anomaly",
    "threshold": 1.0,
    "false_alarms_per_day": 0.02,
    "inputs": [{"name": "vib_de", "unit": "mm/s", "kind": "scalar", "valid": [0, 50]}],
    "classes": [],
    "assets": 60,
    "asset_names": ["P-001"],
    "learned_rows": 0,
    "season_zone": "",
    "told": {"training": {"rows": "86400", "note": EVIL}},
}

LINES: list[dict[str, Any]] = [
    {"key": "sinks.cmms.headers.X-Key", "value": "hidden", "is_hidden": True},
    {"key": "sources.plc.url", "value": "opc.tcp://plc:4840", "on_disk": "opc.tcp://plc2:4840"},
    {"key": "tuning.tick", "value": 0.04, "unit": "s", "is_default": True},
]
PLAIN: dict[str, Any] = {
    "unit": "",
    "from": "/etc/edge-agent.yaml:4",
    "is_default": False,
    "is_hidden": False,
}
CONFIG = {
    "path": "/etc/edge-agent.yaml",
    "files": ["/etc/edge-agent.yaml", "/etc/plant.yaml"],
    "disk": "changed",
    "disk_problem": "",
    "changed": 1,
    "total": 1200,
    "lines": [PLAIN | line for line in LINES],
}
TAG = {"address": "ns=2;s=F", "type": "Double", "value": "118.2", "unit": "m³/h", "status": "Good"}
TAGS = {
    "source": "plc",
    "type": "opcua",
    "stopped": "after 2000 variables",
    "tags": [
        TAG | {"path": ["Line1", "P-1", "Flow"], "range": [0, 200]},
        TAG | {"path": ["Line1", "P-1", EVIL], "range": None},
        TAG | {"path": ["Line2", "P-9", "Flow"], "range": None},
    ],
}
FINDINGS = [
    {"severity": "error", "where": "source plc", "what": "no answer", "mend": "is it running?"},
    {"severity": "warning", "where": "http", "what": EVIL, "mend": ""},
    {"severity": "ok", "where": "store", "what": "fine", "mend": ""},
]


def version(number: str, state: str, **more: Any) -> dict[str, Any]:
    row = {"version": number, "state": state, "signer": "8f3c", "task": "anomaly"}
    figures = {"threshold": 1.0, "false_alarms_per_day": 0.02, "window": "60 x 1 s"}
    return row | figures | {"variants": "fp32", "inputs": ["vib_de"], "assets": 60} | more


@dataclass
class Behind:
    """Answers of the models, the sources and the outbox; keeps what was chosen."""

    chosen: list[ModelRequest] = field(default_factory=list)
    rate: float | None = None
    asked: list[Any] = field(default_factory=list)

    async def installed(self, name: str, wanted: str) -> dict[str, Any]:
        if name != "pump-vibration":
            raise NotFoundError("no such model", where=repr(name))
        versions = [version("1.2.0", "active"), version("1.4.0", "shelf", signer="not trusted")]
        versions.append(version("1.1.0", "previous"))
        drift = [{"input": "vib_de", "psi": 0.31, "ks": 0.2}]
        card = CARD | ({"version": wanted} if wanted else {})
        found = {"name": name, "versions": versions, "card": card}
        return found | {"drift": drift, "drift_limit": 0.25}

    async def choose(self, request: ModelRequest) -> dict[str, Any]:
        self.chosen.append(request)
        if request.version == "1.4.0":
            raise ModelError("the golden vectors are not reproduced", where="pump@1.4.0")
        return {"name": request.name, "version": "1.1.0", "done": request.kind, "signer": ""}

    async def config(self, question: ConfigQuestion) -> dict[str, Any]:
        self.asked.append(question)
        return CONFIG

    async def tags(self, question: TagQuestion) -> dict[str, Any]:
        self.asked.append(question)
        return TAGS

    async def doctor(self, actor: str) -> dict[str, Any]:
        self.asked.append(actor)
        return {"ok": False, "findings": FINDINGS}

    def sources(self) -> list[dict[str, Any]]:
        row = {"name": "plc", "type": "opcua", "state": "up", "detail": EVIL, "faults": []}
        counts = {"received": 9, "dropped": 0, "late": 2, "rejected": {"payload": 3}}
        times = {"since_ms": now_ms(), "newest_ms": now_ms(), "silent_s": 0.2, "lag_s": 0.4}
        signals = {"signals": 500, "without_value": 1, "problems": {"stale": 2}, "reconnects": 1}
        return [row | counts | times | signals | {"clock_offset_s": -1.5, "rate": self.rate}]

    def outbox(self) -> list[dict[str, Any]]:
        message = {"kind": "event", "key": "P-1.x", "subject": "P-1.x", "reason": "422: unknown"}
        tried = {"tries": 4, "created_ms": now_ms()}
        row = {"sink": "cmms", "rows": 3, "bytes": 4096, "oldest_s": 95.0, "refused": 1}
        row |= {"given_up": 0, "state": "degraded", "detail": "", "since_ms": now_ms()}
        row |= {"last_error": "422: unknown", "last_error_ms": now_ms()}
        return [row | {"refused_messages": [{**message, **tried}]}]


@asynccontextmanager
async def viewing(folder: Path, behind: Behind, view: str) -> AsyncIterator[tuple[Page, str]]:
    rows = [model_row(reason=EVIL, latency_ms={"p50": 0.4, "p99": 1.2})]
    rows.append(model_row(mode="shadow", state="running", version="1.4.0"))
    status = ListStatus(model_rows=rows)
    routes = [*model_routes(behind), *gateway_routes(behind)]
    server: HttpServer
    async with serving(status, routes=routes, token=Secret(env="EDGE_AGENT_TEST_TOKEN")) as server:
        url = f"http://127.0.0.1:{server.port}/"
        async with browsing(folder, f"{url}#token={TOKEN}") as page:
            await page.until("document.querySelector('#views a') !== null")
            await page.js(f"location.hash = '{view}'")
            yield page, url


async def test_a_version_is_chosen_after_a_question(tmp_path: Path) -> None:
    """With a name and a comment; a refused one says why and nothing is thought to be chosen."""
    behind = Behind()
    async with viewing(tmp_path, behind, "#/models") as (page, _):
        await page.until("document.querySelector('.grid tbody a') !== null")
        await page.js("document.querySelector('.grid tbody a').click()")
        rows = "document.querySelectorAll('.grid tbody tr')"
        for part in ("86400", "99.8 %"):
            await page.until(f"document.getElementById('view').innerText.includes('{part}')")
        told = await page.text("#view")
        for part in ("1.4.0", "not trusted", "vib_de", "0.31", "59 more"):
            assert part in told
        assert await page.js("document.querySelectorAll('#view img').length") == 0
        await page.js(f"{rows}[2].querySelector('a').click()")
        await page.until("document.body.innerText.includes('Card of version 1.1.0')")
        await page.js(f"{rows}[1].querySelector('button').click()")
        assert await page.js("document.activeElement.maxLength") == 500
        yes = "document.querySelector('.question button').click()"
        await page.js(yes)
        await page.until("document.querySelector('#view .failure[role=status]') !== null")
        assert behind.chosen == [], "without a name nothing is sent"
        await page.js("operator.value = 'Lena'")
        await page.js("document.querySelector('.question input').value = 'trial'")
        await page.js(yes)
        await page.until("document.getElementById('view').innerText.includes('golden vectors')")
        assert behind.chosen == [
            ModelRequest("activate", "pump-vibration", "1.4.0", "Lena", "trial")
        ]
        await page.press("Escape")
        back = "[...document.querySelectorAll('.actions-line button')].find((b) => !b.hidden)"
        await page.js(f"{back}.click()")
        assert "1.1.0" in await page.text(".question")
        await page.js(yes)
        await page.until("document.querySelector('#view .done') !== null")
        assert behind.chosen[1].kind == "rollback"


async def test_sources_and_the_outbox_are_tables(tmp_path: Path) -> None:
    """Rates appear with the second answer; what is wrong is marked, and markup stays text."""
    behind = Behind()
    async with viewing(tmp_path, behind, "#/sources") as (page, _):
        await page.until("document.querySelector('.grid td') !== null")
        told = await page.text("#view")
        for part in ("plc", "measuring", "0.4 s", "-1.5 s", "stale 2", "payload 3", EVIL):
            assert part in told
        behind.rate = 100.0
        await page.until("!document.getElementById('view').innerText.includes('measuring')")
        await page.js("location.hash = '#/outbox'")
        await page.until("document.body.dataset.view === 'outbox'")
        await page.until("document.querySelectorAll('.grid tr.abnormal').length === 2")
        told = await page.text("#view")
        for part in ("cmms", "1 min", "422: unknown", "event P-1.x"):
            assert part in told
        assert await page.js("document.querySelectorAll('#view img').length") == 0
        assert "owned" not in str(await page.js("document.title"))
        assert page.console == []


async def test_the_config_is_searched_and_a_secret_is_only_a_word(tmp_path: Path) -> None:
    """What the disk has instead is marked; only what is set is asked for at first."""
    behind = Behind()
    async with viewing(tmp_path, behind, "#/config") as (page, _):
        await page.until("document.querySelectorAll('.grid tbody tr').length === 3")
        told = await page.text("#view")
        for part in ("hidden", "opc.tcp://plc2:4840", "/etc/plant.yaml", "0.04 s", "1 keys differ"):
            assert part in told
        assert await page.js("document.querySelectorAll('.grid tr.warning').length") == 1
        await page.js("document.querySelector('#view [type=checkbox]').click()")
        field = "document.querySelector('#view [type=search]')"
        await page.js(f"{field}.value = ' plc '; {field}.dispatchEvent(new Event('input'))")
        await page.until(
            "performance.getEntriesByType('resource').some((r) => r.name.includes('search=plc'))"
        )
        more = "[...document.querySelectorAll('#view button')].at(-1)"
        assert not await page.js(f"{more}.hidden"), "there are 1,200 lines"
        assert page.console == []
    assert behind.asked[0] == ConfigQuestion("", True, 0, 500)  # noqa: FBT003 (a field)
    assert behind.asked[-1] == ConfigQuestion("plc", False, 0, 500)  # noqa: FBT003 (a field)


async def test_tags_are_a_tree(tmp_path: Path) -> None:
    """From the row of a source; names from the other side are text, and open by the keyboard."""
    behind = Behind()
    async with viewing(tmp_path, behind, "#/sources") as (page, _):
        await page.until("document.querySelector('.grid td a') !== null")
        await page.js("document.querySelector('.grid td a').click()")
        await page.until("document.querySelector('form.ask [maxlength=\"256\"]') !== null")
        await page.js("operator.value = 'Lena'")
        await page.js("document.querySelector('#view form input').value = 'Line*'")
        await page.js("document.querySelector('#view form button').click()")
        await page.until("document.querySelectorAll('.folder').length === 4")
        told = await page.text("#view")
        for part in ("Line1 (2)", "P-9 (1)", "118.2", "m³/h", "0 … 200", "after 2000", EVIL):
            assert part in told
        assert await page.js("document.querySelectorAll('#view img').length") == 0
        await page.js("document.querySelector('.folder > summary').focus()")
        await page.press("Enter", "\r")
        await page.until("!document.querySelector('.folder').open")
        assert page.console == []
    assert behind.asked == [TagQuestion("plc", "Line*", "Lena")]


async def test_doctor_says_what_is_wrong_when_it_is_asked(tmp_path: Path) -> None:
    """Never by itself; what passed is shown only on request."""
    behind = Behind()
    async with viewing(tmp_path, behind, "#/doctor") as (page, _):
        await page.until("document.querySelector('#view button') !== null")
        await page.js("operator.value = 'Lena'")
        assert behind.asked == []
        await page.js("document.querySelector('#view button').click()")
        await page.until("document.querySelectorAll('.grid tbody tr').length === 2")
        told = await page.text("#view")
        for part in ("1 errors, 1 warnings", "no answer", "is it running?", EVIL):
            assert part in told
        assert await page.js("document.querySelector('.grid tbody tr').className") == "abnormal"
        await page.js("document.querySelector('#view [type=checkbox]').click()")
        await page.until("document.querySelectorAll('.grid tbody tr').length === 3")
        assert page.console == []
    assert behind.asked == ["Lena"]
