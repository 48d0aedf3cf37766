"""How each signal may be used, and the gate that selects the windows in which a machine ran.

Only these windows are scored or learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from edge_agent.clock import ENDLESS, NEVER
from edge_agent.config.conditions import both
from edge_agent.signals.conditions import Conditions
from edge_agent.signals.limit_state import SETTLE_US
from edge_agent.tables import Table, column
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.conditions import Condition
    from edge_agent.plant import PlantAsset
    from edge_agent.signals.quality import QualityWatch


@dataclass(frozen=True, slots=True)
class Binding:
    """How a signal may be used, by its source and its config."""

    stale_us: int | None  # told, or the least
    group: int  # > 0: signals of one subscription that reports only changes
    uncertain: int  # the mark of a value of uncertain quality


@dataclass(frozen=True, slots=True)
class Outage:
    """A change of the link of sources: their signals, and the time of each one's asset [k].

    is_down: the links are lost; else they are back. is_kept: the other side has kept what it would
    have sent meanwhile, so that a value that does not come was not there.
    """

    signals: NDArray[np.intp]
    at_us: NDArray[np.int64]
    is_down: bool
    is_kept: bool = False


class LinkCuts(Table):
    """What the outages of its link mean for each signal.

    cut_us: no value up to then counts after it; until_us: values up to then may come late. NEVER:
    there is no such time.
    """

    cut_us = column(np.int64, NEVER)
    until_us = column(np.int64, NEVER)

    def follow_outage(self, outage: Outage) -> None:
        """The link of signals is lost, or back."""
        signals = outage.signals
        self.cover(int(signals.max(initial=-1)) + 1)
        if outage.is_down or outage.is_kept:
            self.cut_us[signals] = outage.at_us if outage.is_down else NEVER
        self.until_us[signals] = ENDLESS if outage.is_down else outage.at_us

    def of(self, signal: int) -> tuple[int, int]:
        """`cut_us` and `until_us` of a signal."""
        known = signal < len(self)
        return (int(self.cut_us[signal]), int(self.until_us[signal])) if known else (NEVER, NEVER)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the times of these signals [S]; the gateway's clock was moved."""
        for times in (self.cut_us, self.until_us):
            known = (times > NEVER) & (times < ENDLESS) & moves[: len(times)]
            times[known] += step_us


@dataclass(frozen=True, slots=True)
class Bindings:
    """The bindings of all signals of a plant, by their number; signals are only added.

    cuts: so that windows that begin during an outage know of it.
    """

    watch: QualityWatch
    conditions: Conditions = field(default_factory=Conditions)
    cuts: LinkCuts = field(default_factory=LinkCuts)
    _bindings: list[Binding] = field(default_factory=list)

    def __getitem__(self, signal: int) -> Binding:
        return self._bindings[signal]

    def stale_us(self, signal: int) -> int | None:
        """After how long a signal is stale, as far as it is known now; None for never."""
        told_us = self[signal].stale_us
        return None if told_us is None else int(self.watch.silence.stale_us[signal])

    def append(self, binding: Binding) -> None:
        """Add a signal."""
        self._bindings.append(binding)

    def condition(self, asset: PlantAsset, more: Condition | None = None) -> int:
        """The number of an asset's condition combined with another; -1 if there is none."""
        whole = both(asset.when, more)
        if whole is None:
            return -1
        found = asset.signals.items()
        signals = {name: (one.index, self.stale_us(one.index)) for name, one in found}
        return self.conditions.add(asset.index, whole, signals)

    def standing(self, signals: Sequence[int]) -> Columns:
        """What those of the signals stand at that report only changes.

        Who begins to listen in mid-stream would wait for them until they change: a set point may
        take days. As of the newest value of any of the signals, so that no time passes by it.
        """
        watch, known = self.watch, np.asarray(signals, np.intp)
        seen = ~watch.unseen()[known] & (watch.problem[known] == 0)
        silent = np.array([self[number].group > 0 for number in signals], bool)
        chosen = known[seen & silent]
        newest_us = watch.time_us[known].max(initial=0)
        return Columns(
            chosen,
            np.full(len(chosen), newest_us, np.int64),
            watch.value[chosen],
            watch.status[chosen],
        )


T = TypeVar("T")


class Span(NamedTuple):
    """Rows of assets, with start and end of the window of each, [n]."""

    row: NDArray[np.intp]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]


class Gate(Table, Generic[T]):
    """Holds windows until it is known that the machine still ran after them, and drops others.

    The flag of a stop often arrives later than the first values of the stop, so windows that end in
    the last moments before a stop are not scored either.
    span: of a set of windows; some: selects windows of a set by a mask. dropped: their number.
    is_used: True if any row has a condition.
    """

    _number = column(np.intp, -1)  # of each row's condition, -1 for none
    _asset = column(np.intp)

    def __init__(
        self, span: Callable[[T], Span], some: Callable[[T, NDArray[np.bool_]], T]
    ) -> None:
        super().__init__()
        self._span = span
        self._some = some
        self._conditions: Conditions | None = None
        self._held: list[tuple[int, T]] = []  # the earliest end, and the windows
        self.dropped = 0
        self.is_used = False

    def bind(self, conditions: Conditions, asset: int, number: int) -> None:
        """Add a row: its asset, and the number of its condition, -1 for none."""
        self._conditions = conditions
        row = self.grow()
        self._number[row], self._asset[row] = number, asset
        self.is_used = self.is_used or number >= 0

    def rows_of(self, number: int) -> list[int]:
        """The rows that depend on a condition."""
        return [int(row) for row in np.flatnonzero(self._number == number)]

    def number(self, row: int) -> int:
        """The condition of a row, -1 for none."""
        return int(self._number[row])

    def is_open(self, row: int) -> bool:
        """True unless the machine of a row is stopped on purpose now."""
        if self._conditions is None or self._number[row] < 0:
            return True
        return bool(self._conditions.holds_now(self._number[row : row + 1])[0])

    def admit(self, found: list[T], *, ended: bool = False) -> list[T]:
        """The windows that are known to be good; ended: no later values follow."""
        conditions = self._conditions
        if conditions is None or not self.is_used:
            return found
        good: list[T] = []
        now_us = conditions.now_us
        newest_us = int(now_us[self._asset].max())
        held, self._held = self._held, []
        for begin_us, each in held:
            if ended or begin_us + SETTLE_US <= newest_us:
                good += self._one(each, conditions, ended=ended)
            else:
                self._held.append((begin_us, each))
        for each in found:
            good += self._one(each, conditions, ended=ended)
        return good

    def _one(self, each: T, conditions: Conditions, *, ended: bool) -> Iterator[T]:
        row, start_us, end_us = self._span(each)
        if not len(row):
            return
        number = self._number[row]
        later_us = end_us if ended else end_us + SETTLE_US
        ran = conditions.held(number, start_us, later_us)
        known = (number < 0) | (conditions.now_us[self._asset[row]] >= later_us)
        good, waits = ran & known, ran & ~known
        self.dropped += int((~ran).sum())
        if waits.any():
            self._held.append((int(end_us[waits].min()), self._some(each, waits)))
        if good.all():
            yield each
        elif good.any():
            yield self._some(each, good)

    def reset_clock(self) -> None:
        """Drop windows that wait for a time that may never come; a clock was set back."""
        self._held.clear()
