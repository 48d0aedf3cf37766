"""Silent signals: which raise their own alarm, and which are consequences of a larger fault.

A lost or stale signal is not the fault itself if its source is disconnected, or if no signal of its
machine arrives any more. One cause is one alarm (ISA-18.2, 6.5: consequential alarms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import ENDLESS, US_PER_S
from edge_agent.signals import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.plant import PlantAsset, PlantSignal

MUTE: Final = frozenset({Problem.LOST, Problem.STALE})
_LOST_WAIT_US: Final = US_PER_S  # a server sends the nodes of one device together
_LONGEST_WAIT_US: Final = 5 * US_PER_S
_SEVERAL: Final = 2


@dataclass(slots=True)
class Quiet:
    """The mute signals of one asset without an own alarm; times in event time.

    waiting: until when each waits for the others; covered: those that the active alarm of the asset
    covers; held: those whose source is disconnected.
    """

    waiting: dict[int, int] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)

    def withholds(self, signal: int) -> bool:
        """True if the signal raises no alarm of its own."""
        return signal in self.waiting or signal in self.covered or signal in self.held

    def remove_signal(self, signal: int) -> None:
        """The signal is no longer mute."""
        self.waiting.pop(signal, None)
        self.covered.discard(signal)
        self.held.discard(signal)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to report: for one signal, or for the whole asset (`signal` None).

    on: the condition starts.
    """

    asset: PlantAsset
    signal: int | None
    on: bool
    at_us: int


