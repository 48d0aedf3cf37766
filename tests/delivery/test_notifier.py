"""Routes: who is told what and when; nothing held is lost, and escalation ends with an answer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from edge_agent.alarms import AlarmMessages
from edge_agent.clock import US_PER_S, FakeClock
from edge_agent.config.local_time import Day
from edge_agent.config.notify import Notify, Quiet, Route
from edge_agent.config.schema import Alarms, Config
from edge_agent.config.types import Duration, Name
from edge_agent.delivery.notifier import Notifier, Router, begin
from edge_agent.delivery.quiet import is_quiet
from edge_agent.messages import Alarm, AlarmState, Contributor, Detail, Transition, TransitionKind
from edge_agent.store import Store, StoreWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BERLIN = ZoneInfo("Europe/Berlin")
MIB = 1 << 20
RAISE, ACK, CLEAR, SHELVE = (
    TransitionKind.RAISE,
    TransitionKind.ACK,
    TransitionKind.CLEAR,
    TransitionKind.SHELVE,
)
NIGHT = (Quiet("22:00", "06:00"),)


def us(text: str, fold: int = 0) -> int:
    """A time by the clock of Berlin."""
    moment = datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)
    return round(moment.timestamp()) * US_PER_S


class Plant:
    """A store whose history grows by hand, and routes that follow it."""

    def __init__(self, folder: Path, at: str, **routes: dict[str, Any]) -> None:
        self.clock = FakeClock(us(at))
        self.config = Config(
            alarms=Alarms(languages=("en", "de")),
            notify=Notify(
                timezone="Europe/Berlin",
                routes={
                    Name(name): Route(**{"sink": Name(f"{name}_sink"), **one})
                    for name, one in routes.items()
                },
            ),
        )
        self.folder = folder
        self.seq = 0
        self.store = self._open()
        self.router = self._router()
        begin(self.store)

    def _open(self) -> Store:
        path = self.folder / "s.db"
        return Store.open(path, max_bytes=8 * MIB, history_days=90, clock=self.clock)

    def _router(self) -> Router:
        messages = AlarmMessages(self.config)
        messages.places |= {"P-1": "w/s/a/l/P-1", "F-2": "w/s/a/l/F-2"}
        return Router(self.config, messages)

    def restart(self) -> None:
        self.store.close()
        self.store = self._open()
        self.router = self._router()

    def change(
        self,
        kind: TransitionKind,
        state: AlarmState,
        asset: str = "P-1",
        severity: int = 600,
        priority: str = "medium",
    ) -> None:
        self.seq += 1
        detail = Detail(
            "fault",
            failure_mode="imbalance",
            contributors=(Contributor("vibration", 1.0, 7.1, "mm/s", 1.2, 2.8),),
        )
        is_active = state in {AlarmState.UNACK, AlarmState.ACKED}
        alarm = Alarm(
            f"{asset}.pump", asset, state, self.seq, is_active, severity, priority, detail=detail
        )
        alarm.first_seen_us = alarm.changed_us = self.clock.now_us()
        self.store.commit([Transition(kind, self.clock.now_us(), alarm)], [])

    def raised(self, asset: str = "P-1", severity: int = 600, priority: str = "medium") -> None:
        self.change(RAISE, AlarmState.UNACK, asset, severity, priority)

    def told(self) -> list[tuple[str, str, str]]:
        """Route, kind and alarm of what is told now; it leaves the outbox."""
        self.router.advance(self.store, self.clock.now_us())
        return [(one["route"], one["notice"], one["id"]) for one in self.bodies()]

    def bodies(self) -> list[dict[str, Any]]:
        found = []
        for sink in ("shift_sink", "lead_sink"):
            for message in self.store.pending(sink, 100):
                found.append(orjson.loads(message.body))
                self.store.confirm([message.row])
        return found


@pytest.fixture
def plants(tmp_path: Path) -> Iterator[Any]:
    made: list[Plant] = []

    def make(at: str = "2027-01-13T12:00", **routes: dict[str, Any]) -> Plant:
        made.append(Plant(tmp_path, at, **routes))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def test_a_raise_is_told_once(plants: Any) -> None:
    """One message for a raise, in the route's language; nothing more for what is known."""
    plant = plants(shift={"language": "de"})
    plant.raised()
    plant.router.advance(plant.store, plant.clock.now_us())
    (body,) = plant.bodies()
    assert body["id"] == "P-1.pump:1"
    assert body["values"]["title"].startswith("[mittel] P-1: Anzeichen für Unwucht")
    assert "1. Erst freischalten" in body["values"]["mends"]
    assert "vibration = 7.1 mm/s (normal 1,2 bis 2,8 mm/s)" in body["values"]["inputs"]
    assert body["event"]["data"]["alarm_id"] == "P-1.pump"
    assert plant.told() == []


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ({"severity": 601}, []),
        ({"assets": ("F-*",)}, []),
        ({"assets": ("F-*", "P-?")}, [("shift", "alarm", "P-1.pump:1")]),
        ({"events": (CLEAR,)}, []),
    ],
)
def test_a_route_tells_what_concerns_it(
    plants: Any, route: dict[str, Any], expected: list[Any]
) -> None:
    """Severity, assets and events of a route decide."""
    plant = plants(shift=route)
    plant.raised()
    assert plant.told() == expected


