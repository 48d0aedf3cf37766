"""Reports the state of a source's clock: link detail, fault, metric, each when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import TimeOf
from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.messages import Link
    from edge_agent.ops.metrics import Metrics

_QUARTER_S: Final = 900
_ZONE_SLACK_S: Final = 60.0
_LAST_ZONE_S: Final = 14 * 3600  # the zone furthest from UTC
_RECENT_S: Final = 600.0  # an older measured offset does not show the current one
_SETTLE_S: Final = 5.0  # after this time without a fault the clock is right again
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Wrong:
    """The worst clock of a source: ahead (> 0) or behind, or not changing.

    asset: the asset of that clock; assets: number of assets with a wrong clock; of: of all assets.
    """

    offset_s: float
    stands: bool
    asset: str
    assets: int
    of: int


class ClockReport:
    """Updates `Link.faults`, the metric and `trouble` with the state of the clock."""

    def __init__(  # noqa: PLR0913, PLR0917 (the parts of the source that it uses)
        self,
        source: str,
        time_of: TimeOf,
        link: Link,
        metrics: Metrics,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self.trouble = ""
        self._source = source
        self._time_of = time_of
        self._link = link
        self._clock = clock
        self._on_change = on_change
        self._gauge = metrics.source_clock_offset_seconds.labels(source)
        self._sound_s: float | None = None

    def sound(self, offsets_s: NDArray[np.float64], *, blames_gateway: bool) -> None:
        """Report that no clock is wrong; offsets_s: the latest of each signal [n]."""
        self._link.gateway_moved = blames_gateway
        recent = offsets_s[np.abs(offsets_s) < _RECENT_S]
        if len(recent) or blames_gateway:
            values = offsets_s if blames_gateway else recent
            self._measured(float(np.median(values)))
        if not self.trouble:
            return
        now_s = self._clock.monotonic_s()
        self._sound_s = now_s if self._sound_s is None else self._sound_s
        if now_s - self._sound_s >= _SETTLE_S:
            self._link.faults.pop(f"clock.{self._source}", None)
            self._set("")

    def wrong(self, worst: Wrong) -> None:
        """Report that a clock is wrong."""
        self._sound_s = None
        self._link.gateway_moved = False
        self._measured(worst.offset_s)
        text = self._describe(worst)
        detail = Detail(self._key(worst), self._facts(worst))
        what = f"clock.{self._source}"
        self._link.faults[what] = Fault(what, f"{self._source}: {text}", detail)
        if text != self.trouble:
            self._set(text)

    def _measured(self, offset_s: float) -> None:
        self._link.clock_offset_s = offset_s
        self._gauge.set(round(offset_s, 3))

    def _set(self, trouble: str) -> None:
        self.trouble = trouble
        self._on_change()

    def _is_refused(self, worst: Wrong) -> bool:
        return self._time_of is not TimeOf.AUTO and (worst.stands or worst.offset_s > 0)

    def _key(self, worst: Wrong) -> str:
        if self._is_refused(worst):
            return "clock_refused"
        if worst.stands:
            return "clock_stands"
        return "clock_ahead" if worst.offset_s > 0 else "clock_behind"

    def _facts(self, worst: Wrong) -> dict[str, object]:
        """The arguments of the alarm's text; see alarms/texts.yaml."""
        facts: dict[str, object] = {"source": self._source, "machine": worst.asset}
        facts["assets"] = worst.assets
        if not worst.stands:
            facts["seconds"] = abs(round(worst.offset_s))
            zone = zone_of(worst.offset_s)
            if zone:
                facts["zone"] = zone
        return facts

    def _describe(self, worst: Wrong) -> str:
        zone = zone_of(worst.offset_s)
        hint = f" (looks like a time zone: {zone})" if zone and not worst.stands else ""
        what = f"clock {ahead(worst.offset_s)}{hint}"
        if worst.stands:
            what = "time stamps do not change, or drift"
        whose = f" on {worst.assets} of {worst.of} machines, worst on {worst.asset}"
        if self._is_refused(worst):
            how = f"NOT used (time: {self._time_of})"
        elif self._time_of is not TimeOf.AUTO:
            how = f"judged by its own time (time: {self._time_of})"
        else:
            how = "judged by the gateway's clock"
        return f"{what}{whose if worst.of > 1 else ''}: {how}"


def ahead(offset_s: float) -> str:
    """`3600 s ahead`, `2 days behind`: an offset in words, rounded so that it seldom changes."""
    size = abs(offset_s)
    text = f"{size / _DAY_S:.0f} days" if size >= 2 * _DAY_S else f"{size:.0f} s"
    return f"{text} {'ahead' if offset_s > 0 else 'behind'}"


def zone_of(offset_s: float) -> str:
    """`+2 h` if an offset is a whole number of quarter hours, like those of time zones."""
    quarters = round(offset_s / _QUARTER_S)
    off_s = abs(offset_s - quarters * _QUARTER_S)
    if not quarters or off_s > _ZONE_SLACK_S or abs(offset_s) > _LAST_ZONE_S + _ZONE_SLACK_S:
        return ""
    return f"{quarters / 4:+g} h"
