"""The state of a machine from the rules of the config: the first rule that holds wins.

A rule is a condition in Kleene's logic: with a bad or stale signal it may be unknown. The state is
known if every answer that is still possible is the same state.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from edge_agent.config.conditions import Compare, Condition, Signal, Some
from edge_agent.insight.states import MachineState
from edge_agent.signals import FALSE, TRUE, UNKNOWN, ConditionState

if TYPE_CHECKING:
    from edge_agent.config.lines import LineMachine

# The state numbers of ISA-TR88.00.02 (PackML). Held and its neighbours have their cause in the
# machine, Suspended and its neighbours outside of it: before it or after it, which only rules tell.
PACKML: Final[dict[MachineState, tuple[int, ...]]] = {
    MachineState.RUNNING: (6,),  # Execute
    MachineState.STARVED: (5, 13, 14),  # Suspended, Suspending, Unsuspending
    MachineState.DOWN: (1, 8, 9),  # Clearing, Aborting, Aborted
    # Stopped, Starting, Idle, Stopping, Holding, Held, Unholding, Resetting, Completing, Complete
    MachineState.IDLE: (2, 3, 4, 7, 10, 11, 12, 15, 16, 17),
}


def rules_of(machine: LineMachine) -> list[tuple[MachineState, Condition]]:
    """The rules of a machine in order, with those of PackML at the end."""
    found = [(MachineState(one.state.value), one.when) for one in machine.states]
    for state, numbers in PACKML.items() if machine.packml else ():
        one_of = tuple(Compare(Signal(machine.packml), "==", float(n)) for n in numbers)
        root = Some(one_of) if len(one_of) > 1 else one_of[0]
        found.append((state, Condition(f"{machine.packml}: {state}", root)))
    return found


class Rules:
    """The rules of one machine over time, in the order of time."""

    def __init__(self, machine: LineMachine) -> None:
        known = rules_of(machine)
        # A number that PackML does not have says nothing.
        other = MachineState(machine.otherwise.value)
        self._otherwise = MachineState.UNKNOWN if machine.packml else other
        self._states = [state for state, _ in known]
        self.conditions = [ConditionState(condition) for _, condition in known]
        self._truths: tuple[int, ...] = (UNKNOWN,) * len(known)
        self._using: dict[str, list[int]] = {}
        for number, (_, condition) in enumerate(known):
            for name in condition.signals:
                self._using.setdefault(name, []).append(number)
        self.state = MachineState.UNKNOWN

    def change(self, name: str, at_us: int, value: float) -> None:
        """A signal has another value from a time on; NaN: it is not known."""
        for number in self._using.get(name, ()):
            self.conditions[number].change(name, at_us, value)

    def uses(self, name: str) -> bool:
        """True if a rule uses a signal."""
        return name in self._using

    def advance(self, to_us: int) -> list[tuple[int, MachineState]]:
        """Evaluate up to a time; returns each change of the state, with its time."""
        changes: list[tuple[int, int, int]] = []
        for number, condition in enumerate(self.conditions):
            if condition.next_us < to_us:
                changes += [(at_us, number, truth) for at_us, truth in condition.advance(to_us)]
                condition.begin.clear()
                condition.end.clear()
        if not changes:
            return []
        changes.sort()
        found = []
        truths = list(self._truths)
        for place, (at_us, number, truth) in enumerate(changes):
            truths[number] = truth
            is_last = place + 1 == len(changes) or changes[place + 1][0] > at_us
            if is_last and (state := self._judged(truths)) is not self.state:
                self.state = state
                found.append((at_us, state))
        self._truths = tuple(truths)
        return found

    def _judged(self, truths: list[int]) -> MachineState:
        possible = set()
        for truth, state in zip(truths, self._states, strict=True):
            if truth != FALSE:
                possible.add(state)
            if truth == TRUE:
                break
        else:
            possible.add(self._otherwise)
        return possible.pop() if len(possible) == 1 else MachineState.UNKNOWN

    def copied(self) -> Rules:
        """The same at this time, independent of what comes."""
        made = copy(self)
        made.conditions = [_copied(one) for one in self.conditions]
        return made


def _copied(one: ConditionState) -> ConditionState:
    made = copy(one)
    made.values, made.since = dict(one.values), dict(one.since)
    made.begin, made.end = [], []
    return made
