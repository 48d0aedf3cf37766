"""Assets that announced themselves and are no more: forgotten by hand, or after a time.

A single message with a typing error in its topic makes a machine that does not exist. One that
never had a value of each of its signals, and says nothing for `discovery.forget_after`, is a ghost.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError, NotFoundError, StoreError
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.daemon.daemon import Daemon

log = logging.getLogger("edge_agent.daemon")

_KEY: Final = "heard"
_EVERY_S: Final = 60.0
_SAVE_EVERY_S: Final = 3600.0
_LEAST_UP_S: Final = 3600.0  # by the monotonic clock: a wall clock that steps makes no ghost
_AGENT: Final = "edge-agent"


class AssetRemoval:
    """Knows of each discovered asset when it was heard last, and whether it was ever whole."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._heard_us: dict[str, int] = {}
        self._whole: set[str] = set()
        self._looked_s = -_EVERY_S
        self._saved_s = daemon.clock.monotonic_s()
        self._began_s = self._saved_s

    async def recall(self) -> None:
        """Go on where the last run of the service was."""
        raw = await self._daemon.publisher.store.run(Store.load_value, _KEY)
        try:
            data = orjson.loads(raw or b'{"heard": {}, "whole": []}')
            self._heard_us = {str(asset): int(us) for asset, us in data["heard"].items()}
            self._whole = set(map(str, data["whole"]))
        except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError, ValueError):
            log.warning("when assets were heard is not known any more")

    async def look(self) -> None:
        """Note what is heard; now and then forget the ghosts."""
        now_s = self._daemon.clock.monotonic_s()
        if now_s - self._looked_s < _EVERY_S:
            return
        self._note(now_s)
        self._looked_s = now_s
        ghosts = self._ghosts(now_s)
        if ghosts:
            await self.forget(ghosts, _AGENT)
        elif now_s - self._saved_s >= _SAVE_EVERY_S:
            await self.keep()

    def _note(self, now_s: float) -> None:
        daemon = self._daemon
        watch, now_us = daemon.runtime.pipeline.watch, daemon.clock.now_us()
        unseen = watch.unseen()
        for asset in daemon.runtime.plant.discovered:
            rows = [signal.index for signal in asset.signals.values()]
            silent_s = now_s - float(watch.heard_s(rows).max(initial=-float("inf")))
            if silent_s < 2 * _EVERY_S or asset.id not in self._heard_us:
                self._heard_us[asset.id] = now_us
            if rows and not unseen[rows].any():
                self._whole.add(asset.id)

    def _ghosts(self, now_s: float) -> list[str]:
        daemon = self._daemon
        after_s = daemon.runtime.config.discovery.forget_after
        if not after_s or now_s - self._began_s < min(after_s, _LEAST_UP_S):
            return []
        before_us = daemon.clock.now_us() - after_s * US_PER_S
        known = {asset.id for asset in daemon.runtime.plant.discovered} - self._whole
        return sorted(asset for asset in known if self._heard_us.get(asset, 0) < before_us)

    async def one(self, asset_id: str, actor: str) -> dict[str, Any]:
        """Forget an asset; EdgeAgentError where the config names it, or there is none."""
        daemon = self._daemon
        if asset_id not in daemon.runtime.plant.assets:
            raise NotFoundError("no such asset", where=repr(asset_id[:200]))
        if asset_id not in {asset.id for asset in daemon.runtime.plant.discovered}:
            raise EdgeAgentError(
                "the config names this asset",
                where=asset_id,
                hint="take it out of `assets`, then reload (SIGHUP)",
            )
        await self.forget([asset_id], actor)
        return {"asset": asset_id, "forgotten": True}

    async def forget(self, assets: Iterable[str], actor: str) -> None:
        """Take assets out of the plant, with their alarms, their series and what is remembered."""
        daemon, gone = self._daemon, set(assets)
        await daemon.reloader.leave_out(gone)
        daemon.runtime.pipeline.diagnostics.lives.forget(gone)
        for asset in gone:
            self._heard_us.pop(asset, None)
            self._whole.discard(asset)
            daemon.baseline_reset.since.pop(asset, None)
        await self.keep()
        await daemon.publisher.audit([(actor, "forget", asset, "") for asset in sorted(gone)])
        why = "by hand" if actor != _AGENT else "never whole, and silent for discovery.forget_after"
        extra = {"assets": ", ".join(sorted(gone)), "by": actor, "reason": why}
        log.warning("assets forgotten", extra=extra)

    async def keep(self) -> None:
        """Save what is known; of assets that are still there."""
        known = {asset.id for asset in self._daemon.runtime.plant.discovered}
        self._heard_us = {asset: us for asset, us in self._heard_us.items() if asset in known}
        self._whole &= known
        data = orjson.dumps({"heard": self._heard_us, "whole": sorted(self._whole)})
        try:
            await self._daemon.publisher.store.run(Store.save_value, _KEY, data)
        except StoreError as error:
            self._daemon.publisher.health.note_trouble(str(error))
            return
        self._saved_s = self._daemon.clock.monotonic_s()
