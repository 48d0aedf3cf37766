"""One machine of a line: its tracker, the sums of its open shifts, and its stays of late."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.insight.calendar import NS_PER_S
from edge_agent.insight.shift_result import result_of
from edge_agent.insight.shift_sums import BUSY, GAP, OUTSIDE, ShiftSum
from edge_agent.insight.states import MachineState
from edge_agent.insight.tracked import Span
from edge_agent.insight.tracker import MachineTracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.config.lines import Line, LineMachine
    from edge_agent.insight.calendar import ShiftCalendar, ShiftTime
    from edge_agent.insight.tracked import Made

NS_PER_US: Final = 1000
_DAY_NS: Final = 86_400 * NS_PER_S
MISSED_NS: Final = 2 * _DAY_NS  # shifts that ended before, while nothing ran, are not told
KEPT_NS: Final = 36 * 3600 * NS_PER_S  # of stays in memory
MOST_STAYS: Final = 20_000
MOST_PARTS: Final = 40_000  # counts in memory
SETTLE_US: Final = 2 * US_PER_S  # the machine is evaluated up to this time before now
_FORGET: Final = 0.99  # of the lag of late values, at each step
_MOST_LAG_US: Final = 30 * US_PER_S  # what comes later sets the machine back


@dataclass(frozen=True, slots=True)
class ClosedShift:
    """The final result of a machine in a shift, as JSON."""

    line: str
    machine: str
    start_ns: int
    end_ns: int
    result: dict[str, Any]


class MachineBook:
    """What is known of one machine. new_stays: final ones that are not stored yet."""

    def __init__(
        self, line: str, asset: str, config: Line, calendar: ShiftCalendar, begin_us: int
    ) -> None:
        self.line = line
        self.asset = asset
        self.config: LineMachine = config.machines[asset]
        self.names = sorted(self.config.signals)
        self.lag_us = 0
        self.stays: list[Span] = []
        self.new_stays: list[Span] = []
        self.sums: dict[int, ShiftSum] = {}
        self._parts_us = array("q")
        self._parts = array("d")
        self._calendar = calendar
        self._late_us = round(config.late * US_PER_S)
        self._minor_ns = round(config.minor_stop * NS_PER_S)
        self._closed_ns = begin_us * NS_PER_US
        self._last = Span(MachineState.UNKNOWN, begin_us, begin_us)
        self.tracker = MachineTracker(self.config, self.names, begin_us, [0] * len(self.names))

    # -- time ---------------------------------------------------------------------------------

    def advance(self, now_us: int) -> None:
        """Evaluate up to now, as far as values have come."""
        tracker = self.tracker
        to_us = now_us - min(max(SETTLE_US, self.lag_us), self._late_us)
        self.lag_us = int(self.lag_us * _FORGET)
        tracker.advance(to_us, now_us - self._late_us)
        self._take_final()

    def finish(self, to_us: int) -> None:
        """A recording has ended: everything is final."""
        self.tracker.advance(to_us, to_us)
        self.tracker.finish()
        self._take_final()

    def note_lag(self, at_us: int, now_us: int) -> None:
        """A value came later than what is evaluated: evaluate later from now on."""
        if at_us < self.tracker.head.at_us:
            lag_us = min(_MOST_LAG_US, now_us - at_us + US_PER_S)
            self.lag_us = max(self.lag_us, lag_us)

    def _take_final(self) -> None:
        spans, made = self.tracker.take_final()
        if not (spans or made):
            return
        state = self.tracker.final_state
        self._fold(self.sums, spans, made, state)
        self._keep_parts(made)
        if spans:
            self._last = spans[-1]
            self.stays += spans
            self.new_stays += spans
            oldest_us = (spans[-1].end_us * NS_PER_US - KEPT_NS) // NS_PER_US
            if len(self.stays) > MOST_STAYS or self.stays[0].end_us < oldest_us:
                kept = [one for one in self.stays if one.end_us >= oldest_us]
                self.stays = kept[-MOST_STAYS:]

    def _keep_parts(self, made: Sequence[Made]) -> None:
        mine = [(one.at_us, one.parts) for one in made if one.kind == "parts" and not one.over_gap]
        self._parts_us.extend(at_us for at_us, _ in mine)
        self._parts.extend(parts for _, parts in mine)
        if len(self._parts) > MOST_PARTS:
            del self._parts_us[: -MOST_PARTS // 2], self._parts[: -MOST_PARTS // 2]

    def recent_parts(self) -> list[tuple[int, float]]:
        """When parts were counted lately, in microseconds, and how many."""
        new = self.tracker.provisional()[1]
        found = list(zip(self._parts_us, self._parts, strict=True))
        return found + [(o.at_us, o.parts) for o in new if o.kind == "parts" and not o.over_gap]

    # -- sums ---------------------------------------------------------------------------------

    def _fold(
        self,
        sums: dict[int, ShiftSum],
        spans: Sequence[Span],
        made: Sequence[Made],
        state: MachineState,
    ) -> None:
        """Add spans and counts to the sums of their shifts; state: after the last span."""
        for one in _joined(spans):
            start_ns, end_ns = one.start_us * NS_PER_US, one.end_us * NS_PER_US
            for shift in self._open(start_ns, end_ns):
                total = _sum_of(sums, shift)
                total.add_stay(one.state, start_ns, end_ns, self._minor_ns)
        at = 0
        known = [self._last, *spans]
        for each in made:  # they are in the order of time, as the spans are
            while at < len(known) and known[at].end_us < each.at_us:
                at += 1
            within = known[at].state if at < len(known) else state
            # A part was made before its count came.
            at_ns = each.at_us * NS_PER_US - 1
            for shift in self._open(at_ns, at_ns + 1):
                where = _place(shift, at_ns, within, over_gap=each.over_gap)
                _sum_of(sums, shift).add_parts(each.product, each.kind, where, each.parts)

    def _open(self, start_ns: int, end_ns: int) -> list[ShiftTime]:
        """The shifts in a span that are not closed."""
        found = self._calendar.between(start_ns, end_ns)
        return [one for one in found if one.end_ns > self._closed_ns]

    def totals(self) -> dict[int, ShiftSum]:
        """The sums of open shifts by their start, with what is not final yet."""
        sums = {start_ns: one.copied() for start_ns, one in self.sums.items()}
        spans, made = self.tracker.provisional()
        self._fold(sums, spans, made, self.tracker.head.state)
        return sums

    # -- shifts -------------------------------------------------------------------------------

    def close_shifts(self) -> list[ClosedShift]:
        """The shifts that ended, and of which nothing can change any more."""
        final_ns = self.tracker.final_us * NS_PER_US
        since_ns = max(self._closed_ns, final_ns - MISSED_NS)
        due = [one for one in self._open(since_ns, final_ns) if one.end_ns <= final_ns]
        if not due:
            return []
        totals = self.totals()
        closed = []
        for shift in due:
            result = self.result(shift, totals.get(shift.start_ns))
            closed.append(ClosedShift(self.line, self.asset, shift.start_ns, shift.end_ns, result))
            self._closed_ns = max(self._closed_ns, shift.end_ns)
        ended = [start for start, one in self.sums.items() if one.shift.end_ns <= self._closed_ns]
        for start_ns in ended:
            del self.sums[start_ns]
        return closed

    def current(self) -> dict[str, Any] | None:
        """The shift at the time up to which it is evaluated, as JSON; None if there is none."""
        shift = self._calendar.at(self.until_ns)
        if shift is None:
            return None
        return self.result(shift, self.totals().get(shift.start_ns), self.until_ns)

    def result(
        self, shift: ShiftTime, total: ShiftSum | None, until_ns: int | None = None
    ) -> dict[str, Any]:
        """The result of a shift as JSON; until_ns: while it is running."""
        is_running = until_ns is not None and until_ns < shift.end_ns
        return {
            "line": self.line,
            "machine": self.asset,
            "shift": shift.name,
            "day": shift.day,
            "start_ms": shift.start_ns // 1_000_000,
            "end_ms": shift.end_ns // 1_000_000,
            "is_closed": not is_running,
            **result_of(total or ShiftSum(shift), self.config, until_ns),
        }

    @property
    def until_ns(self) -> int:
        """Up to when it is evaluated."""
        return self.tracker.head.at_us * NS_PER_US

    @property
    def state(self) -> MachineState:
        """The state now."""
        return self.tracker.head.state

    def all_stays(self) -> list[Span]:
        """The stays in memory, with those that are not final; the last one goes on."""
        return _joined([*self.stays, *self.tracker.provisional()[0]])

    # -- over restarts ------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """What a restart needs, as JSON."""
        spans, _ = self.tracker.provisional()
        counters = {kind: one.last for kind, one in self.tracker.head.counters.items()}
        return {
            "until_us": self.tracker.head.at_us,
            "closed_ns": self._closed_ns,
            "tail": [[str(one.state), one.start_us, one.end_us] for one in spans],
            "sums": [one.dump() for one in self.totals().values()],
            "counters": {kind: last for kind, last in counters.items() if last == last},  # noqa: PLR0124 (not NaN)
        }

    def restore(self, data: Mapping[str, Any], now_us: int) -> None:
        """Continue from what was dumped; what was meanwhile is a gap, unless its values still come.

        KeyError, TypeError or ValueError if it is damaged.
        """
        until_us = int(data["until_us"])
        tail = [Span(MachineState(state), int(a), int(b)) for state, a, b in data["tail"]]
        sums = {}
        for one in data["sums"]:
            shift = self._calendar.at(int(one["start_ns"]))
            if shift is not None and shift.start_ns == one["start_ns"]:
                sums[shift.start_ns] = ShiftSum.load(one, shift)
        begin_us = min(max(until_us, now_us - self._late_us), now_us)
        self._closed_ns = int(data["closed_ns"])
        self.sums, self._last = sums, tail[-1] if tail else self._last
        self.new_stays += tail
        self.stays += tail
        if until_us < begin_us:
            gap = Span(MachineState.UNKNOWN, until_us, begin_us)
            self._fold(self.sums, [gap], [], MachineState.UNKNOWN)
            self.new_stays.append(gap)
            self.stays.append(gap)
        stale_us = self.tracker.stale_us
        self.tracker = MachineTracker(self.config, self.names, begin_us, stale_us)
        for kind, last in data["counters"].items():
            if kind in self.tracker.head.counters:
                self.tracker.restore_counter(kind, float(last))


def _sum_of(sums: dict[int, ShiftSum], shift: ShiftTime) -> ShiftSum:
    return sums.setdefault(shift.start_ns, ShiftSum(shift))


def _place(shift: ShiftTime, at_ns: int, state: MachineState, *, over_gap: bool) -> str:
    if over_gap or state is MachineState.UNKNOWN:
        return GAP
    return OUTSIDE if state is MachineState.PLANNED or shift.is_break(at_ns) else BUSY


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same, with one span where the same state follows itself."""
    found: list[Span] = []
    for one in spans:
        if found and found[-1].state is one.state and found[-1].end_us == one.start_us:
            found[-1] = Span(one.state, found[-1].start_us, one.end_us)
        else:
            found.append(one)
    return found