class Silence:
    """Follows the mute signals of all assets.

    problems: the present problem of a signal; stale_us: how long a signal may be silent.
    """

    def __init__(
        self,
        problems: Callable[[int], Collection[Problem]],
        stale_us: Callable[[int], int],
    ) -> None:
        self._problems = problems
        self._stale_us = stale_us
        self._quiet: dict[PlantAsset, Quiet] = {}
        self._held: frozenset[str] = frozenset()

    def is_held(self, signal: PlantSignal) -> bool:
        """True if the signal's source is disconnected."""
        return signal.source in self._held

    def withholds(self, signal: PlantSignal) -> bool:
        """True if the signal raises no alarm of its own now."""
        quiet = self._quiet.get(signal.asset)
        return quiet is not None and quiet.withholds(signal.index)

    def covers(self, asset: PlantAsset) -> bool:
        """True while the alarm of the asset covers its signals."""
        quiet = self._quiet.get(asset)
        return quiet is not None and bool(quiet.covered)

    def assets(self) -> list[PlantAsset]:
        """Assets with signals that wait."""
        return [asset for asset, quiet in self._quiet.items() if quiet.waiting]

    def follow_signal(self, signal: PlantSignal, at_us: int) -> Iterator[Verdict]:
        """The problems of a signal have changed at `at_us`."""
        mute = self._is_mute(signal.index)
        quiet = self._quiet.setdefault(signal.asset, Quiet()) if mute else None
        quiet = quiet or self._quiet.get(signal.asset)
        if quiet is None:
            yield Verdict(signal.asset, signal.index, on=True, at_us=at_us)
            return
        if mute:
            yield from self._withhold_alarm(quiet, signal, at_us)
            return
        quiet.remove_signal(signal.index)
        yield Verdict(signal.asset, signal.index, on=True, at_us=at_us)
        if quiet.covered and not self._is_silent(signal.asset, quiet):
            yield from self._uncover(signal.asset, quiet, at_us)
        self._tidy(signal.asset, quiet)

    def _withhold_alarm(self, quiet: Quiet, signal: PlantSignal, at_us: int) -> Iterator[Verdict]:
        if self.is_held(signal):
            quiet.waiting.pop(signal.index, None)
            quiet.held.add(signal.index)
        elif len(signal.asset.signals) < _SEVERAL:
            yield Verdict(signal.asset, signal.index, on=True, at_us=at_us)
        elif not quiet.withholds(signal.index):
            quiet.waiting[signal.index] = at_us + self._wait_us(signal.index)

    def _uncover(self, asset: PlantAsset, quiet: Quiet, at_us: int) -> Iterator[Verdict]:
        """A signal of the asset is back: the others are reported if they stay silent for longer."""
        for index in quiet.covered:
            quiet.waiting[index] = at_us + self._stale_wait_us(index)
        quiet.covered = set()
        yield Verdict(asset, None, on=False, at_us=at_us)

    def decide_waiting(self, asset: PlantAsset, now_us: int) -> Iterator[Verdict]:
        """Decide on signals that waited long enough at `now_us`, the asset's event time.

        Only strictly earlier ones, so that the result does not depend on the batching of values.
        """
        quiet = self._quiet.get(asset)
        while quiet is not None and quiet.waiting and min(quiet.waiting.values()) < now_us:
            due_us = min(quiet.waiting.values())
            if self._is_silent(asset, quiet):
                already = bool(quiet.covered)
                quiet.covered |= quiet.waiting.keys()
                quiet.waiting.clear()
                if not already:
                    yield Verdict(asset, None, on=True, at_us=due_us)
                return
            for index in [i for i, at_us in quiet.waiting.items() if at_us == due_us]:
                del quiet.waiting[index]
                yield Verdict(asset, index, on=True, at_us=due_us)
        if quiet is not None:
            self._tidy(asset, quiet)

    def hold_sources(self, sources: Collection[str], now_us: Callable[[PlantAsset], int]) -> None:
        """These sources are disconnected; mute signals of the others may return as usual."""
        held = frozenset(sources)
        if held == self._held:
            return
        self._held = held
        for asset, quiet in self._quiet.items():
            for signal in asset.signals.values():
                if signal.source in held and signal.index in quiet.waiting:
                    del quiet.waiting[signal.index]
                    quiet.held.add(signal.index)
                elif signal.source not in held and signal.index in quiet.held:
                    quiet.held.discard(signal.index)
                    quiet.waiting[signal.index] = now_us(asset) + self._return_us(signal.index)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the waits of these assets [A]; the gateway's clock was moved."""
        for asset, quiet in self._quiet.items():
            if moves[asset.index]:
                quiet.waiting = {index: at_us + step_us for index, at_us in quiet.waiting.items()}

    def _is_mute(self, index: int) -> bool:
        problems = self._problems(index)
        return bool(problems) and MUTE.issuperset(problems)

    def _is_silent(self, asset: PlantAsset, quiet: Quiet) -> bool:
        """True if no value of the asset is usable, ignoring signals of disconnected sources."""
        there = [s.index for s in asset.signals.values() if s.index not in quiet.held]
        mute = sum(map(self._is_mute, there))
        return mute >= _SEVERAL and all(map(self._is_useless, there))

    def _is_useless(self, index: int) -> bool:
        return any(problem is not Problem.STUCK for problem in self._problems(index))

    def _wait_us(self, index: int) -> int:
        """How long a mute signal waits for the others of its asset."""
        if Problem.LOST in self._problems(index):
            return _LOST_WAIT_US
        return min(self._stale_us(index) // 4, _LONGEST_WAIT_US)

    def _stale_wait_us(self, index: int) -> int:
        """The time for a signal to return after its source or device did."""
        stale_us = self._stale_us(index)
        return _LONGEST_WAIT_US if stale_us >= ENDLESS else stale_us

    def _return_us(self, index: int) -> int:
        """The time for a signal to return once its source is back and has been stable."""
        is_lost = Problem.LOST in self._problems(index)
        return _LOST_WAIT_US if is_lost else self._stale_wait_us(index)

    def _tidy(self, asset: PlantAsset, quiet: Quiet) -> None:
        if not (quiet.waiting or quiet.covered or quiet.held):
            self._quiet.pop(asset, None)
