"""Waveform windows: equally spaced samples at the model's rate.

A sensor may sample faster: its windows are resampled. A slower sensor lacks what the model hears.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_agent.values import TensorBlock

_RATE_TOLERANCE: Final = 0.005
_JOINT_TOLERANCE_SAMPLES: Final = 1.5


@dataclass(frozen=True, slots=True)
class BlockWindow:
    """A window of each block input of one asset; samples: by the input's number."""

    asset: int
    start_us: int
    end_us: int
    samples: dict[int, NDArray[np.float32]]

    def shifted(self, step_us: int) -> BlockWindow:
        """The same window at another time."""
        start_us, end_us = self.start_us + step_us, self.end_us + step_us
        return replace(self, start_us=start_us, end_us=end_us)


@dataclass(slots=True)
class _Track:
    """The newest unbroken run of samples of one input, at the sensor's own rate."""

    length: int
    wanted_hz: float
    samples: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    end_us: int = 0
    rate_hz: float = 0.0

    @property
    def needed(self) -> int:
        """The number of samples in a window, at the sensor's rate."""
        return self._own(self.length)

    def is_complete(self) -> bool:
        """True if there is a window."""
        return len(self.samples) >= self.needed

    def append(self, block: TensorBlock) -> None:
        rate_hz = self.wanted_hz if _same(block.rate_hz, self.wanted_hz) else block.rate_hz
        spacing_us = US_PER_S / rate_hz
        begin_us = block.end_us - (len(block.samples) - 1) * spacing_us
        gap_us = abs(begin_us - self.end_us - spacing_us)
        joined = gap_us <= _JOINT_TOLERANCE_SAMPLES * spacing_us + 1000
        joined &= rate_hz == self.rate_hz
        before = self.samples if joined else self.samples[:0]
        self.samples = np.concatenate((before, block.samples))
        self.end_us, self.rate_hz = block.end_us, rate_hz

    def cut_window(self, hop: int) -> tuple[NDArray[np.float32], int]:
        """Return the oldest window and the time of its last sample; advances by one hop."""
        needed = self.needed
        window = self.samples[:needed]
        left = len(self.samples) - needed
        end_us = self.end_us - round(left * US_PER_S / self.rate_hz)
        self.samples = self.samples[self._own(hop) :]
        return window if needed == self.length else _resampled(window, self.length), end_us

    def keep_newest(self, windows: int, more: int) -> None:
        """Drop all samples but those of some windows, and `more`."""
        self.samples = self.samples[-(windows * self.needed + self._own(more)) :]

    def _own(self, samples: int) -> int:
        """This number of wanted samples as a number of the sensor's."""
        if self.rate_hz in (0.0, self.wanted_hz):
            return samples
        return max(1, round(samples * self.rate_hz / self.wanted_hz))


def _same(rate_hz: float, wanted_hz: float) -> bool:
    return abs(rate_hz - wanted_hz) <= _RATE_TOLERANCE * wanted_hz


def _resampled(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Fewer samples of the same time: the spectrum up to the new Nyquist frequency, [length].

    A model that takes the Fourier transform of its window gets the transform of these samples.
    """
    spectrum = np.fft.rfft(samples.astype(np.float64))[: length // 2 + 1]
    spectrum[length // 2 :] = 0.0
    return (np.fft.irfft(spectrum, length) * (length / len(samples))).astype(np.float32)


class WaveWindows:
    """Rings of all waveform inputs of one model; a window is due when every input has one.

    rejected: blocks of a sensor that samples more slowly than the model, or that are not finite.
    """

    def __init__(self, length: tuple[int, ...], hop: int, rate_hz: tuple[float, ...]) -> None:
        self._length = length
        self._hop = hop
        self._rate_hz = rate_hz
        self._tracks: dict[int, list[_Track]] = {}
        self.rejected = 0

    def accept_block(self, asset: int, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept a block and return the windows that it completes."""
        slowest = (1 - _RATE_TOLERANCE) * self._rate_hz[channel]
        if not (slowest <= block.rate_hz and np.isfinite(block.samples).all()):
            self.rejected += 1
            return
        tracks = self._tracks.setdefault(asset, self._new_tracks())
        tracks[channel].append(block)
        if not all(track.is_complete() for track in tracks):
            for track in tracks:  # another input is silent
                track.keep_newest(2, self._hop)
        while all(track.is_complete() for track in tracks):
            yield self._cut_windows(asset, tracks)

    def _new_tracks(self) -> list[_Track]:
        return [_Track(n, rate) for n, rate in zip(self._length, self._rate_hz, strict=True)]

    def shift_clock(self, asset: int, step_us: int) -> None:
        """Shift the waiting samples; the gateway's clock was moved."""
        for track in self._tracks.get(asset, ()):
            track.end_us += step_us

    def _cut_windows(self, asset: int, tracks: list[_Track]) -> BlockWindow:
        samples = {}
        end_us = 0
        for channel, track in enumerate(tracks):
            # Every input advances by the same time, independent of its rate.
            hop = max(1, round(self._hop * track.wanted_hz / self._rate_hz[0]))
            samples[channel], ended = track.cut_window(hop)
            end_us = max(end_us, ended)
        span_us = round(max(n / r for n, r in zip(self._length, self._rate_hz, strict=True)) * 1e6)
        return BlockWindow(asset, end_us - span_us, end_us, samples)
