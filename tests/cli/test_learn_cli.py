"""`edge-agent learn`: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cli_recordings import INPUTS, rows, write_csv, write_site

from edge_agent.cli import main
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Learn = Callable[..., tuple[int, str, str]]


@pytest.fixture
def learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Learn:
    """Call it with arguments for exit code, stdout and stderr."""
    config = write_site(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["learn", "-c", str(config), *words])
        return code, *capsys.readouterr()

    return run


def test_a_recording_becomes_a_bundle_that_verifies(tmp_path: Path, learn: Learn) -> None:
    """And stdout says where it is and what its limit rests on."""
    code, out, err = learn("--asset", "P-1", "--input", str(tmp_path / "healthy.csv"))
    (folder,) = (tmp_path / "models").iterdir()
    assert (code, err) == (0, "")
    assert verify_bundle(folder) == []
    manifest = load_manifest(folder)
    assert manifest.units == ("P-1",)
    assert [(i.name, i.unit) for i in manifest.inputs] == [
        ("flow", "m3/h"),
        ("pressure", "bar"),
        ("current", "A"),
    ]
    assert (manifest.window.length, manifest.calibration["wanted_per_asset_day"]) == (16, "1")
    assert manifest.false_alarms_per_day == float(manifest.calibration["at_most_per_asset_day"])
    assert str(folder) in out
    assert "held_out_alarms" in out


def test_no_source_is_needed_for_a_recording(tmp_path: Path, learn: Learn) -> None:
    """Live data comes from sources; a recording does not."""
    config = tmp_path / "edge-agent.yaml"
    config.write_text("".join(config.read_text().partition("templates:")[1:]))
    code, out, _ = learn("--asset", "P-1", "--input", str(tmp_path / "healthy.csv"))
    assert (code, "1 assets, 3 inputs" in out) == (0, True)
    code, _, err = learn("--asset", "P-1", "--hours", "1")
    assert (code, "there is no source" in err) == (78, True)


def test_without_a_config_the_columns_are_the_signals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned from one file, the fault in another is found; nothing was written but the model."""
    write_site(tmp_path)
    (tmp_path / "edge-agent.yaml").unlink()
    text = (tmp_path / "healthy.csv").read_text()
    (tmp_path / "healthy.csv").write_text(text.replace("flow", "Flow [m3/h]", 1))
    monkeypatch.chdir(tmp_path)
    assert main(["learn", "--asset", "P-7", "--input", "healthy.csv"]) == 0
    (folder,) = (tmp_path / "models").iterdir()
    manifest = load_manifest(folder)
    assert manifest.units == ("P-7",)
    found = [(i.name, i.unit) for i in manifest.inputs]
    assert found == [("Flow", "m3/h"), ("pressure", ""), ("current", "")]
    fault = (tmp_path / "fault.csv").read_text()
    (tmp_path / "fault.csv").write_text(fault.replace("flow", "Flow [m3/h]", 1))
    capsys.readouterr()
    assert main(["replay", "--asset", "P-7", "--input", "fault.csv"]) == 0
    out, err = capsys.readouterr()
    assert "P-7: unusual behaviour" in out
    assert "mainly Flow" in out
    assert "no model" not in err


def test_conditions_and_the_cycle_can_be_told_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a recording without a config; a name that is no column is said."""
    write_site(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ["learn", "--asset", "P-7", "--models-dir", "m", "--input", "healthy.csv"]
    assert main([*given, "--mode", "flow", "--cycle", "20s"]) == 0
    (folder,) = (tmp_path / "m").iterdir()
    calibration = load_manifest(folder).calibration
    assert calibration["conditions"] == "flow"
    assert calibration["cycle"] == "told, 20 rows"
    capsys.readouterr()
    assert main([*given, "--mode", "flaw"]) == 2
    assert "P-7: cannot learn: no signal flaw" in capsys.readouterr().err
    assert main([*given, "--cycle", "5x"]) == 2
    assert "'5x' is not a duration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--asset", "P-*", "--input", "healthy.csv"), "patterns need a config (-c)"),
        (("--asset", "P-1", "--template", "a b", "--input", "healthy.csv"), "--template 'a b' is"),
        (("--asset", "P-1", "--hours", "1"), "-c/--config is required with --hours"),
        (
            ("--asset", "P-1", "--input", "healthy.csv", "-c", "x", "--models-dir", "y"),
            "not allowed with",
        ),
    ],
)
def test_what_needs_a_config_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
) -> None:
    write_site(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["learn", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_pattern_learns_what_matches_it(tmp_path: Path, learn: Learn) -> None:
    """A column may name its asset; another asset's signals are left alone."""
    named = tmp_path / "named.csv"
    head, rest = (tmp_path / "healthy.csv").read_text().split("\n", 1)
    named.write_text(",".join(["time", *(f"P-1.{c}" for c in head.split(",")[1:])]) + "\n" + rest)
    code, out, _ = learn("--asset", "P-*", "--input", str(named))
    assert code == 0
    assert "1 assets, 3 inputs" in out


