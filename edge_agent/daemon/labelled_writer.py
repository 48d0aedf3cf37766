"""Writes and labels the files of a labelled set on a thread of its own, with a bounded queue."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S
from edge_agent.labelled import PICTURES, UNJUDGED, LabelledSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Counter, Gauge

    from edge_agent.alarms import Judgement
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.labelled import Kept
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.models")

_MAX_WAITING: Final = 50  # works of the thread
_PRUNE_EVERY_S: Final = 3600.0
_DAY_US: Final = 86_400 * US_PER_S


def window_writer(config: Config, metrics: Metrics, clock: Clock) -> LabelledWriter:
    """The writer of the rows around alarms of a config."""
    settings = config.labelled
    kept = LabelledSet(config.labelled_folder, settings.max_bytes, round(settings.days * _DAY_US))
    return LabelledWriter(kept, metrics.labelled_windows, metrics.labelled_bytes, clock)


def picture_writer(config: Config, metrics: Metrics, clock: Clock) -> LabelledWriter:
    """The writer of the pictures that raised alarms; they need no extra package."""
    settings, folder = config.labelled, config.labelled_folder / PICTURES
    kept = LabelledSet(folder, settings.picture_bytes, round(settings.days * _DAY_US))
    return LabelledWriter(kept, metrics.labelled_pictures, metrics.labelled_picture_bytes, clock)


class LabelledWriter:
    """One thread for the files of one set. close: ends when all that waits is written.

    outcomes: counts by `written`, `labelled`, `dropped` and `failed`; size: of all files, in bytes.
    """

    def __init__(self, kept: LabelledSet, outcomes: Counter, size: Gauge, clock: Clock) -> None:
        self._kept = kept
        self._outcomes = outcomes
        self._size = size
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labelled")
        self._waiting = 0
        self._has_failed = False
        self._pruned_s = clock.monotonic_s()

    def keep(self, one: Kept, verdict: str = UNJUDGED, part: str = "") -> None:
        """Write a file, or write it again; it is dropped if too much is waiting."""
        self._submit("written", lambda now_us: self._kept.add(one, verdict, part, now_us))

    async def label(self, key: str, said: Judgement) -> bool:
        """Label the file of an occurrence (`occurrence_key`); False if none is kept."""
        done = self._submit("labelled", lambda _: self._kept.label(key, said.verdict, said.part))
        return False if done is None else await done

    def prune(self) -> None:
        """Remove what is too old, once an hour; called once a second."""
        now_s = self._clock.monotonic_s()
        if now_s - self._pruned_s >= _PRUNE_EVERY_S:
            self._pruned_s = now_s
            self._submit("pruned", lambda now_us: self._kept.prune(now_us) >= 0)

    async def close(self) -> None:
        """Write what waits; the service stops."""
        await asyncio.to_thread(self._thread.shutdown)

    def count(self, outcome: str) -> None:
        """Count an outcome that no file came of."""
        self._outcomes.labels(outcome).inc()

    def _submit(self, outcome: str, work: Callable[[int], bool]) -> asyncio.Future[bool] | None:
        """Let the thread do some work; None if too much is waiting."""
        if self._waiting >= _MAX_WAITING:
            self.count("dropped")
            return None
        self._waiting += 1
        now_us = self._clock.now_us()
        done = asyncio.wrap_future(self._thread.submit(self._guarded, outcome, work, now_us))
        done.add_done_callback(self._finished)
        return done

    def _finished(self, _: asyncio.Future[bool]) -> None:
        self._waiting -= 1

    def _guarded(self, outcome: str, work: Callable[[int], bool], now_us: int) -> bool:
        """Count what came of it; a failure is logged once until it works again."""
        try:
            done = work(now_us)
        except OSError as error:
            self.count("failed")
            if not self._has_failed:
                reason = {"folder": str(self._kept.folder), "reason": str(error)}
                log.warning("labelled set not written", extra=reason)
            self._has_failed = True
            return False
        self._has_failed = False
        if outcome != "pruned":
            self.count(outcome if done else "dropped")
        self._size.set(self._kept.bytes)
        return done
