"""Data-quality alarms: a bad, silent or stuck sensor raises a separate alarm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import quality_alarm_id, silent_alarm_id
from edge_agent.clock import ENDLESS, US_PER_S
from edge_agent.detection.silence import Silence
from edge_agent.messages import Contributor, Detail, Observation
from edge_agent.signals import Problem
from edge_agent.status_codes import LOST, NO_MEASUREMENT, Severity, name_of
from edge_agent.values import BAD_NO_COMMUNICATION, RETAINED, SEVERITY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.detection.silence import Verdict
    from edge_agent.plant import Plant, PlantAsset, PlantSignal
    from edge_agent.signals import Episode, QualityWatch

_CODE: Final = 0xFFFF_0000  # the bits of a status; the rest are flags
_SETTLED_US: Final = 10 * US_PER_S
MESSAGE_KEYS: Final = {
    Problem.BAD: "sensor_bad",
    Problem.OUT_OF_RANGE: "sensor_out_of_range",
    Problem.LOST: "connection_lost",
    Problem.STALE: "sensor_stale",
    Problem.STUCK: "sensor_stuck",
    Problem.REFUSED: "sensor_bad",
}


class SensorAlarms:
    """Turns episodes of the quality watch into observations for the alarm table.

    The table's delays elapse only at observations, so each change is reported again exactly when
    its delay ends: the transitions do not depend on the batching of values.

    live: a wrong address is a fault of the config, which the daemon reports, not of the sensor. A
    signal that is silent because its source or its whole asset is silent raises no separate alarm:
    see `Silence`. is_waiting: True if time alone may bring an observation.
    """

    def __init__(self, plant: Plant, watch: QualityWatch, *, live: bool = False) -> None:
        self.is_waiting = False
        self._plant = plant
        self._live = live
        self._watch = watch
        self._problems: dict[int, list[Episode]] = {}
        self._last: dict[int, Episode] = {}
        self._due_us: dict[int, int] = {}
        self._returning: dict[int, int] = {}  # signal -> the time after which it counts as silent
        self._were_stuck: set[int] = set()
        self._asset_due_us: dict[PlantAsset, int] = {}
        self._asset_returning: set[PlantAsset] = set()
        self._refused: set[int] = set()  # the address is wrong: a fault of the config (daemon)
        self.silence = Silence(
            lambda signal: {one.problem for one in self._problems.get(signal, ())},
            lambda signal: watch.problem_after_us(signal)["stale"],
        )

    def observations(
        self, episodes: Sequence[Episode], event_us: NDArray[np.int64]
    ) -> Iterator[Observation]:
        """The observations for the alarm table; event_us: event time by asset [A]."""
        self.is_waiting = True
        for episode in sorted(episodes, key=lambda each: each.at_us):
            signal = self._plant.signals[episode.signal]
            yield from self._report_verdicts(
                self.silence.decide_waiting(signal.asset, episode.at_us)
            )
            yield from self._elapsed(signal, episode.at_us)
            self._record_episode(episode)
            yield from self._report_verdicts(self.silence.follow_signal(signal, episode.at_us))
        for asset in self.silence.assets():
            yield from self._report_verdicts(
                self.silence.decide_waiting(asset, int(event_us[asset.index]))
            )
        for index in list(self._due_us):
            signal = self._plant.signals[index]
            now_us = int(event_us[signal.asset.index])
            if index in self._returning:  # the source's clock may be far behind the gateway's
                latest_us = now_us + self._returning[index]
                if index not in self._were_stuck and self._is_well(index):
                    latest_us = int(self._watch.time_us[index])
                self._due_us[index] = min(self._due_us[index], latest_us)
            yield from self._elapsed(signal, now_us)
        for asset in list(self._asset_due_us):
            now_us = int(event_us[asset.index])
            if asset in self._asset_returning and self._speaks(asset):
                self._asset_due_us[asset] = min(self._asset_due_us[asset], now_us)
            yield from self._asset_elapsed(asset, now_us)
        self.is_waiting = bool(self._due_us or self._asset_due_us or self.silence.assets())

    def hold_sources(self, sources: Collection[str], now_us: Callable[[PlantAsset], int]) -> None:
        """These sources are disconnected: their missing signals raise no alarm until later."""
        self.silence.hold_sources(sources, now_us)
        self.is_waiting = True

    def follow_alarm(self, signal: int, now_us: int, message_key: str) -> None:
        """Follow a signal's alarm from the store: it clears unless reported again.

        With its first good value; that a stuck one has moved takes longer to see.
        """
        if message_key == MESSAGE_KEYS[Problem.STUCK]:
            self._were_stuck.add(signal)
        stale_us = self._watch.problem_after_us(signal)["stale"]
        off_us = self._delay_us(signal, on=False)
        wait_us = off_us if stale_us >= ENDLESS else stale_us + US_PER_S
        self._returning[signal] = wait_us
        self._due_us[signal] = now_us + wait_us
        self.is_waiting = True

    def follow_asset_alarm(self, asset: PlantAsset, now_us: int) -> None:
        """As `follow_alarm`, for the alarm of an asset that is silent as a whole."""
        after_us = [self._watch.problem_after_us(s.index)["stale"] for s in asset.signals.values()]
        finite = [one for one in after_us if one < ENDLESS]
        self._asset_returning.add(asset)
        self._asset_due_us[asset] = now_us + 2 * max(finite, default=0) + _SETTLED_US
        self.is_waiting = True

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift all delays of these assets [A]; the gateway's clock was moved."""
        for signal in self._due_us:
            if moves[self._plant.signals[signal].asset.index]:
                self._due_us[signal] += step_us
        for asset in self._asset_due_us:
            if moves[asset.index]:
                self._asset_due_us[asset] += step_us
        self.silence.shift_clock(step_us, moves)

    def reset_clock(self, asset: int, to_us: int) -> None:
        """Shorten delays that would end too late; the clock of an asset was set back to `to_us`."""
        for signal, due_us in self._due_us.items():
            if self._plant.signals[signal].asset.index == asset:
                delay_us = self._delay_us(signal, on=bool(self._problems.get(signal)))
                self._due_us[signal] = min(due_us, to_us + delay_us)

    def _delay_us(self, signal: int, *, on: bool) -> int:
        return self._rule_delay_us(self._plant.signals[signal].asset, on=on)

    def _rule_delay_us(self, asset: PlantAsset, *, on: bool) -> int:
        rule = asset.template.quality_alarm
        return round((rule.on_delay if on else rule.off_delay) * US_PER_S)

    def _record_episode(self, episode: Episode) -> None:
        self._record_refusal(episode)
        problems = self._problems.setdefault(episode.signal, [])
        if episode.begins:
            problems.append(episode)
            self._last[episode.signal] = episode
        else:
            problems[:] = [one for one in problems if one.problem != episode.problem]
        self._returning.pop(episode.signal, None)
        delay_us = self._delay_us(episode.signal, on=bool(problems))
        self._due_us[episode.signal] = episode.at_us + delay_us

    def _record_refusal(self, episode: Episode) -> None:
        """Follow which signals the server does not know, or does not allow us to read."""
        self._refused.discard(episode.signal)
        if self._live and episode.begins and episode.problem is Problem.REFUSED:
            self._refused.add(episode.signal)

    def _report_verdicts(self, verdicts: Iterator[Verdict]) -> Iterator[Observation]:
        """Report to the table, and again when its delay ends."""
        for one in verdicts:
            if one.signal in self._refused:
                continue
            on = bool(one.on if one.signal is None else self._problems.get(one.signal))
            due_us = one.at_us + self._rule_delay_us(one.asset, on=on)
            if one.signal is None:
                self._asset_due_us[one.asset] = due_us
                self._asset_returning.discard(one.asset)
                yield self._silent(one.asset, one.at_us)
            else:
                self._due_us[one.signal] = due_us
                yield self._observation(one.signal, one.at_us)

    def _elapsed(self, signal: PlantSignal, now_us: int) -> Iterator[Observation]:
        index = signal.index
        due_us = self._due_us.get(index)
        if due_us is None or due_us > now_us:
            return
        if index in self._returning and self.silence.is_held(signal) and not self._is_seen(index):
            return  # its state is unknown until its source is back
        del self._due_us[index]
        if self._returning.pop(index, None) is not None:
            self._due_us[index] = due_us + self._delay_us(index, on=False)
        if not self.silence.withholds(signal) and index not in self._refused:
            yield self._observation(index, due_us)

    def _is_seen(self, signal: int) -> bool:
        return not self._watch.unseen()[signal]

    def _speaks(self, asset: PlantAsset) -> bool:
        return any(self._is_well(signal.index) for signal in asset.signals.values())

    def _is_well(self, signal: int) -> bool:
        """True if a signal has a value that was not retained, and no problem."""
        known = self._is_seen(signal) and int(self._watch.status[signal]) != RETAINED
        return known and not self._problems.get(signal)

    def _asset_elapsed(self, asset: PlantAsset, now_us: int) -> Iterator[Observation]:
        due_us = self._asset_due_us[asset]
        if due_us > now_us or any(map(self.silence.is_held, asset.signals.values())):
            return
        del self._asset_due_us[asset]
        if asset in self._asset_returning:
            self._asset_returning.discard(asset)
            self._asset_due_us[asset] = due_us + self._rule_delay_us(asset, on=False)
        yield self._silent(asset, due_us)

    def _facts(self, signal: PlantSignal, key: str, status: int) -> dict[str, Any]:
        """The values for the text of a problem, except the signal's name; see alarms/texts.yaml."""
        low, high = signal.config.valid or (None, None)
        after_us = self._watch.problem_after_us(signal.index)
        named = name_of(status) if status else ""
        facts: dict[str, dict[str, Any]] = {
            "sensor_bad": {"status": named},
            "sensor_uncertain": {"status": named},
            "sensor_substitute": {"status": named},
            "device_lost": {"status": named},
            "sensor_stale": {"seconds": after_us.get("stale", 0) / US_PER_S},
            "sensor_stuck": {"seconds": after_us.get("stuck", 0) / US_PER_S},
            "sensor_out_of_range": {"low": low, "high": high},
        }
        return {**facts.get(key, {}), "unit": signal.config.unit}

    def _observation(self, index: int, at_us: int) -> Observation:
        """The problem of a signal, with the value at its start.

        Not with its newest value, because that depends on the batching of values.
        """
        signal = self._plant.signals[index]
        problems = self._problems.get(index)
        about = problems[-1] if problems else self._last.get(index)
        problem, value, status = Problem.BAD, math.nan, 0
        if about is not None:
            problem, value, status = about.problem, about.value, about.status
        key = _message_key(problem, status)
        args = {"input": signal.name, "source": signal.source, "value": value}
        args |= self._facts(signal, key, status)
        contributors = (Contributor(signal.name, 1.0, value, signal.config.unit),)
        detail = Detail(key, args, failure_mode=key, contributors=contributors)
        return Observation(quality_alarm_id(signal), 1.0 if problems else 0.0, at_us, detail)

    def _silent(self, asset: PlantAsset, at_us: int) -> Observation:
        """The observation that no signal of an asset has a usable value."""
        level = 1.0 if self.silence.covers(asset) else 0.0
        sources = sorted({signal.source for signal in asset.signals.values()})
        args = {"signals": len(asset.signals), "source": ", ".join(sources)}
        detail = Detail("asset_silent", args, failure_mode="asset_silent")
        return Observation(silent_alarm_id(asset.id), level, at_us, detail)


def _message_key(problem: Problem, status: int) -> str:
    """The message key of a problem; the status of the source may be more specific than bad."""
    code = status & _CODE
    if problem is Problem.LOST and code in LOST - {BAD_NO_COMMUNICATION}:
        return "device_lost"  # the source is connected, and reports that its device is not
    if problem is Problem.BAD and code in NO_MEASUREMENT:
        return "sensor_substitute"
    if problem is Problem.BAD and code >> SEVERITY_SHIFT == Severity.UNCERTAIN:
        return "sensor_uncertain"
    return MESSAGE_KEYS[problem]
