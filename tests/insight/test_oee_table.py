"""OEE equals a table that was calculated by hand, to 0.01 %; docs/lines.md has the same table.

Each case has its arithmetic in a comment, in minutes (PBT, APT), seconds (PRI) and parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from line_support import STATES, Plant, at, calendar, machine, shift

Row = tuple[str, str, int, float]
NAN = float("nan")


@dataclass(frozen=True)
class Case:
    """A shift: its times, what happens, and what a person calculated. percent: OEE, A, E, Q."""

    shift: tuple[str, ...]
    begin: str
    end: str
    states: list[tuple[str, str]]
    parts: list[tuple[str, float]]
    percent: tuple[float, float, float, float]
    minutes: dict[str, float]
    more: str = ""
    others: list[tuple[str, str, float]] = field(default_factory=list)
    gap: float = 0.0


D = "2026-03-02T"  # a Monday
CASES = {
    # Shift 480, breaks 15 + 30: PBT 435. Down 35, setup 20, starved 10: APT 370 (of them nothing
    # in breaks: the machine rests). PQ 5000, 100 scrap. A = 370/435 = 85.0575 %.
    # E = 4 s x 5000 / (370 x 60 s) = 20000/22200 = 90.0901 %. Q = 4900/5000 = 98 %.
    # OEE = 4 x 4900 / (435 x 60) = 19600/26100 = 75.0958 %.
    "breaks": Case(
        ("06:00", "14:00", "09:00-09:15", "12:00-12:30"),
        f"{D}06:00",
        f"{D}14:00",
        [
            (f"{D}06:00", "setup"),
            (f"{D}06:20", "running"),
            (f"{D}09:00", "idle"),
            (f"{D}09:15", "running"),
            (f"{D}10:00", "down"),
            (f"{D}10:35", "running"),
            (f"{D}12:00", "idle"),
            (f"{D}12:30", "running"),
            (f"{D}13:50", "starved"),
        ],
        [(f"{D}06:00", 0), (f"{D}13:50", 5000)],
        (75.0958, 85.0575, 90.0901, 98.0),
        {"pbt": 435, "apt": 370, "aust": 20, "adet": 35, "adot": 10, "break": 45, "gap": 0},
        "rejects: Rejects",
        [("Rejects", f"{D}06:00", 0), ("Rejects", f"{D}13:40", 100)],
    ),
    # 22:00 to 06:00: 480, break 01:00-01:30: PBT 450. Down 23:50 to 00:20 = 30: APT 420.
    # PQ 6000. A = 420/450 = 93.3333 %. E = 24000/25200 = 95.2381 %. OEE = 24000/27000 = 88.8889 %.
    "midnight": Case(
        ("22:00", "06:00", "01:00-01:30"),
        f"{D}22:00",
        "2026-03-03T06:00",
        [
            (f"{D}22:00", "running"),
            (f"{D}23:50", "down"),
            ("2026-03-03T00:20", "running"),
            ("2026-03-03T01:00", "idle"),
            ("2026-03-03T01:30", "running"),
        ],
        [(f"{D}22:00", 100), ("2026-03-03T05:59", 6100)],
        (88.8889, 93.3333, 95.2381, 100.0),
        {"pbt": 450, "apt": 420, "adet": 30, "break": 30, "gap": 0},
    ),
    # Spring: 02:00 becomes 03:00, so 22:00 to 06:00 is 420. Break 30: PBT 390. Always running but
    # for the break. PQ 5460: E = 21840/23400 = 93.3333 %.
    "spring": Case(
        ("22:00", "06:00", "01:00-01:30"),
        "2026-03-28T22:00",
        "2026-03-29T06:00",
        [
            ("2026-03-28T22:00", "running"),
            ("2026-03-29T01:00", "idle"),
            ("2026-03-29T01:30", "running"),
        ],
        [("2026-03-28T22:00", 0), ("2026-03-29T05:00", 5460)],
        (93.3333, 100.0, 93.3333, 100.0),
        {"shift": 420, "pbt": 390, "apt": 390, "break": 30, "gap": 0},
    ),
    # Autumn: 03:00 becomes 02:00 again: 540. The break 02:15-02:45 is in the hour that occurs
    # twice: it keeps its 30, PBT 510. Down from 05:00 to 05:51 = 51: APT 459, A = 90 %.
    # PQ 6120: E = 24480/27540 = 88.8889 %. OEE = 80 %.
    "autumn": Case(
        ("22:00", "06:00", "02:15-02:45"),
        "2026-10-24T22:00",
        "2026-10-25T06:00",
        [
            ("2026-10-24T22:00", "running"),
            ("2026-10-25T02:15+02:00", "idle"),
            ("2026-10-25T02:45+02:00", "running"),
            ("2026-10-25T05:00", "down"),
            ("2026-10-25T05:51", "running"),
        ],
        [("2026-10-24T22:00", 0), ("2026-10-25T05:59", 6120)],
        (80.0, 90.0, 88.8889, 100.0),
        {"shift": 540, "pbt": 510, "apt": 459, "adet": 51, "break": 30, "gap": 0},
    ),
    # No data from 08:00 to 09:00. The counter shows 1500 at 08:00 and 2250 at 09:00: 750 parts of
    # the gap. Known: 480 - 60 = 420 = PBT. Down 42: APT 378, A = 90 %. Parts in the known time:
    # 1500 + 3900 = 5400. E = 21600/22680 = 95.2381 %. OEE = 85.7143 %. Coverage 420/480.
    "gap": Case(
        ("06:00", "14:00"),
        f"{D}06:00",
        f"{D}14:00",
        [
            (f"{D}06:00", "running"),
            (f"{D}08:00", "unknown"),
            (f"{D}09:00", "running"),
            (f"{D}10:00", "down"),
            (f"{D}10:42", "running"),
        ],
        [
            (f"{D}06:00", 0),
            (f"{D}07:59", 1500),
            (f"{D}08:00", NAN),
            (f"{D}09:00", 2250),
            (f"{D}13:59", 6150),
        ],
        (85.7143, 90.0, 95.2381, 100.0),
        {"pbt": 420, "apt": 378, "adet": 42, "gap": 60},
        gap=750,
    ),
    # PBT 480, always running. PQ 6000 = 24000/28800 = 83.3333 %. 120 scrap, 180 rework:
    # GQ 5700, Q = 95 %. OEE = 22800/28800 = 79.1667 %.
    "rework": Case(
        ("06:00", "14:00"),
        f"{D}06:00",
        f"{D}14:00",
        [(f"{D}06:00", "running")],
        [(f"{D}06:00", 0), (f"{D}13:59", 6000)],
        (79.1667, 100.0, 83.3333, 95.0),
        {"pbt": 480, "apt": 480, "gap": 0},
        "rejects: Rejects\nrework: Rework",
        [
            ("Rejects", f"{D}06:00", 10),
            ("Rejects", f"{D}13:00", 130),
            ("Rework", f"{D}06:00", 0),
            ("Rework", f"{D}13:00", 180),
        ],
    ),
    # A 16 bit counter: 65000 at 06:00, 65436 at 07:00 (436), 500 at 08:00 (600 over 65536), 2464
    # at 09:00 (1964); a reset, then 3000: 6000 in all. E = 24000/28800 = 83.3333 %.
    "rollover": Case(
        ("06:00", "14:00"),
        f"{D}06:00",
        f"{D}14:00",
        [(f"{D}06:00", "running")],
        [
            (f"{D}06:00", 65000),
            (f"{D}07:00", 65436),
            (f"{D}08:00", 500),
            (f"{D}09:00", 2464),
            (f"{D}10:00", 0),
            (f"{D}13:00", 3000),
        ],
        (83.3333, 100.0, 83.3333, 100.0),
        {"pbt": 480, "apt": 480, "gap": 0},
        "parts: {signal: Parts, rolls_over_at: 65536}",
    ),
    # Product 7 (4 s): 3000 parts; setup 10:00-10:30; product 8 (6 s): 1800 parts, 90 scrap.
    # PBT 480, APT 450, A = 93.75 %. Ideal 3000 x 4 + 1800 x 6 = 22800 s: E = 22800/27000 =
    # 84.4444 %. Q = 4710/4800 = 98.125 %. OEE = A x E x Q = 77.6823 %.
    "products": Case(
        ("06:00", "14:00"),
        f"{D}06:00",
        f"{D}14:00",
        [(f"{D}06:00", "running"), (f"{D}10:00", "setup"), (f"{D}10:30", "running")],
        [(f"{D}06:00", 0), (f"{D}09:59", 3000), (f"{D}13:59", 4800)],
        (77.6823, 93.75, 84.4444, 98.125),
        {"pbt": 480, "apt": 450, "aust": 30, "gap": 0},
        "rejects: Rejects\nproduct: Product\n"
        'products: {"7": {ideal_cycle: 4s}, "8": {ideal_cycle: 6s}}',
        [
            ("Product", f"{D}06:00", 7),
            ("Product", f"{D}10:15", 8),
            ("Rejects", f"{D}06:00", 0),
            ("Rejects", f"{D}13:00", 90),
        ],
    ),
}


def rows_of(case: Case) -> list[Row]:
    found: list[Row] = []
    for moment, state in case.states:
        found.append(("M1", "State", at(moment), STATES.get(state, NAN)))
    found += [("M1", "Parts", at(moment), value) for moment, value in case.parts]
    found += [("M1", name, at(moment), value) for name, moment, value in case.others]
    return found


def plant_of(case: Case) -> Plant:
    times = calendar(only=shift(*case.shift))
    return Plant({"M1": machine(case.more)}, times, at(case.begin))


@pytest.mark.parametrize("name", CASES)
def test_the_figures_are_those_of_the_table(name: str) -> None:
    """OEE, availability, effectiveness and quality to 0.01 %, and the minutes exactly."""
    case = CASES[name]
    found = plant_of(case).result(rows_of(case), at(case.end))
    shown = [
        100 * found["indicators"][one]
        for one in ("oee", "availability", "effectiveness", "quality_ratio")
    ]
    assert shown == pytest.approx(case.percent, abs=0.01)
    minutes = {one: found["elements"][f"{one}_s"] / 60 for one in case.minutes}
    assert minutes == pytest.approx(case.minutes)
    assert found["elements"]["pq_gap"] == case.gap
    known = found["elements"]["pbt_s"] / (found["elements"]["pbt_s"] + 60 * case.minutes["gap"])
    assert found["coverage"] == pytest.approx(known)


def test_parts_of_breaks_planned_stops_and_gaps_are_told_beside_the_others() -> None:
    """Only parts of the planned busy time are compared with it."""
    rows: list[Row] = [("M1", "Parts", at(f"{D}06:00"), 0)]
    for clock, state in (("06:00", "running"), ("07:00", "planned"), ("08:00", "running")):
        rows.append(("M1", "State", at(f"{D}{clock}"), STATES[state]))
    rows += [("M1", "State", at(f"{D}10:00"), NAN), ("M1", "State", at(f"{D}11:00"), 1)]
    counts = [("06:30", 10), ("07:30", 12), ("09:10", 15), ("09:30", 20), ("10:30", 27)]
    rows += [("M1", "Parts", at(f"{D}{clock}"), parts) for clock, parts in counts]
    plant = Plant(
        {"M1": machine()}, calendar(only=shift("06:00", "14:00", "09:00-09:15")), rows[0][2]
    )
    found = plant.result(rows, at(f"{D}14:00"))["elements"]
    assert (found["pq"], found["pq_outside"], found["pq_gap"]) == (15, 5, 7)
    assert (found["planned_s"], found["gap_s"]) == (3600, 3600)


def test_a_short_stop_is_a_minor_stop_and_a_delay() -> None:
    """Of a starved machine, too: 60 s are below `minor_stop`, 600 s are down time (ADOT)."""
    rows: list[Row] = [("M1", "State", at(f"{D}06:00"), 1)]
    for clock, state in (("07:00", 4), ("07:01", 1), ("08:00", 4), ("08:10", 1)):
        rows.append(("M1", "State", at(f"{D}{clock}"), state))
    plant = Plant({"M1": machine()}, calendar(only=shift("06:00", "14:00")), rows[0][2])
    found = plant.result(rows, at(f"{D}14:00"))
    assert (found["elements"]["adet_s"], found["elements"]["adot_s"]) == (60, 600)
    assert (found["stops"]["minor"], found["stops"]["starved"]) == (1, 1)
