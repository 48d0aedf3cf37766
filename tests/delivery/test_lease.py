"""The lease of a pair of gateways: never two that may send, and one that does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edge_agent.delivery.lease import Lease, Note, NoteId, NoteKind, Role

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_S = 4.0
STEP_S = 0.25


@dataclass
class Member:
    """A gateway with its connection, which may be cut, and a process, which may be stopped."""

    name: str
    broker: Broker
    epoch: int = 0
    runs: int = 0
    cut: bool = False  # what is sent in either direction waits
    stopped: bool = False
    heard_s: float = 0.0  # by the broker
    waiting_in: list[Callable[[], None]] = field(default_factory=list)
    waiting_out: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.runs += 1
        run = str(self.runs)
        self.lease = Lease(self.name, run, LEASE_S, self.publish, self.epoch)
        self.connect()

    def publish(self, note: Note) -> None:
        self.waiting_out.append(note)

    def connect(self) -> None:
        self.waiting_in, self.waiting_out = [], []
        self.broker.connected[self.name] = self
        self.heard_s = self.broker.now_s
        self.lease.accept_connection(self.broker.now_s)
        kept, away = self.broker.retained, sorted(self.broker.away)
        if kept is not None:
            self.hear(kept)
        for name in away:
            self.presence(name, is_there=False)
        self.broker.say(self.name, is_there=True)
        self.waiting_in.append(lambda: self.lease.accept_complete(self.broker.now_s))

    def hear(self, note: Note) -> None:
        self.waiting_in.append(lambda: self.lease.accept_note(note, self.broker.now_s))

    def presence(self, name: str, *, is_there: bool) -> None:
        now = self.broker
        self.waiting_in.append(
            lambda: self.lease.accept_presence(name, now.now_s, is_there=is_there)
        )

    def lose(self, *, will: bool) -> None:
        """The connection ends, and this side sees it."""
        self.broker.connected.pop(self.name, None)
        self.lease.accept_loss()
        if will:
            self.broker.say(self.name, is_there=False)

    def work(self) -> None:
        if self.stopped:
            return
        if not self.cut:
            arrived, self.waiting_in = self.waiting_in, []
            for each in arrived:
                each()
        self.lease.tick(self.broker.now_s)
        self.epoch = self.lease.epoch
        if not self.cut and self.name in self.broker.connected:
            for note in self.waiting_out:
                self.broker.take(note)
            self.waiting_out = []


@dataclass
class Broker:
    """Sends the notes of one topic to all members in one order, and keeps the last."""

    now_s: float = 100.0
    retained: Note | None = None
    away: set[str] = field(default_factory=set)
    connected: dict[str, Member] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # who may send, step by step

    def take(self, note: Note) -> None:
        self.retained = note if note.is_retained else self.retained
        for member in self.connected.values():
            member.hear(note)

    def say(self, name: str, *, is_there: bool) -> None:
        (self.away.discard if is_there else self.away.add)(name)
        for member in self.connected.values():
            if member.name != name:
                member.presence(name, is_there=is_there)

    def drop_silent(self) -> None:
        """A client that sends nothing for 1.5 keepalives is gone: its will is published."""
        for one in list(self.connected.values()):
            if not (one.cut or one.stopped):
                one.heard_s = self.now_s
            elif self.now_s - one.heard_s > 1.5 * LEASE_S:
                self.connected.pop(one.name)
                self.say(one.name, is_there=False)

    def step(self, *members: Member, seconds: float = STEP_S) -> list[str]:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += STEP_S
            self.drop_silent()
            for member in members:
                member.work()
            sending = [m.name for m in members if not m.stopped and m.lease.may_send(self.now_s)]
            assert len(sending) <= 1, f"two may send at {self.now_s}"
            self.seen += sending
        return sending


def role(member: Member) -> Role:
    return member.lease.role


@pytest.fixture
def pair() -> tuple[Broker, Member, Member]:
    """Two members, of which the first is active."""
    broker = Broker()
    first = Member("a", broker)
    assert broker.step(first, seconds=2 * LEASE_S) == ["a"]
    second = Member("b", broker)
    assert broker.step(first, second, seconds=3 * LEASE_S) == ["a"]
    return broker, first, second


def test_of_two_that_start_together_one_becomes_active() -> None:
    """Both claims follow nothing: the broker's order decides, for both alike."""
    broker = Broker()
    first, second = Member("a", broker), Member("b", broker)
    assert len(broker.step(first, second, seconds=2 * LEASE_S)) == 1
    assert {first.lease.role, second.lease.role} == {Role.ACTIVE, Role.STANDBY}


def test_a_will_frees_the_lease_at_once(pair: tuple[Broker, Member, Member]) -> None:
    broker, first, second = pair
    first.lose(will=True)
    first.stopped = True
    assert broker.step(first, second, seconds=4 * STEP_S) == ["b"]
    assert second.lease.previous == "a"
    assert second.lease.epoch == 2


def test_a_release_hands_over_at_once(pair: tuple[Broker, Member, Member]) -> None:
    broker, first, second = pair
    note = first.lease.release()
    assert note is not None
    assert note.kind is NoteKind.RELEASED
    broker.take(note)
    assert broker.step(first, second, seconds=4 * STEP_S) == ["b"]
    assert broker.step(first, second, seconds=5 * LEASE_S) == ["b"]


