"""Over a hundred dialects of CSV: read right or refused with the cause, never silently wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from csv_dialects import NAMES, ROWS, Dialect, make_dialects, wide
from support import NO_SOURCE

from edge_agent.config.schema import Asset, Config, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.sources.replay.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.values import Columns

DIALECTS = make_dialects()


def plant_of(*signals: str) -> Plant:
    template = Template(signals={Name(name): Signal() for name in signals})
    config = Config(
        sources={Name("rec"): NO_SOURCE},
        templates={Name("pump"): template},
        assets={"P1": Asset(Name("pump"))},
    )
    return Plant(config)


def read(folder: Path, dialect: Dialect) -> tuple[Recording, list[Columns], Plant]:
    path = folder / dialect.name
    path.write_bytes(dialect.data)
    plant = plant_of(*NAMES)
    recording = Recording(ReplayConfig(path, asset="P1", **dialect.options), plant, quiet=True)
    return recording, list(recording.blocks()), plant


def found_in(blocks: list[Columns], plant: Plant) -> dict[tuple[int, str], float]:
    """Value by (second since the epoch, signal)."""
    return {
        (int(time_us) // 1_000_000, plant.signals[index].name): round(float(value), 6)
        for block in blocks
        for index, time_us, value in zip(block.signal, block.time_us, block.value, strict=True)
    }


def truth_of(dialect: Dialect) -> dict[tuple[int, str], float]:
    return {
        (int(moment.timestamp()), signal): round(value, 6)
        for moment, values in dialect.rows
        for signal, value in zip(NAMES, values, strict=True)
    }


@pytest.mark.parametrize("name", [name for name, one in DIALECTS.items() if not one.refused])
def test_a_dialect_is_read_right(tmp_path: Path, name: str) -> None:
    """Every value at its time; nothing is refused and nothing is missing."""
    recording, blocks, plant = read(tmp_path, DIALECTS[name])
    assert found_in(blocks, plant) == truth_of(DIALECTS[name])
    assert recording.rejected == {}


@pytest.mark.parametrize("name", [name for name, one in DIALECTS.items() if one.refused])
def test_what_may_mean_several_things_is_refused_with_its_cause(tmp_path: Path, name: str) -> None:
    """By an error, or row by row with an example; no value comes out of it."""
    dialect = DIALECTS[name]
    try:
        recording, blocks, _ = read(tmp_path, dialect)
    except EdgeAgentError as error:
        said = str(error)
    else:
        said = " ".join(map(str, recording.report.refused()))
        assert blocks == [], "not one value"
    assert dialect.refused in said
    assert said.isprintable(), "no binary garbage"


def test_times_in_another_unit_than_the_rest_are_refused_row_by_row(tmp_path: Path) -> None:
    """A logger that was reset: its milliseconds are no seconds of the year 57,900."""
    body = wide(lambda t: f"{t.timestamp() * (1 if t.minute else 1000):.0f}")
    recording, blocks, plant = read(tmp_path, Dialect(body.encode(), {}))
    rest = {key: one for key, one in truth_of(Dialect(b"", {})).items() if key[0] % 3600}
    assert found_in(blocks, plant) == rest
    assert recording.rejected == {"time": 7}


@pytest.mark.parametrize("unit", ["", " bar"])
def test_a_point_beside_decimal_commas_may_be_of_thousands(tmp_path: Path, unit: str) -> None:
    """1.234 is refused where the other columns write 1,5: it may be 1234."""
    body = f"Zeit;flow;temp;pressure\n20.11.2026 08:00;1,5;2,5;1.234{unit}\n"
    recording, blocks, plant = read(tmp_path, Dialect(body.encode(), {}))
    assert {name for _, name in found_in(blocks, plant)} == {"flow", "temp"}
    assert recording.rejected == {"number": 1}


@pytest.mark.parametrize("since_1904", [False, True])
@pytest.mark.parametrize("form", ["dates", "serial days", "texts", "two columns"])
def test_a_workbook_is_read_like_a_csv(tmp_path: Path, form: str, *, since_1904: bool) -> None:
    """Its cells have types: neither the locale nor the decimal sign of an Excel is in the way."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    if since_1904:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    sheet = book.active
    times = ["Date", "Time"] if form == "two columns" else ["Time"]
    sheet.append([*times, "Flow [m3/h]", "temp", "pressure", "note"])
    for moment, values in ROWS:
        plain = moment.replace(tzinfo=None)
        cells: dict[str, list[object]] = {
            "dates": [plain],
            "serial days": [openpyxl.utils.datetime.to_excel(plain, book.epoch)],
            "texts": [f"{plain:%d.%m.%Y %H:%M}"],
            "two columns": [plain.date(), plain.time()],
        }
        sheet.append([*cells[form], *values, None])
    book.save(tmp_path / "run.xlsx")
    data = (tmp_path / "run.xlsx").read_bytes()
    recording, blocks, plant = read(tmp_path, Dialect(data, {}, name="run.xlsx"))
    truth = truth_of(Dialect(b"", {}))
    assert found_in(blocks, plant) == truth
    assert recording.rejected == {}
    assert recording.position == recording.total_bytes


def test_without_the_extra_a_workbook_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "run.xlsx", "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    data = (tmp_path / "run.xlsx").read_bytes()
    with pytest.raises(EdgeAgentError, match=r"Excel workbook.*CSV.*extra xlsx"):
        read(tmp_path, Dialect(data, {}, name="run.xlsx"))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_packed_files_are_unpacked_whatever_their_name(tmp_path: Path, kind: str) -> None:
    data = DIALECTS["iso; point"].data
    packed = {
        "gz": lambda: gzip.compress(data),
        "bz2": lambda: bz2.compress(data),
        "xz": lambda: lzma.compress(data),
        "zip": lambda: zipped("export.csv", data),
    }
    _, blocks, plant = read(tmp_path, Dialect(packed[kind](), {}, name="run.dat"))
    assert found_in(blocks, plant) == truth_of(DIALECTS["iso; point"])


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return buffer.getvalue()


def test_there_are_more_than_a_hundred() -> None:
    assert len(DIALECTS) > 100
