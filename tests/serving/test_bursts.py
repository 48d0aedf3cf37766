"""Values that come in bunches or pause are no sensor that is stuck; one that is stuck is found."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, Live
from plants import INPUTS, S, Sampled, Subscribed

from edge_agent.config.schema import Asset, LearnedAlarm, ModelUse, Signal, Template
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Name
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.scaling import always_new
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.models.runtime.model import Model

STEP_S = 0.1
ROWS = 1000
ALARM = "any.base"


def readings(rows: int, seed: int) -> np.ndarray:
    """An input that is slow, one that is noise, and one that swings: [rows, 3]."""
    noise = np.random.default_rng(seed).standard_normal((rows, 3))
    slow = np.convolve(noise[:, 0], 0.9 ** np.arange(60))[:rows]
    swing = 3 * np.sin(2 * np.pi * np.arange(rows) / 400) + 0.3 * noise[:, 2]
    return np.stack([10 + 0.4 * slow, 5 + noise[:, 1], 20 + swing], axis=1)


def smooth(rows: int) -> np.ndarray:
    """The row in which each reading arrives."""
    return np.arange(rows, dtype=float)


def bunches(rows: int) -> np.ndarray:
    """Five readings every half a second."""
    return np.ceil(np.arange(rows) / 5) * 5


def late(rows: int) -> np.ndarray:
    """Pauses of nearly a second; what was read meanwhile comes after them."""
    at, random, row = smooth(rows), np.random.default_rng(5), 50
    while row < rows - 20:
        pause = int(random.integers(8, 11))
        at[row : row + pause] = row + pause
        row += pause + int(random.integers(20, 100))
    return at


def lost(rows: int) -> np.ndarray:
    """The same pauses; what was read meanwhile never comes."""
    at = late(rows)
    return np.where(at == np.arange(rows), at, np.inf)


@cache
def model() -> Model:
    """Learned from readings that came one by one."""
    folder = Path(mkdtemp(prefix="edge-agent-test-"))
    recipe = Recipe("base", tuple(InputSpec(name) for name in INPUTS), step_s=STEP_S)
    learn({"any": readings(3000, 1)}, recipe, now_us=0).write(folder / "base")
    return SessionRegistry(folder, Runtime(), Metrics()).load("base")


class Plant:
    """One machine whose readings arrive as they are told."""

    def __init__(self, source: Any = None) -> None:
        use = ModelUse(Name("base"), alarm=LearnedAlarm())
        signals = {Name(name): Signal(source="bus") for name in INPUTS}
        pump = Template(signals, (use,))
        assets = {"any": Asset(Name("pump"))}
        sources = {"bus": source or Sampled()}
        self.live = Live(plants.config(sources=sources, templates={"pump": pump}, assets=assets))
        self.live.pipeline.deployments.add_model(model())
        (asset,) = self.live.plant.assets.values()
        assert not self.live.pipeline.use_model(asset, use)
        self.scored = 0

    def run(self, values: np.ndarray, at: np.ndarray, *, stamped: bool) -> list[float]:
        """The rows at which its alarm was raised; NaN: a reading that is none."""
        arrived: dict[int, list[int]] = {}
        for reading in np.flatnonzero(np.isfinite(at)).tolist():
            arrived.setdefault(int(at[reading]), []).append(reading)
        for row in range(len(values)):
            cells = [(r, c) for r in arrived.get(row, []) for c in range(3)]
            cells = [(r, c) for r, c in cells if np.isfinite(values[r, c])]
            rows = [r if stamped else row for r, _ in cells]
            times = [round((BEGIN_S + (r + 0.1) * STEP_S) * S) for r in rows]
            now = columns([c for _, c in cells], times, [float(values[cell]) for cell in cells])
            self.scored += self.live.turn((row + 0.5) * STEP_S, now).windows
        raises = [t for t in self.live.transitions if t.kind == "raise"]
        mine = [t.at_us for t in raises if t.alarm.alarm_id == ALARM]
        return [(at_us / S - BEGIN_S) / STEP_S for at_us in mine]


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("arrival", [smooth, bunches, late, lost])
def test_no_delivery_of_healthy_values_raises_an_alarm(
    arrival: Callable[[int], np.ndarray], *, stamped: bool
) -> None:
    """With the time of the source or that of arrival. Windows between the pauses are judged."""
    plant = Plant()
    assert plant.run(readings(ROWS, 2), arrival(ROWS), stamped=stamped) == []
    if arrival is not bunches or stamped:
        assert plant.scored > 0.5 * ROWS
    else:
        assert plant.scored == 0, "no row is like those that were learned"


@pytest.mark.parametrize("arrival", [smooth, late])
def test_a_sensor_that_is_stuck_is_found_in_spite_of_pauses(
    arrival: Callable[[int], np.ndarray],
) -> None:
    """It sends, always the same."""
    values = readings(ROWS, 3)
    values[600:, 1] = values[600, 1]
    (at,) = Plant().run(values, arrival(ROWS), stamped=False)
    assert 600 < at < 680


@pytest.mark.parametrize("arrival", [smooth, late])
def test_a_short_event_is_found_in_spite_of_pauses(
    arrival: Callable[[int], np.ndarray],
) -> None:
    """20 rows; the delay of the alarm is still five rows."""
    values = readings(ROWS, 3)
    values[600:620, 1] += 6
    (at,) = Plant().run(values, arrival(ROWS), stamped=False)
    assert 600 < at < 620


def test_an_input_that_reports_only_changes_is_stuck_if_it_is_silent() -> None:
    """Its last value is true as long as the subscription lives, so its silence says something."""
    values = readings(ROWS, 3)
    values[600:, 1] = np.nan
    (at,) = Plant(Subscribed()).run(values, smooth(ROWS), stamped=True)
    assert 600 < at < 680
    assert Plant(Sampled()).run(values, smooth(ROWS), stamped=True) == []


def test_what_repeats_values_in_health_is_no_reason_to_wait() -> None:
    """Readings in coarse steps, of changes only, held over gaps; gaps themselves say nothing."""
    rows = np.random.default_rng(1).standard_normal((1000, 4))
    rows[:, 1] = np.round(rows[:, 1])
    rows[:, 2] = np.repeat(rows[::5, 2], 5)
    rows[::3, 3] = np.nan
    assert always_new(rows).tolist() == [True, False, False, True]
    assert model().manifest.calibration["new_in_every_row"] == ", ".join(INPUTS)
