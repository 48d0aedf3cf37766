"""`edge-agent check`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from edge_agent import config
from edge_agent.cli import main
from edge_agent.findings import error, fine, warning
from edge_agent.sources.replay.config import ReplayConfig

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.findings import Finding

SOUND = """\
sources:
  recording: {type: replay, path: run.csv}
sinks:
  twin: {type: replay, path: run.csv}
templates:
  pump:
    signals: {pressure: {unit: bar}, flow: {}}
    learn: auto
assets:
  "P-{001..500}": {template: pump}
"""


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The daemon's public functions over one small table, without its libraries."""
    module = ModuleType("edge_agent.daemon")
    table = {"replay": ReplayConfig}
    module.find_problems = partial(config.find_problems, sources=table, sinks=table)  # type: ignore[attr-defined]
    module.certificate_problems = lambda _config: ([], [])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edge_agent.daemon", module)
    return module


def answers(daemon: ModuleType, *found: Finding) -> None:
    async def examine(_examined: object, *, deep: bool) -> list[Finding]:
        assert not deep
        return list(found)

    daemon.examine = examine  # type: ignore[attr-defined]
    daemon.Examined = lambda *parts: parts  # type: ignore[attr-defined]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "edge.yaml"
    place.write_text(SOUND)
    return place


@pytest.mark.usefixtures("daemon")
def test_a_sound_config_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == (
        "config ok: 1 source, 1 sink, 1 template, 500 assets, 1000 signals, 0 models\n"
    )


@pytest.mark.usefixtures("daemon")
def test_problems_go_to_stderr_and_nothing_to_stdout(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(SOUND.replace("path: run", "paht: run"))
    assert main(["check", "-c", str(file)]) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(": ")[0] for line in captured.err.splitlines()] == [
        f"{file}:2",
        f"{file}:2",
        f"{file}:4",
        f"{file}:4",
    ]


@pytest.mark.usefixtures("daemon")
def test_warnings_do_not_fail(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    file.write_text(
        SOUND.replace("sinks:\n  twin: {type: replay, path: run.csv}\n", "")
        + "http: {token: {env: TOKEN}}\n"
    )
    with file.open("a") as out:
        out.write("alarms: {languages: [en]}\n")
    file.write_text(file.read_text().replace("templates:\n", "templates:\n  spare: {}\n"))
    assert main(["check", "-c", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("config ok: 1 source, 0 sinks, 2 templates, ")
    assert captured.err.splitlines() == [
        "warning: sinks: there is none; alarms are only seen on the status page",
        "warning: templates.spare: no asset uses it",
        (
            "warning: templates.spare: neither models nor learn nor limits; "
            "only data quality is monitored"
        ),
        "warning: http.token: environment variable TOKEN is not set",
    ]


@pytest.mark.usefixtures("daemon")
def test_a_template_that_a_source_names_is_used(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its assets announce themselves later."""
    text = SOUND.split("assets:", maxsplit=1)[0]
    file.write_text(text)
    main(["check", "-c", str(file)])
    assert "no asset uses it" in capsys.readouterr().err
    file.write_text(text.replace("path: run.csv}\nsinks", "path: run.csv, template: pump}\nsinks"))
    main(["check", "-c", str(file)])
    assert capsys.readouterr().err == ""


def test_connect_prints_a_line_for_each_finding(
    daemon: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not fit makes it fail; a warning does not."""
    answers(daemon, error("sink twin", "connection refused", "start it"), fine("source recording"))
    assert main(["check", "-c", str(file), "--connect"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "error: sink twin: connection refused (start it)",
        "ok: source recording: ok",
    ]
    answers(daemon, warning("source recording", "slow"), fine("sink twin"))
    assert main(["check", "-c", str(file), "--connect"]) == 0


def test_findings_as_json(
    daemon: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object on stdout, of a sound config, of one that does not fit and of a broken one."""
    answers(daemon, error("sink twin", "refused", "start it"))
    assert main(["check", "-c", str(file), "--connect", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    row = {"severity": "error", "where": "sink twin", "what": "refused", "mend": "start it"}
    assert told == {"ok": False, "findings": [row]}
    assert main(["check", "-c", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "findings": []}
    file.write_text("sources: 1")
    assert main(["check", "-c", str(file), "--json"]) == 78
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["findings"][0]["where"]) == (False, f"{file}:1")


def test_a_broken_config_is_not_connected(
    daemon: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(daemon, fine("source recording"))
    file.write_text("sources: 1")
    assert main(["check", "-c", str(file), "--connect"]) == 78
    assert capsys.readouterr().out == ""


def test_check_without_a_file_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "-c" in capsys.readouterr().err


def test_an_unknown_key_does_not_hide_what_else_is_wrong_with_its_struct(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge-agent.yaml"
    path.write_text('sources:\n  bus: {type: mqtt, url: "mqtt://h", subscribe: [], foo: 1}\n')
    assert main(["check", "-c", str(path)]) == 78
    told = capsys.readouterr().err
    assert "sources.bus.foo: unknown key" in told
    assert "sources.bus.subscribe: is empty" in told


@pytest.mark.parametrize(
    ("file", "told_of"),
    [
        ("plant.key", "is not an Ed25519 public key in PEM ("),
        ("garbage.pub", "is not an Ed25519 public key in PEM ("),
        ("gone.pub", "there is no file "),
    ],
)
def test_a_trusted_key_that_is_none_is_a_problem_of_its_line(
    file: str, told_of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the daemon's own table: a private key, garbage, and nothing at all."""
    main(["models", "keygen", str(tmp_path / "plant")])
    (tmp_path / "garbage.pub").write_text("garbage")
    (tmp_path / "run.csv").write_text("time,flow\n")
    config = tmp_path / "edge.yaml"
    text = SOUND.replace("sinks:\n  twin: {type: replay, path: run.csv}\n", "")
    config.write_text(f"{text}trust:\n  keys:\n    - plant.pub\n")
    assert main(["check", "-c", str(config)]) == 0
    config.write_text(f"{config.read_text()}    - {file}\n")
    capsys.readouterr()
    assert main(["check", "-c", str(config)]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    number = len(config.read_text().splitlines())
    assert line.startswith(f"{config}:{number}: trust.keys[1]: ")
    assert told_of in line
    assert str(tmp_path / file) in line


def test_an_expired_certificate_is_an_error_of_the_check(
    daemon: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config itself is sound, so that a daemon with an old file starts and tells it."""
    text = "sinks.bus.tls.cert: own.pem expired on 2025-01-01"
    daemon.certificate_problems = lambda _: ([text], ["soon"])  # type: ignore[attr-defined]
    assert main(["check", "-c", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: {text}\nwarning: soon\n"
    assert captured.out == ""
    assert main(["check", "-c", str(file), "--json"]) == 1
    assert text in capsys.readouterr().out


def test_a_failure_mode_without_advice_is_a_warning(
    daemon: ModuleType, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule whose failure mode is in no catalogue is named; one with its own advice is not."""
    del daemon
    limits = "{high: {limit: 1, failure_mode: burst}, low: {limit: 0, failure_mode: leak}, "
    limits += "low_low: {limit: -1, failure_mode: void, advice: {en: Look.}}}"
    file.write_text(SOUND.replace("flow: {}", f"flow: {{limits: {limits}}}"))
    assert main(["check", "-c", str(file)]) == 0
    told = capsys.readouterr().err
    assert "templates.pump.signals.flow.limits.high.failure_mode: 'burst' is in no cat" in told
    assert "leak" not in told
    assert "void" not in told
