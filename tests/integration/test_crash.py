"""kill -9 of daemon and broker at random moments: every committed alarm transition arrives.

`scripts/crash-test` does the same with 50 and 10 kills; docs/reliability.md says what is promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.testing import find_mosquitto
from scripts.crash_test.crash import Plan, crash

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
@pytest.mark.parametrize(
    ("persistence", "daemon_kills", "broker_kills"), [("off", 6, 3), ("on", 3, 2)]
)
def test_no_committed_transition_is_lost(
    tmp_path: Path,
    persistence: str,
    daemon_kills: int,
    broker_kills: int,
) -> None:
    verdict = crash(Plan(daemon_kills, broker_kills, persistence == "on", seed=5), tmp_path)
    print(verdict)  # noqa: T201
    assert verdict.unheard == []
    assert verdict.problems == [], (tmp_path / "daemon.log").read_text()[-5000:]
    assert verdict.transitions > 10
