"""Values as columns: some of them, in another order, with waveforms among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.values import WaveBlock


def with_blocks(values: Columns, blocks: Sequence[WaveBlock]) -> Columns:
    """Values and, for each block, one that shows its signal to be alive: its root mean square."""
    blocks = [block for block in blocks if len(block.samples)]
    square = [np.mean(np.square(block.samples, dtype=np.float64)) for block in blocks]
    return by_time(
        Columns(
            np.append(values.signal, np.array([b.signal for b in blocks], np.int32)),
            np.append(values.time_us, np.array([b.end_us for b in blocks], np.int64)),
            np.append(values.value, np.sqrt(np.array(square, np.float64))),
            np.append(values.status, np.array([b.status for b in blocks], np.uint32)),
        )
    )


def by_time(values: Columns) -> Columns:
    """The same values in the order of time."""
    time_us = values.time_us
    if len(time_us) < 2 or bool((time_us[1:] >= time_us[:-1]).all()):  # noqa: PLR2004
        return values
    return where(values, np.argsort(time_us, kind="stable"))


def where(values: Columns, which: NDArray[np.generic] | slice) -> Columns:
    """Some of the values: a mask, their order, or a slice."""
    return Columns(
        values.signal[which], values.time_us[which], values.value[which], values.status[which]
    )


def chunks(values: Columns, size: int) -> Iterator[Columns]:
    """The same values, so many at a time; one chunk at least."""
    for start in range(0, max(1, len(values)), size):
        at = slice(start, start + size)
        yield Columns(values.signal[at], values.time_us[at], values.value[at], values.status[at])
