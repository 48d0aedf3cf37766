"""The bounded intake between sources and pipeline: columns, never one object per value."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.values import Columns, TensorBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_START_CAPACITY = 4096


@dataclass(slots=True)
class IntakeStats:
    """The values dropped by the intake since the last call: signal -> values."""

    dropped: dict[int, int] = field(default_factory=dict)


class Intake:
    """Columns and blocks that wait for the pipeline.

    Holds at most `capacity` values and `max_block_bytes` of samples; the oldest are dropped first
    and counted by signal. `on_values` is called when it stops being empty. Single-threaded:
    sources and pipeline share one event loop.
    """

    def __init__(self, capacity: int, max_block_bytes: int, on_values: Callable[[], None]) -> None:
        self._capacity = capacity
        self._max_block_bytes = max_block_bytes
        self._on_values = on_values
        self._buffers = _allocate(min(capacity, _START_CAPACITY))
        self._n = 0
        self._blocks: deque[TensorBlock] = deque()
        self._block_bytes = 0
        self.stats = IntakeStats()

    def __len__(self) -> int:
        return self._n

    def append(self, values: Columns) -> None:
        """Append the values of a packet; drops the oldest if they do not fit."""
        n = values.signal.size
        if n > self._capacity:
            self._count(values.signal[: n - self._capacity])
            values = values.slice(n - self._capacity)
            n = self._capacity
        if n > len(self._buffers.signal) - self._n:
            self._make_room(n)
        start, self._n = self._n, self._n + n
        for name in ("signal", "time_us", "value", "status"):
            getattr(self._buffers, name)[start : self._n] = getattr(values, name)
        if start == 0 and n:
            self._on_values()

    def append_block(self, block: TensorBlock) -> None:
        """Append a block."""
        self._blocks.append(block)
        self._block_bytes += block.samples.nbytes
        while self._block_bytes > self._max_block_bytes and len(self._blocks) > 1:
            oldest = self._blocks.popleft()
            self._block_bytes -= oldest.samples.nbytes
            self._count(np.full(1, oldest.signal, np.int32))
        if len(self._blocks) == 1:
            self._on_values()

    def backpressured(self) -> bool:
        """True if it is half full: sources then stop reading, and TCP slows the sender down."""
        blocks = 2 * self._block_bytes > self._max_block_bytes
        return blocks or 2 * self._n > self._capacity

    def drain(self) -> tuple[Columns, list[TensorBlock]]:
        """Remove and return all waiting values and blocks, in order of arrival."""
        n, self._n = self._n, 0
        buffers = self._buffers
        values = Columns(
            buffers.signal[:n].copy(),
            buffers.time_us[:n].copy(),
            buffers.value[:n].copy(),
            buffers.status[:n].copy(),
        )
        blocks = list(self._blocks)
        self._blocks.clear()
        self._block_bytes = 0
        return values, blocks

    def drain_stats(self) -> IntakeStats:
        """The drops since the last call."""
        stats, self.stats = self.stats, IntakeStats()
        return stats

    def _make_room(self, n: int) -> None:
        size = len(self._buffers.signal)
        if size < self._capacity:
            size = min(self._capacity, max(2 * size, self._n + n))
        # Larger than needed, so that a full intake does not move its values for every packet.
        keep = min(self._n, size - n, self._n if size > self._n + n else size - size // 8)
        keep = max(0, min(keep, size - n))
        self._count(self._buffers.signal[: self._n - keep])
        grown = _allocate(size)
        for name in ("signal", "time_us", "value", "status"):
            getattr(grown, name)[:keep] = getattr(self._buffers, name)[self._n - keep : self._n]
        self._buffers, self._n = grown, keep

    def _count(self, signals: NDArray[np.int32]) -> None:
        for signal, n in zip(*np.unique(signals, return_counts=True), strict=True):
            dropped = self.stats.dropped
            dropped[int(signal)] = dropped.get(int(signal), 0) + int(n)


def _allocate(size: int) -> Columns:
    return Columns(
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.float64),
        np.empty(size, np.uint32),
    )
