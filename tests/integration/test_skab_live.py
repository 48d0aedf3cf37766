"""Real recordings through a node-opcua server and mosquitto: the transitions of a replay."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.testing import find_mosquitto
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Two with gaps in which sensors go stale, two with faults that clear, two that are short.
ONLY = ("valve1/4", "valve1/11", "valve2/1", "valve2/3", "other/1", "other/13")
TIMEOUT_S = 240


@pytest.mark.usefixtures("node_modules")
def test_a_live_run_gives_the_transitions_of_a_replay(data_dir: Path) -> None:
    """And every window the same score, although values come one by one over two protocols."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    if not (data_dir / "skab").is_dir():
        pytest.skip(f"no recordings of SKAB in {data_dir}")
    found = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "skab-live"),
            "--json",
            "--speed",
            "40",
            "--only",
            *ONLY,
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert found.stdout, found.stderr
    report = json.loads(found.stdout)
    assert report["received"] == report["wanted"], "the rig lost values"
    assert report["differences"] == {}
    assert report["troubles"] == {}
    assert found.returncode == 0
    assert sum(live for live, _ in report["transitions"].values()) > len(ONLY)
    assert sum(live for live, _ in report["windows"].values()) > 1000 * len(ONLY) / 2
