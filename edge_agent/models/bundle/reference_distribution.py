"""A manifest's description of healthy data, and the adaptation of a remaining life's interval."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np

from edge_agent.config.types import Between
from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

MAX_BINS: Final = 32
OUTSIDE: Final = 0.005  # of healthy values is below the lowest edge, and above the highest
_QUARTERS: Final = 4
_STEPS: Final = 8  # from one stretch to the next, as the drift alarm's memory moves on
_LEAST_SHARE: Final = 1e-3  # instead of an empty bin
_MAX_VALUES: Final = 2_000_000  # of all machines together; more add no information
_MIN_BINS: Final = 2
_SLACK: Final = 1e-3  # of the sum of shares that were written with few digits
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Histogram:
    """The healthy distribution of an input: B bins, the first and the last open-ended.

    edges: the B - 1 inner ones, ascending; bin i contains edges[i - 1] <= value < edges[i].
    shares: of each bin, summing to 1. center, spread: of each unit of a model with
    several; then (value - center) / spread is counted, since values differ between machines.
    unrest: the largest PSI between a quarter of the healthy time and the other three, or between a
    stretch as long as the drift alarm compares and all of it (weekends, nights).
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    center: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    unrest: Annotated[float, Between(0, 1e3)] = 0.0

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if not _MIN_BINS <= len(self.shares) <= MAX_BINS:
            yield "shares", f"{_MIN_BINS} to {MAX_BINS} bins"
        if len(self.edges) != len(self.shares) - 1:
            yield "edges", "one less than shares"
        ascending = all(low < high for low, high in itertools.pairwise(self.edges))
        if not ascending or not all(map(math.isfinite, self.edges)):
            yield "edges", "must be finite and ascend"
        in_range = all(0 <= share <= 1 for share in self.shares)
        if not in_range or abs(sum(self.shares) - 1) > _SLACK:
            yield "shares", "must be 0 to 1 each and sum to 1"
        finite = all(map(math.isfinite, (*self.center, *self.spread)))
        if not finite or any(spread <= 0 for spread in self.spread):
            yield "spread", "must be finite and above 0, center finite"

    def counts(self, values: ArrayLike) -> NDArray[np.int64]:
        """The number of finite `values` in each bin, int64 [B]."""
        flat = np.asarray(values, np.float64).ravel()
        bins = np.searchsorted(self.edges, flat[np.isfinite(flat)], side="right")
        return np.bincount(bins, minlength=len(self.shares)).astype(np.int64)

    @property
    def median(self) -> float:
        """The healthy median, linear within its bin; of an open bin, its only edge."""
        above = 0.5
        for index, share in enumerate(self.shares):
            if share >= above:
                return self._within(index, above / share)
            above -= share
        return self.edges[-1]

    def usual(self, unit: int) -> tuple[float, float] | None:
        """The range with 99 % of the healthy values of a unit; None of an input of few levels."""
        if len(self.edges) <= _QUARTERS:
            return None
        center = self.center[unit] if self.center else 0.0
        spread = self.spread[unit] if self.spread else 1.0
        return center + spread * self.edges[0], center + spread * self.edges[-1]

    def _within(self, index: int, part: float) -> float:
        if index == 0:
            return self.edges[0]
        if index == len(self.edges):
            return self.edges[-1]
        low, high = self.edges[index - 1 : index + 1]
        return low + part * (high - low)


@dataclass(frozen=True, slots=True)
class Interval:
    """The online adaptation of a remaining life's interval.

    coverage: the target share of truths within it; rate: the change of a half-width's logarithm
    for a life that it missed completely (see `AdaptiveInterval`); cap_h: hours beyond which
    the model does not distinguish lives, 0 for none: a truth beyond it counts as cap_h.
    """

    coverage: Annotated[float, Between(0.5, 0.99)] = 0.8
    rate: Annotated[float, Between(0, 1)] = 0.2
    cap_h: Annotated[float, Between(0, 1e7)] = 0.0


