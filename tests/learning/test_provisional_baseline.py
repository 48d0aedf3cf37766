"""A first baseline from little data: marked, capped, and replaced by a better one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import live_plants
import numpy as np
import plants
import pytest

from edge_agent.alarms.texts import load_texts
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms, Learn, LearnedAlarm, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.models.repository import ModelRepository
from edge_agent.serving.reconciler import Reconciler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.daemon.replay import Replay
    from edge_agent.messages import Transition

FIRST, FULL = 300, 1500


def config(folder: Path, **changes: Any) -> Config:
    rule = Learn(
        auto=True,
        duration=Duration(float(FULL)),
        first_after=Duration(float(FIRST)),
        length=16,
        alarm=LearnedAlarm(severity=900),
    )
    signals = {Name(name): Signal(source="bus") for name in plants.INPUTS}
    template = Template(signals, learn=rule)
    return plants.config(**{"templates": {"pump": template}, "models_dir": folder, **changes})


class Walk:
    """A replay that learns; `sees` walks rows of the plant down its path, one a second."""

    def __init__(self, made: Config) -> None:
        self.replay: Replay = plants.prepared(made)
        self.runtime = self.replay.runtime
        self.at_s = 1000
        self.transitions: list[Transition] = []

    def sees(self, rows: np.ndarray, batch: int = 50) -> None:
        pipeline = self.runtime.pipeline
        for begin in range(0, len(rows), batch):
            part = rows[begin : begin + batch]
            values = plants.values(part, start_s=self.at_s)
            step = pipeline.update_alarms(pipeline.score_windows(pipeline.close_windows(values)))
            self.transitions += step.transitions
            self.at_s += len(part)
            pipeline.learning.check_inputs()

    def learns(self) -> None:
        asyncio.run(self.runtime.models.learn_what_is_ready())

    @property
    def version(self) -> str:
        (group,) = self.runtime.pipeline.deployments
        return group.model.manifest.version

    @property
    def progress(self) -> dict[str, float]:
        return self.runtime.pipeline.learning["pump"].progress()


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    made = Walk(config(tmp_path))
    yield made
    made.replay.close()


def test_the_first_score_comes_with_the_next_row(walk: Walk) -> None:
    """The rows at hand fill the window: nobody waits for another 16."""
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    (group,) = walk.runtime.pipeline.deployments
    assert walk.runtime.pipeline.deployments.reports.first_windows() == {"any": (15, 16)}
    assert np.isnan(group.score[0])
    walk.sees(plants.healthy(2, seed=2))
    assert not np.isnan(group.score[0])
    assert walk.runtime.pipeline.deployments.reports.first_windows() == {}


def test_it_is_marked_everywhere_and_its_alarms_are_no_more_than_medium(walk: Walk) -> None:
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    (model,) = walk.runtime.pipeline.deployments.models()
    assert FIRST <= model.manifest.provisional_s <= FIRST + 10
    assert walk.runtime.pipeline.deployments.baselines.provisional() == {
        "any": model.manifest.provisional_s
    }
    walk.sees(plants.fault(100, 20, by=-30.0))
    (raised,) = [t for t in walk.transitions if t.kind == "raise"]
    assert (raised.alarm.severity, raised.alarm.priority) == (666, "medium")
    told = live_plants.sent(raised)
    assert told["model"]["mode"] == "provisional"
    assert told["message"]["en"].endswith(
        "rests on 5 min of held-out data: up to "
        f"{float(model.manifest.calibration['at_most_per_asset_day']):.0f} false alarms a day "
        "are possible; provisional baseline from 5 min of data"
    )
    for language, words in {"de": "vorläufige Basis aus 5 min", "ja": "暫定", "zh": "临时"}.items():
        assert words in told["message"][language]


def test_learning_goes_on_and_the_better_one_takes_over_without_losing_a_window(
    walk: Walk, tmp_path: Path
) -> None:
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    first = walk.version
    assert walk.progress["any"] == pytest.approx((FIRST + 9) / FULL, abs=0.01)
    walk.sees(plants.healthy(FULL, seed=1)[FIRST:])
    walk.sees(plants.healthy(20, seed=3))
    walk.learns()  # an intermediate one, of four times the data
    walk.learns()
    walk.sees(plants.healthy(FULL // 2, seed=4))
    walk.learns()
    (scored,) = walk.runtime.pipeline.deployments
    before_us = int(scored.scored_us[0])
    models, metrics = walk.runtime.models, walk.replay.metrics
    reconciler = Reconciler(lambda: models, asyncio.Lock(), metrics, FakeClock())
    asyncio.run(reconciler.refresh())
    assert walk.version != first
    assert walk.runtime.pipeline.deployments.baselines.provisional() == {}
    assert walk.progress == {}
    walk.sees(plants.healthy(1, seed=5), batch=1)
    (scored,) = walk.runtime.pipeline.deployments
    assert int(scored.scored_us[0]) - before_us == plants.S
    (name,) = {model.manifest.name for model in walk.runtime.pipeline.deployments.models()}
    assert first in ModelRepository(tmp_path).versions(name), "and can be rolled back to"


def test_a_fault_that_begins_meanwhile_is_not_learned(walk: Walk) -> None:
    """Rows while its alarm stands do not count, and those just before it neither."""
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    before = walk.progress["any"]
    walk.sees(plants.fault(400, 0, by=-30.0))
    assert walk.progress["any"] <= before + 16 / FULL
    rows = walk.runtime.pipeline.learning["pump"].rows()["any"]
    assert np.nanmin(rows[:, 0]) > 5
    assert "its provisional baseline" in walk.runtime.pipeline.learning.obstacles()["any"]


def changed(n: int) -> np.ndarray:
    """Rows of the machine with another habit: 1.5 less flow."""
    return plants.fault(n, 0, by=-1.5)


def confirm(walk: Walk) -> None:
    """An operator says that it is healthy."""
    pipeline = walk.runtime.pipeline
    assert pipeline.deployments.recentre("any", walk.at_s * plants.S)
    pipeline.learning.confirm_healthy("any")


def test_what_an_operator_calls_healthy_is_learned(walk: Walk) -> None:
    """While the alarm clears, too; and the next alarm stops learning as the first did."""
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    walk.sees(changed(300))
    before = walk.progress["any"]
    walk.sees(changed(100))
    assert walk.progress["any"] == before, "its alarm stands"
    confirm(walk)
    walk.runtime.pipeline.learning.check_inputs()
    assert walk.runtime.pipeline.learning["pump"].trainings[0].closed == "", "although it stands"
    walk.sees(changed(300))
    assert walk.progress["any"] == pytest.approx(before + 300 / FULL, abs=0.01)
    assert walk.runtime.pipeline.learning.obstacles() == {}
    assert [t.kind for t in walk.transitions][-1] == "clear"
    walk.sees(plants.healthy(50, seed=9))
    later = walk.progress["any"]
    walk.sees(plants.healthy(100, seed=9))
    assert walk.progress["any"] == later, "the old habit is a fault now"


def test_an_alarm_that_stands_all_the_same_stops_learning_again(walk: Walk) -> None:
    """A fault that grows after the operator's word is not learned: it has a few windows."""
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    walk.sees(changed(300))
    before = walk.progress["any"]
    confirm(walk)
    walk.sees(plants.fault(400, 0, by=-30.0))
    assert before < walk.progress["any"] <= before + (4 * 16 + 50) / FULL
    assert "its provisional baseline" in walk.runtime.pipeline.learning.obstacles()["any"]


