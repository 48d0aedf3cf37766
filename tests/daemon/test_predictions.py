"""The SDK against a real daemon: a prediction is what `edge-agent replay` finds in the data."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from cli_recordings import INPUTS, ONSET, rows, write_csv
from frames import Frame, Series

from edge_agent.cli import main
from edge_agent.client import (
    BadDataError,
    BusyError,
    Client,
    ClientError,
    ConflictError,
    NotFoundError,
    Prediction,
)
from edge_agent.testing import DaemonProcess, find_free_port, mean_bundle
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Replayed = Callable[[Path, str], list[dict[str, Any]]]

UNITS = dict(zip(INPUTS, ("m3/h", "bar", "A"), strict=True))
FD001_UNIT = 1
SENSORS = {
    "T24": 2, "T30": 3, "T50": 4, "P30": 7, "Nf": 8, "Nc": 9, "Ps30": 11, "phi": 12,
    "NRf": 13, "NRc": 14, "BPR": 15, "htBleed": 17, "W31": 20, "W32": 21, "cycle": -3,
}  # fmt: skip
SKAB = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure", "Temperature",
    "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip
HEALTHY_ROWS = 400  # of every SKAB recording
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def config(folder: Path) -> dict[str, Any]:
    """Four kinds of machines; nothing connects, and everything learned is in `models`."""
    skab = {re.sub(r"\W", "_", name): {"address": name} for name in SKAB}
    learn = {"length": 16, "false_alarms_per_day": 1}
    return {
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"port": find_free_port()},
        "sources": {"files": {"type": "replay", "path": str(folder / "none.csv")}},
        "sinks": {"lines": {"type": "log"}},
        "templates": {
            "pump": {"signals": {n: {"unit": u} for n, u in UNITS.items()}, "learn": learn},
            "engine": {
                "signals": {name: {} for name in SENSORS},
                "models": [{"bundle": "turbofan-life", "alarm": {"on_delay": "2h"}}],
            },
            "skab": {"signals": skab, "learn": {"step": "1s"}},
            "pair": {
                "signals": {"a": {}, "b": {}},
                "models": [{"bundle": "slow"}, {"bundle": "quick"}],
            },
            "idle": {"signals": {"a": {}}},
            "wave": {
                "signals": {"a": {"kind": "waveform", "rate_hz": 1000}},
                "models": [{"bundle": "quick"}],
            },
        },
        "assets": {
            "P-{1..2}": {"template": "pump"},
            "E-1": {"template": "engine"},
            "S-1": {"template": "skab"},
            "M-1": {"template": "pair"},
            "I-1": {"template": "idle"},
            "W-1": {"template": "wave"},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, its models and the recordings of a pump."""
    folder = tmp_path_factory.mktemp("site")
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config(folder), sort_keys=False))
    write_csv(folder / "healthy.csv", rows(2000, seed=1))
    write_csv(folder / "fault.csv", rows(300, seed=7, fault=True))
    learn = ["learn", "-c", str(path), "--asset", "P-1", "--input", str(folder / "healthy.csv")]
    assert main(learn) == 0
    shutil.copytree(ROOT / "models" / "turbofan-life", folder / "models" / "turbofan-life")
    mean_bundle(folder / "models" / "slow", ["a", "b"], length=16, step_s=2)
    mean_bundle(folder / "models" / "quick", ["a", "b"], length=4)
    return path


@pytest.fixture(scope="module")
def skab(site: Path, data_dir: Path) -> Path:
    """A recording of SKAB, whose healthy beginning the asset S-1 has learned."""
    recording = data_dir / "skab" / "valve1" / "0.csv"
    if not recording.is_file():
        pytest.skip(f"no recordings of SKAB in {data_dir}")
    healthy = site.with_name("skab-healthy.csv")
    lines = recording.read_text().splitlines(keepends=True)
    healthy.write_text("".join(lines[: 1 + HEALTHY_ROWS]))
    assert main(["learn", "-c", str(site), "--asset", "S-1", "--input", str(healthy)]) == 0
    return recording


