"""A config, small recordings of one pump: healthy, and with a fault in its flow; labelled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.labelled import LabelledSet, LabelledWindow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INPUTS = ("flow", "pressure", "current")
ONSET = 150  # row, one a second, in which the fault begins
CONFIG = """\
sources:
  recording: {type: replay, path: run.csv}
templates:
  pump:
    signals: {flow: {unit: m3/h}, pressure: {unit: bar}, current: {unit: A}}
    learn: {length: 16, false_alarms_per_day: 1}
  idle:
    signals: {vibration: {kind: waveform, rate_hz: 1000}}
assets:
  P-1: {template: pump}
  V-1: {template: idle}
models_dir: models
"""


def rows(n: int, seed: int, *, fault: bool = False) -> np.ndarray:
    """Rows [n, 3] of a pump whose load wanders; the fault takes a third of its flow."""
    random = np.random.default_rng(seed)
    load = np.cumsum(random.normal(0, 0.02, n)) * 0.2
    found = np.stack([10 + load, 4 + 0.5 * load, 20 + 2 * load], axis=1)
    found += random.normal(0, 0.1, (n, 3))
    if fault:
        found[ONSET:, 0] -= 3.0
    return found


def write_csv(path: Path, values: Iterable[Iterable[float]]) -> None:
    """One row a second from 2026-01-01T00:00:00Z on."""
    lines = [",".join(("time", *INPUTS))]
    for second, row in enumerate(values):
        minute, hour = second // 60, second // 3600
        stamp = f"2026-01-01T{hour:02}:{minute % 60:02}:{second % 60:02}Z"
        lines.append(",".join((stamp, *(f"{value:.4f}" for value in row))))
    path.write_text("\n".join(lines) + "\n")


def write_site(folder: Path) -> Path:
    """The config, `healthy.csv` and `fault.csv`; gives the path of the config."""
    write_csv(folder / "healthy.csv", rows(2000, seed=1))
    write_csv(folder / "fault.csv", rows(300, seed=7, fault=True))
    config = folder / "edge-agent.yaml"
    config.write_text(CONFIG)
    return config


def add_window(folder: Path) -> None:
    """A window of four rows in a labelled set."""
    times_us = np.arange(4) * 1_000_000
    cells = np.ones((4, 1))
    made = LabelledWindow("P-1.m", "P-1", "m@1", 0, ("flow",), times_us, times_us > 1e6, cells)
    LabelledSet(folder, 1 << 20, 10**15).add(made, "true", "", 0)
