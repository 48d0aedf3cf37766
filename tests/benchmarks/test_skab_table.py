"""The published benchmark, with the daemon's windows and the learner's defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SKAB = Path(__file__).resolve().parents[2] / "scripts" / "skab"


@pytest.mark.benchmark
def test_the_defaults_hold_on_recordings_they_were_not_tuned_on(data_dir: Path) -> None:
    """The 18 others: F1 at least .80 by row and by alarm, false alarms before at most 10 %.

    Under what was measured (.816 and .824, 3.8 and 7.9 %), over what an alarm that always stands
    gets. NAB over all, by a rule for change points: 33.3.
    """
    done = subprocess.run(
        [sys.executable, str(SKAB), "--json"],
        env={**os.environ, "EDGE_AGENT_DATA": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for seen in ("score", "alarm"):
        learned = found["rows"][f"learned baseline, {seen}"]
        assert learned["the other 18"]["f1"] >= 0.80
        assert learned["the other 18"]["pre_fault_far"] <= 10.0
        assert learned["all 34"]["f1"] >= 0.83
        assert learned["all 34"]["nab"] >= 26.0
    edges = found["rows"]["learned baseline, change points"]
    assert edges["all 34"]["nab"] > 32.42  # the best published, of any kind
    assert found["flow_first"] >= 16
    assert found["healthy_far"]["6000"] <= 3.0
    # The protocol itself: 23,801 rows, of which 12,771 anomalous, make F1 .698 for a stuck alarm.
    assert found["rows"]["always alarms"]["all 34"]["f1"] == pytest.approx(0.6984, abs=1e-4)
