"""What the HTTP server may know of the daemon, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_agent import __version__
from edge_agent.alarms import Selection, to_json
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.config.structs import kind_of
from edge_agent.config.types import Name
from edge_agent.daemon.judgement import Judgements
from edge_agent.daemon.learning_state import export_learning, learning_rows, notes
from edge_agent.daemon.runtime import labels_of
from edge_agent.detection import STOPPED
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.messages import AlarmState, LinkState
from edge_agent.signals import TRUE, UNKNOWN
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES
from edge_agent.store import Store, alarm_from_dict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_agent.daemon.daemon import Daemon
    from edge_agent.messages import Alarm, Link
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.store import AuditFilter

T = TypeVar("T")

_MAX_COMMAND_ACTOR = 100


class Status:
    """Answers of the daemon to the HTTP server (`service.StatusProvider`)."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def live(self) -> tuple[bool, str]:
        """Whether the pipeline turns over."""
        alive = self._daemon.alive()
        return alive, "" if alive else "the pipeline stands still"

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything is up; a dead PLC makes the service degraded, not unready."""
        is_ready = self._daemon.is_ready
        return is_ready, {"started": is_ready, "troubles": self._daemon.troubles()}

    def summary(self) -> dict[str, Any]:
        """The service on one page."""
        daemon = self._daemon
        gateway = daemon.runtime.config.gateway
        return {
            "gateway": gateway.id,
            "path": f"{gateway.enterprise}/{gateway.site}/{gateway.area}/{gateway.line}",
            "version": __version__,
            "uptime_s": (daemon.clock.now_us() - daemon.started_us) / US_PER_S,
            "sources": [
                _link(n, s.link, SOURCES, daemon.runtime.config.sources[Name(n)])
                for n, s in daemon.runtime.sources.items()
            ],
            "sinks": [
                _link(n, s.link, SINKS, daemon.runtime.config.sinks[Name(n)])
                for n, s in daemon.publisher.sinks.items()
            ],
            "models": self.models(),
            "learning": learning_rows(daemon.runtime.pipeline),
            "outbox": daemon.publisher.stats(),
            "troubles": daemon.troubles(),
        }

    def models(self) -> list[dict[str, Any]]:
        """Models at work and refused, and the shadows beside them."""
        return self._daemon.runtime.pipeline.deployments.rows()

    def model_report(self, name: str) -> dict[str, Any]:
        """How the shadow of a model compares with it; NotFoundError where there was none."""
        report = self._daemon.runtime.pipeline.deployments.report(name)
        if report is None:
            hint = f"edge-agent models shadow {name}@VERSION"
            raise NotFoundError("no shadow was compared", where=repr(name), hint=hint)
        return report

    def assets(self) -> list[dict[str, Any]]:
        """Every asset with its health, inputs and number of alarms."""
        daemon = self._daemon
        alarms: dict[str, int] = {}
        for alarm in daemon.runtime.alarms.active():
            if alarm.suppressed_by == STOPPED:
                continue
            alarms[alarm.asset] = alarms.get(alarm.asset, 0) + 1
        judgements = Judgements(daemon)
        judged = judgements.found
        unseen = daemon.runtime.pipeline.watch.unseen()
        told, provisional = notes(daemon), daemon.runtime.models.provisional()
        return [
            {
                "id": asset.id,
                "path": asset.path,
                "state": _state(daemon, asset, alarms, judgements),
                "alarms": alarms.get(asset.id, 0),
                **judged.get(asset.id, {"health": None, "score": None, "limit": None}),
                "note": judgements.stopped.get(asset.id)
                or judgements.unjudged.get(asset.id)
                or told.get(asset.id, ""),
                "provisional_s": provisional.get(asset.id, 0.0),
                "inputs": [
                    _input(daemon.runtime.pipeline, s, seen=not unseen[s.index])
                    for s in asset.signals.values()
                ],
            }
            for asset in daemon.runtime.plant.assets.values()
        ]

    def alarms(self, state: str | None) -> list[dict[str, Any]]:
        """Alarms that are not normal, or those in one state; the most severe first."""
        found = self._daemon.runtime.alarms.all()
        if state is None:
            found = [alarm for alarm in found if alarm.state is not AlarmState.NORMAL]
        elif state != "all":
            found = [alarm for alarm in found if alarm.state == state]
        found.sort(key=lambda alarm: (-alarm.severity, -alarm.changed_us))
        return [self._alarm(alarm) for alarm in found]

    async def history(
        self, asset: str | None, alarm_id: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Past transitions, the newest first."""
        rows = await self._daemon.publisher.store.run(
            Store.history, asset=asset, alarm_id=alarm_id, limit=limit
        )
        texts_of = self._daemon.publisher.texts_of
        return [_past(row, texts_of) for row in rows]

    async def audit(self, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
        """Who did what, the newest first."""
        rows = await self._daemon.publisher.store.run(Store.audit_log, wanted, limit)
        return [{"at_ms": row.pop("at_us") // US_PER_MS, **row} for row in rows]

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str = ""
    ) -> dict[str, Any]:
        """Acknowledge, shelve, ...; EdgeAgentError where it does not fit."""
        actor = actor[:_MAX_COMMAND_ACTOR]
        work = self._daemon.commands.one(kind, alarm_id, actor, duration_s, comment)
        return self._alarm(await self._recorded(work, kind, alarm_id, actor))

    async def command_several(
        self,
        kind: str,
        wanted: dict[str, Any],
        actor: str,
        duration_s: float | None,
        comment: str,
    ) -> list[dict[str, Any]]:
        """The same to all selected alarms where it is possible; gives their rows."""
        state = wanted.get("state", "")
        selection = Selection(
            wanted.get("pattern", ""),
            wanted.get("asset", ""),
            "" if state == "all" else state,
            frozenset(wanted.get("ids", ())),
        )
        actor = actor[:_MAX_COMMAND_ACTOR]
        several = self._daemon.commands.several
        return [self._alarm(a) for a in await several(kind, selection, actor, duration_s, comment)]

    async def _recorded(self, work: Awaitable[T], kind: str, subject: str, actor: str) -> T:
        """Note in the audit that a command is refused."""
        try:
            return await work
        except EdgeAgentError as error:
            note = self._daemon.commands.note_refused
            await note("http", subject, actor, str(error), f"{kind}: {error}")
            raise

    async def asset_command(
        self, kind: str, asset: str, actor: str, at_ms: float | None
    ) -> dict[str, Any]:
        """A life that ended, or one that begins with learning again."""
        actor = actor[:_MAX_COMMAND_ACTOR]
        work = self._command_asset(kind, asset, actor, at_ms)
        return await self._recorded(work, kind, asset, actor)

    async def _command_asset(
        self, kind: str, asset: str, actor: str, at_ms: float | None
    ) -> dict[str, Any]:
        daemon = self._daemon
        if kind == "learn":
            return await daemon.baseline_reset.begin(asset, actor)
        if kind == "forget":
            return await daemon.asset_removal.one(asset, actor)
        at_us = daemon.clock.now_us() if at_ms is None else round(at_ms * US_PER_MS)
        found = await daemon.lives.end(asset, at_us, actor, failed=kind == "failed")
        return {"asset": asset, "at_ms": at_us // US_PER_MS, "models": [asdict(o) for o in found]}

    def export(self) -> None:
        """Bring the gauges up to date; called before each scrape."""
        daemon, metrics = self._daemon, self._daemon.metrics
        judgements = Judgements(daemon)
        metrics.assets_unjudged.set(len(judgements.unjudged))
        for group in daemon.runtime.pipeline.deployments:
            name = group.title
            for row, asset in enumerate(group.assets):
                if judgements.is_fresh(group, row):
                    metrics.score.labels(asset.id, name).set(float(group.score[row]))
                    metrics.health.labels(asset.id, name).set(float(group.health[row]))
                else:  # a score that is old is none
                    metrics.score.remove(asset.id, name)
                    metrics.health.remove(asset.id, name)
        known = labels_of(daemon.runtime, daemon.publisher.sinks)
        daemon.runtime.pipeline.deployments.export()
        daemon.runtime.pipeline.diagnostics.export(
            metrics, lambda label, name: name in known[label]
        )
        export_learning(daemon)
        metrics.alarms.clear()
        for (state, priority), n in daemon.runtime.alarms.counts().items():
            metrics.alarms.labels(state, priority).set(n)
        self._export_running()
        troubled = daemon.runtime.pipeline.watch.troubled()
        for asset in daemon.runtime.plant.assets.values():
            stale = sum(bool(troubled[s.index]) for s in asset.signals.values())
            metrics.inputs_stale.labels(asset.id).set(stale)
        daemon.publisher.export()

    def _export_running(self) -> None:
        running, stops = (
            self._daemon.metrics.asset_running,
            self._daemon.runtime.pipeline.detection.stops,
        )
        running.clear()
        for asset in self._daemon.runtime.plant.assets.values():
            truth = stops.judge(stops.number(asset))[0]
            if asset.when is not None and truth != UNKNOWN:
                running.labels(asset.id).set(int(truth == TRUE))

    def _alarm(self, alarm: Alarm) -> dict[str, Any]:
        return {**to_json(alarm), **self._daemon.publisher.texts_of(alarm)}


def _link(name: str, link: Link, table: Mapping[str, Any], struct: object) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind_of(table, struct),
        "state": link.state,
        "detail": link.detail,
        "since_ms": link.since_us // US_PER_MS,
        "ok": link.state is LinkState.UP,
    }


def _state(
    daemon: Daemon, asset: PlantAsset, alarms: dict[str, int], judgements: Judgements
) -> str:
    if asset.id in alarms:
        return "alarm"
    for known, state in (
        (judgements.found, "normal"),
        (judgements.stopped, "stopped"),
        (judgements.unjudged, "unjudged"),
    ):
        if asset.id in known:
            return state
    return _without_a_model(daemon, asset)


def _without_a_model(daemon: Daemon, asset: PlantAsset) -> str:
    reason = daemon.runtime.models.without.get(asset.id)
    if reason is None:
        return "warming"
    if "learning" in reason:
        return "learning"
    return "normal" if daemon.runtime.pipeline.detection.limits.judges(asset) else "no_model"


def _past(row: dict[str, Any], texts_of: Callable[[Alarm], dict[str, Any]]) -> dict[str, Any]:
    """A row of the history as the API shows it: times in milliseconds, with what it said."""
    shown = {key: value for key, value in row.items() if key != "at_us"}
    alarm = alarm_from_dict(row["alarm"])
    at_ms = row["at_us"] // US_PER_MS
    return {**shown, "at_ms": at_ms, "alarm": to_json(alarm), "message": texts_of(alarm)["message"]}


def _input(pipeline: Pipeline, signal: PlantSignal, *, seen: bool) -> dict[str, Any]:
    row, watch = signal.index, pipeline.watch
    value = float(watch.value[row])
    return {
        "name": signal.name,
        "unit": signal.config.unit,
        "value": None if not seen or np.isnan(value) else value,
        "time_ms": int(watch.time_us[row]) // US_PER_MS if seen else None,
        "quality": watch.quality_of(row) if seen else "no_data",
        **pipeline.detection.limits.shown(signal),
    }
