"""The shipped test helpers: its page runs as it stands, and a program that fails says so."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.models import load_manifest, verify_bundle
from edge_agent.sinks.base import DeliveryError
from edge_agent.testing import Program, ProgramError, RecordingSink, find_mosquitto, mean_bundle
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.messages import Message


def test_it_needs_no_pytest() -> None:
    """Who installed the wheel has none."""
    code = "import sys, edge_agent.testing; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.integration
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """A daemon behind a broker raises an alarm for the bundle of the page."""
    page = (ROOT / "docs" / "testing.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_mean_bundle_verifies(tmp_path: Path) -> None:
    mean_bundle(tmp_path / "watch", ["flow", "pressure"], length=4, factor=2.0, version="7")
    assert verify_bundle(tmp_path / "watch") == []
    assert load_manifest(tmp_path / "watch").version == "7"


def test_a_program_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    class Broken(Program):
        def is_ready(self) -> bool:
            return False

    with pytest.raises(ProgramError, match="no such plant"):
        Broken([sys.executable, "-c", "exit('no such plant')"], tmp_path / "log").start()


def test_a_program_can_be_killed_and_started_again(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    program.kill()
    first = program.start().pid
    program.kill()
    assert program.start().pid != first
    assert program.unexpected == []
    program.kill()
    with pytest.raises(ProgramError, match="not running"):
        _ = program.pid


async def test_a_recording_sink_keeps_what_it_confirms() -> None:
    """Unless its `answer` refuses the message."""
    from sink_support import event  # noqa: PLC0415

    def refuse(_: Message) -> None:
        raise DeliveryError("full", reason="refused", retry=True)

    sink, message = RecordingSink(), event()
    await sink.deliver(message)
    sink.answer = refuse
    with pytest.raises(DeliveryError):
        await sink.deliver(message)
    assert sink.messages == [message]
