"""Machines that are stopped on purpose: their alarms are suppressed until they run again.

A false condition suppresses by design (ANSI/ISA-18.2 clause 11): an active alarm of a model or a
limit is suppressed when its machine stops, and no new alarm is raised. When the machine runs again
it is evaluated again: an alarm that is still active is announced again, others are gone. While a
condition is unknown nothing is evaluated, and alarms stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.clock import US_PER_S
from edge_agent.serving import alarm_id
from edge_agent.signals import FALSE, TRUE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_agent.alarms import AlarmTable
    from edge_agent.messages import Observation, Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import Deployment
    from edge_agent.signals import Bindings, ConditionChange

STOPPED: Final = "stopped"  # the actor of a suppression


@dataclass(frozen=True, slots=True)
class Pause:
    """The machine of an alarm stops, runs again without a score yet, or is scored again."""

    alarm_id: str
    at_us: int
    what: Literal["stops", "runs", "judged"]


class Stops:
    """What stopping means for the alarms of models.

    deployments: the active ones. waiting: alarms of machines that run again, until they are judged.
    """

    def __init__(self, bindings: Bindings, deployments: Iterable[Deployment]) -> None:
        self._bindings = bindings
        self._deployments = deployments
        self.waiting: set[str] = set()

    def pauses_of(self, changes: Iterable[ConditionChange]) -> Iterator[Pause]:
        """Accept changes of conditions; returns their effects on the alarms of models."""
        for change in changes:
            if change.truth == UNKNOWN:
                continue
            for deployment in self._deployments:
                for row in deployment.gate.rows_of(change.number):
                    alarm = alarm_id(deployment.assets[row], deployment)
                    yield Pause(alarm, change.at_us, "stops" if change.truth == FALSE else "runs")

    def apply_observation(
        self, table: AlarmTable, one: Observation | Pause
    ) -> Iterator[Transition]:
        """Apply an observation to the alarm table; returns transitions."""
        if isinstance(one, Pause):
            yield from self._apply_pause(table, one)
            return
        yield from table.accept_observation(one)
        if one.alarm_id in self.waiting:
            alarm = table.get(one.alarm_id)
            if alarm is None or one.level >= 1.0 or not alarm.active:
                self.waiting.discard(one.alarm_id)
                yield from table.resume_alarm(one.alarm_id, STOPPED, one.at_us)

    def _apply_pause(self, table: AlarmTable, one: Pause) -> Sequence[Transition]:
        if one.what == "judged":
            return table.resume_alarm(one.alarm_id, STOPPED, one.at_us)
        if one.what == "runs":
            self.waiting.add(one.alarm_id)
            return ()
        self.waiting.discard(one.alarm_id)
        return table.pause_alarm(one.alarm_id, STOPPED, one.at_us)

    # -- what the API shows -------------------------------------------------------------------

    def number(self, asset: PlantAsset) -> int:
        """The condition of a running machine, -1 if it has none."""
        return -1 if asset.when is None else self._bindings.condition(asset)

    def truth_of(self, asset: PlantAsset) -> int:
        """The truth of the condition of a running machine; TRUE if it has none."""
        number = self.number(asset)
        return TRUE if number < 0 else int(self._bindings.conditions.truth[number])

    def judge(self, number: int) -> tuple[int, str]:
        """The truth of a condition (TRUE for -1), and a text of its meaning if not TRUE."""
        if number < 0:
            return TRUE, ""
        conditions = self._bindings.conditions
        truth, text = int(conditions.truth[number]), conditions.text(number)
        if truth == FALSE:
            return FALSE, f"stopped since {_clock(conditions.turned_us(number))}: not {text}"
        names = ", ".join(conditions.unknown(number))
        why = f"{names} has no good value" if names else "no value was received yet"
        return truth, "" if truth == TRUE else f"not judged: {why}, so that {text!r} is not known"


def _clock(at_us: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_us // US_PER_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
