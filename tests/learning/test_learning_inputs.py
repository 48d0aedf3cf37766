"""Inputs that do not deliver: named in time, left out after a grace, taken again when back."""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np
import plants
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_plants import BEGIN_S, Live
from plants import S

from edge_agent.config.conditions import parse_condition
from edge_agent.config.schema import Asset, Learn, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.learning.collection import Learning
from edge_agent.learning.input_choice import InputChoice
from edge_agent.learning.time_scale import TimeScale
from edge_agent.values import BAD, BAD_TYPE_MISMATCH, Columns, columns

NAMES = ("flow", "pressure", "vibration")
GRACE_S = 300


class Fed:
    """One asset of three inputs that learns; `sees` sends rows of it, one a second."""

    def __init__(self, assets: int = 1, **changes: Any) -> None:
        signals = {Name(name): Signal(source="bus", stale_after=Duration(5.0)) for name in NAMES}
        template = Template(signals)
        many = {f"P-{{1..{assets}}}": Asset(Name("pump"))}
        self.live = Live(plants.config(templates={"pump": template}, assets=many))
        rule = Learn(
            **{"step": 1.0, "duration": 86_400.0, "length": 16, "first_after": 0.0, **changes}
        )
        for asset in self.live.plant.assets.values():
            assert self.live.pipeline.learning.learn_asset(asset, rule) == ""
        (self.learning,) = self.live.pipeline.learning.values()
        self.at_s = 0
        self.values: float | None = None  # what is read; default: the second

    def sees(self, seconds: int, *, delivers: str = "fpv", bad: int = 0, status: int = BAD) -> None:
        """delivers: of which inputs (by first letter) values come; bad: index of one that is."""
        chosen = [i for i, name in enumerate(NAMES) if name[0] in delivers]
        for begin in range(0, seconds, 10):
            self._send(min(10, seconds - begin), chosen, bad, status)

    def _send(self, n: int, chosen: list[int], bad: int, status: int) -> None:
        signals = [s.index for s in self.live.plant.signals]
        mine = [i for i in signals if i % 3 in chosen]
        t = np.repeat(self.at_s + np.arange(n), len(mine))
        code = np.where((np.tile(mine, n) % 3 == bad - 1), status, 0).astype(np.uint32)
        reads = t.astype(float) if self.values is None else np.full(len(t), self.values)
        value = np.where(code, np.nan, reads)
        time_us = (BEGIN_S + t) * S
        self.at_s += n
        sent = Columns(np.tile(mine, n).astype(np.int32), time_us, value, code)
        self.live.turn(self.at_s - 1.0, sent)
        self.live.pipeline.learning.check_inputs()

    @property
    def chosen(self) -> list[str]:
        chosen = self.learning.trainings[0].choice.chosen
        return [name for name, on in zip(NAMES, chosen, strict=True) if on]

    @property
    def obstacle(self) -> str:
        return self.live.pipeline.learning.obstacles().get("P-1", "")

    @property
    def rows(self) -> int:
        return self.learning.trainings[0].choice.complete()