def psi(counts: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Population stability index of counts [.., B] against shares [.., B]; 0 if none counted.

    An empty bin counts as a thousandth.
    """
    total = counts.sum(axis=-1, keepdims=True)
    live = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    live, healthy = np.maximum(live, _LEAST_SHARE), np.maximum(shares, _LEAST_SHARE)
    there = (shares > 0) | (counts > 0)
    terms = np.where(there, (live - healthy) * np.log(live / healthy), 0.0)
    return np.asarray(np.where(total[..., 0] > 0, terms.sum(axis=-1), 0.0))


def histogram_of(values: ArrayLike, bins: int = 10, memory: int = 0) -> Histogram:
    """The histogram of healthy values of one input, in the order of time; edges at their quantiles.

    `bins` of equal shares, the outer ones split again at the quantiles 0.5 % and 99.5 %, so that
    unusual values have separate bins. Equal quantiles (an input of few levels) are merged, so
    there may be fewer. memory: values that the drift alarm compares; 0: not told. ModelError if no
    value is finite.
    """
    whole: NDArray[Any] = np.asarray(values).ravel()
    flat = whole[np.isfinite(whole)].astype(np.float64)
    if not len(flat):
        raise ModelError("no finite value to make a histogram of")
    inner = np.linspace(0, 1, min(bins, MAX_BINS - 2) + 1)[1:-1]
    inner = np.sort(np.append(inner, [OUTSIDE, 1 - OUTSIDE]))
    # Quantiles that are values: no value lies between two levels.
    edges = np.unique(np.quantile(flat, inner, method="higher"))
    quarters = np.array_split(np.searchsorted(edges, flat, side="right"), _QUARTERS)
    counts = np.array([np.bincount(each, minlength=len(edges) + 1) for each in quarters], float)
    shares = tuple(round(float(share), _DIGITS) for share in counts.sum(axis=0) / len(flat))
    others = counts.sum(axis=0) - counts
    unrest = psi(counts, others / np.maximum(others.sum(axis=1, keepdims=True), 1)).max()
    unrest = max(float(unrest), _unrest_of_stretches(whole, edges, np.array(shares), memory))
    return Histogram(tuple(map(float, edges)), shares, unrest=round(unrest, _DIGITS))


def _unrest_of_stretches(
    values: NDArray[Any], edges: NDArray[Any], shares: NDArray[np.float64], memory: int
) -> float:
    """The largest PSI of stretches of `memory` values that begin at each eighth of one.

    0 if fewer than two of them were seen, which cannot tell what is usual.
    """
    step = memory // _STEPS
    if not step or len(values) < 2 * memory:
        return 0.0
    used = values[: len(values) // step * step].astype(np.float64)
    bins = np.where(np.isfinite(used), np.searchsorted(edges, used, side="right"), len(shares))
    parts = bins.reshape(-1, step)
    counts = np.array([np.bincount(part, minlength=len(shares) + 1)[:-1] for part in parts], float)
    sums = np.cumsum(np.vstack([np.zeros(len(shares)), counts]), axis=0)
    stretches = sums[_STEPS:] - sums[:-_STEPS]
    enough = stretches.sum(axis=1) >= memory / 2
    return float(psi(stretches[enough], shares).max(initial=0.0))


def histogram_of_units(
    values: Sequence[NDArray[np.floating[Any]]],
    center: Sequence[float],
    spread: Sequence[float],
    memory: int = 0,
) -> Histogram:
    """The histogram of one input of several machines, each in units of its own baseline.

    values: those of each machine, in the order of time. Of a single machine: unscaled. memory: see
    `histogram_of`.
    """
    if len(values) == 1:
        return histogram_of(values[0], memory=memory)
    stride = 1 + sum(map(len, values)) // _MAX_VALUES
    scaled = [
        (np.asarray(each[::stride], np.float64) - middle) / width
        for each, middle, width in zip(values, center, spread, strict=True)
    ]
    pooled = histogram_of(np.concatenate(scaled))
    edges, shares = np.array(pooled.edges), np.array(pooled.shares)
    of_each = [_unrest_of_stretches(each, edges, shares, memory // stride) for each in scaled]
    return replace(
        pooled,
        center=tuple(map(_short, center)),
        spread=tuple(map(_short, spread)),
        unrest=round(max(pooled.unrest, *of_each), _DIGITS),
    )


def _short(value: float) -> float:
    """Rounded to the digits of float32: there may be thousands of them."""
    return float(f"{value:.7g}")
