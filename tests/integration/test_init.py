"""`edge-agent init`: a first config that passes `check`, with and without a terminal."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
import yaml
from mqtt_support import Publisher, make_users

from edge_agent.cli import main
from edge_agent.testing import find_free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


def fill(broker: Mosquitto, login: tuple[str, str] | None = None) -> None:
    """Retained values of two machines."""
    publisher = Publisher(broker.port, login=login)
    for machine in ("M-1", "M-2"):
        for signal in ("flow", "temp"):
            publisher.publish(f"plant/l1/{machine}/{signal}", "4.2", retain=True)
    publisher.close()


@pytest.fixture
def broker(make_broker: Callable[..., Mosquitto]) -> Mosquitto:
    broker = make_broker()
    fill(broker)
    return broker


def test_without_a_terminal(
    broker: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options answer; alarms go back to the broker; what is written passes `check`."""
    file = tmp_path / "plant.yaml"
    words = ["--yes", "--url", broker.url, "--site", "north", "--seconds", "1", "--learn", "90s"]
    assert main(["init", str(file), *words]) == 0
    assert f"edge-agent check -c {file} --connect" in capsys.readouterr().out
    tree = yaml.safe_load(file.read_text())
    assert tree["gateway"]["site"] == "north"
    assert tree["sinks"] == {"bus": {"type": "mqtt", "url": broker.url}}
    assert tree["sources"]["bus"]["subscribe"][0]["topic"] == "plant/l1/{asset}/{signal}"
    assert tree["templates"]["machine"]["learn"] == {
        "auto": True,
        "duration": "90s",
        "step": "0.2s",
        "length": 32,
    }
    assert main(["check", "-c", str(file)]) == 0


def test_an_old_file_is_kept(
    broker: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless --force says otherwise."""
    file = tmp_path / "plant.yaml"
    file.write_text("mine")
    words = ["init", str(file), "--yes", "--url", broker.url, "--seconds", "1"]
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert "sources" in yaml.safe_load(file.read_text())


def test_nothing_is_written_where_nothing_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plant.yaml"
    for scheme in ("opc.tcp", "mqtt"):
        url = f"{scheme}://127.0.0.1:{find_free_port()}"
        assert main(["init", str(file), "--yes", "--url", url]) == 1
        assert "refused" in capsys.readouterr().err.lower()
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_nobody_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["init", str(tmp_path / "x.yaml")]) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_password_goes_into_a_file_of_its_own(
    make_broker: Callable[..., Mosquitto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mode 0600, and nowhere else; asked at a terminal."""
    users = make_users(tmp_path, "anna", "s3cr3t")
    broker = make_broker(f"password_file {users}\n", anonymous=False)
    fill(broker, ("anna", "s3cr3t"))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("EDGE_AGENT_PASSWORD", raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "s3cr3t")
    monkeypatch.setattr("sys.stdin", Terminal(f"{broker.url}\nanna\nsouth\n\nlog\ny\n"))
    folder = tmp_path / "config"
    folder.mkdir()
    try:
        assert main(["init", str(folder / "edge-agent.yaml"), "--seconds", "1"]) == 0
    finally:
        os.environ.pop("EDGE_AGENT_PASSWORD", None)
    told = capsys.readouterr()
    text = (folder / "edge-agent.yaml").read_text()
    assert "s3cr3t" not in told.out + told.err + text
    tree = yaml.safe_load(text)
    assert tree["sources"]["bus"]["password"] == {"file": "secrets/bus-password"}
    assert tree["sinks"] == {"journal": {"type": "log"}}
    secret = folder / "secrets" / "bus-password"
    assert secret.read_text() == "s3cr3t\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    assert main(["check", "-c", str(folder / "edge-agent.yaml"), "--connect"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--url", "ftp://h"], "'ftp://h' is not a server or broker"),
        (["--url", "mqtt://h", "--learn", "soon"], "'soon' is not a time"),
    ],
)
def test_wrong_use(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "x.yaml"), "--yes", *words]) == 2
    assert told in capsys.readouterr().err
