"""Limits in a config: what they mean, and every way in which they cannot be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_agent.config.limit_rules import rules_of, zone_bounds, zone_of
from edge_agent.config.problem import ConfigErrors
from edge_agent.daemon.tables import load_config
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config


def loaded(
    folder: Path, signal: dict[str, Any], asset: dict[str, Any] | None = None, **template: Any
) -> Config:
    """A config whose signal `x` (beside `run`, and the waveform `wave`) is this one."""
    signals = {"x": signal, "run": {}, "wave": {"kind": "waveform"}}
    config = {
        "sources": {
            "bus": {
                "type": "mqtt",
                "url": "mqtt://127.0.0.1",
                "subscribe": [{"topic": "a/{asset}/{signal}"}],
            }
        },
        "templates": {"pump": {"signals": signals, **template}},
        "assets": {"P-1": {"template": "pump", **(asset or {})}},
    }
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_config(path)


def rules(config: Config) -> dict[str, tuple[str, float, float, int]]:
    """By name: kind, limit, deadband and severity of the limits of x."""
    signal = Plant(config).assets["P-1"].signals["x"].config
    return {r.name: (r.kind, r.limit, r.deadband, r.severity) for r in rules_of(signal)}


def test_limits_in_short_and_in_full(tmp_path: Path) -> None:
    limits = {
        "high": 7.1,
        "high_high": {"limit": 11, "severity": 900, "deadband": 0.5},
        "low": {"below": 2, "deadband": "10 %"},
        "rate_high": "6/min",
        "own": {"falling": "3.6/h", "deadband": 0},
        "off": {"above": 1, "enabled": "false"},
    }
    found = rules(loaded(tmp_path, {"limits": limits}))
    assert found == {
        "high": ("above", 7.1, pytest.approx(0.071), 500),
        "high_high": ("above", 11.0, 0.5, 900),
        "low": ("below", 2.0, pytest.approx(0.2), 500),
        "rate_high": ("rising", pytest.approx(0.1), pytest.approx(0.001), 500),
        "own": ("falling", pytest.approx(0.001), 0.0, 500),
    }


def test_an_asset_has_limits_of_its_own(tmp_path: Path) -> None:
    asset = {"limits": {"x": {"high": 8, "low": 1}}}
    found = rules(loaded(tmp_path, {"limits": {"high": 7, "high_high": 9}}, asset))
    assert {name: rule[1] for name, rule in found.items()} == {
        "high": 8.0,
        "high_high": 9.0,
        "low": 1.0,
    }


@pytest.mark.parametrize(
    ("unit", "iso", "bounds"),
    [
        ("mm/s", {"group": 1, "foundation": "rigid"}, (2.3, 4.5, 7.1)),
        ("mm/s", {"group": 1, "foundation": "flexible"}, (3.5, 7.1, 11.0)),
        ("mm/s RMS", {"group": 2, "foundation": "rigid"}, (1.4, 2.8, 4.5)),
        ("mm/s (rms)", {"group": 2, "foundation": "flexible"}, (2.3, 4.5, 7.1)),
        ("mm/s", {"machine_class": "I"}, (0.71, 1.8, 4.5)),
        ("mm/s", {"machine_class": "II"}, (1.12, 2.8, 7.1)),
        ("mm/s", {"machine_class": "III"}, (1.8, 4.5, 11.2)),
        ("mm/s", {"machine_class": "IV"}, (2.8, 7.1, 18.0)),
        ("m/s", {"machine_class": "IV"}, (0.0028, 0.0071, 0.018)),
        ("in/s", {"group": 1, "foundation": "rigid"}, (0.09055, 0.1772, 0.2795)),
    ],
)
def test_zones_by_machine_class(
    tmp_path: Path, unit: str, iso: dict[str, Any], bounds: tuple[float, float, float]
) -> None:
    """Figures of ISO 20816-3 annex A and ISO 10816-1 annex B, in the signal's own unit."""
    config = loaded(tmp_path, {"unit": unit, "iso20816": iso})
    signal = Plant(config).assets["P-1"].signals["x"].config
    assert zone_bounds(signal) == pytest.approx(bounds)
    assert {name: rule[1] for name, rule in rules(config).items()} == {
        "zone_c": pytest.approx(bounds[1]),
        "zone_d": pytest.approx(bounds[2]),
    }


