"""The scalar inputs of a model at the times of its blocks: the conditions of a waveform.

A window of blocks is judged once, given the speed and load of its own time. It waits for a value
after its middle, so that a speed between two values is known, but not longer than `wait_us`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.config.schema import Resample
from edge_agent.signals.rings import NO_END
from edge_agent.signals.window_set import BAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.signals.waves import BlockWindow
    from edge_agent.signals.window_set import WindowSet

_KEPT_US: Final = 120_000_000  # before the newest value: blocks come at their end
_MOST: Final = 8192  # values of an input


@dataclass(slots=True)
class _Input:
    """The newest values of one input of one asset, in the order of time."""

    hold_us: int
    interpolates: bool
    time_us: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    bad: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))

    def append(
        self, time_us: NDArray[np.int64], value: NDArray[np.floating], bad: NDArray[np.bool_]
    ) -> None:
        times = np.concatenate([self.time_us, time_us])
        values, marks = np.concatenate([self.value, value]), np.concatenate([self.bad, bad])
        if len(times) > 1 and (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            times, values, marks = times[order], values[order], marks[order]
        first = int(np.searchsorted(times, times[-1] - _KEPT_US))
        first = max(first - 1, len(times) - _MOST, 0)  # the last one before is held
        self.time_us, self.value, self.bad = times[first:], values[first:], marks[first:]

    @property
    def newest_us(self) -> int:
        return int(self.time_us[-1]) if len(self.time_us) else NEVER

    def at(self, at_us: int) -> float:
        """The value at a time; NaN if it is bad, stale or not known."""
        after = int(np.searchsorted(self.time_us, at_us, "right"))
        if not after or self.bad[after - 1]:
            return np.nan
        before_us, value = int(self.time_us[after - 1]), float(self.value[after - 1])
        if at_us - before_us > self.hold_us:
            return np.nan
        if not self.interpolates or after == len(self.time_us) or self.bad[after]:
            return value
        gap_us = int(self.time_us[after]) - before_us
        if gap_us > self.hold_us:
            return value
        return value + (float(self.value[after]) - value) * (at_us - before_us) / gap_us


class BlockRows:
    """The rows of scalars at block windows, of all assets of one model; `asset` is a row.

    resample: of each input; values of one with `mean` are interpolated, any other holds its last
    value. An input that is not usable at a window is NaN there. newest: by asset, the last row [C].
    """

    def __init__(self, resample: Sequence[Resample], wait_us: int) -> None:
        self._interpolates = [how is Resample.MEAN for how in resample]
        self._wait_us = wait_us
        self._inputs: list[list[_Input]] = []
        self._now_us: list[int] = []
        self._waiting: list[BlockWindow] = []
        self.newest: dict[int, NDArray[np.float64]] = {}

    def add_asset(self, hold_us: Sequence[int | None]) -> None:
        """Add an asset; hold_us: how long each input's last value is valid, None: without end."""
        pairs = zip(hold_us, self._interpolates, strict=True)
        self._inputs.append([_Input(NO_END if h is None else h, mean) for h, mean in pairs])
        self._now_us.append(NEVER)

    @property
    def is_waiting(self) -> bool:
        """True if a window waits for its inputs."""
        return bool(self._waiting)

    def set_hold(self, row: int, channel: int, hold_us: int) -> None:
        """The last value of an input is valid for another time from now on."""
        self._inputs[row][channel].hold_us = hold_us

    def write_values(
        self,
        asset: NDArray[np.integer],
        channel: NDArray[np.integer],
        time_us: NDArray[np.int64],
        value: NDArray[np.floating],
        mark: NDArray[np.uint8],
    ) -> list[WindowSet]:
        """Write values, columns of equal length in the order of time; see `Windows`."""
        width = len(self._interpolates)
        place = asset.astype(np.intp) * width + channel
        for each in np.unique(place).tolist():
            mine = place == each
            row, number = divmod(each, width)
            self._inputs[row][number].append(time_us[mine], value[mine], mark[mine] == BAD)
            self._now_us[row] = max(self._now_us[row], int(time_us[mine].max()))
        return []

    def accept_windows(
        self, windows: Sequence[BlockWindow], *, ended: bool = False
    ) -> tuple[list[BlockWindow], NDArray[np.float64]]:
        """The windows whose inputs are known now, and their rows [n, C]; ended: nothing follows."""
        for window in windows:
            self._now_us[window.asset] = max(self._now_us[window.asset], window.end_us)
        known = [(one, ended or self._is_known(one)) for one in (*self._waiting, *windows)]
        self._waiting = [window for window, is_known in known if not is_known]
        due = [window for window, is_known in known if is_known]
        rows = self._rows(due)
        self.newest |= {window.asset: row for window, row in zip(due, rows, strict=True)}
        return due, rows

    def _is_known(self, window: BlockWindow) -> bool:
        if self._now_us[window.asset] >= window.end_us + self._wait_us:
            return True
        middle_us = _middle_us(window)
        inputs = self._inputs[window.asset]
        return all(one.newest_us >= middle_us for one in inputs if one.interpolates)

    def _rows(self, windows: Sequence[BlockWindow]) -> NDArray[np.float64]:
        found = [
            [one.at(_middle_us(window)) for one in self._inputs[window.asset]] for window in windows
        ]
        return np.array(found, float).reshape(len(windows), len(self._interpolates))

    def set_clock(self, rows: NDArray[np.intp], now_us: NDArray[np.int64]) -> None:
        """Time has advanced for these assets, also without values."""
        for row, at_us in zip(rows.tolist(), now_us.tolist(), strict=True):
            self._now_us[row] = max(self._now_us[row], at_us)

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Forget the values of these assets; their clock was set back."""
        gone = set(rows.tolist())
        self._waiting = [window for window in self._waiting if window.asset not in gone]
        for row in gone:
            self._inputs[row] = [_Input(one.hold_us, one.interpolates) for one in self._inputs[row]]
            self._now_us[row] = NEVER

    def shift_clock(self, rows: NDArray[np.intp], step_us: int) -> None:
        """Shift the stored times of these assets; the gateway's clock was moved."""
        moved = set(rows.tolist())
        self._waiting = [w.shifted(step_us) if w.asset in moved else w for w in self._waiting]
        for row in moved:
            self._now_us[row] += step_us if self._now_us[row] > NEVER else 0
            for one in self._inputs[row]:
                one.time_us = one.time_us + step_us


def _middle_us(window: BlockWindow) -> int:
    return (window.start_us + window.end_us) // 2