@pytest.fixture(scope="module")
def daemon(site: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(site) as running:
        yield running


@pytest.fixture(scope="module")
def client(daemon: DaemonProcess) -> Client:
    return Client(daemon.url, retries=0)


@pytest.fixture
def replayed(site: Path, capsys: pytest.CaptureFixture[str]) -> Replayed:
    """What `edge-agent replay --json` prints of a recording."""

    def run(path: Path, asset: str) -> list[dict[str, Any]]:
        words = ["-c", str(site), "--input", str(path), "--asset", asset, "--json"]
        assert main(["replay", *words]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def columns(values: NDArray[np.float64]) -> dict[str, list[Any]]:
    """A pump's rows, one a second."""
    times = [(BEGIN + timedelta(seconds=n)).isoformat() for n in range(len(values))]
    return {"time": times, **dict(zip(INPUTS, values.T.tolist(), strict=True))}


def findings(found: Prediction) -> dict[str, Any]:
    """A prediction without the times, which data without times count from their first row."""
    times = {"window", "alarms", "windows", "models", "recording"}
    raw = {key: value for key, value in found.raw.items() if key not in times}
    return {**raw, "scores": [one.score for one in found.windows]}


# The promise --------------------------------------------------------------------------------------


def test_the_five_lines_of_the_documentation(site: Path, daemon: DaemonProcess) -> None:
    """They run as they stand there, but for the address and the data."""
    text = (ROOT / "docs" / "client.md").read_text("utf-8")
    block = re.search(
        r"```python\n(from edge_agent\.client import Client\n.*?)```", text, re.DOTALL
    )
    assert block is not None
    code = block[1].replace("http://127.0.0.1:9460", daemon.url)
    code = code.replace("run.csv", str(site.with_name("fault.csv"))).replace("P-101", "P-1")
    assert len(code.strip().splitlines()) == 5
    said: list[str] = []
    exec(code, {"api_key": None, "print": lambda *words: said.append(" ".join(map(str, words)))})  # noqa: S102
    assert said[0].startswith("anomaly")


def test_a_prediction_is_the_replay_of_the_recording(
    site: Path, client: Client, replayed: Replayed
) -> None:
    """The same transitions, with the same scores, contributors and windows."""
    path = site.with_name("fault.csv")
    found = client.predict_failure(path, asset="P-1", windows=True)
    assert found.raw["alarms"] == replayed(path, "P-1")
    assert [one.transition for one in found.alarms] == ["raise"]
    assert (found.prediction, found.contributors[0].input) == ("anomaly", "flow")
    assert found.window.end == BEGIN + timedelta(seconds=299)
    assert found.score is not None
    assert found.limit is not None
    assert found.score > found.limit
    assert len(found.windows) == 285
    assert [one.prediction for one in found.windows[: ONSET - 16]] == ["normal"] * (ONSET - 16)


def test_what_is_healthy_is_normal(site: Path, client: Client, replayed: Replayed) -> None:
    path = site.with_name("healthy.csv")
    found = client.predict_failure(path, asset="P-1")
    assert found.is_normal
    assert found.raw["alarms"] == replayed(path, "P-1") == []
    assert found.windows == ()


def test_an_engine_of_fd001_is_its_replay(
    site: Path, client: Client, replayed: Replayed, data_dir: Path
) -> None:
    """One row an hour to its failure; without times, too, because the model needs none."""
    table = np.loadtxt(data_dir / "cmapss" / "train_FD001.txt")
    life = table[table[:, 0] == FD001_UNIT]
    values = {name: life[:, 4 + number].tolist() for name, number in SENSORS.items()}
    times = [(BEGIN + timedelta(hours=n)).isoformat() for n in range(len(life))]
    path = site.with_name("engine.csv")
    lines = [",".join(map(repr, row)) for row in zip(*values.values(), strict=True)]
    cells = [f"{time},{line}" for time, line in zip(times, lines, strict=True)]
    path.write_text("\n".join([",".join(("time", *values)), *cells]))
    found = client.predict_failure({"time": times, **values}, asset="E-1")
    told = replayed(path, "E-1")
    assert found.raw["alarms"] == told
    assert [one["transition"] for one in told if one["transition"] != "update"] == ["raise"]
    assert found.rul_h is not None
    assert found.rul_h.p50 is not None
    assert found.rul_h.p50 < 10
    assert found.prediction == "end_of_life"
    assert findings(client.predict_failure(values, asset="E-1")) == findings(found)


def test_a_recording_of_skab_is_its_replay(skab: Path, client: Client, replayed: Replayed) -> None:
    """A valve that is closed, with the labels among its columns, separated by semicolons."""
    found = client.predict_failure(skab, asset="S-1")
    assert found.raw["alarms"] == replayed(skab, "S-1")
    assert "raise" in [one.transition for one in found.alarms]
    assert found.recording.unused == ("anomaly", "changepoint")


# Forms --------------------------------------------------------------------------------------------


def test_all_forms_of_the_same_data_give_the_same_answer(site: Path, client: Client) -> None:
    values = rows(300, seed=7, fault=True)
    known = columns(values)
    path = site.with_name("given.csv")
    path.write_text(
        "\n".join(["Zeit;flow;pressure;current", *(
            f"{t};{f!r};{p!r};{c!r}".replace(".", ",")
            for t, f, p, c in zip(*known.values(), strict=True)
        )])
    )  # fmt: skip
    packed = site.with_name("given.csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    moments = [datetime.fromisoformat(text) for text in known["time"]]
    plain = [one.replace(tzinfo=None) for one in moments]  # which means UTC
    forms: list[Any] = [
        known,
        {"time": [one.timestamp() for one in moments], **{n: known[n] for n in reversed(INPUTS)}},
        {
            "time": np.array(plain, "datetime64[ms]"),
            **dict(zip(INPUTS, values.T, strict=True)),
        },
        path,
        str(path),
        packed,
    ]
    answers = [client.predict_failure(data, asset="P-1", windows=True) for data in forms]
    first = answers[0]
    assert [one.raw["alarms"] for one in answers] == [first.raw["alarms"]] * len(forms)
    assert [one.window for one in answers] == [first.window] * len(forms)
    timeless = [values, values.tolist(), {name: known[name] for name in INPUTS}]
    answers += [client.predict_failure(data, asset="P-1", windows=True) for data in timeless]
    turned = values[:, ::-1], INPUTS[::-1]
    answers.append(client.predict_failure(turned[0], columns=turned[1], asset="P-1", windows=True))
    assert [findings(one) for one in answers] == [findings(first)] * len(answers)
    assert answers[-1].window.end_ms == 299_000


def test_a_data_frame_is_read_by_what_it_can_do(client: Client) -> None:
    """Its index are the times; pandas itself is not imported."""
    known = columns(rows(300, seed=7, fault=True))
    times = [datetime.fromisoformat(text) for text in known["time"]]
    frame = Frame({name: known[name] for name in INPUTS}, Series(times))
    one, other = (client.predict_failure(data, asset="P-1") for data in (frame, known))
    assert one.raw == other.raw


def test_one_model_is_asked_with_columns_or_rows(client: Client) -> None:
    """By the names of its inputs, or in their order; no asset is needed."""
    x = np.arange(8.0).reshape(4, 2)
    found = client.predict_failure(x, model="quick")
    assert (found.score, found.limit, found.prediction) == (3.5, 10.0, "normal")
    assert (found.model.name, found.asset) == ("quick", "")
    named = {"b": x[:, 1].tolist(), "a": x[:, 0].tolist()}
    assert client.predict_failure(named, model="quick").raw == found.raw


def test_an_asset_that_is_only_discovered_later_needs_no_restart(
    site: Path, client: Client
) -> None:
    """Each question is answered from the daemon's present plant, by a process that is kept."""
    assert client.predict_failure({"a": [1.0] * 4, "b": [1.0] * 4}, model="quick").score == 1
    mean_bundle(site.with_name("models") / "quick", ["a", "b"], length=4, factor=2.0, version="2")
    assert client.predict_failure({"a": [1.0] * 4, "b": [1.0] * 4}, model="quick").score == 2
    mean_bundle(site.with_name("models") / "quick", ["a", "b"], length=4)


# Errors -------------------------------------------------------------------------------------------

PUMP = columns(rows(40, seed=1))


def changed(**cells: Any) -> dict[str, Any]:
    """The healthy pump with other columns; None takes one away."""
    return {name: cell for name, cell in {**PUMP, **cells}.items() if cell is not None}


@pytest.mark.parametrize(
    ("data", "column", "text"),
    [
        (changed(flow=None), "flow", "inputs without values: flow: no column"),
        (changed(flow=["x"] * 40), "flow", "inputs without values: flow: only text"),
        (changed(flow=[None] * 40), "flow", "inputs without values: flow: only empty"),
        (
            changed(flow=None, **{"flow [l/min]": PUMP["flow"]}),
            "flow [l/min]",
            "another unit than its signal, which is in m3/h",
        ),
        (changed(flow=PUMP["flow"][:-1]), "flow", "has 39 rows, and 'time' has 40"),
        (changed(flow=7.0), "flow", "column 'flow' is no list"),
        ({name: cells[:15] for name, cells in PUMP.items()}, "", "15 rows of 1 s.* needs 16"),
        (changed(time=PUMP["time"][20:] + PUMP["time"][:20]), "time", "times are not in order"),
        (changed(time=["2026-01-01"] * 40), "time", "have the time of another row"),
        (changed(time=["noon"] * 40), "time", "column 'time': not a time in 40 of 40 rows"),
        ({name: [] for name in PUMP}, "time", "no rows"),
        ({}, "", "the body is no table"),
        ({"x": [1.0] * 40}, "", "no column is a signal of the plant, which needs"),
        ([[1.0, 2.0]] * 40, "", "row 1 has 2 values, not 3"),
        ([[1.0, 2.0, 3.0], [1.0]], "", "row 2 has 1 values, not 3"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_named(client: Client, data: Any, column: str, text: str) -> None:
    """By column, and never with a file or an option that a client does not know."""
    with pytest.raises(BadDataError, match=text) as raised:
        client.predict_failure(data, asset="P-1")
    assert raised.value.column == column
    assert "/" not in str(raised.value).replace(raised.value.url, "").replace("m3/h", "").replace(
        "l/min", ""
    )
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    ("chosen", "kind", "text"),
    [
        ({"asset": "P-9"}, NotFoundError, "no such asset"),
        ({"model": "nothing"}, NotFoundError, "no such model"),
        ({"model": ".."}, NotFoundError, "no such model"),
        ({"model": "../models/quick"}, NotFoundError, "no such model"),
        ({"asset": "I-1"}, ConflictError, "no model scores I-1: no model configured"),
        ({"asset": "P-2"}, ConflictError, "no model scores P-2"),
        ({"asset": "W-1"}, ConflictError, "no signal for input b"),
        ({"asset": "M-1"}, BadDataError, "the table has no times"),
    ],
)
def test_what_cannot_be_judged_says_why(
    client: Client, chosen: dict[str, str], kind: type[ClientError], text: str
) -> None:
    """M-1 has models of two steps: nobody can know how far apart its rows are."""
    with pytest.raises(kind, match=text):
        client.predict_failure({"a": [1.0] * 40, "b": [1.0] * 40}, **chosen)  # type: ignore[arg-type]


def test_a_learned_model_is_asked_by_its_asset(site: Path, client: Client) -> None:
    (learned,) = (site.with_name("models")).glob("learned-pump-*")
    with pytest.raises(ConflictError, match="ask by asset: P-1"):
        client.predict_failure(PUMP, model=learned.name)


def test_models_that_lack_something_do_not_silence_the_others(client: Client) -> None:
    """Fifteen rows are enough for one of the two models."""
    times = PUMP["time"][:15]
    found = client.predict_failure({"time": times, "a": [1.0] * 15, "b": [2.0] * 15}, asset="M-1")
    assert [one.model.name for one in found.models] == ["quick"]
    assert "a window needs 16" in found.unjudged["slow"]


def test_cells_that_are_no_numbers_are_noted(client: Client) -> None:
    found = client.predict_failure(changed(flow=["what", *PUMP["flow"][1:]]), asset="P-1")
    assert found.recording.rows == 40
    assert any("column 'flow': text in 1 of 40 rows" in note for note in found.recording.notes)


def test_one_table_of_a_client_at_a_time(site: Path, client: Client) -> None:
    """A notebook that asks in many threads is told to wait, and its first question is answered."""
    path = site.with_name("long.csv")
    write_csv(path, np.tile(rows(2000, seed=1), (20, 1)))
    answers: list[Prediction | ClientError] = []

    def ask() -> None:
        try:
            answers.append(client.predict_failure(path, asset="P-1"))
        except ClientError as error:
            answers.append(error)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    refused, answered = sorted(answers, key=lambda one: isinstance(one, Prediction))
    assert isinstance(refused, BusyError)
    assert refused.retry_after_s > 0
    assert isinstance(answered, Prediction)
    assert answered.recording.rows == 40_000
