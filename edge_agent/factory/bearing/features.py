"""Features of a rolling bearing from a waveform and a speed, all computed inside the graph.

- Lines: the squared envelope of seven bands (the signal demodulated in each, as a kurtogram does),
  its spectrum read at the orders of the defects, so that speed cancels: the height of each line
  above its surroundings, in the best band and on average. This is valid for any machine.
- Shape: the distribution of the power above 2 kHz, independent of its level. Impacts excite
  resonances there; the machine's own forces lie below. This is specific to the learned machine.

Randall, Antoni: Rolling element bearing diagnostics - a tutorial, MSSP 25, 2011. The Fourier
transform is two matrix products and a twiddle (Cooley, Tukey 1965; the four-step form), since that
runs anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from edge_agent.factory.student import run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.config.bearing import Orders

RATE_HZ: Final = 12_000.0
LENGTH: Final = 16_384
BANDS: Final = 7
_BAND_BINS: Final = 2048  # 1.5 kHz
_BAND_HOP: Final = 1024
_SHAPE_FIRST: Final = 2816  # 2.06 kHz
_SHAPE_BINS: Final = 192  # 141 Hz
SHAPE: Final = (LENGTH // 2 - _SHAPE_FIRST) // _SHAPE_BINS
_SLIP: Final = 0.01  # allowed deviation of a line from its order
_PEAK_POINTS: Final = 21
_AROUND: Final = 0.45  # orders on either side
_AROUND_POINTS: Final = 61
_FIRST_BIN: Final = 3.0  # below lies the mean, which is removed
_TINY: Final = 1e-12
_BATCH: Final = 64
_RPM_PER_HZ: Final = 60.0
# The number of multiples of each defect's order that are read.
_MULTIPLES: Final = {"outer": 4, "inner": 3, "ball": 3, "cage": 3}
LINES: Final = sum(_MULTIPLES.values())
_COMB: Final = (1, 2, 3)  # multiples
_COMB_POINTS: Final = 9
_FREE_POINTS: Final = 3
_FREE_SLIP: Final = 0.005
_FREE_ORDERS: Final = np.geomspace(0.6, 12.0, 250)  # 1.2 % from one to the next
_OWN_BAND: Final = 0.02  # of a known order, or a multiple or part of it
_MULTIPLE: Final = 4.0
_WIDE: Final = 41  # bins around a line
_MAINS_HZ: Final = (50.0, 60.0)
_HIDDEN: Final = -60.0  # dB
_NEAR_WHOLE: Final = 0.03  # an order this near to a multiple of the shaft's is hard to tell from it
_SAME: Final = 0.01  # a geometry this near to the learned machine's is the same
EVIDENCE: Final = 2 * 9 + 3 + 3 + 2
PHYSICS: Final = 2 * LINES + EVIDENCE


class Envelopes(torch.nn.Module):
    """Half spectra [N, LENGTH / 2] to the spectrum of the squared envelope in each band.

    Levels [N, BANDS, _BAND_BINS] in dB, and how impulsive each envelope is [N, BANDS] in dB.
    """

    def __init__(self) -> None:
        super().__init__()
        self.envelope = _Spectrum(2 * _BAND_BINS, filled=_BAND_BINS)
        self.spectrum = _Spectrum(2 * _BAND_BINS)
        window = np.hanning(2 * _BAND_BINS)
        self.register_buffer("window", torch.tensor(window, dtype=torch.float32))

    def forward(
        self, real: torch.Tensor, imaginary: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the half spectrum."""
        parts = [
            self.envelope(part(real, band), part(imaginary, band))
            for band in range(BANDS)
            for part in [_band]
        ]
        squared = torch.stack([r * r + i * i for r, i in parts], dim=1)
        relative = squared / (squared.mean(dim=2, keepdim=True) + _TINY) - 1.0
        impulsive = 10.0 * torch.log10((relative * relative).mean(dim=2) + _TINY)
        r, i = self.spectrum(relative * self.window)
        return 10.0 * torch.log10(r * r + i * i + _TINY), impulsive


class Lines(torch.nn.Module):
    """Levels [N, BANDS, bins], bins per order [N, 1, 1], orders [N, 4] to lines [N, 2 LINES].

    The height of each line above its surroundings in dB: in the best band, and on average.
    """

    def __init__(self) -> None:
        super().__init__()
        owner, near, around = _points()
        self.register_buffer("owner", torch.tensor(owner))
        self.register_buffer("near", torch.tensor(near, dtype=torch.float32))
        self.register_buffer("around", torch.tensor(around, dtype=torch.float32))

    def forward(
        self, level: torch.Tensor, per_order: torch.Tensor, orders: torch.Tensor
    ) -> torch.Tensor:
        """The lines of the defects of bearings with these orders."""
        line = orders[:, self.owner, None]  # [N, LINES, 1]
        peak = _read(level, line * self.near * per_order).amax(dim=3)
        multiple = self.near.mean(dim=1, keepdim=True)
        around = _read(level, (line * multiple + self.around) * per_order).mean(dim=3)
        above = peak - around
        return torch.cat([above.amax(dim=1), above.mean(dim=1)], dim=1)


