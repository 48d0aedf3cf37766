"""A link breaks and comes back: what comes late is scored as if it had come in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_plants import BEGIN_S, NOTHING, Live, sent
from plants import S
from tiny_versions import NAME as MEAN
from tiny_versions import mean

from edge_agent.config.limits import Limit
from edge_agent.config.schema import AlarmRule, Asset, ModelUse, Resample, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.signals.window_set import GAP, GOOD, HELD, MISSING, STALE, Layout
from edge_agent.signals.windows import Windows
from edge_agent.values import BAD_NO_COMMUNICATION, Columns, columns

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD_S = 30
LENGTH = 4
Told = dict[int, tuple[Any, Any]]  # by end of the window in s: the newest x and mark


def windows(*, hop: int = 1, resample: Resample = Resample.LAST, hold_s: int = HOLD_S) -> Windows:
    made = Windows(Layout(2, LENGTH, hop, S, 2 * S, (resample, resample)))
    made.add_asset([hold_s * S] * 2, [0, 0])
    return made


def write(made: Windows, values: list[tuple[int, int, float]], told: Told) -> list[int]:
    """Write (second, input, value) as one batch; returns the ends that were told again."""
    if not values:
        return []
    second, channel, value = (np.array(column) for column in zip(*values, strict=True))
    return keep(
        made.write_values(
            np.zeros(len(values), np.intp),
            channel,
            second.astype(np.int64) * S,
            value.astype(np.float32),
            np.full(len(values), GOOD, np.uint8),
        ),
        told,
    )


def nothing_told() -> Told:
    return {}


def tick(made: Windows, second: float, told: Told) -> list[int]:
    """Close by the clock."""
    to_us = np.array([round((second - 2) * S)])
    return keep(made.close_by_clock(np.zeros(1, np.intp), to_us), told)


def keep(found: list[Any], told: Told) -> list[int]:
    again = []
    for one in found:
        for i, end_us in enumerate(one.end_us.tolist()):
            told[end_us // S] = (one.x[i], one.mark[i])
            if one.again is not None and one.again[i]:
                again.append(end_us // S)
    return again


@st.composite
def outages(draw: st.DrawFn) -> list[tuple[list[tuple[int, int, float]], int]]:
    """Deliveries in order: the values, and for how long nothing comes after them."""
    second, number, found = 10, 0, []
    for _ in range(draw(st.integers(2, 8))):
        values = []
        for _ in range(draw(st.integers(1, 25))):
            second += draw(st.sampled_from([1, 1, 1, 2, 5]))
            for channel in sorted(draw(st.sets(st.integers(0, 1)))):
                number += 1
                values.append((second, channel, float(number)))
        found.append((values, draw(st.sampled_from([0, 3, 10, 40]))))
    return found


@settings(max_examples=150, deadline=None)
@given(outages(), st.integers(1, 5), st.sampled_from(list(Resample)))
def test_rows_that_time_has_closed_open_again_for_what_comes_late(
    deliveries: list[tuple[list[tuple[int, int, float]], int]], hop: int, resample: Resample
) -> None:
    """The newest window of each end is the one of the same values without any delay."""
    punctual, late = windows(hop=hop, resample=resample), windows(hop=hop, resample=resample)
    expected: Told = {}
    found: Told = {}
    for values, pause in deliveries:
        write(punctual, values, expected)
        write(late, values, found)
        newest = max((second for second, _, _ in values), default=10)
        for passed in range(0, pause, 2):  # the clock goes on beyond the next values
            tick(late, newest + passed, found)
    keep(punctual.close_all(), expected)
    keep(late.close_all(), found)
    assert late.late == 0
    for end, (x, mark) in expected.items():
        np.testing.assert_array_equal(found[end][0], x)
        np.testing.assert_array_equal(found[end][1], mark)


def test_windows_that_close_again_are_marked() -> None:
    made, told = windows(), nothing_told()
    for second in range(10, 20):
        write(made, [(second, 0, 1.0), (second, 1, 1.0)], told)
    assert tick(made, 25, told) == []
    assert max(told) == 23  # by the clock, 2 s late
    assert told[23][1].tolist() == [[HELD, HELD]] * LENGTH
    again = write(made, [(second, c, 9.0) for second in range(20, 30) for c in (0, 1)], told)
    assert again == [20, 21, 22, 23]
    assert told[23][0].tolist() == [[9.0, 9.0]] * LENGTH
    assert max(told) == 29


def test_a_silence_beyond_the_ring_is_settled() -> None:
    """What is in doubt is bounded: time goes on for hours, and later values find their rows."""
    made, told = windows(hold_s=10**6), nothing_told()
    write(made, [(10, 0, 1.0), (10, 1, 1.0)], told)
    for second in range(11, 3000):
        tick(made, second, told)
    write(made, [(3000, 0, 2.0), (3000, 1, 2.0), (3005, 0, 3.0), (3005, 1, 3.0)], told)
    assert sorted(told) == list(range(13, 3006))
    assert told[2990][0].tolist() == [[1.0, 1.0]] * LENGTH
    assert told[3000][0].tolist() == [[1.0, 1.0]] * 3 + [[2.0, 2.0]]


def test_a_value_before_a_cut_does_not_hold_after_it() -> None:
    made, told = windows(), nothing_told()
    for second in range(10, 15):
        write(made, [(second, 0, 1.0), (second, 1, 1.0)], told)
    made.cut(0, 1, 15 * S)
    for second in range(15, 25):
        write(made, [(second, 0, 1.0)], told)
    assert told[15][1][-1].tolist() == [GOOD, HELD]
    assert told[16][1][-1].tolist() == [GOOD, STALE]
    write(made, [(25, 0, 1.0), (25, 1, 1.0), (26, 0, 1.0), (27, 0, 1.0), (29, 0, 1.0)], told)
    assert told[26][1].tolist() == [[GOOD, STALE]] * 2 + [[GOOD, GOOD], [GOOD, HELD]]


def test_values_of_one_source_open_rows_that_another_one_has_closed() -> None:
    """One of two links is down for 20 s; its values of that time come while the other goes on."""
    made, told = windows(), nothing_told()
    for second in range(10, 15):
        write(made, [(second, 0, 1.0), (second, 1, 1.0)], told)
    made.cut(0, 1, 14 * S)
    made.wait_for(0, 1, 1 << 60)
    for second in range(15, 35):
        write(made, [(second, 0, 1.0)], told)
    assert told[30][1][-1].tolist() == [GOOD, STALE]
    made.wait_for(0, 1, 34 * S)
    again = write(made, [(second, 1, 5.0) for second in range(15, 25)], told)
    again += write(made, [(second, 1, 5.0) for second in range(25, 35)], told)
    write(made, [(35, 0, 1.0), (35, 1, 5.0)], told)
    assert set(range(15, 33)) <= set(again)
    for end in range(18, 35):
        assert told[end][0].tolist() == [[1.0, 5.0]] * LENGTH, end
        assert (told[end][1] == GOOD).all(), end


def test_a_pause_that_is_not_usual_is_marked() -> None:
    made, told = windows(), nothing_told()
    made.set_hold(0, 0, HOLD_S * S, 3 * S)
    made.set_hold(0, 1, HOLD_S * S, 3 * S)
    write(made, [(10, 0, 1.0), (10, 1, 1.0)], told)
    tick(made, 18, told)
    assert told[16][1][:, 0].tolist() == [HELD, GAP, GAP, GAP]


# -- the whole path --------------------------------------------------------------------------------


class Plant(Live):
    """One asset with a model (mean of 8 rows over two inputs, limit 20) and a limit of 20."""

    def __init__(self, *, loads: bool = True) -> None:
        limit = Limit(above=20.0, on_delay=Duration(2.0), off_delay=Duration(1.0))
        signals = {
            Name("flow"): Signal(
                source="bus", limits={Name("high"): limit}, stale_after=Duration(30.0)
            ),
            Name("pressure"): Signal(source="bus", stale_after=Duration(30.0)),
        }
        rule = AlarmRule(limit=20.0, on_delay=Duration(0.0), off_delay=Duration(1.0))
        use = ModelUse(Name(MEAN), lateness=Duration(1.0), alarm=rule)
        template = Template(signals, (use,))
        super().__init__(
            plants.config(templates={"pump": template}, assets={"any": Asset(Name("pump"))})
        )
        self.pipeline.deployments.add_model(mean())
        (self.asset,) = self.plant.assets.values()
        self.wished = use
        if loads:
            assert not self.pipeline.use_model(self.asset, use)

    def run(
        self,
        values: Callable[[int], float],
        *,
        seconds: int = 120,
        away: tuple[int, int] = (0, 0),
        unnoticed: int = 0,
        is_told: bool = True,
    ) -> None:
        """A value a second of each input; away: from when to when the link is down.

        unnoticed: for how long the link is already back before it is known to be. is_told: False
        for a device that stores its values while our own link is up.
        """
        waiting: list[Columns] = []
        for second in range(seconds):
            now = columns([0, 1], [(BEGIN_S + second) * S] * 2, [values(second)] * 2)
            down = away[0] <= second < away[1]
            if is_told and away[1] and second in {away[0], away[1] + unnoticed}:
                lost = {"bus"} if down else set()
                self.pipeline.follow_links(lost, {"bus"}, {"bus"}, float(second))
            if away[0] - 3 <= second < away[1] and away[1]:  # 3 s until it is noticed
                waiting.append(now)
                now = NOTHING
            elif waiting:
                for step in range(4):  # time passes before it arrives, in two parts
                    self.turn(second + step / 10)
                self.turn(second + 0.4, Columns.concat(waiting[:4]))
                self.turn(second + 0.5, Columns.concat([*waiting[4:], now]))
                waiting, now = [], NOTHING
            self.turn(second + 0.6, now)
            self.turn(second + 0.9)

    def changes(self, name: str) -> list[tuple[str, int]]:
        """Kind and second of each transition of the alarm whose id ends so."""
        return [
            (str(t.kind), t.at_us // S - BEGIN_S)
            for t in self.transitions
            if t.alarm.alarm_id.endswith(name)
        ]


def spell(second: int) -> float:
    """A fault of 20 s."""
    return 40.0 if 50 <= second < 70 else 10.0 + second % 3


def steady(_second: int) -> float:
    return 10.0


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.mark.parametrize("away", [(40, 80), (45, 60), (60, 65), (52, 90)])
def test_a_fault_within_an_outage_is_told_late(away: tuple[int, int]) -> None:
    """The alarms are those of a link that never broke: raised, cleared, at the same times."""
    usual, late = Plant(), Plant()
    usual.run(spell)
    late.run(spell, away=away)
    for name in (MEAN, "flow.high"):
        assert usual.changes(name), usual.transitions
        assert late.changes(name) == usual.changes(name)


@pytest.mark.parametrize("away", [(45, 60), (45, 90)])
def test_what_a_device_has_stored_is_told_late(away: tuple[int, int]) -> None:
    """No link of ours was down; after 30 s the signals are stale, and then their values come."""
    usual, late = Plant(), Plant()
    usual.run(spell)
    late.run(spell, away=away, is_told=False)
    for name in (MEAN, "flow.high"):
        assert late.changes(name) == usual.changes(name)
    raised = next(t for t in late.transitions if t.alarm.alarm_id.endswith(MEAN))
    assert sent(raised)["window"]["replayed"] is True


@pytest.mark.parametrize("unnoticed", [0, 2])
def test_what_was_kept_is_marked_as_late(plant: Plant, unnoticed: int) -> None:
    plant.run(spell, away=(40, 80), unnoticed=unnoticed)
    raised = next(t for t in plant.transitions if t.alarm.alarm_id.endswith(MEAN))
    data = sent(raised)
    assert data["window"]["replayed"] is True
    assert data["window"]["quality"] == "good"
    assert "told late: of 1970-01-01 00:17:3" in data["message"]["en"]


def test_what_comes_in_time_is_not(plant: Plant) -> None:
    plant.run(lambda second: spell(second - 40), seconds=140, away=(20, 40))
    raised = next(t for t in plant.transitions if t.alarm.alarm_id.endswith(MEAN))
    assert sent(raised)["window"]["replayed"] is False


def test_no_row_is_closed_while_the_link_is_down(plant: Plant) -> None:
    """Nor is an alarm of a limit raised, or a delay over, by a value of before the outage."""
    plant.run(steady, seconds=40)
    (deployment,) = plant.pipeline.deployments
    plant.turn(40.0, columns([0, 1], [(BEGIN_S + 40) * S] * 2, [40.0, 40.0]))
    plant.pipeline.follow_links({"bus"}, {"bus"}, (), 40.2)
    scored = int(deployment.scored_us[0])
    for second in range(41, 300):
        plant.turn(float(second))
    assert int(deployment.scored_us[0]) == scored
    assert plant.changes("flow.high") == []


def test_a_source_that_never_comes_back_stops_no_limit_of_another() -> None:
    """A machine with two links: the value of the one that is up holds, and its delay elapses."""
    limit = Limit(above=20.0, on_delay=Duration(2.0), off_delay=Duration(1.0))
    signals = {
        Name("flow"): Signal(source="plc", limits={Name("high"): limit}),
        Name("pressure"): Signal(source="bus"),
    }
    sources = {"plc": plants.Subscribed(), "bus": plants.Sampled()}
    one = Live(
        plants.config(
            sources=sources,
            templates={"pump": Template(signals)},
            assets={"any": Asset(Name("pump"))},
        )
    )
    one.pipeline.follow_links({"bus"}, {"bus"}, (), 0.0)
    one.turn(1.0, columns([0], [(BEGIN_S + 1) * S], [40.0]))
    for second in range(2, 10):
        one.turn(float(second))
    assert [str(t.kind) for t in one.transitions if "flow" in t.alarm.alarm_id] == ["raise"]


def test_a_gap_that_nothing_fills_is_not_good(plant: Plant) -> None:
    """The other side has kept nothing: no window is scored with values of before the outage."""
    plant.run(steady, seconds=40)
    plant.pipeline.follow_links({"bus"}, {"bus"}, (), 40.0)
    for second in range(40, 60):
        plant.turn(float(second))
    plant.pipeline.follow_links((), {"bus"}, (), 60.0)
    (deployment,) = plant.pipeline.deployments
    scored = int(deployment.scored_us[0])
    for second in range(60, 63):
        plant.turn(second + 0.5, columns([0, 1], [(BEGIN_S + second) * S] * 2, [10.0] * 2))
    assert int(deployment.scored_us[0]) <= scored + 1 * S


@pytest.mark.parametrize("loaded", [45, 65])
def test_a_model_that_is_loaded_after_a_cut_knows_of_it(loaded: int) -> None:
    """A value of before the outage does not hold after it, in its windows either."""
    plant = Plant(loads=False)
    recent = columns([0, 1], [(BEGIN_S + 39) * S] * 2, [10.0] * 2)
    plant.run(steady, seconds=40)
    plant.pipeline.follow_links({"bus"}, {"bus"}, (), 40.0)
    for second in range(40, 80):
        if second == 60:
            plant.pipeline.follow_links((), {"bus"}, (), 60.0)
        if second == loaded:
            deployments = plant.pipeline.deployments
            assert not deployments.use_model(plant.asset, plant.wished, recent=recent)
        both = second >= 72  # until then one of the inputs sends nothing
        now = columns([0, 1], [(BEGIN_S + second) * S] * 2, [10.0] * 2)
        plant.turn(second + 0.5, now.where(now.signal <= int(both)) if second >= 60 else NOTHING)
        (scored,) = [int(one.scored_us[0]) for one in plant.pipeline.deployments] or [0]
        assert both or scored <= (BEGIN_S + 40) * S
    assert scored > (BEGIN_S + 72) * S


def test_a_lost_path_is_a_cut_and_no_row(plant: Plant) -> None:
    """BadNoCommunication says that nothing is known; values of that time may still come."""
    plant.run(steady, seconds=40)
    at_us = (BEGIN_S + 40) * S
    lost = np.array([BAD_NO_COMMUNICATION] * 2, np.uint32)
    plant.turn(
        41.0, Columns(np.array([0, 1], np.int32), np.array([at_us] * 2), np.full(2, np.nan), lost)
    )
    (deployment,) = plant.pipeline.deployments
    assert int(deployment.scored_us[0]) <= at_us
    for second in range(41, 60):
        plant.turn(second + 0.5, columns([0, 1], [(BEGIN_S + second) * S] * 2, [10.0] * 2))
    assert int(deployment.scored_us[0]) >= at_us + 15 * S


def test_a_device_that_was_off_line_tells_its_stored_values_late(plant: Plant) -> None:
    """The source reports the lost path (Sparkplug NDEATH); its history comes ten minutes later."""
    plant.run(steady, seconds=40)
    lost = np.array([BAD_NO_COMMUNICATION] * 2, np.uint32)
    at_us = np.array([(BEGIN_S + 40) * S] * 2)
    plant.turn(40.5, Columns(np.array([0, 1], np.int32), at_us, np.full(2, np.nan), lost))
    for second in range(41, 640):
        plant.turn(float(second))
    assert plant.changes(MEAN) == []
    rows = [
        columns([0, 1], [(BEGIN_S + s) * S] * 2, [40.0 if 100 <= s < 130 else 10.0] * 2)
        for s in range(41, 640)
    ]
    plant.turn(640.1, Columns.concat(rows[:300]))
    plant.turn(640.2, Columns.concat(rows[300:]))
    assert [kind for kind, _ in plant.changes(MEAN)] == ["raise", "clear"]
    raised = next(t for t in plant.transitions if t.alarm.alarm_id.endswith(MEAN))
    assert sent(raised)["window"]["replayed"] is True


def test_a_stored_start_is_told_late() -> None:
    """What the broker kept while the service was stopped is scored when it starts, and late."""
    plant = Plant()
    plant.pipeline.follow_links({"bus"}, {"bus"}, (), 0.0)
    plant.turn(0.5)
    plant.pipeline.follow_links((), {"bus"}, {"bus"}, 1.0)
    rows = [(second, 40.0 if second > -30 else 10.0) for second in range(-60, 1)]
    stored = [columns([0, 1], [(BEGIN_S + s) * S] * 2, [v, v]) for s, v in rows]
    plant.turn(1.5, Columns.concat(stored))
    plant.turn(2.0)
    raised = next(t for t in plant.transitions if t.alarm.alarm_id.endswith(MEAN))
    assert sent(raised)["window"]["replayed"] is True


def test_missing_is_never_filled_before_the_first_value() -> None:
    made, told = windows(), nothing_told()
    write(made, [(10, 0, 1.0)], told)
    tick(made, 16, told)
    write(made, [(11, 1, 2.0), (12, 0, 2.0)], told)
    write(made, [(20, 0, 1.0), (20, 1, 1.0)], told)
    assert told[13][1][0].tolist() == [GOOD, MISSING]
    assert told[13][1][1].tolist() == [HELD, GOOD]
