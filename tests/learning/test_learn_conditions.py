"""Set points are conditions, not symptoms; a cycle that is told or started by a signal is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny_models import NOW_US

from edge_agent.errors import ModelError
from edge_agent.learning.cycles import told_period
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models import InputSpec
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from edge_agent.learning.learned_bundle import LearnedBundle
    from edge_agent.models.bundle.tasks import Outputs

INPUTS = tuple(InputSpec(name) for name in ("speed", "current", "temperature"))
MODES = (True, False, False)
FAULT_A = 0.15


def machine(seed: int, rows: int, fault: float = 0.0) -> np.ndarray:
    """A drive with a continuous set point; its current follows it, its temperature later."""
    random = np.random.default_rng(seed)
    speed = np.repeat(random.uniform(20, 100, rows // 97 + 1), 97)[:rows]
    lag = (2 / 3) ** np.arange(40) / 3
    load = np.convolve(np.concatenate([np.full(39, speed[0]), speed]), lag, "valid")
    late = np.convolve(np.concatenate([np.full(19, load[0]), load]), np.ones(20) / 20, "valid")
    current = 2 + 0.1 * load + random.normal(0, 0.05, rows) + fault
    temperature = 30 + 0.2 * late + random.normal(0, 0.1, rows)
    return np.stack([speed, current, temperature], axis=1)


def learned(modes: tuple[bool, ...], rows: np.ndarray | None = None) -> LearnedBundle:
    rows = machine(1, 6000) if rows is None else rows
    return learn({"A": rows}, Recipe("base", INPUTS, modes=modes), now_us=NOW_US)


def judged(bundle: LearnedBundle, rows: np.ndarray) -> Outputs:
    length = bundle.manifest.window.length
    view = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0).transpose(0, 2, 1)
    x = bundle.manifest.as_read(np.ascontiguousarray(view), 0)
    model = model_of_graph(bundle.manifest, bundle.onnx_bytes)
    return model.infer({"x": x, "unit": np.zeros(len(x), np.int64)})


def auc(healthy: np.ndarray, faulty: np.ndarray) -> float:
    rank = np.concatenate([healthy, faulty]).argsort().argsort()[len(healthy) :]
    return float((rank.sum() - len(faulty) * (len(faulty) - 1) / 2) / len(healthy) / len(faulty))


def separation(bundle: LearnedBundle) -> float:
    healthy, faulty = judged(bundle, machine(2, 3000)), judged(bundle, machine(3, 3000, FAULT_A))
    return auc(healthy.score, faulty.score)


def test_a_small_fault_shows_far_better_with_its_condition() -> None:
    """A continuous set point explains the load; the fault is a fiftieth of its span."""
    told = learned(MODES)
    assert separation(told) > 0.85
    assert separation(told) > separation(learned(())) + 0.2
    assert told.manifest.calibration["conditions"] == "speed"
    assert "given the others" in told.manifest.calibration["form"]


def test_a_condition_is_never_a_symptom() -> None:
    """It contributes nothing, also when it is far off; the golden vectors still hold an alarm."""
    told = learned(MODES)
    rows = machine(2, 500)
    rows[:, 0] += 300
    outputs = judged(told, rows)
    assert outputs.contributions is not None
    assert (outputs.contributions[:, 0] == 0).all()
    assert told.golden[1]["score"].max() > 1
    assert np.abs(told.golden[1]["contributions"][:, 0]).max() < 1e-9


def test_states_that_are_conditions_decide_the_operating_point() -> None:
    """An asset with one judged input and a state: the level of the state is expected of it."""
    random = np.random.default_rng(4)
    state = np.repeat(random.integers(0, 3, 100), 64).astype(float)
    flow = np.array([5.0, 50.0, 20.0])[state.astype(int)] + random.normal(0, 0.3, len(state))
    rows = np.stack([state, flow], axis=1)
    recipe = Recipe("base", INPUTS[:2], modes=(True, False))
    bundle = learn({"A": rows}, recipe, now_us=NOW_US)
    assert "3 operating points" in bundle.manifest.calibration["form"]
    wrong = rows.copy()
    wrong[:, 1] += 3
    assert (judged(bundle, wrong).score >= 1).mean() > 0.9
    assert (judged(bundle, rows).score >= 1).mean() < 0.01


def test_a_condition_that_never_changes_does_no_harm() -> None:
    """It explains nothing, and the others are judged."""
    rows = machine(1, 6000)
    rows[:, 0] = 60.0
    bundle = learned(MODES, rows)
    wrong = rows + np.array([0.0, 30.0, 0.0])
    assert (judged(bundle, wrong).score >= 1).all()


def test_moving_conditions_alone_are_refused() -> None:
    """A model without a symptom would never raise an alarm."""
    rows = machine(1, 6000)
    rows[:, 1:] = 7.0
    with pytest.raises(ModelError, match="conditions apart, no input has moved"):
        learned(MODES, rows)


def cycling(period: float, rows: int, seed: int = 0) -> np.ndarray:
    """A press with a cycle: its start signal, and a force that depends on the phase."""
    random = np.random.default_rng(seed)
    phase = np.arange(rows) / period % 1
    force = np.where(phase < 0.4, 10 * np.sin(phase * 20), 2.0) + random.normal(0, 0.2, rows)
    return np.stack([phase < 2 / period, force, force * 0.5 + random.normal(0, 1, rows)], axis=1)


def test_a_start_signal_tells_the_period() -> None:
    """Also a counter of cycles; a varying one is said, and no form of whole cycles is used."""
    pulse = (np.arange(2000) % 60 < 3).astype(float)
    period, text = told_period(pulse, None, counts=False)
    assert (period, text) == (60.0, "60 rows, by its start signal")
    count = np.arange(2000) // 45
    assert told_period(count.astype(float), None, counts=True)[0] == 45.0
    varying = np.zeros(4000)
    varying[np.cumsum(np.random.default_rng(0).integers(20, 90, 60))] = 1.0
    period, text = told_period(varying, None, counts=False)
    assert period == 0.0
    assert text.startswith("varies from ")
    assert told_period(np.zeros(100), None, counts=False)[0] == 0.0


def test_a_gap_between_two_starts_is_no_period() -> None:
    """Values that are missing at a start do not change the period."""
    pulse = (np.arange(6000) % 50 < 3).astype(float)
    pulse[::7] = np.nan
    pulse[1000:1400] = np.nan
    assert told_period(pulse, None, counts=False)[0] == pytest.approx(50, rel=0.05)


def test_a_cycle_that_is_longer_than_the_window_lengthens_it() -> None:
    """Only where no length is told: `longest` is 0 then."""
    rows = cycling(150, 12_000)
    given = {"modes": (False,) * 3, "start": 0}
    short = learn({"A": rows}, Recipe("base", INPUTS, **given), now_us=NOW_US)  # type: ignore[arg-type]
    longer = learn({"A": rows}, Recipe("base", INPUTS, longest=512, **given), now_us=NOW_US)  # type: ignore[arg-type]
    assert short.manifest.window.length == 64
    assert longer.manifest.window.length == 150
    assert "whole cycles of 150 rows" in longer.manifest.calibration["form"]
    assert longer.manifest.calibration["cycle"] == "150 rows, by its start signal"


@pytest.mark.parametrize(("period", "said"), [(0.0, "none"), (60.0, "told, 60 rows")])
def test_a_cycle_that_is_told_is_on_the_card(period: float, said: str) -> None:
    """`none` lets no form of whole cycles be tried."""
    bundle = learn({"A": cycling(60, 6000)}, Recipe("base", INPUTS, period=period), now_us=NOW_US)
    assert bundle.manifest.calibration["cycle"] == said
    assert ("whole cycles" in bundle.manifest.calibration["tried"]) == bool(period)
