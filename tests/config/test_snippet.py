"""Config text that the program writes: YAML reads back what was meant."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.assets import expand_range
from edge_agent.config.snippet import id_ranges, render, safe_name

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), VALUES))
def test_whatever_is_written_is_read_back(tree: dict[str, Any]) -> None:
    """Words that YAML would take for something else, quotation marks, line ends, emptiness."""
    assert (yaml.safe_load(render(tree)) or {}) == tree


def test_notes_stand_at_the_end_of_their_line() -> None:
    tree = {"templates": {"m": {"signals": {"x": {"unit": "°C"}, "z": {}}, "learn": "auto"}}}
    text = render(tree, {("templates", "m", "signals", "x"): "Double 3"})
    assert '      x: {unit: "°C"} # Double 3\n      z: {}\n' in text
    assert yaml.safe_load(text) == tree


@pytest.mark.parametrize(
    ("ids", "ranges"),
    [
        (["P-1", "P-2"], ["P-1", "P-2"]),
        (["P-09", "P-10", "P-11"], ["P-{09..11}"]),
        (["P-9", "P-10", "P-11", "P-12"], ["P-9", "P-{10..12}"]),
        (["A", "B7", "B8", "B9", "C1"], ["A", "B{7..9}", "C1"]),
    ],
)
def test_ranges(ids: list[str], ranges: list[str]) -> None:
    """They expand to the same ids."""
    assert id_ranges(ids) == ranges
    assert sorted(one for text in ranges for one in expand_range(text)) == sorted(ids)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Pump 1", "Pump_1"),
        ("Druck (bar)", "Druck_bar"),
        ("Ölpumpe", "Oelpumpe"),
        ("ä", "ae"),
        ("débit", "debit"),
        ("泵", "x"),
        ("_a", "a"),
        ("x" * 99, "x" * 64),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name
