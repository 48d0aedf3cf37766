"""A line of three machines on one morning, for the page and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from status_support import now_ms

from edge_agent.config.lines import Line, LineMachine
from edge_agent.config.shifts import Break, Calendar, Shift
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.errors import NotFoundError
from edge_agent.insight import LineBook, LineSignals

BEGIN_US: Final = 1_772_431_200_000_000  # 2026-03-02T06:00Z
MINUTE_US: Final = 60_000_000
SHOWN_MIN: Final = 330  # of the shift
RULES: Final = """\
states:
  - {state: running, when: State == 1}
  - {state: down, when: State == 2}
  - {state: setup, when: State == 3}
  - {state: blocked, when: State == 4}
  - {state: starved, when: State == 5}
parts: Parts
rejects: Rejects
rework: Rework
ideal_cycle: 3.5s
"""
# Minute, state: 1 running, 2 down, 3 set-up, 4 blocked, 5 starved, 0 idle, nan unknown.
DAY: Final[dict[str, list[tuple[float, float]]]] = {
    "press": [(0, 3), (18, 1), (95, 4), (101, 1), (150, np.nan), (165, 1), (210, 4), (222, 1)],
    "oven": [(0, 1), (60, 2), (61, 1), (92, 2), (103, 1), (180, 0), (195, 1), (208, 2), (224, 1)],
    "packer": [(0, 5), (20, 1), (97, 5), (106, 1), (181, 0), (196, 1), (212, 5), (229, 1)],
}
PARTS: Final = {"press": (4420, 60, 24), "oven": (4310, 22, 0), "packer": (4180, 35, 12)}
SIGNALS: Final = ("State", "Parts", "Rejects", "Rework")


def _book() -> LineBook:
    machine = parse_struct(RULES, Path(__file__), LineMachine)
    line = Line(dict.fromkeys(DAY, machine), shifts=Name("plant"))
    shift = Shift("06:00", "14:00", breaks=(Break("09:00", "09:15"),))
    calendar = Calendar({Name("early"): shift}, "UTC")
    book = LineBook({Name("assembly"): line}, {Name("plant"): calendar}, BEGIN_US)
    numbers = {a: {s: 4 * n + k for k, s in enumerate(SIGNALS)} for n, a in enumerate(DAY)}
    book.bind(LineSignals(numbers, np.full(12, 1 << 60, np.int64)))
    rows = [
        (numbers[asset]["State"], minute, state)
        for asset, states in DAY.items()
        for minute, state in states
    ]
    for asset, counted in PARTS.items():
        for name, last in zip(SIGNALS[1:], counted, strict=True):
            rows += [(numbers[asset][name], 25, 0), (numbers[asset][name], SHOWN_MIN - 1, last)]
    signal, minute, value = zip(*rows, strict=True)
    time_us = BEGIN_US + (np.array(minute) * MINUTE_US).astype(np.int64)
    book.accept(np.array(signal), time_us, np.array(value, float))
    return book


class ShownLines:
    """`service.LineProvider` of that line: its figures stand, its states end now."""

    def __init__(self) -> None:
        book = _book()
        book.finish(BEGIN_US + SHOWN_MIN * MINUTE_US)
        self._line = book.current("assembly")
        self._stays = [(one.asset, one.all_stays()) for one in book.machines]
        closing = _book()
        closed = closing.finish(BEGIN_US + 480 * MINUTE_US)
        self._closed = [one.result for one in closed]

    async def lines(self) -> list[dict[str, Any]]:
        """The line; each machine is in its state for five minutes."""
        rows = [
            {**one, "since_ms": now_ms() - 300_000, "until_ms": now_ms()}
            for one in self._line["machines"]
        ]
        return [{**self._line, "machines": rows}]

    async def stays(self, line: str, start_ns: int, end_ns: int, most: int) -> list[dict[str, Any]]:
        """The morning, moved so that it ends at the end of the span."""
        del most
        _known(line)
        later_ms = end_ns // 1_000_000 - (BEGIN_US + SHOWN_MIN * MINUTE_US) // 1000
        return [
            {
                "machine": asset,
                "stays": [
                    [str(one.state), one.start_us // 1000 + later_ms, one.end_us // 1000 + later_ms]
                    for one in stays
                    if (one.end_us // 1000 + later_ms) * 1_000_000 > start_ns
                ],
            }
            for asset, stays in self._stays
        ]

    async def shifts(
        self, line: str, machine: str, before_ns: int, limit: int
    ) -> list[dict[str, Any]]:
        """The shift of another day, of these machines."""
        _known(line)
        del before_ns
        return [one for one in self._closed if machine in {"", one["machine"]}][:limit]


def _known(line: str) -> None:
    if line != "assembly":
        raise NotFoundError("no such line", where=repr(line))
