"""An alarm with its timers: what each observation means for it, its severity and its transitions.

`Recovery` is the way back from a fault that ends above the limit: a machine rarely returns exactly
to its old state. A pump whose valve was shut and opened again may settle at slightly different
values. Its level falls from fifty to three, and an alarm that waits for one would stay active for
ever.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from math import exp, log, log2
from typing import TYPE_CHECKING, Final

from edge_agent.alarms.catalogue import ALARM_ID
from edge_agent.alarms.transitions import ALIVE, WAITING, Event
from edge_agent.clock import US_PER_S
from edge_agent.config.schema import LearnedAlarm
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import DOUBTFUL, Alarm, AlarmState, Transition, TransitionKind

if TYPE_CHECKING:
    from edge_agent.alarms.catalogue import AlarmPolicy
    from edge_agent.alarms.transitions import Announced
    from edge_agent.config.schema import AlarmRule
    from edge_agent.messages import Detail, Observation


_FORGETTING: Final = 10.0  # off-delays: the previous level decays by e in this time
_DOUBT: Final = 30.0  # off-delays: a level above the limit for this long is not a recovery
_RELAPSE: Final = 2.0  # times the lowest level since then is not a recovery either
_WAIT_FACTOR: Final = 4.0  # each false recovery extends the wait of the next one by this factor
_MAX_DOUBTED: Final = 8
_LEVELS: Final = (1e-3, 1e6)
_UPDATE_INTERVAL_S: Final = 60.0
_MAX_SEVERITY: Final = 1000
_PER_DOUBLING: Final = 0.2
_DOUBTFUL_MOST: Final = 666  # medium
_TOPS: Final = (333, 666, 800)
_NAMES: Final = ("low", "medium", "high", "critical")


@dataclass(slots=True)
class Recovery:
    """The history of an alarm's level, in event time.

    smooth, held: logarithms of the level smoothed over one off-delay, and of its previous level;
    lowest: since the alarm cleared above the limit, else None; doubted: number of false clears.
    """

    smooth: float = 0.0
    held: float = 0.0
    at_us: int | None = None
    lowest: float | None = None
    since_us: int = 0
    doubted: int = 0

    def smooth_level(self, level: float, at_us: int, rule: AlarmRule) -> None:
        """Accept the level of an active alarm."""
        now = log(min(max(level, _LEVELS[0]), _LEVELS[1]))
        if self.at_us is None:
            self.smooth = self.held = now
        elif rule.off_delay:
            passed = max(0.0, at_us - self.at_us) / US_PER_S / rule.off_delay
            self.smooth += (now - self.smooth) * (1.0 - exp(-passed))
            self.held = max(self.held - passed / _FORGETTING, self.smooth)
        self.at_us = at_us

    def left(self, level: float, rule: AlarmRule) -> bool:
        """True if the level fell, not slowly, below `rule.recovery` of its previous level."""
        return rule.off_delay > 0 and level < rule.recovery * exp(self.held)

    def wait_s(self, rule: AlarmRule) -> float:
        """How long it must stay below."""
        return float(rule.off_delay * _WAIT_FACTOR ** min(self.doubted, _MAX_DOUBTED))

    def start_at_clear(self, level: float, at_us: int) -> None:
        """The alarm cleared above the limit."""
        self.at_us = None
        self.lowest, self.since_us = level, at_us

    def relapsed(self, level: float, at_us: int, rule: AlarmRule) -> bool:
        """True if a level above the limit must be raised again after such a clear."""
        if self.lowest is None:
            return True
        self.lowest = min(self.lowest, level)
        doubtful_us = self.since_us + round(_DOUBT * rule.off_delay * US_PER_S)
        return level >= _RELAPSE * self.lowest or at_us >= doubtful_us

    def doubt(self) -> None:
        """The alarm is active again: count a recovery, if there was one, as false."""
        if self.lowest is not None:
            self.doubted += 1
        self.lowest = self.at_us = None

    def reset(self) -> None:
        """The level is below the limit."""
        self.lowest = self.at_us = None
        self.doubted = 0


@dataclass(slots=True)
class Track:
    """An alarm with its timers, all in event time.

    over: the comparator behind its deadband; since_us: from when it has disagreed with
    `alarm.active`; latest: the last observation that was not NaN; decided_us: when the other
    gateway of a pair saw the condition change: our observations from before come too late.
    """

    alarm: Alarm
    over: bool = False
    since_us: int | None = None
    cleared_us: int | None = None
    updated_us: int | None = None
    latest: Observation | None = None
    decided_us: int | None = None
    recovery: Recovery = field(default_factory=Recovery)

    @property
    def idle(self) -> bool:
        """True if an observation below the limit would change nothing."""
        alarm = self.alarm
        is_normal = alarm.state is AlarmState.NORMAL and not alarm.active and self.since_us is None
        return is_normal and self.recovery.lowest is None

    def shift_clock(self, step_us: int) -> None:
        """Shift every timer; the clock was moved. Past events keep their time."""
        for name in ("since_us", "cleared_us", "updated_us", "decided_us"):
            at_us = getattr(self, name)
            setattr(self, name, None if at_us is None else at_us + step_us)
        self.alarm.shelved_until_us += step_us if self.alarm.shelved_until_us else 0
        self.recovery.since_us += step_us
        if self.recovery.at_us is not None:
            self.recovery.at_us += step_us

    def accept_observation(self, seen: Observation, policy: AlarmPolicy) -> Event | None:
        """Follow an observation; returns the event of the alarm's condition, None if there is none.

        `ON` also for an active alarm that is not raised yet.
        """
        level, at_us, rule = seen.level, seen.at_us, policy.rule
        if isinstance(rule, LearnedAlarm):
            rule = rule.at_step(seen.step_s)
        self.latest = seen
        self.over = self._compare(level, at_us, rule)
        if self.over == self.alarm.active:
            self.since_us = None
            return self._steady_event(policy, at_us) if self.alarm.active else None
        # A dip into the deadband does not interrupt the delay, yet nothing is raised below 1.
        is_over = self._settled(level, at_us, rule) and (not self.over or level >= 1.0)
        return self.follow_comparator(policy, at_us) if is_over else None

    def _compare(self, level: float, at_us: int, rule: AlarmRule) -> bool:
        """Compare: over at >= 1, back below 1 - deadband, or far below its previous level.

        A disabled rule reads as zero.
        """
        if not rule.enabled:
            return False
        if level < 1.0 - rule.deadband:
            if not self.alarm.active:
                self.recovery.reset()
            return False
        if self.alarm.active:
            self.recovery.smooth_level(level, at_us, rule)
            return (level >= 1.0 or self.over) and not self.recovery.left(level, rule)
        return (level >= 1.0 or self.over) and self.recovery.relapsed(level, at_us, rule)

    def _settled(self, level: float, at_us: int, rule: AlarmRule) -> bool:
        """True if the comparator has disagreed with `alarm.active` for its whole delay."""
        if self.since_us is None or at_us < self.since_us:
            self.since_us = at_us
        delay_s: float = rule.on_delay if self.over else rule.off_delay
        if not self.over and level >= 1.0 - rule.deadband:
            delay_s = self.recovery.wait_s(rule)
        return at_us - self.since_us >= delay_s * US_PER_S

    def follow_comparator(self, policy: AlarmPolicy, at_us: int) -> Event | None:
        """Let the condition follow the comparator, whose delay is over; returns the event."""
        alarm = self.alarm
        self.since_us = None
        self._recover(at_us, policy.rule)
        alarm.active = self.over
        if not alarm.active:
            return Event.OFF
        if alarm.state is AlarmState.NORMAL:
            alarm.count = 0
        if alarm.count == 0:
            alarm.first_seen_us = at_us
        return self._steady_event(policy, at_us)

    def _steady_event(self, policy: AlarmPolicy, at_us: int) -> Event | None:
        """Raise an active alarm that waits for it, except soon after its clear; update a raised."""
        state = self.alarm.state
        if state in WAITING:
            return None if within(self.cleared_us, at_us, policy.rule.cooldown) else Event.ON
        if state not in ALIVE or within(self.updated_us, at_us, _UPDATE_INTERVAL_S):
            return None
        return Event.CHANGE if self._has_news(policy) else None

    def _recover(self, at_us: int, rule: AlarmRule) -> None:
        level = self.latest.level if self.latest else 0.0
        if self.over:
            self.recovery.doubt()
        elif rule.enabled and level >= 1.0 - rule.deadband:
            self.recovery.start_at_clear(level, at_us)
        else:
            self.recovery.reset()

    def enter(
        self,
        row: Announced,
        policy: AlarmPolicy,
        at_us: int,
        actor: str = "",
        comment: str | None = None,
    ) -> Transition:
        """Make the transition of a row of the table; comment: None keeps the present one."""
        state, kind = row
        alarm = self.alarm
        if alarm.state is AlarmState.NORMAL and not alarm.active:
            alarm.count = alarm.first_seen_us = 0
        if state is AlarmState.UNACK and alarm.state is not AlarmState.UNACK:
            alarm.count += 1
            alarm.acked_by = alarm.confirmed_by = alarm.comment = ""
        if state is AlarmState.UNACK or (kind is TransitionKind.UPDATE and comment is None):
            self._describe(policy, at_us)
        if kind is TransitionKind.ACK:
            alarm.acked_by = actor
        if kind is TransitionKind.SUPPRESS:
            alarm.suppressed_by = actor
        elif state is not AlarmState.SUPPRESSED:
            alarm.suppressed_by = ""
        alarm.shelved_by = "" if state is not AlarmState.SHELVED else alarm.shelved_by or actor
        if comment is not None:
            alarm.comment = comment
        if kind is TransitionKind.CLEAR:
            self.cleared_us = at_us
        alarm.state = state
        alarm.seq += 1
        alarm.changed_us = at_us
        return Transition(kind, at_us, replace(alarm), actor)

    def _has_news(self, policy: AlarmPolicy) -> bool:
        """True if the latest observation has another priority, fault, mode or first input."""
        alarm, latest = self.alarm, self.latest
        if latest is None or alarm.detail is None:
            return latest is not None
        return (
            priority(severity_of(policy.rule, latest)) != alarm.priority
            or latest.detail.failure_mode != alarm.detail.failure_mode
            or _mode(latest.detail) != _mode(alarm.detail)
            or _first_input(latest.detail) != _first_input(alarm.detail)
        )

    def _describe(self, policy: AlarmPolicy, at_us: int) -> None:
        """Copy the latest observation into the alarm."""
        self.updated_us = at_us
        if self.latest is None:
            return
        alarm = self.alarm
        alarm.detail = self.latest.detail
        alarm.ne107 = policy.rule.ne107
        alarm.stage = self.latest.detail.stage or policy.stage
        alarm.severity = severity_of(policy.rule, self.latest)
        alarm.priority = priority(alarm.severity)


def new_track(alarm_id: str, policy: AlarmPolicy, last_number: int = 0) -> Track:
    """Return the track of an alarm that was always normal; last_number: of its last transition.

    Raises EdgeAgentError if the id cannot be a topic level, file name and metric label.
    """
    if not ALARM_ID.fullmatch(alarm_id):
        raise EdgeAgentError(
            "unusable alarm id", where=repr(alarm_id), hint="letters, digits and _.- only"
        )
    rule = policy.rule
    return Track(
        Alarm(
            alarm_id,
            policy.asset,
            seq=last_number,
            severity=rule.severity,
            priority=priority(rule.severity),
            ne107=rule.ne107,
            stage=policy.stage,
        )
    )


def within(start_us: int | None, at_us: int, duration_s: float) -> bool:
    """True if `at_us` is less than `duration_s` after `start_us`, and not before it."""
    return start_us is not None and 0 <= at_us - start_us < duration_s * US_PER_S


def _first_input(detail: Detail) -> str:
    if not detail.contributors:
        return ""
    return max(detail.contributors, key=lambda each: abs(each.weight)).input


def severity(base: int, level: float) -> int:
    """Return the OPC UA severity 1..1000: `base` at the limit, + 20 % per doubling of `level`."""
    if level <= 1.0:
        return base
    return int(min(_MAX_SEVERITY, base * (1.0 + _PER_DOUBLING * log2(level))))


def severity_of(rule: AlarmRule, seen: Observation) -> int:
    """Return the severity of an observation; at most medium if its model is doubtful."""
    found = severity(rule.severity, seen.level)
    return min(found, _DOUBTFUL_MOST) if _mode(seen.detail) in DOUBTFUL else found


def _mode(detail: Detail) -> str:
    return "" if detail.model is None else detail.model.mode


def priority(value: int) -> str:
    """Return the priority of a severity 1..1000.

    The thirds low 1-333, medium 334-666, high 667-1000 are those in which OPC UA companion
    specifications read the severity of OPC 10000-5, 6.4.2; the top fifth is critical, since
    ISA-18.2 clause 16 requires a top priority that few alarms have.
    """
    return _NAMES[bisect_left(_TOPS, value)]
