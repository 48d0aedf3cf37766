"""From the outbox to a sink: a message leaves the store only when its receiver has confirmed it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from edge_agent.clock import SystemClock
from edge_agent.delivery import republish
from edge_agent.delivery.health import RefusalLog
from edge_agent.errors import StoreError
from edge_agent.messages import LinkState
from edge_agent.sinks import EVENT, DeliveryError
from edge_agent.store import Store
from edge_agent.transport import backoff_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks import Sink
    from edge_agent.store import Line, StoreWorker

    Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger("edge_agent.delivery")

DEFECT_HOLD_S: Final = 60.0
_UP: Final = (LinkState.UP, LinkState.DEGRADED)
_now_us: Final = SystemClock().now_us
MAX_HELD: Final = 1000  # lines; if this many are refused, the sink counts as down


class Sender:
    """One sink's task: at most `sink.window` messages in flight, one of a line at a time.

    A line is a (kind, key): two states of one alarm never overtake each other. A failing receiver
    is retried for ever, every 1 s to 60 s, and at once when the sink reports that it is ready. A
    requested pause (Retry-After) is respected. If only one message is refused, only its line
    waits; a message that is given up is counted, logged, shown, recorded in the audit and deleted.
    may_send: while it is false nothing is sent; call `wake` when it is true again. now_us: the time
    of the last error.
    """

    def __init__(  # noqa: PLR0913 (what is injected, by name)
        self,
        sink: Sink,
        store: StoreWorker,
        metrics: Metrics,
        *,
        on_confirmed: Callable[[Message], None] | None = None,
        may_send: Callable[[], bool] = lambda: True,
        sleep: Sleep = asyncio.sleep,
        now_us: Callable[[], int] = _now_us,
    ) -> None:
        self._sink = sink
        self._store = store
        self._metrics = metrics
        self._on_confirmed = on_confirmed
        self._may_send = may_send
        self._sleep = sleep
        self._now_us = now_us
        self._main: asyncio.Task[None] | None = None
        self._flying: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()
        self._retry_pause: asyncio.Task[None] | None = None
        self._asked_s = 0.0  # the pause that the receiver requested; 0: it is our own
        self._busy: set[Line] = set()  # in flight, held, or delivered and not yet deleted
        self._held = 0
        self._delivered: list[Message] = []
        self._refused: list[tuple[Message, DeliveryError]] = []
        self._unmarked = True  # events were sent since the last mark
        self._failures = 0
        self._store_fails = False
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self.refusals = RefusalLog(sink)
        sink.on_ready = self._resume

    async def start(self) -> None:
        """Start to deliver waiting messages."""
        if self._main is None:
            self._main = asyncio.create_task(self._work(), name=f"delivery {self._sink.name}")
            self._wake.set()

    async def stop(self) -> None:
        """Stop; messages in flight stay in the outbox and are delivered again later."""
        main, self._main = self._main, None
        if main is None:
            return
        tasks = [main, *self._flying, *self._timers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._give_up_refused()
            await self._exchange(0)

    def wake(self) -> None:
        """Signal that there are new messages."""
        self._wake.set()

    async def flush(self, deadline_s: float) -> None:
        """Wait until all is delivered or the receiver fails, for at most `deadline_s`."""
        if self._main is None:
            return
        self._quiet.clear()
        self._resume()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._quiet.wait()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._refused:
                    await self._give_up_refused()
                while await self._exchange(self._room()):
                    pass
                await self._mark()
            except StoreError as error:
                self._report_store_error(error)
            except Exception:
                log.exception("delivery failed", extra={"sink": self._sink.name})
                self._pause()
            else:
                self._store_fails = False
            if not self._flying and not self._wake.is_set() and not self._holds():
                self._quiet.set()

    def _holds(self) -> bool:
        """True if the sink is up and keeps kinds back: it is about to ask for them."""
        return bool(self._sink.held) and self._sink.link.state in _UP

    async def _give_up_refused(self) -> None:
        """Record messages in the audit that are given up; they are deleted like delivered ones."""
        while self._refused:
            message, error = self._refused[0]
            subject = f"{message.sink} {message.kind} {message.key}:{message.seq}"
            self._metrics.sink_given_up.labels(self._sink.name).inc()
            self.refusals.count_given_up((message.kind, message.key), message, error)
            log.warning("message given up", extra={"subject": subject, "reason": str(error)})
            await self._store.run(Store.audit, "edge-agent", "give up", subject, str(error))
            self._delivered.append(self._refused.pop(0)[0])

    async def _mark(self) -> None:
        """Let the receiver keep how far it has received."""
        if self._unmarked and self._may_send():
            position = await self._store.run(republish.position_of, self._sink.name)
            if position is not None and self._sink.mark(position):
                self._unmarked = False

    def _room(self) -> int:
        """Number of messages that may be sent to the receiver now."""
        if self._retry_pause is not None or self._held >= MAX_HELD or not self._may_send():
            return 0
        return max(0, self._sink.window - len(self._flying))

    async def _exchange(self, room: int) -> bool:
        """Delete delivered messages and send waiting ones; True if more may wait.

        A line is free only when its message is deleted.
        """
        done = self._delivered[:]
        if not done and not room:
            return False
        lines: set[Line] = set()
        rows: list[int] = []
        for message in done:
            lines.add((message.kind, message.key))
            rows.append(message.row)
        busy = frozenset(self._busy - lines)
        held = self._sink.held
        found = await self._store.run(Store.exchange, self._sink.name, rows, room, busy, held)
        del self._delivered[: len(done)]
        self._busy -= lines
        for message in found:
            line = (message.kind, message.key)
            if line not in self._busy:
                self._busy.add(line)
                self._unmarked |= message.kind == EVENT
                self._spawn(self._flying, self._deliver(message, line))
        if room and not found and not busy and not held:
            self.refusals.clear()  # refused messages may have been dropped, store full
        return 0 < room <= len(found)

    async def _deliver(self, message: Message, line: Line) -> None:
        if not self._may_send():  # the store took its time, or the whole process was stopped
            self._busy.discard(line)
            return
        try:
            await self._sink.deliver(message)
        except DeliveryError as error:
            self._handle_refusal(message, line, error)
        except Exception as error:
            # A defect with one message must not end the task or be retried in a loop.
            log.exception("delivery failed", extra={"sink": self._sink.name})
            defect = DeliveryError(str(error), reason="error", retry=True, hold_s=DEFECT_HOLD_S)
            self._handle_refusal(message, line, defect)
        else:
            self._failures = 0
            self.refusals.remove_line(line)
            self._delivered.append(message)
            if self._on_confirmed is not None:
                self._on_confirmed(message)

    def _handle_refusal(self, message: Message, line: Line, error: DeliveryError) -> None:
        if error.reason:
            self.refusals.last_error, self.refusals.last_error_us = error.message, self._now_us()
            self._metrics.sink_failures.labels(self._sink.name, error.reason).inc()
        if not error.retry:
            self._refused.append((message, error))
        elif error.hold_s is not None:
            self._hold_back(message, line, error)
        else:
            self._busy.discard(line)
            self._pause(error.wait_s)

    def _hold_back(self, message: Message, line: Line, error: DeliveryError) -> None:
        """Pause the message's line, or give the message up; a refusal has a reason."""
        hold_s = error.hold_s
        if error.reason:
            hold_s = self.refusals.add_refusal(line, message, error)
        if hold_s is None:
            self._refused.append((message, error))
        else:
            self._held += 1
            self._spawn(self._timers, self._pause_line(line, hold_s))

    async def _pause_line(self, line: Line, hold_s: float) -> None:
        await self._sleep(hold_s)
        self._held -= 1
        self._busy.discard(line)

    def _pause(self, asked_s: float = 0.0) -> None:
        """Pause sending; if a whole window fails, only the first failure counts.

        asked_s: minimum pause that the receiver requested, in seconds.
        """
        if self._retry_pause is None:
            self._failures += 1
        elif asked_s > self._asked_s:
            self._retry_pause.cancel()
        else:
            return
        self._asked_s = asked_s
        delay_s = max(asked_s, backoff_s(self._failures))
        self._retry_pause = self._spawn(self._timers, self._wait(delay_s))

    async def _wait(self, delay_s: float) -> None:
        await self._sleep(delay_s)
        self._retry_pause, self._asked_s = None, 0.0

    def _resume(self) -> None:
        if self._retry_pause is not None and not self._asked_s:
            self._retry_pause.cancel()
            self._retry_pause = None
        self._wake.set()

    def _report_store_error(self, error: StoreError) -> None:
        self._metrics.store_errors.inc()
        self._pause()
        if not self._store_fails:
            log.error("outbox unreadable", extra={"reason": str(error)})
        self._store_fails = True

    def _spawn(
        self, group: set[asyncio.Task[None]], work: Coroutine[object, object, None]
    ) -> asyncio.Task[None]:
        """Run `work` in parallel with the main task, which continues when it is done."""
        task = asyncio.get_running_loop().create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        task.add_done_callback(lambda _: self._wake.set())
        return task
