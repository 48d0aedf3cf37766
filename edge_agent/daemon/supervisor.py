"""What is looked after every second, whatever comes: alarms of our own, the watchdog, our state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge_agent.alarms import service_alarm_id
from edge_agent.daemon.health import discovery_faults
from edge_agent.daemon.learning_state import learning_faults
from edge_agent.messages import Detail, LinkState, Observation
from edge_agent.ops import notify

if TYPE_CHECKING:
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.messages import Fault


class Supervisor:
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
            await daemon.error_boundary.guard("watch", self.look_after())
            if daemon.alive():
                notify.watchdog()
            text = self._summary()
            if text != said:
                said = text
                notify.status(text)
            daemon.publisher.set_degraded(bool(self.troubles()))

    async def look_after(self) -> None:
        """One round."""
        daemon = self._daemon
        now_us = daemon.clock.now_us()
        await daemon.publisher.send(daemon.runtime.alarms.tick(now_us), now_us)
        await daemon.publisher.refresh()
        await daemon.publisher.save_memory(daemon.runtime.plant)
        await daemon.lives.keep()
        await daemon.baseline_reset.settle()
        for seen in self._service_observations(now_us):
            await daemon.publisher.send(daemon.runtime.alarms.observe(seen), now_us)

    def _service_observations(self, now_us: int) -> list[Observation]:
        """Service alarms: those of today's faults are over their limit, all others are not."""
        gateway, alarms = self._daemon.runtime.config.gateway.id, self._daemon.runtime.alarms
        faults = {service_alarm_id(gateway, one.what): one for one in self.faults()}
        for fault in faults.values():
            self._daemon.runtime.catalogue.add_service(fault.what)
        prefix = service_alarm_id(gateway, "")
        tracked = [alarm_id for alarm_id in alarms.ids() if alarm_id.startswith(prefix)]
        over = [Observation(i, 1.0, now_us, one.detail) for i, one in faults.items()]
        back = [Observation(i, 0.0, now_us, Detail("alarm")) for i in tracked if i not in faults]
        return over + back

    def faults(self) -> list[Fault]:
        """What is wrong now; each is a service alarm as long as it stands here."""
        daemon = self._daemon
        links = [
            one.link for one in (*daemon.runtime.sources.values(), *daemon.publisher.sinks.values())
        ]
        found = [fault for link in links for fault in link.faults.values()]
        found += daemon.links.faults()
        found += daemon.nodes.faults()
        found += daemon.certificates.faults()
        found += daemon.publisher.health.faults()
        found += daemon.log_health.faults()
        found += daemon.reloader.faults()
        clocks = {name: source.link for name, source in daemon.runtime.sources.items()}
        found += daemon.gateway_clock.faults(clocks, daemon.runtime.config.tuning.max_future)
        found += daemon.runtime.pipeline.deployments.faults(daemon.clock.now_us())
        found += learning_faults(daemon)
        found += discovery_faults(daemon.runtime.plant)
        return found

    def troubles(self) -> list[str]:
        """What keeps the service from doing all it should, one line each."""
        daemon = self._daemon
        links = [*daemon.runtime.sources.items(), *daemon.publisher.sinks.items()]
        told = daemon.links.told()  # with its extent, by its fault
        down = [
            f"{n}: {s.link.detail or s.link.state}"
            for n, s in links
            if _is_down(s.link.state) and n not in told
        ]
        return list(dict.fromkeys(down + [fault.text for fault in self.faults()]))

    def _summary(self) -> str:
        daemon, troubles = self._daemon, self.troubles()
        if troubles:
            return "; ".join(troubles)[:200]
        runtime = daemon.runtime
        return f"{len(runtime.plant.assets)} assets, {len(runtime.alarms.active())} alarms"


def _is_down(state: LinkState) -> bool:
    return state in {LinkState.DOWN, LinkState.DEGRADED}
