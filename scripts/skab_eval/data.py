"""The recordings of the Skoltech Anomaly Benchmark, for `scripts/skab`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GROUPS = ("valve1", "valve2", "other")
US_PER_S = 1_000_000


@dataclass(frozen=True)
class Recording:
    """One file: time_us [T], values [T, 8], anomaly and changepoint [T]."""

    name: str
    group: str
    time_us: NDArray[np.int64]
    values: NDArray[np.float32]
    anomaly: NDArray[np.bool_]
    changepoint: NDArray[np.bool_]


def read_all(folder: Path) -> tuple[list[str], list[Recording]]:
    """Names of the inputs, and the 34 recordings with faults."""
    files = [file for group in GROUPS for file in sorted((folder / group).glob("*.csv"))]
    with files[0].open(newline="") as file:
        names = next(csv.reader(file, delimiter=";"))[1:9]
    return names, [read(file) for file in files]


def read(path: Path) -> Recording:
    """One file."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))[1:]
    times = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp() for row in rows]
    return Recording(
        f"{path.parent.name}/{path.stem}",
        path.parent.name,
        np.array([round(time * US_PER_S) for time in times], np.int64),
        np.array([row[1:9] for row in rows], np.float32),
        np.array([row[9:10] == ["1.0"] for row in rows]),
        np.array([row[10:11] == ["1.0"] for row in rows]),
    )