def test_an_alarm_says_how_far_its_baseline_has_moved(walk: Walk) -> None:
    """In every language, and since when."""
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    walk.sees(changed(300))
    assert "baseline moved" not in live_plants.sent(walk.transitions[0])["message"]["en"]
    confirm(walk)
    walk.sees(changed(300))
    walk.sees(plants.healthy(50, seed=9))
    told = live_plants.sent([t for t in walk.transitions if t.kind == "raise"][-1])["message"]
    assert "; its baseline moved by " in told["en"]
    assert " σ since 19" in told["en"]  # noqa: RUF001
    for language, words in {"de": "; Basis seit", "ja": "の中心は", "zh": "已偏移"}.items():
        assert words in told[language]


def test_a_restart_goes_on_from_the_provisional_one(tmp_path: Path) -> None:
    walk = Walk(config(tmp_path))
    walk.sees(plants.healthy(FIRST + 10, seed=1))
    walk.learns()
    walk.replay.close()
    again = Walk(config(tmp_path))
    assert again.runtime.models.without == {}
    assert again.progress == {"any": 0.0}
    assert again.runtime.pipeline.learning["pump"].trainings[0].stage == 1
    again.replay.close()


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        ({}, "0.1 false alarms a day are to be expected at this limit"),
        (
            {
                "held_out_asset_days": "0.0028",
                "held_out_alarms": "0",
                "at_most_per_asset_day": "833",
            },
            "rests on 4 min of held-out data: up to 833 false alarms a day are possible",
        ),
        (
            {"held_out_asset_days": "0.9", "at_most_per_asset_day": "3.3"},
            "rests on 21.6 h of held-out data: up to 3.3 false alarms a day are possible",
        ),
        (
            {
                "held_out_asset_days": "1.5",
                "held_out_alarms": "0",
                "at_most_per_asset_day": "2",
            },
            "rests on 36 h of held-out data: up to 2 false alarms a day are possible",
        ),
        (
            {
                "held_out_asset_days": "40",
                "held_out_alarms": "0",
                "at_most_per_asset_day": "0.075",
            },
            "0.1 false alarms a day are to be expected at this limit",
        ),
        (
            {"held_out_asset_days": "2", "held_out_alarms": "0"},
            "0.1 false alarms a day are to be expected at this limit",
        ),
        (
            {"held_out_asset_days": "2", "held_out_alarms": "6"},
            "3 false alarms a day are to be expected at this limit",
        ),
        ({"held_out_asset_days": "many"}, "0.1 false alarms a day"),
    ],
)
def test_the_false_alarms_of_a_text_are_those_of_the_bundle(
    calibration: dict[str, Any], told: str
) -> None:
    """A rate below what the held-out time supports is not promised: the text says the bound."""
    from types import SimpleNamespace as Simple  # noqa: PLC0415

    from edge_agent.messages import Alarm, Detail  # noqa: PLC0415
    from edge_agent.serving.evaluation import promise_args  # noqa: PLC0415

    manifest = Simple(calibration=calibration, false_alarms_per_day=0.1)
    group: Any = Simple(use=Simple(alarm=AlarmRule()), model=Simple(manifest=manifest))
    detail = Detail("anomaly", promise_args(group), score=2.0)
    texts = load_texts(Alarms(languages=("en",)))
    message = texts.render(Alarm("P-1.a", "P-1", detail=detail), AlarmRule())["message"]["en"]
    assert told in message
    own: Any = Simple(use=Simple(alarm=AlarmRule(limit=3.0)), model=group.model)
    assert promise_args(own) == {}, "another limit than the bundle's own"
