"""The alarm of inputs that drift: what it says, when it comes and when it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import insight_models
import numpy as np
import pytest
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of, sent
from plants import S

from edge_agent.config.schema import AlarmRule, Drift, Signal
from edge_agent.models.bundle.reference_distribution import histogram_of
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.messages import Detail
    from edge_agent.models.runtime.model import Model

MEMORY_S = 80
ALARM = "any.squares.drift"


def healthy_values(seed: int, rows: int) -> np.ndarray:
    """The three inputs in health, [rows, 3]."""
    return np.random.default_rng(seed).normal(HEALTHY, 0.1, (rows, 3))


def model(folder: Path, version: str = "1") -> Model:
    rows = healthy_values(0, 2000)
    spread = {name: histogram_of(rows[:, n]) for n, name in enumerate(NAMES)}
    return insight_models.squares(folder, healthy=spread, version=version)


def plant(made: Model, **drift: Any) -> Live:
    config = of("squares", **{name: Signal(unit="u") for name in NAMES})
    live = Live(replace(config, drift=Drift(**{"memory": float(MEMORY_S)} | drift)))
    assert live.use(made, alarm=AlarmRule()) == [""]
    return live


def walk(live: Live, begin_s: int, seconds: int, off: tuple[float, ...] = (0, 0, 0)) -> None:
    """One row a second; off: what is added to each input."""
    rows = healthy_values(begin_s, seconds) + np.array(off)
    for t, row in enumerate(rows, start=begin_s):
        live.turn(t, columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, row.tolist()))


def told(live: Live) -> list[tuple[str, float, Detail]]:
    """Kind, seconds and detail of the transitions of the drift alarm."""
    return [
        (str(t.kind), t.at_us / S - BEGIN_S, t.alarm.detail)  # type: ignore[misc]
        for t in live.transitions
        if t.alarm.alarm_id == ALARM
    ]


def test_it_names_the_inputs_that_drift_and_no_others(tmp_path: Path) -> None:
    """With PSI as weight and score, the newest value and unit, and NE 107's check function."""
    live = plant(model(tmp_path))
    walk(live, 0, 100)
    walk(live, 100, 120, off=(0.6, 0.0, -0.6))
    ((kind, at_s, detail),) = told(live)
    assert (kind, 140 <= at_s <= 200) == ("raise", True)
    assert {each.input for each in detail.contributors} == {"flow", "current"}
    first = detail.contributors[0]
    assert first.weight == detail.score == detail.message_args["psi"]
    assert (first.weight > 1, first.unit) == (True, "u")
    assert detail.window is not None
    assert detail.window.end_us - detail.window.start_us == MEMORY_S * S
    data = sent(next(t for t in live.transitions if t.alarm.alarm_id == ALARM))
    assert (data["ne107"], data["failure_mode"]) == ("check_function", "drift")
    assert "inputs differ from the training data of model squares" in data["message"]["en"]


def test_it_clears_by_itself(tmp_path: Path) -> None:
    """The sensor was mended: what it read is forgotten."""
    live = plant(model(tmp_path))
    walk(live, 0, 100)
    walk(live, 100, 120, off=(0.6, 0.0, 0.0))
    walk(live, 220, 120)
    assert [kind for kind, _, _ in told(live)] == ["raise", "clear"]


def test_health_raises_nothing_and_shows_as_a_metric(tmp_path: Path) -> None:
    """PSI and KS of each input, of the asset that is furthest off."""
    live = plant(model(tmp_path))
    walk(live, 0, 200)
    assert told(live) == []
    live.pipeline.diagnostics.export(live.metrics)
    shown = {
        (s.labels["model"], s.labels["input"]): s.value
        for family in (live.metrics.drift_psi, live.metrics.drift_ks)
        for metric in family.collect()
        for s in metric.samples
    }
    assert set(shown) == {("squares", name) for name in NAMES}
    assert all(0 < value < 0.25 for value in shown.values())


def test_another_version_is_judged_anew(tmp_path: Path) -> None:
    """It may have been made with what its inputs read now; until it is known the alarm stands."""
    live = plant(model(tmp_path))
    walk(live, 0, 100)
    walk(live, 100, 120, off=(0.6, 0.0, 0.0))
    live.pipeline.deployments.replace_version(model(tmp_path, version="2"))
    walk(live, 220, 60, off=(0.6, 0.0, 0.0))
    assert [kind for kind, _, _ in told(live)] == ["raise"]
    walk(live, 280, 150)
    assert [kind for kind, _, _ in told(live)] == ["raise", "clear"]


@pytest.mark.parametrize("drift", [{"enabled": False}, {"limit": 50.0}])
def test_it_can_be_silenced(tmp_path: Path, drift: dict[str, object]) -> None:
    live = plant(model(tmp_path), **drift)
    walk(live, 0, 100)
    walk(live, 100, 120, off=(0.6, 0.0, -0.4))
    assert told(live) == []


def test_a_pause_is_no_part_of_the_memory(tmp_path: Path) -> None:
    """After hours of silence nothing is said until there are enough blocks again."""
    live = plant(model(tmp_path))
    walk(live, 0, 100)
    walk(live, 100, 40, off=(0.6, 0.0, 0.0))
    walk(live, 10_000, 40, off=(0.6, 0.0, 0.0))
    assert told(live) == []
    walk(live, 10_040, 60, off=(0.6, 0.0, 0.0))
    assert [kind for kind, _, _ in told(live)] == ["raise"]