def test_progress_is_shown_on_a_terminal_only(
    tmp_path: Path, learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`learn > log 2>&1` must not fill a file with bars."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, err = learn("--asset", "P-1", "--input", str(tmp_path / "healthy.csv"))
    assert "100%" in err
    assert err.endswith("\r")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--asset", "P-1", "--input", "nothing.csv"), 1, "no such file"),
        (("--asset", "P-9", "--input", "healthy.csv"), 2, "no asset matches 'P-9' (known are: P-1"),
        (("--asset", "V-1", "--input", "healthy.csv"), 1, "a text with waveforms needs --waves"),
        (("--asset", "P-1", "--input", "short.csv"), 1, "19 complete rows of the"),
        (("--asset", "P-1", "--hours", "0"), 2, "more than 0 and at most a year"),
        (("--asset", "P-1", "--hours", "9000"), 2, "more than 0 and at most a year"),
        (("--asset", "P-1", "--hours", "nan"), 2, "more than 0 and at most a year"),
        (("--asset", "P-1", "--hours", "soon"), 2, "'soon' is not a number"),
        (("--asset", "P-1"), 2, "one of the arguments --hours --input --images is required"),
        (("--asset", "P-1", "--hours", "1", "--input", "x"), 2, "not allowed with"),
        (("--input", "healthy.csv"), 2, "--asset"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_line(
    tmp_path: Path, learn: Learn, words: tuple[str, ...], code: int, says: str
) -> None:
    write_csv(tmp_path / "short.csv", rows(19, seed=1))
    words = tuple(str(tmp_path / word) if word.endswith(".csv") else word for word in words)
    found, out, err = learn(*words)
    assert found == code
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.glob("models/*"))


def test_hours_of_live_data_are_learned_from(tmp_path: Path, learn: Learn) -> None:
    """From the sources of the config, here a recording that is played as fast as it goes."""
    (tmp_path / "run.csv").write_bytes((tmp_path / "healthy.csv").read_bytes())
    config = tmp_path / "edge-agent.yaml"
    live = "path: run.csv, asset: P-1, speed: 0"
    config.write_text(config.read_text().replace("path: run.csv", live))
    code, out, err = learn("--asset", "P-1", "--hours", str(2 / 3600))
    assert (code, err) == (0, "")
    assert "1 assets, 3 inputs" in out


def test_an_asset_that_announces_itself_meanwhile_is_learned_too(
    tmp_path: Path, learn: Learn
) -> None:
    """The config knows of no asset, only of their template."""
    (tmp_path / "run.csv").write_bytes((tmp_path / "healthy.csv").read_bytes())
    config = tmp_path / "edge-agent.yaml"
    live = "path: run.csv, asset: P-7, template: pump, speed: 0"
    text = config.read_text().replace("path: run.csv", live)
    config.write_text(text.replace("  P-1: {template: pump}\n", ""))
    code, _, _ = learn("--asset", "P-*", "--hours", str(2 / 3600))
    assert code == 0
    (folder,) = (tmp_path / "models").iterdir()
    assert load_manifest(folder).units == ("P-7",)


def test_a_recording_of_which_nothing_is_taken_is_not_learned_from(
    tmp_path: Path, learn: Learn
) -> None:
    """The cause is of the recording, not that no input delivers."""
    text = (tmp_path / "healthy.csv").read_text().replace("T", " at ")
    (tmp_path / "odd.csv").write_text(text)
    code, out, err = learn("--asset", "P-1", "--input", str(tmp_path / "odd.csv"))
    assert (code, out) == (1, "")
    assert "no value of the recording was accepted" in err
    assert "not a time in 2000 of 2000 rows" in err


@pytest.mark.parametrize(
    ("first", "code", "says"),
    [
        (0, 1, "1966 of 2000 rows have the time of another row, such as '2026-01-01T00:00:00Z'"),
        (1500, 0, "a time that an earlier row has, too, in 491 of 2000 rows"),
    ],
)
def test_times_that_most_rows_share_are_not_learned_from(
    tmp_path: Path, learn: Learn, first: int, code: int, says: str
) -> None:
    """Of 60 rows 59 would be lost. If they are few, as after a power cut, it is only said."""
    path = tmp_path / "healthy.csv"
    head, *lines = path.read_text().splitlines()
    coarse = [line if n < first else line[:17] + "00Z" + line[20:] for n, line in enumerate(lines)]
    path.write_text("\n".join([head, *coarse]))
    found, out, err = learn("--asset", "P-1", "--input", str(path))
    assert (found, bool(out)) == (code, code == 0)
    assert says in err


def test_what_the_columns_hold_is_said_of_each(tmp_path: Path, learn: Learn) -> None:
    path = tmp_path / "healthy.csv"
    head, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    told = [[t, f, "RUN" if n % 2 else "STOP", "", "x"] for n, (t, f, *_) in enumerate(rows)]
    path.write_text("\n".join([head + ",remark", *(",".join(row) for row in told)]))
    code, _, err = learn("--asset", "P-1", "--input", str(path))
    assert code == 0
    assert "column 'pressure': text in 2000 of 2000 rows, such as 'STOP' in healthy.csv" in err
    assert (
        "column 'current': empty cells in 2000 of 2000 rows, the first in healthy.csv, line 2"
        in err
    )
    assert "columns that are no signal, not used: remark" in err
    assert "P-1: learned without pressure (" in err


def edited(path: Path, column: int, text: Callable[[int, str], str]) -> None:
    """Rewrite a column of a recording."""
    head, *lines = path.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for number, row in enumerate(cells):
        row[column] = text(number, row[column])
    path.write_text("\n".join([head, *(",".join(row) for row in cells)]) + "\n")


@pytest.mark.parametrize(
    ("text", "inputs", "reason"),
    [
        (lambda _n, _old: "", 2, "current (only empty cells in column 'current')"),
        (lambda _n, _old: "RUNNING", 2, "current (only text in column"),
        (lambda n, old: "" if n % 500 else old, 3, ""),  # written rarely: it holds
        (lambda n, old: old if n % 10 else "", 3, ""),  # bad now and then
        (lambda _n, _old: "7.5", 3, ""),  # constant
        (lambda n, _old: f"{4.2e9 + 3 * n:.1f}", 3, ""),  # a meter
    ],
)
def test_a_column_that_is_no_data_does_not_refuse_the_rest(
    tmp_path: Path,
    learn: Learn,
    text: Callable[[int, str], str],
    inputs: int,
    reason: str,
) -> None:
    """It is left out and named; what is there is learned."""
    edited(tmp_path / "healthy.csv", 3, text)
    code, out, err = learn("--asset", "P-1", "--input", str(tmp_path / "healthy.csv"))
    assert code == 0
    assert f"1 assets, {inputs} inputs" in out
    assert (f"P-1: learned without {reason}" in err) if reason else ("learned without" not in err)


def test_assets_of_one_file_may_lack_different_columns(tmp_path: Path, learn: Learn) -> None:
    """A bundle for each set of inputs; one without any value is refused, the others are not."""
    config = tmp_path / "edge-agent.yaml"
    text = config.read_text().replace("  P-1: {template: pump}", "  P-{1..4}: {template: pump}")
    config.write_text(text)
    _, *lines = (tmp_path / "healthy.csv").read_text().splitlines()
    cells = {"P-1": (1, 2, 3), "P-2": (1, 2, 0), "P-3": (1, 0, 3), "P-4": (0, 0, 0)}
    head = ["time", *(f"{asset}.{name}" for asset in cells for name in INPUTS)]
    rows = [",".join(head)]
    for line in lines:
        row = [*line.split(","), "stopped"]
        told = [row[n or 4] for columns in cells.values() for n in columns]
        rows.append(",".join([row[0], *told]))
    (tmp_path / "all.csv").write_text("\n".join(rows))
    code, _, err = learn("--asset", "P-*", "--input", str(tmp_path / "all.csv"))
    assert code == 0
    assert "P-2: learned without current (only text in column 'P-2.current')" in err
    assert "P-3: learned without pressure (only text in column 'P-3.pressure')" in err
    assert "P-4: not learned: no value at all of flow, pressure, current" in err
    found = [load_manifest(folder) for folder in (tmp_path / "models").iterdir()]
    assert {one.units: one.training.get("left_out", "") for one in found} == {
        ("P-1",): "",
        ("P-2",): "current (only text in column 'P-2.current')",
        ("P-3",): "pressure (only text in column 'P-3.pressure')",
    }


def test_an_input_of_the_second_half_is_left_out_if_the_rest_is_too_short(
    tmp_path: Path, learn: Learn
) -> None:
    """A sensor that was mounted late: without it there are enough rows."""
    path = tmp_path / "healthy.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:201]))
    edited(path, 3, lambda n, old: old if n > 90 else "")
    code, out, err = learn("--asset", "P-1", "--input", str(path))
    assert (code, "1 assets, 2 inputs" in out) == (0, True)
    assert "P-1: learned without current (too rarely usable)" in err


def test_learning_live_says_how_it_goes_and_what_is_missing(
    tmp_path: Path, learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, rows and what is left of the time: each second on a terminal."""
    (tmp_path / "run.csv").write_bytes((tmp_path / "healthy.csv").read_bytes())
    config = tmp_path / "edge-agent.yaml"
    live = "path: run.csv, asset: P-1, speed: 0"
    config.write_text(config.read_text().replace("path: run.csv", live))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, err = learn("--asset", "P-1", "--hours", str(2 / 3600))
    assert code == 0
    assert "6000 values, 2000 rows" in err
    assert "s left" in err


def spaced(path: Path, values: Iterable[Iterable[float]], step_s: float) -> None:
    """A recording with a row each `step_s`."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [",".join(("time", *INPUTS))]
    for number, row in enumerate(values):
        stamp = (begin + timedelta(seconds=number * step_s)).isoformat()
        lines.append(",".join((stamp, *(f"{value:.4f}" for value in row))))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("step_s", "n", "said"),
    [
        (0.05, 1500, "step: 50ms, found from the data; 64 rows in a window"),
        (180.0, 600, "step: 3m, found from the data; 64 rows in a window"),
        (3600.0, 200, "step: 1h, found from the data; 16 rows in a window"),
    ],
)
def test_the_time_scale_of_a_recording_is_found(
    tmp_path: Path, learn: Learn, step_s: float, n: int, said: str
) -> None:
    """With nothing told; a recording that is too short for long windows has shorter ones."""
    config = tmp_path / "edge-agent.yaml"
    text = config.read_text()
    config.write_text(text.replace("learn: {length: 16, false_alarms_per_day: 1}", "learn: auto"))
    spaced(tmp_path / "slow.csv", rows(n, seed=3), step_s)
    code, out, err = learn("--asset", "P-1", "--input", str(tmp_path / "slow.csv"))
    assert (code, err) == (0, "")
    assert said in out
    (folder,) = (tmp_path / "models").iterdir()
    window = load_manifest(folder).window
    assert (window.step_s, window.length) == (step_s, 16 if n < 256 else 64)


def test_what_is_told_of_the_time_scale_is_used(tmp_path: Path, learn: Learn) -> None:
    config = tmp_path / "edge-agent.yaml"
    told = "learn: {step: 6m, length: 32}"
    text = config.read_text()
    config.write_text(text.replace("learn: {length: 16, false_alarms_per_day: 1}", told))
    spaced(tmp_path / "slow.csv", rows(600, seed=3), 180.0)
    code, out, _ = learn("--asset", "P-1", "--input", str(tmp_path / "slow.csv"))
    assert code == 0
    assert "step: 6m, told; 32 rows in a window" in out
