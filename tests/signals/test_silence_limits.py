"""After how long a signal is stale, if nothing is told: from its own intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_plants import BEGIN_S, Live
from plants import S

from edge_agent.clock import NEVER
from edge_agent.config.schema import Asset, Signal, SourceTraits, Template
from edge_agent.config.types import Duration, Name
from edge_agent.signals.silence_limits import OBSERVED, UNKNOWN_US, SilenceLimits
from edge_agent.values import columns


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus that tells nothing: 30 s at least."""

    traits = SourceTraits(silence_s=30.0, finds_silence=True)


def live(**told: float) -> Live:
    signals = {Name(name): Signal(source="bus") for name in ("flow", "pressure")}
    if told:
        signals[Name("flow")] = Signal(source="bus", stale_after=Duration(told["flow"]))
    return Live(
        plants.config(
            templates={"pump": Template(signals)},
            assets={"any": Asset(Name("pump"))},
            sources={"bus": Bus()},
        )
    )


def feed(plant: Live, begin_s: float, n: int, step_s: float, signals: tuple[int, ...]) -> float:
    """n values of each signal, in a turn each, and a turn without values between; gives the end."""
    for t in begin_s + step_s * np.arange(n):
        time_us = [round((BEGIN_S + t) * S)] * len(signals)
        plant.turn(t, columns(list(signals), time_us, [t] * len(signals)))
        plant.turn(t + 0.9 * step_s)
    return begin_s + step_s * n


def quality(plant: Live) -> list[tuple[str, str]]:
    return [(str(t.kind), t.alarm.alarm_id) for t in plant.transitions]


@pytest.mark.parametrize("step_s", [0.05, 1.0, 20.0, 60.0, 180.0, 900.0])
def test_a_signal_that_comes_regularly_raises_nothing(step_s: float) -> None:
    """However rarely, from its first value on."""
    plant = live()
    feed(plant, 0.0, 40, step_s, (0, 1))
    assert quality(plant) == []
    stale_us = plant.pipeline.watch.silence.stale_us
    assert stale_us.tolist() == [max(30 * S, round(5 * step_s * S))] * 2


def test_one_that_stops_is_reported_by_its_own_interval() -> None:
    """One value a second: after 30 s, as if told; one in three minutes: after 15 minutes."""
    plant = live()
    end_s = 0.0
    for _ in range(20):
        feed(plant, end_s, 180, 1.0, (0,))
        plant.turn(end_s + 179.95, columns([1], [round((BEGIN_S + end_s + 179.95) * S)], [end_s]))
        end_s += 180.0
    assert quality(plant) == []
    plant.turn(end_s + 28.0)
    assert quality(plant) == []
    for t in np.arange(end_s + 28.0, end_s + 1000.0, 1.0):
        plant.turn(t)
    raised = [(one.alarm.alarm_id, one.at_us / S - BEGIN_S - end_s) for one in plant.transitions]
    (flow, flow_s), *rest = raised
    assert flow == "any.flow.quality"
    assert 29 < flow_s < 40
    assert all(at_s > 890 for _, at_s in rest)
    assert rest


def test_what_is_told_is_used() -> None:
    plant = live(flow=10.0)
    feed(plant, 0.0, 3, 20.0, (0, 1))
    assert ("raise", "any.flow.quality") in quality(plant)
    assert "any.pressure.quality" not in dict(quality(plant)).values()
    assert plant.pipeline.watch.silence.stale_us[0] == 10 * S


def test_a_signal_that_never_came_is_reported_after_a_quarter_of_an_hour() -> None:
    plant = live()
    for t in np.arange(0.0, UNKNOWN_US / S + 30, 1.0):
        plant.turn(t, columns([0], [round((BEGIN_S + t) * S)], [t]))
        if t <= UNKNOWN_US / S:
            assert quality(plant) == []
    assert quality(plant) == [("raise", "any.pressure.quality")]


def test_inputs_of_a_model_with_a_long_step_are_expected_as_rarely() -> None:
    """After a restart, before any of their own intervals is known; then theirs count."""
    plant = live()
    silence = plant.pipeline.watch.silence
    silence.expect([0], 3600 * S)
    assert silence.stale_us.tolist() == [5 * 3600 * S, UNKNOWN_US]
    feed(plant, 0.0, 30, 1.0, (0, 1))
    silence.expect([0], 3600 * S)
    assert silence.stale_us.tolist() == [30 * S, 30 * S]


def test_a_source_that_becomes_slower_is_reported_once() -> None:
    """From one value a second to one in five minutes; then it is as it should be."""
    plant = live()
    end_s = feed(plant, 0.0, 60, 1.0, (0, 1))
    feed(plant, end_s + 300.0, 40, 300.0, (0, 1))
    kinds = [kind for kind, alarm in quality(plant)]
    assert kinds.count("raise") == 1
    assert kinds[-1] == "clear"
    assert plant.pipeline.watch.silence.stale_us.tolist() == [1500 * S] * 2


def test_a_new_config_keeps_what_is_known() -> None:
    plant, other = live(), live()
    feed(plant, 0.0, 40, 180.0, (0, 1))
    other.pipeline.adopt_state(plant.pipeline)
    assert other.pipeline.watch.silence.stale_us.tolist() == [900 * S] * 2
    changes = list(other.pipeline.watch.silence.drain_changes())
    assert changes == [(row, 900 * S, 900 * S) for row in (0, 1)]  # its models learn the pauses


@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 30, 180, 3600)), st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_limits_do_not_depend_on_the_batches(seed: int, step_s: int, batch: int) -> None:
    """Values one by one, or many at once: the same limits, after every value."""
    random = np.random.default_rng(seed)
    signal = random.integers(0, 3, 120)
    time_us = np.cumsum(random.integers(1, 2 * step_s * S, 120))

    def run(size: int) -> list[int]:
        made = SilenceLimits()
        for _ in range(3):
            made.add(30 * S, is_least=True)
        last_us = np.full(3, NEVER, np.int64)
        found: list[int] = []
        for begin in range(0, 120, size):
            mine = slice(begin, begin + size)
            found += made.observe(signal[mine], time_us[mine], last_us).tolist()
            last_us[signal[mine]] = time_us[mine]
        return [*found, *made.stale_us.tolist()]

    assert run(batch) == run(1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4000))
@settings(max_examples=50, deadline=None)
def test_an_outage_among_the_first_values_does_not_count(seed: int, step_s: int) -> None:
    random = np.random.default_rng(seed)
    intervals = np.full(OBSERVED, step_s * S)
    intervals[random.integers(0, OBSERVED)] *= 1000
    times = np.concatenate([[S], S + np.cumsum(intervals)])
    made = SilenceLimits()
    made.add(30 * S, is_least=True)
    made.observe(np.zeros(len(times), np.intp), times, np.full(1, NEVER, np.int64))
    assert made.stale_us[0] == max(30, 5 * step_s) * S
