"""The inputs that a model was trained on, faults and worn machines included.

Not the same as drift: a machine that wears leaves its healthy distribution, and a model of
remaining life was trained on that. Outside of all that it was trained on, its answer means
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np

from edge_agent.config.types import Between

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROWS: Final = 16  # newest rows of a window that are compared
_OUTSIDE: Final = 0.001  # of the training rows, on either side of a range
_MARGIN: Final = 0.25  # of the range, on either side
_STILL: Final = 0.01  # of an input that was constant: the same as a share of its size
_SHARE: Final = 0.25  # of a window's newest rows; from this share on it is outside
_WIDER: Final = 1.5  # times the squared distance that the training windows keep to
_RIDGE: Final = 1e-3
_MOST_INPUTS: Final = 64  # of a model whose inputs are compared jointly
_ROWS_PER_INPUT: Final = 20  # training windows for a covariance
_NAMED: Final = 0.5  # of the largest share in a joint distance: such inputs are named, too
_DIGITS: Final = 7
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Domain:
    """The inputs of the training data.

    ranges: by scalar input, with a margin; an input that is not listed may have any value.
    center [I], axes [I, I]: of the listed inputs, in their order: the mean of a window's newest
    `rows` rows, less center, times axes has a length of 1 at the limit. Empty: no joint comparison.
    """

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    center: tuple[float, ...] = ()
    axes: tuple[tuple[float, ...], ...] = ()
    rows: Annotated[int, Between(1, 65_536)] = ROWS

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        size = len(self.ranges)
        if not size:
            yield "ranges", "at least one input"
        if len(self.center) not in {0, size} or len(self.axes) != len(self.center):
            yield "axes", "center and axes: as many as ranges, or none"
        elif any(len(row) != size for row in self.axes):
            yield "axes", "a square"
        flat = [*self.center, *(v for row in self.axes for v in row)]
        if not all(
            map(math.isfinite, (*flat, *(v for pair in self.ranges.values() for v in pair)))
        ):
            yield "", "must be finite"


@dataclass(frozen=True, slots=True)
class DomainCheck:
    """A domain as arrays, for windows [N, L, C] of a model; channel: of the listed inputs [I]."""

    channel: NDArray[np.intp]
    low: Floats
    high: Floats
    center: Floats
    axes: Floats
    rows: int

    def outside(self, x: NDArray[np.floating]) -> NDArray[np.bool_]:
        """The inputs that put a window outside, [N, C]; rows before a window's first are NaN."""
        newest = x[:, -self.rows :, self.channel]
        beyond = (newest < self.low) | (newest > self.high)
        known = np.maximum((~np.isnan(newest)).sum(axis=1), 1)
        found = np.zeros((len(x), x.shape[2]), np.bool_)
        found[:, self.channel] = beyond.sum(axis=1) >= _SHARE * known
        if len(self.center):
            found[:, self.channel] |= self._jointly(newest, known)
        return found

    def _jointly(
        self, newest: NDArray[np.floating], known: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """The inputs with the largest shares in the distance of windows beyond the limit."""
        off = np.nansum(newest, axis=1, dtype=np.float64) / known - self.center
        along = off @ self.axes
        far = np.square(along).sum(axis=1) > 1.0
        share = np.abs(off * (along @ self.axes.T))
        most = share.max(axis=1, keepdims=True)
        return np.asarray(far[:, None] & (share >= _NAMED * most))


def check_of(domain: Domain | None, inputs: Sequence[str]) -> DomainCheck | None:
    """The arrays for a model with these scalar inputs; None without a domain."""
    if domain is None:
        return None
    low, high = np.array(list(domain.ranges.values()), np.float64).T
    channel = np.array([inputs.index(name) for name in domain.ranges], np.intp)
    center, axes = np.array(domain.center), np.array(domain.axes, np.float64)
    return DomainCheck(channel, low, high, center, axes, domain.rows)


def domain_of(windows: Mapping[str, NDArray[np.floating]]) -> Domain | None:
    """The domain of training windows [N, L] by input, of all states; None without any input."""
    ranges = {name: _range(each[:, -1]) for name, each in windows.items()}
    if not ranges:
        return None
    means = np.stack([each[:, -ROWS:].mean(axis=1) for each in windows.values()], axis=1)
    if len(ranges) > _MOST_INPUTS or len(means) < _ROWS_PER_INPUT * len(ranges):
        return Domain(ranges)
    widths = np.array([high - low for low, high in ranges.values()])
    return _joint(ranges, means.astype(np.float64), widths)


def _joint(ranges: dict[str, tuple[float, float]], means: Floats, widths: Floats) -> Domain:
    """With a limit on the distance of means [N, I] from their center."""
    center = means.mean(axis=0)
    spread = np.maximum(means.std(axis=0), np.maximum(_STILL * widths, _TINY))
    scaled = (means - center) / spread
    even = np.eye(len(ranges))
    covariance = np.cov(scaled.T).reshape(even.shape)
    root = np.linalg.cholesky(np.linalg.inv((1 - _RIDGE) * covariance + _RIDGE * even))
    usual = np.quantile(np.square(scaled @ root).sum(axis=1), 1 - _OUTSIDE)
    axes = root / spread[:, None] / np.sqrt(max(_WIDER * float(usual), _TINY))
    return Domain(ranges, _short(center), tuple(map(_short, axes)))


def _range(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.quantile(values.astype(np.float64), [_OUTSIDE, 1 - _OUTSIDE])
    margin = max(_MARGIN * (high - low), _STILL * max(abs(low), abs(high)) * (high == low))
    (pair,) = [_short(np.array([low - margin, high + margin]))]
    return pair[0], pair[1]


def _short(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
