"""Recordings: what a CSV may look like, and that it always becomes one stream in order of time."""

from __future__ import annotations

import gzip
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NO_SOURCE

from edge_agent.config.schema import Asset, Config, Kind, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.replay import recording as recording_module
from edge_agent.sources.replay.cells import Numbers, numbers
from edge_agent.sources.replay.config import Blank, QualityCodes, ReplayConfig
from edge_agent.sources.replay.csv_reader import sniff_separator
from edge_agent.sources.replay.moments import US_PER_UNIT, epoch_parser, iso_moment
from edge_agent.sources.replay.recording import Recording
from edge_agent.values import BAD, BAD_NO_COMMUNICATION, BAD_NO_DATA, GOOD, UNCERTAIN, Columns

NOON_US = round(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
Cell = tuple[str, str, int, float]


def make_plant(*assets: str, **signals: Signal) -> Plant:
    template = Template(signals={Name(name): signal for name, signal in signals.items()})
    config = Config(
        sources={Name("rec"): NO_SOURCE},
        templates={Name("pump"): template},
        assets={asset: Asset(Name("pump")) for asset in assets},
    )
    return Plant(config)


def flow_and_temp(*assets: str) -> Plant:
    return make_plant(*(assets or ("P1",)), flow=Signal(), temp=Signal())


def write(folder: Path, text: str, name: str = "run.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, plant: Plant | None = None, **options: Any) -> tuple[Recording, Columns]:
    options.setdefault("asset", "P1")
    recording = Recording(ReplayConfig(path, **options), plant or flow_and_temp())
    return recording, Columns.concat(list(recording.blocks()))


def cells(values: Columns, plant: Plant) -> list[Cell]:
    """(asset, signal, seconds after noon, value) of each value."""
    named = [plant.signals[index] for index in values.signal]
    seconds = (values.time_us - NOON_US) // 1_000_000
    return [
        (signal.asset.id, signal.name, int(second), float(value))
        for signal, second, value in zip(named, seconds, values.value, strict=True)
    ]


TWO_ROWS: list[Cell] = [
    ("P1", "flow", 0, 1.5),
    ("P1", "temp", 0, 40.0),
    ("P1", "flow", 1, 2.5),
    ("P1", "temp", 1, 41.0),
]


DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "iso": (
        "time,flow,temp\n2026-01-01T12:00:00Z,1.5,40\n2026-01-01T12:00:01Z,2.5,41\n",
        {},
    ),
    "decimal comma": (
        "time;flow;temp\n2026-01-01 12:00:00;1,5;40\n2026-01-01 12:00:01;2,5;41\n",
        {"decimal": ","},
    ),
    "tab, seconds": ("flow\ttemp\tts\n1.5\t40\t1767268800\n2.5\t41\t1767268801\n", {}),
    "bar, milliseconds": (
        "flow|temp|when\n1.5|40|1767268800000\n2.5|41|1767268801000\n",
        {"time": "when"},
    ),
    "no header, microseconds": (
        "1.5,40,1767268800000000\n2.5,41,1767268801000000\n",
        {"header": False, "time": "3", "columns": {"flow": "1", "temp": "2"}},
    ),
    "blanks": (
        " 01.01.2026T12:00:00  1.5   40 \n 01.01.2026T12:00:01  2.5   41 \n",
        {
            "header": False,
            "time": "1",
            "time_format": "%d.%m.%YT%H:%M:%S",
            "columns": {"flow": "2", "temp": "3"},
        },
    ),
    "quoted, zone": (
        'time,flow,temp\r\n"01.01.2026 13:00:00","1.5",40\r\n"01.01.2026 13:00:01",2.5,"41"\r\n',
        {"time_format": "%d.%m.%Y %H:%M:%S", "timezone": "Europe/Berlin"},
    ),
    "offset": (
        "time,flow,temp\n2026-01-01T13:00:00+01:00,1.5,40\n2026-01-01T13:00:01+01:00,2.5,41",
        {"timezone": "Asia/Tokyo"},
    ),
    "ragged": (
        "\n\ntime,flow,temp,\n1767268800.0,1.5,40,\n\n1767268801.0,2.5,41,\n",
        {},
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_give_the_same_values(tmp_path: Path, dialect: str) -> None:
    text, options = DIALECTS[dialect]
    plant = flow_and_temp()
    _, values = read(write(tmp_path, text), plant, **options)
    assert cells(values, plant) == TWO_ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets_are_recognised(tmp_path: Path, encoding: str) -> None:
    plant = make_plant("P1", temp=Signal(address="Temp °C"))
    _, values = read(write(tmp_path, "time,Temp °C\n1767268800,40\n", encoding=encoding), plant)
    assert cells(values, plant) == [("P1", "temp", 0, 40.0)]


def test_gzip_is_unpacked_and_its_compressed_bytes_are_the_progress(tmp_path: Path) -> None:
    text = "time,flow\n" + "".join(f"{1767268800 + n},{n}\n" for n in range(20_000))
    path = tmp_path / "run.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    recording, values = read(path)
    assert len(values) == 20_000
    assert recording.position == recording.total_bytes == path.stat().st_size


def test_a_gzip_cut_short_gives_what_is_left(tmp_path: Path) -> None:
    text = "time,flow\n" + "".join(f"{1767268800 + n},{n * n % 97}\n" for n in range(20_000))
    path = tmp_path / "run.csv.gz"
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    recording, values = read(path)
    assert 0 < len(values) < 20_000
    assert recording.rejected == {"unreadable": 1}


def test_blank_cells_are_no_values(tmp_path: Path) -> None:
    path = write(tmp_path, "time,flow,temp\n1767268800,,40\n1767268801,NaN,null\n1767268802,1\n")
    plant = flow_and_temp()
    recording, values = read(path, plant)
    assert cells(values, plant) == [("P1", "temp", 0, 40.0), ("P1", "flow", 2, 1.0)]
    assert recording.rejected == {}


def test_blank_cells_are_bad_values_where_the_config_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "time,flow,temp\n1767268800,,40\n")
    _, values = read(path, blank=Blank.BAD)
    assert values.status.tolist() == [BAD_NO_DATA, GOOD]
    assert math.isnan(values.value[0])


def test_what_is_no_number_is_refused_and_counted_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "time,flow,temp\n1767268800,1,2\n1767268801,x,2\n1767268802,inf,1_0\n")
    recording, values = read(path)
    assert values.value.tolist() == [1.0, 2.0, 2.0]
    assert recording.rejected == {"number": 3}
    (record,) = caplog.records
    assert record.reasons == "3 number"  # type: ignore[attr-defined]
    assert "column 'flow': text in 1 of 3 rows, such as 'x' in run.csv, line 3" in record.example  # type: ignore[attr-defined]
    causes = {(one.column, one.cause): one.n for one in recording.report.findings()}
    assert causes == {("flow", "text"): 1, ("flow", "infinite"): 1, ("temp", "number"): 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("never,1,2", "time"),
        ("9e99,1,2", "time"),
        ("1767268801,1,2,3", "columns"),
        ("1767268801,1.000,5,2", "columns"),
        ('1767268801,"1,2', "unreadable"),
        ("x" * 200_000, "time"),
    ],
)
def test_a_bad_row_costs_only_itself(tmp_path: Path, row: str, reason: str) -> None:
    path = write(tmp_path, f"time,flow,temp\n1767268800,1,2\n{row}\n")
    recording, values = read(path)
    assert values.value.tolist() == [1.0, 2.0]
    assert set(recording.rejected) == {reason}


