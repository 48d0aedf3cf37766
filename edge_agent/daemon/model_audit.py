"""The audit of models: which version is active since when, and who activated it."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from edge_agent.errors import StoreError
from edge_agent.models import LEARNED
from edge_agent.serving import AUTOMATIC, COMMAND, DAEMON

if TYPE_CHECKING:
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.serving import ModelChange

log = logging.getLogger("edge_agent.models")

_KEY: Final = "active_models"  # of the store
_MOST: Final = 1000  # changes that wait for the store; further ones replace the oldest


class ModelAudit:
    """Keeps changes of models until `save` writes them, so that serving never waits for the store.

    A start or a reload activates every model. It is recorded only if the version differs from the
    last recorded one, which is kept over restarts.
    """

    def __init__(self, values: SavedValues) -> None:
        self._values = values
        self._waiting: deque[ModelChange] = deque(maxlen=_MOST)
        self._active: dict[str, str] | None = None  # by bundle, the version recorded last

    def accept_change(self, change: ModelChange) -> None:
        """Keep a change; from any thread."""
        self._waiting.append(change)

    async def save(self) -> None:
        """Write the changes since the last call; call it about once a second."""
        if not self._waiting:
            return
        active = self._active = await self._restored() if self._active is None else self._active
        before = dict(active)
        while self._waiting:
            change = _with_actor(self._waiting.popleft(), active)
            if active.get(change.model) == change.version and change.actor == DAEMON:
                continue
            active[change.model] = change.version
            await self._values.audit(change.actor, change.action, [change.model], _text(change))
        if active != before:
            await self._values.save(_KEY, orjson.dumps(active))

    async def _restored(self) -> dict[str, str]:
        try:
            found = orjson.loads(await self._values.load(_KEY) or b"{}")
            return {str(model): str(version) for model, version in found.items()}
        except (StoreError, orjson.JSONDecodeError, AttributeError) as error:
            log.warning("last active models not restored", extra={"reason": str(error)})
            return {}


def _with_actor(change: ModelChange, active: dict[str, str]) -> ModelChange:
    """A bundle that was learned on the gateway is activated automatically."""
    if change.actor == COMMAND and change.model.startswith(f"{LEARNED}-"):
        return replace(change, actor=AUTOMATIC)
    if change.actor == DAEMON:
        return replace(change, before=active.get(change.model, ""))
    return change


def _text(change: ModelChange) -> str:
    text = f"version {change.version}"
    text += f", before {change.before}" if change.before else ""
    return f"{text}: {change.reason}" if change.reason else text
