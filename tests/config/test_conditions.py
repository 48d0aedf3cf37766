"""The language of conditions: what it reads, what it refuses, and that it never fails otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.conditions import (
    Compare,
    Every,
    Held,
    Node,
    Not,
    Signal,
    Some,
    parse_condition,
)
from edge_agent.config.problem import Wrong

NAMES = st.sampled_from(["Running", "Speed-1", "a.b", "_x", "with space", "1st", "for", "or"])
SIGNALS = NAMES.map(Signal)
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).map(float)
COMPARED = st.tuples(
    SIGNALS, st.sampled_from([">", ">=", "<", "<=", "==", "!="]), SIGNALS | NUMBERS
)
TREES = st.recursive(
    COMPARED.map(lambda each: Compare(*each)),
    lambda inner: st.one_of(
        inner.map(Not),
        st.tuples(inner, st.sampled_from([0.5, 10.0, 300.0])).map(lambda each: Held(*each)),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: Every(tuple(each))),
        st.lists(inner, min_size=2, max_size=3).map(lambda each: Some(tuple(each))),
    ),
    max_leaves=5,
)


def written(node: Node) -> str:
    """A tree as text, every part in brackets."""
    if isinstance(node, Compare):
        left, right = (
            f'"{side.name}"' if isinstance(side, Signal) else repr(side)
            for side in (node.left, node.right)
        )
        return f"({left} {node.sign} {right})"
    if isinstance(node, Not):
        return f"(not {written(node.part)})"
    if isinstance(node, Held):
        return f"({written(node.part)} for {node.seconds}s)"
    word = " and " if isinstance(node, Every) else " or "
    return f"({word.join(map(written, node.parts))})"


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_a_tree_that_is_written_is_read_again(tree: Node) -> None:
    """Trees too deep or too long are refused, which these are not."""
    text = written(tree)
    if len(text) <= 500:
        assert parse_condition(text).root == tree


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "Running",
                "Speed",
                "(",
                ")",
                "and",
                "or",
                "not",
                "for",
                ">",
                ">=",
                "==",
                "1",
                "-2.5",
                "10s",
                "5m",
                '"',
                "'",
                "true",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `Wrong` leaves the parser."""
    try:
        parse_condition(text)
    except Wrong as wrong:
        assert wrong.message  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the condition is empty"),
        ("Running >", "the name of a signal or a number is missing, at the ^ in: Running >^"),
        ("Running = 1", "a comparison is missing, at the ^ in: Running ^= 1"),
        ("Running > 0 for", "a duration is missing, at the ^ in: Running > 0 for^"),
        ("Running > 0 for 0s", "the duration must be above 0 and at most 7d, at the ^ in"),
        ("A > 0 and B > 0 for 10s", "'for' is ambiguous, at the ^ in"),
        ("A or B for 10s", "'for' is ambiguous"),
        ("not A for 10s", "'for' is ambiguous"),
        ("1 < A < 5", "one comparison after another, at the ^ in: 1 < A ^< 5"),
        ("(A > 1", "')' is missing"),
        ("A > 5bar", "a number with a unit"),
        ("3 > 2", "two numbers are compared"),
        ("A > 1e999", "the number is too large"),
        ("A $ 1", "'$' is not allowed here, at the ^ in: A ^$ 1"),
        ("(" * 30 + "A" + ")" * 30, "more than 20 levels"),
        ("A" * 501, "is longer than 500 characters"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse_condition(text)
    assert caught.value.message.startswith(message)


def test_words_may_be_large_and_a_signal_alone_is_not_zero() -> None:
    """As people who write structured text do."""
    wanted = parse_condition("Running != 0 and not (Fault != 0)").root
    assert parse_condition("Running AND NOT Fault").root == wanted


def test_the_signals_of_a_condition() -> None:
    condition = parse_condition("(a > 1 and (b for 5s)) or not c == d")
    assert condition.signals == {"a", "b", "c", "d"}
