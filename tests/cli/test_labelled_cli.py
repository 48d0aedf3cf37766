"""`edge-agent labelled`: what is listed, and what an export holds."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.clock import US_PER_S
from edge_agent.labelled import LabelledPicture, LabelledSet, LabelledWindow, entries_of

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
sources: {bus: {type: mqtt, url: mqtt://127.0.0.1, subscribe: [{topic: "a/{asset}/{signal}"}]}}
templates: {pump: {signals: {flow: {}}}}
assets: {P-1: {template: pump}}
"""


def window(asset: str, raised_s: int, *inputs: str) -> LabelledWindow:
    rows = np.full((3, len(inputs)), 1.5)
    rows[0, 0] = np.nan
    times_us = (raised_s + np.arange(3)) * US_PER_S
    active = np.array([False, True, True])
    alarm = f"{asset}.b"
    return LabelledWindow(alarm, asset, "m@1", raised_s * US_PER_S, inputs, times_us, active, rows)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose set, beside the store, has three windows."""
    kept = LabelledSet(tmp_path / "labelled", 1 << 20, 1 << 60)
    kept.add(window("P-1", 100, "flow"), "true", "bearing", 0)
    kept.add(window("P-1", 200, "flow", "speed"), "none", "", 0)
    kept.add(window("P-2", 300, "flow"), "false", "", 0)
    file = tmp_path / "edge-agent.yaml"
    file.write_text(f"{CONFIG}store: {{path: {tmp_path}/edge-agent.db}}\n")
    return file


def test_the_list_is_in_the_order_of_time(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labelled", "list", "-c", str(config), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shown = [(row["asset"], row["verdict"], row["part"], row["raised_ms"]) for row in rows]
    assert shown == [
        ("P-1", "true", "bearing", 100_000),
        ("P-1", "none", "", 200_000),
        ("P-2", "false", "", 300_000),
    ]
    assert main(["labelled", "list", "-c", str(config), "--asset", "P-2"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["RAISED", "ASSET", "VERDICT", "PART", "BYTES", "FILE"]
    assert row.split()[2:5] == ["P-2", "false", "-"]
    assert main(["labelled", "list", "-c", str(config), "--verdict", "planned"]) == 0
    assert capsys.readouterr().out == "nothing is kept\n"


def test_a_csv_has_all_windows_and_their_labels(config: Path, tmp_path: Path) -> None:
    """An input that a window lacks is empty, as a value that was not usable."""
    output = tmp_path / "all.csv"
    assert main(["labelled", "export", "-c", str(config), "--output", str(output)]) == 0
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert rows[0] == {
        "_time": "1970-01-01T00:01:40+00:00",
        "_active": "False",
        "_asset": "P-1",
        "_alarm": "P-1.b",
        "_model": "m@1",
        "_verdict": "true",
        "_part": "bearing",
        "flow": "",
        "speed": "",
    }
    assert [row["speed"] for row in rows] == ["", "", "", "1.5", "1.5", "1.5", "", "", ""]


def test_pictures_are_listed_and_not_exported(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the windows, in the order of time; an export is of rows."""
    kept = LabelledSet(tmp_path / "labelled" / "pictures", 1 << 20, 1 << 60)
    kept.add(LabelledPicture("LID.p", "LID", 150 * US_PER_S, b"\xff\xd8\xff"), "true", "dent", 0)
    assert main(["labelled", "list", "-c", str(config), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["asset"] for row in rows] == ["P-1", "LID", "P-1", "P-2"]
    assert rows[1]["path"].endswith("verdict=true/part=dent/150000000.df18621d.LID.jpg")
    output = tmp_path / "all.csv"
    assert main(["labelled", "export", "-c", str(config), "--output", str(output)]) == 0
    assert "3 windows" in capsys.readouterr().out


@pytest.mark.usefixtures("config")
def test_an_export_to_parquet_has_the_same_rows(tmp_path: Path) -> None:
    from arro3.io import read_parquet  # noqa: PLC0415 (an extra)

    output, folder = tmp_path / "all.parquet", str(tmp_path / "labelled")
    words = ["--folder", folder, "--verdict", "true", "--verdict", "false"]
    assert main(["labelled", "export", *words, "--output", str(output)]) == 0
    table = read_parquet(output).read_all()
    assert table.num_rows == 6
    assert table.column("_verdict").to_pylist() == ["true"] * 3 + ["false"] * 3
    assert 'Timestamp(\N{MICRO SIGN}s, "UTC")' in str(table.schema.field("_time").type)


def test_a_damaged_window_is_named_and_left_out(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = entries_of(tmp_path / "labelled")[0].path
    broken.write_bytes(broken.read_bytes()[:-9] + b"PAR1")
    output = tmp_path / "all.csv"
    assert main(["labelled", "export", "-c", str(config), "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert f"left out: {broken}" in said.err
    assert "2 windows, 6 rows" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--folder", "nowhere"], "there is no labelled set"),
        (["export", "--folder", ".", "--output", "all.xls"], "there is no such window"),
        (["learn"], "invalid choice"),
    ],
)
def test_wrong_use_is_told(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["labelled", *words]) == 2
    assert said in capsys.readouterr().err
