"""What is looked after every second, whatever comes: alarms of our own, the watchdog, our state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge_agent.ops import notify
from edge_agent.records import LinkState

if TYPE_CHECKING:
    from edge_agent.daemon._daemon import Daemon


class Watchman:
    """Shelvings that end, service alarms, the watchdog of systemd, and a word on our state."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def watch(self) -> None:
        """Go round for ever."""
        daemon = self._daemon
        interval_s = min(1.0, (notify.watchdog_interval_s() or 2.0) / 2)
        said = ""
        while True:
            await asyncio.sleep(interval_s)
            await daemon.defects.survive("watch", self.look_after())
            if daemon.alive():
                notify.watchdog()
            text = self._summary()
            if text != said:
                said = text
                notify.status(text)
            daemon.outlet.set_degraded(bool(self.troubles()))

    async def look_after(self) -> None:
        """One round."""
        daemon = self._daemon
        now_us = daemon.clock.now_us()
        await daemon.outlet.send(daemon.alarms.tick(now_us), now_us)
        await daemon.outlet.refresh()
        await daemon.outlet.remember(daemon.plant)
        await daemon.lives.keep()
        await daemon.relearning.settle()
        own = (*daemon.outlet.health.observations(now_us), daemon.upkeep.observation(now_us))
        for seen in own:
            await daemon.outlet.send(daemon.alarms.observe(seen), now_us)

    def troubles(self) -> list[str]:
        """What keeps the service from doing all it should."""
        daemon = self._daemon
        links = [*daemon.sources.items(), *daemon.outlet.sinks.items()]
        down = [f"{n}: {s.link.detail or s.link.state}" for n, s in links if _is_down(s.link.state)]
        if daemon.outlet.health.trouble:
            down.append(daemon.outlet.health.trouble)
        failing = daemon.pipeline.versions.failing if daemon.started else {}
        return down + [f"model {name}: {text}" for name, (_, text) in failing.items()]

    def _summary(self) -> str:
        daemon, troubles = self._daemon, self.troubles()
        if troubles:
            return "; ".join(troubles)[:200]
        return f"{len(daemon.plant.assets)} assets, {len(daemon.alarms.active())} alarms"


def _is_down(state: LinkState) -> bool:
    return state in {LinkState.DOWN, LinkState.DEGRADED}
