"""Input that a source could not use: counted by reason, logged once for each topic."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Counter

    from edge_agent.ops.metrics import Metrics

# Log lines by reason: the same fault of many topics needs no line for each of them.
_MAX_LINES: Final = {
    "unknown_topic": 20,
    "unknown_asset": 20,
    "assets_refused": 1,
    "other_shard": 0,  # as it should be
}
_MAX_LINES_ELSE: Final = 1000
_MAX_LINES_MILD: Final = 100
_SHOWN_CHARACTERS: Final = 200
_log = logging.getLogger("edge_agent.sources")


class Refusals:
    """Counts and logs for one source. A reason is a word of our own code, never from a payload."""

    def __init__(self, source: str, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics
        self._counters: dict[str, Counter] = {}
        self._logged: set[bytes] = set()
        self._lines: dict[str, int] = {}

    def count(self, reason: str, n: int = 1) -> None:
        """Count `n` refusals."""
        counter = self._counters.get(reason)
        if counter is None:
            counter = self._metrics.values_rejected.labels(self._source, reason)
            self._counters[reason] = counter
        counter.inc(n)

    def refuse_payload(self, reason: str, topic: bytes, message: str) -> None:
        """Count one refusal, and log it if it is the first of its topic."""
        self.count(reason)
        lines = self._lines.get(reason, 0)
        limit = _MAX_LINES.get(reason, _MAX_LINES_ELSE)
        if topic in self._logged or lines >= limit:
            return
        self._logged.add(topic)
        self._lines[reason] = lines + 1
        about = {"source": self._source, "reason": reason}
        _log.warning("payload refused", extra={**about, "topic": shown(topic), "detail": message})
        if lines + 1 == limit:
            _log.warning("further topics are only counted", extra=about)

    def knows(self, topic: bytes) -> bool:
        """True if a refusal of this topic was logged: nothing more is logged for it."""
        return topic in self._logged

    def count_deviation(self, topic: bytes, message: str) -> None:
        """Count a payload that was read although it is not as expected; called once per topic."""
        self.count("mended")
        self._log_once("payload mended", topic, message)

    def log_unused(self, topic: bytes, key: str) -> None:
        """Log that a payload has keys that are no signals, beside those that are."""
        self._log_once("unused keys in a payload", topic, f"the first is {key!r}")

    def _log_once(self, event: str, topic: bytes, detail: str) -> None:
        lines = self._lines.get(event, 0)
        if lines >= _MAX_LINES_MILD:
            return
        self._lines[event] = lines + 1
        about = {"source": self._source, "topic": shown(topic), "detail": detail}
        _log.info(event, extra=about)


def shown(topic: bytes) -> str:
    """A topic from the broker, as one line of a log."""
    text = topic[:_SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
