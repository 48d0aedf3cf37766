"""`models report` finds the daemon as the other verbs do, and tells time in fit units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.cli import main
from edge_agent.cli.duration import duration
from edge_agent.cli.models import report

if TYPE_CHECKING:
    from pathlib import Path


def test_the_config_says_where_the_daemon_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text("http: {port: 9471}\nsources: {rec: {type: replay, path: x.csv}}\n")
    asked: list[str] = []
    monkeypatch.setattr(report, "request", lambda url, _path: asked.append(url) or {})
    main(["models", "report", "pump", "-c", str(config), "--json"])
    assert asked == ["http://127.0.0.1:9471"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (33, "33 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (259_200, "3 days")],
)
def test_a_comparison_of_seconds_is_not_told_in_hours(seconds: int, text: str) -> None:
    assert duration(seconds) == text
