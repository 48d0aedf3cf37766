"""`edge-agent replay`: transitions on stdout, all else on stderr, and its exit codes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cli_recordings import ONSET, write_site

from edge_agent.cli import main
from edge_agent.config.types import Name
from edge_agent.models.bundle.bundle import load_manifest, write_bundle
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.repository import ModelRepository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Replay = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config whose pump has learned what healthy is."""
    folder = tmp_path_factory.mktemp("site")
    config = write_site(folder)
    learn = ["learn", "-c", str(config), "--asset", "P-1", "--input"]
    assert main([*learn, str(folder / "healthy.csv")]) == 0
    return config


@pytest.fixture
def replay(site: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    """Call it with a file's name and more arguments for exit code, stdout and stderr."""

    def run(name: str, *words: str) -> tuple[int, str, str]:
        where = str(site.parent / name)
        code = main(["replay", "-c", str(site), "--input", where, *words])
        return code, *capsys.readouterr()

    return run


def test_a_fault_raises_an_alarm_that_names_its_input_first(replay: Replay) -> None:
    """What was learned from one recording finds the fault in another."""
    code, out, err = replay("fault.csv", "--asset", "P-1")
    (line,) = out.splitlines()
    assert code == 0
    assert line.startswith("2026-01-01T00:02:3")
    assert "raise" in line
    assert "P-1: unusual behaviour" in line
    assert "mainly flow" in line
    assert "285 windows, 1 transitions" in err.splitlines()[-1]


def test_every_line_of_json_is_a_transition(replay: Replay) -> None:
    code, out, _ = replay("fault.csv", "--asset", "P-1", "--json")
    (told,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert (told["transition"], told["alarm_id"], told["state"]) == (
        "raise",
        "P-1.baseline",
        "unack",
    )
    assert told["time"] >= f"2026-01-01T00:02:{ONSET - 120:02}"
    detail = told["detail"]
    assert detail["contributors"][0]["input"] == "flow"
    assert sum(c["weight"] for c in detail["contributors"]) == pytest.approx(
        detail["score"], rel=1e-3
    )
    assert detail["window"]["replayed"]


def test_health_brings_no_transition(replay: Replay) -> None:
    code, out, err = replay("healthy.csv", "--asset", "P-1")
    assert (code, out) == (0, "")
    assert "0 transitions" in err


def test_files_that_match_a_pattern_are_one_recording(replay: Replay) -> None:
    """Both begin at the same second: their values are merged by time, the later file's win."""
    _, out, err = replay("*.csv", "--asset", "P-1")
    assert "1985 windows" in err
    assert out == ""


def test_an_asset_that_nothing_scores_is_named(site: Path, replay: Replay) -> None:
    """Silence must not look like health."""
    stem = site.parent / "P-8.csv"
    stem.write_bytes((site.parent / "fault.csv").read_bytes())
    code, out, err = replay("P-8.csv", "--asset", "{stem}", "--template", "pump")
    assert (code, out) == (0, "")
    assert "P-8: no model scored it" in err
    stem.unlink()


def test_progress_is_shown_on_a_terminal_only(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\r" not in replay("fault.csv", "--asset", "P-1")[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, out, err = replay("fault.csv", "--asset", "P-1")
    assert "[####" in err
    assert "\r" not in out


def test_cells_that_are_no_numbers_are_counted(site: Path, replay: Replay) -> None:
    broken = site.parent / "broken.txt"
    text = (site.parent / "fault.csv").read_text()
    broken.write_text(text.replace("00:00:05Z,", "00:00:05Z,what"))
    code, _, err = replay("broken.txt", "--asset", "P-1")
    assert code == 0
    assert "text in 1 of 300 rows, such as 'what" in err
    broken.unlink()


def test_the_first_refused_cell_is_shown_with_its_place(site: Path, replay: Replay) -> None:
    """Line, column, cell and what to do; a notable share is a warning."""
    text = (site.parent / "fault.csv").read_text()
    for second in range(5, 10):
        text = text.replace(f"00:00:0{second}Z,", f"00:00:0{second}Z,what")
    (site.parent / "broken.txt").write_text(text)
    code, _, err = replay("broken.txt", "--asset", "P-1")
    assert code == 0
    assert "column 'flow': text in 5 of 300 rows, such as 'what10" in err
    assert "in broken.txt, line 7 (give its signal a map {WORD: number}, or remove the" in err
    (site.parent / "broken.txt").write_text(text.replace("2026-01-01T00:00:1", "nowhere"))
    _, _, err = replay("broken.txt", "--asset", "P-1")
    assert "% of the recording was refused" in err


def test_with_json_the_report_of_the_columns_is_an_object_on_stderr(
    site: Path, replay: Replay
) -> None:
    """Stdout has transitions only."""
    text = (site.parent / "fault.csv").read_text().replace("00:00:05Z,", "00:00:05Z,what")
    lines = [line.rpartition(",")[0] + ",note" for line in text.splitlines()]
    (site.parent / "broken.txt").write_text("\n".join(lines))
    _, out, err = replay("broken.txt", "--asset", "P-1", "--json")
    (said,) = [json.loads(line)["recording"] for line in err.splitlines() if line[0] == "{"]
    assert all("transition" in json.loads(line) for line in out.splitlines())
    assert (said["rows"], said["values"], said["read_as"]) == (300, 599, [])
    assert (said["unused"], said["without_column"]) == (["note"], ["P-1.current"])
    (column,) = said["columns"]
    assert column == {
        "column": "flow",
        "cause": "text",
        "rows": 1,
        "of": 300,
        "file": str(site.parent / "broken.txt"),
        "line": 7,
        "cell": column["cell"],
        "refused": True,
        "mend": "give its signal a map {WORD: number}, or remove the column",
    }


def test_a_recording_of_which_nothing_is_taken_fails_with_the_cause(
    site: Path, replay: Replay
) -> None:
    """Exit code 1, and the option that mends it is named."""
    text = (site.parent / "fault.csv").read_text().replace("2026-01-01T", "1.1. ")
    (site.parent / "odd.txt").write_text(text)
    code, out, err = replay("odd.txt", "--asset", "P-1")
    assert (code, out) == (1, "")
    assert "no value of the recording was accepted" in err
    assert (
        "column 'time': not a time in 300 of 300 rows, such as '1.1. 00:00:00Z' in odd.txt" in err
    )
    assert "(set --time-format, or another column by --time)" in err


def test_a_recording_may_be_described_on_the_command_line(site: Path, replay: Replay) -> None:
    """Dates by their order, a zone, columns by number, a decimal comma, no header."""
    rows = [f"03/04/2026 08:{n // 60:02}:{n % 60:02};4,0;20,5;10,{n % 7}" for n in range(300)]
    (site.parent / "odd.txt").write_text("\n".join(rows))
    words = ("--time-format", "dmy", "--timezone", "Europe/Berlin", "--decimal", ",", "--no-header")
    columns = ("--columns", "flow=4,pressure=2,current=3", "--separator", ";", "--time", "1")
    code, _, err = replay("odd.txt", "--asset", "P-1", *words, *columns)
    assert code == 0
    assert "rejected" not in err
    code, _, err = replay("odd.txt", "--asset", "P-1")
    assert code == 1


def test_the_keys_of_a_source_describe_a_recording(site: Path, replay: Replay) -> None:
    (site.parent / "odd.txt").write_text(
        "a;b;c\n" + "".join(f"{1767225600 + n};flow;{n % 7},5\n" for n in range(100))
    )
    keys = "time: a, signal_column: b, value_column: c, asset: P-1"
    site.write_text(site.read_text().replace("path: run.csv", f"path: run.csv, {keys}"))
    assert replay("odd.txt", "--source", "recording")[0] == 0
    assert replay("odd.txt", "--long", "b,c", "--time", "a", "--asset", "P-1")[0] == 0
    code, _, err = replay("odd.txt", "--source", "tape")
    assert code == 2
    assert "known: recording" in err


def test_qualities_and_assets_of_rows_have_options(site: Path, replay: Replay) -> None:
    lines = (site.parent / "fault.csv").read_text().splitlines()
    rows = [f"{line},P-1,{0 if n % 2 else 192}" for n, line in enumerate(lines[1:])]
    (site.parent / "odd.txt").write_text("\n".join([lines[0] + ",who,q", *rows]))
    words = ("--asset-column", "who", "--quality", "q", "--quality-codes", "classic")
    code, _, err = replay("odd.txt", *words)
    assert (code, "no signal" in err) == (0, False)
    assert "sensor_bad" in replay("odd.txt", *words, "--json")[1]
    assert "sensor_bad" not in replay("odd.txt", "--asset-column", "who", "--json")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--columns", "flow"), "SIGNAL=COLUMN"),
        (("--columns", "flwo=2"), "no signal is called 'flwo' (known: current, flow, pressure"),
        (("--long", "tag"), "TAG,VALUE"),
        (("--decimal", "x"), "decimal: must be"),
    ],
)
def test_a_description_that_makes_no_sense_is_wrong_use(
    replay: Replay, words: tuple[str, ...], says: str
) -> None:
    code, _, err = replay("fault.csv", "--asset", "P-1", *words)
    assert code == 2
    assert says in err


@pytest.mark.parametrize(
    ("name", "words", "code", "says"),
    [
        ("nothing.csv", ("--asset", "P-1"), 1, "no such file"),
        ("fault.csv", ("--asset", "P-9"), 1, "the plant has no asset 'P-9'"),
        ("fault.csv", (), 1, "no column is a signal of the plant"),
        ("edge-agent.yaml", ("--asset", "P-1"), 1, "edge-agent.yaml"),
        ("fault.csv", ("--asset", "P-1", "--time", "when"), 1, "when"),
        ("fault.csv", ("--speed", "2"), 2, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(
    replay: Replay, name: str, words: tuple[str, ...], code: int, says: str
) -> None:
    found, out, err = replay(name, *words)
    assert found == code
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert out == ""


def test_a_wrong_config_has_its_own_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text("assets: {P-1: {template: pump}}\n")
    assert main(["replay", "-c", str(config), "--input", "x.csv"]) == 78
    assert "there is no template 'pump'" in capsys.readouterr().err


def test_no_source_is_needed(site: Path, replay: Replay) -> None:
    """Templates and assets are enough for a recording; the daemon needs a source."""
    whole = site.read_text()
    site.write_text("".join(whole.partition("templates:")[1:]))
    try:
        code, out, err = replay("fault.csv", "--asset", "P-1")
        assert (code, len(out.splitlines()), "no source" in err) == (0, 1, False)
        assert main(["check", "-c", str(site)]) == 78
    finally:
        site.write_text(whole)


@pytest.fixture(scope="module")
def versions(site: Path) -> str:
    """Another version of the learned model on the shelf, whose limit is twice as high."""
    models = site.parent / "models"
    (name,) = [folder.name for folder in models.glob("learned-*")]
    raw = (models / name / "model.onnx").read_bytes()
    manifest = replace(load_manifest(models / name), version=Name("high"), threshold=2.0)
    golden = parse_golden((models / name / "golden.npz").read_bytes())
    write_bundle(site.parent / "new" / name, manifest, raw, golden)
    ModelRepository(models).install(site.parent / "new" / name)
    return name


def test_a_candidate_is_compared_with_the_model_at_work(replay: Replay, versions: str) -> None:
    """Transitions of both, told apart, and the report that a shadow gives."""
    code, out, _ = replay("fault.csv", "--asset", "P-1", "--model", f"{versions}@high")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[1:3] for line in lines[:2]] == [["active", "raise"], ["shadow", "raise"]]
    text = "\n".join(lines[2:])
    for part in (
        f"{versions}: shadow running",
        "would-be alarms  1",
        "285 windows compared",
        "agreement 100.00%",
        "correlation of levels 1",
    ):
        assert part in text


def test_the_last_line_of_json_is_the_report(replay: Replay, versions: str) -> None:
    """Without a version, the one that came last is compared."""
    code, out, _ = replay("fault.csv", "--asset", "P-1", "--model", versions, "--json")
    *told, last = [json.loads(line) for line in out.splitlines()]
    report = last["report"]
    assert code == 0
    assert [one["detail"]["model"]["mode"] for one in told] == ["active", "shadow"]
    assert (report["compared"], report["candidate"]["version"]) == (285, "high")
    assert report["outcomes"]["only_active"] >= 0
    assert report["outcomes"]["only_candidate"] == 0


def test_a_candidate_that_the_config_does_not_use_is_tried_alone(
    site: Path, replay: Replay, versions: str
) -> None:
    """On whatever has its inputs; its transitions stand against nothing."""
    models = site.parent / "models"
    manifest = replace(load_manifest(models / versions), name=Name("stranger"))
    raw, golden = (models / versions / "model.onnx").read_bytes(), models / versions / "golden.npz"
    write_bundle(models / "stranger", manifest, raw, parse_golden(golden.read_bytes()))
    code, out, _ = replay("fault.csv", "--asset", "P-1", "--model", "stranger")
    assert code == 0
    assert "shadow  raise" in out
    assert "ACTIVE" not in out
    assert "no windows compared" in out


@pytest.mark.parametrize("ref", ["nobody", "nobody@1", "a b"])
def test_a_candidate_that_is_not_there_is_said_in_one_line(replay: Replay, ref: str) -> None:
    code, _, err = replay("fault.csv", "--asset", "P-1", "--model", ref)
    assert code in {1, 2}
    assert ref.partition("@")[0] in err.splitlines()[-1]
