"""The unit is sound and its sandbox tight, as systemd's own checkers see it; no systemd runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.config.settings import Tuning
from edge_agent.errors import ConfigError, UsageError

UNIT = Path(__file__).parents[2] / "systemd" / "edge-agent.service"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *arguments, str(UNIT)], capture_output=True, text=True, check=False
    )


def settings() -> dict[str, list[str]]:
    """The [Service] section; a key may stand there more than once."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_verify_is_clean() -> None:
    done = analyze("verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_exposure_is_at_most_1_2() -> None:
    done = analyze("security", "--offline=true", "--threshold=12")
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_what_a_restart_cannot_mend_is_not_restarted() -> None:
    kept = settings()["RestartPreventExitStatus"][0].split()
    assert {str(ConfigError.exit_code), str(UsageError.exit_code)} <= set(kept)
    assert settings()["Restart"] == ["on-failure"]


def test_stopping_waits_longer_than_the_daemon_drains() -> None:
    assert float(settings()["TimeoutStopSec"][0]) >= 2 * Tuning().drain_deadline


def test_the_filter_refuses_and_does_not_kill() -> None:
    """ONNX Runtime asks for mbind and lives without it, but not through a SIGSYS."""
    filters = settings()["SystemCallFilter"]
    assert any("@resources" in each for each in filters if each.startswith("~"))
    assert settings()["SystemCallErrorNumber"] == ["EPERM"]
    assert "ProcSubset" not in settings()
