"""The learner's defaults on simulated machines, with the daemon's windows and alarms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "other-machines"


@pytest.mark.benchmark
def test_the_defaults_hold_on_machines_of_many_kinds() -> None:
    """Seed 14, no figure of which was looked at to choose anything.

    In the mean two thirds of the faults are found at 5 % false alarms, twice what a windowed mean
    of |z| finds; none of what made the earlier learner blind or loud: a meter that counts on, a
    start-up among the learned rows. No baseline is over its limit on more than 1 % of what it
    learned, and cycles and operating points are not smeared.
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--seeds", "14"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    mean = found["mean"]["learned baseline, alarm"]
    assert mean["found"] >= 66.0
    assert mean["far"] <= 5.0
    assert mean["found"] >= 2 * found["mean"]["windowed mean of abs(z)"]["found"]
    machines = found["machines"]["learned baseline, alarm"]
    assert machines["metered line"]["far"] <= 5.0
    assert machines["pump started meanwhile"]["found"] >= 50.0
    assert max(row["own"] for row in machines.values()) <= 1.0
    for name in ("six operating points", "pick and place, 5-s cycle", "hydraulic rig, 60-s cycle"):
        assert machines[name]["found"] >= 70.0
