"""The models at work on a plant's assets, and the versions and candidates beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.types import Name
from edge_agent.serving.run_stats import Budget
from edge_agent.serving.runs import batches, count
from edge_agent.serving.scores import alarm_id
from edge_agent.serving.shadow_alarms import ShadowAlarms
from edge_agent.serving.shadows import Shadows
from edge_agent.serving.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Config
    from edge_agent.messages import Transition
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment, WindowBatch
    from edge_agent.serving.runs import Batch
    from edge_agent.serving.standby import Standby
    from edge_agent.signals import Bindings
    from edge_agent.values import Columns, WaveBlock


class Deployments:
    """One group for each use of a model; all of them, and all beside them, get the same values.

    bindings: of all signals of the plant, which grow with it. ran: the runs of this turn.
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
        self.groups: list[Deployment] = []
        self.ran: list[Batch] = []
        self._by_place: dict[tuple[str, str], Deployment] = {}
        self._bindings = bindings
        self._metrics = metrics
        self._alarms = alarms
        budget = Budget(config.runtime.latency_budget, config.runtime.max_batch)

        def jury(mode: str) -> ShadowAlarms:
            return ShadowAlarms(mode, alarms.rules, config.alarms, replayed=not live)

        self.versions = Versions(self.groups, bindings, budget, self._replace)
        self.shadows = Shadows(self.groups, bindings, jury, budget, metrics)

    # -- who ----------------------------------------------------------------------------------

    def use(
        self,
        asset: PlantAsset,
        place: str,
        group: Callable[[], Deployment],
        recent: Columns | None = None,
    ) -> str:
        """Put a model to work on an asset; gives what is missing, or nothing.

        recent: its newest values, so that its first window is full at once.
        """
        key = (asset.template_name, place)
        if key not in self._by_place:
            self._by_place[key] = group()
            self.groups.append(self._by_place[key])
        found = self._by_place[key]
        if asset in found.assets:
            return ""
        missing = found.add(asset, self._bindings, recent)
        if not missing:
            self.engage(found, len(found.assets) - 1)
            self.versions.add(found, asset)
            self.shadows.add(found, asset)
        return missing

    def rest(self, asset: PlantAsset, place: str) -> None:
        """A model judges an asset no more."""
        if (asset.template_name, place) in self._by_place:
            self._by_place[asset.template_name, place].rest(asset.id)

    def exchange(self, new: Model) -> dict[str, str]:
        """Another version of a model takes over; gives the assets that it cannot serve, and why."""
        lost = self.versions.exchange(new, self.shadows.ready(new))
        self.shadows.renew(new)
        return lost

    def _replace(self, old: Deployment, new: Deployment) -> None:
        """A group of another version takes the place of one."""
        self.groups[self.groups.index(old)] = new
        key = next(key for key, group in self._by_place.items() if group is old)
        self._by_place[key] = new
        self._engage_all(new)

    def _companions(self) -> list[Standby]:
        return [*self.versions.standbys(), *self.shadows.standbys()]

    def adopt_rules(self, config: Config) -> None:
        """New alarm rules come into force; all else is as it was."""
        for (template, place), group in self._by_place.items():
            group.adopt_rules(config.templates[Name(template)], place)
        for standby in self._companions():
            if standby.main is not None:
                standby.group.use = standby.main.use

    def take_over(self, old: Deployments) -> None:
        """What stood beside the same models goes on beside these."""
        self.versions.take_over(old.versions)
        self.shadows.take_over(old.shadows)

    def restored(self) -> None:
        """Alarms came out of the store: those that are not at rest are told what happens next."""
        for group in self.groups:
            self._engage_all(group)

    def _engage_all(self, group: Deployment) -> None:
        for row in range(len(group.assets)):
            self.engage(group, row)

    def engage(self, group: Deployment, row: int) -> None:
        """An alarm that is not at rest hears of every window, or it would never clear."""
        group.alarm_open[row] = alarm_id(group.assets[row], group) in self._alarms.watched

    # -- a turn -------------------------------------------------------------------------------

    def begin(self, monotonic_s: float) -> None:
        """A turn begins."""
        self.ran = []
        self.versions.begin(monotonic_s)
        for standby in self._companions():
            standby.due = []

    def push(self, values: Columns, blocks: Sequence[WaveBlock]) -> Iterator[WindowBatch]:
        """Take values over; gives the windows that close."""
        for group in self.groups:
            yield from group.push(values, blocks)
        for standby in self._companions():
            standby.push(values, blocks)

    def advance(self, now_us: NDArray[np.int64]) -> Iterator[WindowBatch]:
        """Close rows by the clock; now_us: event time by plant asset [A]."""
        for group in self.groups:
            yield from group.advance(now_us)
        for standby in self._companions():
            standby.advance(now_us)

    def set_back(self, assets: NDArray[np.intp]) -> None:
        """The clock of these plant assets was set back: their windows begin anew."""
        for group in (*self.groups, *(one.group for one in self._companions())):
            group.set_back(assets)

    def move(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """The gateway's clock was moved, and the windows of these plant assets [A] with it."""
        for group in (*self.groups, *(one.group for one in self._companions())):
            group.move(step_us, moves)

    def flush(self) -> Iterator[WindowBatch]:
        """The recording has ended: its open windows."""
        for standby in self._companions():
            standby.due = []
            standby.flush()
        for group in self.groups:
            yield from group.flush()

    def run(self, due: Sequence[WindowBatch]) -> list[Batch]:
        """One run per model; a version that fails gives way to the one before it. Blocking."""
        self.ran = [self.versions.run(batch) for batch in batches(due, self._metrics)]
        for batch in self.ran:
            count(batch, self._metrics)
        return self.ran

    def shadow(self, *, busy: bool) -> list[Transition]:
        """The candidates' turn; gives what their alarms would tell. Blocking."""
        return self.shadows.step(self.ran, busy=busy)

    def count_late(self) -> None:
        """What came too late for its window, or did not fit it."""
        for group in self.groups:
            late, rejected = group.take_refused()
            if late:
                self._metrics.values_late.labels(group.source).inc(late)
            if group.gate.dropped:
                name = group.model.manifest.name
                self._metrics.windows.labels(name, "stopped").inc(group.gate.dropped)
                group.gate.dropped = 0
            if rejected:
                self._metrics.values_rejected.labels(group.source, "waveform").inc(rejected)
