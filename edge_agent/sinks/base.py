"""The protocol of sinks, and their shared types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, TypeAlias

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.transport import LinkReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_agent.clock import Clock
    from edge_agent.messages import Link, Message
    from edge_agent.ops.metrics import Metrics

Reply: TypeAlias = "Callable[[bytes], None]"

ALERT: Final = "alert"
EVENT: Final = "event"
_ANSWERING: Final = frozenset({LinkState.CONNECTING, LinkState.UP})


class DeliveryError(EdgeAgentError):
    """A message was not confirmed; `reason` is a bounded label for metrics, empty: no failure.

    retry: the same message may well be taken later. hold_s: the receiver is well and refuses only
    this message, which is tried again after 1 s, doubling to this; None means that the receiver
    itself is in trouble. wait_s: the receiver asks for nothing more before that time.
    give_up_s: a message refused for this long, while the receiver confirms others, is deleted.
    """

    def __init__(  # noqa: PLR0913
        self,
        message: str,
        *,
        reason: str,
        retry: bool,
        hold_s: float | None = None,
        wait_s: float = 0.0,
        give_up_s: float | None = None,
        where: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.reason = reason
        self.retry = retry
        self.hold_s = hold_s
        self.wait_s = wait_s
        self.give_up_s = give_up_s


@dataclass(frozen=True, slots=True)
class Refusals:
    """The messages that a receiver refuses although it answers.

    waiting: messages that are refused and kept. subject, reason: of one of them, or of the last
    one given up. given_up: messages deleted since the start because they were never accepted.
    """

    waiting: int = 0
    subject: str = ""
    reason: str = ""
    given_up: int = 0


class Position(NamedTuple):
    """How far events were sent to a receiver, which keeps it with them, and loses it with them.

    store: the name of the store; row: of its newest transition then; waiting: the events (alarm id,
    number) up to that row that were not sent yet.
    """

    store: str
    row: int
    waiting: list[tuple[str, int]]

    def dump(self) -> bytes:
        """Encode as JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """Decode JSON; None if it is not one."""
        try:
            data = orjson.loads(raw)
            waiting = [(str(key), int(seq)) for key, seq in data["waiting"]]
            return cls(str(data["store"]), int(data["row"]), waiting)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an operator over the plant bus.

    kind: `ack`, `shelve`, `feedback` or `healthy`; alarm_id: empty for `healthy`, which is about
    the asset; duration_s: how long to shelve, else 0; place: the ISA-95 path
    enterprise/site/area/line/asset of the topic, to which a broker's access rules apply; verdict:
    `true`, `false` or `planned`, for `feedback`; part: of the machine, for `feedback`.
    expires_us: until when its id is not accepted again; reply: sends an answer, if requested.
    """

    kind: str
    alarm_id: str
    actor: str
    duration_s: float
    id: str
    place: str
    comment: str = ""
    verdict: str = ""
    part: str = ""
    expires_us: int = field(default=0, compare=False)
    sink: str = field(default="", compare=False)
    reply: Reply | None = field(default=None, compare=False, repr=False)

    @property
    def asset(self) -> str:
        """The asset of the topic: the last level of its place."""
        return self.place.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """An invalid message on a topic of commands; reason: a bounded word, error: the text."""

    sink: str
    topic: str
    reason: str
    error: str
    id: str = ""
    place: str = ""  # as of a Command
    reply: Reply | None = field(default=None, compare=False, repr=False)


class Sink(Protocol):
    """A receiver of alarms.

    `start` returns at once and never waits for the receiver; `stop` is safe before `start` and
    when repeated. Everything runs on the event loop that `start` was called on.
    """

    name: str
    link: Link
    kinds: frozenset[str]  # kinds of messages that this sink stores in the outbox
    window: int  # maximum of unconfirmed messages
    on_ready: Callable[[], None] | None = None  # the sink is ready for another attempt
    on_connected: Callable[[], None] | None = None  # anew: what it shows may be old
    # It may have forgotten what it confirmed last; called with the last mark that it holds, and
    # with the events (alarm id, number) that were sent since it is connected.
    on_forgotten: Callable[[Position | None, Collection[tuple[str, int]]], None] | None = None
    held: frozenset[str] = frozenset()  # kinds that wait until `accept_marks`
    in_doubt: bool = False  # it may have lost its last confirmed messages before this start
    knowledge: str = ""  # of the receiver, kept over restarts
    takes_kpi: bool = False  # `publish_kpi` has a receiver
    is_replaced: bool = False  # another gateway speaks for us: `stop` must not say `offline`
    on_command: Callable[[Command], None] | None = None
    on_refused: Callable[[RefusedCommand], None] | None = None  # a command that is none

    async def start(self) -> None:
        """Start to connect."""

    async def stop(self) -> None:
        """Disconnect and release everything; deliveries in progress fail with a retry."""

    async def deliver(self, message: Message) -> None:
        """Return once the receiver has CONFIRMED the message; raise DeliveryError otherwise."""

    def publish_scores(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Send (topic, body) pairs and forget them; dropped while the receiver is away."""
        del batch  # a sink without scores

    async def publish_kpi(self, topic: str, body: bytes, *, retain: bool) -> bool:
        """Publish a figure of a line; True once the receiver has confirmed it."""
        del topic, body, retain  # a sink that takes none
        return False

    def set_status(self, status: str) -> None:
        """Publish the state of the service: `online` or `degraded`."""
        del status  # a sink that shows none

    def mark(self, position: Position) -> bool:
        """Let the receiver keep how far it has received; False if it cannot do so now.

        position: as if no message in flight were sent yet.
        """
        del position  # a sink whose receiver forgets nothing
        return True

    def accept_marks(self) -> None:
        """Take marks from now on: what the receiver forgot is in the outbox again."""
        return  # a sink without marks

    def show_refusals(self, refusals: Refusals) -> None:
        """Show refused messages in the link; called at each change."""
        del refusals  # a sink that refuses nothing


