"""All assets of a plant that learn a baseline, by template and step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.alarms import BASELINE, model_alarm_id
from edge_agent.learning.collection import Learning
from edge_agent.learning.progress import learn_inputs, missing_inputs, time_of_day
from edge_agent.learning.step_search import StepSearches, begin_search
from edge_agent.learning.time_scale import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Learn
    from edge_agent.learning.step_search import StepSearch
    from edge_agent.messages import Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Acceptance, Observed
    from edge_agent.values import Columns

log = logging.getLogger("edge_agent.learning")

# Rows of all learning assets together stay under this.
_ROWS_BYTES: Final = 96 << 20
_TIME_BYTES: Final = 8  # of a row
_DAY_S: Final = 86_400.0
_SAME_STEP: Final = 0.1  # steps that differ by less than this share are one


class BaselineLearning(dict[str, Learning]):
    """The learning assets, in groups of the same template and step.

    The key is the template's name, with the step added for a second group. searches: assets whose
    step is not known yet. learns_at_end: `find_steps` is called at the end of the data, so that
    steps are found from as many values as can be kept.
    """

    def __init__(self, signals: Acceptance, alarms: AlarmTable) -> None:
        super().__init__()
        self.searches = StepSearches()
        self._signals = signals
        self._alarms = alarms
        self.learns_at_end = False

    # -- assets -------------------------------------------------------------------------------

    def learn_asset(
        self,
        asset: PlantAsset,
        config: Learn,
        provisional_s: float = 0.0,
        step_s: float | None = None,
    ) -> str:
        """Keep the asset's rows until there are enough to learn from.

        provisional_s, step_s: seconds of data in its provisional baseline, and its step. Returns
        what is missing, or an empty text.
        """
        self.end_asset(asset)
        if config.step is not None or step_s is not None:
            learning = self._group(asset, config, step_s)
            missing = learning.add(asset, self._signals.bindings, provisional_s)
            self._follow_alarm(learning, asset.id)
            return missing
        inputs = learn_inputs(config, asset)
        missing = missing_inputs(inputs, asset)
        if not missing:
            self.searches.add(begin_search(asset, config, inputs, self._signals.bindings))
        return missing

    def _group(self, asset: PlantAsset, config: Learn, found_s: float | None) -> Learning:
        """The group of this template and step, a new one if there is none."""
        name = asset.template_name
        for learning in self.values():
            step_s = config.step or found_s or learning.scale.step_s
            if learning.template == name and abs(learning.scale.step_s / step_s - 1) < _SAME_STEP:
                return learning
        made = Learning(name, config, asset, found_s)
        self[f"{name} {duration_text(made.scale.step_s)}" if name in self else name] = made
        return made

    def end_asset(self, asset: PlantAsset) -> None:
        """End learning of an asset that has a full baseline from other rows."""
        self.searches.remove(asset)
        for learning in self.values():
            learning.done([asset.id])

    def learning_assets(self) -> dict[str, list[str]]:
        """The assets that learn, by template."""
        found: dict[str, list[str]] = {}
        for learning in self.values():
            open_ones = [one.asset.id for one in learning.trainings if not one.is_done]
            if open_ones:
                found.setdefault(learning.template, []).extend(open_ones)
        for search in self.searches:
            found.setdefault(search.asset.template_name, []).append(search.asset.id)
        return found

    def recent_values(self, asset: PlantAsset) -> Columns | None:
        """The newest rows of an asset as values: they fill the windows of its new model."""
        found = (learning.recent(asset) for learning in self.values())
        return next((values for values in found if values is not None), None)

    def take_over(self, old: BaselineLearning) -> None:
        """Copy the collected rows from the pipeline that this one replaces."""
        searched = {search.asset.id: search for search in old.searches}
        learned = {
            one.asset.id: learning
            for learning in old.values()
            for one in learning.trainings
            if one.is_waiting and learning.scale.is_found
        }
        for search in self.searches:
            asset = search.asset.id
            if asset in learned:
                self._end_search(search, learned[asset].scale.step_s)
            elif asset in searched:
                search.take_over(searched[asset])
        for learning in self.values():
            for before in old.values():
                if before.template == learning.template:
                    learning.take_over(before)

    # -- the step -----------------------------------------------------------------------------

    def find_steps(self, *, ended: bool = False) -> None:
        """Find the steps of assets that have enough values; ended: no more values follow."""
        for search in self.searches:
            step_s = search.step_s(waits=self.learns_at_end, ended=ended)
            if step_s is not None:
                self._end_search(search, step_s)

    def _end_search(self, search: StepSearch, step_s: float) -> None:
        """The step is known: learn from the values that were kept, and from those that follow."""
        asset = search.asset
        self.searches.remove(asset)
        learning = self._group(asset, search.config, step_s)
        learning.add(asset, self._signals.bindings, standing=search.standing)
        days = round(learning.wanted_rows * learning.scale.step_s / _DAY_S, 2)
        extra = {"asset": asset.id, "step": learning.scale.text, "values": search.count}
        extra |= {"full_baseline_days": days}
        log.info("time scale of learning", extra=extra)
        learning.accept_values(search.values(), self.max_blocks())
        self._follow_alarm(learning, asset.id)

    def set_stale_after(self, signal: int, stale_us: int) -> None:
        """A signal is stale after another time from now on."""
        for learning in self.values():
            learning.set_stale_after(signal, stale_us)

    # -- a turn -------------------------------------------------------------------------------

    def follow_clocks(self, observed: Observed) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        self.searches.follow_clock(observed.step_us, self._signals.moves, observed.reset_assets)
        for learning in self.values():
            if observed.step_us:
                learning.shift_clock(observed.step_us, self._signals.moves)
            if observed.clock_reset:
                learning.reset_clock(observed.reset_assets)

    def accept_values(self, values: Columns) -> None:
        """Keep the rows that close by these values."""
        if not values.signal.size:
            return
        if self:
            max_blocks = self.max_blocks()
            for learning in self.values():
                learning.accept_values(values, max_blocks)
        if self.searches:  # last: what they kept contains the values of this turn
            self.searches.accept_values(values)
            self.find_steps()

    def max_blocks(self) -> int:
        """Blocks of 256 rows that each asset may keep, so that all fit in memory."""
        assets = len(self.searches) + sum(len(one.assets) for one in self.values())
        channels = max(len(one.inputs) for one in self.values())
        return max(4, _ROWS_BYTES // (max(assets, 1) * (max(channels, 1) * 4 + _TIME_BYTES) * 256))

    def follow_transitions(self, transitions: Iterable[Transition]) -> None:
        """Rows of an asset whose baseline has an alarm are not healthy, from then on."""
        for one in transitions:
            alarm = one.alarm
            if alarm.alarm_id == model_alarm_id(alarm.asset, BASELINE):
                for learning in self.values():
                    learning.alarm(alarm.asset, active=alarm.active, at_us=one.at_us)

    def confirm_healthy(self, asset: str) -> None:
        """An operator calls an asset healthy: its rows are learned although its alarm stands."""
        for learning in self.values():
            learning.confirm_healthy(asset)

    def _follow_alarm(self, learning: Learning, asset: str) -> None:
        """While the alarm of an asset's baseline is active, its rows are not healthy."""
        active = self._alarms.is_active(model_alarm_id(asset, BASELINE))
        learning.alarm(asset, active=active)

    # -- obstacles ----------------------------------------------------------------------------

    def check_inputs(self) -> None:
        """Leave out inputs that delay learning, and follow withdrawn alarms."""
        for learning in self.values():
            for asset in learning.assets:
                self._follow_alarm(learning, asset.id)
            learning.input_watch.check_inputs(self._signals)

    def obstacles(self) -> dict[str, str]:
        """By asset, why its learning is stopped, and since when."""
        found = {
            one.asset.id: learning.input_watch.obstacle(one, self._signals)
            for learning in self.values()
            for one in learning.trainings
        }
        for search in self.searches:
            since_us = search.obstacle_since_us(self._signals.event_us(search.asset))
            if since_us is not None:
                found[search.asset.id] = (
                    f"since {time_of_day(since_us)}: none of its inputs has values"
                )
        return {asset: why for asset, why in found.items() if why}
