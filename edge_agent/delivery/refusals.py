"""Which messages a receiver refuses although it answers, how often, and when they are given up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.sinks import ALERT, Refusals
from edge_agent.transport import backoff_s

if TYPE_CHECKING:
    from edge_agent.messages import Message
    from edge_agent.sinks import DeliveryError, Sink
    from edge_agent.store import Line

log = logging.getLogger("edge_agent.delivery")

_MAX_NAMED: Final = 20  # topics that get a log line of their own while anything is refused


class _Refused:
    """One line (kind, key) whose first message is refused."""

    def __init__(self, message: Message, confirmed: int) -> None:
        self.row = message.row
        self.tries = 0
        self.held_s = 0.0
        self.confirmed = confirmed  # by the receiver, of all messages, when it was first refused


class RefusalLog:
    """Keeps the refused lines of one sink, and tells the sink, so that its link shows them."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: dict[Line, _Refused] = {}
        self._named: set[Line] = set()
        self._confirmed = 0
        self._subject = ""
        self._reason = ""
        self.given_up = 0

    @property
    def waiting(self) -> int:
        """Lines that the receiver refuses and that are kept."""
        return len(self._lines)

    def note_confirmed(self, line: Line) -> None:
        """The receiver took a message of this line."""
        self._confirmed += 1
        if self._lines.pop(line, None) is not None:
            self._tell()

    def note_refused(self, line: Line, message: Message, error: DeliveryError) -> float | None:
        """Return the seconds to wait before the next try, or None if it must be given up.

        That is only so if the receiver has confirmed others since: who confirms nothing may not
        understand us at all (a proxy, a wrong address), and somebody will mend that.
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
        self._name(line, message, error)
        self._tell()
        return hold_s

    def note_given_up(self, line: Line, message: Message, error: DeliveryError) -> None:
        """A message is deleted although it was never taken."""
        self._lines.pop(line, None)
        self.given_up += 1
        self._show(message, error)
        self._tell()

    def clear(self) -> None:
        """Nothing waits for this sink any more."""
        if self._lines:
            self._lines.clear()
            self._tell()

    def _name(self, line: Line, message: Message, error: DeliveryError) -> None:
        """Log each refused topic once while it is refused; the link shows the last of them."""
        self._show(message, error)
        self._named &= self._lines.keys()
        if line not in self._named and len(self._named) < _MAX_NAMED:
            self._named.add(line)
            fields = {"sink": self._sink.name, "subject": self._subject, "reason": self._reason}
            log.warning("message refused", extra=fields)

    def _show(self, message: Message, error: DeliveryError) -> None:
        """A bus has topics, which access rules speak of; a webhook has one address for all."""
        self._subject = message.topic if ALERT in self._sink.kinds else message.key
        self._reason = error.message

    def _tell(self) -> None:
        self._sink.note_refusals(
            Refusals(len(self._lines), self._subject, self._reason, self.given_up)
        )
