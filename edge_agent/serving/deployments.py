"""The models in service: the one owner of which version of a model is active.

Standby, shadow, agreement, run statistics and rollback are its private parts. The repository on
disk has the versions that the operator selected; the session registry caches loaded models.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from edge_agent.alarms import use_name_of
from edge_agent.config.types import Name
from edge_agent.serving.agreement import ShadowAlarms
from edge_agent.serving.baselines import Baselines
from edge_agent.serving.deployment import Deployment
from edge_agent.serving.lifecycle import COMMAND, DAEMON, ModelChange
from edge_agent.serving.reports import Reports, log_active
from edge_agent.serving.runs import (
    Budget,
    count_refused,
    count_windows,
    follow,
    in_turns,
    runs_of_models,
)
from edge_agent.serving.shadow import Shadows
from edge_agent.serving.track_record import TrackRecord
from edge_agent.serving.versions import BundleVersions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Config, ModelUse
    from edge_agent.messages import Transition
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import WindowBatch
    from edge_agent.serving.followed import Followed
    from edge_agent.serving.runs import ModelRun
    from edge_agent.serving.scored import Scored
    from edge_agent.serving.standby import Standby
    from edge_agent.serving.versions import Rollback
    from edge_agent.signals import Bindings, Outage
    from edge_agent.values import Columns, TensorBlock

    _BundleRun = tuple[BundleVersions, ModelRun]


class Deployments:
    """All deployments of a plant; iterating yields the active ones.

    bindings: of all signals of the plant, which grow with it. rollbacks: replaced versions that
    are still active in the repository on disk; baselines: which learned bundle scores which asset;
    on_change: called when another version is active, it must return at once. due_s: when `run` is
    to be called, by the monotonic clock, even if no window closes: windows wait for a process.
    rest_until_s: until then some windows may only wait, see `is_resting`.
    """

    def __init__(
        self,
        config: Config,
        bindings: Bindings,
        metrics: Metrics,
        alarms: AlarmTable,
        *,
        live: bool,
    ) -> None:
        self.rollbacks: list[Rollback] = []
        self.track_record = TrackRecord()
        self.on_change: Callable[[ModelChange], None] = lambda _: None
        self._bundles: dict[str, BundleVersions] = {}
        self._by_use: dict[tuple[str, str], Deployment] = {}
        self._bindings = bindings
        self._metrics = metrics
        self._alarms = alarms
        runtime, rest_s = config.runtime, float(config.tuning.tick)
        self._budget = Budget(runtime.latency_budget, runtime.max_batch, rest_s)
        self._monotonic_s = 0.0
        self._ran: list[ModelRun] = []  # in this turn
        self._has_servers = False  # of any model that was active
        self._waiting: list[BundleVersions] = []  # with windows that wait for a process
        self.due_s = inf
        self.rest_until_s = 0.0
        rules, limits = alarms.rules, config.alarms
        new_alarms = partial(ShadowAlarms, rules=rules, limits=limits, replayed=not live)
        self._shadows = Shadows(self._of_bundle, bindings, new_alarms, self._budget, metrics)
        self.reports = Reports(self._bundles, self._shadows, metrics)
        self.baselines = Baselines(self.models, self.latest, self.use_model, self.disable)

    # -- which version is active --------------------------------------------------------------

    def __iter__(self) -> Iterator[Deployment]:
        """The active deployments, in the order of their addition."""
        return iter(tuple(self._by_use.values()))

    def models(self) -> list[Model]:
        """The version of each bundle that was activated last: it is active or warming."""
        return [bundle.latest for bundle in self._bundles.values()]

    def latest(self, name: str) -> Model | None:
        """The version of a bundle that was activated last; None if none is in service."""
        return self._bundles[name].latest if name in self._bundles else None

    def active(self, name: str) -> Model | None:
        """The version of a bundle that scores; None if none is in service."""
        return self._bundles[name].active.model if name in self._bundles else None

    def standby(self, name: str) -> Model | None:
        """The version that becomes active if the active one fails."""
        bundle = self._bundles.get(name)
        return bundle.standby.model if bundle and bundle.standby else None

    def warming(self, name: str) -> Model | None:
        """The version whose windows fill; it becomes active once they are full."""
        bundle = self._bundles.get(name)
        return bundle.warming.model if bundle and bundle.warming else None

    def judging(self, name: str) -> list[Model]:
        """The versions of a bundle that score now, the active one first: of pictures, who is asked.

        Empty if none is in service.
        """
        bundle, shadow = self._bundles.get(name), self._shadows.running.get(name)
        if bundle is None:
            return []
        beside = (bundle.warming, shadow and shadow.version)
        return [bundle.active.model, *(one.model for one in beside if one is not None)]

    def _of_bundle(self, name: str) -> list[Deployment]:
        return self._bundles[name].deployments if name in self._bundles else []

    # -- changes ------------------------------------------------------------------------------

    def add_model(self, model: Model, actor: str = DAEMON) -> None:
        """Add the first version of a bundle; add assets with `use_model`."""
        name = model.manifest.name
        self.reports.loaded(name)
        parts = self._bindings, self._budget, self._follow_version, self.rollbacks
        self._bundles[name] = BundleVersions(model, *parts)
        self._report_active(model, "", actor)

    def use_model(
        self,
        asset: PlantAsset,
        use: ModelUse,
        use_name: str | None = None,
        recent: Columns | None = None,
    ) -> str:
        """Let the active version of a bundle score an asset; returns what is missing, or nothing.

        use_name: in its alarms; by default, that of `use`. recent: the newest values of the asset,
        so that its first window is full at once.
        """
        bundle = self._bundles.get(use.bundle)
        if bundle is None:
            waits = use.bundle in self.reports.awaited
            return f"model {use.bundle} is {'being loaded' if waits else 'refused'}"
        key = asset.template_name, use_name_of(use)
        found = self._by_use.get(key)
        if found is None:
            found = Deployment(use_name or use_name_of(use), use, bundle.active.model)
            self._by_use[key] = found
            bundle.deployments.append(found)
        if asset in found.assets:
            return ""
        missing = found.add_asset(asset, self._bindings, recent)
        if not missing:
            self._follow_task(found, [len(found.assets) - 1])
            self.follow_alarms_of(found, [len(found.assets) - 1])
            bundle.serve_asset(found, asset)
            self._shadows.serve_asset(found, asset)
        return missing

    def disable(self, asset: PlantAsset, use_name: str) -> None:
        """Stop scoring an asset with a model, until another version becomes active."""
        if (asset.template_name, use_name) in self._by_use:
            self._by_use[asset.template_name, use_name].disable(asset.id)

    def replace_version(self, model: Model, actor: str = COMMAND) -> dict[str, str]:
        """Replace the version of a bundle, at once or when the new one's own windows are full.

        The previous one becomes the standby. Returns the assets that the new one cannot serve, with
        the reason.
        """
        bundle, ready = self._bundles[model.manifest.name], self._shadows.promote(model)
        return bundle.replace_version(model, ready, self._monotonic_s, actor)

    def set_standby(self, name: str, model: Model | None) -> None:
        """Set the standby version of a bundle; None: there is none."""
        if name in self._bundles:
            self._bundles[name].set_standby(model)

    def set_shadow(self, name: str, model: Model | None) -> None:
        """Let this version score in parallel with the active one, and compare them; None: stop."""
        self._shadows.set_candidate(name, model)

    def try_shadow(self, model: Model, use: ModelUse, asset: PlantAsset) -> str:
        """Let a version score an asset for which no version is active; returns what is missing."""
        return self._shadows.try_alone(model, use_name_of(use), use, asset)

    def _follow_version(
        self, bundle: BundleVersions, replaced: dict[Deployment, Deployment]
    ) -> None:
        """Another version of a bundle is active."""
        for key, deployment in self._by_use.items():
            if deployment in replaced:
                self._by_use[key] = replaced[deployment]
        for one in bundle.deployments:
            self._follow_task(one, range(len(one.assets)))
        self.follow_alarms()
        self._shadows.compare_anew(bundle.active.model.manifest.name)
        before = bundle.standby.number if bundle.standby else ""
        self._report_active(bundle.active.model, before, bundle.active.actor)

    def _report_active(self, model: Model, before: str, actor: str) -> None:
        """Report which version is active; the reconciler reports a rollback."""
        log_active(model)
        self._has_servers |= model.remote is not None
        if all(one.good is not model for one in self.rollbacks):
            name, version = model.manifest.name, model.manifest.version
            self.on_change(ModelChange("activate", name, version, before, actor))

    # -- a new config -------------------------------------------------------------------------

    def adopt_rules(self, config: Config) -> None:
        """Apply new alarm rules; everything else stays as it is."""
        for (template, _), deployment in self._by_use.items():
            deployment.adopt_rules(config.templates[Name(template)])
        for standby in self._standbys():
            if standby.main is not None:
                standby.deployment.use = standby.main.use

    def adopt_versions(self, old: Deployments) -> None:
        """Keep standbys and shadows of the same models in these deployments.

        A replaced version does not come back, although it may still be on disk.
        """
        self.rollbacks += old.rollbacks
        self.reports.refused |= old.reports.refused
        for name, bundle in self._bundles.items():
            if name in old._bundles:
                bundle.adopt_versions(old._bundles[name])
        self._shadows.adopt_comparisons(old._shadows)
        self.track_record = old.track_record
        for key, deployment in self._by_use.items():
            if key in old._by_use:
                deployment.adopt_following(old._by_use[key])
        for one in self.rollbacks:
            if (now := self.active(one.name)) and now.sha256 == one.bad.model.sha256:
                self.replace_version(one.good, DAEMON)
                self.set_standby(one.name, None)

    # -- slow change --------------------------------------------------------------------------

    def recentre(self, asset: str, now_us: int, by: str = "") -> list[str]:
        """An operator says that what an asset does now is healthy: move the middle there, at once.

        Returns the names of the learned bundles that follow; empty if none does.
        """
        found = []
        for one in self:
            if one.following is not None and (row := one.row_of(asset)) is not None:
                one.following.confirm(row, now_us, by)
                self.track_record.confirm_healthy(one, row)
                found.append(str(one.model.manifest.name))
        return found

    def followed(self, asset: str) -> list[Followed]:
        """How far the middles of an asset's learned baselines have moved, the largest first."""
        rows = ((one, one.row_of(asset)) for one in self)
        return [
            each
            for one, row in rows
            if row is not None and one.following is not None
            for each in one.following.of(row, one.model.manifest)
        ]

    def follow_alarms(self) -> None:
        """Follow alarms from the store: those that are not normal get every window."""
        for one in self:
            self.follow_alarms_of(one, range(len(one.assets)))

    def follow_alarms_of(self, deployment: Deployment, rows: Iterable[int]) -> None:
        """Report every window to an alarm that is not normal, otherwise it would never clear."""
        ids, watched = deployment.alarm_ids, self._alarms.watched
        for row in rows:
            deployment.alarm_open[row] = ids[row] in watched

    def _follow_task(self, deployment: Deployment, rows: Iterable[int]) -> None:
        """The alarms of these assets say the stage of the model's task in every state."""
        for row in rows:
            self._alarms.set_stage(deployment.alarm_ids[row], deployment.task.stage)

    # -- a turn -------------------------------------------------------------------------------

    def start_turn(self, monotonic_s: float) -> None:
        """Activate versions whose windows are full; call it before the values of a turn."""
        self._monotonic_s, self._ran = monotonic_s, []
        for bundle in self._bundles.values():
            if bundle.warming_up is not None:
                bundle.finish_warming(monotonic_s)
        for standby in self._standbys():
            standby.due = []

    def accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> list[WindowBatch]:
        """Write values into all windows; returns those of the active versions that closed."""
        for standby in self._standbys():
            standby.accept_values(values, blocks)
        found: list[WindowBatch] = []
        for one in self._by_use.values():
            found += one.accept_values(values, blocks)
        return found

    def close_by_clock(self, now_us: NDArray[np.int64]) -> list[WindowBatch]:
        """Close windows by the clock; now_us: event time by plant asset [A]."""
        for standby in self._standbys():
            standby.close_by_clock(now_us)
        return [due for one in self for due in one.close_by_clock(now_us)]

    def close_windows(self) -> list[WindowBatch]:
        """Close all open windows; the recording has ended."""
        for standby in self._standbys():
            standby.close_windows()
        return [due for one in self for due in one.close_windows()]

    def reset_clock(self, assets: NDArray[np.intp]) -> None:
        """Restart the windows of these plant assets; their clock was set back."""
        for one in (*self, *(standby.deployment for standby in self._standbys())):
            one.reset_clock(assets)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the windows of these plant assets [A]; the gateway's clock was moved."""
        for one in (*self, *(standby.deployment for standby in self._standbys())):
            one.shift_clock(step_us, moves)

    def set_silence(self, signal: int, stale_us: int, usual_us: int) -> None:
        """A signal is stale after another time from now on; usual_us: its longest usual pause."""
        for one in (*self, *(standby.deployment for standby in self._standbys())):
            one.set_silence(signal, stale_us, usual_us)

    def follow_outage(self, outage: Outage) -> None:
        """The link of signals is lost, or back."""
        for one in (*self, *(standby.deployment for standby in self._standbys())):
            one.follow_outage(outage)

    def _standbys(self) -> list[Standby]:
        found: list[Standby] = []
        for bundle in self._bundles.values():
            if bundle.standby is not None or bundle.warming_up is not None:
                found += bundle.standbys()
        if self._shadows.running:
            found += self._shadows.standbys()
        return found

    def is_resting(self, batches: Sequence[WindowBatch]) -> bool:
        """True if `run` would let all these windows wait, so that it returns at once."""
        now_s = self._monotonic_s
        return self.due_s > now_s and all(
            now_s < self._bundles[batch.deployment.model.manifest.name].queue.rest_until_s
            for batch in batches
        )

    def run(self, batches: Sequence[WindowBatch]) -> list[Scored]:
        """Score windows, one run per model, by the standby if a version fails; blocking.

        Also returns the windows of earlier runs that were late.
        """
        self._ran, now_s = [], self._monotonic_s
        waited = self._waiting if self.due_s <= now_s else []
        for part in in_turns(batches):
            runs = runs_of_models(part, self._metrics)
            scoring = [self._bundles[run.model.manifest.name] for run in runs]
            ran: Iterable[_BundleRun] = zip(scoring, runs, strict=True)
            if self._has_servers:
                ran = _servers_last(ran)
            self._finish_runs([one for bundle, run in ran for one in bundle.score(run, now_s)])
            rests_s = [bundle.queue.rest_until_s for bundle in scoring]
            self.rest_until_s = max([self.rest_until_s, *rests_s])
            queues = [(bundle, bundle.queue) for bundle in scoring]
            waiting = [bundle for bundle, one in queues if one.waiting or one.late is not None]
            self._waiting = list(dict.fromkeys([*self._waiting, *waiting]))
        for bundle in waited:
            self._finish_runs(bundle.finish_late(now_s))
        if self._waiting:
            self._waiting = [bundle for bundle in self._waiting if bundle.queue]
            self.due_s = min((bundle.queue.due_s() for bundle in self._waiting), default=inf)
        return [scored for run in self._ran for scored in run.scored]

    def _finish_runs(self, ran: Sequence[ModelRun]) -> None:
        for run in ran:
            count_windows(run, self._metrics)
            for scored in run.scored:
                follow(scored)
        self._ran += ran

    def has_shadow(self, name: str, version: str) -> bool:
        """True if this version is the shadow, or was and was rejected."""
        return self._shadows.has(name, version)

    def has_shadows(self) -> bool:
        """True if any version scores in parallel with the active one."""
        return bool(self._shadows.running)

    def run_shadows(self, *, busy: bool) -> list[Transition]:
        """Score this turn's windows with the shadows, unless busy; returns their transitions."""
        return self._shadows.score_and_compare(self._ran, busy=busy)

    def count_refused(self) -> None:
        """Count values that were too late for their window, and blocks that did not fit."""
        for one in self._by_use.values():
            late = one.windows is not None and one.windows.late
            if late or one.gate.dropped or one.blocks is not None:
                count_refused(one, self._metrics)


def _servers_last(ran: Iterable[_BundleRun]) -> list[_BundleRun]:
    """Models with servers after all others, which do not wait for them; these begin at once."""
    here: list[_BundleRun] = []
    there: list[_BundleRun] = []
    for bundle, run in ran:
        (here if run.model.remote is None else there).append((bundle, run))
    for bundle, run in there:
        bundle.begin(run)
    return here + there
