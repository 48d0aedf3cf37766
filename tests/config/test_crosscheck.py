"""What one part of a config says about another, and what it must not be blamed for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from config_tables import find_problems

from edge_agent.config.config_warnings import warnings
from edge_agent.config.problem import MAX_PROBLEMS, ConfigErrors
from edge_agent.config.types import Cycle, Name
from edge_agent.daemon import load_config
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.schema import Config

TEMPLATE = """
templates:
  t:
    learn: auto
    signals: {shared: {address: "{asset}/{bay}"}}
    models: [{bundle: b, inputs: {x: own}}]
"""

LEARNING = """
sources: {{s: {{type: bus, host: h}}}}
templates: {{pump: {{signals: {{flow: {{}}}}, learn: {learn}}}}}
assets: {{P-1: {{template: pump}}}}
"""


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., list[str]]:
    """Call it with YAML for its problems; a source is there already."""

    def read(text: str, *, files: bool = True) -> list[str]:
        file = tmp_path / "edge.yaml"
        file.write_text(f"sources: {{s: {{type: bus, host: h}}}}\n{text}")
        problems = find_problems(file, files=files)[1]
        return [str(problem).removeprefix(f"{file}:") for problem in problems]

    return read


def test_a_signal_of_every_asset_may_be_a_models_input(said: Callable[..., list[str]]) -> None:
    """But not one that an asset of the template lacks, whichever comes first."""
    with_own = "{template: t, variables: {bay: b}, signals: {own: {}}}"
    without = "{template: t, variables: {bay: b}}"
    assert said(f"{TEMPLATE}assets: {{A: {with_own}, B: {with_own}}}") == []
    for assets in (f"{{A: {with_own}, B: {without}}}", f"{{A: {without}, B: {with_own}}}"):
        (line,) = said(f"{TEMPLATE}assets: {assets}")
        assert "models[0].inputs.x: the template has no signal 'own'" in line


def test_trends_have_a_file_of_their_own(said: Callable[..., list[str]]) -> None:
    """Not that of the store."""
    (line,) = said("store: {path: x.db}\ntrends: {path: x.db}")
    assert line.startswith("3: trends.path: this is the file of the store")
    assert said("store: {path: x.db}\ntrends: {path: y.db}") == []


def test_an_unknown_placeholder_is_said_once(said: Callable[..., list[str]]) -> None:
    """Not for each of the assets that share the address."""
    assets = "".join(f"  A{n}: {{template: t, signals: {{own: {{}}}}}}\n" for n in range(50))
    (line,) = said(f"{TEMPLATE}assets:\n{assets}")
    assert line == (
        "6: templates.t.signals.shared.address: nothing is known for {bay} of asset 'A0' "
        "(known: asset, line, signal)"
    )


def test_an_address_that_is_overridden_needs_no_variables(
    said: Callable[..., list[str]],
) -> None:
    assets = "{A: {template: t, signals: {own: {}, shared: {address: x}}}}"
    assert said(f"{TEMPLATE}assets: {assets}") == []


@pytest.mark.parametrize("address", ["{}", "{0}", "g={09087e75-8e5e}", "a{ b }", "$.a['{']"])
def test_other_braces_are_the_addresss_own(said: Callable[..., list[str]], address: str) -> None:
    text = f'templates: {{t: {{signals: {{a: {{address: "{address}"}}}}}}}}'
    assert said(f"{text}\nassets: {{A: {{template: t}}}}") == []


@pytest.mark.parametrize(
    ("signals", "assets", "problems"), [(10, 100_000, 0), (9, 100_001, 1), (11, 100_000, 1)]
)
def test_assets_and_signals_are_bounded(
    said: Callable[..., list[str]], signals: int, assets: int, problems: int
) -> None:
    """100,000 assets; 1,000,000 signals."""
    text = ", ".join(f"s{n}: {{}}" for n in range(signals))
    template = f"templates: {{t: {{signals: {{{text}}}}}}}"
    lines = said(f"{template}\nassets: {{'A{{1..{assets}}}': {{template: t}}}}")
    assert len(lines) == problems
    assert all("more than 100000 assets or 1000000 signals" in line for line in lines)


def test_a_missing_bundle_is_a_problem_only_where_it_is_needed(
    said: Callable[..., list[str]],
) -> None:
    """`learn` is about to make it, or the asset will learn it by itself."""
    assert said(TEMPLATE) == [
        "7: templates.t.models[0].inputs.x: the template has no signal 'own' (known: shared)"
    ]
    text = TEMPLATE.replace("x: own", "x: shared").replace("learn: auto", "learn: {auto: false}")
    (line,) = said(text)
    assert line.startswith("7: templates.t.models[0].bundle: there is no bundle ")
    assert said(text, files=False) == []


def test_a_bundle_whose_name_is_wrong_is_not_looked_for(said: Callable[..., list[str]]) -> None:
    text = TEMPLATE.replace("x: own", "x: shared").replace("learn: auto", "learn: {auto: false}")
    (line,) = said(text.replace("bundle: b", "bundle: ../b"))
    assert "is not a name" in line


def test_a_server_that_is_off_needs_no_token(said: Callable[..., list[str]]) -> None:
    assert said("http: {host: 0.0.0.0, enabled: false}") == []


def test_a_token_that_is_wrong_is_there_all_the_same(said: Callable[..., list[str]]) -> None:
    (line,) = said("http: {host: 0.0.0.0, token: abc}")
    assert "http.token: a secret is never written into the config" in line


def test_a_private_address_is_no_loopback(said: Callable[..., list[str]]) -> None:
    (line,) = said("http: {host: 192.168.1.5}")
    assert "a key is needed" in line


def test_no_source_is_one_problem(tmp_path: Path) -> None:
    """Not one for each signal."""
    file = tmp_path / "edge.yaml"
    file.write_text("templates: {t: {signals: {a: {}, b: {source: x}}}}")
    (problem,) = find_problems(file)[1]
    assert str(problem) == (
        f"{file}:1: sources: there is no source "
        "(without one no value arrives; only a recording (--input) needs none)"
    )


def test_a_config_for_recordings_needs_no_source(tmp_path: Path) -> None:
    """Also if its signals name sources of the plant from which it was copied."""
    file = tmp_path / "edge.yaml"
    file.write_text("templates: {t: {signals: {a: {}, b: {source: x}}}}")
    config = load_config(file, live=False)
    assert config.sources == {}
    file.write_text("templates: {t: {signals: {a: {}, b: {source: x}}}}\nsources: 3")
    with pytest.raises(ConfigErrors, match="sources"):
        load_config(file, live=False)


def test_the_list_of_problems_ends(said: Callable[..., list[str]]) -> None:
    lines = said("".join(f"gatewai{n}: 1\n" for n in range(MAX_PROBLEMS + 500)))
    assert len(lines) == MAX_PROBLEMS + 1
    assert "did you mean 'gateway'?" in lines[0]
    assert "did you mean" not in lines[-2]  # comparing names is dear: the first hundred get it
    assert lines[-1].endswith(f"and more: only {MAX_PROBLEMS} are shown")


def test_an_alias_may_not_pass_the_depth(said: Callable[..., list[str]]) -> None:
    """Thirty deep twice is sixty deep."""
    deep = "[" * 30 + "]" * 30
    (line,) = said(f"a: &a {deep}\nb: {'[' * 30}*a{']' * 30}")
    assert line == "3: nested more than 50 deep"


def test_an_alias_is_paid_for_each_time(said: Callable[..., list[str]]) -> None:
    """A thousand values, used three hundred times, in 6 KB."""
    thousand = ", ".join(["x"] * 1000)
    (line,) = said(f"a: &a [{thousand}]\nb: [{', '.join(['*a'] * 300)}]")
    assert line.startswith("3: more than 200000 values")


def test_the_plant_is_what_was_checked(tmp_path: Path) -> None:
    """Every asset of a sound config can be built, with each placeholder filled."""
    file = tmp_path / "edge.yaml"
    assets = """assets:
  "{01..03}-{7..8}":
    {template: t, line: l9, variables: {bay: b1}, signals: {own: {address: "{line}.{signal}"}}}