def test_long_format_takes_asset_and_signal_from_the_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "time,asset,signal,value,quality\n"
        "1767268800,P1,flow,1,Good\n1767268800,P2,flow,2,uncertain\n"
        "1767268801,P1,temp,,bad\n1767268801,P3,flow,9,good\n1767268801,P1,speed,9,\n"
        "1767268802,P1,temp,5,dunno\n",
    )
    plant = flow_and_temp("P1", "P2")
    recording, values = read(
        path, plant, asset="", asset_column="asset", signal_column="signal",
        value_column="value", quality="quality",
    )  # fmt: skip
    assert cells(values, plant)[:2] == [("P1", "flow", 0, 1.0), ("P2", "flow", 0, 2.0)]
    assert values.status.tolist() == [GOOD, UNCERTAIN, BAD]
    assert recording.rejected == {"unknown": 2, "quality": 1}


def test_long_tags_may_be_addresses_or_asset_dot_signal(tmp_path: Path) -> None:
    plant = make_plant("P1", "P2", flow=Signal(address="{asset}.FT"), temp=Signal(address="TT"))
    path = write(
        tmp_path, "time,tag,value\n1767268800,P2.FT,1\n1767268801,P1.temp,2\n1767268802,TT,3\n"
    )
    _, values = read(path, plant, asset="", signal_column="tag", value_column="value")
    assert cells(values, plant) == [("P2", "flow", 0, 1.0), ("P1", "temp", 1, 2.0)]


