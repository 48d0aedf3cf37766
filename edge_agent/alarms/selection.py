"""The selection of alarms for a command to several alarms."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from edge_agent.alarms.transitions import commands
from edge_agent.messages import AlarmState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.messages import Alarm


@dataclass(frozen=True, slots=True)
class Selection:
    """An alarm must match all given fields; without any, every alarm matches.

    pattern, asset: of the alarm's id and its asset, with `*` and `?`; ids: these and no others.
    """

    pattern: str = ""
    asset: str = ""
    state: str = ""
    ids: frozenset[str] = frozenset()

    def matches(self, alarm: Alarm) -> bool:
        """True if the alarm is selected."""
        return (
            (not self.pattern or fnmatchcase(alarm.alarm_id, self.pattern))
            and (not self.asset or fnmatchcase(alarm.asset, self.asset))
            and (not self.state or alarm.state == self.state)
            and (not self.ids or alarm.alarm_id in self.ids)
        )

    def ids_of(self, alarms: Iterable[Alarm], command: str) -> list[str]:
        """Ids of the alarms that are not normal, are selected, and allow the command now."""
        return [
            alarm.alarm_id
            for alarm in alarms
            if self.matches(alarm) and command in commands(alarm.state)
            if alarm.state is not AlarmState.NORMAL
        ]


def is_pattern(text: str) -> bool:
    """True if the text may match several alarms."""
    return "*" in text
