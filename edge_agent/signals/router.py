"""From signals to the inputs of a model: where a value goes, and what its quality makes of it.

The gate then selects the windows in which a machine ran: only these are scored or learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from edge_agent.config.conditions import both
from edge_agent.signals.conditions import Conditions
from edge_agent.signals.limit_state import SETTLE_US
from edge_agent.signals.window_set import BAD, GOOD, MISSING, UNCERTAIN
from edge_agent.status_codes import Severity, severity_of
from edge_agent.tables import Table, column
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.conditions import Condition
    from edge_agent.plant import PlantAsset
    from edge_agent.signals.quality import QualityWatch
    from edge_agent.signals.window_set import WindowSet
    from edge_agent.signals.windows import Windows
    from edge_agent.values import TensorBlock


@dataclass(frozen=True, slots=True)
class Binding:
    """How a signal may be used, by its source and its config."""

    stale_us: int | None
    group: int  # > 0: signals of one subscription that reports only changes
    uncertain: int  # the mark of a value of uncertain quality


@dataclass(frozen=True, slots=True)
class Bindings:
    """The bindings of all signals of a plant, by their number; signals are only added."""

    watch: QualityWatch
    conditions: Conditions = field(default_factory=Conditions)
    _bindings: list[Binding] = field(default_factory=list)

    def __getitem__(self, signal: int) -> Binding:
        return self._bindings[signal]

    def append(self, binding: Binding) -> None:
        """Add a signal."""
        self._bindings.append(binding)

    def condition(self, asset: PlantAsset, more: Condition | None = None) -> int:
        """The number of an asset's condition combined with another; -1 if there is none."""
        whole = both(asset.when, more)
        if whole is None:
            return -1
        found = asset.signals.items()
        signals = {name: (one.index, self[one.index].stale_us) for name, one in found}
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


class Router(Table):
    """Sends each value to its row and input; -1 for a signal that nobody here wants."""

    _row = column(np.int32, -1)
    _channel = column(np.int32, -1)
    _uncertain = column(np.uint8, UNCERTAIN)

    def add(self, signal: int, row: int, channel: int, uncertain: int = UNCERTAIN) -> None:
        """Use `signal` as input `channel` of asset row `row` from now on."""
        self.cover(signal + 1)
        self._row[signal], self._channel[signal] = row, channel
        self._uncertain[signal] = uncertain

    def remove(self, signal: int) -> None:
        """Remove `signal`; no input uses it any more."""
        self._row[signal] = -1

    def place(self, signal: int) -> tuple[int, int]:
        """Row and input of one signal."""
        if signal >= len(self._row):
            return -1, -1
        return int(self._row[signal]), int(self._channel[signal])

    def is_usable(self, block: TensorBlock) -> bool:
        """True if the quality of a block allows inference."""
        severity = severity_of(np.array([block.status], np.uint32))[0]
        if severity == Severity.UNCERTAIN:
            return bool(self._uncertain[block.signal] == UNCERTAIN)
        return bool(severity == Severity.GOOD)

    def spoiled(self, values: Columns) -> list[int]:
        """Rows with a bad input, by separate values in addition to the blocks."""
        bad = values.signal[severity_of(values.status) == Severity.BAD]
        return [row for row, _ in map(self.place, bad.tolist()) if row >= 0]

    def write_values(self, windows: Windows, values: Columns) -> list[WindowSet]:
        """Write the values of this model into `windows`; returns the windows that close."""
        if not values.signal.size:
            return []
        if values.signal.max() >= self._row.size:
            self.cover(int(values.signal.max()) + 1)
        row = self._row[values.signal]
        mark = marks(values, self._uncertain)
        mine = (row >= 0) & (mark != MISSING)
        if not mine.any():
            return []
        if mine.all():
            signal, time_us, value = values.signal, values.time_us, values.value
        else:
            row, mark = row[mine], mark[mine]
            signal, time_us, value = values.signal[mine], values.time_us[mine], values.value[mine]
        return windows.write_values(row, self._channel[signal], time_us, value, mark)


def marks(values: Columns, uncertain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mark of each value [n]; uncertain: that of an uncertain value, by signal."""
    if not values.status.any() and not np.isnan(values.value).any():
        return np.full(values.signal.size, GOOD, np.uint8)
    severity = severity_of(values.status)
    mark = np.where(severity == Severity.UNCERTAIN, uncertain[values.signal], GOOD)
    return np.where((severity == Severity.BAD) | np.isnan(values.value), BAD, mark).astype(np.uint8)


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
