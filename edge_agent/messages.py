"""Alarms, faults and messages: the plain types that rooms exchange."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

# In the actor of an entry of the audit it stands before the name of a key. The name before it is
# what the holder of the key says; no user's own name may contain it.
KEY_MARK: Final = " (key "


class LinkState(StrEnum):
    """State of a source or sink, as in metrics and on the status page."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(slots=True)
class Link:
    """The connection of a source or sink, as the rest of the daemon sees it.

    faults: problems in addition to the state, by `Fault.what`: a clock that is off, a certificate
    that expires soon. The owner of the link sets and deletes entries. clock_offset_s: how far a
    source's clock is ahead of the gateway's, if it has one; gateway_moved: it has been off since
    the gateway's own clock was moved. has_kept: the other side has kept what it would have sent
    while we were disconnected.
    """

    state: LinkState = LinkState.STOPPED
    detail: str = ""
    since_us: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    clock_offset_s: float | None = None
    gateway_moved: bool = False
    has_kept: bool = False


class Source(Protocol):
    """A producer of values.

    `start` returns at once and never waits for the server: an unreachable server is retried in the
    background without end. `stop` is safe before `start` and when repeated.
    """

    name: str
    link: Link

    async def start(self) -> None:
        """Start to deliver values into the intake."""

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
    """The change of an alarm."""

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
    """One input's share in a score: weights of all inputs sum to the score.

    low, high: the normal range of the value, between which 99 % of the healthy data of its model
    are; None if it is not known.
    """

    input: str
    weight: float
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class WindowInfo:
    """The window of an assessment; times in microseconds, coverage 0..1."""

    start_us: int
    end_us: int
    coverage: float
    quality: str
    replayed: bool = False


PROVISIONAL: Final = "provisional"  # the mode of a baseline from little data
UNCERTAIN: Final = "uncertain"  # the mode outside of what a model was trained on
DOUBTFUL: Final = frozenset({PROVISIONAL, UNCERTAIN})  # modes whose alarms are at most medium


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that made an assessment; mode: active, provisional, uncertain."""

    name: str
    version: str
    sha256: str
    mode: str = "active"


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels of the picture as it came.

    share: of what all boxes have above the limit, 0..1.
    """

    x: int
    y: int
    width: int
    height: int
    share: float


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """The picture that an assessment is about.

    picture_id: of its thumbnail. width, height: of the picture as it came. boxes: the parts that
    look wrong, the largest share first.
    """

    picture_id: str
    camera: str
    width: int
    height: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Detail:
    """The content of an alert except its state; replaced by each raise and update.

    stage: its block of ISO 13374, if that is not the one of the alarm's policy. picture: of a
    camera's alarm.
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
    picture: PictureInfo | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A condition that keeps the service from working fully; active while it is reported.

    what: the name of its service alarm, `store`, `source.plc`, `clock.plc`: letters, digits, `.`,
    `_` and `-`, from the config and never from received messages. text: one line for the status
    page. detail: the content of the alarm; its message key is in alarms/texts.yaml.
    """

    what: str
    text: str
    detail: Detail


@dataclass(frozen=True, slots=True)
class Observation:
    """The input of the alarm table for one alarm at one instant.

    level: the monitored quantity divided by its limit: from 1 it is over the limit, and it is back
    only below 1 - deadband. at_us: event time (the window's last sample), not the gateway's.
    step_s: seconds between two rows of the model, 0 if there is none.
    """

    alarm_id: str
    level: float
    at_us: int
    detail: Detail
    step_s: float = 0.0


@dataclass(slots=True)
class Alarm:
    """The complete state of an alarm, as stored and as shown."""

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
    confirmed_by: str = ""  # who confirmed an acknowledged alarm; empty after a new raise
    comment: str = ""  # comment of the last command; empty after a new raise


def plain_alarm(alarm: Alarm) -> dict[str, Any]:
    """The alarm as plain dicts, lists, strings and numbers, as releases before cameras read it."""
    data = asdict(alarm)
    if data["detail"] is not None and data["detail"]["picture"] is None:
        del data["detail"]["picture"]
    return data


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alarm; `alarm` is a copy of its state after the change. id = alarm_id:seq.

    stored: False if it was sent while the store could not be written.
    """

    kind: TransitionKind
    at_us: int
    alarm: Alarm
    actor: str = ""
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One message that is sent to one sink until the sink confirms it.

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
