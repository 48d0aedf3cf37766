"""Features of waveforms: one number each, from the level to the lines of the envelope's spectrum.

All of a machine's waveforms are measured in the same way, without knowledge of the machine:

- level (RMS), kurtosis and crest factor of the samples without their mean. The peak is the product
  of level and crest factor, so it would add nothing;
- the energies of half-octave bands: Welch's averaged spectrum;
- envelope lines: the power of eight wide bands over time, and the spectrum of each divided by its
  mean (the cyclic modulation spectrum of Antoni, Hanson: Detection of surface ships from
  interception of cyclostationary signature, IEEE J. Oceanic Eng. 37, 2012). Impacts of a damaged
  bearing or gear tooth are lines there, in the bands that they excite. The largest line of each
  range of frequencies counts; with the geometry of the bearing also that at each defect frequency.
  If the speed of the shaft is measured, ranges are multiples of it (orders) at each window's speed.

All features are logarithms, so that they have a spread instead of a factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, floor, log2
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHAPES: Final = ("level", "kurtosis", "crest factor")
LOUDEST: Final = 1e30  # single precision has no room for more
QUIETEST: Final = 1e-30
TINY: Final = 1e-10  # of the power of the peak: below it nothing is heard
_LENGTH_S: Final = 0.35
_LENGTHS: Final = (1024, 8192)
_LEAST_LENGTH: Final = 256
_SEGMENT: Final = 256
_ENVELOPE_HZ: Final = 1500.0  # samples per second of an envelope: impacts come below half of it
_FRAME_HOPS: Final = 4
_LEAST_FRAME: Final = 8
_BANDS: Final = 8
_STRETCH: Final = 512  # samples of an envelope that are transformed together
_USED: Final = 0.35  # of the envelope's samples per second; above it the frames blur lines
_FIRST_BIN: Final = 2
_LEAST_BINS: Final = 3
_RANGES: Final = 20
_SLIP: Final = 0.02  # a bearing slips, and a speed is never exactly the one on the plate
_HARMONICS: Final = 3
_SHAFT_ORDERS: Final = 8  # lines of the shaft itself
_BETWEEN: Final = (0.15, 0.85)  # of two orders of the shaft: of all that is not the shaft
_WHOLE: Final = 12  # orders with a range after each; then ever wider ranges
_WIDE: Final = ((12.0, 17.0), (17.0, 24.0), (24.0, 34.0))
REACH: Final = 0.75  # lines beside a range count, too: a line is that wide

Orders = tuple[tuple[str, float, float], ...]


class Tables(NamedTuple):
    """The constants of the features, for numpy and for the graph alike.

    spectrum, frames: cosine and sine of a window's DFT, [samples, 2 bins]. bands, pools: which of
    its bins are summed, [bins, bands]. turns: DFT of the envelopes, [2 lines, samples]. ranges: the
    lines of each range, [ranges, most lines], the last one repeated.
    """

    spectrum: Floats
    bands: Floats
    frames: Floats
    pools: Floats
    turns: Floats
    ranges: NDArray[np.int64]


@dataclass(frozen=True)
class Bank:
    """What is measured in windows of `length` samples.

    lines: names and Hz of known defects. orders: names and ranges of orders instead of frequencies,
    if the speed is known at each window.
    """

    rate_hz: float
    length: int
    lines: tuple[tuple[str, float], ...] = ()
    orders: Orders = ()

    @property
    def segment(self) -> int:
        """Samples of a segment of Welch's spectrum; they overlap by half."""
        return min(_SEGMENT, self.length)

    @cached_property
    def hop(self) -> int:
        """Samples between two of an envelope."""
        most = max(1, self.length // 64)
        return int(min(most, 2 ** max(0, floor(log2(self.rate_hz / _ENVELOPE_HZ)))))

    @property
    def frame(self) -> int:
        """Samples of which an envelope's is made."""
        return max(_LEAST_FRAME, _FRAME_HOPS * self.hop)

    @cached_property
    def stretch(self) -> int:
        """Samples of an envelope that are transformed together; stretches overlap by half."""
        return min(_STRETCH, (self.length - self.frame) // self.hop + 1)

    @property
    def stretch_hop(self) -> int:
        """Samples of an envelope between two stretches."""
        return self.stretch // 2

    @property
    def resolution_hz(self) -> float:
        """The distance of two lines of the envelope's spectrum."""
        return self.rate_hz / self.hop / self.stretch

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in their order."""
        bins = self.rate_hz / self.segment
        bands = [f"band {_hz(a * bins)}-{_hz(b * bins)} Hz" for a, b in pairwise(self.band_edges)]
        if self.orders:
            return (*SHAPES, *bands, *(name for name, _, _ in self.orders))
        ranges = pairwise(_range_edges(self._lines))
        step = self.resolution_hz
        lines = [
            f"envelope {_hz((a + _FIRST_BIN) * step)}-{_hz((b + _FIRST_BIN) * step)} Hz"
            for a, b in ranges
        ]
        return (*SHAPES, *bands, *lines, *(name for name, _ in self._heard()))

    @property
    def size(self) -> int:
        """The number of features."""
        return len(self.names)

    @property
    def _lines(self) -> int:
        return int(_USED * self.stretch) - _FIRST_BIN

    @property
    def band_edges(self) -> list[int]:
        """Half octaves of at least one bin, up to half of the sampling rate."""
        edges, most = [1], self.segment // 2
        while edges[-1] < most:
            edges.append(min(most, max(edges[-1] + 1, round(edges[-1] * 2**0.5))))
        return edges

    @property
    def bins(self) -> Floats:
        """The numbers of the lines of the envelope's spectrum."""
        return np.arange(_FIRST_BIN, _FIRST_BIN + self._lines, dtype=float)

    @property
    def order_edges(self) -> Floats:
        """First and last line of each range of orders, for each Hz of the shaft: [orders, 2]."""
        edges = [(low, high) for _, low, high in self.orders]
        return np.array(edges, float).reshape(-1, 2) / self.resolution_hz

    def _heard(self) -> list[tuple[str, tuple[int, int]]]:
        """The known lines within the envelope's spectrum: name, first and last line."""
        found = []
        for name, hz in self.lines:
            low, high = hz * (1 - _SLIP) / self.resolution_hz, hz * (1 + _SLIP) / self.resolution_hz
            first, last = floor(low) - _FIRST_BIN, ceil(high) - _FIRST_BIN
            if first >= 0 and last < self._lines:
                found.append((name, (first, last)))
        return found

    @cached_property
    def tables(self) -> Tables:
        """The constants of the features."""
        groups = [(a, b - 1) for a, b in pairwise(_range_edges(self._lines))]
        groups += [lines for _, lines in self._heard()]
        width = max(b - a for a, b in groups) + 1
        ranges = np.array([[min(a + n, b) for n in range(width)] for a, b in groups], np.int64)
        turn = 2 * np.pi * self.bins[:, None] * np.arange(self.stretch) / self.stretch
        window = np.hanning(self.stretch + 1)[:-1]
        return Tables(
            _transform(self.segment),
            _pooled(self.band_edges, self.segment // 2),
            _transform(self.frame),
            _pooled(_pool_edges(self.frame // 2), self.frame // 2),
            np.concatenate([np.cos(turn), np.sin(turn)]) * window / window.sum(),
            ranges,
        )


def _hz(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: PLR2004


def _transform(samples: int) -> Floats:
    """Cosine and sine of the bins above 0 of a Hann window's DFT, [samples, 2 bins]."""
    turn = 2 * np.pi * np.arange(samples)[:, None] * np.arange(1, samples // 2 + 1) / samples
    window = np.hanning(samples + 1)[:-1, None]
    scale = np.sqrt(2 / (samples * (window**2).sum()))  # the sum over the bins is the mean square
    return np.asarray(np.concatenate([np.cos(turn), np.sin(turn)], axis=1) * window * scale)


def _pooled(edges: list[int], bins: int) -> Floats:
    """Sums of bins, the first of which is number 1, between edges: [bins, bands]."""
    number = np.arange(1, bins + 1)[:, None]
    last = np.array(edges[1:])
    last[-1] += 1
    return ((number >= np.array(edges[:-1])) & (number < last)).astype(float)


def _pool_edges(bins: int) -> list[int]:
    return [round(1 + k * bins / min(_BANDS, bins)) for k in range(min(_BANDS, bins))] + [bins]


def _range_edges(lines: int) -> list[int]:
    """Ranges of lines that become wider with frequency."""
    edges, ratio = [0], lines ** (1 / _RANGES)
    while edges[-1] < lines:
        edges.append(max(edges[-1] + _LEAST_BINS, ceil((edges[-1] + 1) * ratio)))
    return [*edges[:-2], lines] if len(edges) > 2 else [0, lines]  # noqa: PLR2004


def length_for(rate_hz: float, longest_run: int) -> int:
    """The samples of a window: a power of two for about a third of a second.

    At most as long as the blocks, if they do not follow each other. 0 if they are too short.
    """
    wanted = min(max(_LENGTH_S * rate_hz, _LENGTHS[0]), _LENGTHS[1], longest_run)
    length = int(2 ** floor(log2(max(1.0, wanted))))
    return length if length >= _LEAST_LENGTH else 0


def defect_lines(orders: Mapping[str, float], speed_hz: float) -> tuple[tuple[str, float], ...]:
    """The defect frequencies of a bearing and their multiples, by name."""
    return tuple(
        (name if n == 1 else f"{n} x {name}", n * order * speed_hz)
        for name, order in orders.items()
        for n in range(1, _HARMONICS + 1)
        if order > 0 and speed_hz > 0
    )


def order_ranges(orders: Mapping[str, float]) -> Orders:
    """Ranges of orders: of a bearing's defects and their multiples, of the shaft, and between."""
    defects = [
        (name if n == 1 else f"{n} x {name}", n * order * (1 - _SLIP), n * order * (1 + _SLIP))
        for name, order in orders.items()
        for n in range(1, _HARMONICS + 1)
        if order > 0
    ]
    shaft = [(f"envelope order {n}", float(n), float(n)) for n in range(1, _SHAFT_ORDERS + 1)]
    between = [tuple(n + part for part in _BETWEEN) for n in range(_WHOLE)]
    rest = [(f"envelope orders {a:.4g}-{b:.4g}", a, b) for a, b in (*between, *_WIDE)]
    return (*defects, *shaft, *rest)


def lines_at_orders(lines: Floats, bank: Bank, speed_hz: Floats) -> Floats:
    """The largest of the lines [N, lines] in each range of orders at these speeds [N].

    Where the envelope has no such frequency, the line nearest to it.
    """
    edges, bins = bank.order_edges, bank.bins
    low = np.minimum(edges[:, 0] * speed_hz[:, None] - REACH, bins[-1])
    high = np.maximum(edges[:, 1] * speed_hz[:, None] + REACH, bins[0])
    inside = (bins >= low[:, :, None]) & (bins <= high[:, :, None])
    return np.asarray(np.where(inside, lines[:, None, :], 0.0).max(axis=2))


def measure(samples: NDArray[np.floating], bank: Bank, speed_hz: Floats | None = None) -> Floats:
    """The features [N, size] of windows [N, length]; NaN for a window that never changes.

    speed_hz: of the shaft at each window [N], if the bank has orders.
    """
    x = np.clip(samples.astype(np.float64), -LOUDEST, LOUDEST)
    x = x - x.mean(axis=1, keepdims=True)
    peak = np.abs(x).max(axis=1, keepdims=True) + QUIETEST
    x, loud = x / peak, np.log(peak)
    square = x * x
    power = square.mean(axis=1, keepdims=True) + TINY
    kurtosis = np.log((square * square).mean(axis=1, keepdims=True) / (power * power) + TINY)
    level = np.log(power) / 2
    tables = bank.tables
    spectrum = _powers(x, bank.segment, bank.segment // 2, tables.spectrum).mean(axis=1)
    bands = np.log(spectrum @ tables.bands + TINY) / 2 + loud
    pools = _powers(x, bank.frame, bank.hop, tables.frames) @ tables.pools
    swing = pools / (pools.mean(axis=1, keepdims=True) + TINY) - 1.0
    stretches = _cut(swing.transpose(0, 2, 1), bank.stretch, bank.stretch_hop)
    real, imaginary = np.split(_times(stretches, tables.turns.T), 2, axis=3)
    lines = (real * real + imaginary * imaginary).mean(axis=2).max(axis=1)
    if speed_hz is not None and bank.orders:
        largest = lines_at_orders(lines, bank, speed_hz)
    else:
        largest = lines[:, tables.ranges].max(axis=2)
    largest = np.log(largest + TINY) / 2
    found = np.concatenate([level + loud, kurtosis, -level, bands, largest], axis=1)
    found[np.ptp(samples, axis=1) == 0] = np.nan
    return found


def _powers(x: Floats, size: int, hop: int, table: Floats) -> Floats:
    """The power of each bin in each part of windows [N, length]: [N, parts, bins]."""
    real, imaginary = np.split(_times(_cut(x, size, hop), table), 2, axis=2)
    return np.asarray(real * real + imaginary * imaginary)


def _times(parts: Floats, table: Floats) -> Floats:
    """The product of [..., samples] with [samples, n], as one of whole matrices: BLAS is faster."""
    rows = np.ascontiguousarray(parts).reshape(-1, table.shape[0])
    return np.asarray(rows @ table).reshape(*parts.shape[:-1], table.shape[1])


def _cut(x: Floats, size: int, hop: int) -> Floats:
    """Parts of `size` every `hop` along the last axis, [..., parts, size]."""
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[..., ::hop, :]
