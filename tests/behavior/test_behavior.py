"""Behaviours as data: every file of this folder, in every way in which values may come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from behavior import NOON_US, read, transitions

if TYPE_CHECKING:
    from edge_agent.messages import Transition

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
CASES = [(path, way) for path in FILES for way in read(path).ways]


@pytest.mark.parametrize(("path", "way"), CASES, ids=[f"{p.stem}, {w}" for p, w in CASES])
def test_behavior(path: Path, way: str, tmp_path: Path) -> None:
    behavior = read(path)
    found = [_row(each) for each in transitions(behavior, tmp_path, way)]
    wanted = [tuple(row) for row in behavior.expect]
    told = [row[: len(want)] for row, want in zip(found, wanted, strict=False)]
    assert [*told, *found[len(told) :]] == wanted, behavior.what


def _row(transition: Transition) -> tuple[float, str, str, str]:
    alarm = transition.alarm
    seconds = (transition.at_us - NOON_US) / 1e6
    key = alarm.detail.message_key if alarm.detail else ""
    return seconds, transition.kind.value, alarm.alarm_id, key


def test_there_are_behaviours() -> None:
    assert len(FILES) >= 8
