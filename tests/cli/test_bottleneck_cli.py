"""`edge-agent bottleneck` on tables: what it prints, and what it says of a wrong table."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from line_tables import write_line
from status_support import serving

from edge_agent.cli import main
from edge_agent.service.bottleneck_api import bottleneck_routes

if TYPE_CHECKING:
    from pathlib import Path


def test_the_bottleneck_of_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the machine; the table has a row for each machine and its gains."""
    states, parts = write_line(tmp_path)
    assert main(["bottleneck", "--input", str(states), "--parts", str(parts)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("states: S2 is the bottleneck (confidence ")
    assert "behind S1:" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("S")] == [
        "S1",
        "S2",
        "S3",
    ]


def test_last_hours_and_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--last cuts the table, --machines orders the line; JSON has the window."""
    states, parts = write_line(tmp_path)
    words = ["--parts", str(parts), "--machines", "S1,S2,S3", "--last", "2h", "--json"]
    assert main(["bottleneck", "--input", str(states), *words]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["to_ms"] - row["from_ms"] == 7_200_000
    assert [one["machine"] for one in row["stations"]] == ["S1", "S2", "S3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine,state,start\n", "no column 'end'"),
        ("machine,state,start,end\nA,sleeping,0,1\n", "line 2: no such state: 'sleeping'"),
        ("machine,state,start,end\nA,down,5,1\n", "line 2: the end is before the start"),
        ("machine,state,start,end\nA,down,noon,1\n", "line 2: no time: 'noon'"),
        ("machine,state,start,end\nA,down,nan,1\n", "line 2: no time: 'nan'"),
        ("machine,state,start,end\n", "no states of these machines"),
    ],
)
def test_wrong_tables(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong table is one line with the file, the line and what to do."""
    table = tmp_path / "states.csv"
    table.write_text(text)
    assert main(["bottleneck", "--input", str(table)]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_say_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Too few parts: the sentence says so, and a script sees it."""
    table = tmp_path / "short.csv"
    table.write_text("machine,state,start,end\nA,running,0,60\nB,starved,0,60\n")
    assert main(["bottleneck", "--input", str(table)]) == 1
    assert "too few parts" in capsys.readouterr().out


async def test_the_bottleneck_of_a_running_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--line asks the daemon and shows the same as the tables do."""
    states, parts = write_line(tmp_path)
    words = ["bottleneck", "--input", str(states), "--parts", str(parts)]
    assert main([*words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    answer = {"line": "main", "shift": row, "now": row, "drifts": []}

    class Provider:
        def rows(self) -> list[dict[str, Any]]:
            return [answer]

        def row(self, line: str) -> dict[str, Any]:
            assert line == "main"
            return answer

    async with serving(routes=bottleneck_routes(Provider())) as server:
        url = f"http://127.0.0.1:{server.port}"
        code = await asyncio.to_thread(main, ["bottleneck", "--line", "main", "--url", url])
    assert code == 0
    assert "S2 is the bottleneck" in capsys.readouterr().out
