"""The gateway's clock is moved: all that waits moves with it, nothing is missed or doubled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, NOTHING, Live
from plants import S

from edge_agent.config.conditions import parse_condition
from edge_agent.config.limits import Limit
from edge_agent.config.schema import (
    AlarmRule,
    Asset,
    Learn,
    Signal,
    SourceTraits,
    Template,
    TimeOf,
)
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Duration, Name
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.values import BAD, Columns, columns

if TYPE_CHECKING:
    from edge_agent.config.schema import Config

NAN = float("nan")
STEPS = [3600.0, -3600.0, 3 * 3600.0, -200.0, 26 * 365 * 86_400.0, -9 * 365 * 86_400.0]


@dataclass(frozen=True)
class Judged:
    """A source whose time is the gateway's."""

    time: TimeOf = TimeOf.AUTO

    @property
    def traits(self) -> SourceTraits:
        return SourceTraits(silence_s=30.0, time_of=self.time)


class Stepped(Live):
    """A live pipeline whose wall clock is moved at some time; stamps follow the wall clock."""

    def __init__(self, config: Config, step: float, at: float) -> None:
        super().__init__(config)
        self.begin_us = 2_000_000_000 * S
        self.pipeline.signals.time.since_us[:] = self.begin_us
        self.pipeline.signals.time._event_us[:] = self.begin_us
        self.step_us, self.at = round(step * S), at

    def now_us(self, t: float) -> int:
        return self.begin_us + round(t * S) + (self.step_us if t >= self.at else 0)

    def go(self, t: float, values: Columns = NOTHING) -> int:
        """One turn; values are stamped `t` seconds after the begin, as it was before any step."""
        moved = values.time_us - BEGIN_S * S + self.begin_us
        moved = moved + (self.step_us if t >= self.at else 0)
        values = Columns(values.signal, moved, values.value, values.status)
        due = self.pipeline.close_windows(values, now_us=self.now_us(t), monotonic_s=t)
        step = self.pipeline.update_alarms(self.pipeline.score_windows(due))
        self.transitions += step.transitions
        return step.windows


def made(template: Template | None = None, **source: Any) -> Config:
    changes: dict[str, object] = {"sources": {"bus": Judged(**source)}}
    if template is not None:
        changes |= {"templates": {"pump": template}, "assets": {"any": Asset(Name("pump"))}}
    return plants.config(**changes)


@pytest.mark.parametrize("step", STEPS)
def test_windows_go_on_without_a_gap_and_a_fault_is_found_in_time(step: float) -> None:
    live = Stepped(made(), step, 60)
    live.use(SessionRegistry(plants.models(), Runtime(), Metrics()).load("base"))
    rows = plants.fault(120, 75)
    windows = [live.go(t, plants.values(rows[t : t + 1], start_s=BEGIN_S + t)) for t in range(120)]
    assert windows[40:] == [1] * 80
    assert live.told() == [("raise", "anomaly")]
    late_s = (live.transitions[0].at_us - live.now_us(75)) / S
    calm = Stepped(made(), 0.0, 60)
    calm.use(SessionRegistry(plants.models(), Runtime(), Metrics()).load("base"))
    for t in range(120):
        calm.go(t, plants.values(rows[t : t + 1], start_s=BEGIN_S + t))
    assert late_s == (calm.transitions[0].at_us - calm.now_us(75)) / S


@pytest.mark.parametrize("step", STEPS)
def test_no_sensor_is_silent_by_a_step_and_a_silent_one_is_found_in_time(step: float) -> None:
    flow = Template({Name("flow"): Signal(source="bus"), Name("pressure"): Signal(source="bus")})
    live = Stepped(made(flow), step, 20)
    for t in range(120):
        signals = [0, 1] if t < 50 else [0]
        live.go(t, columns(signals, [(BEGIN_S + t) * S] * len(signals), [float(t)] * len(signals)))
        if t < 79:
            assert live.told() == []
    assert live.told() == [("raise", "sensor_stale")]


