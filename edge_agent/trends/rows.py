"""Aggregates as columns: one row for each series and bucket of time.

The rows of one bucket may come in several parts, as with values that arrive late; `grouped` joins
them. Every column is such that this is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Marks of a row. A bucket without a row is a gap.
UNCERTAIN: Final = 1  # some values are uncertain
BAD: Final = 2  # some values are bad; they are not in low, high and mean
REPLAYED: Final = 4  # some values came late, from what another side had kept
HELD: Final = 8  # no new value: the last one was still valid
OVER: Final = 16  # a score over its limit

# bucket: its begin, seconds since the epoch. low, high, total: of the `used` values (total: their
# sum); n: all values, of which `good` have good quality.
_FIELDS: Final = (
    ("series", np.int32),
    ("bucket", np.int64),
    ("low", np.float64),
    ("high", np.float64),
    ("total", np.float64),
    ("used", np.int32),
    ("n", np.int32),
    ("good", np.int32),
    ("marks", np.uint8),
)
DTYPE: Final = np.dtype(list(_FIELDS))
Rows: TypeAlias = "NDArray[Any]"  # of DTYPE
_JOIN: Final = {
    "low": np.minimum,
    "high": np.maximum,
    "total": np.add,
    "used": np.add,
    "n": np.add,
    "good": np.add,
    "marks": np.bitwise_or,
}
_SERIES_SHIFT: Final = 37  # seconds need fewer bits for the next four thousand years


def empty_rows(n: int = 0) -> Rows:
    """N rows without a value."""
    rows = np.zeros(n, DTYPE)
    rows["low"], rows["high"] = np.inf, -np.inf
    return rows


def marks_of(*those: tuple[NDArray[np.bool_], int]) -> NDArray[np.uint8]:
    """The marks of rows [n]: each mark where its mask is true."""
    found = np.zeros(len(those[0][0]), np.uint8)
    for mask, bit in those:
        found[mask] |= np.uint8(bit)
    return found


def rows_of(
    series: NDArray[Any],
    time_s: NDArray[np.int64],
    value: NDArray[Any],
    *,
    good: NDArray[np.bool_],
    marks: NDArray[np.uint8],
) -> Rows:
    """One row for each value [n]; marks: BAD leaves it out of low, high and mean."""
    rows = empty_rows(len(series))
    used = np.isfinite(value) & ((marks & BAD) == 0)
    rows["series"], rows["bucket"], rows["n"] = series, np.maximum(time_s, 0), 1
    rows["low"] = np.where(used, value, np.inf)
    rows["high"] = np.where(used, value, -np.inf)
    rows["total"] = np.where(used, value, 0.0)
    rows["used"], rows["good"], rows["marks"] = used, good & used, marks
    return rows


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    return np.concatenate(parts) if parts else empty_rows()


def grouped(rows: Rows, resolution_s: int) -> Rows:
    """One row for each series and bucket of that length, in this order."""
    if not len(rows):
        return rows
    bucket = rows["bucket"] // resolution_s * resolution_s
    key = (rows["series"].astype(np.int64) << _SERIES_SHIFT) | bucket
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    found = np.zeros(len(starts), DTYPE)
    first = order[starts]
    found["series"], found["bucket"] = rows["series"][first], bucket[first]
    for name, join in _JOIN.items():
        found[name] = join.reduceat(rows[name][order], starts)
    return found


def missing_rows(rows: Rows, series: NDArray[Any], bucket_s: int) -> NDArray[np.bool_]:
    """Which of these series [k] have no row in that bucket."""
    mine = rows["series"][rows["bucket"] == bucket_s]
    return ~np.isin(series, mine)


def means(rows: Rows) -> NDArray[np.float64]:
    """The mean of each row's values; NaN if it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = rows["total"] / rows["used"]
    return found
