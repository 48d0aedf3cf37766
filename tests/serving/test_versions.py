"""One version of a model gives way to another, and not one window is lost by it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import plants
import pytest
from support import value_of
from tiny_versions import INPUTS, LENGTH
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

from edge_agent.config.schema import Asset, ModelUse, Signal, Template
from edge_agent.config.types import Name
from edge_agent.serving import AUTOMATIC, ModelChange

if TYPE_CHECKING:
    from edge_agent.models.runtime.model import Model

SIGNALS = {name: Signal(source="bus") for name in INPUTS}


def watched(**changes: Any) -> Watched:
    """Two pumps, watched by version 1 for six seconds."""
    plant = Watched(config(**changes))
    plant.use(mean())
    plant.rows(6, 1.0)
    return plant


def faults(plant: Watched) -> list[str]:
    """What the service alarm of the models says."""
    return [fault.detail.message_key for fault in plant.pipeline.deployments.reports.faults(0)]


def test_another_version_takes_over_between_two_windows() -> None:
    """Those that are half full go on: each has one score, from the next on of the new version."""
    plant = watched()
    assert plant.pipeline.deployments.replace_version(mean("2", factor=3.0)) == {}
    plant.rows(6, 1.0)
    assert plant.missing() == []
    assert list(plant.scores["P-1"].values()) == [1.0] * 3 + [3.0] * 6


@pytest.mark.parametrize("length", [2, 9])
def test_a_version_with_other_windows_takes_over_once_they_are_full(length: int) -> None:
    """Until then the old one goes on, so that every second has its score."""
    plant = watched()
    plant.pipeline.deployments.replace_version(mean("2", factor=3.0, length=length))
    warming = plant.pipeline.deployments.warming(NAME)
    assert warming is not None
    assert warming.manifest.version == "2"
    plant.rows(length, 1.0)
    assert plant.deployments() == {"1"}
    plant.rows(12, 1.0)
    assert plant.deployments() == {"2"}
    assert plant.missing() == []
    assert list(plant.scores["P-2"].values())[-1] == 3.0


def test_a_change_of_the_active_version_is_reported_with_who_and_from_which() -> None:
    """A rollback is reported once it is saved on disk."""
    plant = Watched(config())
    changes: list[ModelChange] = []
    plant.pipeline.deployments.on_change = changes.append
    plant.use(mean())
    plant.rows(6, 1.0)
    plant.pipeline.deployments.replace_version(nan_over(50.0, version="2"), AUTOMATIC)
    plant.rows(12, 1.0)
    assert changes[1:] == [ModelChange("activate", NAME, "2", "1", AUTOMATIC)]
    plant.row(60.0)
    assert plant.deployments() == {"1"}
    assert len(changes) == 2


def test_windows_that_never_fill_do_not_hold_a_version_back_for_ever() -> None:
    """The plant is silent; after twice their span and a minute it takes over."""
    plant = watched()
    plant.pipeline.deployments.replace_version(mean("2", length=9))
    plant.turn(80.0)
    assert plant.deployments() == {"1"}
    plant.turn(90.0)
    assert plant.deployments() == {"2"}


def test_a_shadow_that_is_activated_takes_over_at_once() -> None:
    """Its own windows are full already."""
    plant = watched()
    new = mean("2", factor=3.0, length=9)
    plant.pipeline.deployments.set_shadow(NAME, new)
    plant.rows(10, 1.0)
    plant.pipeline.deployments.replace_version(new)
    plant.rows(2, 1.0)
    assert plant.deployments() == {"2"}
    assert plant.missing() == []


@pytest.mark.parametrize(
    ("bad", "trouble", "said"),
    [
        (nan_over(50.0), "not_a_number", "1 of 2 scores are not a number"),
        (fails_over(50), "failed", "out of"),
    ],
    ids=["no number", "fails"],
)
def test_what_a_version_cannot_score_the_one_before_scores_in_the_same_turn(
    bad: Model, trouble: str, said: str
) -> None:
    """And stays at work; windows of assets that the bad one could score are not lost either."""
    plant = watched()
    plant.pipeline.deployments.replace_version(bad)
    plant.rows(3, 2.0)
    assert plant.deployments() == {"2"}
    plant.rows(3, 60.0, 2.0)
    assert plant.deployments() == {"1"}
    assert plant.missing() == []
    assert plant.scores["P-1"][(1000 + 10) * 1000] == pytest.approx((2 * 3 + 60) / 4)
    (rollback,) = plant.pipeline.deployments.rollbacks
    assert (rollback.name, rollback.trouble) == (NAME, trouble)
    assert said in rollback.bad.reason
    assert rollback.bad.state == "failed"
    assert (rollback.bad.model, rollback.good.manifest.version) == (bad, "1")
    alarms = {
        t.alarm.alarm_id: t.alarm.detail and t.alarm.detail.model and t.alarm.detail.model.version
        for t in plant.transitions
    }
    assert alarms == {"P-1.watch": "1"}, "what the old one finds in them alarms at once"


def test_a_version_that_takes_too_long_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first slow run, which may be the machine's, but at the tenth."""
    watch = Stopwatch(monkeypatch)
    plant = watched(budget_s=1.0)
    plant.pipeline.deployments.replace_version(slow(watch, 1.5))
    plant.rows(9, 2.0)
    assert plant.deployments() == {"2"}
    plant.rows(1, 2.0)
    assert plant.deployments() == {"1"}
    assert plant.missing() == []
    (rollback,) = plant.pipeline.deployments.rollbacks
    assert rollback.trouble == "slow"
    assert rollback.bad.reason == "2 windows take 1.5e+03 ms, more than 1000 ms"


