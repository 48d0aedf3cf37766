"""Whatever is observed and commanded, in whatever order: what must hold of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alarm_helpers import Desk, blaming, us
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.alarms.transitions import ANNOUNCED, Event
from edge_agent.config.schema import AlarmRule
from edge_agent.config.types import Duration
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import AlarmState, Observation, Transition, TransitionKind

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = ("P-1.a", "P-1.b", "P-1.c", "P-2.a")
QUIET = (AlarmState.SHELVED, AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE)
LIVE = (AlarmState.UNACK, AlarmState.ACKED)
COMMANDS: dict[str, Callable[[Desk, str], Transition]] = {
    "ack": lambda desk, of: desk.table.apply_command("ack", of, "me"),
    "shelve": lambda desk, of: desk.table.shelve(of, 40, "me"),
    "unshelve": lambda desk, of: desk.table.apply_command("unshelve", of, "me"),
    "suppress": lambda desk, of: desk.table.apply_command("suppress", of, "me"),
    "unsuppress": lambda desk, of: desk.table.apply_command("unsuppress", of, "me"),
    "remove_from_service": lambda desk, of: desk.table.apply_command(
        "remove_from_service", of, "me"
    ),
    "return_to_service": lambda desk, of: desk.table.apply_command("return_to_service", of, "me"),
}
# The pairs of states that ISA-18.2 joins by each kind of transition, whatever the event.
EVENT_OF = {
    TransitionKind.RAISE: Event.ON,
    TransitionKind.CLEAR: Event.OFF,
    TransitionKind.UPDATE: Event.CHANGE,
    TransitionKind.ACK: Event.ACK,
    TransitionKind.SHELVE: Event.SHELVE,
    TransitionKind.UNSHELVE: Event.UNSHELVE,
    TransitionKind.SUPPRESS: Event.SUPPRESS,
    TransitionKind.UNSUPPRESS: Event.UNSUPPRESS,
    TransitionKind.OUT_OF_SERVICE: Event.REMOVE_FROM_SERVICE,
    TransitionKind.IN_SERVICE: Event.RETURN_TO_SERVICE,
}

Step = tuple[Any, ...]
levels = st.sampled_from([0.0, 0.5, 0.85, 0.95, 1.0, 1.5, 4.0, 1e9, float("nan"), float("inf")])
ids = st.sampled_from(IDS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("see"), ids, levels, st.sampled_from(["flow", "current"])),
        st.tuples(st.just("see"), ids, st.just(2.0), st.just("flow")),
        st.tuples(st.just("command"), ids, st.sampled_from(sorted(COMMANDS))),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 20.0, 70.0, -30.0])),
        st.tuples(st.just("tick")),
    ),
    max_size=80,
)
delays = st.sampled_from([0.0, 2.0, 30.0])
rules = st.builds(
    AlarmRule,
    on_delay=delays.map(Duration),
    off_delay=delays.map(Duration),
    cooldown=delays.map(Duration),
    deadband=st.sampled_from([0.0, 0.1, 0.5]),
)
limits = st.integers(1, 4)


@dataclass
class Run:
    """A desk that takes steps, checks each transition against the table, and keeps them all."""

    desk: Desk
    at: float = 0.0
    states: dict[str, AlarmState] = field(default_factory=dict)
    log: list[Transition] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Take one step and check what must always hold."""
        verb, *rest = step
        if verb == "see":
            self.note(self.see(*rest))
        elif verb == "command":
            self.command(*rest)
        elif verb == "wait":
            self.at += rest[0]
            self.desk.clock.advance(max(0.0, rest[0]))
        else:
            self.note(list(self.desk.table.tick(self.desk.clock.now_us())))
        self.check()

    def see(self, alarm_id: str, level: float, name: str) -> list[Transition]:
        seen = Observation(alarm_id, level, us(self.at), blaming(name))
        return list(self.desk.table.accept_observation(seen))

    def command(self, alarm_id: str, name: str) -> None:
        before = self.desk.table.get(alarm_id)
        try:
            self.note([COMMANDS[name](self.desk, alarm_id)])
        except EdgeAgentError:
            assert self.desk.table.get(alarm_id) == before or before is None

    def note(self, found: list[Transition]) -> None:
        """Each transition is a row of the table, numbered one higher than the last."""
        for each in found:
            alarm = each.alarm
            before = self.states.get(alarm.alarm_id, AlarmState.NORMAL)
            row = ANNOUNCED[before, EVENT_OF[each.kind], alarm.active]
            assert row == (alarm.state, each.kind)
            assert not (each.kind is TransitionKind.RAISE and before in QUIET)
            seqs = [old.alarm.seq for old in self.log if old.alarm.alarm_id == alarm.alarm_id]
            assert alarm.seq == (seqs[-1] if seqs else 0) + 1
            self.states[alarm.alarm_id] = alarm.state
            self.log.append(each)

    def check(self) -> None:
        """The table agrees with what it announced; what asks for attention is never lost."""
        for alarm in self.desk.table.all():
            assert alarm.state is self.states.get(alarm.alarm_id, AlarmState.NORMAL)
            assert alarm.active or alarm.state not in LIVE
            idle = alarm.state is AlarmState.NORMAL and not alarm.active
            assert idle or alarm.alarm_id in self.desk.table.watched
            assert alarm.count > 0 or alarm.state not in (*LIVE, AlarmState.RTN_UNACK)
            assert 1 <= alarm.severity <= 1000
            assert (alarm.shelved_until_us > 0) == (alarm.state is AlarmState.SHELVED)