def test_one_that_hangs_is_replaced_after_its_lease_and_steps_down(
    pair: tuple[Broker, Member, Member],
) -> None:
    """SIGSTOP: no will for a long time; it wakes up with a lease that it believes to hold."""
    broker, first, second = pair
    first.stopped = True
    assert broker.step(first, second, seconds=LEASE_S) == []
    assert broker.step(first, second, seconds=LEASE_S / 2) == ["b"]
    first.stopped = False
    assert not first.lease.may_send(broker.now_s)  # before it has read anything
    assert broker.step(first, second, seconds=4 * LEASE_S) == ["b"]
    assert role(first) is Role.STANDBY


def test_one_that_is_cut_off_is_silent_before_the_other_begins(
    pair: tuple[Broker, Member, Member],
) -> None:
    broker, first, second = pair
    first.cut = True
    broker.step(first, second, seconds=LEASE_S + STEP_S)
    assert role(first) is Role.SUSPENDED
    assert broker.step(first, second, seconds=LEASE_S / 2) == ["b"]
    first.cut = False
    assert broker.step(first, second, seconds=LEASE_S) == ["b"]
    assert role(first) is Role.STANDBY


def test_a_standby_that_was_cut_off_takes_nothing_over(pair: tuple[Broker, Member, Member]) -> None:
    """Its claim arrives late; renewals came before it, so it counts for nobody."""
    broker, first, second = pair
    second.cut = True
    assert broker.step(first, second, seconds=3 * LEASE_S) == ["a"]
    second.cut = False
    assert broker.step(first, second, seconds=3 * LEASE_S) == ["a"]
    assert first.lease.epoch == 1


def test_after_an_outage_of_the_broker_the_active_one_goes_on(
    pair: tuple[Broker, Member, Member],
) -> None:
    """Also if the broker has forgotten the lease, and the standby is back first."""
    broker, first, second = pair
    first.lose(will=False)
    second.lose(will=False)
    assert broker.step(first, second, seconds=10 * LEASE_S) == []
    assert role(first) is Role.SUSPENDED
    broker.retained = None
    second.connect()
    broker.step(first, second, seconds=LEASE_S / 2)
    first.connect()
    assert broker.step(first, second, seconds=2 * LEASE_S) == ["a"]


def test_one_that_returns_does_not_take_the_lease_back(pair: tuple[Broker, Member, Member]) -> None:
    broker, first, second = pair
    first.lose(will=True)
    broker.step(second, seconds=1.0)
    first.start()
    assert broker.step(first, second, seconds=5 * LEASE_S) == ["b"]


def test_a_restart_alone_goes_on_without_waiting(pair: tuple[Broker, Member, Member]) -> None:
    """Its own client has replaced that of its last run, so nobody holds that lease."""
    broker, first, second = pair
    second.lose(will=True)
    first.lose(will=False)
    first.start()
    assert broker.step(first, seconds=1.0) == ["a"]
    assert first.lease.epoch == 2


def test_notes_of_others_are_not_trusted() -> None:
    """What is no note on the topic changes nothing."""
    bad = [b"", b"[]", b"{", b'{"kind": "held"}', b'{"kind":"x","member":"a","run":"1"}']
    assert [Note.parse(raw) for raw in bad] == [None] * len(bad)
    note = Note(NoteKind.CLAIM, "a", "1", 3, 4, NoteId(2, 9))
    assert Note.parse(note.dump()) == note


def disturb(one: Member, broker: Broker, dice: random.Random) -> None:
    """One of the troubles that a plant has."""

    def return_(*, new: bool) -> None:
        if not one.cut:
            one.lose(will=new or dice.random() < 0.5)
            one.start() if new else one.connect()

    def restart_broker() -> None:
        for other in [*broker.connected.values()]:
            other.lose(will=False)
        broker.retained = None if dice.random() < 0.3 else broker.retained

    troubles: list[Callable[[], object]] = [
        lambda: setattr(one, "stopped", not one.stopped),
        lambda: setattr(one, "cut", not one.cut),
        lambda: one.lose(will=True) if one.name in broker.connected else None,
        lambda: return_(new=False),
        lambda: return_(new=True),
        restart_broker,
        lambda: None,
    ]
    dice.choice(troubles)()


@pytest.mark.parametrize("seed", range(40))
def test_never_two_may_send_and_at_the_end_one_does(seed: int) -> None:
    """Hangs, cuts, losses, restarts and a broker that forgets, in any order."""
    dice = random.Random(seed)  # noqa: S311
    broker = Broker()
    members = [Member("a", broker), Member("b", broker)]
    for _ in range(60):
        disturb(dice.choice(members), broker, dice)
        broker.step(*members, seconds=dice.choice([STEP_S, 1.0, LEASE_S, 2 * LEASE_S]))
    for one in members:
        one.stopped = one.cut = False
        if one.name not in broker.connected:
            one.connect()
    assert len(broker.step(*members, seconds=5 * LEASE_S)) == 1
    roles = [one.lease.role for one in members]
    assert roles.count(Role.STANDBY) == 1
