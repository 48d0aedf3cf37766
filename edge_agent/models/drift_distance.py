"""How much inputs differ from a model's training data: PSI and KS, with the error of PSI.

Population stability index (Siddiqi: Credit Risk Scorecards, 2006; a symmetrised Kullback-Leibler
divergence) and the Kolmogorov-Smirnov distance, both over the bins of a histogram. A machine's
values are correlated in time, so that a thousand of them may have no more information than five:
the error of PSI is estimated from blocks of time, each left out in turn (Kuensch: The Jackknife
and the Bootstrap for General Stationary Observations, Annals of Statistics 17, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.models.bundle.reference_distribution import Histogram, psi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.manifest import Manifest

    Floats = NDArray[np.float64]

BLOCKS: Final = 8  # number of blocks in the memory
DRIFT_MEMORY_S: Final = 86_400.0  # usual memory: a day
DRIFT_MEMORY_WINDOWS: Final = 512  # at least, also of a model with a long step
MIN_BLOCKS: Final = 7  # with fewer there is no result: half a day does not represent a day
_SURE: Final = 2.0  # standard errors
_STILL: Final = 0.995  # share of one bin: such an input has no distribution to drift from
_SLACK: Final = np.float32(1e-6)  # relative: values on an edge have been rounded since


@dataclass(frozen=True, slots=True)
class Bins:
    """The healthy histograms of some scalar inputs, side by side: I inputs, at most B bins.

    channel: index of each input in the model [I]; edges [I, B - 1], inf if an input has fewer;
    shares [I, B]; center, spread: of each unit [units, I], 0 and 1 if values are not scaled;
    offset: subtracted before that [units, I]. own: True if they are of a single machine. unrest:
    PSI between quarters of the healthy time [I].
    """

    channel: NDArray[np.intp]
    edges: NDArray[np.float32]
    shares: Floats
    center: NDArray[np.float32]
    spread: NDArray[np.float32]
    offset: Floats
    own: bool
    unrest: Floats

    def of(self, x: NDArray[np.floating], unit: NDArray[np.int64]) -> NDArray[np.intp]:
        """The bin of every value, [n, I]; x: all scalar inputs [n, C]; unit: [n]."""
        values = (x[:, self.channel] - self.offset[unit]).astype(np.float32)
        center = self.center[unit]
        nudged = values + _SLACK * (np.abs(values) + np.abs(center))
        scaled = (nudged - center) / self.spread[unit]
        return np.asarray((scaled[:, :, None] >= self.edges).sum(axis=2, dtype=np.intp))


@dataclass(frozen=True, slots=True)
class Drift:
    """Distance of inputs from healthy, [n, I]: `psi`, `ks`, and PSI's lower bound (`surely`)."""

    psi: Floats
    ks: Floats
    surely: Floats


def bins_of(manifest: Manifest) -> Bins | None:
    """The histograms of a manifest; None if it has none that could drift."""
    known = [
        (channel, manifest.healthy[spec.name])
        for channel, spec in enumerate(manifest.scalars)
        if spec.name in manifest.healthy and max(manifest.healthy[spec.name].shares) < _STILL
    ]
    if not known:
        return None
    scalars = manifest.scalars
    histograms = [_of_domain(manifest, scalars[c].name, histogram) for c, histogram in known]
    most = max(len(one.shares) for one in histograms)
    edges = np.full((len(known), most - 1), np.inf)
    shares = np.zeros((len(known), most))
    for row, one in enumerate(histograms):
        edges[row, : len(one.edges)] = one.edges
        shares[row, : len(one.shares)] = one.shares
    units = max(1, len(manifest.units))
    return Bins(
        np.array([channel for channel, _ in known]),
        edges.astype(np.float32),
        shares / shares.sum(axis=1, keepdims=True),
        _by_unit([one.center for one in histograms], units, 0.0),
        _by_unit([one.spread for one in histograms], units, 1.0),
        np.array([manifest.offset_of(u) for u in range(units)])[:, [c for c, _ in known]],
        own=len(manifest.units) == 1,
        unrest=np.array([one.unrest for one in histograms]),
    )


def _of_domain(manifest: Manifest, name: str, healthy: Histogram) -> Histogram:
    """The histogram to compare with: that of all that the model was trained on, if it says so.

    A model that was trained on faults or wear is valid for them: a worn machine is no drift.
    """
    domain = manifest.domain
    if domain is None or name not in domain.ranges or manifest.units:
        return healthy
    return Histogram(domain.ranges[name], (0.0, 1.0, 0.0), unrest=healthy.unrest)


def drift_of(counts: NDArray[np.uint32], bins: Bins) -> Drift:
    """Compare counts [n, blocks, I, B] with `bins`; blocks may be empty.

    If the histogram is of a single machine, all bins count. A fleet's histogram contains the values
    of all its machines, of which one machine has a part: then only the values beyond the lowest
    and the highest edge count, and those between as one bin.

    surely: PSI without its bias (taken twice, since the healthy values were as few) less two
    standard errors; -inf with fewer than seven blocks that are not empty.
    """
    shares = bins.shares
    if not bins.own:
        counts, shares = _outside(counts, bins), _outside_shares(bins)
    filled = counts.sum(axis=(2, 3)) > 0
    blocks = filled.sum(axis=1)
    whole = counts.sum(axis=1, dtype=np.float64)
    index = psi(whole, shares)
    left_out = psi(whole[:, None] - counts, shares)
    weight = filled[:, :, None] / np.maximum(blocks, 1)[:, None, None]
    mean = (left_out * weight).sum(axis=1)
    squares = (np.square(left_out - mean[:, None]) * weight).sum(axis=1)
    more = np.maximum(blocks - 1, 0)[:, None]
    bias, error = more * (mean - index), np.sqrt(more * squares)
    surely = index - 2 * np.maximum(bias, 0) - _SURE * np.sqrt(2) * error
    return Drift(index, _ks(whole, shares), np.where(blocks[:, None] < MIN_BLOCKS, -np.inf, surely))


def _ks(counts: Floats, shares: Floats) -> Floats:
    """The largest difference of the two distribution functions at an edge."""
    total = np.maximum(counts.sum(axis=-1, keepdims=True), 1.0)
    apart = np.cumsum(counts / total, axis=-1) - np.cumsum(shares, axis=-1)
    return np.where(counts.sum(axis=-1) > 0, np.abs(apart).max(axis=-1), 0.0)


def _outside(counts: NDArray[np.uint32], bins: Bins) -> NDArray[np.uint32]:
    """Counts below the lowest edge, between, beyond the highest: [n, blocks, I, 3]."""
    last = np.isfinite(bins.edges).sum(axis=1)
    low = counts[..., 0]
    high = np.take_along_axis(counts, last[None, None, :, None], axis=3)[..., 0]
    return np.stack([low, counts.sum(axis=3, dtype=np.uint32) - low - high, high], axis=3)


def _outside_shares(bins: Bins) -> Floats:
    last = np.isfinite(bins.edges).sum(axis=1)
    low, high = bins.shares[:, 0], np.take_along_axis(bins.shares, last[:, None], axis=1)[:, 0]
    return np.stack([low, 1 - low - high, high], axis=1)


def _by_unit(
    columns: Sequence[tuple[float, ...]], units: int, default: float
) -> NDArray[np.float32]:
    filled = [column or (default,) * units for column in columns]
    return np.array(filled, np.float32).T