def test_wide_format_with_an_asset_column(tmp_path: Path) -> None:
    plant = flow_and_temp("P1", "P2")
    path = write(tmp_path, "time,id,flow,note\n1767268800,P1,1,ok\n1767268801,P2,2,x\n")
    recording, values = read(path, plant, asset="", asset_column="id")
    assert cells(values, plant) == [("P1", "flow", 0, 1.0), ("P2", "flow", 1, 2.0)]
    assert recording.rejected == {}


def test_wide_format_with_the_tags_of_several_assets(tmp_path: Path) -> None:
    plant = flow_and_temp("P1", "P2")
    path = write(tmp_path, "time,P1.flow,P2.flow\n1767268800,1,2\n")
    _, values = read(path, plant, asset="")
    assert cells(values, plant) == [("P1", "flow", 0, 1.0), ("P2", "flow", 0, 2.0)]


def test_quality_may_have_a_column_for_each_value(tmp_path: Path) -> None:
    path = write(
        tmp_path, "time,flow,flow_q,temp,temp_q\n1767268800,1,192,2,0\n1767268801,1,64,2,999\n"
    )
    recording, values = read(path, quality="{column}_q", quality_codes=QualityCodes.CLASSIC)
    assert values.status.tolist() == [GOOD, BAD, UNCERTAIN]
    assert recording.rejected == {"quality": 1}


def test_only_scalar_signals_of_the_source_are_fed(tmp_path: Path) -> None:
    plant = make_plant(
        "P1", flow=Signal(), temp=Signal(source="plc"), vib=Signal(kind=Kind.WAVEFORM)
    )
    path = write(tmp_path, "time,flow,temp,vib\n1767268800,1,2,3\n")
    config = ReplayConfig(path, asset="P1")
    of_source = Columns.concat(list(Recording(config, plant, "rec").blocks()))
    of_any = Columns.concat(list(Recording(config, plant).blocks()))
    assert of_source.value.tolist() == [1.0]
    assert of_any.value.tolist() == [1.0, 2.0]


def test_a_file_for_each_asset_is_merged_by_time(tmp_path: Path) -> None:
    write(tmp_path, "time,flow\n1767268800,1\n1767268802,3\n", "P1.csv")
    write(tmp_path, "time,flow\n1767268801,2\n1767268803,4\n", "P2.csv")
    plant = flow_and_temp("P1", "P2")
    _, values = read(tmp_path / "*.csv", plant, asset="{stem}")
    assert [cell[0] for cell in cells(values, plant)] == ["P1", "P2", "P1", "P2"]
    assert values.value.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_unknown_assets_are_discovered_by_a_template_and_never_by_an_odd_name(
    tmp_path: Path,
) -> None:
    plant = flow_and_temp()
    path = write(tmp_path, "time,id,flow\n1767268800,P7,1\n1767268801,a/b,2\n")
    recording, values = read(path, plant, asset="", asset_column="id", template="pump")
    assert cells(values, plant) == [("P7", "flow", 0, 1.0)]
    assert "a/b" not in plant.assets
    assert recording.rejected == {"unknown": 1}


