"""Whatever stands in a file: a Config or problems with their lines, soon, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from config_tables import VALID, find_problems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.config.config_warnings import warnings
from edge_agent.config.problem import MAX_PROBLEMS
from edge_agent.config.schema import Config

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

SOON_S = 60.0  # measured: under 2 s; a bomb that goes off takes hours, or all memory

KEYS = sorted({word.strip(" -{\"'") for word in VALID.replace("\n", ":").split(":")} - {""})
LINES = VALID.splitlines()
FRAGMENTS = [
    *("\t", "  ", "- ", "? ", ": ", ":", "{", "}", "[", "]", ",", "&a ", "*a", "!x ", "!!int "),
    *("|\n", ">\n", "'", '"', "#", "%", "@", "`", "---\n", "...\n", "<<: *a", "~", "null", "\0"),
    *("\ufeff", "\u2028", "\x85", "é", "{1..9}", "{x}", "9" * 25, "include: [x]", "include: ."),
]

scalars = st.one_of(
    st.sampled_from([*KEYS, "pump", "north-bus", "P-{1..5}", "bus", "auto", "10s", "1e400"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=6),
    ),
    max_leaves=25,
)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all examples: its content is what they differ in."""
    return tmp_path_factory.mktemp("fuzz") / "edge.yaml"


def judge(file: Path, raw: bytes) -> list[str]:
    """The problems of a file of these bytes, after the demands that hold for any."""
    file.write_bytes(raw)
    begin = time.monotonic()
    config, problems = find_problems(file)
    assert time.monotonic() - begin < SOON_S
    assert (config is None) == bool(problems)
    assert len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        assert 1 <= problem.line <= raw.count(b"\n") + raw.count(b"\r") + 10_000
        assert "\n" not in str(problem)
    if config is not None:
        assert all(warnings(config))
    return [str(problem) for problem in problems]


def parts(config: Any, tree: Any, draw: random.Random) -> Any:
    """`config` with one of its values replaced by `tree`."""
    if not isinstance(config, dict | list) or not config or draw.random() < 0.2:
        return tree
    if isinstance(config, list):
        place = draw.randrange(len(config))
        return [parts(v, tree, draw) if n == place else v for n, v in enumerate(config)]
    place = draw.choice(sorted(config))
    return {k: parts(v, tree, draw) if k == place else v for k, v in config.items()}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes(place: Path, raw: bytes) -> None:
    assert judge(place, raw)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS) | st.sampled_from(LINES), max_size=40))
def test_arbitrary_yaml_fragments(place: Path, pieces: list[str]) -> None:
    judge(place, "".join(pieces).encode())
    judge(place, "\n".join(pieces).encode())


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(VALID)), st.integers(0, 30), st.sampled_from([*FRAGMENTS, "", *LINES]))
def test_a_mutated_text(place: Path, at: int, cut: int, piece: str) -> None:
    """The valid config with a part of its text removed and something else put there."""
    judge(place, (VALID[:at] + piece + VALID[at + cut :]).encode())


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.randoms(use_true_random=False))
def test_a_mutated_tree(place: Path, tree: Any, draw: random.Random) -> None:
    """The valid config with one value, deep or high, replaced by something else."""
    mutant = parts(yaml.safe_load(VALID), tree, draw)
    judge(place, yaml.safe_dump(mutant, allow_unicode=True).encode())


def many(count: int, row: str) -> str:
    """`row` so many times, with the number for each @."""
    return "".join(row.replace("@", str(n)) for n in range(count))


def laughs() -> str:
    rows = (f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return "a0: &a0 [x,x]\n" + "".join(rows)


def merges() -> str:
    rows = (f"a{n}: &a{n} {{y{n}: *a{n - 1}, <<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    return "a0: &a0 {x: 1}\n" + "".join(rows)


def plant(signal: str, assets: str) -> str:
    return f"""
sources: {{s: {{type: bus, host: h}}}}
templates: {{t: {{signals: {{{signal}}}}}}}
assets: {{{assets}}}
"""


# Files that cost nothing to write, and much to read without a limit.
BOMBS: dict[str, Callable[[], str]] = {
    "laughs": laughs,
    "merges": merges,
    "flow lists": lambda: "[" * 4_000_000,
    "flow maps": lambda: "{" * 4_000_000,
    "question marks": lambda: "? " * 2_000_000,
    "dashes": lambda: "- " * 2_000_000,
    "colons": lambda: "a: " * 1_000_000,
    "anchors": lambda: "&a " * 1_000_000,
    "quotes": lambda: '"' + "a\n" * 2_000_000,
    "plain text over lines": lambda: "a: " + "b\n " * 1_000_000,
    "blank lines": lambda: "a:\n" + "\n" * 4_000_000 + " b",
    "comments": lambda: "#\n" * 2_000_000,
    "block text": lambda: "a: |\n" + " x\n" * 1_000_000,
    "spaces": lambda: "a:" + " " * 4_000_000 + "b",
    "directives": lambda: "%YAML 1.1\n" * 300_000,
    "long number": lambda: f"http: {{port: {'9' * 4_000_000}}}",
    "long float": lambda: f"runtime: {{max_batch: 0.{'9' * 4_000_000}}}",
    "long duration": lambda: f"tuning: {{tick: {'9' * 4_000_000}s}}",
    "long key": lambda: "a" * 4_000_000 + ": 1",
    "unknown keys": lambda: many(90_000, "gatewai@: 1\n"),
    "unknown templates": lambda: (
        f"templates: {{{many(20_000, 't@: {}, ')}}}\n"
        f"assets: {{{many(20_000, 'a@: {template: u@}, ')}}}"
    ),
    "doubled keys": lambda: many(90_000, "gateway: {}\n"),
    "assets times signals": lambda: plant(
        many(20_000, "s@: {address: '{x@}'}, "), many(20_000, "a@: {template: t}, ")
    ),
    "empty ranges": lambda: plant(
        many(20_000, "s@: {}, "), many(20_000, "'a{1@..0}': {template: t}, ")
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_soon(place: Path, name: str) -> None:
    assert judge(place, BOMBS[name]().encode())


def test_the_largest_plant_loads_soon(place: Path) -> None:
    """100,000 assets of ten signals each, in two lines, are allowed and checked in a moment."""
    text = plant(many(10, "s@: {address: '{asset}/@'}, "), "'P-{1..100000}': {template: t}")
    assert judge(place, text.encode()) == []


def test_the_fuzz_reaches_every_section() -> None:
    """The valid config has every key of the top, so that the mutations above reach them."""
    assert set(yaml.safe_load(VALID)) == {*Config.__dataclass_fields__}
