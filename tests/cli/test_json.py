"""`--json` of every command: JSON on stdout and nothing else, in the form that its help names."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli_recordings import add_window, write_site
from line_tables import write_line
from status_support import TOKEN, commanding, plant_of
from tiny_models import write_mean_bundle

from edge_agent.cli import COMMANDS, language, main, parser_of
from edge_agent.cli.completion_tree import levels_of
from edge_agent.language.wording import Judged, exam_tasks
from edge_agent.models.repository import ModelRepository

if TYPE_CHECKING:
    from edge_agent.ops.http import HttpServer

TESTS = Path(__file__).parents[1]
LEVELS = levels_of(parser_of(COMMANDS))
PATHS = {level.path for level in LEVELS}
ACTIONS = [
    one for one in LEVELS if one.path and not any(p.startswith(f"{one.path} ") for p in PATHS)
]
NO_FACTS = {
    "demo": "a show for people; its exit code says how it went",
    "init": "it asks, and writes a config",
    "run": "the daemon; its log is JSON if the config says so",
    "completion": "a script",
}
# What needs a server, a language model or torch: the test that runs it with --json.
ELSEWHERE = {
    "browse": "integration/test_browse.py",
    "listen": "integration/test_listen.py",
    "alarms history": "cli/test_alarms_cli.py",
    "ask": "daemon/test_questions.py",
    "notify": "cli/test_notify_cli.py",
    "oee": "cli/test_oee_cli.py",
}
# By command: the words after it. Of those of a daemon {url} is one that has answers.
ON_FILES = {
    "check": "-c {site}/edge-agent.yaml",
    "doctor": "-c {site}/edge-agent.yaml --seconds 1",
    "plan": "--input {site}/case.yaml",
    "learn": "-c {site}/edge-agent.yaml --asset P-1 --input {site}/healthy.csv",
    "quality": "-c {site}/edge-agent.yaml --asset P-1 --signal flow --input {site}/healthy.csv",
    "replay": "-c {site}/edge-agent.yaml --asset P-1 --input {site}/fault.csv",
    "train": "history -c {site}/edge-agent.yaml --asset P-1 --input {site}/healthy.csv"
    " --candidates chart",
    "labelled list": "--folder {site}/labelled",
    "labelled export": "--folder {site}/labelled --output {site}/labelled.csv",
    "bottleneck": "--input {site}/states.csv --parts {site}/parts.csv",
    "language": "exam -c {site}/talk.yaml",
    "models keygen": "{site}/plant",
    "models pack": "{site}/made/pump -o {site}",
    "models inspect": "{site}/made/pump/model.onnx",
    "models verify": "{site}/made/pump",
    "models install": "{site}/made/pump -c {site}/edge-agent.yaml --allow-unsigned pump",
    "models list": "--models-dir {site}/models",
    "models activate": "pump@1 -c {site}/edge-agent.yaml --url http://127.0.0.1:9",
    "models shadow": "pump --off -c {site}/edge-agent.yaml --url http://127.0.0.1:9",
    "models rollback": "pump -c {site}/edge-agent.yaml --url http://127.0.0.1:9",
    "models sign": "{site}/made/pump --key {site}/plant.key",
    "keys create": "mes --scope read --file {site}/keys.json",
    "keys list": "--file {site}/keys.json",
    "keys revoke": "mes --file {site}/keys.json",
}
ON_DAEMON = {
    "top": "",
    "assets list": "",
    "assets healthy": "P-001 --by anna",
    "assets forget": "P-001 --by anna",
    "assets failed": "P-001 --by anna",
    "assets overhauled": "P-001 --by anna",
    "alarms list": "",
    "alarms ack": "P-042.model --by anna",
    "alarms confirm": "P-042.model --by anna",
    "alarms comment": "P-042.model --by anna --comment odd",
    "alarms shelve": "P-042.model --for 1h --by anna",
    "alarms unshelve": "P-042.model --by anna",
    "alarms suppress": "P-042.model --by anna",
    "alarms unsuppress": "P-042.model --by anna",
    "alarms remove-from-service": "P-042.model --by anna",
    "alarms return-to-service": "P-042.model --by anna",
    "alarms audit": "",
    "alarms feedback": "P-042.model false --by anna",
    "models report": "pump-vibration",
}
FAILS = {"doctor"}  # facts all the same, with exit code 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, recordings and a bundle; commands find what earlier ones made."""
    folder = tmp_path_factory.mktemp("site")
    config = write_site(folder)
    config.write_text(config.read_text() + "trust: {allow_unsigned: ['*']}\n")
    for version in ("0", "1"):
        write_mean_bundle(folder / "made" / "pump", float(version), version=version)
        shelf = ModelRepository(folder / "models")
        if version == "0":
            shelf.install(folder / "made" / "pump")
            shelf.activate("pump", "0")
    add_window(folder / "labelled")
    write_line(folder)
    (folder / "talk.yaml").write_text(_TALK)
    (folder / "case.yaml").write_text(_CASE)
    return folder


