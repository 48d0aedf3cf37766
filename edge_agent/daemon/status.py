"""The state of the daemon for the HTTP server, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent import __version__
from edge_agent.alarms import Selection, last_time, to_json
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.config.structs import kind_of
from edge_agent.config.types import Name
from edge_agent.daemon.alarm_feedback import export_alarm_counts
from edge_agent.daemon.asset_learning import export_learning, learning_rows, notes
from edge_agent.daemon.asset_status import (
    Judgements,
    asset_rows,
    export_assets,
    export_followed,
    following_alarms,
)
from edge_agent.daemon.live_status import alarm_marks, asset_marks, asset_states
from edge_agent.daemon.runtime import labels_of
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.messages import AlarmState, LinkState
from edge_agent.sinks import SINKS
from edge_agent.sources import type_of
from edge_agent.store import AuditFilter, alarm_from_dict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from edge_agent.alarms import Judgement
    from edge_agent.clock import Clock
    from edge_agent.daemon.alarm_feedback import AlarmFeedback
    from edge_agent.daemon.commands import Commands
    from edge_agent.daemon.pair import Pair
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Alarm, Link
    from edge_agent.ops.key_file import Key
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset
    from edge_agent.store import HistoryFilter

    AssetCommand = Callable[[str, str, int, str], Awaitable[dict[str, Any]]]

T = TypeVar("T")

_MAX_COMMAND_ACTOR = 100
_SAID_ROWS = 200  # of the audit, in which words about the last occurrence are looked for


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The state of the service itself.

    started_us: when it started, since the epoch; keys_ending: API keys that expire soon.
    """

    started_us: int
    is_alive: Callable[[], bool]
    is_ready: Callable[[], bool]
    troubles: Callable[[], list[str]]
    keys_ending: Callable[[], list[Key]]


