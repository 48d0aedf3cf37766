"""What prevents alarms from being stored or delivered, and how long messages have waited."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.sinks import ALERT, Refusals
from edge_agent.transport import backoff_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks import DeliveryError, Sink
    from edge_agent.store import DroppedMessages, Line, OutboxStats, StoreWorker

log = logging.getLogger("edge_agent.delivery")

_DROP_ALARM_S: Final = 60.0  # the alarm clears when nothing was dropped for this long
_SET_ASIDE_ALARM_S: Final = 600.0  # then it waits for an operator
_MAX_NAMED: Final = 20  # maximum of topics with their own log line while anything is refused
_STEP_US: Final = US_PER_S  # a smaller change of the clock is a normal correction
_MAX_STEPS: Final = 100
_SUPERSEDED: Final = "superseded"  # a newer state of the same alarm waits: nothing is lost


class PublisherHealth:
    """Counts failures of the store and dropped messages, and measures delivery times."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self.ages = MessageAges(clock)
        self._metrics = metrics
        self._clock = clock
        self._dropped = 0
        self._dropped_s: float | None = None
        self.trouble = ""
        self._in_memory = ""  # why the store is
        self._failures = 0
        self._set_aside = ""
        self._set_aside_s: float | None = None

    def count_dropped(self, dropped: Sequence[DroppedMessages]) -> None:
        """Count messages that the outbox dropped to stay within its bounds."""
        for one in dropped:
            self._metrics.outbox_dropped.labels(one.sink).inc(one.messages)
            if one.rank != _SUPERSEDED:
                self._dropped += one.messages
                self._dropped_s = self._clock.monotonic_s()

    def measure_delivery(self, message: Message) -> None:
        """Measure the time from a message's creation to its confirmation."""
        seconds = self.ages.seconds(message.created_us)
        self._metrics.end_to_end_seconds.labels(message.sink).observe(seconds)

    def waiting(self, sink: str, stats: OutboxStats | None, refusals: RefusalLog) -> dict[str, Any]:
        """Return how many messages wait for a sink; stats: None if none does."""
        return {
            "sink": sink,
            "rows": stats.rows if stats else 0,
            "bytes": stats.bytes if stats else 0,
            "oldest_s": self.ages.seconds(stats.oldest_us) if stats else 0.0,
            "refused": refusals.waiting,
            "given_up": refusals.given_up,
        }

    def export(self, waiting: Sequence[dict[str, Any]], sinks: Mapping[str, Sink]) -> None:
        """Update the gauges of the outbox and of the sinks."""
        metrics = self._metrics
        for row in waiting:
            metrics.outbox_rows.labels(row["sink"]).set(row["rows"])
            metrics.outbox_bytes.labels(row["sink"]).set(row["bytes"])
            metrics.outbox_oldest_seconds.labels(row["sink"]).set(row["oldest_s"])
            metrics.sink_refused.labels(row["sink"]).set(row["refused"])
        for name, sink in sinks.items():
            metrics.sink_up.labels(name).set(sink.link.state is LinkState.UP)

    def set_trouble(self, reason: str) -> None:
        """Set why the store fails; an empty text if it works."""
        if reason:
            self._metrics.store_errors.inc()
        if bool(reason) != bool(self.trouble):
            log.log(
                logging.ERROR if reason else logging.INFO,
                "store failed" if reason else "store works again",
                extra={"reason": reason},
            )
        self.trouble = reason

    def follow_store(self, store: StoreWorker) -> bool:
        """Follow the store; True if a damaged file was set aside since the last call."""
        self._in_memory, set_aside = store.trouble, store.set_aside
        self._metrics.store_up.set(not self._in_memory)
        self._metrics.store_errors.inc(store.failures - self._failures)
        self._failures = store.failures
        if self._in_memory or set_aside == self._set_aside:
            return False
        self._set_aside = set_aside
        self._set_aside_s = self._clock.monotonic_s() if set_aside else None
        return bool(set_aside)

    def faults(self) -> list[Fault]:
        """Return the current faults of store and outbox."""
        found = []
        last_s = self._dropped_s
        if last_s is not None and self._clock.monotonic_s() - last_s < _DROP_ALARM_S:
            detail = Detail("outbox_dropping", {"sink": "all", "dropped": self._dropped})
            found.append(Fault("outbox", f"outbox: {self._dropped} messages dropped", detail))
        return found + self._store_faults()

    def _store_faults(self) -> list[Fault]:
        reason = self._in_memory or self.trouble
        if reason:
            text = f"store: alarms are kept in memory only: {reason}" if self._in_memory else reason
            return [Fault("store", text, Detail("store_trouble", {"reason": reason}))]
        since_s = self._set_aside_s
        if since_s is None or self._clock.monotonic_s() - since_s > _SET_ASIDE_ALARM_S:
            return []
        text = f"store: the file was damaged and is kept as {self._set_aside}; a new one is in use"
        return [Fault("store", text, Detail("store_replaced", {"file": self._set_aside}))]


