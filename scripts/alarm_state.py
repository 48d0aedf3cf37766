"""The alarm state that an operator sees for scores, by the daemon's own alarm table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.alarms import AlarmPolicy, AlarmTable
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.messages import Detail, Observation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ID = "machine.learned"
_DETAIL = Detail("anomaly")


def alarm_state(
    end_us: NDArray[np.int64], level: NDArray[np.float32], rule: AlarmRule | None = None
) -> NDArray[np.bool_]:
    """True if the alarm is active after each window, [N]; levels: scores divided by the limit.

    With the defaults of alarm rules unless `rule` is given.
    """
    policy = AlarmPolicy("machine", "a/b/c/d/machine", rule or AlarmRule())
    table = AlarmTable(lambda _: policy, Alarms(flood_limit=10_000), FakeClock())
    found = np.zeros(len(level), bool)
    for row, (at_us, value) in enumerate(zip(end_us.tolist(), level.tolist(), strict=True)):
        if value >= 1.0 or _ID in table.watched:
            table.accept_observation(Observation(_ID, value, at_us, _DETAIL))
            alarm = table.get(_ID)
            found[row] = alarm is not None and alarm.active
    return found
