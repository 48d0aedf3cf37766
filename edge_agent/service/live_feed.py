"""What has changed, for all pages that are open: one reader of the daemon's state, many listeners.

The feed keeps the newest row of each alarm and asset with the version of its last change. A
listener has a cursor, and is sent what changed after it. So a slow one misses intermediate states
only, and the memory does not depend on the number of listeners.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.clock import US_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from edge_agent.clock import Clock
    from edge_agent.service.status_provider import StatusProvider

log = logging.getLogger("edge_agent.service")

TICK_S: Final = 0.2
REST_FACTOR: Final = 40.0  # assets rest this many times as long as reading them took
MAX_REST_S: Final = 2.0
SUMMARY_S: Final = 2.0
# Rows that are made without a pause for the pipeline.
_ALARMS_AT_ONCE: Final = 50
_ASSETS_AT_ONCE: Final = 500
_TURNS: Final = 50  # ticks in which all assets are read again: what depends on time alone
_MAX_GONE: Final = 10_000

Changes = dict[str, Any]


class Rows:
    """Rows by id with the versions of their last changes, the last changed at the end."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, dict[str, Any]]] = {}
        self._gone: dict[str, int] = {}
        self._forgotten = 0  # the newest version of which not all that went is known

    def get(self, row_id: str) -> dict[str, Any] | None:
        """The present row."""
        found = self._rows.get(row_id)
        return None if found is None else found[1]

    def put(self, row_id: str, row: dict[str, Any], version: int) -> bool:
        """Set a row; returns False if it was the same."""
        if self.get(row_id) == row:
            return False
        self._rows.pop(row_id, None)
        self._gone.pop(row_id, None)
        self._rows[row_id] = version, row
        return True

    def drop(self, row_id: str, version: int) -> bool:
        """Remove a row; returns False if there was none."""
        if self._rows.pop(row_id, None) is None:
            return False
        self._gone[row_id] = version
        if len(self._gone) > _MAX_GONE:
            self._forgotten = self._gone.pop(next(iter(self._gone)))
        return True

    def since(self, version: int) -> Changes:
        """What changed after a version: `{"rows", "gone"}`, with `"all": true` if it is all."""
        if version < self._forgotten or version <= 0:
            return {"all": True, "rows": [row for _, row in self._rows.values()], "gone": []}
        rows = [row for _, row in _after(version, self._rows.values())]
        gone = [key for key, at in self._gone.items() if at > version]
        return {"rows": rows, "gone": gone} if rows or gone else {}


