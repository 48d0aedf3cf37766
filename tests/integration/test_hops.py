"""How much code a reader must follow to understand one value: it may only become less."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.testing import find_mosquitto

HOPS = Path(__file__).resolve().parents[2] / "scripts" / "hops"


def count() -> dict[str, int]:
    """Files, moves and calls until the alarm is committed, on the event loop."""
    done = subprocess.run(
        [sys.executable, str(HOPS), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)["until committed, on the event loop"]
    return found


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_a_value_that_raises_an_alarm_passes_few_files_and_calls() -> None:
    """The counts of docs/architecture.md."""
    found = count()
    assert found["files"] <= 26
    assert found["moves"] <= 65
    assert found["calls"] <= 215