_TALK = """\
store: {path: talk.db}
sources: {bus: {type: mqtt, url: "mqtt://127.0.0.1:9", subscribe: [{topic: "{asset}"}]}}
templates: {pump: {signals: {flow: {}}}}
assets: {P-1: {template: pump}}
language: {engine: openai, url: "http://127.0.0.1:9", name: theirs}
"""


_CASE = """\
now: 2026-12-01T08:00
alarms: [{asset: P-1, mode: imbalance, priority: high, raised: 2026-12-01T02:00}]
maintenance: {crews: {all: {}}, stops: {day: {start: 2026-12-03T06:00}}, solver: false}
"""


async def _sat(_: object) -> list[Judged]:
    """An exam with right answers alone."""
    return [Judged(task, answer, ()) for task, answer in exam_tasks()]


def documents(command: str, out: str) -> list[Any]:
    """What is printed: one document, or one a line where the help says so."""
    (help_of,) = (
        option.text
        for level in LEVELS
        for option in level.options
        if level.path == command and "--json" in option.names
    )
    if "a line" in _whole_help(command):
        return [json.loads(line) for line in out.splitlines()]
    assert "JSON" in help_of
    return [json.loads(out)]


def _whole_help(command: str) -> str:
    """The help of --json, which may go on in the next lines."""
    from contextlib import redirect_stdout  # noqa: PLC0415
    from io import StringIO  # noqa: PLC0415

    text = StringIO()
    with redirect_stdout(text):
        main([*command.split(), "--help"])
    found = re.search(r"^ *--json +(.*(?:\n {10,}.*)*)", text.getvalue(), re.MULTILINE)
    assert found is not None, command
    return " ".join(found[1].split())


def test_every_command_that_prints_facts_has_json() -> None:
    have = {one.path for one in ACTIONS if any("--json" in option.names for option in one.options)}
    assert {one.path for one in ACTIONS} - have == set(NO_FACTS)
    assert have == {*ON_FILES, *ON_DAEMON, *ELSEWHERE}


@pytest.mark.parametrize(("command", "file"), ELSEWHERE.items())
def test_what_needs_more_is_run_with_json_elsewhere(command: str, file: str) -> None:
    assert "--json" in (TESTS / file).read_text("utf-8"), command


@pytest.mark.parametrize("command", ON_FILES)
def test_commands_of_files_print_json_alone(
    command: str, site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "_sit", _sat)
    for name in ("OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # `train` sets them
    words = ON_FILES[command].format(site=site).split()
    code = main([*command.split(), *words, "--json"])
    captured = capsys.readouterr()
    assert code == 0 or command in FAILS, captured.err
    assert documents(command, captured.out), captured.err


@pytest.mark.parametrize("command", ON_DAEMON)
async def test_commands_of_a_daemon_print_json_alone(
    command: str, site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AGENT_TOKEN", TOKEN)
    monkeypatch.setattr("edge_agent.cli.top._FIRST_S", 0.0)
    status = plant_of(50)
    status.alarm_rows[0]["feedback"] = ""  # of an anomaly model
    async with commanding(status) as server:
        code = await asyncio.to_thread(_command, command, server, site)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert documents(command, captured.out)


def _command(command: str, server: HttpServer, site: Path) -> int:
    words = ON_DAEMON[command].format(site=site).split()
    url = f"http://127.0.0.1:{server.port}"
    return main([*command.split(), *words, "--url", url, "--json"])
