"""Machines that are stopped on purpose, where a config reloads, a clock steps, or one learns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
from live_plants import BEGIN_S, NOTHING, Live
from plants import S

from edge_agent.clock import FakeClock
from edge_agent.config.conditions import parse_condition
from edge_agent.config.limits import Level, Limit
from edge_agent.config.schema import Asset, Learn, Signal, Template, Uncertain
from edge_agent.config.types import Duration, Name
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.detection.stops import STOPPED
from edge_agent.messages import AlarmState
from edge_agent.ops.metrics import Metrics
from edge_agent.values import BAD, UNCERTAIN, columns

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.values import Columns

LOAD, RUN = 0, 1
HIGH = {Name("high"): Limit(limit=Level(7.0), off_delay=Duration(0))}


def config(**load: Any) -> Config:
    """One machine with a limit on its load and a flag that reports only changes."""
    signals = {
        Name("load"): Signal(source="bus", limits=HIGH, **load),
        Name("run"): Signal(source="plc"),
    }
    template = Template(signals, when=parse_condition("run > 0 for 2s"))
    return plants.config(
        sources={"bus": plants.Sampled(), "plc": plants.Subscribed()},
        templates={"pump": template},
        assets={"any": Asset(Name("pump"))},
    )


def at(t: float, load: float | None = None, run: float | None = None, status: int = 0) -> Columns:
    """Values of one time."""
    given = [(LOAD, load), (RUN, run)]
    rows = [(signal, value) for signal, value in given if value is not None]
    if not rows:
        return NOTHING
    time_us = [round((BEGIN_S + t) * S)] * len(rows)
    signals, values = zip(*rows, strict=True)
    return columns(signals, time_us, values, status)


def told(live: Live) -> list[tuple[str, int]]:
    return [(str(one.kind), one.at_us // S - BEGIN_S) for one in live.transitions]


def drive(live: Live, begin: int, end: int, load: float) -> None:
    """A value of the load each second."""
    for t in range(begin, end):
        live.turn(t, at(t, load))


def test_after_a_reload_limits_are_judged_although_the_flag_does_not_come_again() -> None:
    """What was known of a condition goes on."""
    old, new = Live(config()), Live(config())
    old.turn(0, at(0, 5.0, 1.0))
    drive(old, 1, 10, 5.0)
    new.pipeline.adopt_state(old.pipeline)
    drive(new, 10, 20, 8.0)
    assert told(new) == [("raise", 10)]


def test_after_a_restart_what_rested_is_judged_when_the_machine_runs_again() -> None:
    """A suppression of ours is known as ours from the store."""
    before = Live(config())
    before.turn(0, at(0, 8.0, 1.0))
    drive(before, 1, 10, 8.0)
    before.turn(10, at(10, 8.0, 0.0))
    drive(before, 11, 15, 0.0)
    (alarm,) = before.alarms.all()
    assert (alarm.state, alarm.suppressed_by) == (AlarmState.SUPPRESSED, STOPPED)
    after = Live(config(), [replace(alarm)])
    after.pipeline.follow_alarms(BEGIN_S * S)
    after.turn(20, at(20, 0.0, 0.0))
    assert told(after) == []
    after.turn(21, at(21, 8.0, 1.0))
    drive(after, 22, 30, 8.0)
    assert told(after) == [("unsuppress", 23)]
    assert after.alarms.all()[0].state is AlarmState.UNACK


def test_what_is_suppressed_by_hand_stays_so() -> None:
    live = Live(config())
    live.turn(0, at(0, 8.0, 1.0))
    drive(live, 1, 10, 8.0)
    live.alarms.apply_command("suppress", "any.load.high", "ann")
    live.turn(10, at(10, 8.0, 0.0))
    live.turn(15, at(15, 8.0, 1.0))
    drive(live, 16, 25, 8.0)
    assert told(live) == [("raise", 2)]
    assert live.alarms.all()[0].suppressed_by == "ann"


def test_a_clock_that_is_set_back_leaves_the_machine_judged() -> None:
    """A flag that reports only changes is not sent again for it."""
    live = Live(config())
    live.turn(0, at(0, 5.0, 1.0))
    drive(live, 1, 10, 5.0)
    for t in range(10, 100):  # the source's clock is now an hour behind
        live.turn(t, at(t - 3600, 5.0 if t < 90 else 8.0))
    assert [kind for kind, _ in told(live)] == ["raise"]
    assert live.pipeline.detection.stops.judge(0) == (1, "")


def test_uncertain_values_are_worth_what_the_config_says() -> None:
    """Used, bad, or no value at all: a limit sees what models see."""
    found = {}
    for worth in Uncertain:
        live = Live(config(uncertain=worth))
        live.turn(0, at(0, 5.0, 1.0))
        drive(live, 1, 10, 5.0)
        for t in range(10, 14):
            live.turn(t, at(t, 9.0, status=UNCERTAIN))
        live.turn(14, at(14, 9.0, status=BAD))
        found[worth.value] = "any.load.high" in {t.alarm.alarm_id for t in live.transitions}
        row = live.pipeline.detection.limits.shown(live.plant.signals[LOAD])["limits"][0]
        assert row["state"] == "not_judged"
    assert found == {"use": True, "hold": False, "bad": False}


def test_nothing_is_learned_while_a_machine_is_stopped() -> None:
    """Nor in the last moments before, of which the flag may know too late."""
    made = config()
    learn = Learn(auto=True, step=Duration(1), length=8, inputs=("load",), lateness=Duration(1))
    recorded = monitor_plant(made, Metrics(), FakeClock(), live=False)
    pipeline, refused = recorded.pipeline, []
    recorded.add_assets(lambda asset: refused.append(pipeline.learning.learn_asset(asset, learn)))
    assert set(refused) == {""}
    rows = [at(t, float(t), {0: 1.0, 30: 0.0, 60: 1.0}.get(t)) for t in range(100)]
    for values in rows:
        pipeline.close_windows(values)
    (learned,) = pipeline.learning["pump"].rows().values()
    seconds = np.unique(learned[~np.isnan(learned)]).astype(int).tolist()
    assert seconds[0] >= 3
    assert not set(range(29, 62)) & set(seconds)
    assert {20, 28, 70, 90} <= set(seconds)
