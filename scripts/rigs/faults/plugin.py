"""A pytest plugin, `-p scripts.rigs.faults.plugin`: reports what became of each test.

One JSON line per test goes to the file that EDGE_AGENT_FAULTS_REPORT names. A test reports a figure
with `record_property("figure", "0 of 4,000 lost")`. EDGE_AGENT_FAULTS_WITHOUT names a function of
`unprotected.py`, which switches a protection off before the tests run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.rigs.faults import unprotected

if TYPE_CHECKING:
    import pytest

REPORT: Final = "EDGE_AGENT_FAULTS_REPORT"
WITHOUT: Final = "EDGE_AGENT_FAULTS_WITHOUT"


def pytest_sessionstart() -> None:
    """Switch the protection off, if this is a control."""
    if name := os.environ.get(WITHOUT):
        unprotected.switch_off(name)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a line when a test has ended; a failed fixture counts as a failed test."""
    if report.when != "call" and report.outcome == "passed":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    line = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "reason": reason.removeprefix("Skipped: "),
        "figures": [str(value) for key, value in report.user_properties if key == "figure"],
    }
    with Path(os.environ[REPORT]).open("a") as file:
        file.write(json.dumps(line) + "\n")
