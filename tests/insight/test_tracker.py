"""The states and counts of machines: rules, PackML, gaps, short states, values that come late."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from line_support import STATES, Plant, S, at, calendar, machine, shift

from edge_agent.config.lines import Count, CountKind, LineMachine
from edge_agent.config.structs import parse_struct
from edge_agent.insight.counters import Counted, Counter
from edge_agent.insight.rules import PACKML
from edge_agent.insight.states import MachineState

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN = float("nan")
BEGIN = at("2026-03-02T06:00")
SHIFT = calendar(early=shift("06:00", "14:00", "09:00-09:15"), night=shift("22:00", "06:00"))
Row = tuple[str, str, int, float]


def made(text: str) -> LineMachine:
    return parse_struct(text, Path(__file__), LineMachine)


def stays_of(plant: Plant, asset: str = "M1") -> list[tuple[str, int, int]]:
    """State, begin and end in seconds after the begin, of one machine."""
    book = next(one for one in plant.book.machines if one.asset == asset)
    found = book.all_stays()
    return [(str(s), (a - BEGIN) // S, (b - BEGIN) // S) for s, a, b in found]


def ran(
    config: LineMachine, rows: Sequence[tuple[float, str, float]], to_s: int, **more: float
) -> Plant:
    """One machine with values (second, signal, value), evaluated up to a second."""
    plant = Plant({"M1": config}, SHIFT, BEGIN, **more)
    plant.feed([("M1", name, BEGIN + round(s * S), value) for s, name, value in rows])
    plant.book.finish(BEGIN + to_s * S)
    return plant


def test_the_first_rule_that_holds_wins() -> None:
    config = made(
        "states: [{state: down, when: State > 5}, {state: running, when: State > 1}]\n"
        "otherwise: planned"
    )
    plant = ran(config, [(0, "State", 9), (10, "State", 3), (20, "State", 0)], 30)
    assert stays_of(plant) == [("down", 0, 10), ("running", 10, 20), ("planned", 20, 30)]


def test_a_rule_sees_the_machine_beside_it() -> None:
    """Blocked is known only from the machine after it."""
    config = made(
        "states: [{state: blocked, when: State == 0 and M2.State == 7},"
        " {state: running, when: State > 0}]"
    )
    plant = Plant({"M1": config, "M2": machine()}, SHIFT, BEGIN)
    plant.feed([("M1", "State", BEGIN, 1), ("M2", "State", BEGIN, 1)])
    plant.feed([("M1", "State", BEGIN + 5 * S, 0), ("M2", "State", BEGIN + 9 * S, 7)])
    plant.book.finish(BEGIN + 20 * S)
    assert stays_of(plant) == [("running", 0, 5), ("idle", 5, 9), ("blocked", 9, 20)]


def test_an_unknown_signal_is_a_gap_only_if_the_answer_depends_on_it() -> None:
    """With a rule before it that holds, a bad signal changes nothing."""
    config = made("states: [{state: down, when: Rejects > 0}, {state: running, when: State > 0}]")
    rows = [(0, "Rejects", 0), (0, "State", 1), (10, "State", NAN), (20, "Rejects", 1)]
    plant = ran(config, rows, 30)
    assert stays_of(plant) == [("running", 0, 10), ("unknown", 10, 20), ("down", 20, 30)]


@pytest.mark.parametrize("number", range(1, 18))
def test_every_state_of_packml_is_in_the_table_once(number: int) -> None:
    assert sum(number in numbers for numbers in PACKML.values()) == 1


def test_packml_numbers_are_states_and_rules_come_first() -> None:
    """Suspended says only that the cause is outside; a rule tells where. 99 is no state."""
    config = made("packml: State\nstates: [{state: blocked, when: State == 5 and Rejects > 0}]")
    rows: list[tuple[float, str, float]] = [(0, "Rejects", 0)]
    rows += [*((10 * n, "State", v) for n, v in enumerate((6, 5, 9, 4, 99)))]
    plant = ran(config, [*rows, (15, "Rejects", 1)], 50)
    assert [one for one, _, _ in stays_of(plant)] == [
        *("running", "starved", "blocked", "down", "idle", "unknown"),
    ]


def test_a_signal_that_is_stale_is_a_gap_from_then_on() -> None:
    plant = ran(machine(), [(0, "State", 1), (5, "State", 1), (40, "State", 2)], 60, stale_s=10)
    assert stays_of(plant) == [
        *(("running", 0, 15), ("unknown", 15, 40), ("down", 40, 50), ("unknown", 50, 60)),
    ]


def test_a_state_that_is_too_short_is_left_out() -> None:
    """The state before goes on; one that lasts began when it began; a gap is never left out."""
    rows: list[tuple[float, str, float]] = [
        (0, "State", 1),
        (10, "State", 2),
        (12, "State", 1),
        (20, "State", 2),
    ]
    rows += [(21, "State", 4), (40, "State", NAN), (41, "State", 4)]
    plant = ran(machine("min_time: 3s"), rows, 50)
    assert stays_of(plant) == [
        *(("running", 0, 21), ("starved", 21, 40), ("unknown", 40, 41), ("starved", 41, 50)),
    ]


def counted(config: Count, *values: float) -> list[Counted]:
    counter = Counter(config)
    return [found for value in values if (found := counter.accept(value)) is not None]


@pytest.mark.parametrize(
    ("config", "values", "parts"),
    [
        (Count("c"), (10, 12, 12, 15), [2, 3]),
        (Count("c"), (100, 3, 5), [3, 2]),  # a reset
        (Count("c"), (100, 99, 101), [2]),  # somebody corrected it
        (Count("c", rolls_over_at=100), (98, 3), [5]),
        (Count("c", rolls_over_at=100), (40, 0, 4), [4]),  # too far from the end: a reset
        (Count("c", parts=4), (1, 2), [4]),
        (Count("c", CountKind.PULSE), (0, 1, 1, 0, 1, 0), [1, 1]),
        (Count("c", CountKind.PULSE, parts=2), (1, 0, 1), [2]),
    ],
)
def test_what_counts_as_parts(config: Count, values: list[float], parts: list[float]) -> None:
    assert [one.parts for one in counted(config, *values)] == parts


def test_the_increase_over_a_gap_is_parts_of_the_gap() -> None:
    assert counted(Count("c"), 5, NAN, 9, 10) == [
        Counted(4, over_gap=True),
        Counted(1, over_gap=False),
    ]


def day_of(seed: int) -> list[Row]:
    """A day of two machines: states, counts and gaps at random times."""
    lot = random.Random(seed)  # noqa: S311 (no secret)
    rows: list[Row] = []
    for asset in ("M1", "M2"):
        parts = 0.0
        for _ in range(300):
            at_us = BEGIN + lot.randrange(24 * 3600 * S)
            name = lot.choice(("State", "Parts", "Rejects", "Product"))
            if name == "State":
                value = float(lot.choice([*STATES.values(), NAN]))
            elif name == "Product":
                value = float(lot.randrange(3))
            else:
                parts = value = parts + lot.randrange(5)
            rows.append((asset, name, at_us, value))
    return rows


MORE = "min_time: 30s\nrejects: Rejects\nproduct: Product"


def closed_of(rows: list[list[Row]], step_s: float = 0.0) -> list[Any]:
    """The closed shifts after these batches; step_s: time that passes after each."""
    machines = {"M1": machine(MORE), "M2": machine(MORE)}
    plant = Plant(machines, SHIFT, BEGIN, stale_s=4000, late=86_400)
    closed: list[Any] = []
    for number, batch in enumerate(rows):
        now_us = BEGIN + round(number * step_s * S)
        plant.feed(batch, now_us)
        if step_s:
            closed += plant.book.advance(now_us)
    return [*closed, *plant.book.finish(BEGIN + 24 * 3600 * S)]


@pytest.mark.parametrize("seed", range(8))
def test_the_times_add_up_exactly_to_the_shift(seed: int) -> None:
    """Whatever happens: to the nanosecond, states, breaks and gaps are the shift."""
    for one in closed_of([day_of(seed)]):
        found = one.result["elements"]
        names = ("break", "planned", "gap", "apt", "aust", "adet", "adot")
        total = sum(round(found[f"{name}_s"] * 1e6) for name in names)
        assert total == round(found["shift_s"] * 1e6)
        losses = one.result["losses"]
        assert leaves(losses) == pytest.approx(losses["seconds"])


def leaves(node: dict[str, Any]) -> float:
    parts = node.get("parts")
    return sum(leaves(one) for one in parts) if parts else float(node["seconds"])


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_arrival_does_not_matter(seed: int) -> None:
    """All at once; shuffled; late by hours while the machines are evaluated: the same shifts."""
    rows = day_of(seed)
    lot = random.Random(seed + 100)  # noqa: S311
    shuffled = lot.sample(rows, len(rows))
    batches = [shuffled[n : n + 40] for n in range(0, len(rows), 40)]
    assert closed_of([rows]) == closed_of([shuffled]) == closed_of(batches)
    # Each value 0 to 4 hours late, evaluated up to now at each step of an hour.
    due: dict[int, list[Row]] = {}
    for row in rows:
        due.setdefault(int((row[2] - BEGIN) / (3600 * S)) + 1 + lot.randrange(4), []).append(row)
    late = [due.get(n, []) or [("M2", "Rework", BEGIN, 0.0)] for n in range(max(due) + 1)]
    assert closed_of(late, step_s=3600) == closed_of([[*rows, ("M2", "Rework", BEGIN, 0.0)]])


def test_a_late_value_corrects_the_open_shift_and_a_later_one_nothing() -> None:
    """Within `late` it counts; after that it is counted as too late."""
    plant = Plant({"M1": machine()}, SHIFT, BEGIN, late=600)
    plant.feed([("M1", "State", BEGIN, 1)])
    plant.book.advance(BEGIN + 500 * S)
    plant.feed([("M1", "State", BEGIN + 100 * S, 2), ("M1", "State", BEGIN + 200 * S, 1)])
    plant.book.advance(BEGIN + 520 * S)
    assert stays_of(plant)[:2] == [("running", 0, 100), ("down", 100, 200)]
    plant.book.advance(BEGIN + 2000 * S)
    plant.feed([("M1", "State", BEGIN + 300 * S, 2)])
    plant.book.advance(BEGIN + 2001 * S)
    (book,) = plant.book.machines
    assert book.tracker.too_late == 1
    assert "down" not in [state for state, a, _ in stays_of(plant) if a >= 250]


def test_a_shift_closes_when_no_late_value_can_change_it() -> None:
    """Ten minutes after its end, once."""
    plant = Plant({"M1": machine()}, SHIFT, BEGIN, late=600)
    plant.feed([("M1", "State", BEGIN, 1)])
    end_us = at("2026-03-02T14:00")
    assert plant.book.advance(end_us + 500 * S) == []
    (closed,) = plant.book.advance(end_us + 661 * S)
    assert (closed.result["shift"], closed.result["is_closed"]) == ("early", True)
    assert closed.result["elements"]["apt_s"] == 8 * 3600 - 900
    assert plant.book.advance(end_us + 800 * S) == []


def test_a_restart_continues_with_a_gap() -> None:
    """The sums and the counter go on; what was meanwhile is a gap, and its parts are told so."""
    plant = Plant({"M1": machine()}, SHIFT, BEGIN)
    plant.feed([("M1", "State", BEGIN, 1), ("M1", "Parts", BEGIN, 0)])
    plant.feed([("M1", "Parts", BEGIN + 900 * S, 200)])
    plant.book.advance(BEGIN + 1002 * S)
    saved = plant.book.machines[0].dump()
    again = Plant({"M1": machine()}, SHIFT, BEGIN + 1100 * S)
    again.book.machines[0].restore(saved, BEGIN + 1100 * S)
    again.feed([("M1", "State", BEGIN + 1100 * S, 1), ("M1", "Parts", BEGIN + 1100 * S, 220)])
    (found,) = again.book.finish(at("2026-03-02T14:00"))
    elements = found.result["elements"]
    assert (elements["gap_s"], elements["pq"], elements["pq_gap"]) == (100, 200, 20)
    assert elements["apt_s"] == 8 * 3600 - 900 - 100


def test_what_the_other_side_has_kept_is_no_gap() -> None:
    """A link that was lost is a gap, until it is known that nothing changed meanwhile."""
    plant = Plant({"M1": machine()}, SHIFT, BEGIN)
    plant.feed([("M1", "State", BEGIN, 1), ("M1", "State", BEGIN + 60 * S, NAN)])
    plant.book.advance(BEGIN + 200 * S)
    assert stays_of(plant)[-1][0] == "unknown"
    plant.book.void([plant.number["M1", "State"]], BEGIN + 60 * S)
    plant.book.advance(BEGIN + 201 * S)
    assert [state for state, _, _ in stays_of(plant)] == ["running"]


def test_a_machine_that_is_faster_than_its_ideal_cycle_is_told() -> None:
    """The config is wrong, not the machine: it is shown, and not cut at 100 %."""
    rows = [("M1", "State", BEGIN, 1.0), ("M1", "Parts", BEGIN, 0.0)]
    plant = Plant({"M1": machine()}, SHIFT, BEGIN)
    plant.feed([*rows, ("M1", "Parts", BEGIN + 990 * S, 500)])
    plant.book.advance(BEGIN + 1002 * S)
    current = plant.book.current("main")["current"]
    assert current["is_ideal_cycle_wrong"]
    assert current["indicators"]["effectiveness"] == pytest.approx(2.0)
    speed = next(n for n in running(current["losses"]) if n["name"] == "reduced_speed")
    assert speed["seconds"] == pytest.approx(-1000)


def running(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tree["parts"][0]["parts"][0]["parts"]
    return found


def test_unknown_is_the_state_before_the_first_value() -> None:
    plant = Plant({"M1": machine()}, SHIFT, BEGIN)
    assert plant.book.machines[0].state is MachineState.UNKNOWN