def test_quiet_hours_end_with_a_summary(plants: Any) -> None:
    """What was held is told as one message afterwards, with its state; over a restart too."""
    plant = plants("2027-01-13T23:00", shift={"quiet": NIGHT})
    plant.raised()
    plant.raised("F-2")
    plant.change(CLEAR, AlarmState.RTN_UNACK, "F-2")
    assert plant.told() == []
    plant.restart()
    plant.clock.advance(6 * 3600)
    assert plant.told() == []
    plant.clock.advance(3600)
    plant.router.advance(plant.store, plant.clock.now_us())
    (body,) = plant.bodies()
    assert (body["notice"], body["id"]) == ("summary", "notify.shift:1")
    assert body["values"]["title"] == "2 alarms were held back (2 messages)"
    assert "[over]" in body["values"]["details"]
    assert "[medium]" in body["values"]["details"]
    assert plant.told() == []


def test_high_severities_pass(plants: Any) -> None:
    """From pass_severity an alarm is told in quiet hours, also one that becomes so severe later."""
    plant = plants("2027-01-13T23:00", shift={"quiet": NIGHT})
    plant.raised(severity=801, priority="critical")
    assert plant.told() == [("shift", "alarm", "P-1.pump:1")]
    plant.raised("F-2")
    assert plant.told() == []
    plant.change(TransitionKind.UPDATE, AlarmState.UNACK, "F-2", 900, "critical")
    assert plant.told() == [("shift", "alarm", "F-2.pump:3")]
    plant.clock.advance(8 * 3600)
    assert plant.told() == []


def test_a_flood_is_one_summary(plants: Any) -> None:
    """More messages than the limit are held, and told as one when the window has passed."""
    plant = plants(shift={"limit": 2})
    for _ in range(5):
        plant.raised()
        plant.change(CLEAR, AlarmState.NORMAL)
    assert [kind for _, kind, _ in plant.told()] == ["alarm", "alarm"]
    plant.clock.advance(601)
    assert plant.told() == [("shift", "summary", "notify.shift:1")]


ESCALATES = {"escalate_after": Duration(900), "escalate_to": Name("lead")}


def test_escalation_when_nobody_acknowledges(plants: Any) -> None:
    """After the time the next route is told, once, with how long it has waited; over a restart."""
    plant = plants(shift=ESCALATES, lead={"severity": 1000})
    plant.raised()
    assert plant.told() == [("shift", "alarm", "P-1.pump:1")]
    plant.clock.advance(899)
    plant.restart()
    assert plant.told() == []
    plant.clock.advance(1)
    plant.router.advance(plant.store, plant.clock.now_us())
    (body,) = plant.bodies()
    assert (body["route"], body["notice"]) == ("lead", "escalation")
    assert body["values"]["title"].startswith("Not acknowledged on shift for 15 min: [medium] P-1")
    plant.clock.advance(5000)
    assert plant.told() == []


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (ACK, AlarmState.ACKED),
        (CLEAR, AlarmState.RTN_UNACK),
        (SHELVE, AlarmState.SHELVED),
    ],
)
def test_an_answer_ends_the_escalation(
    plants: Any, kind: TransitionKind, state: AlarmState
) -> None:
    """Acknowledge, return to normal and shelve each stop it; a new raise begins anew."""
    plant = plants(shift=ESCALATES, lead={"severity": 1000})
    plant.raised()
    assert len(plant.told()) == 1
    plant.change(kind, state)
    plant.clock.advance(1000)
    assert plant.told() == []
    plant.raised()
    assert plant.told() == [("shift", "alarm", "P-1.pump:3")]
    plant.clock.advance(900)
    assert [route for route, _, _ in plant.told()] == ["lead"]


def test_a_held_alarm_escalates_after_it_was_told(plants: Any) -> None:
    """The time until escalation begins with the summary, not in the night."""
    plant = plants("2027-01-13T23:00", shift={"quiet": NIGHT, **ESCALATES}, lead={})
    plant.store.save_value("x", b"")
    plant.raised("F-2")
    plant.router.advance(plant.store, plant.clock.now_us())
    plant.bodies()
    plant.clock.advance(7 * 3600)
    assert plant.told() == [("shift", "summary", "notify.shift:1")]
    plant.clock.advance(901)
    assert [(route, kind) for route, kind, _ in plant.told()] == [("lead", "escalation")]


def test_a_message_says_what_helped_last_time(plants: Any) -> None:
    """The comment of the last occurrence comes with the next one; words about others do not."""
    plant = plants(shift={})
    plant.store.audit("anna", "ack", "P-1.pump", "greased the drive end, noise gone")
    plant.store.audit("ben", "ack", "F-2.pump", "another machine")
    plant.clock.advance(60)
    plant.raised()
    plant.router.advance(plant.store, plant.clock.now_us())
    (body,) = plant.bodies()
    assert body["event"]["data"]["last_time"]["by"] == "anna"
    said = "2027-01-13 12:00 CET anna: greased the drive end, noise gone"
    assert body["values"]["last_time"] == said
    assert said in body["values"]["text"]