@pytest.mark.parametrize("step", STEPS)
def test_the_delays_of_alarms_end_when_they_would_have(step: float) -> None:
    """An on-delay that began before the step, and an off-delay after it."""
    rule = AlarmRule(on_delay=Duration(10.0), off_delay=Duration(30.0))
    flow = Template({Name("flow"): Signal(source="bus")}, quality_alarm=rule)
    live = Stepped(made(flow), step, 20)
    found: dict[str, int] = {}
    for t in range(120):
        bad = 15 <= t < 40
        live.go(t, columns([0], [(BEGIN_S + t) * S], [NAN if bad else float(t)], BAD * bad))
        for one in live.transitions[len(found) :]:
            found[str(one.kind)] = t
    assert found == {"raise": 25, "clear": 70}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_back_and_forth_tells_every_alarm_once(step: float) -> None:
    live = Stepped(made(), step, 60)
    live.use(SessionRegistry(plants.models(), Runtime(), Metrics()).load("base"))
    rows = plants.fault(200, 50)
    for t in range(200):
        if t == 150:
            live.step_us = 0
        live.go(t, plants.values(rows[t : t + 1], start_s=BEGIN_S + t))
    assert live.told() == [("raise", "anomaly")]


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_learning_goes_on_without_a_break(step: float) -> None:
    template = Template(
        {Name(name): Signal(source="bus") for name in plants.INPUTS}, learn=Learn(auto=True)
    )
    live = Stepped(made(template), step, 60)
    asset = live.plant.assets["any"]
    assert live.pipeline.learning.learn_asset(asset, template.learn or Learn()) == ""
    rows = plants.healthy(120, seed=1)
    for t in range(120):
        live.go(t, plants.values(rows[t : t + 1], start_s=BEGIN_S + t))
    kept = live.pipeline.learning["pump"].rows()["any"]
    assert len(kept) == 120
    assert np.isfinite(kept).all()


def test_what_was_on_its_way_at_the_step_is_moved_too() -> None:
    live = Stepped(made(Template({Name("flow"): Signal(source="bus")})), -3600.0, 20)
    for t in range(20):
        live.go(t, columns([0], [(BEGIN_S + t) * S], [1.0]))
    old_us = live.begin_us + 19_900_000
    live.pipeline.close_windows(
        columns([0], [old_us], [2.0]), now_us=live.now_us(20), monotonic_s=20.0
    )
    assert live.pipeline.watch.time_us[0] == old_us - 3600 * S
    assert live.pipeline.watch.value[0] == 2.0


def test_a_source_with_a_time_of_its_own_does_not_move() -> None:
    live = Stepped(
        made(Template({Name("flow"): Signal(source="bus")}), time=TimeOf.SOURCE), 3600.0, 20
    )
    at_us = live.begin_us
    for t in range(40):
        at_us += S
        live.pipeline.close_windows(
            columns([0], [at_us], [1.0]), now_us=live.now_us(t), monotonic_s=t
        )
    assert live.pipeline.signals.time.now_us(39)[0] == at_us


def test_a_cooldown_that_began_before_the_step_ends_when_it_would_have() -> None:
    rule = AlarmRule(off_delay=Duration(0.0), cooldown=Duration(60.0))
    live = Stepped(
        made(Template({Name("flow"): Signal(source="bus")}, quality_alarm=rule)), -3600.0, 20
    )
    told: list[tuple[str, int]] = []
    for t in range(120):
        bad = 5 <= t < 8 or (t >= 25 and t % 2 == 1)
        live.go(t, columns([0], [(BEGIN_S + t) * S], [NAN if bad else float(t)], BAD * bad))
        told += [(str(one.kind), t) for one in live.transitions[len(told) :]]
    assert told[:3] == [("raise", 5), ("clear", 8), ("raise", 69)]


@pytest.mark.parametrize("step", STEPS)
def test_the_delay_of_a_limit_and_of_its_condition_end_when_they_would_have(step: float) -> None:
    limit = Limit(above=10.0, on_delay=Duration(12), off_delay=Duration(20))
    flow = Signal(source="bus", limits={Name("high"): limit})
    template = Template(
        {Name("flow"): flow, Name("running"): Signal(source="bus")},
        when=parse_condition("running > 0 for 15s"),
    )
    found = []
    for at, by in ((1000, 0.0), (20, step)):
        live = Stepped(made(template), by, at)
        told: list[tuple[str, int]] = []
        for t in range(120):
            load = 20.0 if t < 60 else 5.0
            at_us = (BEGIN_S + t) * S
            live.go(t, columns([0, 1], [at_us, at_us], [load + t / 1000, float(t > 5)]))
            told += [(str(one.kind), t) for one in live.transitions[len(told) :]]
        found.append(told)
    assert [kind for kind, _ in found[0]] == ["raise", "clear"]
    assert found[1] == found[0]
