"""Remaining lives: what was told meets what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import insight_models
import pytest
from insight_models import NAMES
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.config.schema import Signal
from edge_agent.diagnostics.rul_tracker import KEPT, Life, RulTracker
from edge_agent.errors import NotFoundError
from edge_agent.models.bundle.reference_distribution import Interval
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

ASSET = "any"
HOUR = 3600


def plant(model: Model) -> Live:
    live = Live(of(model.manifest.name, **{name: Signal(unit="u") for name in NAMES}))
    assert live.use(model) == [""]
    return live


def tell(live: Live, begin_h: int, hours: list[float]) -> None:
    """One window an hour says that so many hours are left."""
    for number, left in enumerate(hours):
        for second in range(3):
            t = (begin_h + number) * HOUR + second
            live.turn(t, columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, [left, 4.0, 20.0]))


def at_h(hour: float) -> int:
    return (BEGIN_S + round(hour * HOUR)) * S


def test_a_machine_that_fails_earlier_than_told_pulls_p10_down(tmp_path: Path) -> None:
    """100 h were told at hour 0, 99 at hour 1, ...; it fails at hour 50."""
    live = plant(insight_models.hours(tmp_path))
    lives = live.pipeline.diagnostics.rul_tracker
    tell(live, 0, [100.0 - n for n in range(20)])
    (found,) = lives.end(ASSET, at_h(50), failed=True)
    assert (found.model, found.version, found.coverage) == ("hours", "1", 0.0)
    assert 20 <= found.predictions <= 22
    tell(live, 60, [100.0])
    ((asset, model, _, (p10, p50, p90)),) = lives.latest()
    assert (asset, model) == (ASSET, "hours")
    assert p10 < 90 - 1, "wider below: by exp(0.2 * 0.9)"
    assert p50 == pytest.approx(100.0)
    assert p90 < 110, "and tighter above"


def test_the_alert_tells_the_adapted_interval(tmp_path: Path) -> None:
    """rul_h of the alarm that is raised after a life was missed."""
    live = plant(insight_models.hours(tmp_path, interval=Interval(0.8, 1.0)))
    tell(live, 0, [100.0] * 3)
    live.pipeline.diagnostics.rul_tracker.end(ASSET, at_h(10), failed=True)
    tell(live, 20, [10.0])
    (raised,) = (t.alarm for t in live.transitions if t.alarm.alarm_id == "any.hours")
    assert raised.detail is not None
    assert raised.detail.rul_h is not None
    assert raised.detail.rul_h["p50"] == pytest.approx(10.0)
    assert raised.detail.rul_h["p10"] < 8.0, "9.0 by the model alone"


def test_an_overhaul_is_no_truth(tmp_path: Path) -> None:
    """How long the machine would have lived nobody knows; its next life begins anew."""
    live = plant(insight_models.hours(tmp_path))
    lives = live.pipeline.diagnostics.rul_tracker
    tell(live, 0, [100.0] * 5)
    lives.end(ASSET, at_h(10), failed=False)
    assert lives._versions["hours", "1"].interval.lives == 0
    with pytest.raises(NotFoundError, match="there was no prediction"):
        lives.end(ASSET, at_h(10), failed=True)


def test_what_was_told_after_the_end_is_of_the_next_life(tmp_path: Path) -> None:
    """The word of a failure comes days later."""
    live = plant(insight_models.hours(tmp_path))
    lives = live.pipeline.diagnostics.rul_tracker
    tell(live, 0, [10.0] * 5)
    tell(live, 20, [500.0] * 5)
    (first,) = lives.end(ASSET, at_h(15), failed=True)
    (second,) = lives.end(ASSET, at_h(30), failed=True)
    assert (first.predictions, second.predictions) == (5, 5)


def test_versions_learn_each_from_what_it_told(tmp_path: Path) -> None:
    """A version that comes has its own calibration."""
    old = insight_models.hours(tmp_path, version="1")
    live = plant(old)
    tell(live, 0, [100.0] * 3)
    live.pipeline.deployments.replace_version(insight_models.hours(tmp_path, version="2"))
    tell(live, 5, [5.0] * 3)
    found = live.pipeline.diagnostics.rul_tracker.end(ASSET, at_h(10), failed=True)
    assert [(one.version, one.coverage) for one in found] == [
        ("1", 0.0),
        ("2", pytest.approx(1 / 3)),
    ]


def test_a_life_keeps_a_bounded_part_of_itself_that_spans_all_of_it() -> None:
    """A prediction every ten minutes for a year."""
    life = Life()
    step_us = 600 * S
    for n in range(52_560):
        life.keep_prediction((n * step_us, 1.0, 2.0, 3.0))
        assert len(life.rows) <= KEPT
    assert life.rows[0][0] == 0
    assert life.rows[-1][0] > 0.95 * 52_560 * step_us
    gaps = {b[0] - a[0] for a, b in zip(life.rows, life.rows[1:], strict=False)}
    assert max(gaps) < 1.3 * min(gaps), "evenly"


def test_a_clock_that_is_set_back_ends_what_cannot_be_placed() -> None:
    """What was told in a future that is none has no truth."""
    life = Life()
    life.keep_prediction((10 * HOUR * S, 1.0, 2.0, 3.0))
    life.keep_prediction((1 * HOUR * S, 4.0, 5.0, 6.0))
    assert life.rows == [(1 * HOUR * S, 4.0, 5.0, 6.0)]


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Scales, coverage and the lives that are not over yet."""
    model = insight_models.hours(tmp_path, interval=Interval(0.8, 0.5))
    live = plant(model)
    tell(live, 0, [100.0] * 3)
    live.pipeline.diagnostics.rul_tracker.end(ASSET, at_h(10), failed=True)
    tell(live, 20, [50.0] * 3)
    assert live.pipeline.diagnostics.rul_tracker.changed
    raw = live.pipeline.diagnostics.rul_tracker.dump()
    assert not live.pipeline.diagnostics.rul_tracker.changed

    again = plant(model)
    again.pipeline.diagnostics.rul_tracker.restore(raw)
    tell(again, 30, [50.0])
    told = again.pipeline.diagnostics.rul_tracker._versions["hours", "1"]
    before = live.pipeline.diagnostics.rul_tracker._versions["hours", "1"]
    assert told.interval == before.interval
    assert len(told.lives[ASSET].rows) == 4


