"""The example of docs/maintenance-plan.md, calculated by hand there, and what its reasons say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.cli import main
from edge_agent.insight.maintenance import calendar_of, make_plan, read_case, table_of
from edge_agent.insight.maintenance.calendar_in import busy_times
from edge_agent.insight.maintenance.child import plans_of

if TYPE_CHECKING:
    from edge_agent.insight.maintenance import Question

DOC = Path(__file__).parents[2] / "docs" / "maintenance-plan.md"
LANGUAGES = {"en", "zh", "ja", "de"}


def example() -> str:
    (found,) = re.findall(r"```yaml\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    file = tmp_path / "case.yaml"
    file.write_text(example())
    return read_case(file)


@pytest.fixture
def plan(question: Question) -> dict[str, Any]:
    *_, last = plans_of(question)
    return last


def of(plan: dict[str, Any], asset: str) -> dict[str, Any]:
    (line,) = (one for one in plan["lines"] if one["asset"] == asset)
    return dict(line)


def local(line: dict[str, Any], key: str) -> str:
    return f"{datetime.fromtimestamp(line[key] / 1000, UTC):%m-%dT%H:%M}"


def test_the_numbers_are_those_by_hand(plan: dict[str, Any]) -> None:
    """To the cent, and the times of Berlin in winter as UTC."""
    wear, late, none = (of(plan, name) for name in ("P-101", "P-102", "P-103"))
    assert [one["asset"] for one in plan["lines"]] == ["P-103", "P-101", "P-102"]
    assert (wear["status"], late["status"], none["status"]) == ("planned", "late", "impossible")
    assert (wear["loss"], wear["probability"], wear["expected_cost"]) == (22800, 0.078333, 1786.0)
    assert wear["wait_cost"] == 10868.0
    assert (local(wear, "start_ms"), local(wear, "end_ms")) == ("12-05T07:00", "12-05T11:00")
    assert (late["probability"], late["expected_cost"]) == (0.170868, 3075.63)
    assert (late["wait_cost"], local(late, "start_ms")) == (7596.64, "12-05T05:00")
    assert (none["probability"], none["expected_cost"]) == (0.671429, 12085.71)
    assert [wear["bound"], late["bound"], none["bound"]] == ["first", "no_stop_before", "skill"]
    assert plan["expected_cost"] == pytest.approx(1786.0 + 3075.63 + 12085.71)
    assert DOC.read_text("utf-8").count("7596.64") == 1, "the page has the same"


def test_every_line_is_explained_in_four_languages(plan: dict[str, Any]) -> None:
    for line in plan["lines"]:
        assert set(line["why"]) == set(line["what"]) == LANGUAGES
        assert len(set(line["why"].values())) == len(LANGUAGES), line["asset"]
        assert not re.search(r"[{}\[\]]", "".join(line["why"].values()))
    why = of(plan, "P-101")["why"]
    assert "fails before 2026-12-06 08:00" in why["en"]
    assert "10 868 EUR more" in why["en"].replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "7,83 %" in why["de"], "the decimal sign of the language"
    assert "TOO LATE" in of(plan, "P-102")["why"]["en"]
    assert "no crew has the skills gearbox" in of(plan, "P-103")["why"]["en"]


async def test_the_process_answers_the_same(question: Question, plan: dict[str, Any]) -> None:
    assert await make_plan(question) == plan


async def test_a_solver_without_memory_leaves_the_greedy_plan(
    question: Question, plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line is there before the solver begins; a half line after it does not count."""
    monkeypatch.setattr("edge_agent.insight.maintenance.process.child_command", _broken)
    monkeypatch.setattr("edge_agent.insight.maintenance.process._MODULE", "")
    found = await make_plan(question)
    assert found == {"by": "greedy", "lines": []}
    assert plan["by"] == "greedy"


def _broken(_: str) -> list[str]:
    code = 'import sys; sys.stdin.buffer.read(); print(\'{"by": "greedy", "lines": []}\')'
    return ["python3", "-c", f'{code}; sys.stdout.write(\'{{"by": "sol\'); sys.exit(1)']


def test_the_calendar_is_read_back_by_rfc_5545(plan: dict[str, Any]) -> None:
    """CRLF, lines of 75 octets, and the times of the plan; those without a stop are no events."""
    for language in LANGUAGES:
        raw = calendar_of(plan, language)
        assert raw.endswith(b"END:VCALENDAR\r\n")
        assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
        assert b"\n" not in raw.replace(b"\r\n", b"")
        begin, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
        found, notes = busy_times(raw, begin, end, UTC)
        assert [f"{one.start:%H:%M}-{one.end:%H:%M}" for one in found] == [
            "05:00-07:00",
            "07:00-11:00",
        ]
        assert notes == []


def test_the_table_has_a_line_for_each_job(plan: dict[str, Any]) -> None:
    lines = table_of(plan, "en").decode().splitlines()
    assert len(lines) == 1 + 3
    assert lines[2].startswith(
        "2,P-101:bearing_wear,P-101,bearing wear,planned,2026-12-06T07:00:00Z"
    )
    evil = {**plan, "lines": [{**plan["lines"][1], "asset": "=1+1", "crew": "@x"}]}
    assert ",'=1+1," in table_of(evil, "en").decode()


@pytest.mark.parametrize("form", ["--json", "--csv", "--ics", "--why"])
def test_the_command_prints_every_form(
    form: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(example())
    assert main(["plan", "--input", str(file), form, "--language", "de"]) == 0
    out = capfdbinary.readouterr().out
    assert b"P-101" in out
    assert {
        "--json": out.startswith(b"{"),
        "--csv": out.startswith(b"rank,"),
        "--ics": out.startswith(b"BEGIN:VCALENDAR\r\n"),
        "--why": "Lagerverschleiß".encode() in out,
    }[form]


def test_a_wrong_case_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(example().replace("p50_h: 240", "p50_h: 24"))
    assert main(["plan", "--input", str(file)]) == 78
    assert "case.yaml:7: lives[0].p50_h: quantiles rise" in capsys.readouterr().err
    assert main(["plan", "--input", str(tmp_path / "none.yaml")]) == 2
