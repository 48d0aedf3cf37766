"""Topic patterns: what they subscribe, what they match, what is refused."""

from __future__ import annotations

import pytest

from edge_agent.errors import ConfigError
from edge_agent.sources.mqtt.topics import compile_pattern, is_safe_name


@pytest.mark.parametrize(
    ("pattern", "wire"),
    [
        ("plant/{line}/{asset}/{signal}", "plant/+/+/+"),
        ("plant/+/{asset}/#", "plant/+/+/#"),
        ("pump-{asset}/data", "+/data"),
        ("a/b", "a/b"),
        ("#", "#"),
        ("{asset}", "+"),
    ],
)
def test_placeholders_become_wildcards(pattern: str, wire: str) -> None:
    assert compile_pattern(pattern).filter == wire


@pytest.mark.parametrize(
    ("pattern", "topic", "places"),
    [
        ("plant/{line}/{asset}", "plant/l1/P1", {"line": "l1", "asset": "P1"}),
        ("plant/{asset}/#", "plant/P1/a/b", {"asset": "P1"}),
        ("plant/{asset}/#", "plant/P1", {"asset": "P1"}),
        ("x/pump-{asset}.raw", "x/pump-7.raw", {"asset": "7"}),
        ("+/{asset}", "/P1", {"asset": "P1"}),
        ("a.b/{asset}", "a.b/\n", {"asset": "\n"}),
        ("#", "any/thing", {}),
    ],
)
def test_matching_gives_the_placeholders(pattern: str, topic: str, places: dict[str, str]) -> None:
    assert compile_pattern(pattern).match(topic) == places


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("plant/{line}/{asset}", "plant/l1"),
        ("plant/{line}/{asset}", "plant/l1/P1/x"),
        ("plant/{asset}", "plant/"),
        ("a.b/{asset}", "aXb/P1"),
        ("x/pump-{asset}.raw", "x/fan-7.raw"),
    ],
)
def test_other_topics_do_not_match(pattern: str, topic: str) -> None:
    assert compile_pattern(pattern).match(topic) is None


@pytest.mark.parametrize(
    "pattern",
    ["", "a/#/b", "a+/b", "a#", "{a}{b}/c", "{a}/{a}", "{A}", "a{", "a\0b", "x" * 65_536],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        compile_pattern(pattern)


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a b", "ä", "x" * 65, "a\n", "{x}"])
def test_names_from_the_wire_are_checked(name: str) -> None:
    assert not is_safe_name(name)
    assert is_safe_name("P-001_a.b")
