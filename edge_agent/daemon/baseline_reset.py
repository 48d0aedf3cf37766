"""Learning again after an overhaul: what was learned of a machine is void from then on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import baseline_alarm_ids
from edge_agent.config.schema import Learn
from edge_agent.delivery import Memory
from edge_agent.errors import EdgeAgentError, NotFoundError, StoreError
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.daemon.daemon import Daemon

log = logging.getLogger("edge_agent.models")

_KEY: Final = "forgotten"


class BaselineReset:
    """Which assets learn again, over restarts, and the alarms that rest on what they forgot.

    since: by asset, before when what was learned is void (us); the models share it.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.since: dict[str, int] = {}
        self._daemon = daemon
        self._saved: dict[str, int] = {}

    async def recall(self) -> None:
        """Go on where the last run of the service was."""
        raw = await self._daemon.publisher.store.run(Store.load_value, _KEY)
        try:
            self.since |= {str(asset): int(us) for asset, us in orjson.loads(raw or b"{}").items()}
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            log.warning("what learns again is not known any more")
        self._saved = dict(self.since)

    async def begin(self, asset_id: str, actor: str) -> dict[str, Any]:
        """Forget what was learned of an asset and learn anew, from now on.

        EdgeAgentError where there is no such asset, or nothing that it could learn from.
        """
        daemon = self._daemon
        asset = daemon.runtime.plant.assets.get(asset_id)
        if asset is None:
            raise NotFoundError("no such asset", where=repr(asset_id[:200]))
        async with daemon.turning:
            reason = daemon.runtime.models.forget(asset, daemon.clock.now_us())
            if reason:
                raise EdgeAgentError(reason, where=asset_id)
            await self._withdraw([asset_id])
        await self._keep()
        await daemon.publisher.audit([(actor, "learn", asset_id, "")])
        log.info("learning again", extra={"asset": asset_id, "actor": actor})
        wanted = asset.template.learn or Learn()
        return {"asset": asset_id, "learning": True, "duration_s": wanted.duration}

    async def settle(self) -> None:
        """Another baseline is at work: the alarms of the one before do not stand for it."""
        models = self._daemon.runtime.models
        done, models.relearned = models.relearned, set()
        if done:
            async with self._daemon.turning:
                await self._withdraw(sorted(done))
        await self._keep()

    async def _withdraw(self, assets: Iterable[str]) -> None:
        daemon = self._daemon
        ids = [alarm_id for asset in assets for alarm_id in baseline_alarm_ids(asset)]
        found = [alarm for alarm in map(daemon.runtime.alarms.withdraw, ids) if alarm is not None]
        await daemon.publisher.withdraw(found, Memory.of(daemon.runtime.plant))

    async def _keep(self) -> None:
        since = dict(self.since)
        if since == self._saved:
            return
        try:
            await self._daemon.publisher.store.run(Store.save_value, _KEY, orjson.dumps(since))
        except StoreError as error:
            self._daemon.publisher.health.note_trouble(str(error))
            return
        self._saved = since
