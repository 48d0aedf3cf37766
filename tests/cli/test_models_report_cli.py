"""`edge-agent models report`: what the daemon says of a shadow, for a terminal and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.cli import main
from edge_agent.cli.models import report

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = Callable[..., tuple[int, str, str]]

SIDE = {
    "version": "1.2",
    "sha256": "0" * 64,
    "windows": 8640,
    "not_a_number": 0,
    "failed": 0,
    "latency_ms": {"p50": 0.4123, "p99": 1.25},
    "alarms": 3,
}
REPORT: dict[str, Any] = {
    "model": "pump",
    "state": "running",
    "reason": "",
    "from_ms": 0,
    "to_ms": 7_200_000,
    "compared": 8640,
    "agreement": 0.99815,
    "outcomes": {"neither": 8600, "only_candidate": 10, "only_active": 6, "both": 24},
    "skipped": 2,
    "correlation": 0.9712,
    "active": SIDE,
    "candidate": {**SIDE, "version": "1.3", "alarms": 4},
    "assets_served": 2,
    "worst": [
        {"asset": "P-1", "compared": 4320, "neither": 4290, "only_candidate": 10}
        | {"only_active": 6, "both": 14, "level_apart": 0.25}
    ],
    "lacking": {},
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Call it with the daemon's answer for exit code, stdout and stderr."""

    def ask(answer: object, *words: str) -> tuple[int, str, str]:
        paths: list[str] = []
        monkeypatch.setattr(report, "request", lambda _url, p: paths.append(p) or answer)
        code = main(["models", "report", "pump", *words])
        assert paths == ["/api/models/pump/report"]
        return code, *capsys.readouterr()

    return ask


def test_both_versions_stand_side_by_side(told: Told) -> None:
    code, out, _ = told(REPORT)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "pump: shadow running",
        "version 1.2 1.3",
        "would-be alarms 3 4",
        "latency p50, ms 0.412 0.412",
        "8640 windows compared over 2 h, 2 left out",
        "agreement 99.81%, correlation of levels 0.971",
        "P-1 4320 14 6 10 0.25",
    ):
        assert line in lines


def test_why_it_was_dropped_and_whom_it_cannot_serve(told: Told) -> None:
    """What comes from the daemon cannot control the terminal."""
    lacking = {"P-2": "no signal for input \x1b[31mflow"}
    _, out, _ = told(REPORT | {"state": "dropped", "reason": "a\nb", "lacking": lacking})
    assert "pump: shadow dropped: a?b" in out
    assert "P-2: the candidate cannot serve it: no signal for input ?[31mflow" in out


def test_nothing_compared_claims_nothing(told: Told) -> None:
    nothing = {"compared": 0, "agreement": None, "correlation": None, "worst": []}
    _, out, _ = told(REPORT | nothing | {"active": None})
    assert "no windows compared" in out
    assert "agreement" not in out
    assert "ACTIVE" not in out


def test_json_is_the_report_itself(told: Told) -> None:
    assert json.loads(told(REPORT, "--json")[1]) == REPORT


@pytest.mark.parametrize("answer", [[], {}, {"model": "pump"}, "text", None], ids=str)
def test_what_is_no_report_is_said(told: Told, answer: object) -> None:
    code, out, err = told(answer)
    assert (code, out) == (1, "")
    assert "what answers there is not edge-agent" in err
