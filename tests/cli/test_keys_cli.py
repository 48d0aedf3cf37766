"""`edge-agent keys`: a secret is shown once, and what is listed shows none."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli import main
from edge_agent.ops.key_file import read_keys

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
gateway: {id: gw}
store: {path: state/store.db}
sources: {}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def keys(file: Path, *words: str) -> int:
    return main(["keys", *words, "--file", str(file)])


def test_create_prints_the_secret_alone_and_once(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stdout, for a script; what it may do and how to send it on stderr."""
    assert keys(file, "create", "mes", "--scope", "read,infer", "--expires", "90d") == 0
    shown = capsys.readouterr()
    secret = shown.out.strip()
    assert re.fullmatch(r"edgeagent_[0-9A-Za-z]{46}", secret)
    assert "mes: read, infer, until 20" in shown.err
    assert "first key" in shown.err
    assert "Bearer" in shown.err
    assert secret not in shown.err
    [key] = read_keys(file).values()
    assert key.matches(secret)
    assert key.scopes == ("read", "infer")
    assert key.expires_ms is not None
    assert key.expires_ms - key.created_ms == 90 * 86_400_000
    keys(file, "create", "other", "--scope", "text", "--expires", "never")
    assert "first key" not in capsys.readouterr().err


def test_list_shows_states_limits_and_no_secret(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys(file, "create", "mes", "--scope", "infer", "--rate", "2.5", "--max-body", "1MiB")
    keys(file, "create", "panel", "--scope", "command", "--expires", "never", "--concurrency", "4")
    keys(file, "revoke", "panel")
    secret = capsys.readouterr().out.splitlines()[0]
    assert keys(file, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "STATE", "SCOPES"]
    assert re.match(r"mes +valid +infer +20\S+ \S+ +- +2.5/s +- +1048576", lines[1])
    assert re.match(r"panel +revoked +command +never +- +- +4 +-", lines[2])
    assert keys(file, "list", "--json") == 0
    text = capsys.readouterr().out
    assert [json.loads(line)["state"] for line in text.splitlines()] == ["valid", "revoked"]
    for said in (text, "".join(lines)):
        assert secret[20:40] not in said
        assert "salt" not in said
        assert "sha256" not in said


def test_list_warns_of_keys_that_end_soon(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the command that makes the next one."""
    keys(file, "create", "mes", "--scope", "infer,read", "--expires", "13d")
    keys(file, "create", "panel", "--scope", "command", "--expires", "15d")
    capsys.readouterr()
    assert keys(file, "list") == 0
    said = capsys.readouterr()
    assert said.err.startswith("mes expires on 20")
    assert said.err.endswith("edge-agent keys create mes --scope read,infer\n")
    assert len(said.err.splitlines()) == 1
    assert len(said.out.splitlines()) == 3


def test_a_name_is_free_again_when_its_key_has_ended(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two keys of one name could not be told apart in the audit."""
    assert keys(file, "create", "mes", "--scope", "infer") == 0
    assert keys(file, "create", "mes", "--scope", "infer") == 1
    assert "keys revoke mes" in capsys.readouterr().err
    assert keys(file, "revoke", "mes") == 0
    assert keys(file, "create", "mes", "--scope", "read") == 0
    [key] = read_keys(file).values()
    assert key.scopes == ("read",)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["create", "mes"], 2, "--scope"),
        (["create", "mes", "--scope", "all"], 2, "'all' is not one of read, infer"),
        (["create", "mes", "--scope", "read", "--expires", "soon"], 2, "not a duration"),
        (["create", "mes", "--scope", "read", "--expires", "0d"], 2, "at most 3650d"),
        (["create", "mes", "--scope", "read", "--rate", "0"], 2, "not a number"),
        (["create", "mes", "--scope", "read", "--max-body", "1GB"], 2, "not a number"),
        (["create", "token", "--scope", "read"], 1, "not a name"),
        (["revoke", "mes"], 1, "no key 'mes'"),
    ],
)
def test_what_is_wrong_is_said(
    file: Path, words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    assert keys(file, *words) == code
    assert text in capsys.readouterr().err
    assert not file.exists()


def test_a_damaged_file_is_not_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("{")
    file.chmod(0o600)
    for words in (["create", "mes", "--scope", "read"], ["list"], ["revoke", "mes"]):
        assert keys(file, *words) == 1
        assert "not JSON (restore it" in capsys.readouterr().err
    assert file.read_text() == "{"


def test_the_file_is_beside_the_store_or_where_the_config_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon's own place, whatever the folder in which the command runs."""
    config = tmp_path / "edge-agent.yaml"
    config.write_text(CONFIG)
    (tmp_path / "state").mkdir()
    assert main(["keys", "create", "mes", "--scope", "read", "-c", str(config)]) == 0
    assert "does the daemon run in this folder" in capsys.readouterr().err
    assert [key.name for key in read_keys(tmp_path / "state" / "keys.json").values()] == ["mes"]
    config.write_text(f"{CONFIG}http: {{keys: other.json}}\n")
    assert main(["keys", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == f"no keys in {tmp_path / 'other.json'}\n"


def test_without_a_config_it_asks_which_gateway(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_agent.cli.keys.DEFAULT_CONFIG", tmp_path / "none.yaml")
    assert main(["keys", "list"]) == 2
    assert "-c FILE" in capsys.readouterr().err
