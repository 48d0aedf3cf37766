"""One machine over time: its stays in states and its counts, whatever order its values arrive in.

Values wait in a list in the order of their times. The machine is evaluated up to a time shortly
before now; a value that comes later than that sets it back to the last snapshot before it. What is
older than the time that the config gives to late values is final.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from edge_agent.clock import ENDLESS, US_PER_S
from edge_agent.insight.counters import Counter
from edge_agent.insight.rules import Rules
from edge_agent.insight.tracked import UNKNOWN, Event, Head, Input, Log, Made, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.config.lines import LineMachine
    from edge_agent.insight.states import MachineState

SNAPSHOT_US: Final = 60 * US_PER_S
MOST_EVENTS: Final = 50_000  # that wait for late ones; with more, the oldest are final sooner


class MachineTracker:
    """The states and counts of one machine.

    names: of its signals, by their place; stale_us: for how long a value of each is valid.
    begin_us: before it nothing is known.
    """

    def __init__(
        self, machine: LineMachine, names: list[str], begin_us: int, stale_us: list[int]
    ) -> None:
        self.machine = machine
        self.names = names
        self.stale_us = stale_us
        self.too_late = 0
        self._min_us = round(machine.min_time * US_PER_S)
        self._counting: dict[str, list[str]] = {}
        for kind, count in machine.counts.items():
            self._counting.setdefault(count.signal, []).append(kind)
        self._events: list[Event] = []
        self._log = Log()
        counters = {kind: Counter(count) for kind, count in machine.counts.items()}
        inputs = [Input() for _ in names]
        self.head = Head(Rules(machine), counters, inputs, begin_us, since_us=begin_us)
        self._snapshots = [self.head.copied()]
        self._done = 0  # events that the head has

    # -- values -------------------------------------------------------------------------------

    def accept(self, events: Iterable[Event]) -> None:
        """Accept values in any order; those before what is final are counted as too late."""
        final_us = self.final_us
        new = []
        for one in events:
            if one.at_us < final_us:
                self.too_late += 1
            else:
                new.append(one)
        if not new:
            return
        new.sort(key=_order)
        first_us = new[0].at_us
        if first_us < self.head.at_us or (self._events and first_us <= self._events[-1].at_us):
            if first_us < self.head.at_us:
                self._set_back(first_us)
            self._events = sorted([*self._events, *new], key=_order)
        else:
            self._events += new

    def void(self, signals: Iterable[int], at_us: int) -> None:
        """Take back that signals were not known from a time on: their other side has kept all."""
        mine = set(signals)
        kept = [
            one
            for one in self._events
            if one.at_us != at_us or one.signal not in mine or not math.isnan(one.value)
        ]
        if len(kept) < len(self._events):
            self._set_back(at_us)
            self._events = kept

    @property
    def final_us(self) -> int:
        """What was before this time does not change any more."""
        return self._snapshots[0].at_us

    @property
    def final_state(self) -> MachineState:
        """The state at that time."""
        return self._snapshots[0].state

    def restore_counter(self, kind: str, last: float) -> None:
        """Continue a counter from its value of before a restart."""
        for one in (self.head, *self._snapshots):
            one.counters[kind].restore(last)

    def _set_back(self, to_us: int) -> None:
        """Return to the last snapshot that is not after a time."""
        while len(self._snapshots) > 1 and self._snapshots[-1].at_us > to_us:
            self._snapshots.pop()
        self.head = self._snapshots[-1].copied()
        self._log.cut(self.head.n_spans, self.head.n_made)
        self._done = bisect_left(self._events, (self.head.at_us,))

    # -- time ---------------------------------------------------------------------------------

    def advance(self, to_us: int, final_us: int) -> None:
        """Evaluate up to `to_us`; what is before `final_us` becomes final, in steps of a minute."""
        past_us = final_us // SNAPSHOT_US * SNAPSHOT_US
        if self.head.at_us < past_us:  # nothing comes any more for what is before
            self._walk(past_us)
            self._snapshots.append(self._snapshot())
        while self.head.at_us < to_us:
            next_us = self.head.at_us // SNAPSHOT_US * SNAPSHOT_US + SNAPSHOT_US
            if next_us < to_us:
                self._walk(next_us)
                self._snapshots.append(self._snapshot())
            else:
                self._walk(to_us)
        self._finish(final_us)

    def finish(self) -> None:
        """Everything up to now is final: the recording, or the run of the service, has ended."""
        self._snapshots = [self._snapshot()]
        self._drop_events()

    def _snapshot(self) -> Head:
        self.head.n_spans = self._log.first_span + len(self._log.spans)
        self.head.n_made = self._log.first_made + len(self._log.made)
        return self.head.copied()

    def _finish(self, final_us: int) -> None:
        before = len(self._snapshots)
        while len(self._snapshots) > 1 and (
            self._snapshots[1].at_us <= final_us or self._done > MOST_EVENTS
        ):
            self._snapshots.pop(0)
            self._drop_events()
        if len(self._snapshots) < before:
            self._drop_events()

    def _drop_events(self) -> None:
        gone = bisect_left(self._events, (self.final_us,))
        del self._events[:gone]
        self._done = max(0, self._done - gone)

    def _walk(self, to_us: int) -> None:
        """Feed the head all events before a time, in their order."""
        head, events = self.head, self._events
        while self._done < len(events) and events[self._done].at_us < to_us:
            one = events[self._done]
            self._done += 1
            if one.at_us > head.stale_us:
                self._pass_stale(one.at_us)
            self._feed(one)
        if to_us > head.stale_us:
            self._pass_stale(to_us)
        self._turn_to(to_us)
        head.at_us = to_us

    def _pass_stale(self, to_us: int) -> None:
        """Inputs whose last value is too old by a time are not known since it became too old."""
        inputs = self.head.inputs
        due = sorted(
            (one.until_us, place) for place, one in enumerate(inputs) if one.until_us < to_us
        )
        for until_us, place in due:
            self._set(place, until_us, math.nan)
            inputs[place].until_us = ENDLESS
        self.head.stale_us = min((one.until_us for one in inputs), default=ENDLESS)

    def _feed(self, one: Event) -> None:
        slot = self.head.inputs[one.signal]
        self._set(one.signal, one.at_us, one.value)
        stale_us = self.stale_us[one.signal]
        is_known = not math.isnan(one.value)
        slot.until_us = one.at_us + stale_us if is_known and stale_us < ENDLESS else ENDLESS
        self.head.stale_us = min(self.head.stale_us, slot.until_us)

    def _set(self, place: int, at_us: int, value: float) -> None:
        """A signal has this value from a time on."""
        head, name = self.head, self.names[place]
        slot = head.inputs[place]
        is_other = slot.value != value and not (math.isnan(slot.value) and math.isnan(value))
        if is_other and head.rules.uses(name):
            if at_us > head.fed_us:
                self._turn_to(at_us)
            head.fed_us = at_us
            head.rules.change(name, at_us, value)
        slot.value = value
        if is_other or math.isnan(value):
            self._count(name, at_us, value)

    def _count(self, name: str, at_us: int, value: float) -> None:
        for kind in self._counting.get(name, ()):
            found = self.head.counters[kind].accept(value)
            if found is not None:
                made = Made(at_us, kind, found.parts, found.over_gap, self._product())
                self._log.made.append(made)

    def _product(self) -> str:
        """The number of the product now; empty if there is none, or it is not known."""
        if not self.machine.product:
            return ""
        value = self.head.inputs[self.names.index(self.machine.product)].value
        return "" if math.isnan(value) else f"{value:g}"

    # -- states -------------------------------------------------------------------------------

    def _turn_to(self, to_us: int) -> None:
        for at_us, state in self.head.rules.advance(to_us):
            self._turn(max(at_us, self.head.since_us), state)
        self._settle(to_us)

    def _turn(self, at_us: int, state: MachineState) -> None:
        """The rules say another state from a time on."""
        head = self.head
        self._settle(at_us)
        if state is head.state:
            head.candidate = None
        elif UNKNOWN in {state, head.state} or not self._min_us:
            head.candidate = None
            self._enter(state, at_us)
        elif state is not head.candidate:
            head.candidate, head.candidate_us = state, at_us

    def _settle(self, to_us: int) -> None:
        """Enter the candidate if it has held for long enough."""
        head = self.head
        if head.candidate is not None and to_us - head.candidate_us >= self._min_us:
            state, head.candidate = head.candidate, None
            self._enter(state, head.candidate_us)

    def _enter(self, state: MachineState, at_us: int) -> None:
        head, spans = self.head, self._log.spans
        if at_us > head.since_us:
            spans.append(Span(head.state, head.since_us, at_us))
        head.state, head.since_us = state, at_us

    # -- results ------------------------------------------------------------------------------

    def take_final(self) -> tuple[list[Span], list[Made]]:
        """Take away the spans and counts that are final.

        Those of the time before the last one that is left, which still ends later.
        """
        log, first = self._log, self._snapshots[0]
        n_spans, n_made = first.n_spans - log.first_span, first.n_made - log.first_made
        found = log.spans[:n_spans], log.made[:n_made]
        del log.spans[:n_spans], log.made[:n_made]
        log.first_span, log.first_made = first.n_spans, first.n_made
        return found

    def provisional(self) -> tuple[list[Span], list[Made]]:
        """What is not final: the last span ends where the machine is evaluated up to."""
        head, spans = self.head, list(self._log.spans)
        if head.at_us > head.since_us:
            spans.append(Span(head.state, head.since_us, head.at_us))
        return spans, list(self._log.made)


def _order(one: Event) -> tuple[int, int, bool, float]:
    """By time; of several values of a signal at one time the largest counts, NaN if no other."""
    is_known = not math.isnan(one.value)
    return one.at_us, one.signal, is_known, one.value if is_known else 0.0