"""
    file.write_text(f"sources: {{s: {{type: bus, host: h}}}}\n{TEMPLATE}{assets}")
    config: Config | None = find_problems(file)[0]
    assert config is not None
    plant = Plant(config)
    assert list(plant.assets) == ["01-7", "01-8", "02-7", "02-8", "03-7", "03-8"]
    assert [s.address for s in plant.assets["02-7"].signals.values()] == ["02-7/b1", "l9.own"]


def test_two_uses_of_one_bundle_need_names_of_their_own(said: Callable[..., list[str]]) -> None:
    """Their alarms are known by them."""
    text = "templates: {t: {learn: auto, models: [{bundle: b}, %s]}}"
    assert said(text % "{bundle: b, name: other}") == []
    (line,) = said(text % "{bundle: b}")
    assert "models[1].bundle: 'b' is used twice" in line
    (line,) = said(text % "{bundle: c, name: b}")
    assert "models[1].name: 'b' is used twice" in line
    (line,) = said(text % "{bundle: c, name: flood}")
    assert "models[1].name: 'flood' is the name of another alarm" in line


@pytest.mark.parametrize(
    ("learn", "by_itself"),
    [
        ("auto", True),
        ("yes", True),
        ("true", True),
        ("no", False),
        ("{duration: 24h}", True),
        ("{duration: 5m}", True),
        ("{first_after: 15m}", True),
        ("{duration: 5m, auto: false}", False),
        ("{length: 32}", False),
    ],
)
def test_who_says_for_how_long_wants_it_to_learn(
    tmp_path: Path, learn: str, *, by_itself: bool
) -> None:
    """A duration without `auto` learned nothing, in silence."""
    file = tmp_path / "c.yaml"
    file.write_text(LEARNING.format(learn=learn))
    config, problems = find_problems(file)
    assert problems == []
    assert config is not None
    rule = config.templates[Name("pump")].learn
    assert rule is not None
    assert rule.by_itself == by_itself
    told = [line for line in warnings(config) if "nothing learns by itself" in line]
    assert bool(told) == (learn == "{length: 32}")


@pytest.mark.parametrize(
    ("learn", "told"),
    [
        (
            "{auto: true, step: 1h}",
            "baseline takes 10.7d of good data, the full one 42.7d",
        ),
        ("{auto: true, step: 3m}", ""),
        ("{auto: true, step: 10m}", "takes 42.7h of good data, the full one 7.11d"),
        ("{step: 1h, duration: 60d}", ""),
        ("auto", ""),
    ],
)
def test_a_long_step_takes_long_and_that_is_said(tmp_path: Path, learn: str, told: str) -> None:
    """It is counted in rows: 1024 of an hour are six weeks."""
    file = tmp_path / "c.yaml"
    file.write_text(LEARNING.format(learn=learn))
    config, problems = find_problems(file)
    assert (problems, config is None) == ([], False)
    assert config is not None
    found = [line for line in warnings(config) if "of good data" in line]
    assert len(found) == bool(told)
    assert all(told in line for line in found)


def test_a_folder_of_models_that_is_none_is_said_once(said: Callable[..., list[str]]) -> None:
    """Not after a day of data: two templates learn into a file."""
    text = """
