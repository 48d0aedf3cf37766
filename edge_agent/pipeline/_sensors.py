"""Data-quality alarms: a sensor that is bad, silent or stuck is an alarm of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.pipeline._policies import quality_alarm_id
from edge_agent.records import Contributor, Detail, Observation
from edge_agent.signals import ENDLESS_US, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.config import Plant
    from edge_agent.config.plant import PlantSignal
    from edge_agent.signals import Episode, QualityWatch

MESSAGE_KEYS: Final = {
    Problem.BAD: "sensor_bad",
    Problem.OUT_OF_RANGE: "sensor_out_of_range",
    Problem.LOST: "connection_lost",
    Problem.STALE: "sensor_stale",
    Problem.STUCK: "sensor_stuck",
}


class SensorAlarms:
    """Turns episodes of the quality watch into observations for the alarm table.

    The table's delays elapse only at observations, so each change is told again at the very time
    its delay ends: however the values were cut into batches, the transitions are the same.
    """

    def __init__(self, plant: Plant, watch: QualityWatch) -> None:
        self._plant = plant
        self._watch = watch
        self._problems: dict[int, list[Episode]] = {}
        self._last: dict[int, Episode] = {}
        self._due_us: dict[int, int] = {}
        self._returning: dict[int, int] = {}  # signal -> in what time it would be found silent

    def observe(
        self, episodes: Sequence[Episode], event_us: NDArray[np.int64]
    ) -> Iterator[Observation]:
        """What the alarm table must hear; event_us: event time by asset [A]."""
        for episode in episodes:
            yield from self._elapsed(episode.signal, episode.at_us)
            self._note(episode)
            yield self._observation(episode.signal, episode.at_us)
        for signal in list(self._due_us):
            now_us = int(event_us[self._plant.signals[signal].asset.index])
            if signal in self._returning:  # the source's clock may be far behind the gateway's
                latest_us = now_us + self._returning[signal]
                self._due_us[signal] = min(self._due_us[signal], latest_us)
            yield from self._elapsed(signal, now_us)

    def restored(self, signal: int, now_us: int) -> None:
        """The signal's alarm came out of the store not at rest: it clears unless told again."""
        stale_us = self._watch.patience_us(signal)["stale"]
        off_us = self._delay_us(signal, on=False)
        wait_us = off_us if stale_us >= ENDLESS_US else stale_us + US_PER_S
        self._returning[signal] = wait_us
        self._due_us[signal] = now_us + wait_us

    def set_back(self, asset: int, to_us: int) -> None:
        """The clock of an asset was set back to `to_us`: no delay ends later than it would then."""
        for signal, due_us in self._due_us.items():
            if self._plant.signals[signal].asset.index == asset:
                delay_us = self._delay_us(signal, on=bool(self._problems.get(signal)))
                self._due_us[signal] = min(due_us, to_us + delay_us)

    def _delay_us(self, signal: int, *, on: bool) -> int:
        rule = self._plant.signals[signal].asset.template.quality_alarm
        return round((rule.on_delay if on else rule.off_delay) * US_PER_S)

    def _note(self, episode: Episode) -> None:
        problems = self._problems.setdefault(episode.signal, [])
        if episode.begins:
            problems.append(episode)
            self._last[episode.signal] = episode
        else:
            problems[:] = [one for one in problems if one.problem != episode.problem]
        self._returning.pop(episode.signal, None)
        delay_us = self._delay_us(episode.signal, on=bool(problems))
        self._due_us[episode.signal] = episode.at_us + delay_us

    def _elapsed(self, signal: int, now_us: int) -> Iterator[Observation]:
        due_us = self._due_us.get(signal)
        if due_us is not None and due_us <= now_us:
            del self._due_us[signal]
            if self._returning.pop(signal, None) is not None:
                self._due_us[signal] = due_us + self._delay_us(signal, on=False)
            yield self._observation(signal, due_us)

    def _facts(self, signal: PlantSignal, key: str, status: int) -> dict[str, Any]:
        """What the text of a problem says beside the signal's name; see alarms/texts.yaml."""
        low, high = signal.config.valid or (None, None)
        after_us = self._watch.patience_us(signal.index)
        facts: dict[str, dict[str, Any]] = {
            "sensor_bad": {"status": f"0x{status:08X}"},
            "sensor_stale": {"seconds": after_us.get("stale", 0) / US_PER_S},
            "sensor_stuck": {"seconds": after_us.get("stuck", 0) / US_PER_S},
            "sensor_out_of_range": {"low": low, "high": high},
        }
        return {**facts.get(key, {}), "unit": signal.config.unit}

    def _observation(self, index: int, at_us: int) -> Observation:
        """What is wrong with a signal, with the value it had when that began.

        Not with its newest value: which that is depends on how the values were cut into batches.
        """
        signal = self._plant.signals[index]
        problems = self._problems.get(index)
        about = problems[-1] if problems else self._last.get(index)
        problem, value, status = Problem.BAD, math.nan, 0
        if about is not None:
            problem, value, status = about.problem, about.value, about.status
        key = MESSAGE_KEYS[problem]
        args = {"input": signal.name, "source": signal.source, "value": value}
        args |= self._facts(signal, key, status)
        contributors = (Contributor(signal.name, 1.0, value, signal.config.unit),)
        detail = Detail(key, args, failure_mode=key, contributors=contributors)
        return Observation(quality_alarm_id(signal), 1.0 if problems else 0.0, at_us, detail)
