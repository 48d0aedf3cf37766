"""All assets of a plant that learn a baseline, by template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.alarms import BASELINE, model_alarm_id
from edge_agent.learning.collection import Learning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Learn
    from edge_agent.messages import Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Acceptance, Observed
    from edge_agent.values import Columns

# Rows of all learning assets together stay under this.
_ROWS_BYTES: Final = 96 << 20


class BaselineLearning(dict[str, Learning]):
    """The learning assets of each template, by its name."""

    def __init__(self, signals: Acceptance, alarms: AlarmTable) -> None:
        super().__init__()
        self._signals = signals
        self._alarms = alarms

    # -- assets -------------------------------------------------------------------------------

    def learn_asset(self, asset: PlantAsset, config: Learn, provisional_s: float = 0.0) -> str:
        """Keep the asset's rows until there are enough to learn from.

        provisional_s: seconds of data in its provisional baseline. Returns what is missing, or an
        empty text.
        """
        if asset.template_name not in self:
            self[asset.template_name] = Learning(asset.template_name, config, asset)
        learning = self[asset.template_name]
        missing = learning.add(asset, self._signals.bindings, provisional_s)
        self._follow_alarm(learning, asset.id)
        return missing

    def end_asset(self, asset: PlantAsset) -> None:
        """End learning of an asset that has a full baseline from other rows."""
        if asset.template_name in self:
            self[asset.template_name].done([asset.id])

    def recent_values(self, asset: PlantAsset) -> Columns | None:
        """The newest rows of an asset as values: they fill the windows of its new model."""
        learning = self.get(asset.template_name)
        return None if learning is None else learning.recent(asset)

    def take_over(self, old: BaselineLearning) -> None:
        """Copy the collected rows from the pipeline that this one replaces."""
        for template, learning in self.items():
            if template in old:
                learning.take_over(old[template])

    # -- a turn -------------------------------------------------------------------------------

    def follow_clocks(self, observed: Observed) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        for learning in self.values():
            if observed.step_us:
                learning.shift_clock(observed.step_us, self._signals.moves)
            if observed.clock_reset:
                learning.reset_clock(observed.reset_assets)

    def accept_values(self, values: Columns) -> None:
        """Keep the rows that close by these values."""
        if self and values.signal.size:
            max_blocks = self.max_blocks()
            for learning in self.values():
                learning.accept_values(values, max_blocks)

    def max_blocks(self) -> int:
        """Blocks of 256 rows that each asset may keep, so that all fit in memory."""
        assets = sum(len(one.assets) for one in self.values())
        channels = max(len(one.inputs) for one in self.values())
        return max(4, _ROWS_BYTES // (max(assets, 1) * max(channels, 1) * 4 * 256))

    def follow_transitions(self, transitions: Iterable[Transition]) -> None:
        """Rows of an asset whose baseline has an alarm are not healthy, from then on."""
        for one in transitions:
            alarm = one.alarm
            if alarm.alarm_id == model_alarm_id(alarm.asset, BASELINE):
                for learning in self.values():
                    learning.alarm(alarm.asset, active=alarm.active, at_us=one.at_us)

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
            learning.look(self._signals)

    def obstacles(self) -> dict[str, str]:
        """By asset, why its learning is stopped, and since when."""
        found = {
            one.asset.id: learning.obstacle(one, self._signals)
            for learning in self.values()
            for one in learning.trainings
        }
        return {asset: why for asset, why in found.items() if why}
