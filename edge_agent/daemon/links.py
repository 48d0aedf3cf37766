"""Lost links: one alarm of the source or sink; consequences are held back.

A link is away from the moment it is down, or none of its signals has a value, until it has been
working for `GRACE_S`. Its alarm is due when it was down for long enough in that time: a restart of
a few seconds raises no alarm, an unstable link does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import ENDLESS, US_PER_S
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.signals import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.messages import Link
    from edge_agent.plant import Plant
    from edge_agent.signals import QualityWatch
    from edge_agent.sinks import Sink

GRACE_S: Final = 10.0
_FIRST_VALUES_S: Final = 5.0  # the time for a server to send current values
_DOWN: Final = frozenset({LinkState.DOWN, LinkState.CONNECTING})
_SEVERAL: Final = 2


@dataclass(slots=True)
class Outage:
    """A period in which a link is away, by the monotonic clock.

    down_s: how long it was down, in total; silent: connected, but nothing arrives.
    """

    seen_s: float
    down_s: float = 0.0
    well_since_s: float | None = None
    silent: bool = False
    reason: str = ""


class Links:
    """Follows the links of all sources and sinks."""

    def __init__(
        self, runtime: Callable[[], Runtime], sinks: Mapping[str, Sink], clock: Clock
    ) -> None:
        self._runtime = runtime
        self._sinks = sinks
        self._clock = clock
        self._outages: dict[str, Outage] = {}  # by `source.NAME` and `sink.NAME`
        self._connected_s: dict[str, float] = {}  # by source: since when
        self._were_well: set[str] = set()
        self._of_source: tuple[Plant | None, int, dict[str, NDArray[np.intp]]] = (None, 0, {})

    def follow_links(self) -> None:
        """Check the links; signals of sources that are away are held in the pipeline."""
        runtime, now_s = self._runtime(), self._clock.monotonic_s()
        signals = self._signals(runtime)
        all_down, kept = set(), set()
        for name, source in runtime.sources.items():
            down = source.link.state in _DOWN
            if down:
                self._connected_s.pop(name, None)
                all_down.add(name)
            elif source.link.has_kept:
                kept.add(name)
            since_s = self._connected_s.setdefault(name, now_s) if not down else now_s
            silent = now_s - since_s >= _FIRST_VALUES_S
            silent = silent and _is_silent(runtime.pipeline.watch, signals.get(name), now_s)
            self._follow_link(f"source.{name}", source.link, now_s, down=down, silent=silent)
        for name, sink in self._sinks.items():
            self._follow_link(f"sink.{name}", sink.link, now_s, down=sink.link.state in _DOWN)
        known = {*self._names()}
        self._outages = {what: one for what, one in self._outages.items() if what in known}
        runtime.pipeline.follow_links(all_down, self.away(), kept, now_s)

    def away(self) -> set[str]:
        """Sources whose signals raise no alarms of their own now."""
        found = (what.partition(".") for what in self._outages)
        return {name for room, _, name in found if room == "source"}

    def reason(self, source: str) -> str:
        """Why a source is away; empty if it is not."""
        outage = self._outages.get(f"source.{source}")
        if outage is None:
            return ""
        return f"{source}: " + ("nothing arrives" if outage.silent else outage.reason or "away")

    def faults(self) -> list[Fault]:
        """The alarms that are due."""
        limits = self._runtime().config.alarms
        delays = {"source": limits.link_delay, "sink": limits.sink_delay}
        return [
            self._fault(what, outage)
            for what, outage in self._outages.items()
            if outage.down_s >= delays[what.partition(".")[0]]
        ]

    def alarmed(self) -> set[str]:
        """Names of sources and sinks whose alarm is due."""
        return {fault.what.partition(".")[2] for fault in self.faults()}

    def _names(self) -> Iterator[str]:
        yield from (f"source.{name}" for name in self._runtime().sources)
        yield from (f"sink.{name}" for name in self._sinks)

    def _follow_link(
        self, what: str, link: Link, now_s: float, *, down: bool, silent: bool = False
    ) -> None:
        outage = self._outages.get(what)
        if down or silent:
            if outage is None:
                outage = self._outages[what] = Outage(now_s)
            outage.down_s += now_s - outage.seen_s
            outage.well_since_s = None
            outage.silent = silent
            if link.state is LinkState.DOWN:
                outage.reason = link.detail
        elif outage is not None:
            if outage.well_since_s is None:
                outage.well_since_s = now_s
            # A new link has no outage to recover from.
            grace_s = GRACE_S if what in self._were_well else _FIRST_VALUES_S
            if now_s - outage.well_since_s >= grace_s:
                del self._outages[what]
                self._were_well.add(what)
        if outage is not None:
            outage.seen_s = now_s

    def _fault(self, what: str, outage: Outage) -> Fault:
        room, _, name = what.partition(".")
        if room == "sink":
            detail = Detail("sink_down", {"sink": name, "reason": outage.reason})
            return Fault(what, f"{name}: {outage.reason}", detail)
        signals = [s for s in self._runtime().plant.signals if s.source == name]
        assets = len({signal.asset.id for signal in signals})
        args: dict[str, Any] = {"source": name, "assets": assets, "signals": len(signals)}
        if outage.silent:
            text = f"{name}: no value from any of {len(signals)} signals ({_assets(assets)})"
            return Fault(what, text, Detail("source_silent", args))
        args["reason"] = outage.reason
        text = f"{name}: {outage.reason or 'no connection'} ({_assets(assets)})"
        return Fault(what, text, Detail("source_down", args))

    # -- silence of a whole source ------------------------------------------------------------

    def _signals(self, runtime: Runtime) -> dict[str, NDArray[np.intp]]:
        """Rows of the signals of each source that has several assets."""
        plant, size, found = self._of_source
        if plant is not runtime.plant or size != len(runtime.plant.signals):
            found = _several_assets(runtime.plant)
            self._of_source = (runtime.plant, len(runtime.plant.signals), found)
        return found


def _several_assets(plant: Plant) -> dict[str, NDArray[np.intp]]:
    rows: dict[str, list[int]] = {}
    assets: dict[str, set[str]] = {}
    for signal in plant.signals:
        rows.setdefault(signal.source, []).append(signal.index)
        assets.setdefault(signal.source, set()).add(signal.asset.id)
    return {
        name: np.array(found, np.intp)
        for name, found in rows.items()
        if len(assets[name]) >= _SEVERAL
    }


def _is_silent(watch: QualityWatch, rows: NDArray[np.intp] | None, now_s: float) -> bool:
    """True if some signals of a source are silent and no other sent a value for long.

    Long is half the shortest `stale_after`: before the second of two machines that stopped together
    is stale. A signal that is bad for another reason is no evidence about the link.
    """
    if rows is None:
        return False
    problem = watch.problem[rows]
    mute = (problem == Problem.LOST) | (problem == Problem.STALE)
    if not mute.any():
        return False
    alive = ~mute & (problem != Problem.BAD) & (problem != Problem.REFUSED)
    if not alive.any():
        return True
    patience_us = int(watch.silence.stale_us[rows].min())
    if patience_us >= ENDLESS:
        return False
    silent_s = now_s - float(watch.arrival_s(rows[alive]).max())
    return silent_s >= patience_us / US_PER_S / 2


def _assets(n: int) -> str:
    return f"{n} asset" if n == 1 else f"{n} assets"