@pytest.mark.parametrize(
    "raw", [None, b"", b"garbage", b"{}", b"[1]", b'[{"model": "x"}]', b"[[]]"]
)
def test_what_cannot_be_read_is_as_good_as_nothing(raw: bytes | None) -> None:
    """An older or newer service wrote it, or nobody."""
    lives = RulTracker()
    lives.restore(raw)
    assert lives.dump() == b"[]"


def test_metrics_tell_life_coverage_and_scales(tmp_path: Path) -> None:
    """In seconds, by quantile; coverage only once a life has ended."""
    live = plant(insight_models.hours(tmp_path))
    diagnostics = live.pipeline.diagnostics
    tell(live, 0, [100.0] * 3)
    diagnostics.export(live.metrics)
    text = live.metrics.render().decode()
    life = 'edge_agent_remaining_life_seconds{asset="any",model="hours",p="0.5"}'
    assert f"{life} 360000.0" in text
    assert "edge_agent_rul_coverage{" not in text
    diagnostics.rul_tracker.end(ASSET, at_h(100), failed=True)
    diagnostics.export(live.metrics)
    text = live.metrics.render().decode()
    assert 'edge_agent_rul_coverage{model="hours"} 1.0' in text
    assert 'edge_agent_rul_lives{model="hours"} 1.0' in text
    assert 'edge_agent_rul_interval_scale{model="hours",side="low"} 0.98' in text
