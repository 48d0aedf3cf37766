"""Which one of a pair of gateways is active: the lease, without any connection or clock.

The broker sends all messages of a topic to all subscribers in one order. Every claim names the
note that it follows, so all members see the same claim win: the first one that follows the newest
note. Its member then says that it holds the lease, and is active when that comes back before the
same of another one. What is retained is always the note of a holder, never a claim. Time is only
measured here, from a note's departure (own lease) or its arrival (the other's).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

RENEWALS: Final = 4  # in the time of one lease
PATIENCE: Final = 1.2  # times the lease, before the other one counts as gone


class Role(StrEnum):
    """What this gateway is. SUSPENDED: it holds the lease, but cannot renew it: nothing is sent."""

    STANDBY = "standby"
    ACTIVE = "active"
    SUSPENDED = "suspended"


class NoteKind(StrEnum):
    """What a note on the lease's topic says."""

    CLAIM = "claim"  # wants it, after the note `over`
    HELD = "held"  # has it
    RELEASED = "released"  # does not need it any more


class NoteId(NamedTuple):
    """Which note of which holder."""

    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Note:
    """A message on the lease's topic. run: of the process; over: the note that a claim follows."""

    kind: NoteKind
    member: str
    run: str
    epoch: int
    number: int
    over: NoteId | None = None

    @property
    def id(self) -> NoteId:
        """Its place in the order of all notes."""
        return NoteId(self.epoch, self.number)

    @property
    def is_retained(self) -> bool:
        """True if the broker keeps it."""
        return self.kind is not NoteKind.CLAIM

    def dump(self) -> bytes:
        """Encode as JSON."""
        return orjson.dumps(asdict(self) | {"over": self.over and list(self.over)})

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """Decode JSON; None if it is no note."""
        try:
            data = orjson.loads(raw)
            over = data["over"]
            return cls(
                NoteKind(data["kind"]),
                str(data["member"]),
                str(data["run"]),
                int(data["epoch"]),
                int(data["number"]),
                None if over is None else NoteId(int(over[0]), int(over[1])),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
            return None


class Lease:
    """The lease as one member sees it; the caller connects, publishes, and tells the time.

    member, run: who we are; lease_s: its length; publish: sends a note; epoch, holder: as
    they were known last. previous: the holder before us, once we are active; last: the newest valid
    note of this connection. All times are of a monotonic clock, in seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (who we are, and what is known)
        self,
        member: str,
        run: str,
        lease_s: float,
        publish: Callable[[Note], None],
        epoch: int = 0,
        holder: str = "",
    ) -> None:
        self.role = Role.STANDBY
        self.last: Note | None = None
        self.epoch = epoch
        self.holder, self.previous = holder, ""
        self._member, self._run = member, run
        self._lease_s = lease_s
        self._publish = publish
        self._number = 0
        self._won = 0  # the epoch of our claim that came first, until it is known that we hold it
        self._sent: dict[NoteId, float] = {}
        self._valid_s = -math.inf  # until when we may send
        self._heard_s = math.inf  # the last sign of life of the holder
        self._next_s = -math.inf  # when to renew, or to claim again
        self._away: set[str] = set()  # members of whom the broker says so
        self._is_complete = False  # connected, and all that the broker keeps has arrived
        self._is_over = False

    def may_send(self, now_s: float) -> bool:
        """True while no other member can be active."""
        return self.role is Role.ACTIVE and now_s < self._valid_s

    def accept_connection(self, now_s: float) -> None:
        """A connection is made, nothing has arrived yet: the holder has a lease to be heard."""
        self.last = None
        self._heard_s = now_s

    def accept_complete(self, now_s: float) -> None:
        """All that the broker keeps has arrived; from now on we hear each note, and may write."""
        self._is_complete, self._next_s = True, now_s
        self.tick(now_s)

    def accept_loss(self) -> None:
        """The connection is lost: the broker may tell the others so at once."""
        self._is_complete = False
        self._won = 0
        self._away.clear()
        self._sent.clear()
        self._heard_s, self._next_s = math.inf, math.inf
        self._suspend()

    def accept_note(self, note: Note, now_s: float) -> None:
        """A note arrived, also one of our own; it counts in this order for all members."""
        if note.member == self._member and note.run == self._run:
            self._accept_own(note)
        elif self._outranks(note):
            self._follow(note, now_s)
        elif self.role is not Role.STANDBY and self._is_complete:
            self._renew(now_s)  # what is retained must be the valid one
        self.tick(now_s)

    def accept_presence(self, member: str, now_s: float, *, is_there: bool) -> None:
        """The broker says if a member is there."""
        (self._away.discard if is_there else self._away.add)(member)
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        """Do what is due: call it several times in a lease."""
        if self.role is not Role.STANDBY:
            if now_s >= self._valid_s:
                self._suspend()
            if now_s >= self._next_s:
                self._renew(now_s)  # not before we hear what others write
        elif self._is_complete and not self._is_over and self._may_claim(now_s):
            self._claim(now_s)

    def release(self) -> Note | None:
        """Claim no more; returns the note that gives it back, None if we do not hold it."""
        held, self._is_over = self.role is not Role.STANDBY, True
        self.role = Role.STANDBY
        self._number += 1
        return self._note(NoteKind.RELEASED, self.epoch) if held else None

    def _accept_own(self, note: Note) -> None:
        sent_s = self._sent.pop(note.id, None)
        if sent_s is None:  # of a connection that is lost, or too old
            self.last = self.last or note
            return
        if note.kind is NoteKind.CLAIM:
            if self._follows(note):
                self.last, self._won = note, note.epoch
                self._send(self._note(NoteKind.HELD, note.epoch), sent_s)
            return
        if self.role is Role.STANDBY and note.epoch == self._won:
            self.previous, self.holder, self.epoch = self.holder, self._member, note.epoch
        elif self.role is Role.STANDBY or note.epoch != self.epoch:
            return
        self.role, self.last, self._won = Role.ACTIVE, note, 0
        self._valid_s = max(self._valid_s, sent_s + self._lease_s)

    def _outranks(self, note: Note) -> bool:
        """True if a note of another member is valid."""
        if note.kind is NoteKind.CLAIM:
            return self._follows(note)
        known = self.epoch if self.last is None else max(self.epoch, self.last.epoch)
        if note.epoch != known:
            return note.epoch > known
        if self.role is Role.STANDBY:
            return True
        return note.member > self._member  # both claimed at a broker that had forgotten the first

    def _follows(self, claim: Note) -> bool:
        """True if no other note came between; a claim that knows of more than we do counts too."""
        last = self.last
        if last is None:
            return claim.epoch > self.epoch
        if claim.epoch <= last.epoch:
            return False
        is_new = last.kind is NoteKind.CLAIM and claim.over is None  # of one to whom all is new
        return is_new or claim.over == last.id or claim.epoch > last.epoch + 1

    def _follow(self, note: Note, now_s: float) -> None:
        self.last, self.epoch, self.role = note, max(self.epoch, note.epoch), Role.STANDBY
        self._won = 0
        if note.kind is not NoteKind.CLAIM:
            self.holder = note.member
        self._heard_s = now_s
        self._valid_s = self._next_s = -math.inf

    def _may_claim(self, now_s: float) -> bool:
        if now_s < self._next_s:
            return False
        last = self.last
        if last is not None and last.member == self._member:
            return True  # of our last run: this client has taken the place of its client
        if last is not None and (last.kind is NoteKind.RELEASED or last.member in self._away):
            return True
        # Without a note there is no holder, or the broker has forgotten it.
        return now_s - self._heard_s >= PATIENCE * self._lease_s

    def _claim(self, now_s: float) -> None:
        self._next_s = now_s + self._lease_s
        known = self.epoch if self.last is None else max(self.epoch, self.last.epoch)
        over = None if self.last is None else self.last.id
        self._send(self._note(NoteKind.CLAIM, known + 1, over), now_s)

    def _renew(self, now_s: float) -> None:
        self._next_s = now_s + self._lease_s / RENEWALS
        self._sent = {n: at_s for n, at_s in self._sent.items() if now_s - at_s < self._lease_s}
        self._send(self._note(NoteKind.HELD, self.epoch), now_s)

    def _send(self, note: Note, now_s: float) -> None:
        self._sent[note.id] = now_s
        self._publish(note)

    def _note(self, kind: NoteKind, epoch: int, over: NoteId | None = None) -> Note:
        self._number += 1
        return Note(kind, self._member, self._run, epoch, self._number, over)

    def _suspend(self) -> None:
        self._valid_s = -math.inf
        if self.role is Role.ACTIVE:
            self.role = Role.SUSPENDED
