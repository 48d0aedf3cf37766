"""Periodic tasks: service alarms, our state, the watchdog."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.alarms import service_alarm_id
from edge_agent.messages import Detail, LinkState, Observation
from edge_agent.ops import notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.links import Links
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Fault


_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Ends shelvings, evaluates service alarms, and reports our state.

    find_faults: each returns the present faults of one part of the service.
    periodic_work: called once per round.
    """

    runtime: Callable[[], Runtime]
    publisher: Publisher
    links: Links
    find_faults: Sequence[Callable[[], list[Fault]]]
    periodic_work: Sequence[Callable[[], Awaitable[None]]]
    clock: Clock

    async def watch(self, boundary: ErrorBoundary) -> None:
        """Run for ever, a round a second."""
        said = ""
        while True:
            await asyncio.sleep(_EVERY_S)
            await boundary.guard("watch", self.supervise())
            text = self._summary()
            if text != said:
                said = text
                notify.status(text)
            self.publisher.set_degraded(bool(self.troubles()))

    async def supervise(self) -> None:
        """One round: end shelvings, read waiting messages, evaluate service alarms."""
        runtime, publisher, now_us = self.runtime(), self.publisher, self.clock.now_us()
        await publisher.send(runtime.alarms.tick(now_us), now_us)
        await publisher.refresh()
        await publisher.save_memory(runtime.plant)
        for work in self.periodic_work:
            await work()
        runtime = self.runtime()
        for seen in self.observations(now_us):
            await publisher.send(runtime.alarms.accept_observation(seen), now_us)

    def observations(self, now_us: int) -> list[Observation]:
        """Observations of service alarms: present faults are over their limit, all others not."""
        runtime = self.runtime()
        gateway = runtime.config.gateway.id
        faults = {service_alarm_id(gateway, one.what): one for one in self.faults()}
        for fault in faults.values():
            runtime.catalogue.add_service(fault.what)
        prefix = service_alarm_id(gateway, "")
        tracked = [alarm_id for alarm_id in runtime.alarms.ids() if alarm_id.startswith(prefix)]
        over = [Observation(i, 1.0, now_us, one.detail) for i, one in faults.items()]
        back = [Observation(i, 0.0, now_us, Detail("alarm")) for i in tracked if i not in faults]
        return over + back

    def faults(self) -> list[Fault]:
        """The present faults; each is a service alarm while it is listed here."""
        links = [
            one.link for one in (*self.runtime().sources.values(), *self.publisher.sinks.values())
        ]
        found = [fault for link in links for fault in link.faults.values()]
        return found + [fault for find in self.find_faults for fault in find()]

    def troubles(self) -> list[str]:
        """The troubles of the service, one line each."""
        links = [*self.runtime().sources.items(), *self.publisher.sinks.items()]
        told = self.links.alarmed()  # their faults report them, with the extent
        down = [
            f"{n}: {s.link.detail or s.link.state}"
            for n, s in links
            if _is_down(s.link.state) and n not in told
        ]
        return list(dict.fromkeys(down + [fault.text for fault in self.faults()]))

    def _summary(self) -> str:
        runtime, troubles = self.runtime(), self.troubles()
        if troubles:
            return "; ".join(troubles)[:200]
        return f"{len(runtime.plant.assets)} assets, {len(runtime.alarms.active())} alarms"


async def heartbeat(is_alive: Callable[[], bool]) -> None:
    """Reset the watchdog for ever while the pipeline is alive; it waits for nothing else.

    Not for the disk either: its faults are alarms, and no reason to start the service anew.
    """
    interval_s = min(_EVERY_S, (notify.watchdog_interval_s() or 2.0) / 2)
    while True:
        await asyncio.sleep(interval_s)
        if is_alive():
            notify.watchdog()


def _is_down(state: LinkState) -> bool:
    return state in {LinkState.DOWN, LinkState.DEGRADED}