def _after(
    version: int, rows: Iterable[tuple[int, dict[str, Any]]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for one in reversed(list(rows)):
        if one[0] <= version:
            return
        yield one


class LiveFeed:
    """Follows a daemon while somebody listens.

    It runs on the loop of the daemon's objects. Alarms, and the assets that they are of, are read
    in each tick; all assets only for a small share of the time (`REST_FACTOR`). It gives way to the
    pipeline between parts of its work. cpu_s: processor time of this thread, in seconds.
    """

    def __init__(
        self, status: StatusProvider, clock: Clock, cpu_s: Callable[[], float] = thread_time
    ) -> None:
        self.version = 0
        self._cpu_s = cpu_s
        self.listeners = 0
        self._status = status
        self._clock = clock
        self._start = secrets.token_hex(4)
        self._alarms, self._assets, self._summary = Rows(), Rows(), Rows()
        self._alarm_marks: dict[str, object] = {}
        self._asset_marks: dict[str, object] = {}
        self._turn = 0
        self._summary_due_s = 0.0
        self._assets_due_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._said: tuple[int, int, bytes] = (-1, -1, b"")

    def cursor_of(self, event_id: str) -> int:
        """The cursor behind the last event that a listener had; 0: it needs all."""
        start, _, version = event_id.partition("-")
        known = start == self._start and version.isascii() and version.isdigit()
        return min(int(version[:18]), self.version) if known else 0

    def listen(self) -> None:
        """One more listener; call `leave` when it is gone."""
        self.listeners += 1
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="live feed")

    def leave(self) -> None:
        """One listener less."""
        self.listeners -= 1

    async def changes_after(self, cursor: int, timeout_s: float) -> tuple[int, bytes]:
        """The changes after a cursor as an event, and its cursor; no event after `timeout_s`.

        Raises ConnectionError when the feed has ended.
        """
        if self.version <= cursor or not self.version:
            changed = self._changed
            try:
                async with asyncio.timeout(timeout_s):
                    await changed.wait()
            except TimeoutError:
                return cursor, b""
        if self._task is None:
            raise ConnectionError("the feed has ended")
        return self.version, self._event_after(cursor)

    def beat(self) -> bytes:
        """An event that says that nothing changed, and the time (ms since the epoch)."""
        return _event("beat", "", {"at_ms": self._clock.now_us() // US_PER_MS})

    def _event_after(self, cursor: int) -> bytes:
        """Encoded once for all listeners at the same place."""
        if self._said[:2] != (cursor, self.version):
            parts = {"alarms": self._alarms, "assets": self._assets, "summary": self._summary}
            found = {name: rows.since(cursor) for name, rows in parts.items()}
            body: Changes = {name: changes for name, changes in found.items() if changes}
            body["at_ms"] = self._clock.now_us() // US_PER_MS
            event = _event("change", f"{self._start}-{self.version}", body)
            self._said = cursor, self.version, event
        return self._said[2]

    async def _follow(self) -> None:
        try:
            while self.listeners > 0:
                await self.refresh()
                await asyncio.sleep(TICK_S)
        except Exception:
            log.exception("live feed failed", extra={"hint": "pages ask every 2 s instead"})
        finally:
            self._task = None
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def refresh(self) -> None:
        """Read what has changed; wake the listeners if there is something."""
        version = self.version + 1
        touched, changed = await self._read_alarms(version)
        changed |= await self._read_assets(version, touched)
        changed |= self._read_summary(version)
        if changed or not self.version:
            self.version = version
            self._wake()

    async def _read_alarms(self, version: int) -> tuple[set[str], bool]:
        """Returns the assets of the alarms that changed."""
        before, self._alarm_marks = self._alarm_marks, self._status.alarm_marks()
        changed = [key for key, mark in self._alarm_marks.items() if before.get(key) != mark]
        gone = [key for key in before if key not in self._alarm_marks]
        went = (self._alarms.get(key) for key in gone)
        touched = {row["asset"] for row in went if row is not None}
        is_new = False
        for key in gone:
            is_new |= self._alarms.drop(key, version)
        for part in _chunks(changed, _ALARMS_AT_ONCE):
            for alarm in self._status.alarms(None, part):
                touched.add(alarm["asset"])
                is_new |= self._alarms.put(alarm["alarm_id"], alarm, version)
            await asyncio.sleep(0)
        return touched, is_new

    async def _read_assets(self, version: int, touched: set[str]) -> bool:
        if self.version and self._clock.monotonic_s() < self._assets_due_s:
            return await self._put_assets([*touched], version)
        begun_s = self._cpu_s()
        before, self._asset_marks = self._asset_marks, self._status.asset_marks()
        marks = self._asset_marks
        changed = {key for key, mark in marks.items() if before.get(key) != mark}
        changed |= touched & marks.keys()
        changed |= set(self._next_in_turn(list(marks)))
        is_new = False
        for key in [key for key in before if key not in marks]:
            is_new |= self._assets.drop(key, version)
        is_new |= await self._put_assets([*changed], version)
        rest_s = REST_FACTOR * (self._cpu_s() - begun_s)
        self._assets_due_s = self._clock.monotonic_s() + min(rest_s, MAX_REST_S)
        return is_new

    async def _put_assets(self, ids: Sequence[str], version: int) -> bool:
        is_new = False
        for part in _chunks(ids, _ASSETS_AT_ONCE):
            for row in self._status.asset_states(part):
                is_new |= self._assets.put(row["id"], row, version)
            await asyncio.sleep(0)
        return is_new

    def _next_in_turn(self, ids: Sequence[str]) -> Sequence[str]:
        """A part of all assets; all are read within `_TURNS`."""
        self._turn = (self._turn + 1) % _TURNS
        return ids[self._turn :: _TURNS]

    def _read_summary(self, version: int) -> bool:
        now_s = self._clock.monotonic_s()
        if self.version and now_s < self._summary_due_s:
            return False
        found = self._status.summary()
        took_s = self._clock.monotonic_s() - now_s
        self._summary_due_s = now_s + max(SUMMARY_S, REST_FACTOR * took_s)
        found.pop("uptime_s", None)  # it always changes, and a page knows the time itself
        return self._summary.put("summary", found, version)


def _chunks(ids: Sequence[str], size: int) -> Iterator[Collection[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _event(kind: str, event_id: str, body: object) -> bytes:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {kind}\ndata: ".encode() + orjson.dumps(body) + b"\n\n"