@pytest.mark.parametrize(
    "text",
    [
        "time,machine,flow,temp\n{t},P1,1,2\n{t},P2,3,4\n",
        "time,device,tag,value\n{t},P1,flow,1\n{t},P1,temp,2\n{t},P2,flow,3\n{t},P2,temp,4\n",
    ],
)
def test_rows_of_other_machines_never_become_those_of_an_asset(tmp_path: Path, text: str) -> None:
    """Also if only the asset is told; without a row of it, the file is refused."""
    path = write(tmp_path, text.format(t="2026-01-01T12:00:00Z"))
    plant = flow_and_temp("P1")
    recording, values = read(path, plant)
    assert cells(values, plant) == [("P1", "flow", 0, 1.0), ("P1", "temp", 0, 2.0)]
    assert set(recording.rejected) == {"unknown"}
    assert {one.cause for one in recording.report.findings()} == {"other_asset"}
    both = flow_and_temp("P1", "P2")
    assert len(read(path, both)[1]) == 4
    with pytest.raises(EdgeAgentError, match=r"none of which is 'P7' \(they are P1, P2\)"):
        read(path, flow_and_temp("P7"), asset="P7")


def test_a_column_that_names_one_machine_in_the_words_of_another_system_is_ignored(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "time,machine,flow\n1767268800,Pumpe 7,1\n1767268801,Pumpe 7,2\n")
    _, values = read(path)
    assert values.value.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("order", ["descending", "by signal", "shuffled"])
def test_rows_in_any_order_come_out_in_order_of_time(tmp_path: Path, order: str) -> None:
    rows = [(n, name, n * 2 + k) for n in range(500) for k, name in enumerate(("flow", "temp"))]
    if order == "shuffled":
        np.random.default_rng(1).shuffle(rows)
    else:
        rows.sort(key=lambda row: -int(row[0]) if order == "descending" else row[1])
    text = "".join(f"{1767268800 + int(n)},{name},{value}\n" for n, name, value in rows)
    path = write(tmp_path, "time,tag,value\n" + text)
    recording, values = read(path, signal_column="tag", value_column="value")
    assert (np.diff(values.time_us) >= 0).all()
    assert sorted(values.value) == list(range(1000))
    assert recording.rejected == {}


def test_what_is_out_of_order_beyond_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "_SORT_VALUES", 400)
    text = "".join(f"{1767268800 + n},{n}\n" for n in [*range(1000), 3])
    recording, values = read(write(tmp_path, "time,flow\n" + text))
    assert values.value.tolist() == list(range(1000))
    assert recording.rejected == {"out_of_order": 1}


@pytest.mark.parametrize("files", [1, 3, 40])
def test_reading_in_pieces_gives_the_same_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    rng = np.random.default_rng(files)
    expected = []
    for k in range(files):
        at = np.sort(rng.integers(0, 5000, rng.integers(1, 400)))
        expected += [(int(t), k) for t in at]
        lines = "".join(f"{1767268800 + t},{k}\n" for t in at)
        write(tmp_path, "time,flow\n" + lines, f"{k:03}.csv")
    monkeypatch.setattr(recording_module, "_SORT_VALUES", 300)
    recording, values = read(tmp_path / "*.csv")
    seconds = (values.time_us - NOON_US) // 1_000_000
    found = list(zip(seconds.tolist(), values.value.astype(int).tolist(), strict=True))
    assert sorted(found) == sorted(expected)
    assert (np.diff(seconds) >= 0).all()
    assert recording.rejected == {}


def test_blocks_are_bounded_and_never_split_a_row(tmp_path: Path) -> None:
    plant = make_plant("P1", **{f"s{n}": Signal() for n in range(7)})
    row = ",".join("1" for _ in range(7))
    text = "".join(f"{1767268800 + n},{row}\n" for n in range(2000))
    path = write(tmp_path, "time," + ",".join(f"s{n}" for n in range(7)) + "\n" + text)
    sizes = [len(block) for block in Recording(ReplayConfig(path, asset="P1"), plant).blocks()]
    assert sum(sizes) == 14_000
    assert max(sizes) == 4095
    assert all(size % 7 == 0 for size in sizes)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        ("time,flow\n1,2\n", {"time": "when"}, "no column 'when'"),
        ("time,flow\n1,2\n", {"time": "3"}, "no column '3'"),
        ("time,level\n1,2\n", {}, r"no column is a signal.*level\)"),
        ("time,flow\n1,2\n", {"asset": ""}, "no column is a signal.*name it as 'asset'"),
        ("time,flow\n1,2\n", {"asset": "P9"}, "no asset 'P9'"),
        ("time,flow\n1,2\n", {"time_format": "iso", "timezone": "Mars/Olympus"}, "time zone"),
    ],
)
def test_a_config_that_does_not_fit_the_file_is_an_error_that_says_so(
    tmp_path: Path, text: str, options: Any, message: str
) -> None:
    with pytest.raises(EdgeAgentError, match=message):
        read(write(tmp_path, text), **options)


