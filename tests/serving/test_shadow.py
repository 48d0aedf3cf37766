"""A candidate beside the model at work: compared window by window, and harmless."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import value_of
from version_models import (
    NAME,
    Stopwatch,
    Watched,
    config,
    fails_over,
    mean,
    nan_over,
    slow,
)

from edge_agent.serving.agreement import NOTHING, Agreement, Correlation, Judged, Last, pair


def beside(candidate: Any, **rule: Any) -> Watched:
    """Two pumps, watched by version 1 with the candidate beside it."""
    plant = Watched(config(**rule))
    plant.use(mean())
    plant.pipeline.deployments.set_shadow(NAME, candidate)
    return plant


def report(plant: Watched) -> dict[str, Any]:
    found = plant.pipeline.deployments.reports.shadow_report(NAME)
    assert found is not None
    return found


def metric(plant: Watched, outcome: str) -> float:
    return float(value_of(plant.metrics.shadow_windows.labels(NAME, outcome)))


def test_the_same_model_agrees_in_every_window() -> None:
    plant = beside(mean("2"))
    for level in (1.0, 3.0, 12.0, 20.0, 2.0, 1.0, 1.0, 1.0):
        plant.rows(3, level, 1.0)
    said = report(plant)
    assert (said["state"], said["compared"], said["agreement"]) == ("running", 2 * 21, 1.0)
    assert said["correlation"] == pytest.approx(1.0)
    assert said["outcomes"]["both"] > 0
    assert said["active"]["alarms"] == said["candidate"]["alarms"] == 1
    assert said["active"]["windows"] == said["candidate"]["windows"] == 42
    assert said["candidate"]["latency_ms"]["p99"] >= said["candidate"]["latency_ms"]["p50"] > 0
    assert (said["from_ms"], said["to_ms"]) == (1004_000, 1024_000)


def test_nothing_comes_of_what_a_candidate_finds() -> None:
    """It would alarm in every window; there is no alarm, no score, and no gauge of it."""
    plant = beside(mean("2", factor=100.0))
    plant.rows(10, 1.0)
    assert plant.transitions == []
    assert set(plant.scores["P-1"].values()) == {1.0}
    assert value_of(plant.metrics.windows.labels(NAME, "scored")) == 2 * 7
    assert report(plant)["candidate"]["alarms"] == 2
    assert report(plant)["outcomes"]["only_candidate"] == 14
    assert metric(plant, "only_candidate") == 14


@pytest.mark.parametrize(
    "rule", [{"on_delay": 3.0}, {"off_delay": 4.0}, {"deadband": 0.5}, {"limit": 2.5}, {}], ids=str
)
def test_would_be_alarms_follow_the_rules_at_work(rule: dict[str, float]) -> None:
    """A candidate that is the model at work would raise exactly what was raised, when it was."""
    plant = beside(mean("2"), **rule)
    standing = 0  # windows after which an alarm stands
    for level in (1.0, 20.0, 6.0, 12.0, 1.0, 30.0, 1.0):
        for _ in range(3):
            plant.row(level, 1.0)
            standing += sum(alarm.active for alarm in plant.alarms.all())

    def told(found: list[Any]) -> list[tuple[Any, ...]]:
        return [(t.kind, t.alarm.alarm_id, t.at_us) for t in found]

    assert told(plant.transitions)
    assert told(plant.shadow_told) == told(plant.transitions)
    assert report(plant)["outcomes"]["both"] == standing > 0


def test_the_worst_assets_come_first() -> None:
    """Where the two decide differently; then where their levels are furthest apart."""
    plant = Watched(config("P-{1..8}"))
    plant.use(mean())
    plant.pipeline.deployments.set_shadow(NAME, mean("2", factor=2.0))
    plant.rows(8, 1.0, 6.0, 2.0, 3.0, 1.0)
    worst = report(plant)["worst"]
    assert [row["asset"] for row in worst][:3] == ["P-2", "P-4", "P-3"]
    assert len(worst) == 5
    assert worst[0] == {
        "asset": "P-2",
        "compared": 5,
        "neither": 0,
        "only_candidate": 5,
        "only_active": 0,
        "both": 0,
        "level_apart": pytest.approx(0.6),
    }


@pytest.mark.parametrize("how", ["fails", "slow"])
def test_a_candidate_that_fails_or_takes_too_long_is_dropped(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its report says why; the model at work goes on."""
    candidate = fails_over(50) if how == "fails" else slow(Stopwatch(monkeypatch), 1.5)
    plant = beside(candidate, budget_s=1.0)
    plant.rows(5, 1.0)
    assert report(plant)["state"] == "running"
    plant.rows(15, 60.0, 1.0)
    said = report(plant)
    assert said["state"] == "dropped"
    assert said["reason"]
    assert said["candidate"]["version"] == "2"
    assert not plant.pipeline.deployments.has_shadows()
    assert plant.missing() == []
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == ["shadow ends"]


