"""The readings of a machine in spreads from their middle, robust against outliers and counters."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.counting import counted, falls

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MAX_WINDOWS: Final = 20_000  # per asset; more cost time and add no information
_WINSOR: Final = 4.0  # spreads; healthy data contains outliers
_STATE_ROWS: Final = 64  # values held this long are a state of the machine, not outliers
_MIN_STATES: Final = 20  # the number needed to separate the two
_STATE_SHARE: Final = 0.02
_RARE: Final = 0.005  # of the rows
_BEYOND: Final = 1.25
_NORMAL_MAD: Final = 1.4826  # median absolute deviation of a normal distribution to its sigma
_TAIL: Final = 0.01
_TAIL_WEIGHT: Final = 0.3
_COARSE: Final = 32  # distinct values of a channel that is read in steps
_FLOAT32_NOISE: Final = 1e-6
_CONSTANT: Final = 0.01
_COUNTS: Final = 8  # steps of a counter, at least, and parts of the time in which it must rise
_RISING: Final = 0.99  # of its steps: a meter may be reset
_OVER: Final = 1.5  # times the largest step: the maximum step at a roll-over
# Ranges of counters of 16, 32 and 64 bits: the lowest value, and the number of values.
_RANGES: Final = tuple(
    (low, 2.0**bits) for bits in (16, 32, 64) for low in (0.0, -(2.0 ** (bits - 1)))
)
_REPEATED: Final = 0.02  # of the rows
_STEPS: Final = 1000  # of float32 in a spread, at least


def stride_of(rows: int) -> int:
    """The step between evaluated windows, in rows."""
    return max(1, rows // MAX_WINDOWS)


def always_new(rows: Floats) -> Mask:
    """True for channels of rows [T, C], NaN for gaps, whose value is hardly ever repeated: [C]."""
    steps = np.diff(rows, axis=0)
    known = ~np.isnan(steps)
    return np.asarray((steps == 0).sum(axis=0) < _REPEATED * known.sum(axis=0))


def counters(rows: Floats) -> Mask:
    """True for channels of rows [T, C] that only rise, as energy and hour meters do: [C]."""
    return np.array([_counts(values[~np.isnan(values)]) for values in rows.T], bool)


def _counts(values: Floats) -> bool:
    values = _unrolled(values)
    steps = np.diff(values)
    steps = steps[steps != 0]
    if len(steps) < _COUNTS or (steps > 0).mean() < _RISING:
        return False
    parts = values[np.linspace(0, len(values) - 1, _COUNTS + 1).astype(int)]
    return bool((np.diff(parts) > 0).sum() >= _COUNTS - 1)


def _unrolled(values: Floats) -> Floats:
    """A counter of 16, 32 or 64 bits without its roll-overs; other values unchanged.

    It rolls over if every fall is one step of the usual size, over the end of its range. A small
    range rolls over often: a sawtooth with another range is not changed.
    """
    steps = np.diff(values)
    fell = falls(values[:, None])[:, 0]
    largest = steps.max(initial=0.0)
    for low, size in _RANGES if fell.any() and largest > 0 else ():
        over = steps[fell] + size
        if values.min() >= low and values.max() < low + size and _fits(over, _OVER * largest):
            return np.asarray(values + np.append(0.0, np.cumsum(fell)) * size)
    return values


def _fits(steps: Floats, most: float) -> bool:
    return bool(((steps >= 0) & (steps <= most)).all())


def rates(rows: Floats, counter: Mask) -> Floats:
    """Rows [..., T, C] with each counter replaced by its increment since the row before."""
    return np.where(counter, counted(rows), rows) if counter.any() else rows


def offsets(rows: Floats) -> Floats:
    """The values to subtract from rows [T, C] so that float32 resolves them; usually 0: [C]."""
    low, middle, high = np.nanquantile(rows, [_TAIL, 0.5, 1 - _TAIL], axis=0)
    spread = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # The spread of a channel that hardly ever moves is its whole range.
    spread = np.where(spread > 0, spread, np.nanmax(rows, axis=0) - np.nanmin(rows, axis=0))
    largest = np.nanmax(np.abs(rows), axis=0).astype(np.float32)
    return np.where((spread > 0) & (np.spacing(largest) > spread / _STEPS), middle, 0.0)


def constant_floor(rows: Floats, valid: list[tuple[float, float] | None]) -> Floats:
    """The spread of a channel that never moved while healthy, [C].

    1 % of its reading or of its valid range, whichever is more; 0.01 for a channel that always
    read 0 and has no range. A change by the last digit then stays small, a real one alarms.
    """
    reading = np.abs(np.nanmedian(rows, axis=0))
    span = np.array([0.0 if limits is None else limits[1] - limits[0] for limits in valid])
    largest = np.maximum(reading, span)
    return np.where(largest > 0, _CONSTANT * largest, _CONSTANT)


def center_and_spread(rows: Floats, constant: Floats) -> tuple[Floats, Floats]:
    """Winsorised mean and robust spread of rows [T, C]."""
    still = rows.min(axis=0) == rows.max(axis=0)
    rows = rows[:: stride_of(len(rows))]
    middle = np.median(rows, axis=0)
    spread = _NORMAL_MAD * np.median(np.abs(rows - middle), axis=0)
    low, high = np.quantile(rows, [_TAIL, 1 - _TAIL], axis=0)
    tails = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # A channel that rests most of the time has no median deviation at all, yet it moves.
    spread = np.maximum(spread, _TAIL_WEIGHT * tails)
    spread = np.maximum(spread, _resolution(rows))
    spread = np.maximum(spread, _FLOAT32_NOISE * np.abs(middle))
    spread = np.where(still, constant, np.maximum(spread, np.finfo(np.float32).tiny))
    reach = _WINSOR * spread
    return np.clip(rows, middle - reach, middle + reach).mean(axis=0), spread


def reach_of(rows: Floats, spread: Floats, *, keep_rare: bool = False) -> tuple[Floats, Floats]:
    """The limits to which rows [T, C] are clipped before their covariance: low and high, [C].

    Four spreads, and a little beyond the states that the machine holds for 64 rows or more: it
    may idle a tenth of its time. keep_rare: and beyond what occurs in half a per cent of the rows,
    such as the stroke of a press.
    """
    middle = np.median(rows[:: stride_of(len(rows))], axis=0)
    low, high = middle - _WINSOR * spread, middle + _WINSOR * spread
    if keep_rare:
        lowest, highest = np.quantile(rows[:: stride_of(len(rows))], [_RARE, 1 - _RARE], axis=0)
        low, high = _beyond(low, high, middle, lowest, highest)
    blocks = len(rows) // _STATE_ROWS
    if blocks < _MIN_STATES:
        return low, high
    states = np.median(rows[: blocks * _STATE_ROWS].reshape(blocks, _STATE_ROWS, -1), axis=1)
    lowest, highest = np.quantile(states, [_STATE_SHARE, 1 - _STATE_SHARE], axis=0)
    return _beyond(low, high, middle, lowest, highest)


def _beyond(
    low: Floats, high: Floats, middle: Floats, lowest: Floats, highest: Floats
) -> tuple[Floats, Floats]:
    return (
        np.minimum(low, middle + _BEYOND * (lowest - middle)),
        np.maximum(high, middle + _BEYOND * (highest - middle)),
    )


def _resolution(rows: Floats) -> Floats:
    """The step of channels with few distinct values, else 0: one step is not an event, [C]."""
    steps = np.zeros(rows.shape[1])
    for channel, values in enumerate(rows.T):
        distinct = np.unique(values)
        if 1 < len(distinct) <= _COARSE:
            steps[channel] = np.diff(distinct).min()
    return steps
