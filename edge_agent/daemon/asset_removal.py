"""Removal of discovered assets that are gone: by a command, or after some time.

A single message with a typing error in its topic creates a machine that does not exist. An asset
that never had a value of each signal, and sends nothing for `discovery.forget_after`, is a ghost.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues

log = logging.getLogger("edge_agent.daemon")

_KEY: Final = "heard"
EVERY_S: Final = 60.0
_SAVE_EVERY_S: Final = 3600.0
_LEAST_UP_S: Final = 3600.0  # by the monotonic clock: a step of the wall clock makes no ghost
_AGENT: Final = "edge-agent"


class AssetRemoval:
    """Tracks the last message of each discovered asset, and if it ever had all its signals.

    leave_out: replaces the runtime by one without these assets; forgotten: by asset, the time
    before which its baselines are void.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        leave_out: Callable[[Collection[str]], Awaitable[None]],
        forgotten: dict[str, int],
        values: SavedValues,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._leave_out = leave_out
        self._forgotten = forgotten
        self._values = values
        self._clock = clock
        self._last_value_us: dict[str, int] = {}
        self._whole: set[str] = set()
        self._saved_s = clock.monotonic_s()
        self._began_s = self._saved_s

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        raw = await self._values.load(_KEY)
        try:
            data = orjson.loads(raw or b'{"heard": {}, "whole": []}')
            self._last_value_us = {str(asset): int(us) for asset, us in data["heard"].items()}
            self._whole = set(map(str, data["whole"]))
        except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError, ValueError):
            log.warning("last times of assets not restored")

    async def remove_ghosts(self) -> None:
        """Note which assets send values, and remove ghosts; call it every EVERY_S seconds."""
        now_s = self._clock.monotonic_s()
        self._record_values(now_s)
        ghosts = self._ghosts(now_s)
        if ghosts:
            await self.remove(ghosts, _AGENT)
        elif now_s - self._saved_s >= _SAVE_EVERY_S:
            await self.save()

    def _record_values(self, now_s: float) -> None:
        runtime, now_us = self._runtime(), self._clock.now_us()
        watch = runtime.pipeline.watch
        unseen = watch.unseen()
        for asset in runtime.plant.discovered:
            rows = [signal.index for signal in asset.signals.values()]
            silent_s = now_s - float(watch.arrival_s(rows).max(initial=-float("inf")))
            if silent_s < 2 * EVERY_S or asset.id not in self._last_value_us:
                self._last_value_us[asset.id] = now_us
            if rows and not unseen[rows].any():
                self._whole.add(asset.id)

    def _ghosts(self, now_s: float) -> list[str]:
        runtime = self._runtime()
        after_s = runtime.config.discovery.forget_after
        if not after_s or now_s - self._began_s < min(after_s, _LEAST_UP_S):
            return []
        before_us = self._clock.now_us() - after_s * US_PER_S
        known = {asset.id for asset in runtime.plant.discovered} - self._whole
        return sorted(asset for asset in known if self._last_value_us.get(asset, 0) < before_us)

    async def remove_by_hand(self, asset_id: str, actor: str, comment: str = "") -> dict[str, Any]:
        """Remove an asset; EdgeAgentError if it is in the config, or does not exist."""
        plant = self._runtime().plant
        if asset_id not in plant.assets:
            raise NotFoundError("no such asset", where=repr(asset_id[:200]))
        if asset_id not in {asset.id for asset in plant.discovered}:
            raise EdgeAgentError(
                "this asset is in the config",
                where=asset_id,
                hint="take it out of `assets`, then reload (SIGHUP)",
            )
        await self.remove([asset_id], actor, comment)
        return {"asset": asset_id, "forgotten": True}

    async def remove(self, assets: Collection[str], actor: str, comment: str = "") -> None:
        """Remove assets from the plant, with their alarms, metric series and stored state."""
        gone = set(assets)
        await self._leave_out(gone)
        pipeline = self._runtime().pipeline
        pipeline.diagnostics.rul_tracker.forget(gone)
        pipeline.deployments.track_record.forget(gone)
        for asset in gone:
            self._last_value_us.pop(asset, None)
            self._whole.discard(asset)
            self._forgotten.pop(asset, None)
        await self.save()
        await self._values.audit(actor, "forget", sorted(gone), comment)
        why = (
            "by hand"
            if actor != _AGENT
            else "never had all its signals, and silent for discovery.forget_after"
        )
        extra = {"assets": ", ".join(sorted(gone)), "by": actor, "reason": why}
        log.warning("assets forgotten", extra=extra)

    async def save(self, *, at_once: bool = True) -> None:  # noqa: ARG002 (as of other parts)
        """Save the state of the remaining assets."""
        known = {asset.id for asset in self._runtime().plant.discovered}
        self._last_value_us = {
            asset: us for asset, us in self._last_value_us.items() if asset in known
        }
        self._whole &= known
        data = orjson.dumps({"heard": self._last_value_us, "whole": sorted(self._whole)})
        if await self._values.save(_KEY, data):
            self._saved_s = self._clock.monotonic_s()
