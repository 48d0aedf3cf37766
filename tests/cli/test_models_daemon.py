"""`edge-agent models` and a running daemon: what the verbs ask it and make of its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tiny_models import write_mean_bundle

from edge_agent.cli import api_client, main
from edge_agent.cli.duration import duration
from edge_agent.cli.models import look, report, wait
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.models import ModelRepository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Told = Callable[..., tuple[int, str, str]]

NOWHERE = "http://127.0.0.1:9"
CONFIG = """\
models_dir: {models}
http: {http}
sources: {{plant: {{type: replay, path: gone.csv}}}}
"""


def write_config(folder: Path, http: str = "{port: 9}") -> Path:
    file = folder / "edge-agent.yaml"
    file.write_text(CONFIG.format(models=folder / "models", http=http))
    return file


@pytest.mark.parametrize(
    ("http", "url"),
    [
        ("{}", "http://127.0.0.1:9460"),
        ("{host: 0.0.0.0, port: 8000, token: {env: T}}", "http://127.0.0.1:8000"),
        ("{host: '::1'}", "http://[::1]:9460"),
        ("{enabled: false}", None),
    ],
)
def test_the_daemon_is_asked_where_its_config_says(
    http: str, url: str | None, tmp_path: Path
) -> None:
    from edge_agent.daemon import load_config  # noqa: PLC0415

    assert api_client.url_of(load_config(write_config(tmp_path, http), files=False)) == url


# -- list: what the daemon refused ------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    return {"name": "pump", "version": "1", "mode": "active", "state": "active"} | changes


class Answers:
    """One answer after the other, the last one for ever; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, url: str = "", path: str = "", _query: object = None) -> Any:
        self.asked.append(url + path)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Call it with the daemon's answer for what `list` prints: version 1 is active, 2 is there."""
    there = ModelRepository(tmp_path / "models")
    for version in ("1", "2"):
        write_mean_bundle(tmp_path / version / "pump", float(version), version=version)
        there.install(tmp_path / version / "pump")
    there.activate("pump", "1")

    def call(answer: Any, *words: str) -> tuple[str, str]:
        answers = Answers(answer)
        monkeypatch.setattr(look, "query_rows", answers)
        assert main(["models", "list", "-c", str(write_config(tmp_path)), *words]) == 0
        assert answers.asked == [f"{NOWHERE}/api/models"]
        return capsys.readouterr()

    return call


def test_list_asks_the_daemon_what_it_refused(listed: Callable[..., tuple[str, str]]) -> None:
    """What was rolled back is no version to activate again, and the list says why."""
    gone = row(refused="1 of 3 scores are no\nnumber", refused_version="2", refused_ms=1)
    answer = [gone, row(mode="shadow")]
    rows = json.loads(listed(answer, "--json")[0])["bundles"]
    assert [(r["version"], r["state"], r["reason"]) for r in rows] == [
        ("1", "active", ""),
        ("2", "refused", "1 of 3 scores are no?number"),
    ]
    *_, second, why = listed(answer)[0].splitlines()
    assert second.split()[:3] == ["pump", "2", "refused"]
    assert why == "pump 2: refused: 1 of 3 scores are no?number"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ConnectError("no answer"), ""),
        (EdgeAgentError("HTTP 401", where=NOWHERE), f"{NOWHERE}: HTTP 401\n"),
        ([1], f"{NOWHERE}: the program that answers there is not edge-agent\n"),
        (
            [{"refused_version": "1"}],
            f"{NOWHERE}: the program that answers there is not edge-agent\n",
        ),
    ],
)
def test_the_list_of_the_disk_needs_no_daemon(
    answer: Any, says: str, listed: Callable[..., tuple[str, str]]
) -> None:
    out, err = listed(answer)
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["active", "shelf"]
    assert err == says


# -- after a change: what became of it --------------------------------------------------------

WISH = wait.Wish("pump", "2", "active", 1000.0)


@pytest.mark.parametrize(
    ("rows", "state", "failed"),
    [
        ([row(version="2")], "active", False),
        ([row()], "pending", True),
        ([], "pending", True),
        ([row(name="other", version="2")], "pending", True),
        ([row(state="warming", next="2")], "warming", False),
        ([row(version="2", state="failing", reason="NaN")], "refused", True),
        ([row(refused_version="2", refused_ms=2000, refused="slow")], "refused", True),
        ([row(refused_version="2", refused_ms=999, refused="slow")], "pending", True),
        ([row(refused_version="3", refused_ms=2000, refused="slow")], "pending", True),
        ([row(version="2", mode="shadow", state="running")], "pending", True),
    ],
)
def test_what_the_daemon_says_is_understood(
    rows: list[dict[str, Any]], state: str, *, failed: bool
) -> None:
    """Also that a refusal from before the command is no answer to it."""
    found = wait.judged(rows, WISH)
    assert (found.state, found.failed) == (state, failed)


@pytest.mark.parametrize(
    ("rows", "state", "failed"),
    [
        ([row(version="2", mode="shadow", state="running")], "running", False),
        ([row(version="2", mode="shadow", state="dropped", reason="slow")], "refused", True),
        ([row(version="2")], "pending", True),
    ],
)
def test_a_shadow_is_understood(rows: list[dict[str, Any]], state: str, *, failed: bool) -> None:
    found = wait.judged(rows, WISH._replace(mode="shadow"))
    assert (found.state, found.failed) == (state, failed)


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes on by itself: each look at the clock is a second later."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(wait, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(wait, "sleep", lambda _: None)


def awaited(*answers: Any, wait_s: float = 10) -> wait.Outcome:
    return wait.awaited(Answers(*answers), WISH, wait_s, NOWHERE)


def test_it_waits_until_the_version_is_at_work() -> None:
    found = awaited([row()], [row(state="warming", next="2")], [row(version="2")])
    assert found.state == "active"


def test_a_daemon_that_restarts_meanwhile_is_waited_for() -> None:
    found = awaited([row()], ConnectError("gone"), [row(version="2")])
    assert found.state == "active"


def test_a_daemon_that_is_not_there_is_not_waited_for() -> None:
    found = awaited(ConnectError("gone"))
    assert (found.state, found.failed) == ("on disk", False)


def test_the_wait_ends() -> None:
    assert awaited([row()]) == wait.Outcome("pending", "", failed=True)
    assert awaited([row(state="warming", next="2")]).state == "warming"


@pytest.mark.parametrize("rows", [[1], {"a": 1}, [{}], None, ["x"]])
def test_who_is_not_edge_agent_is_recognised(rows: Any) -> None:
    with pytest.raises(EdgeAgentError, match="is not edge-agent"):
        awaited(rows)


# -- report: a shadow beside the active version -----------------------------------------------

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
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Told:
    """Call it with the daemon's answer for exit code, stdout and stderr."""

    def ask(answer: object, *words: str) -> tuple[int, str, str]:
        answers = Answers(answer)
        monkeypatch.setattr(report, "request", answers)
        code = main(["models", "report", "pump", "-c", str(write_config(tmp_path)), *words])
        assert answers.asked == [f"{NOWHERE}/api/models/pump/report"]
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
    nothing: dict[str, Any] = {"compared": 0, "agreement": None, "correlation": None, "worst": []}
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
    assert "the program that answers there is not edge-agent" in err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (33, "33 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (259_200, "3 days")],
)
def test_a_comparison_of_seconds_is_not_told_in_hours(seconds: int, text: str) -> None:
    assert duration(seconds) == text
