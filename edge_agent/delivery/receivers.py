"""What receivers may have forgotten, and what is known of them over restarts."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.errors import StoreError
from edge_agent.sinks import ALERT, EVENT
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from edge_agent.sinks import Position, Sink
    from edge_agent.store import StoreWorker

    Enqueue = Callable[..., Coroutine[Any, Any, None]]

_KEY: Final = "receivers"  # of the store


class Receivers:
    """Follows connections of sinks: states and events that may be lost are sent again.

    enqueue: puts messages of a sink (name, kind, mark, sent) into the outbox again; spawn: runs it.
    """

    def __init__(
        self,
        enqueue: Enqueue,
        store: StoreWorker,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._enqueue = enqueue
        self._store = store
        self._spawn = spawn
        self._was_killed = False
        self._knowledge: dict[str, str] = {}  # by sink

    async def restore(self, *, was_killed: bool) -> None:
        """Restore what is known of the receivers.

        If we were killed, assume that the broker was killed as well.
        """
        self._was_killed = was_killed
        raw = await self._store.run(Store.load_value, _KEY)
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
            found = orjson.loads(raw or b"{}").items()
            self._knowledge = {str(name): str(text) for name, text in found}

    def follow(self, sink: Sink) -> None:
        """Follow the connections of a sink that is not started yet."""
        sink.in_doubt, sink.knowledge = self._was_killed, self._knowledge.get(sink.name, "")
        sink.on_connected = partial(self._connected, sink)
        sink.on_forgotten = lambda *doubt: self._spawn(self._repeat_events(sink, *doubt))

    def _connected(self, sink: Sink) -> None:
        self._spawn(self._enqueue(sink.name, ALERT))
        if sink.knowledge != self._knowledge.get(sink.name, ""):
            self._knowledge[sink.name] = sink.knowledge
            self._spawn(self._save())

    async def _repeat_events(
        self, sink: Sink, mark: Position | None, sent: Collection[tuple[str, int]]
    ) -> None:
        await self._enqueue(sink.name, EVENT, mark, sent)
        sink.accept_marks()

    async def _save(self) -> None:
        with contextlib.suppress(StoreError):  # then it is found out again
            await self._store.run(Store.save_value, _KEY, orjson.dumps(self._knowledge))
