"""Rows of one group of series as bytes: columns, their bytes ordered by weight, compressed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.trends.rows import Rows, empty_rows, means

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS: Final = (
    ("series", np.dtype("<i4")),
    ("bucket", np.dtype("<i4")),
    ("low", np.dtype("<f4")),
    ("high", np.dtype("<f4")),
    ("mean", np.dtype("<f4")),
    ("used", np.dtype("<i4")),
    ("n", np.dtype("<i4")),
    ("good", np.dtype("<i4")),
    ("marks", np.dtype("u1")),
)
_ROW_BYTES: Final = sum(dtype.itemsize for _, dtype in _COLUMNS)
_FAST: Final = 1


def encode(rows: Rows, first_s: int, resolution_s: int) -> bytes:
    """Bytes of rows that are ordered as `grouped` returns them; first_s: their first bucket."""
    parts = {name: rows[name] for name in ("low", "high", "used", "n", "good", "marks")}
    parts["series"] = np.diff(rows["series"], prepend=0)
    parts["bucket"] = np.diff((rows["bucket"] - first_s) // resolution_s, prepend=0)
    parts["mean"] = means(rows)
    with np.errstate(over="ignore"):
        packed = b"".join(_by_weight(parts[name].astype(dtype)) for name, dtype in _COLUMNS)
    return zlib.compress(packed, _FAST)


def decode(data: bytes, first_s: int, resolution_s: int) -> Rows:
    """The rows again; ValueError or zlib.error if the bytes are damaged."""
    packed = zlib.decompress(data)
    n, rest = divmod(len(packed), _ROW_BYTES)
    if rest:
        raise ValueError("rows of a trend are cut")
    rows, at = empty_rows(n), 0
    found: dict[str, NDArray[np.generic]] = {}
    for name, dtype in _COLUMNS:
        size = n * dtype.itemsize
        raw = np.frombuffer(packed, np.uint8, size, at).reshape(dtype.itemsize, n)
        found[name] = np.ascontiguousarray(raw.T).reshape(-1).view(dtype)
        at += size
    for name in ("low", "high", "used", "n", "good", "marks"):
        rows[name] = found[name]
    rows["series"] = np.cumsum(found["series"])
    rows["bucket"] = np.cumsum(found["bucket"], dtype=np.int64) * resolution_s + first_s
    mean = found["mean"].astype(np.float64)
    rows["total"] = np.where(rows["used"] > 0, mean * rows["used"], 0.0)
    return rows


def _by_weight(column: NDArray[np.generic]) -> bytes:
    """All first bytes, all second bytes, and so on: alike bytes are together."""
    return column.view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()
