"""Values of the plant as columns, tensors as blocks, and the intake that sources write to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

# OPC UA Part 4, 7.39: the two top bits of a StatusCode are its severity. Every source speaks this
# code, so that a value's quality survives from the wire to the alarm unchanged.
GOOD: Final = 0x0000_0000
UNCERTAIN: Final = 0x4000_0000
BAD: Final = 0x8000_0000
BAD_NO_COMMUNICATION: Final = 0x8031_0000
BAD_NODE_ID_UNKNOWN: Final = 0x8034_0000
BAD_OUT_OF_RANGE: Final = 0x803C_0000
BAD_TYPE_MISMATCH: Final = 0x8074_0000
BAD_SENSOR_FAILURE: Final = 0x808C_0000
BAD_NO_DATA: Final = 0x809B_0000
SEVERITY_SHIFT: Final = 30
# A retained value of a broker, of unknown age or too old: not a sign of life. Bit 0 has no meaning
# in OPC UA without an InfoType, so no server uses this code.
RETAINED: Final = UNCERTAIN | 1
_START_CAPACITY: Final = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Values as columns of equal length n, in the order of arrival.

    signal: int32 index into `Plant.signals`; time_us: int64, the source's own time stamp if it has
    one, microseconds since the epoch; value: float64, NaN if there is none; status: uint32,
    OPC UA StatusCode.
    """

    signal: NDArray[np.int32]
    time_us: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.signal)

    def where(self, which: NDArray[np.generic]) -> Columns:
        """Some of the rows: `which` is a mask [n], or row numbers in the wanted order."""
        return Columns(
            self.signal[which], self.time_us[which], self.value[which], self.status[which]
        )

    def slice(self, start: int, stop: int | None = None) -> Columns:
        """The rows from `start` up to `stop`, as views; indices as in a Python slice."""
        at = slice(start, stop)
        return Columns(self.signal[at], self.time_us[at], self.value[at], self.status[at])

    def chunks(self, size: int) -> Iterator[Columns]:
        """The same rows, at most `size` at a time, as views; at least one chunk."""
        n = self.signal.size
        if n <= size:
            yield self
            return
        for start in range(0, n, size):
            yield self.slice(start, start + size)

    def sorted_by_time(self) -> Columns:
        """The same rows in the order of time; rows of the same time keep their order."""
        time_us = self.time_us
        if bool((time_us[1:] >= time_us[:-1]).all()):
            return self
        return self.where(np.argsort(time_us, kind="stable"))

    @staticmethod
    def concat(parts: Sequence[Columns]) -> Columns:
        """The rows of all parts, in their order; no rows if there are no parts."""
        if len(parts) == 1:
            return parts[0]
        parts = parts or (columns((), (), ()),)
        return Columns(
            np.concatenate([part.signal for part in parts]),
            np.concatenate([part.time_us for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.status for part in parts]),
        )


def columns(
    signal: ArrayLike,
    time_us: ArrayLike,
    value: ArrayLike,
    status: ArrayLike = GOOD,
) -> Columns:
    """Columns from plain sequences; a single `status` is used for every row."""
    index = np.asarray(signal, np.int32)
    codes = np.full(len(index), status, np.uint32) if isinstance(status, int) else status
    return Columns(
        index,
        np.asarray(time_us, np.int64),
        np.asarray(value, np.float64),
        np.asarray(codes, np.uint32),
    )


@dataclass(frozen=True, slots=True)
class TensorBlock:
    """A tensor of one signal that arrives complete: samples of a waveform, a picture.

    end_us: time of the last sample; rate_hz: samples per second, 0 without a rate; samples: float32
    [n] of a waveform. kind: a key of `signals.INPUT_KINDS`, which defines the samples.
    """

    signal: int
    end_us: int
    rate_hz: float
    samples: NDArray[np.float32]
    status: int = GOOD
    kind: str = "waveform"


def parted(one: Columns | TensorBlock) -> tuple[Columns, tuple[TensorBlock, ...]]:
    """The values and the blocks in a reading of a recording, which is either."""
    return (columns((), (), ()), (one,)) if isinstance(one, TensorBlock) else (one, ())


class Intake(Protocol):
    """Takes decoded values from sources. Both calls return at once; if full, drops the oldest."""

    def append(self, values: Columns) -> None:
        """Append the values of a packet."""

    def append_block(self, block: TensorBlock) -> None:
        """Append a block."""

    def backpressured(self) -> bool:
        """True if sources should apply back-pressure."""

    def __len__(self) -> int:
        """Number of waiting values; sources with back-pressure use it."""


class BoundedIntake:
    """Columns and blocks that wait for the pipeline, between it and the sources.

    Holds at most `capacity` values and `max_block_bytes` of samples; the oldest are dropped first
    and counted by signal (`dropped`). `on_values` is called when it stops being empty.
    Single-threaded: sources and pipeline share one event loop.
    """

    def __init__(self, capacity: int, max_block_bytes: int, on_values: Callable[[], None]) -> None:
        self._capacity = capacity
        self._max_block_bytes = max_block_bytes
        self._on_values = on_values
        self._buffers = _allocate(min(capacity, _START_CAPACITY))
        self._n = 0
        self._blocks: deque[TensorBlock] = deque()
        self._block_bytes = 0
        self.dropped: dict[int, int] = {}

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

    def drain_dropped(self) -> dict[int, int]:
        """The numbers of values dropped since the last call, by signal."""
        dropped, self.dropped = self.dropped, {}
        return dropped

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
            self.dropped[int(signal)] = self.dropped.get(int(signal), 0) + int(n)


def _allocate(size: int) -> Columns:
    return Columns(
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.float64),
        np.empty(size, np.uint32),
    )
