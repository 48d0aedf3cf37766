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


class Lines(torch.nn.Module):
    """Speed [N] in rpm and waveforms [N, LENGTH] to lines [N, 2 LINES] in dB.

    The best band's and the mean of all bands, by line.
    """

    def __init__(self, orders: Orders) -> None:
        super().__init__()
        self.envelope = _Spectrum(2 * _BAND_BINS, filled=_BAND_BINS)
        self.spectrum = _Spectrum(2 * _BAND_BINS)
        window = np.hanning(2 * _BAND_BINS)
        self.register_buffer("window", torch.tensor(window, dtype=torch.float32))
        self.register_buffer("points", torch.tensor(_points(orders), dtype=torch.float32))

    def forward(
        self, rpm: torch.Tensor, real: torch.Tensor, imaginary: torch.Tensor
    ) -> torch.Tensor:
        """From the half spectrum [N, LENGTH / 2]."""
        parts = [
            self.envelope(part(real, band), part(imaginary, band))
            for band in range(BANDS)
            for part in [_band]
        ]
        squared = torch.stack([r * r + i * i for r, i in parts], dim=1)
        relative = squared / (squared.mean(dim=2, keepdim=True) + _TINY) - 1.0
        r, i = self.spectrum(relative * self.window)
        level = 10.0 * torch.log10(r * r + i * i + _TINY)  # [N, BANDS, _BAND_BINS]
        bins = self.points * (rpm[:, None, None] * (LENGTH / RATE_HZ / _RPM_PER_HZ))
        index = torch.clamp(torch.round(bins), _FIRST_BIN, _BAND_BINS - 1.0).long()
        near = torch.gather(level, 2, index.expand(-1, BANDS, -1))
        split = LINES * _PEAK_POINTS
        peak = near[:, :, :split].reshape(-1, BANDS, LINES, _PEAK_POINTS).amax(dim=3)
        around = near[:, :, split:].reshape(-1, BANDS, LINES, _AROUND_POINTS).mean(dim=3)
        above = peak - around
        return torch.cat([above.amax(dim=1), above.mean(dim=1)], dim=1)


class BearingFeatures(torch.nn.Module):
    """Speed [N, 1, 1] in rpm and waveforms [N, LENGTH] to [N, 2 LINES + SHAPE] in dB."""

    def __init__(self, orders: Orders) -> None:
        super().__init__()
        self.whole = _Spectrum(LENGTH)
        self.lines = Lines(orders)

    def forward(self, x: torch.Tensor, waveform: torch.Tensor) -> torch.Tensor:
        """The features, independent of level and offset of the waveform."""
        quiet = waveform - waveform.mean(dim=1, keepdim=True)
        scaled = quiet / torch.sqrt((quiet * quiet).mean(dim=1, keepdim=True) + _TINY)
        real, imaginary = self.whole(scaled)
        lines = self.lines(x[:, 0, 0], real, imaginary)
        power = (real * real + imaginary * imaginary)[:, _SHAPE_FIRST:]
        level = 10.0 * torch.log10(power.reshape(-1, SHAPE, _SHAPE_BINS).mean(dim=2) + _TINY)
        return torch.cat([lines, level - level.mean(dim=1, keepdim=True)], dim=1)


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


def _points(orders: Orders) -> NDArray[np.float64]:
    """Orders to read, [1, 1, P]: those near each line, then those around each line."""
    lines = np.concatenate(
        [getattr(orders, name) * np.arange(1, n + 1) for name, n in _MULTIPLES.items()]
    )
    near = lines[:, None] * (1 + np.linspace(-_SLIP, _SLIP, _PEAK_POINTS))
    around = lines[:, None] + np.linspace(-_AROUND, _AROUND, _AROUND_POINTS)
    return np.concatenate([near.ravel(), around.ravel()])[None, None]


def features_of(
    orders: Orders, rpm: NDArray[np.float32], waveforms: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Features [N, 2 LINES + SHAPE] of speeds [N] and waveforms [N, LENGTH], outside the graph."""
    speed = rpm.astype(np.float32)[:, None, None]
    return run(BearingFeatures(orders), speed, waveforms, batch=_BATCH)