@dataclass(frozen=True, slots=True)
class Status:
    """Answers of the daemon to the HTTP server (`service.StatusProvider`).

    unresolved: notes on inputs that models cannot resolve, by asset; away_reason: why a source is
    away, else empty.
    """

    runtime: Callable[[], Runtime]
    life: Lifecycle
    publisher: Publisher
    pair: Pair
    alarm_commands: Commands
    alarm_feedback: AlarmFeedback
    asset_commands: Mapping[str, AssetCommand]
    unresolved: Callable[[], Mapping[str, str]]
    away_reason: Callable[[str], str]
    metrics: Metrics
    clock: Clock

    def live(self) -> tuple[bool, str]:
        """True if the pipeline runs."""
        alive = self.life.is_alive()
        return alive, "" if alive else "the pipeline is stopped"

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """True if everything is started; a dead PLC makes the service degraded, not unready."""
        is_ready = self.life.is_ready()
        role = {"role": self.pair.role} if self.pair.is_pair else {}
        return is_ready, {"started": is_ready, **role, "troubles": self.life.troubles()}

    def summary(self) -> dict[str, Any]:
        """The service on one page."""
        runtime = self.runtime()
        gateway = runtime.config.gateway
        return {
            "gateway": gateway.id,
            "path": f"{gateway.enterprise}/{gateway.site}/{gateway.area}/{gateway.line}",
            "version": __version__,
            "uptime_s": (self.clock.now_us() - self.life.started_us) / US_PER_S,
            "sources": [
                _link(n, s.link, type_of(runtime.config, n)) for n, s in runtime.sources.items()
            ],
            "sinks": [
                _link(n, s.link, kind_of(SINKS, runtime.config.sinks[Name(n)]))
                for n, s in self.publisher.sinks.items()
            ],
            "models": self.models(),
            "learning": learning_rows(runtime.pipeline),
            "outbox": self.publisher.stats(),
            "pair": self.pair.summary(),
            "troubles": self.life.troubles(),
            "keys_ending": [
                {"name": key.name, "expires_ms": key.expires_ms} for key in self.life.keys_ending()
            ],
        }

    def models(self) -> list[dict[str, Any]]:
        """Active and refused models, and shadows."""
        deployments = self.runtime().pipeline.deployments
        counts = deployments.track_record.counts(deployments)
        rows = deployments.reports.rows()
        return [r | counts.get(r["name"], {}) if r["mode"] == "active" else r for r in rows]

    def model_report(self, name: str) -> dict[str, Any]:
        """The comparison of a model with its shadow; NotFoundError if there was none."""
        report = self.runtime().pipeline.deployments.reports.shadow_report(name)
        if report is None:
            hint = f"edge-agent models shadow {name}@VERSION"
            raise NotFoundError("no shadow was compared", where=repr(name), hint=hint)
        return report

    def assets(self, only: Collection[str] | None = None) -> list[dict[str, Any]]:
        """Assets with their health, inputs and number of alarms."""
        known = self.runtime().plant.assets
        if only is None:
            return self._assets(known.values())
        return self._assets([known[one] for one in only if one in known], frozenset(only))

    def asset(self, asset_id: str) -> dict[str, Any] | None:
        """One asset; None if there is none."""
        asset = self.runtime().plant.assets.get(asset_id)
        return None if asset is None else self._assets([asset], {asset_id})[0]

    def asset_ids(self) -> Collection[str]:
        """The ids of all assets."""
        return self.runtime().plant.assets.keys()

    def alarm_ids(self) -> Collection[str]:
        """The ids of all alarms that ever left normal."""
        return self.runtime().alarms.ids()

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        """One alarm; None if there is none."""
        found = self.runtime().alarms.get(alarm_id)
        return None if found is None else self._alarms([found])[0]

    def asset_marks(self) -> dict[str, object]:
        """A mark of each asset that changes with its state."""
        return asset_marks(self.runtime())

    def asset_states(self, only: Collection[str]) -> list[dict[str, Any]]:
        """Short rows of some assets."""
        runtime = self.runtime()
        noted = notes(runtime, self.unresolved())
        return asset_states(runtime, self._judge(runtime, frozenset(only)), noted, only)

    def alarm_marks(self) -> dict[str, object]:
        """A mark of each alarm that is not normal, which changes with its state."""
        return alarm_marks(self.runtime())

    def alarms(
        self, state: str | None, only: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Alarms that are not normal, or those in one state; the most severe first."""
        table = self.runtime().alarms
        found = table.all() if only is None else [a for a in map(table.get, only) if a is not None]
        if state is None:
            found = [alarm for alarm in found if alarm.state is not AlarmState.NORMAL]
        elif state != "all":
            found = [alarm for alarm in found if alarm.state == state]
        found.sort(key=lambda alarm: (-alarm.severity, -alarm.changed_us))
        return self._alarms(found)

    def _alarms(self, found: Iterable[Alarm]) -> list[dict[str, Any]]:
        follows = following_alarms(self.runtime())
        verdicts = self.runtime().pipeline.deployments.track_record.verdicts()
        return [
            {
                **self._alarm(alarm),
                "follows": alarm.alarm_id in follows,
                "feedback": verdicts.get(alarm.alarm_id),
            }
            for alarm in found
        ]

    async def guidance(self, alarm_id: str) -> dict[str, Any]:
        """What to check and mend, and what was written about the alarm last time."""
        found = self.runtime().alarms.get(alarm_id)
        if found is None:
            raise NotFoundError("no such alarm", where=repr(alarm_id))
        wanted = AuditFilter(asset=found.asset)
        rows = await self.publisher.journal.audit(wanted, _SAID_ROWS, dict)
        last = last_time(found, rows)
        said = None if last is None else _entry({"at_us": last.pop("time_us"), **last})
        return {"guidance": self.publisher.guidance_of(found), "last_time": said}

    async def history(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        """Past transitions, the newest first."""
        shape = partial(_past, texts_of=self.publisher.texts_of)
        return await self.publisher.journal.history(wanted, limit, shape)

    async def audit(self, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
        """Audit entries, the newest first."""
        return await self.publisher.journal.audit(wanted, limit, _entry)

    async def command(  # noqa: PLR0913, PLR0917 (what, which, who, how long, why, and by which way)
        self,
        kind: str,
        alarm_id: str,
        actor: str,
        duration_s: float | None,
        comment: str = "",
        sender: str = "http",
    ) -> dict[str, Any]:
        """Acknowledge, shelve, ...; EdgeAgentError if this is not possible.

        sender: the interface that it came by, for the log.
        """
        self.pair.expect_active()
        actor = actor[:_MAX_COMMAND_ACTOR]
        work = self.alarm_commands.apply_one(kind, alarm_id, actor, duration_s, comment)
        return self._alarm(await self._recorded(work, kind, alarm_id, actor, sender))

    async def command_several(
        self,
        kind: str,
        wanted: dict[str, Any],
        actor: str,
        duration_s: float | None,
        comment: str,
    ) -> list[dict[str, Any]]:
        """The same for all selected alarms that allow it; returns their rows."""
        state = wanted.get("state", "")
        selection = Selection(
            wanted.get("pattern", ""),
            wanted.get("asset", ""),
            "" if state == "all" else state,
            frozenset(wanted.get("ids", ())),
        )
        self.pair.expect_active()
        actor = actor[:_MAX_COMMAND_ACTOR]
        several = self.alarm_commands.apply_several
        return [self._alarm(a) for a in await several(kind, selection, actor, duration_s, comment)]

    async def _recorded(
        self, work: Awaitable[T], kind: str, subject: str, actor: str, sender: str = "http"
    ) -> T:
        """Record a refused command in the audit."""
        try:
            return await work
        except EdgeAgentError as error:
            note = self.alarm_commands.record_refusal
            await note(sender, subject, actor, str(error), f"{kind}: {error}")
            raise

    async def feedback(self, alarm_id: str, judgement: Judgement, actor: str) -> dict[str, Any]:
        """Say what the last occurrence of a model's alarm was: true, false, or planned work."""
        actor = actor[:_MAX_COMMAND_ACTOR]
        work = self.alarm_feedback.judge(alarm_id, judgement, actor)
        return await self._recorded(work, "feedback", alarm_id, actor)

    async def asset_command(
        self, kind: str, asset: str, actor: str, at_ms: float | None, comment: str = ""
    ) -> dict[str, Any]:
        """Execute a command on an asset: end a life, re-centre its baseline, or learn again."""
        at_us = self.clock.now_us() if at_ms is None else round(at_ms * US_PER_MS)
        actor = actor[:_MAX_COMMAND_ACTOR]
        work = self.asset_commands[kind](asset, actor, at_us, comment)
        return await self._recorded(work, kind, asset, actor)

    def export(self) -> None:
        """Update the gauges; called before each scrape."""
        runtime, metrics = self.runtime(), self.metrics
        export_assets(runtime, self._judge(runtime), metrics)
        known = labels_of(runtime, self.publisher.sinks)
        runtime.pipeline.deployments.reports.export()
        runtime.pipeline.diagnostics.export(metrics, lambda label, name: name in known[label])
        export_learning(runtime, metrics)
        export_followed(runtime, metrics)
        export_alarm_counts(runtime.pipeline.deployments, metrics)
        metrics.alarms.clear()
        for (state, priority), n in runtime.alarms.counts().items():
            metrics.alarms.labels(state, priority).set(n)
        self.publisher.export()

    def _assets(
        self, assets: Iterable[PlantAsset], only: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        runtime = self.runtime()
        said = notes(runtime, self.unresolved())
        return asset_rows(runtime, self._judge(runtime, only), said, assets)

    def _judge(self, runtime: Runtime, only: Collection[str] | None = None) -> Judgements:
        return Judgements(runtime, self.away_reason, self.clock.monotonic_s(), only)

    def _alarm(self, alarm: Alarm) -> dict[str, Any]:
        return {**to_json(alarm), **self.publisher.texts_of(alarm)}


def _link(name: str, link: Link, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "state": link.state,
        "detail": link.detail,
        "since_ms": link.since_us // US_PER_MS,
        "ok": link.state is LinkState.UP,
    }


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the audit as the API shows it."""
    return {"at_ms": row.pop("at_us") // US_PER_MS, **row}


def _past(row: dict[str, Any], texts_of: Callable[[Alarm], dict[str, Any]]) -> dict[str, Any]:
    """A row of the history as the API shows it: times in milliseconds, with its text."""
    shown = {key: value for key, value in row.items() if key != "at_us"}
    alarm = alarm_from_dict(row["alarm"])
    at_ms = row["at_us"] // US_PER_MS
    return {**shown, "at_ms": at_ms, "alarm": to_json(alarm), "message": texts_of(alarm)["message"]}
