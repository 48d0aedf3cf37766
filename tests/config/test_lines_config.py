"""What is wrong with lines and shifts is said at its line, with what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from config_tables import find_problems

from edge_agent.config.shifts import Break, Shift

if TYPE_CHECKING:
    from pathlib import Path

PLANT = """\
sources: {bus: {type: bus, host: broker}}
templates:
  machine: {signals: {Running: {}, Count: {}, Sound: {kind: waveform}}}
assets: {"M{1..3}": {template: machine}}
"""
GOOD = """\
lines:
  main:
    shifts: plant
    machines:
      M1:
        states: [{state: running, when: Running > 0 and M2.Running > 0}]
        parts: Count
      M2: {packml: Running}
shifts:
  plant:
    shifts:
      early: {start: "06:00", end: "14:00", breaks: ["09:00-09:15"]}
      night: {start: "22:00", end: "06:00", breaks: ["01:00-01:30"]}
"""


def problems(tmp_path: Path, old: str = "", new: str = "") -> str:
    assert old in GOOD
    file = tmp_path / "edge.yaml"
    file.write_text(PLANT + GOOD.replace(old, new, 1))
    _, found = find_problems(file, files=False)
    return "\n".join(str(one) for one in found)


def test_a_good_line_has_no_problem(tmp_path: Path) -> None:
    assert not problems(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("shifts: plant", "shifts: plnt", "did you mean 'plant'?"),
        ("M2: {packml", "M9: {packml", "there is no asset 'M9'"),
        ("M2.Running >", "M2.Runing >", "there is no signal 'M2.Runing'"),
        ("parts: Count", "parts: Sound", "is not a number"),
        ("parts: Count", "parts: {kind: pulse}", "name the signal that counts"),
        ("parts: Count", "rejects: Count", "needs `parts`"),
        ("{packml: Running}", "{}", "how is its state known?"),
        ("state: running", "state: unknown", "is not allowed"),
        ("parts: Count", 'products: {"7": {ideal_cycle: 4s}}', "name the signal with the number"),
        ("parts: Count", "product: Count\n        products: {A: {ideal_cycle: 4s}}", "no number"),
        ("shifts: plant", "oee_of: M7", "is no machine of the line"),
        ("shifts: plant", "bottleneck: {buffers: {M7: 3}}", "before its last one"),
        ("shifts: plant", "bottleneck: {every: 1s}", "every"),
        ("shifts: plant", "bottleneck: {drift: 0}", "drift"),
        ('start: "06:00"', 'start: "6"', "is no time of day"),
        ("09:00-09:15", "05:00-05:15", "is not within the shift"),
        ("09:00-09:15", "09:00", "write 09:00-09:15"),
        ('"09:00-09:15"', '"09:00-09:15", "09:10-09:20"', "overlaps another break"),
        ('end: "14:00"', 'end: "23:00"', "overlaps another shift"),
        ('end: "06:00", b', 'end: "07:00", b', "overlaps another shift"),
        ("  plant:\n", "  plant:\n    timezone: Berlin\n", "is no time zone"),
        ("  plant:\n", '  plant:\n    holidays: ["25.12.2026"]\n', "is no date"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in problems(tmp_path, old, new)


def test_a_machine_is_in_one_line(tmp_path: Path) -> None:
    """Its states would be told twice, with two rules."""
    other = "  other: {machines: {M2: {packml: Running}}}\nshifts:\n  plant:"
    assert "of line main already" in problems(tmp_path, "shifts:\n  plant:", other)


def test_a_break_over_midnight_has_its_length_and_place() -> None:
    """Of a night shift: 01:00 is three hours after 22:00."""
    night, pause = Shift("22:00", "06:00"), Break.from_text("23:50-00:20")
    assert (night.minutes, pause.minutes, night.offset_of(pause)) == (480, 30, 110)
    assert night.offset_of(Break.from_text("01:00-01:30")) == 180
