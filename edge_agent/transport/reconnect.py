"""Keeps a connection: one run loop, one backoff and one link state for all sources and sinks.

A source or sink supplies `session()`: connected until it ends, then an error with where and why.
Everything else is here: the next attempt, and the state in link, metric and log until then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.messages import Link, LinkState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.clock import Clock

    View = Callable[[LinkState, str], tuple[LinkState, str]]

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
HELD_S: Final = 30.0  # a connection of this length was a good one: the waits start again
STOP_TIMEOUT_S: Final = 5.0
MANY: Final = 16  # failures in a row; then the waits do not grow further
CONNECTED: Final = frozenset({LinkState.UP, LinkState.DEGRADED})
_WORRYING: Final = frozenset({LinkState.DOWN, LinkState.DEGRADED})


class RefusedError(ConnectError):
    """It will be refused again until a setting is changed, here or at the server.

    code: the other side's status code, 0 if it gave none.
    """

    code = 0


class LostError(ConnectError):
    """A working connection was lost."""


class Gauge(Protocol):
    """A metric that is set."""

    def set(self, value: float) -> None:
        """Set this value."""


class Counter(Protocol):
    """A metric that is counted up."""

    def inc(self) -> None:
        """Increment by one."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds between two attempts: from first_s, doubled to longest_s; both are cut at random.

    refused_s: after a refusal that only a changed setting ends. failures_after_up: maximum number
    of failures that are counted from before a connection that was up, also if it was short.
    """

    first_s: float = FIRST_WAIT_S
    longest_s: float = LONGEST_WAIT_S
    refused_s: float | None = None
    failures_after_up: int = MANY


def backoff_s(
    failures: int, waits: Waits = Waits(), rng: Callable[[], float] = random.random
) -> float:
    """Return the wait after this number of failures in a row.

    The jitter (down to half) keeps many gateways from returning to a broker in the same instant.
    """
    doublings = min(max(failures, 1), MANY) - 1
    return jittered_s(min(waits.longest_s, waits.first_s * 2.0**doublings), rng)


def jittered_s(wait_s: float, rng: Callable[[], float] = random.random) -> float:
    """Return a wait cut by up to a half at random."""
    return wait_s * (0.5 + 0.5 * rng())


class LinkReporter:
    """Keeps a link, its metric and its log the same: one log line per change of state.

    room: `source` or `sink`; connected: states in which the metric is 1; view: further influences
    on state and detail, such as a wrong clock; call `refresh` when they change.
    """

    def __init__(
        self,
        room: str,
        name: str,
        gauge: Gauge,
        clock: Clock,
        *,
        connected: frozenset[LinkState] = CONNECTED,
    ) -> None:
        self.link = Link()
        self.room, self.name = room, name
        self.view: View = lambda state, detail: (state, detail)
        self.state = LinkState.STOPPED
        self._detail = ""
        self._gauge = gauge
        self._clock = clock
        self._connected = connected
        self.log = logging.getLogger(f"edge_agent.{room}s")
        gauge.set(0)

    def set(self, state: LinkState, detail: str = "", *, report: bool = False) -> None:
        """Set state and reason; the same state again only updates the detail, unless `report`."""
        self.state, self._detail = state, detail
        self.refresh(report=report)

    def refresh(self, *, report: bool = False) -> None:
        """Show the state again."""
        link = self.link
        state, link.detail = self.view(self.state, self._detail)
        if state is link.state and not report:
            return
        if state is not link.state:
            link.state, link.since_us = state, self._clock.now_us()
        self._gauge.set(state in self._connected)
        level = logging.WARNING if state in _WORRYING else logging.INFO
        extra = {self.room: self.name, "state": state.value, "reason": link.detail}
        self.log.log(level, "%s %s", self.room, state, extra=extra)


class Reconnector:
    """Runs `session` again and again, from `start` until `stop`.

    session returns only if it is finished for ever; otherwise it raises, an EdgeAgentError for
    expected failures. It calls `set_connected` as soon as it is usable.
    """

    def __init__(  # noqa: PLR0913 (what is injected, and what the metric counts)
        self,
        reporter: LinkReporter,
        session: Callable[[], Awaitable[None]],
        clock: Clock,
        *,
        waits: Waits = Waits(),
        reconnects: Counter | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._reporter = reporter
        self._session = session
        self._clock = clock
        self._waits = waits
        self._reconnects = reconnects
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._connected_s: float | None = None
        self._failures = 0
        self._refused = False

    async def start(self, detail: str = "") -> None:
        """Start to connect; returns at once, also if the server does not answer."""
        if self._task is None:
            self._reporter.set(LinkState.CONNECTING, detail)
            name = f"{self._reporter.room} {self._reporter.name}"
            self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """End the session, waiting no longer than a few seconds; safe when repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_TIMEOUT_S)
        self._connected_s = None
        self._reporter.set(LinkState.STOPPED)

    def set_connected(self, state: LinkState = LinkState.UP, detail: str = "") -> None:
        """The session is usable; call it again when state or detail change."""
        if self._connected_s is None:
            self._connected_s = self._clock.monotonic_s()
        self._reporter.set(state, detail)

    def lived_s(self) -> float:
        """How long the session has been connected."""
        since_s = self._connected_s
        return 0.0 if since_s is None else self._clock.monotonic_s() - since_s

    async def _run(self) -> None:
        while (error := await self._failure()) is not None:
            self._record_failure(error)
            await self._sleep(self._wait_s())

    async def _failure(self) -> EdgeAgentError | None:
        """Run one session; returns the error that ended it, None if it is finished for ever."""
        try:
            await self._session()
        except EdgeAgentError as error:
            return error
        except Exception as error:  # a source or sink ends when it is stopped, not before
            extra = {self._reporter.room: self._reporter.name}
            self._reporter.log.exception("%s failed", self._reporter.room, extra=extra)
            return ConnectError(f"internal error: {error!r}")
        return None

    def _record_failure(self, error: EdgeAgentError) -> None:
        self._count_failure()
        newly_refused = isinstance(error, RefusedError) and not self._refused
        self._refused = isinstance(error, RefusedError)
        self._reporter.set(LinkState.DOWN, str(error), report=newly_refused)

    def _count_failure(self) -> None:
        if self._connected_s is not None:
            if self._reconnects is not None:
                self._reconnects.inc()
            before = 0 if self.lived_s() > HELD_S else self._waits.failures_after_up
            self._failures = min(self._failures, before)
        self._connected_s = None
        self._failures = min(self._failures + 1, MANY)

    def _wait_s(self) -> float:
        if self._refused and self._waits.refused_s is not None:
            return jittered_s(self._waits.refused_s)
        return backoff_s(self._failures, self._waits)
