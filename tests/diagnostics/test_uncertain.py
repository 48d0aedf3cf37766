"""Answers outside of what a model was trained on are marked, and never critical."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import insight_models
import numpy as np
import orjson
import pytest
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of, sent
from plants import S
from support import value_of

from edge_agent.config.schema import Drift, Signal
from edge_agent.models import Domain
from edge_agent.models.bundle.reference_distribution import Interval, histogram_of
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

DOMAIN = Domain({"flow": (0.0, 300.0), "current": (15.0, 25.0)})
INTERVAL = Interval(cap_h=125)


def plant(model: Model, memory_s: float = 86_400) -> Live:
    config = of(model.manifest.name, **{name: Signal(unit="u") for name in NAMES})
    live = Live(replace(config, drift=Drift(memory=memory_s)))  # type: ignore[arg-type]
    assert live.use(model) == [""]
    return live


def walk(live: Live, begin_s: int, seconds: int, **values: float) -> list[dict[str, Any]]:
    """One row a second; gives the scores that went to the bus."""
    row = [values.get(name, usual) for name, usual in zip(NAMES, HEALTHY, strict=True)]
    payloads = []
    for t in range(begin_s, begin_s + seconds):
        step = live.turn(t, columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, row))
        payloads += [orjson.loads(payload) for _, payload in step.scores]
    return payloads


def uncertain_assets(live: Live, model: str) -> float:
    live.pipeline.diagnostics.export(live.metrics)
    return value_of(live.metrics.uncertain_assets.labels(model))


def test_a_remaining_life_outside_is_uncertain_up_to_the_cap_and_medium(tmp_path: Path) -> None:
    """It said 0 h as critical; the model knows nothing of such a machine."""
    live = plant(insight_models.hours(tmp_path, interval=INTERVAL, domain=DOMAIN))
    scores = walk(live, 0, 5, flow=0.01, current=200.0)
    (raised,) = live.transitions
    data = sent(raised)
    assert (data["priority"], data["model"]["mode"]) == ("medium", "uncertain")
    assert data["failure_mode"] == "unknown"
    assert data["rul_h"] == {"p10": 0.0, "p50": pytest.approx(0.01), "p90": 125.0}
    assert "remaining life uncertain, between 0 and 125 h" in data["message"]["en"]
    assert all(text.endswith("current") for text in data["message"].values())
    assert {score["quality"] for score in scores} == {"uncertain"}
    assert uncertain_assets(live, "hours") == 1


def test_within_the_training_data_nothing_changes_however_short_the_life(tmp_path: Path) -> None:
    live = plant(insight_models.hours(tmp_path, interval=INTERVAL, domain=DOMAIN))
    scores = walk(live, 0, 5, flow=0.01)
    data = sent(live.transitions[-1])
    assert (data["priority"], data["model"]["mode"]) == ("critical", "active")
    assert data["rul_h"]["p90"] == pytest.approx(0.011)
    assert {score["quality"] for score in scores} == {"good"}
    assert uncertain_assets(live, "hours") == 0


def test_an_alarm_is_told_again_when_its_answer_becomes_certain(tmp_path: Path) -> None:
    live = plant(insight_models.hours(tmp_path, interval=INTERVAL, domain=DOMAIN))
    walk(live, 0, 5, flow=19.0, current=200.0)
    walk(live, 5, 90, flow=19.0)
    modes = [t.alarm.detail.model.mode for t in live.transitions]  # type: ignore[union-attr]
    assert modes == ["uncertain", "active"]


def test_a_prediction_outside_does_not_count_for_the_interval(tmp_path: Path) -> None:
    """The end of that life says nothing about the model."""
    live = plant(insight_models.hours(tmp_path, interval=INTERVAL, domain=DOMAIN))
    walk(live, 0, 200, flow=50.0, current=200.0)
    assert live.pipeline.diagnostics.rul_tracker.dump() == b"[]" or not any(
        one["assets"] for one in orjson.loads(live.pipeline.diagnostics.rul_tracker.dump())
    )


def test_without_a_cap_the_interval_is_as_wide_as_it_may_become(tmp_path: Path) -> None:
    live = plant(insight_models.hours(tmp_path, domain=DOMAIN))
    walk(live, 0, 5, flow=10.0, current=200.0)
    rul_h = sent(live.transitions[-1])["rul_h"]
    assert (rul_h["p10"], rul_h["p90"]) == (pytest.approx(2.0), pytest.approx(18.0))


def test_a_class_outside_is_unknown_and_no_more_probable_than_a_half(tmp_path: Path) -> None:
    live = plant(insight_models.faults(tmp_path, domain=DOMAIN))
    walk(live, 0, 5, flow=40.0)
    walk(live, 5, 90, flow=40.0, current=200.0)
    first, second = (sent(t) for t in live.transitions)
    assert first["failure_mode"] == "leak"
    assert first["probability"] > 0.99
    assert (second["failure_mode"], second["probability"]) == ("unknown", 0.5)
    assert second["priority"] == "medium"
    assert "a fault is suspected, its kind is unknown" in second["message"]["en"]


def test_while_drift_stands_an_answer_is_uncertain_without_a_domain(tmp_path: Path) -> None:
    """Of a bundle that says nothing about its training, its healthy histograms are all."""
    random = np.random.default_rng(0)
    healthy = {"current": histogram_of(random.normal(20, 0.1, 2000))}
    live = plant(insight_models.hours(tmp_path, interval=INTERVAL, healthy=healthy), memory_s=80)
    walk(live, 0, 100, flow=0.01, current=20.0)
    assert live.transitions[-1].alarm.priority == "critical"
    walk(live, 100, 120, flow=0.01, current=21.0)
    last = {t.alarm.alarm_id: sent(t) for t in live.transitions}
    assert last["any.hours"]["model"]["mode"] == "uncertain"
    assert last["any.hours"]["priority"] == "medium"
    assert last["any.hours.drift"]["active"], "the drift alarm stands beside it"


def test_wear_that_a_model_was_trained_on_is_no_drift(tmp_path: Path) -> None:
    """With a domain, drift is measured against it: beyond the healthy values, within the domain."""
    random = np.random.default_rng(0)
    healthy = {"current": histogram_of(random.normal(20, 0.1, 2000))}
    model = insight_models.hours(tmp_path, interval=INTERVAL, healthy=healthy, domain=DOMAIN)
    live = plant(model, memory_s=80)
    walk(live, 0, 220, flow=0.01, current=24.0)
    assert {t.alarm.alarm_id for t in live.transitions} == {"any.hours"}
    assert live.transitions[-1].alarm.priority == "critical"