def test_a_slow_machine_is_no_reason_to_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version before is as slow: the new one stays."""
    watch = Stopwatch(monkeypatch)
    plant = Watched(config(budget_s=1.0))
    plant.use(slow(watch, 1.2, "1"))
    plant.rows(5, 1.0)
    plant.pipeline.deployments.replace_version(slow(watch, 1.5, "2"))
    plant.rows(25, 1.0)
    assert plant.deployments() == {"2"}
    assert plant.pipeline.deployments.rollbacks == []


def test_more_windows_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is that of a batch: a backlog of many is no fault of the version's."""
    watch = Stopwatch(monkeypatch)
    plant = Watched(config("P-{1..150}", budget_s=1.0))
    plant.use(mean())
    plant.pipeline.deployments.replace_version(
        slow(watch, 2.5)
    )  # 150 windows are three batches of 64
    plant.rows(20, 1.0)
    assert plant.deployments() == {"2"}


def test_windows_that_no_version_can_score_change_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the input that is to blame. The log says when it begins and when it is over."""
    plant = Watched(config())
    plant.use(nan_over(50.0, "1"))
    plant.rows(5, 1.0)
    plant.pipeline.deployments.replace_version(nan_over(50.0, "2"))
    with caplog.at_level(logging.INFO):
        plant.rows(3, 60.0, 1.0)
        assert faults(plant) == ["model_failed"]
        plant.rows(8, 1.0)
    assert plant.deployments() == {"2"}
    assert plant.pipeline.deployments.rollbacks == []
    assert faults(plant) == []
    said = [one.message for one in caplog.records]
    assert said == ["model failed", "model works again"]
    outcome = plant.metrics.windows.labels(NAME, "not_a_number")
    assert value_of(outcome) == 3 + 3


def test_the_version_before_may_have_windows_of_its_own() -> None:
    """They have gone on all the while."""
    plant = Watched(config())
    plant.use(mean(length=9))
    plant.rows(10, 1.0)
    plant.pipeline.deployments.replace_version(nan_over(50.0, length=3))
    plant.rows(8, 2.0)
    assert plant.deployments() == {"2"}
    plant.rows(5, 60.0)
    assert plant.deployments() == {"1"}
    assert plant.missing(9) == []


def test_every_asset_that_comes_later_has_both_versions() -> None:
    plant = Watched(config())
    model = mean()
    plant.use(model)
    plant.pipeline.deployments.replace_version(nan_over(50.0))
    assert plant.pipeline.deployments.standby(NAME) is model
    plant.rows(5, 60.0)
    assert plant.deployments() == {"1"}
    assert plant.missing() == []


def test_a_reload_does_not_make_a_version_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow runs before it count as well, and the version before goes on to stand by."""
    watch = Stopwatch(monkeypatch)
    plant = watched(budget_s=1.0)
    new = slow(watch, 1.5)
    plant.pipeline.deployments.replace_version(new)
    plant.rows(7, 2.0)
    other = Watched(config(budget_s=1.0))
    other.use(new)
    other.pipeline.adopt_state(plant.pipeline)
    other.rows(LENGTH + 1, 2.0)
    assert other.deployments() == {"2"}
    other.rows(1, 2.0)
    assert other.deployments() == {"1"}


def test_the_gauge_names_the_active_version() -> None:
    """The one that scores: not the one whose windows fill, nor the standby."""

    def shown(plant: Watched) -> set[str]:
        plant.pipeline.deployments.reports.export()
        found = next(iter(plant.metrics.model_info.collect())).samples
        return {one.labels["version"] for one in found if one.value == 1}

    plant = watched()
    plant.pipeline.deployments.replace_version(mean("2", length=9))
    assert shown(plant) == {"1"}
    plant.rows(12, 1.0)
    assert shown(plant) == {"2"}


def test_a_version_that_gave_way_does_not_come_back_by_a_reload() -> None:
    """On disk it is the active one still, so that a new config loads it again."""
    plant = watched()
    bad = nan_over(50.0)
    plant.pipeline.deployments.replace_version(bad)
    plant.rows(5, 60.0)
    other = Watched(config())
    other.use(bad)
    other.pipeline.adopt_state(plant.pipeline)
    assert other.deployments() == {"1"}
    assert other.pipeline.deployments.standby(NAME) is None
    assert [one.bad.number for one in other.pipeline.deployments.rollbacks] == ["2"]


def test_deployments_of_one_bundle_change_together() -> None:
    """Two templates use it: no asset is scored by another version than its neighbour."""
    one, other = (
        Template({Name(n): one for n, one in SIGNALS.items()}, (ModelUse(Name(NAME)),))
        for _ in range(2)
    )
    assets = {"P-1": Asset(Name("one")), "P-2": Asset(Name("other"))}
    plant = Watched(plants.config(templates={"one": one, "other": other}, assets=assets))
    plant.use(mean())
    plant.rows(6, 1.0)
    plant.pipeline.deployments.replace_version(mean("2", factor=3.0, length=9))
    seen = []
    for _ in range(12):
        plant.row(1.0)
        seen.append(plant.deployments())
    assert seen.count({"1"}) + seen.count({"2"}) == 12
    assert seen[-1] == {"2"}
    assert plant.missing() == []


def test_an_asset_that_the_new_version_does_not_know_is_said() -> None:
    """And the others go on."""
    plant = watched()
    lost = plant.pipeline.deployments.replace_version(mean("2", units=("P-1",)))
    assert lost == {"P-2": "model watch was not learned for this asset"}
