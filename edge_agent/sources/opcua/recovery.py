"""Delivers what the server has stored during an outage, before the values of the new session.

The notifications of the new session are held meanwhile: each node's first one shows whether it has
changed, and up to which time its history is missing. All waits are bounded; what did not come until
then is missing, and the live values go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.explain import status_name
from edge_agent.sources.opcua.feed import row_of
from edge_agent.sources.opcua.history import LIMITS, HistoryReader, Span, readable
from edge_agent.sources.opcua.read import to_us
from edge_agent.sources.opcua.stored import NO_STAMP, Outage, arrange, is_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncua import ua
    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.sources.opcua.connector import Connection
    from edge_agent.sources.opcua.feed import Feed
    from edge_agent.sources.opcua.history import History, Limits
    from edge_agent.sources.opcua.notification import Notification, Rows
    from edge_agent.sources.opcua.subscribe import Subscriptions
    from edge_agent.values import TensorBlock

MAX_HELD: Final = 200_000  # live values
_FIRST_VALUES_S: Final = 2.0  # beyond one publishing interval
_LONGEST_INTERVAL_S: Final = 60.0
_CHUNK: Final = 10_000
_LONGEST_US: Final = 24 * 3600 * US_PER_S  # before the present value: the service may have stood
_PAUSE_S: Final = 0.05
_RESERVE_S: Final = 0.5
_MAX_UNANSWERED: Final = 2  # a lost connection may have other causes
_BAD_TIMEOUT: Final = 0x800A_0000

log = logging.getLogger("edge_agent.sources")


class Recovery:
    """Holds the notifications of a new session until what was missed is delivered.

    Steps, in this order: `read`, `deliver`, `release`. refused: nodes to mark after them.
    """

    def __init__(self, feed: Feed, clock: Clock, source: str, limits: Limits = LIMITS) -> None:
        self.refused: list[int] = []
        self._limits = limits
        self._feed = feed
        self._clock = clock
        self._source = source
        self._held: list[Notification] = []
        self._n_held = 0
        self._first_us = np.full(len(feed), NO_STAMP)
        self._came = asyncio.Event()
        self._history: History | None = None
        self._is_known = np.zeros(len(feed), np.bool_)
        self._may_come_again = np.ones(len(feed), np.bool_)
        self._restarted_us = 0

    def hold(self, notification: Notification) -> None:
        """Keep a notification for later."""
        self._held.append(notification)
        for rows in _rows_of(notification):
            self._n_held += len(rows)
            self._note_first(rows)
        self._came.set()

    def _note_first(self, rows: Rows) -> None:
        """Note the stamp of each node's first value."""
        known = rows.handle < len(self._first_us)
        handle, stamp_us = rows.handle[known].astype(np.intp)[::-1], rows.stamp_us[known][::-1]
        is_new = self._first_us[handle] == NO_STAMP
        self._first_us[handle[is_new]] = stamp_us[is_new]

    # -- reading ------------------------------------------------------------------------------

    async def read(self, connection: Connection, subscriptions: Subscriptions) -> None:
        """Read what is missing; no failure of that is one of the connection."""
        feed = self._feed
        had = np.flatnonzero(feed.stamp_us[: len(self._first_us)] > 0)
        asked = [h for h in had.tolist() if h in subscriptions.items]
        await self._wait_for_first(asked, subscriptions.interval_s)
        self._is_known = self._first_us == feed.stamp_us[: len(self._first_us)]
        if connection.started is not None and connection.started != feed.history.started:
            self._restarted_us = to_us(connection.started)
        changed = [
            handle
            for handle in asked
            if feed.stamp_us[handle] < self._first_us[handle] < NO_STAMP
            and handle not in feed.history.refused
        ]
        if changed:
            await self._read_history(connection, subscriptions, changed)
        feed.history.has_kept = bool(self._is_known[had].all()) and not self._restarted_us

    async def _wait_for_first(self, handles: list[int], interval_s: float) -> None:
        """Wait until each of the nodes has sent its present value, or time is up."""
        limit_s = min(interval_s, _LONGEST_INTERVAL_S) + _FIRST_VALUES_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while (self._first_us[handles] == NO_STAMP).any() and not self._is_crowded():
                    self._came.clear()
                    await self._came.wait()

    async def _read_history(
        self, connection: Connection, subscriptions: Subscriptions, changed: list[int]
    ) -> None:
        reader = HistoryReader(connection, self._clock, self._limits, self._is_crowded)
        self._history, before_s = reader.found, self._clock.monotonic_s()
        nodes = [subscriptions.items[handle].item.node for handle in changed]
        try:
            # A server that is asked for what it does not know may answer anything, or nothing.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._limits.deadline_s + _RESERVE_S):
                    await reader.read(await self._spans(connection, changed, nodes))
        finally:
            self._conclude(reader, self._clock.monotonic_s() - before_s)
        # A lost connection is one: the library may hide that this task was cancelled.
        wire.check_open(connection.client)
        with contextlib.suppress(Exception):
            await reader.release()

    def _is_crowded(self) -> bool:
        return self._n_held >= MAX_HELD

    async def _spans(
        self, connection: Connection, handles: list[int], nodes: list[ua.NodeId]
    ) -> list[Span]:
        self._may_come_again[:] = False
        first_us = self._first_us
        after_us = np.maximum(self._feed.stamp_us[: len(first_us)], first_us - _LONGEST_US)
        may = await readable(connection, nodes)
        spans = [
            Span(handle, node, int(after_us[handle]), int(first_us[handle]))
            for handle, node, ok in zip(handles, nodes, may, strict=True)
            if ok
        ]
        self._may_come_again[[span.handle for span in spans]] = True
        return spans

    def _conclude(self, reader: HistoryReader, seconds: float) -> None:
        """Note which nodes have no history, and report each result with one line."""
        found, known = reader.found, self._feed.history
        if reader.is_answered:
            known.is_answered = True
        elif reader.unanswered and not known.is_answered:
            known.unanswered += 1
            if reader.has_timed_out or known.unanswered >= _MAX_UNANSWERED:
                found.refused |= dict.fromkeys(reader.unanswered, _BAD_TIMEOUT)
        self._is_known[list(found.complete)] = True
        self._log(found, seconds)

    def _log(self, found: History, seconds: float) -> None:
        extra = {"source": self._source, "values": found.n, "seconds": round(seconds, 3)}
        self._feed.history.refused |= set(found.refused)
        for code, n in sorted(Counter(found.refused.values()).items()):
            about = {"source": self._source, "status": status_name(code), "count": n}
            log.warning("no history: the nodes are not asked again", extra=about)
        if found.unread:
            self._feed.reject("history_incomplete", found.unread)
            log.warning("history incomplete", extra={**extra, "unread_nodes": found.unread})
        elif found.complete:
            log.info("history read", extra={**extra, "nodes": len(found.complete)})

    # -- delivering ---------------------------------------------------------------------------

    async def deliver(self) -> None:
        """Hand what was read to the intake, in the order of time, at the pace of the pipeline."""
        if self._history is None or not self._history.parts:
            return
        feed, n = self._feed, len(self._first_us)
        outage = Outage(
            after_us=feed.stamp_us[:n].copy(),
            first_us=self._first_us,
            marked_us=feed.marked_us[:n].copy(),
            latest=feed.latest[:n].copy(),
            status=feed.status[:n].copy(),
            is_known=self._is_known & ~feed.is_wave[:n],
            restarted_us=self._restarted_us,
        )
        stored = arrange(feed.stored_values(self._history.parts), outage)
        blocks = deque(_missing_blocks(feed.stored_blocks(self._history.parts), outage))
        pauses = round(self._limits.deadline_s / _PAUSE_S)
        for chunk in stored.chunks(_CHUNK):
            while blocks and blocks[0].end_us <= chunk.time_us[-1]:
                feed.append_block(blocks.popleft())
            feed.append_stored(chunk)
            for _ in range(pauses if feed.is_full() else 0):
                await asyncio.sleep(_PAUSE_S)
                pauses -= 1
                if not feed.is_full():
                    break
        for block in blocks:
            feed.append_block(block)

    def release(self) -> None:
        """Pass on what was held."""
        held, self._held = self._held, []
        for notification in held:
            self._feed.accept_notification(notification)

    def abandon(self) -> None:
        """The session has ended before: pass on what the next one cannot read again."""
        stamp_us = self._feed.stamp_us[: len(self._first_us)]
        again = self._may_come_again & (stamp_us > 0) & (stamp_us < self._first_us)
        again[list(self._feed.history.refused)] = False
        for notification in self._held:
            _leave_out(notification, np.flatnonzero(again))
        self.release()


def _rows_of(notification: Notification) -> Iterator[Rows]:
    yield from notification.rows
    yield from (text.rows for text in notification.texts)
    yield from (row_of(block) for block in notification.arrays)


def _leave_out(notification: Notification, handles: NDArray[np.intp]) -> None:
    kept = [rows.where(~np.isin(rows.handle, handles)) for rows in notification.rows]
    notification.rows = kept
    notification.texts = [t for t in notification.texts if t.rows.handle[0] not in handles]
    notification.arrays = [one for one in notification.arrays if one.handle not in handles]


def _missing_blocks(
    blocks: Sequence[tuple[int, int, TensorBlock]], outage: Outage
) -> list[TensorBlock]:
    """The blocks that are missing, in the order of time."""
    if not blocks:
        return []
    handle = np.array([one for one, _, _ in blocks], np.intp)
    stamp_us = np.array([one for _, one, _ in blocks], np.int64)
    end_us = np.array([one.end_us for _, _, one in blocks], np.int64)
    missing = np.flatnonzero(is_missing(handle, stamp_us, end_us, outage))
    return [blocks[at][2] for at in missing[np.argsort(end_us[missing], kind="stable")]]