def test_a_sensor_that_never_speaks_is_named_within_minutes_and_left_out_after_the_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the rows of before are not lost: the others were learned all the time."""
    fed = Fed()
    fed.sees(90, delivers="fp")
    assert fed.chosen == list(NAMES)
    assert re.fullmatch(r"since \d\d:\d\d: vibration (no value|stale)", fed.obstacle)
    assert fed.learning.progress() == {"P-1": 0.0}
    fed.sees(GRACE_S, delivers="fp")
    assert fed.chosen == ["flow", "pressure"]
    assert fed.obstacle == ""
    assert fed.rows > 90 + GRACE_S - 10
    said = [r for r in caplog.records if r.message == "input left out of learning"]
    assert [(vars(r)["asset"], vars(r)["input"]) for r in said] == [("P-1", "vibration")]
    (training,) = fed.learning.collected()
    assert training.inputs == ("flow", "pressure")
    assert list(training.left_out["P-1"]) == ["vibration"]
    assert not np.isnan(training.rows["P-1"]).any()


def test_a_text_is_left_out_at_once() -> None:
    """What a server says of a String: it never will be a number."""
    fed = Fed()
    fed.sees(20, bad=3, status=BAD_TYPE_MISMATCH)
    assert fed.chosen == ["flow", "pressure"]
    assert fed.rows > 10
    assert fed.learning.left_out(fed.learning.trainings[0]) == {"vibration": "no number"}


def test_the_grace_is_at_most_a_share_of_the_time_that_is_learned() -> None:
    fed = Fed(duration=200.0)
    fed.sees(70, delivers="fp")
    assert fed.chosen == ["flow", "pressure"]


def test_one_that_comes_back_soon_is_learned_again_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    fed = Fed()
    fed.sees(360, delivers="fp")
    assert fed.chosen == ["flow", "pressure"]
    fed.sees(60)
    assert fed.chosen == ["flow", "pressure"]
    assert "input delivers, is in the next learning" in caplog.messages
    fed.sees(4000)
    assert fed.chosen == list(NAMES)
    assert fed.learning.left_out(fed.learning.trainings[0]) == {}
    assert fed.rows >= 4000


def test_one_that_dies_half_way_is_left_out_too() -> None:
    """What was learned with it stays; a day of the others counts on."""
    fed = Fed()
    fed.sees(1000)
    fed.sees(200, bad=1)
    assert re.search(r"flow bad$", fed.obstacle)
    fed.sees(200, bad=1)
    assert fed.chosen == ["pressure", "vibration"]
    assert fed.rows >= 1390


def test_one_that_is_bad_now_and_then_stays() -> None:
    fed = Fed()
    for _ in range(40):
        fed.sees(30)
        fed.sees(10, bad=2)
    assert fed.chosen == list(NAMES)
    assert fed.obstacle == ""
    assert fed.rows >= 1190


def test_one_that_speaks_too_rarely_does_not_block_for_ever() -> None:
    """A value a minute, good for five seconds: a day would take a fortnight."""
    fed = Fed()
    for _ in range(20):
        fed.sees(1)
        fed.sees(59, delivers="fp")
    assert fed.chosen == ["flow", "pressure"]
    assert fed.rows >= 1190


def test_where_nothing_delivers_nothing_is_left_out_and_that_is_said() -> None:
    fed = Fed()
    fed.sees(10)
    for t in range(20, 700, 20):
        fed.live.turn(float(t))
        fed.live.pipeline.learning.check_inputs()
    assert fed.chosen == list(NAMES)
    assert re.search(r"flow stale, pressure stale, vibration stale", fed.obstacle)


def test_nothing_is_learned_of_a_machine_that_only_stood_still() -> None:
    """It is said once there are enough rows; the rows stay, and count when an input moves."""
    fed = Fed(duration=200.0)
    fed.values = 7.0
    fed.sees(190)
    assert fed.obstacle == ""
    fed.sees(400)
    assert re.fullmatch(r"since \d\d:\d\d: no input has moved", fed.obstacle)
    assert fed.learning.ready() == []
    assert fed.rows == 590
    fed.values = 8.0
    fed.sees(10)
    assert fed.obstacle == ""
    (ready,) = fed.learning.ready()
    assert len(ready.rows["P-1"]) == 600


def test_like_machines_may_lack_unlike_inputs() -> None:
    """A bundle for each set of inputs."""
    fed = Fed(assets=3)
    fed.sees(400)
    for training in fed.learning.trainings[1:]:
        training.choice.choose(np.array([True, True, False]))
    sets = fed.learning.collected()
    assert [(one.inputs, sorted(one.rows)) for one in sets] == [
        (NAMES, ["P-1"]),
        (NAMES[:2], ["P-2", "P-3"]),
    ]


def test_a_recording_is_judged_at_its_end() -> None:
    """An input that comes late in it is learned; one that never comes is left out."""
    fed = Fed()
    fed.sees(30, delivers="f")
    fed.sees(200, delivers="fp")
    fed.learning.trainings[0].choice.choose(np.ones(3, bool))
    fed.learning.input_watch.leave_out_slow(fed.live.pipeline.watch)
    (training,) = fed.learning.collected()
    assert training.inputs == ("flow", "pressure")
    assert training.left_out == {"P-1": {"vibration": "no value"}}


def test_an_alarm_of_the_baseline_closes_learning_and_takes_the_newest_rows_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault that began while a provisional baseline watches is not learned as healthy."""
    fed = Fed()
    fed.sees(100)
    before = fed.rows
    monkeypatch.setattr(fed.live.alarms, "is_active", lambda alarm: alarm == "P-1.baseline")
    fed.live.pipeline.learning.check_inputs()
    assert fed.rows == before - 16
    fed.sees(100)
    assert fed.rows == before - 16
    assert fed.learning.ready() == []
    assert fed.obstacle.endswith("the alarm of its provisional baseline is active")
    monkeypatch.setattr(fed.live.alarms, "is_active", lambda _alarm: False)
    fed.live.pipeline.learning.check_inputs()
    fed.sees(50)
    assert fed.rows == before - 16 + 50
    assert np.isnan(fed.learning.rows()["P-1"]).all(axis=1).sum() == 1, "a break between them"


