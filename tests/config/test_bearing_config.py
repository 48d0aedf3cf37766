"""The bearing of a machine: a type, its geometry, or its defect orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from config_tables import find_problems

from edge_agent.config.bearing import Bearing
from edge_agent.config.structs import parse_struct
from edge_agent.daemon.tables import load_config
from edge_agent.errors import ConfigError
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from pathlib import Path

# As published for the rig of Case Western Reserve University.
DRIVE_END = (3.5848, 5.4152, 4.7135, 0.39828)


def test_a_speed_without_geometry_has_no_orders() -> None:
    """Damage can still be found, but not its part."""
    assert Bearing(rpm=1500).orders == (0, 0, 0, 0)


def read(tmp_path: Path, bearing: Any) -> Bearing:
    text = yaml.safe_dump(bearing)
    return parse_struct(text, tmp_path / "bearing.yaml", Bearing)


@pytest.mark.parametrize(
    "bearing",
    [
        {"model": 6205},
        {"model": "6205-2RS JEM"},
        {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04},
        {"bpfo": 3.5848, "bpfi": 5.4152, "bsf": 2.35675, "ftf": 0.39828},
    ],
)
def test_three_ways_to_write_the_same_bearing(tmp_path: Path, bearing: dict[str, Any]) -> None:
    """The orders are those that the rig's makers published."""
    assert read(tmp_path, bearing).orders == pytest.approx(DRIVE_END, rel=2e-4)


def test_a_contact_angle_moves_the_orders() -> None:
    """Rexnord ZA-2115: the University of Cincinnati states 236.4 and 296.9 Hz at 2000 1/min."""
    orders = Bearing(model="ZA-2115").orders
    assert 2000 / 60 * orders.outer == pytest.approx(236.4, abs=0.2)
    assert 2000 / 60 * orders.inner == pytest.approx(296.9, abs=0.2)


@pytest.mark.parametrize(
    ("bearing", "message"),
    [
        ({"model": "9999"}, "model: '9999' is not known; known: 6203"),
        ({}, "has no geometry: write model, or balls and diameters"),
        ({"model": "6205", "balls": 9}, "only one"),
        ({"balls": 2, "ball_diameter_mm": 8, "pitch_diameter_mm": 39}, "at least 3"),
        ({"balls": 9, "ball_diameter_mm": 39, "pitch_diameter_mm": 8}, "below pitch_diameter_mm"),
        ({"balls": 9}, "ball_diameter_mm: must be above 0"),
        ({"bpfo": 3.6}, "are needed together"),
        ({"balls": 9, "diameter": 3}, "unknown key 'diameter'"),
    ],
)
def test_a_bearing_that_cannot_be_meant(
    tmp_path: Path, bearing: dict[str, Any], message: str
) -> None:
    """Each mistake is told with its key."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, bearing)
    assert message in str(caught.value)


def test_an_assets_bearing_replaces_the_templates(tmp_path: Path) -> None:
    """`bearing: 6204` is short for its model."""
    file = tmp_path / "edge-agent.yaml"
    file.write_text(
        """
templates:
  fan: {bearing: {model: 6205, rpm: 1480}, signals: {load: {}}}
assets:
  F-1: {template: fan}
  F-2: {template: fan, bearing: 6204}
sources: {bus: {type: mqtt, url: "mqtt://127.0.0.1", subscribe: [{topic: "{asset}/{signal}"}]}}
"""
    )
    plant = Plant(load_config(file))
    assert plant.assets["F-1"].bearing == Bearing(model="6205", rpm=1480)
    assert plant.assets["F-2"].bearing == Bearing(model="6204")


SPEEDS = """
templates:
  fan:
    signals:
      vibration: {kind: waveform, rate_hz: 12000}
      rpm: {unit: 1/min}
      shaft: {unit: Hz}
      load: {unit: "%"}
      plain: {}
      tacho: {kind: waveform, rate_hz: 12000, unit: 1/min, pulses_per_turn: 1}
    bearing: BEARING
assets: {F-1: {template: fan}, F-2: {template: fan}}
"""


@pytest.mark.parametrize(
    ("bearing", "problem"),
    [
        ("{model: 6205, speed: rpm}", ""),
        ("{model: 6205, speed: shaft, speed_ratio: 0.25}", ""),
        ("{speed: rpm}", ""),
        ("{speed: tacho}", ""),
        ("{model: 6205, speed: rpn}", "speed: there is no signal 'rpn' (did you mean 'rpm'?)"),
        ("{model: 6205, speed: vibration}", "speed: is a waveform, not a number"),
        ("{model: 6205, speed: load}", "speed: 'load' has the unit '%', not that of a speed"),
        ("{model: 6205, speed: plain}", "speed: 'plain' has no unit (write unit: 1/min"),
        ("{model: 6205, speed: rpm, rpm: 1500}", "rpm is a fixed speed: write only one of them"),
        ("{model: 6205, speed_ratio: 2}", "speed_ratio: has no effect without speed"),
    ],
)
def test_a_speed_is_a_signal_with_the_unit_of_a_speed(
    tmp_path: Path, bearing: str, problem: str
) -> None:
    """Told once, with its key, although two assets share the template."""
    file = tmp_path / "edge-agent.yaml"
    file.write_text(SPEEDS.replace("BEARING", bearing))
    _, problems = find_problems(file, live=False)
    assert len(problems) == bool(problem)
    assert all(problem in str(one) for one in problems)


@pytest.mark.parametrize(
    ("signal", "problem"),
    [
        ("{kind: waveform, unit: V, pulses_per_turn: 1}", "unit: of a tacho is that of its speed"),
        ("{unit: 1/min, pulses_per_turn: 1}", "pulses_per_turn: has no effect without kind"),
    ],
)
def test_a_tacho_is_a_waveform_in_the_unit_of_a_speed(
    tmp_path: Path, signal: str, problem: str
) -> None:
    file = tmp_path / "edge-agent.yaml"
    text = "templates: {fan: {signals: {tacho: %s}}}\nassets: {F-1: {template: fan}}\n"
    file.write_text(text % signal)
    _, problems = find_problems(file, live=False)
    assert [problem in str(one) for one in problems] == [True]
