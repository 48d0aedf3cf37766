"""The lives of assets: an overhaul restarts learning, a failure ends a remaining life.

A baseline from before an overhaul is void; «this is healthy» re-centres one. Everything is kept
over restarts.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.alarms import BASELINE, WAVEFORMS, baseline_alarm_ids
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.config.schema import Learn
from edge_agent.daemon.alarm_feedback import follow_announced
from edge_agent.daemon.saved_values import SavedState
from edge_agent.delivery import Memory
from edge_agent.errors import EdgeAgentError, NotFoundError, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.diagnostics import RulTracker
    from edge_agent.messages import Alarm
    from edge_agent.serving import Deployments
    from edge_agent.sinks import Command

log = logging.getLogger("edge_agent.daemon")
learning_log = logging.getLogger("edge_agent.models")

_VOID: Final = "forgotten"  # keys of the store
_LIVES: Final = "lives"
_FOLLOWED: Final = "followed"
_DAY_S: Final = 86_400.0  # of data, if the config tells nothing and the step is short


class BaselineReset:
    """Assets that learn again, kept over restarts, and the alarms of their void baselines.

    since: by asset, the time (us) before which baselines are void; shared with the models.
    turning: held while the pipeline works; withdraw: clears alarms on the plant bus.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        turning: asyncio.Lock,
        values: SavedValues,
        withdraw: Callable[[Iterable[Alarm], Memory], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.since: dict[str, int] = {}
        self._runtime = runtime
        self._turning = turning
        self._values = values
        self._publish_withdrawn = withdraw
        self._clock = clock
        self._saved: dict[str, int] = {}

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        raw = await self._values.load(_VOID)
        try:
            self.since |= {str(asset): int(us) for asset, us in orjson.loads(raw or b"{}").items()}
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            learning_log.warning("repeated learning not restored")
        self._saved = dict(self.since)

    async def forget_baseline(self, asset_id: str, actor: str, comment: str = "") -> dict[str, Any]:
        """Make the baseline of an asset void, and start to learn again now.

        EdgeAgentError if there is no such asset, or it has nothing to learn from.
        """
        async with self._turning:
            runtime = self._runtime()
            asset = runtime.plant.assets.get(asset_id)
            if asset is None:
                raise NotFoundError("no such asset", where=repr(asset_id[:200]))
            reason = runtime.models.forget(asset, self._clock.now_us())
            if reason:
                raise EdgeAgentError(reason, where=asset_id)
            await self._withdraw([(asset_id, name) for name in (BASELINE, WAVEFORMS)])
        await self.save()
        await self._values.audit(actor, "learn", [asset_id], comment)
        learning_log.info("learning again", extra={"asset": asset_id, "actor": actor})
        wanted = asset.template.learn or Learn()
        return {"asset": asset_id, "learning": True, "duration_s": wanted.duration or _DAY_S}

    async def withdraw_outdated(self) -> None:
        """Withdraw alarms of the previous baseline; another one is active."""
        done = self._runtime().pipeline.deployments.baselines.drain_replaced()
        if done:
            async with self._turning:
                await self._withdraw(sorted(done))
        await self.save()

    async def _withdraw(self, baselines: Iterable[tuple[str, str]]) -> None:
        """Withdraw the alarms of baselines: (asset, name of its use)."""
        runtime = self._runtime()
        ids = [alarm_id for each in baselines for alarm_id in baseline_alarm_ids(*each)]
        found = [alarm for alarm in map(runtime.alarms.withdraw, ids) if alarm is not None]
        await self._publish_withdrawn(found, Memory.of(runtime.plant))

    async def save(self, *, at_once: bool = False) -> None:
        """Save changes, or all `at_once`."""
        since = dict(self.since)
        if at_once:
            self._saved = {}
        if since != self._saved and await self._values.save(_VOID, orjson.dumps(since)):
            self._saved = since


class FollowedBaselines(SavedState):
    """Stores how far baselines have followed their machines, and accepts «this is healthy»."""

    _saved = b""
    _waiting: Mapping[str, dict[str, Any]] = MappingProxyType({})  # of bundles loaded later

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        raw = await self._values.load(_FOLLOWED)
        try:
            self._waiting = {**orjson.loads(raw or b"{}")}
        except (orjson.JSONDecodeError, TypeError):
            learning_log.warning("what baselines have followed is not restored")
        self.restore_loaded()

    def restore_loaded(self) -> None:
        """The same for bundles that have been loaded since."""
        try:
            _restore_followed(self._runtime().pipeline.deployments, self._waiting)
        except (AttributeError, KeyError, TypeError, ValueError):
            self._waiting = {}
            learning_log.warning("what baselines have followed is not restored")

    async def save(self, *, at_once: bool = False) -> None:
        """Save changes, periodically or `at_once`."""
        if not self._is_due(at_once=at_once):
            return
        deployments = self._runtime().pipeline.deployments
        if not deployments.reports.awaited:
            self._waiting = {}  # what is left is of other versions
        state = orjson.dumps({**self._waiting, **_followed_state(deployments)})
        if (at_once or state != self._saved) and await self._values.save(_FOLLOWED, state):
            self._saved = state

    async def confirm_healthy(self, asset_id: str, actor: str, comment: str = "") -> dict[str, Any]:
        """Centre the baseline of an asset on what it does now, and continue to learn from it.

        EdgeAgentError if there is no such asset, or no baseline that can be moved.
        """
        async with self._turning:
            runtime = self._runtime()
            if asset_id not in runtime.plant.assets:
                raise NotFoundError("no such asset", where=repr(asset_id[:200]))
            follow_announced(runtime.pipeline)  # the alarm that this is about may be new
            event_us = runtime.pipeline.signals.event_us(runtime.plant.assets[asset_id])
            models = runtime.pipeline.deployments.recentre(asset_id, event_us, actor)
            if not models:
                raise EdgeAgentError(
                    "no learned baseline of this asset can be moved",
                    where=asset_id,
                    hint="`edge-agent learn --again` learns one from now on",
                )
            runtime.pipeline.learning.confirm_healthy(asset_id)
            runtime.pipeline.waves.confirm_healthy(asset_id)
        await self.save(at_once=True)
        await self._values.audit(actor, "healthy", [asset_id], comment)
        extra = {"asset": asset_id, "by": actor, "models": ", ".join(models)}
        learning_log.info("confirmed as healthy, baseline re-centred", extra=extra)
        return {"asset": asset_id, "models": models}

    async def answer(self, command: Command) -> dict[str, Any]:
        """«This is healthy» over the plant bus."""
        done = await self.confirm_healthy(command.asset, command.actor, command.comment)
        return {"models": done["models"]}


def _followed_state(deployments: Deployments) -> dict[str, dict[str, Any]]:
    """What each version of a learned bundle has followed, by asset."""
    found: dict[str, dict[str, Any]] = {}
    for one in deployments:
        if one.following is not None and one.following.is_moved:
            of_assets = found.setdefault(one.model.sha256, {})
            for row in np.flatnonzero(one.following.since_us).tolist():
                of_assets[one.assets[row].id] = one.following.state(row)
    return found


def _restore_followed(deployments: Deployments, state: Mapping[str, dict[str, Any]]) -> None:
    """Move the same into the deployments; what another version has followed is left."""
    for one in deployments:
        of_assets = state.get(one.model.sha256, {})
        for row, asset in enumerate(one.assets if of_assets else ()):
            if one.following is not None and asset.id in of_assets:
                one.following.restore(row, of_assets.pop(asset.id))


class RulStore(SavedState):
    """Stores predictions of remaining life, and accepts reports of their end."""

    @property
    def _tracker(self) -> RulTracker:
        return self._runtime().pipeline.diagnostics.rul_tracker

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        self._tracker.restore(await self._values.load(_LIVES))

    async def save(self, *, at_once: bool = False) -> None:
        """Save changes, periodically or `at_once`."""
        if not (at_once or self._tracker.changed) or not self._is_due(at_once=at_once):
            return
        tracker = self._tracker
        if not await self._values.save(_LIVES, tracker.dump()):
            tracker.changed = True

    async def end_life(
        self, asset: str, actor: str, at_us: int, comment: str = "", *, failed: bool
    ) -> dict[str, Any]:
        """End a life of `asset`; EdgeAgentError if it is impossible, or without predictions.

        Returns by model the predictions, and how right they were.
        """
        runtime = self._runtime()
        if asset not in runtime.plant.assets:
            raise NotFoundError("no such asset", where=repr(asset[:200]))
        latest_us = self._clock.now_us() + round(runtime.config.tuning.max_future * US_PER_S)
        if not 0 < at_us <= latest_us:
            raise UsageError(
                "a time in the future", where=asset, hint="--at is the time at which it ended"
            )
        async with self._turning:
            found = self._tracker.end(asset, at_us, failed=failed)
        action = "failed" if failed else "overhauled"
        log.info("life ended", extra={"asset": asset, "how": action, "models": len(found)})
        await self.save(at_once=True)
        await self._values.audit(actor, action, [asset], comment)
        models = [asdict(outcome) for outcome in found]
        return {"asset": asset, "at_ms": at_us // US_PER_MS, "models": models}
