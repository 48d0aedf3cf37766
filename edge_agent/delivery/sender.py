"""From the outbox to a sink: a message leaves the store only when its receiver has confirmed it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.delivery.refusals import RefusalLog
from edge_agent.errors import StoreError
from edge_agent.sinks import DeliveryError
from edge_agent.store import Store
from edge_agent.transport import backoff_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks import Sink
    from edge_agent.store import Line

    # Calls a method of Store, given unbound, on the store's own thread: run(Store.confirm, rows).
    RunInStore = Callable[..., Awaitable[Any]]
    Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger("edge_agent.delivery")

DEFECT_HOLD_S: Final = 60.0
MAX_HELD: Final = 1000  # lines; with so many refused, the sink is as good as down


class Sender:
    """One sink's task: at most `sink.window` messages in flight, one of a line at a time.

    A line is a (kind, key): two states of one alarm never overtake each other. A receiver in
    trouble is retried for ever, from 1 s to 60 s apart, and at once when the sink says it is ready.
    A receiver that asks for time (Retry-After) gets it. A message that alone is refused holds back
    its line only; one that is given up is counted, logged, shown, noted in the audit and deleted.
    """

    def __init__(
        self,
        sink: Sink,
        run_in_store: RunInStore,
        metrics: Metrics,
        *,
        on_confirmed: Callable[[Message], None] | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._sink = sink
        self._run_in_store = run_in_store
        self._metrics = metrics
        self._on_confirmed = on_confirmed
        self._sleep = sleep
        self._main: asyncio.Task[None] | None = None
        self._flying: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()
        self._rest: asyncio.Task[None] | None = None
        self._asked_s = 0.0  # the rest that the receiver asked for; 0: it is our own
        self._busy: set[Line] = set()  # in flight, held, or delivered and not yet deleted
        self._held = 0
        self._delivered: list[Message] = []
        self._refused: list[tuple[Message, DeliveryError]] = []
        self._failures = 0
        self._store_fails = False
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self.refusals = RefusalLog(sink)
        sink.on_ready = self._resume

    async def start(self) -> None:
        """Begin to deliver what waits."""
        if self._main is None:
            self._main = asyncio.create_task(self._work(), name=f"delivery {self._sink.name}")
            self._wake.set()

    async def stop(self) -> None:
        """Stop; what is in flight stays in the outbox and will be delivered again."""
        main, self._main = self._main, None
        if main is None:
            return
        tasks = [main, *self._flying, *self._timers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._settle()

    def wake(self) -> None:
        """Say that there are new messages."""
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
                await self._settle()
                await self._fill()
            except StoreError as error:
                self._note_store(error)
            except Exception:
                log.exception("delivery failed", extra={"sink": self._sink.name})
                self._pause()
            else:
                self._note_store(None)
            if not self._flying:
                self._quiet.set()

    async def _settle(self) -> None:
        """Delete what is done with; its lines are free only after that."""
        while self._refused:
            await self._give_up(*self._refused[0])
            self._delivered.append(self._refused.pop(0)[0])
        if self._delivered:
            done = self._delivered[:]
            await self._run_in_store(Store.confirm, [message.row for message in done])
            del self._delivered[: len(done)]
            self._busy.difference_update(_line(message) for message in done)

    async def _give_up(self, message: Message, error: DeliveryError) -> None:
        subject = f"{message.sink} {message.kind} {message.key}:{message.seq}"
        self._metrics.sink_given_up.labels(self._sink.name).inc()
        self.refusals.note_given_up(_line(message), message, error)
        log.warning("message given up", extra={"subject": subject, "reason": str(error)})
        await self._run_in_store(Store.audit, "edge-agent", "give up", subject, str(error))

    async def _fill(self) -> None:
        while self._rest is None and self._held < MAX_HELD:
            free = self._sink.window - len(self._flying)
            if free <= 0:
                return
            busy = frozenset(self._busy)
            found = await self._run_in_store(Store.pending, self._sink.name, free, busy)
            for message in found:
                if _line(message) not in self._busy:
                    self._launch(message)
            if not found:
                if not busy:
                    self.refusals.clear()  # what was refused may have been dropped, store full
                return

    def _launch(self, message: Message) -> None:
        self._busy.add(_line(message))
        self._spawn(self._flying, self._deliver(message))

    async def _deliver(self, message: Message) -> None:
        try:
            await self._sink.deliver(message)
        except DeliveryError as error:
            self._note_refusal(message, error)
        except Exception as error:
            # A defect on one message must neither end the task nor be retried in a circle.
            log.exception("delivery failed", extra={"sink": self._sink.name})
            defect = DeliveryError(str(error), reason="error", retry=True, hold_s=DEFECT_HOLD_S)
            self._note_refusal(message, defect)
        else:
            self._failures = 0
            self.refusals.note_confirmed(_line(message))
            self._delivered.append(message)
            if self._on_confirmed is not None:
                self._on_confirmed(message)

    def _note_refusal(self, message: Message, error: DeliveryError) -> None:
        if error.reason:
            self._metrics.sink_failures.labels(self._sink.name, error.reason).inc()
        if not error.retry:
            self._refused.append((message, error))
        elif error.hold_s is not None:
            self._hold_back(message, error)
        else:
            self._busy.discard(_line(message))
            self._pause(error.wait_s)

    def _hold_back(self, message: Message, error: DeliveryError) -> None:
        """Let the message's line rest, or give the message up; a refusal has a reason."""
        line, hold_s = _line(message), error.hold_s
        if error.reason:
            hold_s = self.refusals.note_refused(line, message, error)
        if hold_s is None:
            self._refused.append((message, error))
        else:
            self._held += 1
            self._spawn(self._timers, self._hold(line, hold_s))

    async def _hold(self, line: Line, hold_s: float) -> None:
        await self._sleep(hold_s)
        self._held -= 1
        self._busy.discard(line)

    def _pause(self, asked_s: float = 0.0) -> None:
        """Let the receiver rest; of a window that fails as one, the first failure counts.

        asked_s: the receiver wants at least so many seconds of it.
        """
        if self._rest is None:
            self._failures += 1
        elif asked_s > self._asked_s:
            self._rest.cancel()
        else:
            return
        self._asked_s = asked_s
        delay_s = max(asked_s, backoff_s(self._failures))
        self._rest = self._spawn(self._timers, self._wait(delay_s))

    async def _wait(self, delay_s: float) -> None:
        await self._sleep(delay_s)
        self._rest, self._asked_s = None, 0.0

    def _resume(self) -> None:
        if self._rest is not None and not self._asked_s:
            self._rest.cancel()
            self._rest = None
        self._wake.set()

    def _note_store(self, error: StoreError | None) -> None:
        if error is not None:
            self._metrics.store_errors.inc()
            self._pause()
            if not self._store_fails:
                log.error("outbox unreadable", extra={"reason": str(error)})
        self._store_fails = error is not None

    def _spawn(
        self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Run `work` beside the main task, which looks again when it is over."""
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        task.add_done_callback(lambda _: self._wake.set())
        return task


def _line(message: Message) -> Line:
    return (message.kind, message.key)
