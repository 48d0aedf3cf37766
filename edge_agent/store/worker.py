"""The store's own thread, for all calls of the store, and another one if it does not return."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path  # noqa: TC003 (part of a type that is used)
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from edge_agent.errors import StoreError
from edge_agent.store.fallback import FallbackStore, Place
from edge_agent.store.files import lock_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.messages import Alarm
    from edge_agent.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")

HANG_S: Final = 5.0  # a disk that does not answer for so long must not hold up alarms
RETURN_EVERY_S: Final = 5.0


class StoreWorker:
    """Calls a store's methods one by one on a thread of its own; see `FallbackStore`.

    A call that does not return within HANG_S is repeated in memory, with all that wait for it, and
    its thread is given up.
    """

    def __init__(self) -> None:
        self._thread = _new_thread()
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="store-opening")
        self._fallback: FallbackStore | None = None
        self._calls: dict[asyncio.Future[Any], Callable[[FallbackStore], Any]] = {}
        self._unrepeatable: set[asyncio.Future[Any]] = set()
        self._done = 0
        self._watch: asyncio.TimerHandle | None = None
        self._stuck: Future[None] | None = None
        self._next_return_s = 0.0
        self._lock: int | None = None

    async def open(self, path: Path, *, max_bytes: int, history_days: float, clock: Clock) -> None:
        """Open the file, or begin in memory; StoreError if another edge-agent uses it."""
        loop, place = asyncio.get_running_loop(), Place(path, max_bytes, history_days, clock)
        self._lock = await loop.run_in_executor(self._thread, lock_store, path)
        self._fallback = await loop.run_in_executor(self._thread, FallbackStore.open, place)

    @property
    def trouble(self) -> str:
        """Why everything is kept in memory only; empty if it is in the file."""
        return self._fallback.trouble if self._fallback else ""

    @property
    def failures(self) -> int:
        """How often the file has failed."""
        return self._fallback.failures if self._fallback else 0

    @property
    def set_aside(self) -> str:
        """The name under which a damaged file was kept, if there was one; empty if not."""
        return self._fallback.store.set_aside if self._fallback else ""

    def last_number(self, alarm_id: str) -> int:
        """The number of the last transition of an alarm, or the one before its first."""
        if self._fallback is None:
            return 0
        store = self._fallback.store
        newest = store.states.get(alarm_id)
        return store.first_number if newest is None else newest.transition.alarm.seq

    def run(
        self, method: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs
    ) -> asyncio.Future[T]:
        """Call a method of the store, given unbound; StoreError if the store is not open."""
        return self._add(lambda fallback: fallback.call(method, *args, **options))

    def _add(self, call: Callable[[FallbackStore], T]) -> asyncio.Future[T]:
        """Submit a call, and watch it until it is done."""
        if self._fallback is None:
            raise StoreError("the store is closed")
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls[result] = call
        self._submit(result)
        if self._watch is None:
            self._watch_calls(-1)
        return result

    async def check(self) -> list[Alarm] | None:
        """Check the file, or try to return to it; call it every second.

        Returns the file's unknown alarms if it can be read for the first time, else None.
        """
        fallback, loop = self._fallback, asyncio.get_running_loop()
        if fallback is None:
            return None
        if not fallback.trouble:
            with suppress(StoreError):
                await self._add_once(FallbackStore.check_file)
        waits = loop.time() < self._next_return_s and not fallback.damage
        if not fallback.trouble or waits or (self._stuck and not self._stuck.done()):
            return None
        self._next_return_s = loop.time() + RETURN_EVERY_S
        try:
            file = await loop.run_in_executor(self._opening, fallback.open_file)
            return await self._add_once(lambda present: present.return_to(file))
        except StoreError:
            return None

    async def close(self) -> None:
        """Close the file after pending calls; safe before `open` and when repeated."""
        if self.trouble:
            self._next_return_s = 0.0
            await self.check()
        fallback, self._fallback = self._fallback, None
        if self._watch is not None:
            self._watch.cancel()
        if fallback is not None:
            closing = asyncio.wrap_future(self._thread.submit(fallback.store.close))
            await asyncio.wait([closing], timeout=HANG_S)
        self._thread.shutdown(wait=False)
        self._opening.shutdown(wait=False)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _add_once(self, call: Callable[[FallbackStore], T]) -> asyncio.Future[T]:
        """Submit a call on the file itself: StoreError if it does not return.

        It is not repeated by another thread, because the first one may still be in it, and two
        threads in one connection of SQLite crash the process.
        """
        result = self._add(call)
        self._unrepeatable.add(result)
        result.add_done_callback(self._unrepeatable.discard)
        return result

    def _submit(self, result: asyncio.Future[Any]) -> None:
        loop, fallback = asyncio.get_running_loop(), self._fallback
        assert fallback is not None  # noqa: S101 (looked at by the callers)
        done = self._thread.submit(self._calls[result], fallback)

        def finish() -> None:
            if self._fallback not in (fallback, None):
                return  # it was repeated meanwhile
            self._done += 1
            self._calls.pop(result, None)
            if result.done():
                return
            error = done.exception()
            if error is None:
                result.set_result(done.result())
            else:
                result.set_exception(error)

        done.add_done_callback(lambda _: loop.call_soon_threadsafe(finish))

    def _watch_calls(self, done: int) -> None:
        """Give the thread up if no call has returned since the last look."""
        self._watch = None
        if not self._calls:
            return
        if done == self._done:
            self._abandon_thread()
        self._watch = asyncio.get_running_loop().call_later(HANG_S, self._watch_calls, self._done)

    def _abandon_thread(self) -> None:
        old = self._fallback
        new = None if old is None else old.continue_without_thread()
        if old is None or new is None:
            return
        self._stuck = self._thread.submit(old.close_file)
        self._thread.shutdown(wait=False)
        self._thread = _new_thread()
        self._fallback = new
        for result in list(self._calls):
            if result in self._unrepeatable:
                del self._calls[result]
                if not result.done():
                    result.set_exception(StoreError("the disk does not answer"))
            else:
                self._submit(result)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="store")
