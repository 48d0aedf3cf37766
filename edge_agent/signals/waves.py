"""Waveform windows: equally spaced samples at the input's own rate."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Track:
    """The newest unbroken run of samples of one input."""

    samples: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    end_us: int = 0

    def append(self, block: TensorBlock, rate_hz: float) -> None:
        spacing_us = US_PER_S / rate_hz
        begin_us = block.end_us - (len(block.samples) - 1) * spacing_us
        gap_us = abs(begin_us - self.end_us - spacing_us)
        joined = gap_us <= _JOINT_TOLERANCE_SAMPLES * spacing_us + 1000
        before = self.samples if joined else self.samples[:0]
        self.samples = np.concatenate((before, block.samples))
        self.end_us = block.end_us

    def cut_window(self, length: int, hop: int, rate_hz: float) -> tuple[NDArray[np.float32], int]:
        """Return the oldest window and the time of its last sample; advances by one hop."""
        window = self.samples[:length]
        left = len(self.samples) - length
        end_us = self.end_us - round(left * US_PER_S / rate_hz)
        self.samples = self.samples[hop:]
        return window, end_us


class WaveWindows:
    """Rings of all waveform inputs of one model; a window is due when every input has one."""

    def __init__(self, length: tuple[int, ...], hop: int, rate_hz: tuple[float, ...]) -> None:
        self._length = length
        self._hop = hop
        self._rate_hz = rate_hz
        self._tracks: dict[int, list[_Track]] = {}
        self.rejected = 0

    def accept_block(self, asset: int, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept a block and return the windows that it completes."""
        wanted = self._rate_hz[channel]
        finite = bool(np.isfinite(block.samples).all())
        if abs(block.rate_hz - wanted) > _RATE_TOLERANCE * wanted or not finite:
            self.rejected += 1
            return
        tracks = self._tracks.setdefault(asset, [_Track() for _ in self._length])
        tracks[channel].append(block, wanted)
        self._bound(tracks)
        while all(len(t.samples) >= n for t, n in zip(tracks, self._length, strict=True)):
            yield self._cut_windows(asset, tracks)

    def shift_clock(self, asset: int, step_us: int) -> None:
        """Shift the waiting samples; the gateway's clock was moved."""
        for track in self._tracks.get(asset, ()):
            track.end_us += step_us

    def _cut_windows(self, asset: int, tracks: list[_Track]) -> BlockWindow:
        samples = {}
        end_us = 0
        for channel, track in enumerate(tracks):
            length, rate = self._length[channel], self._rate_hz[channel]
            # Every input advances by the same time, independent of its rate.
            hop = max(1, round(self._hop * rate / self._rate_hz[0]))
            samples[channel], ended = track.cut_window(length, hop, rate)
            end_us = max(end_us, ended)
        span_us = round(max(n / r for n, r in zip(self._length, self._rate_hz, strict=True)) * 1e6)
        return BlockWindow(asset, end_us - span_us, end_us, samples)

    def _bound(self, tracks: list[_Track]) -> None:
        """Keep at most two windows of an input while another input is silent."""
        if all(len(t.samples) >= n for t, n in zip(tracks, self._length, strict=True)):
            return
        for track, length in zip(tracks, self._length, strict=True):
            track.samples = track.samples[-(2 * length + self._hop) :]