def test_a_candidate_that_brings_about_what_nobody_foresaw_is_dropped_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with the comparison itself, the line goes on."""
    plant = beside(mean("2"))
    monkeypatch.setattr(Agreement, "add", None)
    plant.rows(8, 1.0)
    assert not plant.pipeline.deployments.has_shadows()
    assert plant.missing() == []
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["shadow failed"]


def test_scores_of_a_candidate_that_are_no_numbers_are_counted() -> None:
    """And compared with nothing."""
    plant = beside(nan_over(50.0))
    plant.rows(6, 60.0, 1.0)
    said = report(plant)
    assert (said["candidate"]["not_a_number"], said["candidate"]["windows"]) == (3, 3)
    assert (said["compared"], said["state"]) == (3, "running")
    assert metric(plant, "not_a_number") == 3


def test_where_there_is_no_time_a_candidate_waits() -> None:
    """Values are waiting: the line goes first, and what was left out is said."""
    plant = beside(mean("2"))
    plant.rows(5, 1.0)
    plant.row(1.0, busy=True)
    plant.rows(2, 1.0)
    assert report(plant)["skipped"] == metric(plant, "skipped") == 2
    assert report(plant)["compared"] == 2 * 4


def test_a_candidate_may_have_windows_of_its_own() -> None:
    """They are compared with what the model at work had said by their end."""
    plant = beside(mean("2", length=9))
    plant.rows(12, 20.0, 1.0)
    said = report(plant)
    assert said["active"]["windows"] == 2 * 9
    assert said["candidate"]["windows"] == 2 * 4
    assert said["outcomes"] == {"neither": 4, "only_candidate": 0, "only_active": 0, "both": 4}


def test_another_version_at_work_begins_the_comparison_anew() -> None:
    """The report would mix two models. The same version at work ends it."""
    third = mean("3")
    plant = beside(third)
    plant.rows(6, 1.0)
    plant.pipeline.deployments.replace_version(mean("2", factor=2.0))
    assert report(plant)["compared"] == 0
    plant.rows(2, 1.0)
    assert (report(plant)["compared"], report(plant)["active"]["version"]) == (4, "2")
    plant.pipeline.deployments.replace_version(third)
    assert (report(plant)["state"], report(plant)["compared"]) == ("ended", 4)


def test_a_reload_loses_no_shadow() -> None:
    """Neither its counts, nor the alarms that stand in its table."""
    plant = beside(mean("2"))
    plant.rows(6, 20.0)
    other = Watched(config())
    active = plant.pipeline.deployments.active(NAME)
    assert active is not None
    other.use(active)
    other.pipeline.adopt_state(plant.pipeline)
    other.t = plant.t
    other.rows(6, 20.0)
    assert report(other)["compared"] == 2 * 3 + 2 * 3
    assert report(other)["candidate"]["alarms"] == 2, "not raised anew"


def test_a_rule_that_changes_holds_for_the_shadow_too() -> None:
    plant = beside(mean("2"))
    plant.pipeline.adopt_rules(config(limit=0.5))
    plant.rows(5, 1.0)
    assert report(plant)["outcomes"]["both"] == 4


judged = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=12)


def _judged(rows: list[tuple[int, int, bool]]) -> Judged:
    kept = sorted({(asset, end): on for asset, end, on in rows}.items())
    if not kept:
        return NOTHING
    return Judged(
        np.array([asset for (asset, _), _ in kept], np.intp),
        np.array([end for (_, end), _ in kept], np.int64),
        np.array([on for _, on in kept]),
        np.array([float(asset * 100 + end) for (asset, end), _ in kept], np.float32),
    )


@settings(max_examples=200, deadline=None)
@given(judged, judged, judged)
def test_a_pair_is_the_newest_decision_by_the_end_of_the_window(
    before: list[Any], active: list[Any], candidate: list[Any]
) -> None:
    """As a plain loop over all rows finds it; what came in an earlier turn is remembered."""
    last = Last()
    pair(_judged(before), NOTHING, last)
    theirs, ours = _judged(active), _judged(candidate)
    state: dict[int, tuple[bool, float]] = {}
    for rows in (_judged(before),):
        for asset, _, on, level in zip(*rows, strict=True):
            state[int(asset)] = (bool(on), float(level))
    events: list[tuple[Any, int, int, int, float]] = [
        (e, 0, int(a), bool(o), float(v)) for a, e, o, v in zip(*theirs, strict=True)
    ]
    events += [(e, 1, int(a), i, 0.0) for i, (a, e, _, _) in enumerate(zip(*ours, strict=True))]
    expected: dict[int, tuple[bool, float]] = {}
    for _, kind, asset, what, level in sorted(events):
        if kind == 0:
            state[asset] = (bool(what), level)
        else:
            expected[int(what)] = state.get(asset, (False, np.nan))
    is_on, level_of = pair(theirs, ours, last)
    assert len(is_on) == len(expected)
    for i, (on, level) in expected.items():
        assert bool(is_on[i]) == on
        np.testing.assert_equal(float(level_of[i]), level)


def test_correlation_bit_by_bit_is_that_of_the_whole() -> None:
    random = np.random.default_rng(3)
    x = 1e4 + random.standard_normal(500)
    y = 0.4 * x + random.standard_normal(500)
    found = Correlation()
    for part in np.array_split(np.arange(500), 7):
        found.add(x[part], y[part])
    found.add(np.array([np.nan, 1.0]), np.array([1.0, np.inf]))
    assert found.value() == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


def test_before_the_first_window_nothing_is_claimed() -> None:
    tally = Agreement()
    tally.add(NOTHING, NOTHING, Last())
    assert (tally.compared, tally.agreement(), tally.correlation.value()) == (0, None, None)


def test_a_candidate_without_a_model_at_work_is_judged_alone() -> None:
    """As in a replay whose config does not use it."""
    plant = Watched(config())
    use = replace(plant.plant.assets["P-1"].template.models[0])
    for asset in plant.plant.assets.values():
        assert plant.pipeline.deployments.try_shadow(mean("2"), use, asset) == ""
    plant.rows(8, 20.0, 1.0)
    said = report(plant)
    assert (said["active"], said["compared"], said["agreement"]) == (None, 0, None)
    assert said["candidate"]["alarms"] == 1
    assert [t.alarm.alarm_id for t in plant.shadow_told] == ["P-1.watch"]
