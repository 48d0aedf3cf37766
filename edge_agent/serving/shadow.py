"""A candidate in parallel with the active version: it scores the live stream, without effect.

Both versions have their own alarm tables, with the rules of the active use.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_MS
from edge_agent.serving.agreement import NOTHING, OUTCOMES, Agreement, Judged, Last
from edge_agent.serving.deployment import Deployment
from edge_agent.serving.lifecycle import Event, State
from edge_agent.serving.runs import (
    ModelRun,
    RunStats,
    Trouble,
    finish_late,
    score_windows,
    usable,
)
from edge_agent.serving.standby import Standby
from edge_agent.serving.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_agent.config.schema import ModelUse
    from edge_agent.messages import Transition
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.agreement import ShadowAlarms
    from edge_agent.serving.runs import Budget
    from edge_agent.serving.scored import Scored
    from edge_agent.signals import Bindings

log = logging.getLogger("edge_agent.serving")

_WAITING: Final = 2000  # windows of a candidate
# The names of a candidate's states in the report.
_REPORTED: Final = {
    State.SHADOW: "running",
    State.REJECTED: "dropped",
    State.PROMOTED: "ended",
    State.RETIRED: "ended",
}


class Shadow:
    """One candidate, its deployments, and the comparison of the two versions.

    alarms: of the active version and of the candidate. trouble: why it was stopped, or empty.
    """

    def __init__(
        self,
        model: Model,
        alarms: tuple[ShadowAlarms, ShadowAlarms],
        budget: Budget,
        metrics: Metrics,
    ) -> None:
        self.version = Version(model)
        self.version.apply(Event.SHADOW)
        self.trouble = ""
        self.standbys: list[Standby] = []
        self._budget = budget
        self._metrics = metrics
        self._skipped = 0
        # Runs that wait for the candidate's own process, and the active scores of their turns.
        self._runs: deque[tuple[ModelRun, list[Scored]]] = deque()
        self._active_stats = RunStats()
        self._active_alarms, self._alarms = alarms
        self._agreement = Agreement()
        self._last: dict[Deployment, Last] = {}

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.model.manifest.name

    @property
    def model(self) -> Model:
        """The candidate."""
        return self.version.model

    @property
    def active(self) -> Model | None:
        """The active version; None if there is none."""
        mains = (one.main for one in self.standbys)
        return next((main.model for main in mains if main is not None), None)

    def continue_from(self, old: Shadow) -> None:
        """Continue the comparison of the same two versions."""
        self.version.run_stats = old.version.run_stats
        for name in ("_skipped", "_active_stats", "_active_alarms", "_alarms", "_agreement"):
            setattr(self, name, getattr(old, name))

    def compares_as(self, other: Shadow) -> bool:
        """True if both compare the same two versions."""
        mine, theirs = (one.active and one.active.sha256 for one in (self, other))
        return self.model.sha256 == other.model.sha256 and mine == theirs

    # -- a turn -------------------------------------------------------------------------------

    def score_and_compare(self, ran: Iterable[ModelRun], *, busy: bool) -> list[Transition]:
        """Score the windows of this turn and compare; returns the transitions of its alarms.

        A candidate in a process of its own is not waited for: its windows are scored one run after
        the other, and compared in a later turn; those that are too many are skipped. ran: runs of
        the active versions; busy: values wait, so there is no time.
        """
        announced = self._advance()
        mine = [run for run in ran if run.model.manifest.name == self.name]
        batches = [batch for run in mine for batch in run.batches]
        found = [usable(due) for one in self.standbys for due in one.windows_of(batches)]
        run = ModelRun(self.model, [due for due in found if due.size])
        if busy or sum(waiting.size for waiting, _ in self._runs) + run.size > _WAITING:
            self._skipped += run.size
            self._count({"skipped": run.size})
            return announced
        for each in mine:
            if not each.busy:
                self._active_stats.add_run(each, self._budget)
        if run.batches or mine:
            self._runs.append((run, [one for each in mine for one in each.scored]))
        return announced + self._advance()

    def _advance(self) -> list[Transition]:
        """Execute the runs that wait, up to one that is late, and compare what is scored."""
        announced: list[Transition] = []
        while self._runs and not self.trouble:
            run, active = self._runs[0]
            if run.late is not None:
                finish_late(run)
            elif run.batches:
                score_windows(run, self._budget.limit_s(run.size), wait=False)
            if run.late is not None or run.busy:
                run.busy = False
                break
            self._runs.popleft()
            if run.batches:
                self._count_run(run)
            announced += self._compare(active, run.scored)
        return announced

    def _count_run(self, run: ModelRun) -> None:
        trouble = self.version.run_stats.add_run(run, self._budget)
        self._metrics.shadow_seconds.labels(self.name).observe(run.seconds)
        failed = run.size if run.error else 0
        self._count({"failed": failed, "not_a_number": run.non_finite})
        if trouble is Trouble.FAILED:
            self.trouble = run.error
        elif trouble is Trouble.SLOW:
            self.trouble = f"{run.size} windows take {run.seconds * 1e3:.3g} ms"

    def _compare(self, active: Sequence[Scored], candidate: Sequence[Scored]) -> list[Transition]:
        before = self._active_alarms.raises, self._alarms.raises
        theirs, _ = self._active_alarms.judge(active)
        ours, announced = self._alarms.judge(candidate)
        counts = np.zeros(len(OUTCOMES), np.int64)
        for one in self.standbys:
            last = self._last.setdefault(one.deployment, Last())
            mine = _of(one.deployment, candidate, ours)
            counts += self._agreement.add(_of(one.main, active, theirs), mine, last)
        self._count(dict(zip(OUTCOMES, counts.tolist(), strict=True)))
        now = self._active_alarms.raises, self._alarms.raises
        for mode, n in zip(("active", "shadow"), np.subtract(now, before).tolist(), strict=True):
            self._metrics.shadow_alarms.labels(self.name, mode).inc(n)
        return announced

    def _count(self, windows: dict[str, int]) -> None:
        for outcome, n in windows.items():
            if n:
                self._metrics.shadow_windows.labels(self.name, outcome).inc(n)

    def report(self) -> dict[str, Any]:
        """The comparison with the active version; see docs/models.md."""
        names = {a.index: a.id for one in self.standbys for a in one.deployment.assets}
        active, agreement = self.active, self._agreement
        return {
            "model": self.name,
            "compared": agreement.compared,
            "agreement": agreement.agreement(),
            "from_ms": agreement.from_us // US_PER_MS,
            "to_ms": agreement.to_us // US_PER_MS,
            "outcomes": agreement.as_dict(),
            "skipped": self._skipped,
            "correlation": agreement.correlation.value(),
            "active": active and _side(active, self._active_stats, self._active_alarms),
            "candidate": _side(self.model, self.version.run_stats, self._alarms),
            "assets_served": len(names),
            "worst": agreement.worst(names),
            "lacking": {k: v for one in self.standbys for k, v in one.lacking.items()},
            "state": _REPORTED[self.version.state],
            "reason": self.version.reason,
        }


def _side(model: Model, run_stats: RunStats, alarms: ShadowAlarms) -> dict[str, Any]:
    return {
        "version": model.manifest.version,
        "sha256": model.sha256,
        **run_stats.as_dict(),
        "alarms": alarms.raises,
    }


def _of(
    deployment: Deployment | None, scored: Sequence[Scored], judged: Sequence[Judged]
) -> Judged:
    """The decisions on the windows of one deployment."""
    found = [j for s, j in zip(scored, judged, strict=True) if s.deployment is deployment]
    return Judged(*map(np.concatenate, zip(*found, strict=True))) if found else NOTHING


class Shadows:
    """The candidates by the name of their bundle, at most one each.

    past: by bundle, the last candidate that no longer scores: its report and its version.
    deployments: returns the active ones of a bundle.
    """

    def __init__(
        self,
        deployments: Callable[[str], list[Deployment]],
        bindings: Bindings,
        new_alarms: Callable[[str], ShadowAlarms],
        budget: Budget,
        metrics: Metrics,
    ) -> None:
        self.running: dict[str, Shadow] = {}
        self._past: dict[str, tuple[Version, dict[str, Any]]] = {}
        self._deployments = deployments
        self._bindings = bindings
        self._new_alarms = new_alarms
        self._budget = budget
        self._metrics = metrics

    def standbys(self) -> Iterator[Standby]:
        """All deployments that need the values."""
        for shadow in self.running.values():
            yield from shadow.standbys

    def set_candidate(self, name: str, model: Model | None) -> None:
        """Let this candidate of a bundle score from now on; None: stop."""
        have = self.running.get(name)
        if model is None:
            past = self._past[name][0] if name in self._past else None
            if have is not None:
                self._end(have, Event.RETIRE, "called off")
            elif past is not None and past.state is State.REJECTED:  # it may try again after this
                past.apply(Event.RETIRE, past.reason)
        elif have is None or have.model.sha256 != model.sha256:
            self._past.pop(name, None)
            self.running[name] = self._start_shadow(model)

    def _start_shadow(self, model: Model) -> Shadow:
        alarms = self._new_alarms("active"), self._new_alarms("shadow")
        shadow = Shadow(model, alarms, self._budget, self._metrics)
        mains = self._deployments(shadow.name)
        shadow.standbys = [Standby.beside(main, model, self._bindings) for main in mains]
        log.info("shadow begins", extra={"model": shadow.name, "version": shadow.version.number})
        return shadow

    def _end(self, shadow: Shadow, event: Event, reason: str) -> None:
        shadow.version.apply(event, reason)
        del self.running[shadow.name]
        self._past[shadow.name] = shadow.version, shadow.report()
        level = logging.WARNING if event is Event.REJECT else logging.INFO
        said = {"model": shadow.name, "state": _REPORTED[shadow.version.state], "reason": reason}
        log.log(level, "shadow ends", extra=said)

    def serve_asset(self, deployment: Deployment, asset: PlantAsset) -> None:
        """Let the candidate score another asset that a deployment serves."""
        shadow = self.running.get(deployment.model.manifest.name)
        if shadow is None:
            return
        beside = next((one for one in shadow.standbys if one.main is deployment), None)
        if beside is None:
            shadow.standbys.append(Standby.beside(deployment, shadow.model, self._bindings))
        else:
            beside.add_asset(asset, self._bindings)

    def try_alone(self, model: Model, use_name: str, use: ModelUse, asset: PlantAsset) -> str:
        """Let a candidate score an asset without an active model; returns what is missing."""
        shadow = self.running.get(model.manifest.name) or self._start_shadow(model)
        self.running[shadow.name], standbys = shadow, shadow.standbys
        one = next((s for s in standbys if s.main is None and s.deployment.use is use), None)
        if one is None:
            one = Standby(Deployment(use_name, use, model), None)
            standbys.append(one)
        return one.add_asset(asset, self._bindings)

    def promote(self, model: Model) -> dict[Deployment, Standby]:
        """End the candidate if it is this version; returns its standbys by deployment."""
        shadow = self.running.get(model.manifest.name)
        if shadow is None or shadow.model.sha256 != model.sha256:
            return {}
        ready = {one.main: one for one in shadow.standbys if one.main is not None}
        self._end(shadow, Event.PROMOTE, "it is active now")
        return ready

    def compare_anew(self, name: str) -> None:
        """Restart the comparison; another version is active."""
        if name in self.running:
            self.running[name] = self._start_shadow(self.running[name].model)

    def adopt_comparisons(self, old: Shadows) -> None:
        """Keep comparisons of the same two versions with a new config."""
        self._past |= old._past
        for name, before in old.running.items():
            now = self.running[name] = self._start_shadow(before.model)
            if now.compares_as(before):
                now.continue_from(before)

    def has(self, name: str, version: str) -> bool:
        """True if this candidate scores, or was rejected."""
        if name in self.running:
            return self.running[name].version.number == version
        found = self._past[name][0] if name in self._past else None
        return found is not None and found.state is State.REJECTED and found.number == version

    def report(self, name: str) -> dict[str, Any] | None:
        """The comparison of a bundle's candidate; None if there was none."""
        if name in self.running:
            return self.running[name].report()
        version, report = self._past.get(name, (None, {}))
        return None if version is None else report | {"state": _REPORTED[version.state]}

    def reports(self) -> list[dict[str, Any]]:
        """A report for each bundle that has or had a candidate."""
        found = (self.report(name) for name in {**self._past, **self.running})
        return [report for report in found if report is not None]

    def score_and_compare(self, ran: Sequence[ModelRun], *, busy: bool) -> list[Transition]:
        """Run all candidates; returns the transitions of their alarms. Blocking."""
        announced: list[Transition] = []
        for shadow in list(self.running.values()):
            try:
                announced += shadow.score_and_compare(ran, busy=busy)
            except Exception as error:
                # A candidate must not affect the active version, whatever exception it raises.
                log.exception("shadow failed", extra={"model": shadow.name})
                shadow.trouble = f"{type(error).__name__}: {error}"
            if shadow.trouble:
                self._end(shadow, Event.REJECT, shadow.trouble)
        return announced
