"""Signals whose address the server refuses: one fault of the config, not one of each sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.messages import Detail, Fault
from edge_agent.signals import Problem
from edge_agent.status_codes import name_of

if TYPE_CHECKING:
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.plant import PlantSignal

_SHOWN: Final = 3


class NodeFaults:
    """Names the refused signals of each source, once they have been so for `link_delay`.

    A server that starts may have its nodes a moment after its connection.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._since_s: dict[str, float] = {}

    def faults(self) -> list[Fault]:
        """One fault for each source with refused signals."""
        daemon = self._daemon
        now_s = daemon.clock.monotonic_s()
        found: dict[str, list[PlantSignal]] = {}
        for index in self._refused():
            signal = daemon.runtime.plant.signals[index]
            found.setdefault(signal.source, []).append(signal)
        self._since_s = {name: self._since_s.get(name, now_s) for name in found}
        delay_s = daemon.runtime.config.alarms.link_delay
        return [
            self._fault(name, signals)
            for name, signals in found.items()
            if now_s - self._since_s[name] >= delay_s
        ]

    def _refused(self) -> list[int]:
        watch = self._daemon.runtime.pipeline.watch
        n = len(self._daemon.runtime.plant.signals)
        rows: list[int] = np.flatnonzero(watch.problem[:n] == Problem.REFUSED).tolist()
        return rows

    def _fault(self, source: str, refused: list[PlantSignal]) -> Fault:
        daemon = self._daemon
        total = sum(signal.source == source for signal in daemon.runtime.plant.signals)
        status = daemon.runtime.pipeline.watch.status.tolist()
        shown = [
            " ".join(
                filter(
                    None, (f"{one.asset.id}.{one.name}", one.address, name_of(status[one.index]))
                )
            )
            for one in refused[:_SHOWN]
        ]
        examples = ", ".join(shown) + (" …" if len(refused) > _SHOWN else "")
        args = {"source": source, "refused": len(refused), "signals": total, "examples": examples}
        text = f"{source}: {len(refused)} of {total} nodes refused: {examples}"
        return Fault(f"nodes.{source}", text, Detail("nodes_refused", args))
