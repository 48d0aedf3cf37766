"""The alarms of a pair of gateways at a take-over: from what was announced to what goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.messages import Alarm, AlarmState, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Followed


def continue_alarms(  # noqa: PLR0913, PLR0917 (what is known from three sides)
    runtime: Runtime,
    followed: Followed,
    stored: Iterable[Alarm],
    last_number: Callable[[str], int],
    now_us: int,
    since_us: int,
) -> list[Transition]:
    """Go on from what was announced; returns the transitions that are not announced yet.

    stored: what we announced ourselves, if no other gateway was active since; last_number: of an
    alarm's transitions, by either gateway; since_us: as of `Followed.take_missed`.
    """
    found = followed.take_emptied(now_us)
    known = dict(followed.announced)
    for alarm in stored:
        if alarm.alarm_id not in known or alarm.seq >= known[alarm.alarm_id].seq:
            known[alarm.alarm_id] = alarm
    missed = followed.take_missed(since_us)
    runtime.catalogue.restore(known.values())
    unseen = [alarm_id for alarm_id in known if not runtime.alarms.is_active(alarm_id)]
    for alarm_id in dict.fromkeys([*runtime.alarms.ids(), *known, *missed]):
        of_alarm = missed.get(alarm_id, [])
        base = known.get(alarm_id) or _normal(runtime, alarm_id, of_alarm)
        if base.state is AlarmState.NORMAL:
            base = replace(base, seq=max(base.seq, last_number(alarm_id)))
        changed_us = followed.changed_us.get(alarm_id, 0)
        found += runtime.alarms.take_over(base, changed_us, of_alarm)
        found += _withdrawn(runtime, base, of_alarm)
    runtime.pipeline.follow_alarms(now_us, unseen)
    return found


def _normal(runtime: Runtime, alarm_id: str, missed: Sequence[Transition]) -> Alarm:
    """An alarm that nobody has announced."""
    alarm = runtime.alarms.get(alarm_id) or missed[0].alarm
    return Alarm(
        alarm_id,
        alarm.asset,
        severity=alarm.severity,
        priority=alarm.priority,
        ne107=alarm.ne107,
        stage=alarm.stage,
    )


def _withdrawn(runtime: Runtime, base: Alarm, missed: Sequence[Transition]) -> list[Transition]:
    """Alarms whose asset has left the config: they were cleared while nothing could be sent."""
    if not missed or base.state is AlarmState.NORMAL:
        return []
    if runtime.alarms.rules(base.alarm_id) is not None:
        return []
    last = missed[-1]
    return [replace(last, alarm=replace(last.alarm, seq=base.seq + 1))]