def test_the_zone_of_a_value() -> None:
    assert [zone_of((2.3, 4.5, 7.1), v) for v in (0, 2.3, 4.4, 4.5, 7.1, 99)] == list("ABBCDD")


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"limits": {"HH": 9}}, "its direction is unknown"),
    ({"limits": {"hot": 9}}, "its direction is unknown"),
    ({"limits": {"high": {}}}, "has 0 limits"),
    ({"limits": {"x": {"above": 1, "below": 2}}}, "has 2 limits"),
    ({"limits": {"high": {"below": 2}}}, "high means above"),
    ({"limits": {"high": "5/min"}}, "is not a rate"),
    ({"limits": {"rate_high": 5}}, "a rate is a number above 0 in a time"),
    ({"limits": {"rate_high": "-5/min"}}, "a rate is a number above 0 in a time"),
    ({"limits": {"rate_high": "5/week"}}, "is not a unit of time"),
    ({"limits": {"x": {"rising": 5}}}, "has no time"),
    ({"limits": {"high": "warm"}}, "is not a number"),
    ({"limits": {"high": {"limit": 5, "window": "10s"}}}, "has no effect on a limit of the value"),
    ({"limits": {"high": {"limit": 5, "rolls_over_at": 9}}}, "has no effect on a limit"),
    ({"limits": {"high": {"limit": 0, "deadband": "5 %"}}}, "a percentage of 0 is 0"),
    ({"limits": {"high": {"limit": 5, "deadband": "-1"}}}, "must not be negative"),
    ({"limits": {"high": {"limit": 5, "on_delay": "-1s"}}}, "is not a duration"),
    ({"limits": {"high": {"limit": 5, "onn_delay": "1s"}}}, "unknown key"),
    ({"limits": {"quality": {"above": 5}}}, "is the name of another alarm"),
    ({"limits": {"high": 20}, "valid": [0, 16]}, "is outside the signal's valid range"),
    ({"limits": {"low": -1}, "valid": [0, 16]}, "is outside the signal's valid range"),
    ({"limits": {"high": 9, "high_high": 8}}, "is not below high_high"),
    ({"limits": {"low": 9, "high": 8}}, "low (9) is not below high (8)"),
    ({"limits": {"low": 5, "low_low": 5}}, "low_low (5) is not below low (5)"),
    ({"limits": {"low": 5, "high": {"limit": 6, "deadband": 2}}}, "the deadband reaches beyond"),
    ({"limits": {"high": {"limit": 5, "when": "walk > 0"}}}, "there is no signal 'walk'"),
    ({"limits": {"high": {"limit": 5, "when": "wave > 0"}}}, "is a waveform"),
    ({"limits": {"high": {"limit": 5, "when": "run >"}}}, "is missing, at the ^ in: run >^"),
    ({"kind": "waveform", "limits": {"high": 5}}, "a waveform has no limits"),
    ({"iso20816": {"group": 1, "foundation": "rigid"}}, "is not a velocity"),
    ({"unit": "m/s2", "iso20816": {"machine_class": "I"}}, "is not a velocity"),
    ({"unit": "mm/s", "iso20816": {"group": 1}}, "write group: 1"),
    ({"unit": "mm/s", "iso20816": {"group": 3, "foundation": "rigid"}}, "must be between 1 and 2"),
    ({"unit": "mm/s", "iso20816": {"group": 1, "machine_class": "I"}}, "has the same meaning"),
]


@pytest.mark.parametrize(("signal", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_a_limit_that_cannot_be_meant(tmp_path: Path, signal: dict[str, Any], message: str) -> None:
    """With the line of its key."""
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, signal)
    assert message in str(caught.value)
    assert "templates.pump.signals.x" in str(caught.value)


def test_mistakes_of_conditions_and_of_an_asset(tmp_path: Path) -> None:
    asset = {"when": "stand", "limits": {"y": {"high": 1}, "x": {"high": 9}}}
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, {"limits": {"high_high": 8}}, asset, when="run > > 0")
    text = str(caught.value)
    assert "templates.pump.when: the name of a signal or a number is missing" in text
    assert "assets.P-1.when: there is no signal 'stand'" in text
    assert "assets.P-1.limits.y: there is no signal 'y'" in text
    assert "assets.P-1.limits.x.high: high (9) is not below high_high (8)" in text


def test_a_limit_beside_a_model_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    with pytest.raises(ConfigErrors, match=r"another alarm is called 'x.high'"):
        loaded(tmp_path, {"limits": {"high": 1}}, models=[{"bundle": "m", "name": "x.high"}])


def test_a_text_of_a_map_is_a_number_in_a_condition(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="text of a signal's map: write its number, 1"):
        loaded(tmp_path, {"map": {"RUNNING": 1, "STOPPED": 0}}, when="x == RUNNING")