class MessageAges:
    """Ages of messages by the wall clock, corrected for its steps.

    `look` must be called about once a second: it compares the wall clock with the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_us = self._offset()
        self._steps: list[tuple[int, int]] = []  # (wall time before the step, microseconds ahead)

    def detect_clock_step(self) -> None:
        """Detect a step of the wall clock."""
        offset_us = self._offset()
        ahead_us = offset_us - self._offset_us
        self._offset_us = offset_us
        if abs(ahead_us) > _STEP_US:
            self._steps.append((self._clock.now_us() - ahead_us, ahead_us))
            del self._steps[:-_MAX_STEPS]

    def seconds(self, created_us: int) -> float:
        """Return the age of a message in seconds, at least 0."""
        now_us = self._clock.now_us()
        age_us = now_us - created_us
        for before_us, ahead_us in self._steps:
            # After a step back new stamps overlap old ones: only those ahead of now are old.
            is_old = created_us <= before_us if ahead_us > 0 else created_us > now_us
            age_us -= ahead_us if is_old else 0
        return max(0.0, age_us / US_PER_S)

    def _offset(self) -> int:
        return self._clock.now_us() - round(self._clock.monotonic_s() * US_PER_S)


class _Refused:
    """A line (kind, key) whose first message is refused."""

    def __init__(self, message: Message, confirmed: int) -> None:
        self.row = message.row
        self.created_us = message.created_us
        self.subject = self.reason = ""
        self.tries = 0
        self.held_s = 0.0
        self.confirmed = confirmed  # by the receiver, of all messages, when it was first refused


class RefusalLog:
    """Keeps the refused lines of one sink and reports them to it, so that its link shows them.

    last_error: of any delivery, also one that was repeated since; last_error_us: its time, 0 for
    never.
    """

    def __init__(self, sink: Sink) -> None:
        self.last_error = ""
        self.last_error_us = 0
        self._sink = sink
        self._lines: dict[Line, _Refused] = {}
        self._named: set[Line] = set()
        self._confirmed = 0
        self._subject = ""
        self._reason = ""
        self.given_up = 0

    @property
    def waiting(self) -> int:
        """Number of lines that the receiver refuses."""
        return len(self._lines)

    def rows(self, limit: int) -> list[dict[str, Any]]:
        """The refused messages, the oldest first, at most `limit`."""
        oldest = sorted(self._lines.items(), key=lambda line: line[1].created_us)[:limit]
        return [
            {
                "kind": kind,
                "key": key,
                "subject": one.subject,
                "reason": one.reason,
                "tries": one.tries,
                "created_ms": one.created_us // US_PER_MS,
            }
            for (kind, key), one in oldest
        ]

    def remove_line(self, line: Line) -> None:
        """Note that the receiver accepted a message of this line."""
        self._confirmed += 1
        if self._lines.pop(line, None) is not None:
            self._report()

    def add_refusal(self, line: Line, message: Message, error: DeliveryError) -> float | None:
        """Return the seconds to wait before the next try, or None if it must be given up.

        It is given up only if the receiver has confirmed others since: a receiver that confirms
        nothing may be the wrong one (a proxy, a wrong address), and that can be repaired.
        """
        refused = self._lines.get(line)
        if refused is None or refused.row != message.row:
            refused = self._lines[line] = _Refused(message, self._confirmed)
        limit_s = error.give_up_s
        if (
            limit_s is not None
            and refused.held_s >= limit_s
            and self._confirmed > refused.confirmed
        ):
            return None
        refused.tries += 1
        hold_s = max(min(error.hold_s or 0.0, backoff_s(refused.tries)), error.wait_s)
        refused.held_s += hold_s
        self._log_once(line, message, error)
        refused.subject, refused.reason = self._subject, self._reason
        self._report()
        return hold_s

    def count_given_up(self, line: Line, message: Message, error: DeliveryError) -> None:
        """Note that a message is deleted although it was never accepted."""
        self._lines.pop(line, None)
        self.given_up += 1
        self._set_reason(message, error)
        self._report()

    def clear(self) -> None:
        """Forget all lines: nothing waits for this sink."""
        if self._lines:
            self._lines.clear()
            self._report()

    def _log_once(self, line: Line, message: Message, error: DeliveryError) -> None:
        """Log each refused topic once while it is refused; the link shows the last of them."""
        self._set_reason(message, error)
        self._named &= self._lines.keys()
        if line not in self._named and len(self._named) < _MAX_NAMED:
            self._named.add(line)
            fields = {"sink": self._sink.name, "subject": self._subject, "reason": self._reason}
            log.warning("message refused", extra=fields)

    def _set_reason(self, message: Message, error: DeliveryError) -> None:
        """Add the topic, because access rules apply to it; a webhook has only one address."""
        self._subject = message.topic if ALERT in self._sink.kinds else message.key
        self._reason = error.message

    def _report(self) -> None:
        self._sink.show_refusals(
            Refusals(len(self._lines), self._subject, self._reason, self.given_up)
        )
