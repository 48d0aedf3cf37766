"""The speed of a shaft from the pulses of a tacho, which arrive as a waveform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.bearing import turns_per_s
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Signal
    from edge_agent.values import Columns, TensorBlock

_LOW, _HIGH = 0.25, 0.75  # of the range: a pulse begins above, and ends below
_MOST_BETWEEN: Final = 0.5  # of the samples; noise without pulses has more


def pulse_rate_hz(samples: NDArray[Any], rate_hz: float) -> float:
    """Pulses per second, from the first to the last one; 0 if there are fewer than two."""
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite(high - low) or high <= low:
        return 0.0
    share = (samples.astype(np.float64) - low) / (high - low)
    at = np.flatnonzero((share > _HIGH) | (share < _LOW))
    if len(at) < (1 - _MOST_BETWEEN) * len(samples):
        return 0.0
    is_high = share[at] > _HIGH
    begins = at[1:][is_high[1:] & ~is_high[:-1]]
    if len(begins) < 2:  # noqa: PLR2004
        return 0.0
    return float((len(begins) - 1) * rate_hz / (begins[-1] - begins[0]))


class Tachos:
    """The signals of a plant that are pulses of a tacho, by their numbers."""

    def __init__(self) -> None:
        self._unit_hz: dict[int, float] = {}  # pulses per second for each unit of speed

    def add(self, signal: int, config: Signal) -> None:
        """Add a signal, if it is a tacho."""
        if config.pulses_per_turn:
            self._unit_hz[signal] = config.pulses_per_turn * turns_per_s(config.unit)

    def speeds(self, blocks: Sequence[TensorBlock]) -> Columns | None:
        """The speed at the end of each block of pulses, in the signal's unit; None without any."""
        mine = [block for block in blocks if block.signal in self._unit_hz and block.samples.size]
        if not mine:
            return None
        return columns(
            [block.signal for block in mine],
            [block.end_us for block in mine],
            [pulse_rate_hz(b.samples, b.rate_hz) / self._unit_hz[b.signal] for b in mine],
            [block.status for block in mine],
        )

    def others(self, blocks: Sequence[TensorBlock]) -> Sequence[TensorBlock]:
        """The blocks of all other signals."""
        if not self._unit_hz:
            return blocks
        return [block for block in blocks if block.signal not in self._unit_hz]