def ran(rule: AlarmRule, limit: int, taken: list[Step]) -> Run:
    run = Run(Desk(rule, flood_limit=limit, flood_window=Duration(60)))
    for step in taken:
        run.take(step)
    return run


@settings(max_examples=300, deadline=None)
@given(rules, limits, steps)
def test_no_sequence_leaves_the_table(rule: AlarmRule, limit: int, taken: list[Step]) -> None:
    """Only declared transitions, strictly rising numbers, no raise while shelved."""
    ran(rule, limit, taken)


@settings(max_examples=150, deadline=None)
@given(rules, limits, steps)
def test_a_condition_that_stays_is_raised_in_the_end(
    rule: AlarmRule, limit: int, taken: list[Step]
) -> None:
    """Through delays, cool-down and flood: whoever is not kept quiet by hand asks for attention."""
    run = ran(rule, limit, taken)
    for _ in range(20):
        run.take(("wait", 70.0))
        for alarm_id in IDS:
            run.take(("see", alarm_id, 2.0, "flow"))
    for alarm_id in IDS:
        state = run.desk.alarm(alarm_id).state
        assert state in LIVE or state in QUIET


@settings(max_examples=150, deadline=None)
@given(rules, limits, steps)
def test_the_flood_limit_holds(rule: AlarmRule, limit: int, taken: list[Step]) -> None:
    """Never more raises of one asset in a window than the limit, the flood alarm itself aside."""
    forward = [step for step in taken if step != ("wait", -30.0)]
    raised = [
        each
        for each in ran(rule, limit, forward).log
        if each.kind is TransitionKind.RAISE and each.alarm.alarm_id in IDS[:3]
    ]
    for n, first in enumerate(raised):
        within = [each for each in raised[n:] if each.at_us - first.at_us < 60_000_000]
        assert len(within) <= limit


@settings(max_examples=100, deadline=None)
@given(rules, limits, steps)
def test_the_same_steps_give_the_same_transitions(
    rule: AlarmRule, limit: int, taken: list[Step]
) -> None:
    """A replay is the run again, whatever the gateway's clock says."""
    assert ran(rule, limit, taken).log == ran(rule, limit, taken).log
    seen = [step for step in taken if step[0] in {"see", "wait"}]
    live, replayed = (
        ran(rule, limit, seen),
        Run(Desk(rule, flood_limit=limit, flood_window=Duration(60))),
    )
    replayed.desk.clock.advance(1e6)
    for step in seen:
        replayed.take(step)
    assert live.log == replayed.log


@settings(max_examples=100, deadline=None)
@given(rules, limits, steps, steps)
def test_a_restart_changes_no_state_and_loses_no_number(
    rule: AlarmRule, limit: int, before: list[Step], after: list[Step]
) -> None:
    """The restored table shows the same alarms, and goes on by the same rules."""
    old = ran(rule, limit, before)
    new = Run(
        Desk(rule, restored=old.desk.table.all(), flood_limit=limit, flood_window=Duration(60)),
        old.at,
        old.states,
        old.log,
    )
    assert new.desk.table.all() == old.desk.table.all()
    new.check()
    for step in after:
        new.take(step)


@settings(max_examples=100, deadline=None)
@given(rules, limits, steps)
def test_unwatched_alarms_need_no_observations_below_the_limit(
    rule: AlarmRule, limit: int, taken: list[Step]
) -> None:
    """What the pipeline may leave out on its fast path makes no difference."""
    lean = Run(Desk(rule, flood_limit=limit, flood_window=Duration(60)))
    for step in taken:
        table = lean.desk.table
        if step[0] == "see" and not step[2] >= 1.0 and step[1] not in table.watched:
            lean.note(list(table.advance(step[1].split(".")[0], us(lean.at))))
            continue
        lean.take(step)
    assert [(each.kind, each.alarm.alarm_id, each.alarm.seq) for each in lean.log] == [
        (each.kind, each.alarm.alarm_id, each.alarm.seq) for each in ran(rule, limit, taken).log
    ]
