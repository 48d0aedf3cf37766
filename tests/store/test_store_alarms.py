"""Alarms, history, values and audit survive a restart exactly as they were."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import MIB, open_store, transition

from edge_agent.clock import US_PER_S, FakeClock
from edge_agent.errors import StoreError
from edge_agent.messages import (
    Alarm,
    AlarmState,
    Box,
    Contributor,
    Detail,
    ModelInfo,
    Ne107,
    PictureInfo,
    Transition,
    TransitionKind,
    WindowInfo,
)
from edge_agent.store.journal import (
    AuditFilter,
    alarm_from_dict,
    alarm_from_json,
    alarm_to_dict,
    alarm_to_json,
)

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400
numbers = st.floats()
texts = st.text(max_size=20)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
instants = st.integers(0, 1 << 53)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
windows = st.builds(WindowInfo, instants, instants, numbers, texts, st.booleans())
details = st.builds(
    Detail,
    message_key=texts,
    message_args=st.dictionaries(texts, json_values, max_size=3),
    score=st.none() | numbers,
    failure_mode=texts,
    probability=st.none() | numbers,
    rul_h=st.none() | st.dictionaries(st.sampled_from(["p10", "p50", "p90"]), numbers),
    contributors=st.lists(st.builds(Contributor, texts, numbers, numbers, texts), max_size=3).map(
        tuple
    ),
    window=st.none() | windows,
    model=st.none() | st.builds(ModelInfo, texts, texts, texts, texts),
)
alarms = st.builds(
    Alarm,
    alarm_id=names,
    asset=names,
    state=st.sampled_from(AlarmState),
    seq=instants,
    active=st.booleans(),
    severity=st.integers(1, 1000),
    priority=texts,
    ne107=st.sampled_from(Ne107),
    stage=texts,
    detail=st.none() | details,
    first_seen_us=instants,
    changed_us=instants,
    count=instants,
    shelved_until_us=instants,
    acked_by=texts,
)


def exact(alarm: Alarm) -> str:
    """Equality that takes NaN for equal to itself and tells 1 from 1.0."""
    return repr(alarm)


@given(alarms)
def test_every_alarm_comes_back_from_json_exactly(alarm: Alarm) -> None:
    back = alarm_from_json(alarm_to_json(alarm))
    assert exact(back) == exact(alarm)
    assert type(back.state) is AlarmState
    assert type(back.ne107) is Ne107


@settings(deadline=None, max_examples=50)  # it waits for the disk
@given(st.lists(alarms, max_size=5, unique_by=lambda alarm: alarm.alarm_id))
def test_a_restart_restores_every_alarm_exactly(
    tmp_path_factory: pytest.TempPathFactory, many: list[Alarm]
) -> None:
    path = tmp_path_factory.mktemp("store") / "a.db"
    store = open_store(path, FakeClock())
    store.commit([Transition(TransitionKind.RAISE, 1, alarm) for alarm in many], [])
    store.close()
    store = open_store(path, FakeClock())
    restored = {alarm.alarm_id: exact(alarm) for alarm in store.alarms()}
    store.close()
    assert restored == {alarm.alarm_id: exact(alarm) for alarm in many}


def test_numpy_numbers_and_odd_objects_do_not_cost_an_alarm() -> None:
    detail = Detail("m", {"n": np.float32(0.5), "i": np.int64(7), "o": 1j}, score=np.float64(2.5))
    back = alarm_from_json(alarm_to_json(Alarm("a", "P-1", detail=detail)))
    assert back.detail is not None
    assert back.detail.message_args == {"n": 0.5, "i": 7, "o": "1j"}
    assert back.detail.score == 2.5


def test_the_newest_transition_of_a_commit_is_the_stored_state(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition(seq=1), transition(seq=2)], [])
    assert [alarm.seq for alarm in store.alarms()] == [2]


def test_an_unreadable_alarm_is_left_out_and_the_others_restored(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition("P-1/a"), transition("P-2/a")], [])
    store.close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute("UPDATE alarms SET body = '{\"state\": 1}' WHERE alarm_id = 'P-1/a'")
    store = open_store(tmp_path / "a.db", clock)
    assert [alarm.alarm_id for alarm in store.alarms()] == ["P-2/a"]
    assert [record.message for record in caplog.records] == ["alarm unreadable"]


def test_history_is_newest_first_and_filtered(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition("P-1/a", 1, at_us=5), transition("P-2/a", 1), transition("P-1/b")], [])
    store.commit([replace(transition("P-1/a", 2), kind=TransitionKind.CLEAR, actor="anna")], [])
    assert [row["alarm_id"] for row in store.history()] == ["P-1/a", "P-1/b", "P-2/a", "P-1/a"]
    assert [row["alarm_id"] for row in store.history(asset="P-2")] == ["P-2/a"]
    newest, oldest = store.history(alarm_id="P-1/a")
    assert (newest["transition"], newest["actor"], oldest["at_us"]) == ("clear", "anna", 5)
    assert alarm_from_dict(newest["alarm"]) == transition("P-1/a", 2).alarm
    assert len(store.history(limit=2)) == 2


def test_history_is_forgotten_by_the_gateways_time_not_the_events(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock, days=10)
    store.commit([transition("P-1/old", at_us=1)], [])
    assert len(store.history()) == 1, "a replayed event of 1970 is kept"
    clock.advance(11 * DAY_S)
    store.commit([transition("P-1/new", at_us=1)], [])
    assert [row["alarm_id"] for row in store.history()] == ["P-1/new"]
    assert len(store.alarms()) == 2, "the alarms' states are no history"


def test_history_stays_within_its_share(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock, max_bytes=2 * MIB)
    for seq in range(400):
        store.commit([transition(seq=seq, text="x" * 3000)], [])
    rows = store.history(limit=1000)
    weight = sum(len(json.dumps(row["alarm"])) for row in rows)
    assert MIB // 4 < weight < MIB // 2
    assert [row["alarm"]["seq"] for row in rows] == list(range(399, 399 - len(rows), -1))


def test_values_are_kept_replaced_and_survive_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    assert store.load_value("baseline/P-1") is None
    store.save_value("baseline/P-1", b"\x00one")
    store.save_value("baseline/P-1", b"\x00two")
    store.close()
    assert open_store(tmp_path / "a.db", clock).load_value("baseline/P-1") == b"\x00two"


def test_audit_is_newest_first_and_bounded(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock, max_bytes=MIB)
    for number in range(200):
        store.audit("anna", "ack", f"alarm-{number}", "x" * 5000)
    entries = store.audit_log(limit=1000)
    assert [entry["subject"] for entry in entries] == [f"alarm-{n}" for n in range(199, 71, -1)]
    assert len(entries[0]["detail"]) == 1000
    assert entries[0]["at_us"] == clock.now_us()


def test_text_that_sqlite_cannot_take_is_a_store_error(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    with pytest.raises(StoreError, match="cannot audit"):
        store.audit("\ud800", "ack", "a")
    with pytest.raises(StoreError, match="cannot commit"):
        store.commit([transition(at_us=1 << 70)], [])
    assert store.alarms() == []


def test_a_closed_store_says_so_and_closes_again(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.commit([transition()], [])


def test_dicts_keep_what_is_not_a_number() -> None:
    lost = Contributor("temp", 0.5, math.nan, "degC")
    alarm = Alarm("a", "P-1", detail=Detail("m", contributors=(lost,)), changed_us=US_PER_S)
    back = alarm_from_dict(alarm_to_dict(alarm))
    assert back.detail is not None
    assert math.isnan(back.detail.contributors[0].value)


def test_the_audit_is_chosen_by_asset_alarm_person_and_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    """An asset's entries take in those of its alarms, and of no other asset; only `*` is a sign."""
    store = open_store(tmp_path / "a.db", clock)
    for actor, subject in [
        ("anna", "P-1.flow.high"),
        ("bert", "P-1"),
        ("anna", "P-10.pump"),
        ("anna", "P-[1].pump"),
    ]:
        store.audit(actor, "ack", subject)
        clock.advance(10)

    def subjects(limit: int = 100, **wanted: Any) -> list[str]:
        return [row["subject"] for row in store.audit_log(AuditFilter(**wanted), limit)]

    assert subjects(asset="P-1") == ["P-1", "P-1.flow.high"]
    assert subjects(asset="P-1*") == ["P-10.pump", "P-1", "P-1.flow.high"]
    assert subjects(asset="P-[1]") == ["P-[1].pump"]
    assert subjects(alarm_id="*.pump") == ["P-[1].pump", "P-10.pump"]
    assert subjects(alarm_id="P-?0.pump") == []
    assert subjects(actor="bert") == ["P-1"]
    assert subjects(since_us=clock.now_us() - 20_000_000) == ["P-[1].pump", "P-10.pump"]
    store.audit("carl (key panel-3)", "ack", "P-2")
    store.audit("panel-3", "ack", "P-3")
    assert subjects(actor="carl") == ["P-2"]
    assert subjects(actor="panel-3") == ["P-3", "P-2"]
    assert subjects(actor="panel") == subjects(actor="*") == subjects(actor="ar") == []
    store.close()


def test_the_audit_comes_in_pages(tmp_path: Path, clock: FakeClock) -> None:
    """`before` the last row of a page goes on there, whatever came meanwhile."""
    store = open_store(tmp_path / "a.db", clock)
    store.audit_all([("anna", "ack", f"a{number}", "") for number in range(5)])
    page = store.audit_log(limit=2)
    store.audit("anna", "ack", "later")
    rest = store.audit_log(AuditFilter(before=page[-1]["row"]))
    assert [row["subject"] for row in page + rest] == ["a4", "a3", "a2", "a1", "a0"]
    store.close()


def test_a_cameras_alarm_comes_back_with_its_picture() -> None:
    """And no other alarm has a key for it, so that an older release reads them."""
    seen = PictureInfo("seam-1", "seam", 640, 480, (Box(1, 2, 30, 40, 0.5),))
    alarm = Alarm("a", "P-1", detail=Detail("anomaly", picture=seen))
    assert alarm_from_json(alarm_to_json(alarm)) == alarm
    plain = alarm_to_json(Alarm("a", "P-1", detail=Detail("anomaly")))
    assert "picture" not in json.loads(plain)["detail"]
    assert alarm_from_json(plain).detail == Detail("anomaly")
