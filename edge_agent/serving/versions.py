"""The versions of one bundle in service: the active one, its standby and the warming one.

If the active version fails (a score that is not a number, a run that fails, runs that take too
long), the standby scores the same windows in the same turn and is active from then on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.serving.lifecycle import DAEMON, Event, State, next_state
from edge_agent.serving.run_queue import RunQueue
from edge_agent.serving.runs import (
    ModelRun,
    RunStats,
    Trouble,
    begin_at_servers,
    finish_late,
    score_windows,
    usable,
)
from edge_agent.serving.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.runs import Budget
    from edge_agent.signals import Bindings

log = logging.getLogger("edge_agent.serving")

_GRACE_S: Final = 60.0
_WINDOWS_AWAITED: Final = 2  # a plant without values for this long will not fill them


@dataclass(slots=True, eq=False)
class Version:
    """One version of a bundle. standbys: of one that is not active, by the active deployment."""

    model: Model
    state: State = State.LOADING
    reason: str = ""  # why it fails, or was rolled back
    actor: str = DAEMON  # who activates it
    run_stats: RunStats = field(default_factory=RunStats)
    standbys: dict[Deployment, Standby] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """The version of its manifest."""
        return self.model.manifest.version

    @property
    def shares_windows(self) -> bool:
        """True if it can score windows of earlier turns, because its own are the same."""
        return all(one.shares for one in self.standbys.values())

    def apply(self, event: Event, reason: str = "") -> None:
        """Change the state by `lifecycle`; ValueError if the event cannot happen in this state."""
        self.state, self.reason = next_state(self.state, event), reason


@dataclass(frozen=True, slots=True)
class Rollback:
    """A version that the previous one replaced; `bad.reason` is the reason."""

    bad: Version
    good: Model
    trouble: Trouble

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.good.manifest.name


class Warming:
    """Waits for the windows of a version, which fill while the active one continues.

    Its windows are full if every asset that was scored since has one of the new layout.
    """

    def __init__(self, version: Version, monotonic_s: float) -> None:
        self.version = version
        window = version.model.manifest.window
        span_s = _WINDOWS_AWAITED * max(window.step_s, 1.0) * window.length
        self._until_s = monotonic_s + span_s + _GRACE_S
        self._scored_us = {main: main.scored_us.copy() for main in version.standbys}
        self._full: set[tuple[Deployment, str]] = set()

    def is_ready(self, monotonic_s: float) -> bool:
        """True if its windows are full, or will not be."""
        awaited: set[tuple[Deployment, str]] = set()
        for main, standby in self.version.standbys.items():
            if not standby.shares:
                self._full |= {(main, asset) for asset in _served(standby)}
                awaited |= {(main, asset) for asset in self._scored_since(main, standby)}
        return (bool(self._full) and awaited <= self._full) or monotonic_s >= self._until_s

    def _scored_since(self, main: Deployment, standby: Standby) -> set[str]:
        before = self._scored_us.get(main, main.scored_us)
        scored = main.scored_us[: len(before)] != before
        return {main.assets[row].id for row in scored.nonzero()[0]} - standby.lacking.keys()


def _served(standby: Standby) -> set[str]:
    """The assets with a window that closed in this turn."""
    rows: set[int] = set()
    for due in standby.due:
        rows |= set(due.rows.tolist())
    return {standby.deployment.assets[row].id for row in rows}


class BundleVersions:
    """The versions of one bundle and the deployments of the active one.

    on_active: called when another version is active, with the deployments that it replaced by its
    own; rollbacks: receives each replaced failed version. warming_up: a version whose windows fill.
    queue: windows that wait for the model's process.
    """

    def __init__(
        self,
        model: Model,
        bindings: Bindings,
        budget: Budget,
        on_active: Callable[[BundleVersions, dict[Deployment, Deployment]], None],
        rollbacks: list[Rollback],
    ) -> None:
        self.deployments: list[Deployment] = []
        self.queue = RunQueue()
        self.standby: Version | None = None
        self._bindings = bindings
        self._budget = budget
        self._on_active = on_active
        self._rollbacks = rollbacks
        self.warming_up: Warming | None = None
        self.active = Version(model)
        self.active.apply(Event.ACTIVATE)

    @property
    def warming(self) -> Version | None:
        """The version whose windows are filling."""
        return None if self.warming_up is None else self.warming_up.version

    @property
    def latest(self) -> Model:
        """The version that was activated last, even if its windows are still filling."""
        return (self.warming or self.active).model

    def standbys(self) -> Iterator[Standby]:
        """All standbys that need the values, in addition to the deployments."""
        for version in (self.standby, self.warming):
            yield from version.standbys.values() if version is not None else ()

    def serve_asset(self, deployment: Deployment, asset: PlantAsset) -> None:
        """Let the standbys score another asset that a deployment serves."""
        for version in (self.standby, self.warming):
            if version is not None and deployment in version.standbys:
                version.standbys[deployment].add_asset(asset, self._bindings)
            elif version is not None:
                beside = Standby.beside(deployment, version.model, self._bindings)
                version.standbys[deployment] = beside

    # -- replacement --------------------------------------------------------------------------

    def set_standby(self, model: Model | None) -> None:
        """Set the standby version; None: there is none."""
        if self.standby is not None:
            self.standby.apply(Event.RETIRE)
            self.standby = None
        if model is not None and model.sha256 != self.active.model.sha256:
            self.standby = self._beside(model, {})
            self.standby.apply(Event.STAND_BY)

    def replace_version(
        self, model: Model, ready: Mapping[Deployment, Standby], monotonic_s: float, actor: str
    ) -> dict[str, str]:
        """Replace the version: at once if its windows are the same, else when they are full.

        ready: its existing standbys; actor: who activates it. Returns the assets that it cannot
        serve, with the reason.
        """
        self._stop_warming()
        if model.sha256 == self.active.model.sha256:
            return {}
        version = self._beside(model, ready)
        version.actor = actor
        beside = version.standbys.values()
        lost = {asset: why for one in beside for asset, why in one.lacking.items()}
        if all(one.shares for one in beside):
            self._activate(version)
        else:
            version.apply(Event.WARM_UP)
            self.warming_up = Warming(version, monotonic_s)
        return lost

    def finish_warming(self, monotonic_s: float) -> None:
        """Activate the warming version if its windows are full."""
        if self.warming_up is not None and self.warming_up.is_ready(monotonic_s):
            version, self.warming_up = self.warming_up.version, None
            self._activate(version)

    def _beside(self, model: Model, ready: Mapping[Deployment, Standby]) -> Version:
        standbys = {
            main: ready.get(main) or Standby.beside(main, model, self._bindings)
            for main in self.deployments
        }
        return Version(model, standbys=standbys)

    def _stop_warming(self) -> None:
        if self.warming_up is not None:
            self.warming_up.version.apply(Event.RETIRE)
            self.warming_up = None

    def _activate(self, version: Version) -> None:
        """Make a version active; the previous one becomes the standby."""
        old = self.active
        old.apply(Event.SUPERSEDE)
        self.set_standby(None)
        replaced = self._put_in_place(version)
        before = {new: main for main, new in replaced.items()}
        for main in self.deployments:
            if main in before:
                old.standbys[main] = Standby(before[main], main)  # its windows continue
            else:
                old.standbys[main] = Standby.beside(main, old.model, self._bindings)
        self.standby = old
        self._on_active(self, replaced)

    def _roll_back(self, good: Version, trouble: Trouble, text: str) -> None:
        """Activate the standby; the failed version does not become one."""
        bad, self.standby = self.active, None
        bad.apply(Event.GIVE_WAY, text)
        self._rollbacks.append(Rollback(bad, good.model, trouble))
        self._on_active(self, self._put_in_place(good))

    def _put_in_place(self, version: Version) -> dict[Deployment, Deployment]:
        """Make a version the active one; returns old to new deployments, of the replaced ones."""
        replaced: dict[Deployment, Deployment] = {}
        for number, main in enumerate(self.deployments):
            standby = version.standbys[main]
            if standby.shares:
                main.set_model(version.model)
            else:
                standby.deployment.adopt_scores(main)
                self.deployments[number] = replaced[main] = standby.deployment
        version.standbys, version.run_stats = {}, RunStats()
        self.queue.follow_version()
        version.apply(Event.ACTIVATE)
        self.active = version
        if self.warming is not None:
            for main, new in replaced.items():
                self.warming.standbys[new] = moved = self.warming.standbys.pop(main)
                moved.stand_beside(new)
        return replaced

    def adopt_versions(self, old: BundleVersions) -> None:
        """Keep versions and standbys with a new config."""
        if old.active.model.sha256 != self.active.model.sha256:
            self.set_standby(old.active.model)
            return
        self.active.run_stats = old.active.run_stats
        self.active.state, self.active.reason = old.active.state, old.active.reason
        if old.standby is not None:
            self.set_standby(old.standby.model)

    # -- runs ---------------------------------------------------------------------------------

    def begin(self, run: ModelRun) -> None:
        """Let the servers of a model begin, while the models of this gateway run."""
        if self.queue.late is None and run.model is self.active.model:
            begin_at_servers(run)

    def score(self, run: ModelRun, monotonic_s: float) -> list[ModelRun]:
        """Execute a run, by the standby if the active version fails; blocking.

        Empty while the run, or an earlier one, is late, and right after another one in the model's
        own process: `finish_late` returns it later.
        """
        queue, is_other = self.queue, run.model is not self.active.model
        is_isolated = run.model.is_isolated
        if queue.late is not None or is_other or monotonic_s < queue.rest_until_s:
            return queue.add(run)
        rests = is_isolated and run.model.remote is None  # a server has begun already
        if rests and monotonic_s and (self.standby is None or self.standby.shares_windows):
            queue.rest_until_s = monotonic_s + self._budget.rest_s
        waiting = (
            queue.drain(run.model, self.deployments) if is_isolated and queue.waiting else None
        )
        if waiting is not None:
            run = ModelRun(run.model, [*waiting.batches, *run.batches])
        is_limited = self.standby is not None or is_isolated
        score_windows(run, self._budget.limit_s(run.size) if is_limited else None)
        return self._judged(run)

    def finish_late(self, monotonic_s: float) -> list[ModelRun]:
        """The run that was late, if it is over now, and the next one with what waits."""
        late = self.queue.drain_late()
        found = [] if late is None else self._judged(finish_late(late))
        if monotonic_s < self.queue.rest_until_s:
            return found
        waiting = self.queue.drain(self.active.model, self.deployments)
        return found if waiting is None else found + self.score(waiting, monotonic_s)

    def _judged(self, run: ModelRun) -> list[ModelRun]:
        """Follow the outcome of a run; it may have another one, of the standby."""
        if run.busy:
            return self.queue.add(run)
        if run.late is not None and self.standby is not None and run.late.is_computing:
            run.model.abandon_run(run.late.message)
            run.error, run.late = str(run.late), None
        if run.late is not None:
            self.queue.late = run
            return []
        stats = self.active.run_stats
        trouble = stats.add_run(run, self._budget)
        if trouble is not None and self.standby is not None:
            again = self._score_by_standby(run, trouble, self.standby)
            if again is not None:
                return [again]
            stats.forget_slow_runs()
        self._follow_outcome(run, trouble)
        return [run]

    def _score_by_standby(self, run: ModelRun, trouble: Trouble, good: Version) -> ModelRun | None:
        """Score the same windows with the standby; None if the result is no better."""
        beside = good.standbys.values()
        found = [usable(due) for one in beside for due in one.windows_of(run.batches)]
        again = ModelRun(good.model, [batch for batch in found if batch.size])
        if again.batches:
            score_windows(again, self._budget.limit_s(again.size))
            failed = again.late or again.busy or RunStats().add_run(again, self._budget) is not None
            if failed or (trouble is Trouble.SLOW and self._is_slow(again)):
                return None
        for standby in beside:
            again.scored = [standby.as_main(scored) for scored in again.scored]
        self._roll_back(good, trouble, run.trouble_text(trouble, self._budget))
        return again

    def _is_slow(self, again: ModelRun) -> bool:
        """True if the standby is slow as well: the machine is slow, not the version."""
        warm = score_windows(ModelRun(again.model, again.batches))  # its first run is slower
        return warm.seconds > self._budget.of(again.size)

    def _follow_outcome(self, run: ModelRun, trouble: Trouble | None) -> None:
        """Log one line when a model starts to fail, and one when it works again."""
        name, is_failing = run.model.manifest.name, self.active.state is State.FAILING
        if trouble in {Trouble.FAILED, Trouble.NOT_A_NUMBER}:
            self.active.apply(Event.FAIL, run.trouble_text(trouble, self._budget))
            if not is_failing:
                extra = {"model": name, "version": self.active.number, "reason": self.active.reason}
                log.error("model failed", extra=extra)
        elif is_failing:
            self.active.apply(Event.RECOVER)
            log.info("model works again", extra={"model": name})
