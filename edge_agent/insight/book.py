"""All lines of a gateway: values go to the machines that use them, results come out by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import ENDLESS
from edge_agent.config.line_check import owner_of
from edge_agent.insight.calendar import ShiftCalendar
from edge_agent.insight.line_model import PartCounts
from edge_agent.insight.machine_book import NS_PER_US, ClosedShift, MachineBook
from edge_agent.insight.states import StateLog
from edge_agent.insight.tracked import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from edge_agent.config.lines import Line
    from edge_agent.config.shifts import Calendar
    from edge_agent.config.types import Name

_MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class LineSignals:
    """The signals of a plant that lines use.

    numbers: by asset and name, the number of every signal; stale_us: for how long a value of each
    is valid [S].
    """

    numbers: Mapping[str, Mapping[str, int]]
    stale_us: NDArray[np.int64]


class LineBook:
    """The machines of all lines, in the order of the config; begin_us: nothing is known before."""

    def __init__(
        self, lines: Mapping[Name, Line], calendars: Mapping[Name, Calendar], begin_us: int
    ) -> None:
        self.lines = {str(name): line for name, line in lines.items()}
        found = {str(name): ShiftCalendar(one) for name, one in calendars.items()}
        whole_day = ShiftCalendar()
        self.machines = [
            MachineBook(name, asset, line, found.get(str(line.shifts), whole_day), begin_us)
            for name, line in self.lines.items()
            for asset in line.machines
        ]
        self._users: dict[int, list[tuple[MachineBook, int]]] = {}
        self.used = np.zeros(0, np.bool_)  # by number of the signal: some machine uses it

    def bind(self, signals: LineSignals) -> None:
        """Use the numbers of a plant from now on."""
        self._users = {}
        for one in self.machines:
            for place, name in enumerate(one.names):
                owner = owner_of(one.asset, name, signals.numbers)
                if owner is not None:
                    number = signals.numbers[owner[0]][owner[1]]
                    self._users.setdefault(number, []).append((one, place))
        self.used = np.zeros(max(self._users, default=-1) + 1, np.bool_)
        self.used[list(self._users)] = True
        self.follow_silence(signals.stale_us)

    def follow_silence(self, stale_us: NDArray[np.int64]) -> None:
        """Signals are valid for these times from now on [S]."""
        for number, users in self._users.items():
            limit = int(stale_us[number]) if number < len(stale_us) else ENDLESS
            for one, place in users:
                one.tracker.stale_us[place] = limit

    def accept(
        self,
        signal: NDArray[np.integer],
        time_us: NDArray[np.int64],
        value: NDArray[np.float64],
        now_us: int = 0,
    ) -> None:
        """Accept values in any order; NaN: not known. now_us: 0 in a recording."""
        events: dict[int, tuple[MachineBook, list[Event]]] = {}
        rows = zip(signal.tolist(), time_us.tolist(), value.tolist(), strict=True)
        for number, at_us, one in rows:
            for book, place in self._users.get(number, ()):
                _, mine = events.setdefault(id(book), (book, []))
                mine.append(Event(at_us, place, one))
        for book, mine in events.values():
            if now_us:
                book.note_lag(min(one.at_us for one in mine), now_us)
            book.tracker.accept(mine)

    def void(self, signals: Iterable[int], at_us: int) -> None:
        """Take back that signals were not known from a time on: their other side has kept all."""
        for number in signals:
            for book, place in self._users.get(number, ()):
                book.tracker.void([place], at_us)

    def advance(self, now_us: int) -> list[ClosedShift]:
        """Evaluate all machines up to now; returns the shifts that are closed by that."""
        closed = []
        for one in self.machines:
            one.advance(now_us)
            closed += one.close_shifts()
        return closed

    def finish(self, to_us: int) -> list[ClosedShift]:
        """A recording has ended; returns its closed shifts that are not returned yet."""
        closed = []
        for one in self.machines:
            one.finish(to_us)
            closed += one.close_shifts()
        return closed

    # -- results ------------------------------------------------------------------------------

    def of(self, line: str) -> list[MachineBook]:
        """The machines of a line."""
        return [one for one in self.machines if one.line == line]

    def current(self, line: str) -> dict[str, Any]:
        """A line now, as JSON: the state of each machine, and its running shift."""
        machines = [_row(one) for one in self.of(line)]
        whose = self.lines[line].last
        own = next(one for one in machines if one["machine"] == whose)
        return {"line": line, "oee_of": whose, "current": own["current"], "machines": machines}

    def log(self, line: str) -> StateLog:
        """The stays in memory of the machines of a line, by their place in it.

        The last one of each goes on. For the past before that, ask the file.
        """
        return StateLog.of(
            (place, span.state, span.start_us * NS_PER_US, span.end_us * NS_PER_US)
            for place, one in enumerate(self.of(line))
            for span in one.all_stays()
        )

    def counts(self, line: str) -> PartCounts:
        """The parts that the machines of a line counted lately, in the order of time."""
        found = [
            (at_us * NS_PER_US, place, parts)
            for place, one in enumerate(self.of(line))
            for at_us, parts in one.recent_parts()
        ]
        found.sort()
        return PartCounts(
            np.array([row[1] for row in found], np.int32),
            np.array([row[0] for row in found], np.int64),
            np.array([row[2] for row in found], np.float64),
        )


def _row(one: MachineBook) -> dict[str, Any]:
    stays = one.all_stays()
    since_us = stays[-1].start_us if stays else one.tracker.head.at_us
    return {
        "machine": one.asset,
        "state": str(one.state),
        "since_ms": since_us // _MS_PER_S,
        "until_ms": one.until_ns // (NS_PER_US * _MS_PER_S),
        "current": one.current(),
    }
