"""All assets of a plant that learn a baseline of their waveforms, by template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.alarms import WAVEFORMS, model_alarm_id
from edge_agent.learning.waveform_collection import WaveLearning
from edge_agent.learning.waveform_inputs import wave_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Learn
    from edge_agent.learning.waveform_progress import WaveTraining
    from edge_agent.messages import Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Acceptance, Observed
    from edge_agent.values import Columns, TensorBlock

_ALARM_STANDS: Final = "the alarm of its provisional baseline is active"


class WaveBaselines(dict[str, WaveLearning]):
    """The assets of each template whose waveforms learn, by its name."""

    def __init__(self, signals: Acceptance, alarms: AlarmTable) -> None:
        super().__init__()
        self._signals = signals
        self._alarms = alarms

    def learn_asset(self, asset: PlantAsset, config: Learn, provisional_s: float = 0.0) -> str:
        """Keep the features of an asset's windows until there are enough to learn from.

        provisional_s: seconds of data in its provisional baseline. Returns what is missing, or an
        empty text.
        """
        if not wave_inputs(config, asset):
            return "cannot learn: no signal that is a waveform"
        if asset.template_name not in self:
            self[asset.template_name] = WaveLearning(asset.template_name, config, asset)
        missing = self[asset.template_name].add(asset, self._signals.bindings, provisional_s)
        self._follow_alarm(self[asset.template_name], asset.id)
        return missing

    def end_asset(self, asset: PlantAsset) -> None:
        """End learning of an asset that has a full baseline from other windows."""
        if asset.template_name in self:
            self[asset.template_name].done([asset.id])

    def take_over(self, old: WaveBaselines) -> None:
        """Copy the collected windows from the pipeline that this one replaces."""
        for template, learning in self.items():
            if template in old:
                learning.adopt_rows(old[template])

    def follow_clocks(self, observed: Observed) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        for learning in self.values():
            if observed.step_us:
                learning.shift_clock(observed.step_us, self._signals.moves)
            if observed.clock_reset:
                learning.reset_clock(observed.reset_assets)

    def accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> None:
        """Keep the features of the windows that these blocks complete, with their conditions."""
        for learning in self.values():
            learning.accept_values(values, blocks)

    def follow_transitions(self, transitions: Iterable[Transition]) -> None:
        """Windows of an asset whose baseline has an alarm are not healthy, from then on."""
        for one in transitions:
            alarm = one.alarm
            if alarm.alarm_id == model_alarm_id(alarm.asset, WAVEFORMS):
                for learning in self.values():
                    learning.alarm(alarm.asset, _ALARM_STANDS if alarm.active else "", one.at_us)

    def confirm_healthy(self, asset: str) -> None:
        """An operator calls an asset healthy: it is learned although its alarm stands."""
        for learning in self.values():
            learning.confirm_healthy(asset)

    def check_inputs(self) -> None:
        """Follow withdrawn alarms."""
        for learning in self.values():
            for asset in learning.assets:
                self._follow_alarm(learning, asset.id)

    def _follow_alarm(self, learning: WaveLearning, asset: str) -> None:
        active = self._alarms.is_active(model_alarm_id(asset, WAVEFORMS))
        learning.alarm(asset, _ALARM_STANDS if active else "")

    def learning_assets(self) -> dict[str, list[WaveTraining]]:
        """The assets that learn, by template."""
        found = {
            template: [one for one in learning.trainings if not one.is_done]
            for template, learning in self.items()
        }
        return {template: trainings for template, trainings in found.items() if trainings}

    def obstacles(self) -> dict[str, str]:
        """By asset, why its learning is stopped, and since when."""
        found = {
            one.asset.id: learning.obstacle(one, self._signals)
            for learning in self.values()
            for one in learning.trainings
        }
        return {asset: why for asset, why in found.items() if why}