class Evidence(torch.nn.Module):
    """Whether the lines are those of the bearing, or of something else: [N, EVIDENCE].

    A comb is the mean height of the first three multiples of an order. Read are the combs of the
    defects, of the shaft and its half, of the mains, and of the strongest order that is none of
    these: damage whose comb is there is not where the configured geometry has it.
    """

    def __init__(self, learned: Orders) -> None:
        super().__init__()
        self.register_buffer("learned", torch.tensor(learned, dtype=torch.float32))
        self.register_buffer("free", torch.tensor(_FREE_ORDERS, dtype=torch.float32))
        near = 1 + np.linspace(-_SLIP, _SLIP, _COMB_POINTS)
        self.register_buffer("near", torch.tensor(near, dtype=torch.float32))
        narrow = 1 + np.linspace(-_FREE_SLIP, _FREE_SLIP, _FREE_POINTS)
        self.register_buffer("narrow", torch.tensor(narrow, dtype=torch.float32))
        self.register_buffer("shaft", torch.tensor([0.5, 1.0], dtype=torch.float32))
        bins = np.array(_MAINS_HZ) * LENGTH / RATE_HZ
        self.register_buffer("mains", torch.tensor(bins, dtype=torch.float32))

    def forward(
        self,
        level: torch.Tensor,
        impulsive: torch.Tensor,
        per_order: torch.Tensor,
        orders: torch.Tensor,
    ) -> torch.Tensor:
        """Levels [N, BANDS, bins], impulsiveness [N, BANDS], bins per order, orders [N, 4]."""
        above = _raised(level) - torch.nn.functional.avg_pool1d(level, _WIDE, 1, _WIDE // 2)
        known = (orders[:, :1] > 0).float()
        defects = self._combs(above, per_order, orders, self.near) * known[:, None]
        each = torch.ones_like(orders[:, :1])  # the export keeps the batch free
        shaft = self._combs(above, per_order, each * self.shaft, self.near)
        mains = self.mains / per_order[:, 0]
        hum = self._combs(above, per_order, mains, self.near)
        free = self._combs(above, per_order, each * self.free, self.narrow)
        free = free + _HIDDEN * self._explained(orders, mains)[:, None]
        strongest = free.amax(dim=2, keepdim=True)
        combs = torch.cat([defects, shaft, hum, strongest], dim=2)
        parts = [combs.amax(dim=1), combs.mean(dim=1)]
        parts += [free.mean(dim=1).amax(dim=1, keepdim=True)]
        parts += [impulsive.amax(dim=1, keepdim=True), impulsive.mean(dim=1, keepdim=True)]
        whole = torch.abs(orders[:, :3] - torch.round(orders[:, :3]))
        parts += [torch.clamp(whole / orders[:, :3].clamp(min=1.0), max=_NEAR_WHOLE) / _NEAR_WHOLE]
        off = torch.abs(orders / self.learned - 1.0).amax(dim=1, keepdim=True)
        return torch.cat([*parts, known, (off < _SAME).float()], dim=1)

    def _combs(
        self, above: torch.Tensor, per_order: torch.Tensor, orders: torch.Tensor, near: torch.Tensor
    ) -> torch.Tensor:
        """The combs of orders [N, K] in each band, [N, BANDS, K]."""
        at = orders[:, :, None] * near * per_order  # [N, K, points]
        heights = [_read(above, multiple * at).amax(dim=3) for multiple in _COMB]
        return torch.stack(heights).mean(dim=0)

    def _explained(self, orders: torch.Tensor, mains: torch.Tensor) -> torch.Tensor:
        """1 for the free orders [N, K] that a defect, the shaft or the mains explain."""
        ball, inner, cage = orders[:, 2:3], orders[:, 1:2], orders[:, 3:4]
        sides = [inner - 1, inner + 1, ball - cage, ball + cage]
        known = torch.cat([orders, *sides, mains], dim=1)[:, :, None]  # [N, 10, 1]
        ratio = self.free / known.clamp(min=_TINY)
        multiples = torch.round(ratio).clamp(1.0, _MULTIPLE)
        parts = torch.round(1.0 / ratio).clamp(1.0, _MULTIPLE)
        near = torch.minimum(torch.abs(ratio / multiples - 1), torch.abs(ratio * parts - 1))
        whole = torch.round(2 * self.free).clamp(min=1.0)
        of_shaft = torch.abs(2 * self.free / whole - 1) < _OWN_BAND
        return torch.logical_or((near < _OWN_BAND).any(dim=1), of_shaft[None]).float()


class BearingFeatures(torch.nn.Module):
    """Speed [N, 1, 1] in rpm, waveforms [N, LENGTH], orders [N, 4] to [N, PHYSICS + SHAPE]."""

    def __init__(self, learned: Orders) -> None:
        super().__init__()
        self.whole = _Spectrum(LENGTH)
        self.envelopes = Envelopes()
        self.lines = Lines()
        self.evidence = Evidence(learned)

    def forward(
        self, x: torch.Tensor, waveform: torch.Tensor, orders: torch.Tensor
    ) -> torch.Tensor:
        """The features, independent of level and offset of the waveform."""
        quiet = waveform - waveform.mean(dim=1, keepdim=True)
        scaled = quiet / torch.sqrt((quiet * quiet).mean(dim=1, keepdim=True) + _TINY)
        real, imaginary = self.whole(scaled)
        level, impulsive = self.envelopes(real, imaginary)
        per_order = x[:, :1] * (LENGTH / RATE_HZ / _RPM_PER_HZ)  # [N, 1, 1]
        known = (orders[:, :1] > 0).float()
        lines = self.lines(level, per_order, orders) * known
        evidence = self.evidence(level, impulsive, per_order, orders)
        power = (real * real + imaginary * imaginary)[:, _SHAPE_FIRST:]
        shape = 10.0 * torch.log10(power.reshape(-1, SHAPE, _SHAPE_BINS).mean(dim=2) + _TINY)
        return torch.cat([lines, evidence, shape - shape.mean(dim=1, keepdim=True)], dim=1)


def _raised(level: torch.Tensor) -> torch.Tensor:
    """The largest of each bin and its neighbours."""
    return torch.nn.functional.max_pool1d(level, 3, 1, 1)


def _read(level: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Levels [N, BANDS, bins] at fractional bins [N, K, P]: [N, BANDS, K, P]."""
    index = torch.clamp(torch.round(bins), _FIRST_BIN, _BAND_BINS - 1.0).long()
    _, lines, points = index.shape
    flat = index.reshape(-1, 1, lines * points).expand(-1, BANDS, -1)
    return torch.gather(level, 2, flat).reshape(-1, BANDS, lines, points)


class _Spectrum(torch.nn.Module):
    """Lower half of the discrete Fourier transform of [..., length], as real and imaginary part.

    filled: only this number of first values are not 0; then they are complex, and it returns the
    whole spectrum.
    """

    def __init__(self, length: int, filled: int = 0) -> None:
        super().__init__()
        rows = 1 << (length.bit_length() // 2)
        columns = length // rows
        self.rows, self.columns = rows, columns
        self.used = (filled or length) // columns
        self.told = columns if filled else columns // 2
        k = np.arange(rows)[:, None]
        tables = {
            "first": k * np.arange(self.used) / rows,
            "twist": k * np.arange(columns) / length,
            "second": np.arange(columns)[:, None] * np.arange(self.told) / columns,
        }
        for name, turns in tables.items():
            for part, wave in (("cos", np.cos), ("sin", np.sin)):
                table = torch.tensor(wave(2 * np.pi * turns), dtype=torch.float32)
                self.register_buffer(f"{name}_{part}", table)

    def forward(
        self, real: torch.Tensor, imaginary: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of [..., length or filled]."""
        a = self._grid(real)
        r, i = torch.matmul(self.first_cos, a), -torch.matmul(self.first_sin, a)
        if imaginary is not None:
            b = self._grid(imaginary)
            r = r + torch.matmul(self.first_sin, b)
            i = i + torch.matmul(self.first_cos, b)
        r, i = r * self.twist_cos + i * self.twist_sin, i * self.twist_cos - r * self.twist_sin
        r, i = (
            torch.matmul(r, self.second_cos) + torch.matmul(i, self.second_sin),
            torch.matmul(i, self.second_cos) - torch.matmul(r, self.second_sin),
        )
        return self._in_order(r), self._in_order(i)

    def _grid(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(*values.shape[:-1], self.used, self.columns)

    def _in_order(self, values: torch.Tensor) -> torch.Tensor:
        return values.transpose(-1, -2).reshape(*values.shape[:-2], self.told * self.rows)


def _band(half: torch.Tensor, band: int) -> torch.Tensor:
    begin = band * _BAND_HOP
    return half[:, begin : begin + _BAND_BINS]


def _points() -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each line its defect [LINES], factors near it [LINES, P], orders around it [P]."""
    multiples = [range(1, count + 1) for count in _MULTIPLES.values()]
    owner = np.repeat(np.arange(len(multiples)), [len(each) for each in multiples])
    near = np.concatenate(multiples)[:, None] * (1 + np.linspace(-_SLIP, _SLIP, _PEAK_POINTS))
    return owner, near, np.linspace(-_AROUND, _AROUND, _AROUND_POINTS)


def features_of(
    learned: Orders,
    rpm: NDArray[np.float32],
    waveforms: NDArray[np.float32],
    orders: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Features [N, PHYSICS + SHAPE] of speeds [N], waveforms [N, LENGTH] and orders [N, 4]."""
    speed = rpm.astype(np.float32)[:, None, None]
    return run(BearingFeatures(learned), speed, waveforms, orders, batch=_BATCH)
