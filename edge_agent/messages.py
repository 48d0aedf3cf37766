"""Alarms, faults and messages: the plain types that rooms hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol


class LinkState(StrEnum):
    """State of a source or sink as metrics and the status page show it."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(slots=True)
class Link:
    """What the rest of the daemon may know of a source's or sink's connection.

    faults: what is wrong beside the state itself, by `Fault.what`: a clock that is off, a
    certificate that ends soon. The owner of the link sets and deletes entries. clock_offset_s: how
    far a source's clock is ahead of the gateway's, where it has one; gateway_moved: it has been off
    since the gateway's own clock was moved.
    """

    state: LinkState = LinkState.STOPPED
    detail: str = ""
    since_us: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    clock_offset_s: float | None = None
    gateway_moved: bool = False


class Source(Protocol):
    """A producer of values.

    `start` returns at once and never waits for the other side: an unreachable server is retried in
    the background for ever. `stop` is safe before `start` and when repeated.
    """

    name: str
    link: Link

    async def start(self) -> None:
        """Begin to deliver into the intake."""

    async def stop(self) -> None:
        """Stop delivering and release everything."""


class Ne107(StrEnum):
    """NAMUR NE 107 status signals."""

    FAILURE = "failure"
    CHECK_FUNCTION = "check_function"
    OUT_OF_SPECIFICATION = "out_of_specification"
    MAINTENANCE_REQUIRED = "maintenance_required"


class AlarmState(StrEnum):
    """ISA-18.2 alarm states."""

    NORMAL = "normal"
    UNACK = "unack"
    ACKED = "acked"
    RTN_UNACK = "rtn_unack"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class TransitionKind(StrEnum):
    """What happened to an alarm."""

    RAISE = "raise"
    UPDATE = "update"
    ACK = "ack"
    CLEAR = "clear"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    OUT_OF_SERVICE = "out_of_service"
    IN_SERVICE = "in_service"


@dataclass(frozen=True, slots=True)
class Contributor:
    """One input's share in a score: weights of all inputs sum to the score."""

    input: str
    weight: float
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """The window an assessment was made from; times in microseconds, coverage 0..1."""

    start_us: int
    end_us: int
    coverage: float
    quality: str
    replayed: bool = False


PROVISIONAL: Final = "provisional"  # the mode of a baseline that rests on little data


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that made an assessment; mode: active, provisional."""

    name: str
    version: str
    sha256: str
    mode: str = "active"


@dataclass(frozen=True, slots=True)
class Detail:
    """Everything an alert says beside its state; set anew by each raise and update.

    stage: the block of ISO 13374 that it comes from, where that is not the alarm's policy's.
    """

    message_key: str
    message_args: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    failure_mode: str = ""
    probability: float | None = None
    rul_h: dict[str, float] | None = None
    contributors: tuple[Contributor, ...] = ()
    window: WindowInfo | None = None
    model: ModelInfo | None = None
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A condition that keeps the service from doing all it should, as long as it is reported.

    what: the name of its service alarm, `store`, `source.plc`, `clock.plc`: letters, digits, `.`,
    `_` and `-`, from the config and never from the wire. text: one line for the status page.
    detail: what the alarm says; its message key stands in alarms/texts.yaml.
    """

    what: str
    text: str
    detail: Detail


@dataclass(frozen=True, slots=True)
class Observation:
    """What the pipeline tells the alarm table about one alarm at one instant.

    level: the watched quantity divided by its limit: >= 1 is over the limit, and only below
    1 - deadband is it back. at_us: event time (the window's last sample), not the gateway's.
    """

    alarm_id: str
    level: float
    at_us: int
    detail: Detail


@dataclass(slots=True)
class Alarm:
    """An alarm's whole state, as stored and as shown."""

    alarm_id: str
    asset: str
    state: AlarmState = AlarmState.NORMAL
    seq: int = 0
    active: bool = False
    severity: int = 500
    priority: str = "medium"
    ne107: Ne107 = Ne107.MAINTENANCE_REQUIRED
    stage: str = "state_detection"
    detail: Detail | None = None
    first_seen_us: int = 0
    changed_us: int = 0
    count: int = 0
    shelved_until_us: int = 0
    acked_by: str = ""
    suppressed_by: str = ""
    shelved_by: str = ""
    comment: str = ""  # of who gave the last command; empty after a new raise


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alarm; `alarm` is a copy of its state after the change. id = alarm_id:seq."""

    kind: TransitionKind
    at_us: int
    alarm: Alarm
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to be delivered to one sink until that sink confirms it.

    row: the outbox row (0 before it is stored); key groups messages of which only the newest
    matters when a retained state is published (the alarm_id); topic is complete.
    """

    row: int
    sink: str
    kind: str  # "alert" (retained current state) | "event" (every transition)
    key: str
    seq: int
    topic: str
    body: bytes
    created_us: int
