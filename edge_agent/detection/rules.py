"""What plain rules say of the values, beside the models: conditions, limits, and stopped machines.

In each turn: `turn_conditions` (which machines stop or run), `watch_quality` (a machine that stands
still on purpose has no sensor that is stuck), `compare` (limits), `tell` (the alarm table).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.detection.limit_alarms import LimitAlarms
from edge_agent.detection.stops import Rest, Stops
from edge_agent.signals import BAD, MISSING, TRUE, Points, Problem, joined, marks
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from edge_agent.alarms import AlarmTable
    from edge_agent.messages import Observation, Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import Deployment
    from edge_agent.signals import Bindings, Episode, Turn
    from edge_agent.values import Columns


class Rules(Table):
    """Conditions and limits of one plant. live: what is stale is told by the quality watch."""

    _uncertain = column(np.uint8)  # the mark of an uncertain value, by signal

    def __init__(
        self, bindings: Bindings, groups: Iterable[Deployment], alarms: AlarmTable, *, live: bool
    ) -> None:
        super().__init__()
        self._live = live
        self._bindings = bindings
        self._conditions = bindings.conditions
        self.limits = LimitAlarms(bindings, alarms)
        self.stops = Stops(bindings, groups)
        self._rests: list[Rest] = []
        self._runs: dict[int, int] = {}  # condition -> the asset that runs while it holds
        self._points: Points | None = None
        self._turns: list[Turn] = []

    def add_asset(self, asset: PlantAsset) -> None:
        """One more asset, whose signals are bound."""
        for signal in asset.signals.values():
            row = self.grow()
            self._uncertain[row] = self._bindings[signal.index].uncertain
            self.limits.add(signal)
        if asset.when is not None:
            self._runs[self._bindings.condition(asset)] = asset.index
            self._bindings.watch.rest(asset.index)  # until it is known to run

    def take_over(
        self, old: Rules, assets: Mapping[str, PlantAsset], before: Mapping[str, PlantAsset]
    ) -> None:
        """Go on where an earlier plant was; assets, before: by id, now and then."""
        was = {one.index: before[name].index for name, one in assets.items() if name in before}
        self._conditions.take_over(old._conditions, was)

    def set_back(self, asset: int, to_us: int) -> None:
        """The clock of an asset was set back to `to_us`."""
        self._conditions.set_back(asset, to_us)
        self.limits.set_back(asset, to_us)

    def move(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """The gateway's clock was moved, and the times of these assets [A] with it."""
        self._conditions.move(step_us, moves)
        self.limits.move(step_us, moves)

    # -- a turn -------------------------------------------------------------------------------

    def turn_conditions(self, values: Columns, asset_now_us: NDArray[np.int64]) -> None:
        """Which machines stop or run, by these values and by the time."""
        conditions = self._conditions
        self._points = self._trusted(values)
        conditions.update(self._points, asset_now_us)
        self._turns, conditions.turns = conditions.turns, []
        self._rests += self.stops.turned(self._turns)

    def _trusted(self, values: Columns) -> Points:
        """NaN for what is not to be trusted; what stands for no value at all is left out."""
        if not len(values) or not values.status.any():
            return Points(values.signal, values.time_us, values.value)
        mark = marks(values, self._uncertain)
        value = np.where(mark == BAD, np.nan, values.value)
        return Points(values.signal, values.time_us, value).where(mark != MISSING)

    def watch_quality(self, seen: Columns, monotonic_s: float) -> list[Episode]:
        """Changes of quality; seen: all values of this turn, those of waveforms too."""
        watch = self._bindings.watch
        episodes: list[Episode] = []
        begin = 0
        for turn in [turn for turn in self._turns if turn.number in self._runs]:
            end = int(np.searchsorted(seen.time_us, turn.at_us))
            if end > begin:
                episodes += watch.update(seen.slice(begin, end), monotonic_s)
                begin = end
            if turn.truth == TRUE:
                watch.resume(self._runs[turn.number], turn.at_us)
            else:
                episodes += watch.rest(self._runs[turn.number], turn.at_us)
        if begin < len(seen):
            episodes += watch.update(seen.slice(begin), monotonic_s)
        return episodes

    def compare(self, episodes: Iterable[Episode], asset_now_us: NDArray[np.int64]) -> None:
        """Limits, by the values of this turn, by what became stale, and by the time."""
        points = self._points
        stale = _stale(episodes)
        if stale is not None:
            if self._live:  # a recording knows by itself
                self._conditions.update(stale, asset_now_us)
            points = stale if points is None else joined((stale, points))
        if points is not None:
            self.limits.update(points, self._turns, asset_now_us)
        self.limits.advance(asset_now_us)
        self._points, self._turns = None, []

    def heard(
        self, seen: Iterable[Observation], now_us: NDArray[np.int64]
    ) -> list[Observation | Rest]:
        """All that the alarm table must hear, in the order of time; seen: what others observed."""
        told: list[Observation | Rest] = [*seen, *self._rests, *self.limits.tell(now_us)]
        self._rests = []
        # So that the flood limit counts the same in every batching.
        told.sort(key=lambda one: (one.at_us, one.alarm_id))
        return told

    def tell(self, alarms: AlarmTable, told: Iterable[Observation | Rest]) -> list[Transition]:
        """Tell the alarm table; gives what changed."""
        return [each for one in told for each in self.stops.tell(alarms, one)]


def _stale(episodes: Iterable[Episode]) -> Points | None:
    """The signals whose value is not known any more, and from when on."""
    lost = [one for one in episodes if one.begins and one.problem is Problem.STALE]
    if not lost:
        return None
    lost.sort(key=lambda episode: episode.at_us)
    return Points(
        np.array([episode.signal for episode in lost], np.intp),
        np.array([episode.at_us for episode in lost], np.int64),
        np.full(len(lost), np.nan),
    )
