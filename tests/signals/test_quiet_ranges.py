"""Values that change nothing are passed over: the ranges in which that holds, and the router."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.conditions import parse_condition
from edge_agent.signals import window_set
from edge_agent.signals.condition_state import ConditionState, unchanged_range
from edge_agent.signals.limit_state import Bound, LimitState
from edge_agent.signals.windows import Router
from edge_agent.values import BAD, GOOD, UNCERTAIN, columns

if TYPE_CHECKING:
    from edge_agent.signals.window_set import WindowSet
    from edge_agent.signals.windows import Windows

NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 1.0, math.nextafter(1.0, 2.0), 1.5, 2.0, 3.0, math.inf])
SIGNS = st.sampled_from(["<", "<=", "==", "!=", ">=", ">"])
COMPARISONS = st.one_of(
    st.tuples(st.sampled_from("ab"), SIGNS, st.integers(-2, 3)).map("{0[0]} {0[1]} {0[2]}".format),
    SIGNS.map("a {} b".format),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda parts: st.one_of(
        parts.map("not ({})".format),
        st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(
            "({0[0]}) {0[1]} ({0[2]})".format
        ),
    ),
    max_leaves=4,
)


def truth(text: str, a: float, b: float) -> int:
    state = ConditionState(parse_condition(text))
    for name, value in (("a", a), ("b", b)):
        if name in state.values:
            state.change(name, 0, value)
    state.advance(1)
    return state.truth


@given(CONDITIONS, NUMBERS, NUMBERS, NUMBERS)
def test_a_condition_is_as_it_was_for_all_values_of_its_unchanged_range(
    text: str, a: float, b: float, other: float
) -> None:
    """The value itself lies in the range, unless no range can be told."""
    low, high = unchanged_range(parse_condition(text).root, "a", a)
    assert low <= a < high or a == high == math.inf or low == math.inf
    if low <= other < high:
        assert truth(text, other, b) == truth(text, a, b)


@given(
    above=st.booleans(),
    raised=st.booleans(),
    deadband=st.integers(0, 2),
    seen=st.lists(NUMBERS, max_size=3),
    other=NUMBERS,
)
def test_a_limit_is_as_it_was_for_all_values_of_its_quiet_range(
    *, above: bool, raised: bool, deadband: int, seen: list[float], other: float
) -> None:
    """A delay in progress has no such range: each of its values is compared."""
    state = LimitState(Bound(0, 0, above, 1.0, deadband, on_us=5, off_us=5))
    if raised:
        state.compare_value(0, 3.0 if above else -3.0, 0)
        state.decide(5)
    for at_us, value in enumerate(seen, 6):
        state.compare_value(at_us, value, 0)
    low, high = state.quiet()
    before = (state.raised, state.since_us, state.due_us)
    assert before[0] is raised
    state.compare_value(10, other, 0)
    if low <= other < high:
        assert (state.raised, state.since_us, state.due_us) == before


@dataclass
class WrittenValues:
    """Windows that only keep what is written into them, row by row."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def write_values(self, *given: np.ndarray) -> list[WindowSet]:
        self.rows += zip(*(each.tolist() for each in given), strict=True)
        return []


MARKS = {GOOD: window_set.GOOD, BAD: window_set.BAD}
VALUES = st.lists(
    st.tuples(st.integers(0, 6), NUMBERS, st.sampled_from([GOOD, UNCERTAIN, BAD])), max_size=20
)


@given(
    st.dictionaries(
        st.integers(0, 6),
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.sampled_from([window_set.UNCERTAIN, window_set.MISSING, window_set.BAD]),
        ),
    ),
    st.sets(st.integers(0, 6)),
    VALUES,
)
def test_a_router_sends_each_value_to_its_input_with_its_mark(
    inputs: dict[int, tuple[int, int, int]],
    removed: set[int],
    values: list[tuple[int, float, int]],
) -> None:
    """In the order of the values; what nobody wants, or what counts as missing, goes nowhere."""
    router, windows = Router(), WrittenValues()
    for signal, (row, channel, uncertain) in inputs.items():
        router.add(signal, row, channel, uncertain)
    for signal in removed & inputs.keys():
        router.remove(signal)
        del inputs[signal]
    if values:
        signals, numbers, status = zip(*values, strict=True)
        made = columns(signals, range(len(values)), numbers, np.array(status, np.uint32))
        router.write_values(cast("Windows", windows), made)
    marked = [
        (*inputs[signal][:2], time_us, value, MARKS.get(status, inputs[signal][2]))
        for time_us, (signal, value, status) in enumerate(values)
        if signal in inputs
    ]
    assert windows.rows == [row for row in marked if row[-1] != window_set.MISSING]
