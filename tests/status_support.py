"""A daemon's answers as a plain list of rows, and a server on a free port of the loopback."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service import event_routes, status_routes, with_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from edge_agent.alarms import Judgement
    from edge_agent.ops.routes import Route
    from edge_agent.store import AuditFilter, HistoryFilter

# The token of a server that `commanding` makes, and the headers of its clients.
TOKEN = os.environ["EDGE_AGENT_TEST_TOKEN"] = "correct-horse-battery"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GOOD_INPUTS = (("vib_de", 2.31, "mm/s"), ("temp_de", 61.4, "°C"), ("flow", 118.0, "m³/h"))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def asset_row(asset_id: str, **changes: Any) -> dict[str, Any]:
    inputs = [
        {"name": name, "value": value, "unit": unit, "time_ms": now_ms() - 400, "quality": "good"}
        for name, value, unit in GOOD_INPUTS
    ]
    row = {
        "id": asset_id,
        "path": f"acme/hamburg/water/line1/{asset_id}",
        "state": "normal",
        "health": 0.97,
        "score": 0.31,
        "limit": 1.0,
        "note": "",
        "followed": [],
        "inputs": inputs,
        "alarms": 0,
    }
    return row | changes


def model_row(**changes: Any) -> dict[str, Any]:
    row = {
        "name": "pump-vibration",
        "version": "1.2.0",
        "mode": "active",
        "state": "active",
        "variant": "int8",
        "assets": 498,
        "provider": "cpu",
    }
    return row | changes


def alarm_row(alarm_id: str, **changes: Any) -> dict[str, Any]:
    asset = alarm_id.split(".", maxsplit=1)[0]
    row = {
        "alarm_id": alarm_id,
        "asset": asset,
        "state": "unack",
        "seq": 1,
        "active": True,
        "follows": False,
        "feedback": None,
        "severity": 700,
        "priority": "high",
        "ne107": "maintenance_required",
        "stage": "state_detection",
        "first_seen_ms": now_ms() - 260_000,
        "changed_ms": now_ms() - 260_000,
        "shelved_until_ms": None,
        "count": 1,
        "acked_by": "",
        "detail": {
            "score": 2.4,
            "contributors": [
                {"input": "vib_de", "weight": 1.9, "value": 7.81, "unit": "mm/s"},
                {"input": "temp_de", "weight": 0.4, "value": 74.2, "unit": "°C"},
                {"input": "flow", "weight": 0.1, "value": 117.0, "unit": "m³/h"},
            ],
            "model": {"name": "pump-vibration", "version": "1.2.0", "sha256": "", "mode": "active"},
        },
        "message": {
            "en": f"{asset}: bearing wear, drive end",
            "de": f"{asset}: Lagerverschleiß, Antriebsseite",
        },
        "advice": {"en": "Plan the bearing's replacement; check its lubrication now."},
    }
    return row | changes


@dataclass
class ListStatus:
    """Answers from lists, and keeps what it was commanded."""

    asset_rows: list[dict[str, Any]] = field(default_factory=list)
    alarm_rows: list[dict[str, Any]] = field(default_factory=list)
    model_rows: list[dict[str, Any]] = field(default_factory=lambda: [model_row()])
    alive: bool = True
    started: bool = True
    exports: int = 0
    commands: list[tuple[str, str, str, float | None]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)  # of commands to assets
    judged: list[dict[str, str]] = field(default_factory=list)
    selected: list[tuple[Any, ...]] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    audited: list[tuple[AuditFilter, int]] = field(default_factory=list)
    history_rows: list[dict[str, Any]] = field(default_factory=list)
    guidance_rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_time: dict[str, Any] | None = None
    links: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def live(self) -> tuple[bool, str]:
        return self.alive, "" if self.alive else "the pipeline is stopped"

    def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.started, {"troubles": self.troubles}

    def export(self) -> None:
        self.exports += 1

    def summary(self) -> dict[str, Any]:
        return {
            "gateway": "gw-07",
            "path": "acme/hamburg/water/line1",
            "version": "0.1.0",
            "uptime_s": 187_000.0,
            "sources": self.links[:1],
            "sinks": self.links[1:],
            "models": self.models(),
            "learning": [{"asset": "P-500", "progress": 0.42}],
            "outbox": [{"sink": "bus", "rows": 12, "bytes": 20_480, "oldest_s": 95.0}],
            "troubles": self.troubles,
        }

    def models(self) -> list[dict[str, Any]]:
        return self.model_rows

    def model_report(self, name: str) -> dict[str, Any]:
        if name not in {row["name"] for row in self.model_rows}:
            raise NotFoundError("no shadow was compared", where=repr(name))
        return {"model": name, "agreement": 0.998}

    def assets(self, only: Collection[str] | None = None) -> list[dict[str, Any]]:
        return [row for row in self.asset_rows if only is None or row["id"] in only]

    def asset_marks(self) -> dict[str, object]:
        return {row["id"]: repr(row) for row in self.asset_rows}

    def asset_states(self, only: Collection[str]) -> list[dict[str, Any]]:
        short = ("id", "path", "state", "alarms", "health", "note")
        return [
            {key: row[key] for key in short}
            | {"off": sum(one["quality"] != "good" for one in row["inputs"])}
            for row in self.assets(only)
        ]

    def alarm_marks(self) -> dict[str, object]:
        return {row["alarm_id"]: repr(row) for row in self.alarm_rows if row["state"] != "normal"}

    def alarms(
        self, state: str | None, only: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        return [
            dict(row)
            for row in self.alarm_rows
            if state in {None, "all", row["state"]} and (only is None or row["alarm_id"] in only)
        ]

    def asset(self, asset_id: str) -> dict[str, Any] | None:
        return next((row for row in self.asset_rows if row["id"] == asset_id), None)

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        return next((row for row in self.alarm_rows if row["alarm_id"] == alarm_id), None)

    async def guidance(self, alarm_id: str) -> dict[str, Any]:
        if self.alarm(alarm_id) is None:
            raise NotFoundError("no such alarm", where=repr(alarm_id))
        return {"guidance": self.guidance_rows.get(alarm_id), "last_time": self.last_time}

    def asset_ids(self) -> list[str]:
        return [row["id"] for row in self.asset_rows]

    def alarm_ids(self) -> list[str]:
        return [row["alarm_id"] for row in self.alarm_rows]

    async def history(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        self.asked.append((*wanted, limit))
        return self.history_rows or [{"alarm_id": wanted.alarm_id, "transition": "raise"}]

    async def audit(self, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
        self.audited.append((wanted, limit))
        row = {"at_ms": 1, "actor": "Lena", "action": "ack", "subject": "P-042.model", "detail": ""}
        return [row][:limit]

    async def command_several(
        self,
        kind: str,
        wanted: dict[str, Any],
        actor: str,
        duration_s: float | None,
        comment: str,
    ) -> list[dict[str, Any]]:
        self.selected.append((kind, wanted, actor, duration_s, comment))
        ids = wanted.get("ids", [row["alarm_id"] for row in self.alarm_rows])
        found = [row for row in self.alarm_rows if row["alarm_id"] in ids]
        return [await self.command(kind, row["alarm_id"], actor, duration_s) for row in found]

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str = ""
    ) -> dict[str, Any]:
        row = next((row for row in self.alarm_rows if row["alarm_id"] == alarm_id), None)
        if row is None:
            raise NotFoundError("no such alarm", where=repr(alarm_id), hint="`alarms list`")
        if kind == "ack" and row["state"] == "acked":
            raise EdgeAgentError("cannot ack: the alarm is acked", where=alarm_id)
        self.commands.append((kind, alarm_id, actor, duration_s))
        row["comment"] = comment
        row["state"] = {"ack": "acked", "shelve": "shelved"}.get(kind, "unack")
        row["acked_by"] = actor
        return row

    async def feedback(self, alarm_id: str, judgement: Judgement, actor: str) -> dict[str, Any]:
        verdict, part, comment = judgement.verdict, judgement.part, judgement.comment
        row = next((row for row in self.alarm_rows if row["alarm_id"] == alarm_id), None)
        if row is not None and row["feedback"] is None:
            raise EdgeAgentError("not an alarm of an anomaly model", where=alarm_id)
        if row is not None:
            row["feedback"] = verdict
        told = {"alarm_id": alarm_id, "verdict": verdict, "by": actor, "comment": comment}
        told |= {"part": part} if part else {}
        self.judged.append(told)
        return {**told, "limit_factor": 2.875 if verdict == "false" else 1.0}

    async def asset_command(
        self, kind: str, asset: str, actor: str, at_ms: float | None, comment: str
    ) -> dict[str, Any]:
        """Take note of it; there is no asset but those of this plant."""
        if asset not in {row["id"] for row in self.asset_rows}:
            raise NotFoundError("no such asset", where=repr(asset))
        self.commands.append((kind, asset, actor, at_ms))
        self.comments.append(comment)
        return {"asset": asset, "models": ["pump-learned"]}


def plant_of(count: int) -> ListStatus:
    """A plant with `count` assets, a few of them in trouble, as a screenshot should show it."""
    rows = [asset_row(f"P-{number:03}") for number in range(1, count + 1)]
    status = ListStatus(rows)
    rows[41] |= {"state": "alarm", "health": 0.34, "score": 2.4, "alarms": 1}
    rows[6] |= {"state": "alarm", "health": 0.61, "score": 1.12, "alarms": 1}
    rows[9]["inputs"][1] |= {"quality": "stale", "time_ms": now_ms() - 900_000}
    rows[-1] |= {"state": "learning", "health": None, "score": None, "limit": None}
    rows[-1]["note"] = "learning: 42 % of 24 h"
    contributors = [{"input": "flow", "weight": 1.0, "value": 43.5, "unit": "m³/h"}]
    status.alarm_rows = [
        alarm_row("P-042.model", severity=900, priority="critical", count=3),
        alarm_row(
            "P-007.model",
            severity=600,
            priority="medium",
            state="acked",
            acked_by="Lena",
            detail={"contributors": contributors, "model": None},
            message={"en": "P-007: flow falls while the speed holds: valve partly closed"},
        ),
        alarm_row(
            "P-010.quality",
            severity=300,
            priority="low",
            state="shelved",
            shelved_until_ms=now_ms() + 3_600_000,
            detail={"contributors": [], "model": None},
            message={"en": "P-010: temp_de is stale"},
        ),
    ]
    status.links = [
        link_row("plc1", "opcua", "up"),
        link_row("bus", "mqtt", "up"),
        link_row("cmms", "webhook", "down", "https://cmms.example/alerts: 503"),
    ]
    status.troubles = ["cmms: https://cmms.example/alerts: 503", "store: 3 messages dropped"]
    return status


def link_row(name: str, kind: str, state: str, detail: str = "") -> dict[str, Any]:
    since_ms = now_ms() - 7_200_000
    return {"name": name, "type": kind, "state": state, "detail": detail, "since_ms": since_ms}


@asynccontextmanager
async def serving(
    status: ListStatus | None = None,
    metrics: Metrics | None = None,
    routes: Sequence[Route] = (),
    **config: Any,
) -> AsyncIterator[HttpServer]:
    """A running server on a port that the system chose; routes: further ones."""
    http = Http(**{"port": 0, **config})
    shown = status or ListStatus()
    own = [*status_routes(shown, metrics or Metrics()), *event_routes(shown, SystemClock())]
    server = HttpServer(http, with_document([*own, *routes]), FakeClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def commanding(
    status: ListStatus | None = None, **config: Any
) -> AbstractAsyncContextManager[HttpServer]:
    """The same with a token, so that clients over TCP may command."""
    return serving(status, token=Secret(env="EDGE_AGENT_TEST_TOKEN"), **config)
