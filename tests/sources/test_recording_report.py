"""What a recording holds that is no data: by column and cause, with an example and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NO_SOURCE

from edge_agent.config.schema import Asset, Config, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.replay import Recording, ReplayConfig
from edge_agent.sources.replay.report import CAUSES
from edge_agent.sources.replay.time_order import TimeOrder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Row = Callable[[int], str]

ROWS = 40


def make_plant(*assets: str) -> Plant:
    signals = {Name("flow"): Signal(valid=(0, 1000)), Name("temp"): Signal(map={"COLD": 4.0})}
    config = Config(
        sources={Name("rec"): NO_SOURCE},
        templates={Name("pump"): Template(signals=signals)},
        assets={asset: Asset(Name("pump")) for asset in assets or ("P1",)},
    )
    return Plant(config)


def stamp(second: int) -> str:
    return f"2026-01-01T12:{second // 60:02}:{second % 60:02}Z"


def table(row: Row, head: str = "time,flow,temp") -> str:
    return "\n".join([head, *(row(n) for n in range(ROWS))]) + "\n"


def read(path: Path, text: str, plant: Plant | None = None, **options: Any) -> Recording:
    path.write_text(text)
    options.setdefault("asset", "P1")
    recording = Recording(ReplayConfig(path, **options), plant or make_plant(), quiet=True)
    for _ in recording.blocks():
        pass
    return recording


def found(recording: Recording) -> set[tuple[str, str, int, int]]:
    return {(f.column, f.cause, f.n, f.rows) for f in recording.report.findings()}


TABLES: dict[str, tuple[str, set[tuple[str, str, int, int]]]] = {
    "nothing": (table(lambda n: f"{stamp(n)},{n},1.5"), set()),
    "text": (
        table(lambda n: f"{stamp(n)},{n},{'HOT' if n % 4 else 'COLD'}"),
        {("temp", "text", 30, 40)},
    ),
    "two causes": (
        table(lambda n: f"{stamp(n)},{n},{('1.5', 'HOT', '1.2.3', '')[n % 4]}"),
        {("temp", "text", 10, 40), ("temp", "number", 10, 40), ("temp", "empty", 10, 40)},
    ),
    "may be several": (
        table(lambda n: f'{stamp(n)};{n};"1,{n + 100}"', "time;flow;temp"),
        {("temp", "decimal", 40, 40)},
    ),
    "two decimal signs": (
        table(lambda n: f"{stamp(n)};{n};1{'.' if n else ','}5", "time;flow;temp"),
        {("temp", "sign", 1, 40)},
    ),
    "two units": (
        table(lambda n: f"{stamp(n)},{n},{'2 kPa' if n > 9 else '3 bar'}"),
        {("temp", "unit", 30, 40)},
    ),
    "infinite": (
        table(lambda n: f"{stamp(n)},{'inf' if n % 2 else '1e999'},1.5"),
        {("flow", "infinite", 40, 40)},
    ),
    "no value in a column": (table(lambda n: f"{stamp(n)},{n},#N/A"), {("temp", "empty", 40, 40)}),
    "out of range": (
        table(lambda n: f"{stamp(n)},{-1 if n == 7 else n},1.5"),
        {("flow", "out_of_range", 1, 40)},
    ),
    "not a time": (
        table(lambda n: f"{'-' if n == 3 else stamp(n)},{n},1.5"),
        {("time", "time", 1, 40)},
    ),
    "blanks in a short row of a table with tabs": (
        "time\tflow\ttemp\n" + f"{stamp(0)}\t12 kPa?\n" + f"{stamp(1)}\t1\t2\n",
        {("flow", "text", 1, 2), ("temp", "empty", 1, 2)},
    ),
    "equal times": (
        table(lambda n: f"{stamp(n - n % 2 * (n > 20))},{n},1.5"),
        {("time", "equal_time", 10, 40)},
    ),
    "equal times of different signals": (
        table(lambda n: f"{stamp(n // 2)},{'' if n % 2 else n},{n if n % 2 else ''}"),
        {("flow", "empty", 20, 40), ("temp", "empty", 20, 40)},
    ),
    "a time far ahead": (
        table(lambda n: f"{stamp(99 if n == 30 else n)},{n},1.5"),
        {("time", "earlier_time", 9, 40)},
    ),
    "newest first": (table(lambda n: f"{stamp(99 - n)},{n},1.5"), set()),
    "newest first, but one": (
        table(lambda n: f"{stamp(99 - n if n != 30 else 99)},{n},1.5"),
        {("time", "equal_time", 1, 40), ("time", "earlier_time", 1, 40)},
    ),
    "more cells than names": (
        table(lambda n: f"{stamp(n)},{n},1.5" + ",9" * (n == 5)),
        {("", "columns", 1, 40)},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_column_is_named_with_the_cause_and_how_many_of_how_many(
    tmp_path: Path, name: str
) -> None:
    text, expected = TABLES[name]
    recording = read(tmp_path / "run.csv", text)
    assert found(recording) == expected
    for one in recording.report.findings():
        assert CAUSES[one.cause].what in str(one)
        assert f"in {one.n} of " in str(one)
        assert "run.csv, line " in str(one)
        assert one.mend in str(one)


def test_a_line_has_the_first_cell_its_place_and_what_to_do(tmp_path: Path) -> None:
    recording = read(tmp_path / "run.csv", TABLES["text"][0])
    (line,) = map(str, recording.report.findings())
    assert line == (
        "column 'temp': text in 30 of 40 rows, such as 'HOT' in run.csv, line 3 "
        "(give its signal a map {WORD: number}, or remove the column)"
    )


def test_rows_of_several_files_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(TABLES["text"][0].replace("2026-01-01", "2026-01-02"))
    recording = read(tmp_path / "a.csv", TABLES["text"][0])
    both = Recording(ReplayConfig(tmp_path / "*.csv", asset="P1"), make_plant(), quiet=True)
    list(both.blocks())
    assert found(recording) == {("temp", "text", 30, 40)}
    assert found(both) == {("temp", "text", 60, 80)}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (lambda n: f"{stamp(0)},{n},1.5", r"39 of 40 rows.*'2026-01-01T12:00:00Z' in line 3"),
        (lambda n: f"{stamp(n * 20)[:-4]},{n},1.5", "of 40 rows have the time of another row"),
    ],
)
def test_times_that_are_coarser_than_the_rows_are_refused(
    tmp_path: Path, row: Row, says: str
) -> None:
    """Most values would be lost, and nothing would show it."""
    with pytest.raises(EdgeAgentError, match=says):
        read(tmp_path / "run.csv", table(row))


def test_long_rows_of_one_time_are_not_equal_times(tmp_path: Path) -> None:
    """Each signal has its own order: one after the other, or all at once."""
    rows = [f"{stamp(n)},{tag},{n}" for n in range(ROWS) for tag in ("flow", "temp")]
    for order in (rows, sorted(rows, key=lambda row: row.split(",")[1])):
        recording = read(tmp_path / "run.csv", "time,tag,value\n" + "\n".join(order))
        assert found(recording) == set()
    rows[30] = rows[28]
    recording = read(tmp_path / "run.csv", "time,tag,value\n" + "\n".join(rows))
    assert found(recording) == {("time", "equal_time", 1, 80)}


def test_a_column_that_may_be_a_quality_is_named(tmp_path: Path) -> None:
    """Its values are good until it is set, and then the bad ones are not used."""
    text = table(lambda n: f"{stamp(n)},{n},{'Bad' if n == 3 else 'Good'}", "time,flow,flow_status")
    recording = read(tmp_path / "run.csv", text)
    assert recording.report.unused_qualities() == ["flow_status"]
    recording = read(tmp_path / "run.csv", text, quality="{column}_status")
    assert recording.report.unused == []


def test_columns_without_a_signal_and_signals_without_a_column_are_listed(tmp_path: Path) -> None:
    """Only of assets that are in the recording."""
    text = table(lambda n: f"{stamp(n)},{n},7", "time,P1.flow,note")
    recording = read(tmp_path / "run.csv", text, make_plant("P1", "P2"), asset="")
    assert recording.report.unused == ["note"]
    assert recording.without_column() == ["P1.temp"]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (TABLES["nothing"][0], {}, []),
        (
            table(lambda n: f"{n % 28 + 1}.1.2026 12:00;{n},5;1", "time;flow;temp"),
            {},
            ["separator ';', decimal ',', times without a zone are UTC (--timezone)"],
        ),
        (
            table(lambda n: f"2026-01-01 12:00:{n}\t{n}\t1", "time\tflow\ttemp"),
            {"timezone": "Asia/Tokyo"},
            ["separator tab"],
        ),
        (
            table(lambda n: f"{n}.5,{n},1"),
            {},
            ["times count from a start, in seconds if their column names no unit"],
        ),
        (table(lambda n: f"{n},{n},1"), {"time_format": "ms"}, []),
        (table(lambda n: f"{stamp(n)},{n},1.{n + 100}"), {}, ["1.234 as a decimal (--decimal)"]),
        (table(lambda n: f"{stamp(n)},{n + 0.5},1.{n + 100}"), {}, []),
    ],
)
def test_what_was_detected_is_said(
    tmp_path: Path, text: str, options: dict[str, Any], says: list[str]
) -> None:
    """Only what is not said by an option, and not what every program writes."""
    assert read(tmp_path / "run.csv", text, **options).report.read_as == says


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=30),
    size=st.integers(1, 30),
    backward=st.booleans(),
)
def test_equal_and_earlier_times_are_those_of_the_rows_above(
    rows: list[tuple[int, int]], size: int, *, backward: bool
) -> None:
    """As compared one by one with all rows above; of pieces above only with the newest."""
    order = TimeOrder(backward=backward)
    newest: dict[int, int] = {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        time_us = np.array([us for us, _ in part])
        signal = np.array([[key] for _, key in part], np.int32)
        equal, earlier = order.check(time_us, signal, np.ones((len(part), 1), np.bool_))
        above = {key: [us] for key, us in newest.items()}
        for n, (us, key) in enumerate(part):
            ahead = -us if backward else us
            mine = above.setdefault(key, [])
            assert equal[n] == (ahead in mine)
            assert earlier[n] == any(ahead < other for other in mine)
            mine.append(ahead)
        newest = {key: max(mine) for key, mine in above.items()}
