"""Faults of the service itself: its log, its discovery, refused nodes, the gateway's clock."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S, StepWatch
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.ops import logs
from edge_agent.signals import Problem
from edge_agent.status_codes import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.messages import Link
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantSignal

_BLOCKED_S: Final = 10.0  # a write that blocks for this long: the log has no reader
_DROP_ALARM_S: Final = 60.0  # the alarm clears when nothing was dropped for this long
_FIRST_MACHINE_S: Final = 60.0  # after this long, a source without a machine is a fault
_SHOWN: Final = 3  # refused nodes in one line
_STANDS_S: Final = 600.0  # a step is a fault for this long; then it waits for an operator
_ALIKE_S: Final = 60.0
_SEVERAL: Final = 2
_GATEWAY_CLOCK: Final = "clock.gateway"


class LogHealth:
    """Counts the lines that were dropped."""

    def __init__(
        self, metrics: Metrics, clock: Clock, state: Callable[[], logs.LogState] = logs.state
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._state = state
        self._counted = state().dropped
        self._dropped_s: float | None = None

    def faults(self) -> list[Fault]:
        """The present faults of the log; also updates the metric."""
        state, now_s = self._state(), self._clock.monotonic_s()
        if state.dropped > self._counted:
            self._metrics.log_dropped.inc(state.dropped - self._counted)
            self._counted, self._dropped_s = state.dropped, now_s
        last_s = self._dropped_s
        is_dropping = last_s is not None and now_s - last_s < _DROP_ALARM_S
        if not is_dropping and state.blocked_s < _BLOCKED_S:
            return []
        text = f"log: its reader has stopped, {state.dropped} lines dropped"
        return [Fault("log", text, Detail("log_dropping", {"dropped": state.dropped}))]


def discovery_faults(plant: Plant) -> list[Fault]:
    """The fault that machines are not monitored because of `discovery.max_assets`."""
    if not (plant.is_full and plant.refused):
        return []
    args = {"limit": plant.max_assets, "refused": plant.refused}
    text = (
        f"discovery is full: {plant.max_assets} machines known, {plant.refused} more refused "
        "(discovery.max_assets)"
    )
    return [Fault("discovery", text, Detail("discovery_full", args))]


class IdleSources:
    """Reports sources that are connected but monitor nothing: not one machine was discovered.

    A wrong topic or name in the config looks like a calm plant otherwise. One shard of several may
    own no machine of a source.
    """

    def __init__(self, runtime: Callable[[], Runtime], clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._since_s: dict[str, float] = {}
        self._known: tuple[Plant | None, int, frozenset[str]] = (None, 0, frozenset())

    def faults(self) -> list[Fault]:
        """One fault for each such source."""
        runtime, now_s = self._runtime(), self._clock.monotonic_s()
        used = self._used(runtime.plant)
        idle = [
            name
            for name, source in runtime.sources.items()
            if name not in used and source.link.state is LinkState.UP
            if runtime.config.shard.of == 1
        ]
        self._since_s = {name: self._since_s.get(name, now_s) for name in idle}
        return [
            Fault(
                f"idle.{name}",
                f"{name}: connected, but it monitors nothing: no machine was found in "
                f"{_FIRST_MACHINE_S:.0f} s (edge-agent check --connect compares topics and names)",
                Detail("source_idle", {"source": name}),
            )
            for name, since_s in self._since_s.items()
            if now_s - since_s >= _FIRST_MACHINE_S
        ]

    def _used(self, plant: Plant) -> frozenset[str]:
        """The sources of all signals; found again only if the signals have changed."""
        known, size, used = self._known
        if known is not plant or size != len(plant.signals):
            used = frozenset(signal.source for signal in plant.signals)
            self._known = (plant, len(plant.signals), used)
        return used


class NodeFaults:
    """Reports signals of each source that are refused for `link_delay`.

    A starting server may have its nodes only shortly after the connection.
    """

    def __init__(self, runtime: Callable[[], Runtime], clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._since_s: dict[str, float] = {}

    def faults(self) -> list[Fault]:
        """One fault for each source with refused signals."""
        runtime, now_s = self._runtime(), self._clock.monotonic_s()
        found: dict[str, list[PlantSignal]] = {}
        for index in _refused_rows(runtime):
            signal = runtime.plant.signals[index]
            found.setdefault(signal.source, []).append(signal)
        self._since_s = {name: self._since_s.get(name, now_s) for name in found}
        delay_s = runtime.config.alarms.link_delay
        return [
            _node_fault(runtime, name, signals)
            for name, signals in found.items()
            if now_s - self._since_s[name] >= delay_s
        ]


def _refused_rows(runtime: Runtime) -> list[int]:
    problem = runtime.pipeline.watch.problem[: len(runtime.plant.signals)]
    rows: list[int] = np.flatnonzero(problem == Problem.REFUSED).tolist()
    return rows


def _node_fault(runtime: Runtime, source: str, refused: list[PlantSignal]) -> Fault:
    total = sum(signal.source == source for signal in runtime.plant.signals)
    status = runtime.pipeline.watch.status
    named = [
        (f"{one.asset.id}.{one.name}", one.address, name_of(int(status[one.index])))
        for one in refused[:_SHOWN]
    ]
    shown = [" ".join(filter(None, words)) for words in named]
    examples = ", ".join(shown) + (" …" if len(refused) > _SHOWN else "")
    args = {"source": source, "refused": len(refused), "signals": total, "examples": examples}
    text = f"{source}: {len(refused)} of {total} nodes refused: {examples}"
    return Fault(f"nodes.{source}", text, Detail("nodes_refused", args))


class GatewayClock:
    """Compares wall clock and monotonic clock, and the sources' clocks with each other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = StepWatch()
        self._moved_s = 0.0
        self._at_s: float | None = None
        self._steps.step_us(clock.now_us(), clock.monotonic_s())

    def faults(self, links: Mapping[str, Link], limit_s: float) -> list[Fault]:
        """The present faults of the gateway's clock; limit_s: allowed offset of a source."""
        now_s = self._clock.monotonic_s()
        step_us = self._steps.step_us(self._clock.now_us(), now_s)
        if step_us:
            self._moved_s = step_us / US_PER_S
            self._at_s = now_s
        is_recent = self._at_s is not None and now_s - self._at_s < _STANDS_S
        if is_recent or any(link.gateway_moved for link in links.values()):
            seconds = f"{self._moved_s:+.0f}"
            text = f"this gateway's clock was moved by {seconds} s"
            return [Fault(_GATEWAY_CLOCK, text, Detail("clock_stepped", {"seconds": seconds}))]
        return self._suspicion(links, limit_s)

    def _suspicion(self, links: Mapping[str, Link], limit_s: float) -> list[Fault]:
        """The fault if all sources have the same offset: probably the gateway's clock is wrong."""
        offsets = [x.clock_offset_s for x in links.values() if x.clock_offset_s is not None]
        if len(offsets) < _SEVERAL:
            return []
        middle_s = median(offsets)
        alike = all(abs(offset_s - middle_s) <= _ALIKE_S for offset_s in offsets)
        if not alike or abs(middle_s) <= limit_s:
            return []
        size = abs(round(middle_s))
        where = "ahead" if middle_s > 0 else "behind"
        text = (
            f"this gateway's clock is probably wrong: {len(offsets)} sources are {size} s {where}"
        )
        detail = Detail("clock_gateway", {"seconds": size, "sources": len(offsets)})
        return [Fault(_GATEWAY_CLOCK, text, detail)]