templates:
  a: {signals: {flow: {}}, learn: auto}
  b: {signals: {flow: {}}, learn: auto}
assets: {A: {template: a}, B: {template: b}}
models_dir: edge.yaml/models
"""
    (problem,) = said(text)
    assert problem.startswith("6: models_dir: 'edge.yaml/models':") or "is not a folder" in problem
    assert "is not a folder (learned models are written there)" in problem


@pytest.mark.parametrize(
    ("learn", "problem"),
    [
        (
            "{mode: [speed]}",
            "learn.mode[0]: the template has no signal 'speed' (known: flow, wave)",
        ),
        ("{mode: [wave]}", "learn.mode[0]: is a waveform, not a number"),
        ("{mode: [flow], inputs: [flow]}", "learn.mode: no input is left to judge"),
        ("{cycle: start}", "learn.cycle: the template has no signal 'start'"),
        ("{cycle: wave}", "learn.cycle: is a waveform, not a number"),
        ("{cycle: 5x}", "learn.cycle: '5x' is not a duration"),
        ("{cycle: 0s}", "learn.cycle: '0s' is no cycle (write 60s, none, or"),
    ],
)
def test_conditions_and_cycles_that_cannot_be(
    said: Callable[..., list[str]], learn: str, problem: str
) -> None:
    """Each names its line, its key, and what to write instead."""
    text = """
templates:
  pump:
    signals: {flow: {}, wave: {kind: waveform, rate_hz: 100}}
    learn: %s
assets: {P-1: {template: pump}}
"""
    (line,) = said(text % learn)
    assert problem in line
    assert line.startswith("6: templates.pump.")


@pytest.mark.parametrize(
    ("text", "cycle"),
    [
        ("60s", Cycle(60.0)),
        ("90", Cycle(90.0)),
        ("none", Cycle()),
        ("flow", Cycle(start="flow")),
    ],
)
def test_a_cycle_is_a_period_none_or_a_signal(tmp_path: Path, text: str, cycle: Cycle) -> None:
    """A number is in seconds."""
    file = tmp_path / "c.yaml"
    file.write_text(LEARNING.format(learn=f"{{cycle: {text}}}"))
    config, problems = find_problems(file)
    assert problems == []
    assert config is not None
    rule = config.templates[Name("pump")].learn
    assert rule is not None
    assert rule.cycle == cycle
