"""Inputs that float32 does not resolve, on the whole path: live windows, alarm, drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plants
import pytest
from plants import S

from edge_agent.config.schema import Asset, ModelUse, Resample, Signal, Template
from edge_agent.config.types import Name
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.drift_distance import bins_of
from edge_agent.signals.window_set import GOOD, Layout, Reads
from edge_agent.signals.windows import Windows
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.messages import Transition
    from edge_agent.values import Columns

LENGTH = 16
FAULT = 600


def readings(rows: int, base: float, size: float, seed: int, used: float = 0.0) -> np.ndarray:
    """Energy in Wh, 3 +- 0.4 a second, over the end of its range; a pressure on `base` Pa."""
    random = np.random.default_rng(seed)
    steps = random.normal(3, 0.4, rows)
    if seed != 1:
        steps[FAULT : FAULT + 200] *= 2
    energy = np.fmod(base + used + np.cumsum(steps), size)
    return np.column_stack([energy, base + random.normal(0, 0.05, rows)])


def replayed(folder: Path, rows: np.ndarray) -> list[Transition]:
    signals = {Name(name): Signal(source="bus", unit="u") for name in ("energy", "pressure")}
    template = Template(signals, (ModelUse(Name("base")),))
    made = plants.config(
        templates={"pump": template}, assets={"any": Asset(Name("pump"))}, models_dir=folder
    )
    return plants.transitions(made, [sent(rows)])


def sent(rows: np.ndarray) -> Columns:
    n = len(rows)
    time_us = np.repeat((1000 + np.arange(n)) * S, 2)
    return columns(np.tile([0, 1], n), time_us, rows.ravel())


@pytest.mark.parametrize("base", [0.0, 4.2e9, 2.0**32 - 1800, 9e12])
def test_a_doubled_load_is_seen_from_any_reading(tmp_path: Path, base: float) -> None:
    """And the alarm says what the operator's display says, not what the graph got."""
    size = 2.0**32 if base < 2**32 else np.inf
    inputs = (InputSpec("energy"), InputSpec("pressure"))
    recipe = Recipe("base", inputs, step_s=1.0, length=LENGTH)
    learn({"any": readings(4000, base, size, 1)}, recipe, now_us=0).write(tmp_path / "base")
    rows = readings(1200, base, size, 2, used=600.0)
    found = [t for t in replayed(tmp_path, rows) if t.alarm.alarm_id == "any.base"]
    raised = found[0]
    assert (str(raised.kind), [str(t.kind) for t in found].count("raise")) == ("raise", 1)
    at = raised.at_us // S - 1000
    assert FAULT <= at < FAULT + 30
    assert raised.alarm.detail is not None
    first = raised.alarm.detail.contributors[0]
    assert first.input == "energy"
    assert first.value == rows[at, 0]


@pytest.mark.parametrize("far", [False, True])
def test_drift_is_counted_above_the_offset(*, far: bool) -> None:
    """PSI of a ripple on 1e7 is as it would be on 0."""
    learned = learn(
        {"any": readings(4000, 1e7, np.inf, 1)[:, 1:]},
        Recipe("base", (InputSpec("pressure"),), length=LENGTH),
        now_us=0,
    )
    bins = bins_of(learned.manifest)
    assert bins is not None
    rows = readings(4000, 1e7, np.inf, 1)[:, 1:] + 0.2 * far
    found = np.bincount(bins.of(rows, np.zeros(4000, np.int64))[:, 0], minlength=12) / 4000
    assert (np.abs(found[: bins.shares.shape[1]] - bins.shares[0]).max() > 0.1) == far


@pytest.mark.parametrize("resample", ["last", "mean", "min", "max"])
def test_windows_read_in_double_precision(resample: Resample) -> None:
    """A ripple of 0.5 on 4e9 and a counter, whatever becomes of several values in one row."""
    layout = Layout(2, 4, 1, S, 0, (resample, resample), precise=True)
    windows = Windows(layout)
    reads = Reads(np.array([4e9, 0.0]), np.array([False, True]))
    windows.add_asset([None, None], [0, 0], reads)
    at = np.repeat(np.arange(6, dtype=np.int64) * S, 2)
    value = np.column_stack([4e9 + np.array([0.5, -0.5] * 3), 4e9 + 3 * np.arange(6.0)]).ravel()
    zero, channel = np.zeros(12, np.intp), np.tile([0, 1], 6)
    found = [
        *windows.write_values(zero, channel, at, value, np.full(12, GOOD, np.uint8)),
        *windows.close_all(),
    ]
    x = np.concatenate([each.x for each in found])
    assert x.dtype == np.float32
    assert x[0].tolist() == [[0.5, 3], [-0.5, 3], [0.5, 3], [-0.5, 3]]
    assert found[0].last[0].tolist() == [4e9 - 0.5, 4e9 + 9]