def test_missing_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeAgentError, match="no such file"):
        read(tmp_path / "*.csv")
    with pytest.raises(EdgeAgentError, match=r"is a folder .*\*\.csv"):
        read(tmp_path)


def test_contradictions_in_the_config_are_named() -> None:
    config = ReplayConfig(
        Path("x"), asset="a", asset_column="b", signal_column="c", decimal="'", separator=";;"
    )
    assert {key for key, _ in config.problems()} == {
        "asset_column", "signal_column", "decimal", "separator",
    }  # fmt: skip


def test_a_date_is_no_sign_of_blanks_as_separator() -> None:
    assert sniff_separator(["time,flow\n", "2020-01-01 12:00:00,3\n"]) == ","
    assert sniff_separator(["1 2  3\n", "4 5 6\n"]) == " "
    assert sniff_separator(["a;b\n", "1,5;2,5\n"]) == ";"


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_every_number_survives_text(number: float, decimal: str) -> None:
    values, wrong = numbers([repr(number).replace(".", decimal)], Numbers(decimal))
    assert values[0] == number
    assert not wrong[0]


@given(st.lists(st.text(max_size=12), max_size=20), st.sampled_from([".", ","]))
def test_no_text_breaks_the_number_decoder(texts: list[str], decimal: str) -> None:
    values, wrong = numbers(texts, Numbers(decimal))
    assert len(values) == len(wrong) == len(texts)
    assert not np.isinf(values).any()


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(["iso", "us", "ms"]))
def test_every_time_survives_text(moment: datetime, form: str) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    us = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6
    text = {"iso": moment.isoformat(), "us": f"{us:.0f}", "ms": f"{us / 1000:.0f}"}[form]
    parse = iso_moment if form == "iso" else epoch_parser(US_PER_UNIT[form])
    assert parse(text) & 1, "UTC"
    assert abs((parse(text) >> 1) - us) <= 32  # of a float near the year 9999


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "run.csv"
    path.write_bytes(b"time,flow\n1767268800,1\n" + data)
    recording = Recording(ReplayConfig(path, asset="P1"), flow_and_temp())
    try:
        values = Columns.concat(list(recording.blocks()))
    except EdgeAgentError:
        return
    assert (np.diff(values.time_us) >= 0).all()


def test_words_of_a_signals_map_and_texts_with_its_unit_are_read(tmp_path: Path) -> None:
    """As from a live source; any other text is refused and counted."""
    plant = make_plant(
        "P1", flow=Signal(unit="m3/h"), state=Signal(map={"RUNNING": 1, "Stopped": 0})
    )
    text = (
        "time,flow,state\n1767268800,1.5 m3/h,running\n1767268801,2.5 m3/h,STOPPED\n"
        "1767268802,3 bar,IDLE\n"
    )
    recording, values = read(write(tmp_path, text), plant)
    assert values.value.tolist() == [1.5, 1.0, 2.5, 0.0]
    assert recording.rejected == {"number": 2}


def test_qualities_of_a_recording_are_those_of_live_payloads(tmp_path: Path) -> None:
    """What is not known is refused: `goodish` is not good."""
    words = ("gut", "gestört", "Bad_NoCommunication", "goodish", "192", "")
    rows = "".join(f"{1767268800 + n},{n},{word}\n" for n, word in enumerate(words))
    path = write(tmp_path, f"time,flow,q\n{rows}")
    recording, values = read(path, quality="q", quality_codes="classic")
    assert values.status.tolist() == [GOOD, BAD, BAD_NO_COMMUNICATION, GOOD, GOOD]
    assert recording.rejected == {"quality": 1}