class SinkReporter(LinkReporter):
    """The reporter of a sink: it is degraded if its receiver answers but refuses messages."""

    def __init__(self, name: str, metrics: Metrics, clock: Clock) -> None:
        gauge = metrics.sink_up.labels(name)
        super().__init__("sink", name, gauge, clock, connected=frozenset({LinkState.UP}))
        self.view = self._with_refusals
        self._refusals: dict[str, Refusals] = {}

    def show_refusals(self, part: str, refusals: Refusals) -> None:
        """Note what the receiver refuses; part: of what we send, `messages` or `status`."""
        self._refusals[part] = refusals
        self.refresh()

    def _with_refusals(self, state: LinkState, detail: str) -> tuple[LinkState, str]:
        refused = next((one for one in self._refusals.values() if one.waiting), None)
        self._show_fault(refused if state is not LinkState.STOPPED else None)
        if state not in _ANSWERING:
            return state, detail
        if refused is not None:
            return LinkState.DEGRADED, _refused_text(refused)
        gone = [_given_up_text(one) for one in self._refusals.values() if one.given_up]
        return state, "; ".join([detail, *gone] if detail else gone)

    def _show_fault(self, refused: Refusals | None) -> None:
        what = f"refused.{self.name}"
        if refused is None:
            self.link.faults.pop(what, None)
            return
        args = {"sink": self.name, "subject": refused.subject, "reason": refused.reason}
        text = f"{self.name}: {_refused_text(refused)}"
        self.link.faults[what] = Fault(what, text, Detail("sink_refuses", args))


def _refused_text(refused: Refusals) -> str:
    more = f" (and {refused.waiting - 1} more)" if refused.waiting > 1 else ""
    return f"{refused.subject}{more}: {refused.reason}"


def _given_up_text(refused: Refusals) -> str:
    return f"{refused.given_up} given up, the last: {refused.subject}: {refused.reason}"
