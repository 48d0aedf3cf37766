"""Cutting recordings into windows, and windows into splits that share no unit and no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Arrays, Splits


def windows_of(
    rows: NDArray[np.float32], length: int, hop: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows [n, length, C] of rows [T, C], and the last row of each [n]."""
    if len(rows) < length:
        return np.empty((0, length, rows.shape[1]), np.float32), np.empty(0, np.int64)
    cut = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)[::hop]
    ends = np.arange(length - 1, len(rows), hop, dtype=np.int64)
    return np.ascontiguousarray(cut.transpose(0, 2, 1), np.float32), ends


def time_blocks(ends: NDArray[np.int64], rows: int, length: int, blocks: int) -> NDArray[np.int64]:
    """The block of time of each window of one recording [n]; -1 if it crosses a border.

    Windows of two blocks share no row, so blocks may be groups of different splits.
    """
    size = -(-rows // blocks)
    last = ends // size
    return np.where((ends - length + 1) // size == last, last, -1).astype(np.int64)


def split_groups(
    groups: NDArray[np.int64], shares: Sequence[float], random: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """A mask [N] for each share (they sum to 1): random whole groups, at least one each."""
    drawn = random.permutation(np.unique(groups))
    if len(drawn) < len(shares):
        hint = "record more units, or cut one into blocks of time"
        raise UsageError(f"only {len(drawn)} groups for {len(shares)} splits", hint=hint)
    spare = len(drawn) - len(shares)
    cuts = np.round(np.cumsum(shares) * spare).astype(int) + np.arange(1, len(shares) + 1)
    return [np.isin(groups, part) for part in np.split(drawn, cuts[:-1])]


def refuse_shared_groups(splits: Splits) -> None:
    """UsageError if a group is in two splits: figures from such a split are invalid."""
    found = [set(part.group.tolist()) for part in (splits.train, splits.valid, splits.test)]
    shared = (found[0] & found[1]) | (found[0] & found[2]) | (found[1] & found[2])
    if shared:
        some = ", ".join(map(str, sorted(shared)[:5]))
        raise UsageError(f"groups in two splits: {some}", hint="split by unit or by time")


def mix_up(
    inputs: Arrays, count: int, random: np.random.Generator, alpha: float = 0.4
) -> dict[str, NDArray[np.float32]]:
    """Queries [count, ...] between two random rows each, all tensors with the same weight.

    Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """
    rows = len(next(iter(inputs.values())))
    first, second = random.integers(rows, size=(2, count))
    weight = random.beta(alpha, alpha, count).astype(np.float32)
    return {name: _between(array[first], array[second], weight) for name, array in inputs.items()}


def _between(
    a: NDArray[np.float32], b: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    share = weight.reshape(-1, *[1] * (a.ndim - 1))
    return np.asarray(share * a + (1 - share) * b, np.float32)
