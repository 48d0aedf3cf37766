"""Values that came late also fill the buckets between them, in which they were valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.trends import HELD, REPLAYED, Rows, empty_rows, rows_of
from edge_agent.values import SEVERITY_SHIFT, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_ROWS: Final = 200_000  # of one batch


class LateValues:
    """The last late value of each signal, until its next value shows for how long it was valid."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, float, int]] = {}  # by signal: time_us, value, status

    @property
    def is_pending(self) -> bool:
        """True if the end of some late values is not known yet."""
        return bool(self._last)

    def bridge(
        self,
        values: Columns,
        late: NDArray[np.bool_],
        stale_us: NDArray[np.int64],
        series: NDArray[np.int32],
        resolution_s: int,
    ) -> Rows:
        """Rows for the buckets between a late value and the next one of its signal.

        late [n]: which values are late; stale_us [S]: for how long a value is valid at most.
        """
        values, late = self._with_last(values, late)
        order = np.lexsort((values.time_us, values.signal))
        values, late = values.where(order), late[order]
        is_last = np.append(values.signal[1:] != values.signal[:-1], True)
        self._keep(values, late, is_last)
        begin_s = values.time_us // US_PER_S // resolution_s + 1
        count = np.append(values.time_us[1:] // US_PER_S // resolution_s, 0) - begin_s
        valid = late & ~is_last & np.isfinite(values.value) & (count > 0)
        valid &= (values.status >> SEVERITY_SHIFT) < 2  # noqa: PLR2004 (not bad)
        valid &= np.append(np.diff(values.time_us), 0) <= stale_us[values.signal]
        at = np.flatnonzero(valid)
        count = count[at]
        if not len(at) or count.sum() > _MOST_ROWS:
            return empty_rows()
        row = np.repeat(at, count)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        time_s = (begin_s[row] + nth) * resolution_s
        marks = np.full(len(row), HELD | REPLAYED, np.uint8)
        good = (values.status[row] >> SEVERITY_SHIFT) == 0
        return rows_of(
            series[values.signal[row]], time_s, values.value[row], good=good, marks=marks
        )

    def _with_last(
        self, values: Columns, late: NDArray[np.bool_]
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """The values of signals with late ones, and before them the last late one of each."""
        wanted = np.unique(np.append(values.signal[late], np.array([*self._last], np.int32)))
        mine = np.isin(values.signal, wanted)
        values, late = values.where(mine), late[mine]
        before = [(one, *rest) for one, rest in self._last.items()]
        if not before:
            return values, late
        signal, time_us, value, status = zip(*before, strict=True)
        last = Columns(
            np.array(signal, np.int32),
            np.array(time_us, np.int64),
            np.array(value, np.float64),
            np.array(status, np.uint32),
        )
        return Columns.concat([last, values]), np.append(np.ones(len(last), np.bool_), late)

    def _keep(self, values: Columns, late: NDArray[np.bool_], is_last: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(is_last & late)
        found = values.where(rows)
        columns = (found.signal, found.time_us, found.value, found.status)
        one_each = zip(*(column.tolist() for column in columns), strict=True)
        self._last = {signal: (at, value, status) for signal, at, value, status in one_each}
