"""What a standby keeps of the active gateway's alarms, and of its own."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import orjson
import pytest

from edge_agent.delivery.followed import NUMBERS_PER_EPOCH, Followed, transition_of
from edge_agent.messages import Alarm, AlarmState, Contributor, Detail, Transition, TransitionKind

SOURCE = "/e/s/edge-agent/gateway"
TOPIC = "edge/e/s/a/l/P-1/_pdm/event"
ALERT = "edge/e/s/a/l/P-1/_pdm/alert/P-1.watch"
RAISE, CLEAR, ACK = TransitionKind.RAISE, TransitionKind.CLEAR, TransitionKind.ACK
S = 1_000_000


def made(
    kind: TransitionKind = RAISE,
    seq: int = 1,
    at_s: float = 0.0,
    state: AlarmState = AlarmState.UNACK,
    **more: Any,
) -> Transition:
    at_us = round(at_s * S)
    active = kind is not CLEAR
    alarm = Alarm("P-1.watch", "P-1", state, seq, active, changed_us=at_us, **more)
    return Transition(kind, at_us, alarm)


def body(one: Transition, source: str = SOURCE) -> bytes:
    data = {"transition": one.kind, "actor": one.actor, "record": asdict(one.alarm)}
    return orjson.dumps({"source": source, "data": data})


def followed(*announced: Transition) -> Followed:
    one = Followed(SOURCE)
    for transition in announced:
        assert one.accept_alert(TOPIC, body(transition), 0.0) is not None
    return one


def test_the_record_is_the_whole_alarm() -> None:
    """Also a contributor whose sensor is lost, whose value JSON does not have."""
    lost = Contributor("flow", 1.0, float("nan"), "")
    detail = Detail("score", contributors=(lost,))
    one = made(acked_by="anna", comment="seen", detail=detail)
    found = transition_of(body(one), SOURCE)
    assert found is not None
    assert found.alarm.detail is not None
    assert found.alarm.detail.contributors[0].value != found.alarm.detail.contributors[0].value
    assert replace(found.alarm, detail=None) == replace(one.alarm, detail=None)


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"source":"/e/s/edge-agent/gateway"}', b"\xff"])
def test_what_is_no_event_of_the_pair_is_left_out(raw: bytes) -> None:
    one = Followed(SOURCE)
    assert one.accept_alert(TOPIC, raw, 0.0) is None
    assert one.accept_alert(TOPIC, body(made(), "/e/s/edge-agent/other"), 0.0) is None
    assert one.announced == {}


def test_a_repeated_or_older_event_changes_nothing() -> None:
    one = followed(made(seq=3))
    assert one.accept_alert(TOPIC, body(made(seq=3)), 1.0) is None
    assert one.accept_alert(TOPIC, body(made(ACK, seq=2, state=AlarmState.ACKED)), 1.0) is None
    assert one.announced["P-1.watch"].state is AlarmState.UNACK


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_what_both_found_is_not_missed(first: str) -> None:
    """Whoever was first; the event times of two gateways differ a little."""
    one = Followed(SOURCE)
    if first == "ours":
        one.add_own([made(at_s=2.0)], 2.0)
    one.accept_alert(TOPIC, body(made(seq=8, at_s=1.0)), 2.1)
    if first == "theirs":
        one.add_own([made(at_s=2.0)], 2.2)
    assert one.take_missed() == {}


def test_what_only_the_standby_found_is_missed_in_its_order() -> None:
    """A whole episode while nobody was active: the raise and its end."""
    one = followed(made(ACK, seq=4, at_s=-60, state=AlarmState.NORMAL))
    own = [made(at_s=1), made(CLEAR, 2, 5)]
    one.add_own(own, 5.0)
    assert one.take_missed() == {"P-1.watch": own}
    assert one.take_missed() == {}


def test_a_later_episode_is_not_taken_for_the_announced_one() -> None:
    one = followed(made(seq=1, at_s=0), made(CLEAR, 2, 10))
    one.add_own([made(at_s=60)], 60.0)
    assert len(one.take_missed()) == 1


def test_what_the_active_one_did_not_find_in_time_is_its_decision() -> None:
    one = Followed(SOURCE)
    one.add_own([made(at_s=1)], 1.0)
    one.forget_before(1.5)
    assert one.take_missed() == {}


def test_an_alarm_whose_alert_is_gone_is_normal() -> None:
    """Of a connection: what is not retained any more has ended while we were away."""
    one = followed(made(seq=5))
    other = replace(made(seq=9).alarm, alarm_id="P-2.watch")
    (ended,) = one.accept_complete([made(seq=5).alarm, other], 7 * S)
    assert (ended.alarm.alarm_id, ended.alarm.state) == ("P-2.watch", AlarmState.NORMAL)


def test_an_emptied_alert_without_its_event_ends_the_alarm() -> None:
    """The active one was killed between the two messages."""
    one = followed(made(CLEAR, seq=5, state=AlarmState.RTN_UNACK))
    assert one.accept_alert(ALERT, b"", 1.0) is None
    (ended,) = one.take_emptied(2 * S)
    assert (ended.alarm.seq, ended.alarm.state, ended.kind) == (6, AlarmState.NORMAL, ACK)


def test_an_emptied_alert_with_its_event_is_no_news() -> None:
    one = followed(made(CLEAR, seq=5, state=AlarmState.RTN_UNACK))
    one.accept_alert(ALERT, b"", 1.0)
    one.accept_alert(TOPIC, body(made(ACK, seq=6, state=AlarmState.NORMAL)), 1.0)
    assert one.take_emptied(2 * S) == []


def test_numbers_go_on_where_they_are_known() -> None:
    one = followed(made(seq=7))
    assert one.number_of("P-1.watch", 3, epoch=4) == 7


def test_numbers_that_cannot_be_known_begin_above_all_others() -> None:
    """The first epoch begins at 1; so a pair that never changed its roles has plain numbers."""
    one = Followed(SOURCE)
    assert one.number_of("P-1.watch", 3, epoch=1) == 3
    assert one.number_of("P-1.watch", 3, epoch=4) == 3 * NUMBERS_PER_EPOCH
    one = followed(made(seq=7))
    one.start_again()  # another connection: there may have been more
    assert one.number_of("P-1.watch", 7, epoch=2) == NUMBERS_PER_EPOCH


def test_a_standby_that_is_behind_does_not_end_what_it_has_not_seen_begin() -> None:
    """Its table saw older values after the announcement, took the alarm for over, and raised it."""
    one = followed(made(seq=5, at_s=20))
    one.add_own([made(CLEAR, 6, 12), made(RAISE, 7, 20.5)], 30.0)
    assert one.take_missed() == {}


def test_what_a_standby_finds_late_was_decided_by_the_active_one() -> None:
    """Its values waited at the broker while it was away; the episode was announced meanwhile."""
    one = Followed(SOURCE)
    one.add_own([made(at_s=2), made(CLEAR, 2, 4), made(at_s=20)], 30.0)
    assert [each.at_us for each in one.take_missed(10 * S)["P-1.watch"]] == [20 * S]
