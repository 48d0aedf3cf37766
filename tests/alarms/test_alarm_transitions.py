"""The ISA-18.2 table: one case for each state, event and condition."""

# ruff: noqa: E501 (the table is read as a table)

from __future__ import annotations

import itertools

import pytest
from alarm_helpers import Desk, us

from edge_agent.alarms.transitions import TRANSITIONS, Event
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Alarm, AlarmState, Detail, Observation, TransitionKind

# Written from the state diagram of ISA-18.2, not from the code. Columns: events; `.`: nothing is
# announced; `-`: the command is refused; `a|b`: while the condition is away | while it is there.
EXPECTED = """
               on    off       change ack    shelve  unshelve     suppress   unsuppress   remove         return       confirm comment
normal         unack .         .      -      shelved -            suppressed -            out_of_service -            -       -
unack          .     rtn_unack unack  acked  shelved -            suppressed -            out_of_service -            -       unack
acked          .     normal    acked  -      shelved -            suppressed -            out_of_service -            acked   acked
rtn_unack      unack .         .      normal shelved -            suppressed -            out_of_service -            -       rtn_unack
shelved        .     .         .      -      -       normal|unack -          -            out_of_service -            -       shelved
suppressed     .     .         .      -      -       -            -          normal|unack out_of_service -            -       suppressed
out_of_service .     .         .      -      -       -            -          -            -              normal|unack -       out_of_service
"""
KINDS = {
    "on": "raise",
    "off": "clear",
    "change": "update",
    "ack": "ack",
    "shelve": "shelve",
    "unshelve": "unshelve",
    "suppress": "suppress",
    "unsuppress": "unsuppress",
    "remove": "out_of_service",
    "return": "in_service",
    "confirm": "update",
    "comment": "update",
}
HEAD, *ROWS = [line.split() for line in EXPECTED.strip().splitlines()]
CELLS = {(row[0], event): cell for row in ROWS for event, cell in zip(HEAD, row[1:], strict=True)}

# A condition that is there cannot appear, one that is away can neither go nor change, and an alarm
# that is unack or acked has its condition there. Where an alarm is normal while its condition is
# there, a raise is held: test_alarm_flood.py.
IMPOSSIBLE = {("on", True), ("off", False), ("change", False)}
HELD = {("normal", "change"), ("rtn_unack", "change")}
CASES = [
    (state, event, active)
    for state, event in CELLS
    for active in (False, True)
    if (event, active) not in IMPOSSIBLE
    and (state, event) not in HELD
    and (active or state not in {"unack", "acked"})
]
NEWS = Detail("anomaly", failure_mode="cavitation")


def expected_state(state: str, event: str, *, active: bool) -> str:
    """The state after `event`, or `.`, or `-`."""
    away, _, there = CELLS[state, event].partition("|")
    return there if active and there else away


def desk_in(state: str, *, active: bool) -> Desk:
    """A desk with one alarm in `state`, as if restored."""
    desk = Desk(restored=[Alarm("P-1.a", "P-1", AlarmState(state), seq=7, active=active)])
    desk.clock.advance(3600)
    return desk


def do(desk: Desk, event: str) -> tuple[str, str] | None:
    """Let `event` happen; (kind, state) of its transition, None where there is none."""
    table, at_us = desk.table, us(3600)
    condition = {"on": 1.0, "off": 0.0, "change": 1.0}
    commands = {
        "ack": lambda: table.apply_command("ack", "P-1.a", "me"),
        "shelve": lambda: table.shelve("P-1.a", 60, "me"),
        "unshelve": lambda: table.apply_command("unshelve", "P-1.a", "me"),
        "suppress": lambda: table.apply_command("suppress", "P-1.a", "me"),
        "unsuppress": lambda: table.apply_command("unsuppress", "P-1.a", "me"),
        "remove": lambda: table.apply_command("remove_from_service", "P-1.a", "me"),
        "return": lambda: table.apply_command("return_to_service", "P-1.a", "me"),
        "confirm": lambda: table.apply_command("confirm", "P-1.a", "me"),
        "comment": lambda: table.apply_command("comment", "P-1.a", "me", "why"),
    }
    if event in condition:
        detail = NEWS if event == "change" else Detail("anomaly")
        found = table.accept_observation(Observation("P-1.a", condition[event], at_us, detail))
        return (found[0].kind, found[0].alarm.state) if found else None
    made = commands[event]()
    return made.kind, made.alarm.state


@pytest.mark.parametrize(("state", "event", "active"), CASES)
def test_each_event_in_each_state(state: str, event: str, active: bool) -> None:  # noqa: FBT001
    """The alarm goes where the diagram says, and says so; or nothing happens; or it is refused."""
    desk = desk_in(state, active=active)
    after = expected_state(state, event, active=active)
    if after == "-":
        with pytest.raises(EdgeAgentError, match=r"^P-1\.a: cannot .* the alarm is " + state):
            do(desk, event)
        assert desk.alarm().seq == 7
    elif after == ".":
        assert do(desk, event) is None
        assert (desk.alarm().state, desk.alarm().seq) == (state, 7)
        assert desk.alarm().active == (event != "off")
    else:
        assert do(desk, event) == (KINDS[event], after)
        assert (desk.alarm().state, desk.alarm().seq) == (after, 8)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(AlarmState, Event)))
def test_the_data_is_the_diagram(state: AlarmState, event: Event) -> None:
    """Every pair of the table, also those that no test can reach, is as the diagram says."""
    column = {"remove_from_service": "remove", "return_to_service": "return"}.get(event, event)
    cell = CELLS[state, column].partition("|")[0]
    row = TRANSITIONS.get((state, event))
    if cell == "-":
        assert row is None
    elif cell == ".":
        assert row == (state, None)
    else:
        assert row == (AlarmState(cell), TransitionKind(KINDS[column]))


def test_refusal_says_what_is_possible() -> None:
    """A refused command names the commands that fit."""
    with pytest.raises(EdgeAgentError) as caught:
        desk_in("normal", active=False).table.apply_command("ack", "P-1.a", "me")
    assert caught.value.hint == "possible now: shelve, suppress, remove_from_service"


@pytest.mark.parametrize("silence", ["shelve", "suppress"])
def test_a_comment_changes_nothing_else(silence: str) -> None:
    """Who silenced an alarm, and until when, stays; so does who acknowledged it."""
    desk = desk_in("unack", active=True)
    do(desk, "ack")
    do(desk, silence)
    before = desk.alarm()
    desk.table.apply_command("comment", "P-1.a", "you", "ordered a bearing")
    after = desk.alarm()
    assert (after.comment, after.seq) == ("ordered a bearing", before.seq + 1)
    kept = ("state", "acked_by", "shelved_by", "suppressed_by", "shelved_until_us", "severity")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_a_confirmation_lasts_until_the_next_raise() -> None:
    """Who confirmed is known while the alarm is acknowledged; a new raise asks again."""
    desk = desk_in("unack", active=True)
    do(desk, "ack")
    do(desk, "confirm")
    assert desk.alarm().confirmed_by == "me"
    do(desk, "off")
    desk.see(2.0, 7200)
    assert (desk.alarm().state, desk.alarm().confirmed_by) == ("unack", "")
