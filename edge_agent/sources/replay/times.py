"""Reads the times of one file, in the order of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.sources.replay.zone import LocalTime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from numpy.typing import NDArray

    from edge_agent.sources.replay.moments import Parse

_LATEST_US: Final = 250_000_000_000_000_000
_RUN_US: Final = 300_000_000_000_000  # ten years: a date of a recording is later
_TOO_LATE_US: Final = 4 * _LATEST_US


class TimeReader:
    """Converts cells to microseconds since the epoch.

    sample: the first times of the file, which show if it runs `backward`, and if they have no zone
    (`is_local`) or count from a start (`is_relative`). several: several rows may have the same
    time, as in a long recording.
    """

    def __init__(
        self, parse: Parse, zone: tzinfo, sample: Sequence[str], *, several: bool = False
    ) -> None:
        self._parse = parse
        moments = self._moments(sample)
        self.is_local = bool((moments & 1 == 0).any())
        self.is_relative = bool(len(moments)) and int(np.median(abs(moments >> 1))) < _RUN_US
        steps = np.diff(moments >> 1)
        ahead = steps[steps != 0]
        backward = bool(len(ahead)) and 2 * int((ahead < 0).sum()) > len(ahead)
        typical_us = int(np.median(np.abs(ahead))) if len(ahead) and not several else 0
        self.backward = backward
        self._local = LocalTime(zone, backward=backward, typical_step_us=typical_us)

    def read(
        self, cells: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Times, int64 [n]; a mask of the cells that are not times; and of those that do not exist.

        Times that do not exist, in the hour that summer time skips, are in both masks.
        """
        moments = self._moments(cells)
        us = moments >> 1
        never = ~((us > -_LATEST_US) & (us < _LATEST_US))
        us[never] = 0
        missing = np.zeros(len(us), np.bool_)
        local = ~never & (moments & 1 == 0)
        if local.any():
            us[local], missing[local] = self._local.to_utc(us[local])
        return us, never | missing, missing

    def doubtful(self) -> int:
        """Number of times in a doubled hour for which no row shows the pass."""
        return self._local.finish()

    def _moments(self, cells: Sequence[str]) -> NDArray[np.int64]:
        try:
            found = list(map(self._parse, cells))
        except (ValueError, OverflowError):
            found = [self._moment_or_never(cell) for cell in cells]
        try:
            return np.array(found, np.int64)
        except OverflowError:
            return np.array([m if abs(m) < _TOO_LATE_US else _TOO_LATE_US for m in found], np.int64)

    def _moment_or_never(self, cell: str) -> int:
        try:
            return self._parse(cell)
        except (ValueError, OverflowError):
            return _TOO_LATE_US
