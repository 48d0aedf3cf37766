"""`edge-agent oee` over a recording, and against a daemon: table, JSON, CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli import main, oee

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
sources:
  line:
    type: mqtt
    url: mqtt://127.0.0.1:9
    subscribe: [{topic: "{asset}"}]
    stale_after: 1h
templates: {press: {signals: {State: {}, Parts: {}}}}
assets: {M1: {template: press}}
lines:
  main:
    shifts: plant
    machines:
      M1:
        states: [{state: running, when: State == 1}, {state: down, when: State == 2}]
        parts: Parts
        ideal_cycle: 60s
shifts: {plant: {timezone: UTC, shifts: {early: {start: "06:00", end: "14:00"}}}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A shift of a value a minute: 48 minutes down, 384 parts in the other 432."""
    (tmp_path / "edge.yaml").write_text(CONFIG)
    rows = ["time,State,Parts"]
    parts = 0
    for minute in range(481):
        state = 2 if 60 <= minute < 108 else 1
        rows.append(f"2026-03-02T{6 + minute // 60:02d}:{minute % 60:02d}:00Z,{state},{parts}")
        parts += state == 1 and minute % 9 != 0
    (tmp_path / "run.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(site: Path, *more: str) -> int:
    given = ("-c", str(site / "edge.yaml"), "--input", str(site / "run.csv"), "--asset", "M1")
    return main(["oee", *given, *more])


def test_a_recording_gives_the_shift(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A = 432/480 = 90 %; E = parts/432."""
    assert run(site, "--json") == 0
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found["indicators"]["availability"] == pytest.approx(0.9, abs=1e-4)
    made = found["elements"]["pq"]
    assert 380 <= made <= 385
    assert found["indicators"]["effectiveness"] == pytest.approx(made / 432, abs=1e-3)


def test_a_table_says_where_the_minutes_are(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(site) == 0
    head, row, losses = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["line", "machine", "shift", "OEE"]
    assert "90.0 %" in row
    assert "breakdowns 48.0 min" in losses


def test_a_csv_has_all_elements(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(site, "--csv") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert "apt_s" in head.split(",")
    assert row.startswith("main,M1,early,2026-03-02,")


def test_a_recording_needs_a_config_with_lines(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["oee", "--input", str(site / "run.csv"), "--asset", "M1"]) == 2
    (site / "edge.yaml").write_text(CONFIG.partition("lines:")[0])
    assert run(site) == 2
    assert "has no lines" in capsys.readouterr().err


def test_a_daemon_is_asked_for_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: Path
) -> None:
    """Closed shifts first, then the running one; an unknown line is wrong use."""
    assert run(site, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    running = {**result, "is_closed": False}
    lines = [{"line": "main", "oee_of": "M1", "machines": [{"current": running}]}]
    monkeypatch.setattr(oee, "request", lambda _url, _path: lines)
    monkeypatch.setattr(oee, "query_rows", lambda _url, _path, _query: [result])
    assert main(["oee", "main", "--json"]) == 0
    found = [json.loads(line)["is_closed"] for line in capsys.readouterr().out.splitlines()]
    assert found == [True, False]
    assert main(["oee"]) == 0
    assert "(running)" in capsys.readouterr().out
    assert main(["oee", "other"]) == 2
