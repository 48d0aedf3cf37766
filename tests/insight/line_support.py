"""A line on paper: machines with signals, values at times of a clock, and their book."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from edge_agent.config.lines import Line, LineMachine
from edge_agent.config.shifts import Break, Calendar, Shift
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.insight import LineBook, LineSignals

if TYPE_CHECKING:
    from collections.abc import Iterable

S = 1_000_000
BERLIN = ZoneInfo("Europe/Berlin")
SIGNALS = ("State", "Parts", "Rejects", "Rework", "Product")
# The machine's own numbers of states.
STATES = {"running": 1, "down": 2, "setup": 3, "starved": 4, "blocked": 5, "planned": 6, "idle": 0}
RULES = [f"{{state: {one}, when: State == {n}}}" for one, n in STATES.items() if n]


def at(text: str) -> int:
    """Microseconds since the epoch of a local time in Berlin, or of a time with an offset."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=BERLIN)
    return round(moment.astimezone(UTC).timestamp()) * S


def machine(more: str = "") -> LineMachine:
    """A machine with a rule for each state; more: further keys, as YAML."""
    parts = "" if "parts:" in more else "parts: Parts\n"
    text = f"states: [{', '.join(RULES)}]\n{parts}ideal_cycle: 4s\n{more}"
    return parse_struct(text, Path(__file__), LineMachine)


def calendar(**shifts: Shift) -> Calendar:
    return Calendar({Name(name): one for name, one in shifts.items()}, "Europe/Berlin")


def shift(start: str, end: str, *breaks: str) -> Shift:
    return Shift(start, end, breaks=tuple(Break.from_text(one) for one in breaks))


class Plant:
    """One line and its book; values are given as (machine, signal, time, value)."""

    def __init__(
        self,
        machines: dict[str, LineMachine],
        times: Calendar,
        begin_us: int,
        stale_s: float = 1e9,
        **more: Any,
    ) -> None:
        line = Line(machines, shifts=Name("plant"), **more)
        self.book = LineBook({Name("main"): line}, {Name("plant"): times}, begin_us)
        names = [(asset, name) for asset in machines for name in SIGNALS]
        self.number = {key: n for n, key in enumerate(names)}
        numbers: dict[str, dict[str, int]] = {}
        for (asset, name), n in self.number.items():
            numbers.setdefault(asset, {})[name] = n
        stale_us = np.full(len(names), round(stale_s * S), np.int64)
        self.book.bind(LineSignals(numbers, stale_us))
        self.closed: list[Any] = []

    def feed(self, rows: Iterable[tuple[str, str, int, float]], now_us: int = 0) -> None:
        found = [(self.number[asset, name], at_us, value) for asset, name, at_us, value in rows]
        signal, time_us, value = zip(*found, strict=True)
        self.book.accept(
            np.array(signal), np.array(time_us, np.int64), np.array(value, float), now_us
        )

    def result(self, rows: Iterable[tuple[str, str, int, float]], to_us: int) -> dict[str, Any]:
        """The result of the only shift that is closed by these values."""
        self.feed(rows)
        (found,) = self.book.finish(to_us)
        return found.result
