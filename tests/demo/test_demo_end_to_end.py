"""`edge-agent demo` as a user starts it: processes, sockets, alarms and all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.testing import wait_until
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEMO = [sys.executable, "-m", "edge_agent", "demo"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*options: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=ENVIRONMENT,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.integration
def test_every_fault_raises_its_alarm_in_time_with_the_right_input_first(tmp_path: Path) -> None:
    done = run("--seconds", "60", "--folder", str(tmp_path))
    log = (tmp_path / "edge-agent.log").read_text()
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log}"
    assert re.fullmatch(
        r"demo: 5 faults, 5 alarms in time, slowest [0-9.]+ s, right input first 5/5, "
        r"0 false alarms before the first fault, 0 later: ok",
        lines[-1],
    )
    assert done.stderr == ""
    assert "Traceback" not in log
    assert sum(" ALARM " in line for line in lines) == 5
    alarms = [n for n, line in enumerate(lines) if " ALARM " in line]
    assert any(" FAULT " in line for line in lines[: alarms[0]])
    learned = next(n for n, line in enumerate(lines) if " learned " in line)
    assert alarms[0] < learned, "the shipped model guards while others still learn"
    assert "demo-pump: vibration" in lines[alarms[0]]
    assert "; learned-new-pump-" in lines[alarms[-1]], "and what was learned finds a fault, too"


@pytest.mark.slow
@pytest.mark.integration
def test_interrupted_it_takes_its_daemon_along() -> None:
    with subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as demo:
        process = psutil.Process(demo.pid)
        wait_until(lambda: process.children() != [], 30, "the daemon")
        (daemon,) = process.children()
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=30)
    assert not daemon.is_running()
    assert out.splitlines()[-1].startswith("demo: stopped before any fault")
    assert "Traceback" not in err


def test_without_its_language_model_it_says_how_to_get_one(tmp_path: Path) -> None:
    """One line, before anything is started."""
    done = run("--seconds", "60", "--with-language", "--folder", str(tmp_path))
    assert done.returncode == 1
    assert "./scripts/demo --with-language installs it" in done.stderr
    assert not list(tmp_path.iterdir())


def test_too_few_seconds_are_wrong_use() -> None:
    done = run("--seconds", "10")
    assert done.returncode == 2
    assert "45 at least" in done.stderr
