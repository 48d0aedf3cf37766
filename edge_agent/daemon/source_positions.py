"""Keeps in the store up to which time each source has delivered, over restarts of the service.

An OPC UA server with history is asked for what it has stored since. Brokers need no such question:
they keep the messages of our session.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

import orjson

from edge_agent.daemon.saved_values import SavedState
from edge_agent.errors import StoreError
from edge_agent.sources import ConnectedSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.messages import Source

log = logging.getLogger("edge_agent.daemon")

_KEY = "received_until."  # of the store, with the name of a source


class SourcePositions(SavedState):
    """Saves the positions of the sources, and restores them before the sources start."""

    save_every_s: ClassVar[float] = 60.0  # after a kill, so much is read again

    async def restore(self) -> None:
        """Let the sources continue where those of the last run of the service ended."""
        for name, source in _of(self._runtime().sources).items():
            try:
                found = orjson.loads(await self._values.load(_KEY + name) or b"{}")
                source.resume_after({str(key): int(us) for key, us in found.items()})
            except (StoreError, ValueError, TypeError, AttributeError) as error:
                extra = {"source": name, "reason": str(error)}
                log.warning("history is not read after this start", extra=extra)

    async def save(self, *, at_once: bool = False) -> None:
        """Save the positions if it is time, or at once."""
        if not self._is_due(at_once=at_once):
            return
        for name, source in _of(self._runtime().sources).items():
            until = source.received_until()
            if until:
                await self._values.save(_KEY + name, orjson.dumps(until))


def hand_over(old: Mapping[str, Source], new: Mapping[str, Source]) -> None:
    """Let new sources continue where those of the same name ended."""
    before = _of(old)
    for name, source in _of(new).items():
        if name in before:
            source.resume_after(before[name].received_until())


def _of(sources: Mapping[str, Source]) -> dict[str, ConnectedSource[object]]:
    return {name: one for name, one in sources.items() if isinstance(one, ConnectedSource)}