def test_a_new_gateway_tells_nothing_old(plants: Any) -> None:
    """Routes that are new to a plant begin with what happens from then on."""
    plant = plants(shift={})
    plant.raised()
    plant.store.write("forget", lambda db: db.execute("DELETE FROM vault"))
    begin(plant.store)
    assert plant.told() == []
    plant.raised("F-2")
    assert plant.told() == [("shift", "alarm", "F-2.pump:2")]


def test_a_pairs_other_gateway_tells_the_last_minute_again(plants: Any) -> None:
    """Older transitions were told by the other one; what nobody acknowledged still escalates."""
    plant = plants(shift=ESCALATES, lead={"severity": 1000})
    plant.raised()
    plant.clock.advance(120)
    plant.raised("F-2")
    plant.router.take_over(plant.store, plant.clock.now_us())
    assert plant.told() == [("shift", "alarm", "F-2.pump:2")]
    plant.clock.advance(901)
    assert {(route, one) for route, _, one in plant.told()} == {
        ("lead", "P-1.pump:1"),
        ("lead", "F-2.pump:2"),
    }


@pytest.mark.parametrize(
    ("at", "fold", "quiet"),
    [
        ("2027-01-13T21:59", 0, False),
        ("2027-01-13T22:00", 0, True),
        ("2027-01-14T05:59", 0, True),
        ("2027-01-14T06:00", 0, False),
        # The clock is set back at 03:00 on 2027-10-31: 02:30 occurs twice, both are quiet.
        ("2027-10-31T02:30", 0, True),
        ("2027-10-31T02:30", 1, True),
        # It is set forward at 02:00 on 2027-03-28.
        ("2027-03-28T01:59", 0, True),
        ("2027-03-28T03:01", 0, True),
    ],
)
def test_quiet_hours_by_the_plants_clock(at: str, fold: int, quiet: bool) -> None:  # noqa: FBT001
    """Over midnight, and on the days when clocks are changed."""
    assert is_quiet(NIGHT, BERLIN, us(at, fold)) is quiet


@pytest.mark.parametrize(
    ("at", "fold", "quiet"),
    [("2027-10-31T02:29", 0, True), ("2027-10-31T02:30", 0, True), ("2027-10-31T02:30", 1, False)],
)
def test_an_end_that_occurs_twice_is_the_second(at: str, fold: int, quiet: bool) -> None:  # noqa: FBT001
    """Quiet hours are one unbroken time: they do not end and begin again within one night."""
    assert is_quiet((Quiet("22:00", "02:30"),), BERLIN, us(at, fold)) is quiet


def test_days_are_those_on_which_quiet_hours_begin() -> None:
    """Friday's night lasts until Saturday morning; Saturday's own does not begin."""
    friday = (Quiet("22:00", "06:00", (Day.FRI,)),)
    assert is_quiet(friday, BERLIN, us("2027-01-16T05:00"))  # a Saturday
    assert not is_quiet(friday, BERLIN, us("2027-01-16T23:00"))


@pytest.mark.parametrize(
    ("notify", "key"),
    [
        (Notify(timezone="Mars/Base"), "timezone"),
        (Notify(routes={Name("a"): Route(Name("s"), escalate_to=Name("b"))}), "routes.a.escalate"),
        (
            Notify(
                routes={
                    Name("a"): Route(Name("s"), escalate_to=Name("b")),
                    Name("b"): Route(Name("s"), escalate_to=Name("a")),
                }
            ),
            "routes.a.escalate_to",
        ),
    ],
)
def test_contradictions_of_routes(notify: Notify, key: str) -> None:
    """A zone or route that does not exist, and a circle of routes, are refused with their key."""
    assert any(found.startswith(key) for found, _ in notify.problems())
    assert not list(Quiet("22:00", "6:00").problems())
    assert [found for found, _ in Quiet("25:00", "06:00").problems()] == ["start"]


async def test_the_task_follows_the_store(tmp_path: Path) -> None:
    """A commit and a wake are enough: the sinks that have a message are woken."""
    plant = Plant(tmp_path, "2027-01-13T12:00", shift={})
    plant.store.close()
    worker = StoreWorker()
    await worker.open(tmp_path / "s.db", max_bytes=8 * MIB, history_days=90, clock=plant.clock)
    woken: asyncio.Queue[list[str]] = asyncio.Queue()
    messages = AlarmMessages(plant.config)
    messages.places |= {"P-1": "w/s/a/l/P-1"}
    notifier = Notifier(
        plant.config, worker, messages, plant.clock, lambda names: woken.put_nowait(sorted(names))
    )
    await notifier.start()
    alarm = Alarm("P-1.pump", "P-1", AlarmState.UNACK, 1, active=True)
    await worker.run(Store.commit, [Transition(RAISE, plant.clock.now_us(), alarm)], [])
    notifier.wake()
    async with asyncio.timeout(30):
        while await woken.get() != ["shift_sink"]:
            pass
    await notifier.stop()
    await worker.close()