def test_a_machine_that_is_stopped_on_purpose_holds_nothing_up() -> None:
    """Neither a trouble nor an input left out: it goes on where it stopped."""
    fed = Fed(when=parse_condition("flow >= 0 for 1s"))
    fed.sees(100)
    before = fed.rows
    assert before > 50
    fed.values = -5.0
    for _ in range(8):
        fed.sees(100, delivers="f")
    assert fed.rows <= before + 10
    assert fed.obstacle == ""
    assert fed.chosen == list(NAMES)
    fed.values = 5.0
    fed.sees(100)
    assert fed.rows > before + 70
    assert fed.chosen == list(NAMES)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, (900, 3600, 14_400, 86_400)),
        ({"duration": 3600.0}, (900, 3600)),
        ({"duration": 1000.0}, (1000,)),
        ({"first_after": 0.0}, (86_400,)),
        ({"first_after": 60.0, "duration": 2000.0}, (256, 1024 - 24 + 1000)),
        ({"step": 60.0, "duration": 86_400.0 * 7}, (256, 1024, 4096, 10_080)),
    ],
)
def test_after_how_many_rows_a_baseline_is_learned(
    changes: dict[str, Any], stages: tuple[Any, ...]
) -> None:
    """15 minutes, then four times as many each, the day last; never fewer than can teach."""
    assert TimeScale.of(Learn(**changes)).stages == stages


def test_a_provisional_baseline_is_followed_by_better_ones() -> None:
    fed = Fed(first_after=128.0, duration=2100.0, length=16)
    assert fed.learning.stages == (128, 512, 2100)
    found = []
    for _ in range(230):
        fed.sees(10)
        for training in fed.learning.ready():
            found.append(training.provisional_s)
            fed.learning.learned(list(training.rows))
    assert [round(s, -1) for s in found] == [130, 520, 0]
    assert fed.learning.progress() == {}


def test_a_restart_does_not_go_back_to_a_shorter_provisional_baseline() -> None:
    fed = Fed(first_after=128.0, duration=2100.0)
    asset = fed.live.plant.assets["P-1"]
    fed.live.pipeline.learning.learn_asset(asset, fed.learning.config, 520.0)
    assert fed.learning.trainings[0].stage == 2


def test_choices_by_hand() -> None:
    """Two inputs that fail by turns: the rarer one goes, and a row is enough to count."""
    choice = InputChoice(2)
    choice.begin(0)
    for n in range(100):
        choice.count(np.array([True, n % 10 == 0]), n)
    assert choice.complete() == 10
    assert choice.leave_out_slow() == [1]
    assert choice.complete() == 100
    choice.discount(np.array([True, True]))
    assert choice.complete() == 99
    assert choice.leave_out_slow() == []


@given(
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=60),
    st.integers(1, 40),
)
def test_inputs_are_left_out_until_there_are_enough_rows_if_any_input_has_them(
    usable: list[list[bool]], needed: int
) -> None:
    """One bad input does not refuse an asset; if nothing helps, nothing more is left out."""
    rows = np.array(usable)
    choice, plain = InputChoice(4), InputChoice(4)
    for n, row in enumerate(rows):
        choice.count(row, n)
        plain.count(row, n)
    gone = choice.leave_out_slow(needed)
    assert choice.chosen.any()
    assert sorted(gone) == np.flatnonzero(~choice.chosen).tolist()
    assert choice.complete() == rows[:, choice.chosen].all(axis=1).sum()
    if rows.sum(axis=0).max() >= needed:
        assert choice.complete() >= needed
    else:
        assert gone == plain.leave_out_slow()


def test_learning_goes_on_over_an_exchange_of_the_config() -> None:
    """Rows, inputs left out and the stage stay."""
    fed = Fed()
    fed.sees(400, delivers="fp")
    again = Learning("pump", fed.learning.config, fed.live.plant.assets["P-1"])
    again.add(fed.live.plant.assets["P-1"], fed.live.pipeline.signals.bindings)
    again.take_over(fed.learning)
    assert again.progress() == fed.learning.progress()
    assert again.left_out(again.trainings[0]) == fed.learning.left_out(fed.learning.trainings[0])


def test_the_newest_rows_are_there_as_values() -> None:
    """They fill the first window of the model that is learned."""
    fed = Fed()
    fed.sees(40)
    recent = fed.learning.recent(fed.live.plant.assets["P-1"])
    assert recent is not None
    assert len(recent) == 3 * 16
    assert (np.diff(recent.time_us) >= 0).all()
    assert recent.value[-1] == recent.time_us[-1] / S - BEGIN_S
    assert columns([], [], []).signal.dtype == recent.signal.dtype
