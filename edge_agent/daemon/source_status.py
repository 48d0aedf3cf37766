"""What the API and the page show of each source: rates, silence, lag, clock, bad signals."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.messages import LinkState
from edge_agent.sources import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from prometheus_client import Counter as Metric

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.messages import Source
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant
    from edge_agent.signals import QualityWatch

OVER_S: Final = 60.0  # rates are those of this time at most
LEAST_S: Final = 1.0  # two counts nearer to each other give no rate
RECENT_S: Final = 60.0  # an older arrival does not show the present lag
_UP: Final = frozenset({LinkState.UP, LinkState.DEGRADED})


class SourceStatus:
    """The rows of all sources. Nothing is measured unless somebody asks: rates need two answers."""

    def __init__(self, runtime: Callable[[], Runtime], metrics: Metrics, clock: Clock) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._clock = clock
        self._counted: deque[tuple[float, dict[str, float]]] = deque()
        self._of_source: tuple[Plant | None, int, dict[str, NDArray[np.intp]]] = (None, 0, {})

    def rows(self) -> list[dict[str, Any]]:
        """One row for each source."""
        runtime, now_s = self._runtime(), self._clock.monotonic_s()
        counts = {
            name: _by_source(getattr(self._metrics, f"values_{name}"))
            for name in ("received", "dropped", "late")
        }
        rates, over_s = self._rates(counts["received"], now_s)
        signals = self._signals(runtime.plant)
        nothing = np.zeros(0, np.intp)
        reasons = _rejected(self._metrics.values_rejected)
        reconnects = _by_source(self._metrics.source_reconnects)
        return [
            {
                **_link_row(name, source, runtime),
                **{what: int(values.get(name, 0)) for what, values in counts.items()},
                "rejected": reasons.get(name, {}),
                "reconnects": int(reconnects.get(name, 0)),
                "rate": rates.get(name),
                "rate_over_s": over_s,
                **self._of_signals(runtime, signals.get(name, nothing), now_s),
            }
            for name, source in runtime.sources.items()
        ]

    def _rates(
        self, received: Mapping[str, float], now_s: float
    ) -> tuple[dict[str, float], float | None]:
        """Values a second since the oldest count of the last minute, and the time between."""
        counted = self._counted
        while counted and now_s - counted[0][0] > OVER_S:
            counted.popleft()
        first_s, first = counted[0] if counted else (now_s, {})
        if not counted or now_s - counted[-1][0] >= LEAST_S:
            counted.append((now_s, dict(received)))
        over_s = now_s - first_s
        if over_s < LEAST_S:
            return {}, None
        rates = {name: (n - first.get(name, 0.0)) / over_s for name, n in received.items()}
        return {name: max(0.0, rate) for name, rate in rates.items()}, over_s

    def _signals(self, plant: Plant) -> dict[str, NDArray[np.intp]]:
        """Rows of the signals of each source; found again only after the plant has changed."""
        known, size, found = self._of_source
        if known is not plant or size != len(plant.signals):
            rows: dict[str, list[int]] = {}
            for signal in plant.signals:
                rows.setdefault(signal.source, []).append(signal.index)
            found = {name: np.array(each, np.intp) for name, each in rows.items()}
            self._of_source = (plant, len(plant.signals), found)
        return found

    def _of_signals(self, runtime: Runtime, rows: NDArray[np.intp], now_s: float) -> dict[str, Any]:
        watch = runtime.pipeline.watch
        seen = rows[~watch.unseen()[rows]]
        bad = seen[watch.has_problem()[seen]]
        problems = Counter(watch.quality_of(row) for row in bad.tolist())
        return {
            "signals": len(rows),
            "without_value": len(rows) - len(seen),
            "problems": dict(problems.most_common()),
            **self._times(watch, seen, now_s),
        }

    def _times(
        self, watch: QualityWatch, seen: NDArray[np.intp], now_s: float
    ) -> dict[str, float | None]:
        """Newest stamp, silence, and by how much stamps are older than their arrival (median)."""
        if not len(seen):
            return {"newest_ms": None, "silent_s": None, "lag_s": None}
        ago_s = now_s - watch.arrival_s(seen)
        recent = ago_s <= RECENT_S
        age_s = (self._clock.now_us() - watch.time_us[seen[recent]]) / US_PER_S
        silent_s = float(ago_s.min())
        return {
            "newest_ms": int(watch.time_us[seen].max()) // US_PER_MS,
            "silent_s": silent_s if np.isfinite(silent_s) else None,
            "lag_s": float(np.median(age_s - ago_s[recent])) if recent.any() else None,
        }


def _link_row(name: str, source: Source, runtime: Runtime) -> dict[str, Any]:
    link = source.link
    return {
        "name": name,
        "type": type_of(runtime.config, name),
        "state": link.state,
        "ok": link.state in _UP,
        "detail": link.detail,
        "since_ms": link.since_us // US_PER_MS,
        "clock_offset_s": link.clock_offset_s,
        "faults": [fault.text for fault in link.faults.values()],
    }


def _by_source(metric: Metric) -> dict[str, float]:
    """A counter of sources by their name."""
    return {
        one.labels["source"]: one.value
        for family in metric.collect()
        for one in family.samples
        if one.name.endswith("_total")
    }


def _rejected(metric: Metric) -> dict[str, dict[str, int]]:
    """What was refused of each source, by reason."""
    found: dict[str, dict[str, int]] = {}
    for family in metric.collect():
        for one in family.samples:
            if one.name.endswith("_total") and one.value:
                found.setdefault(one.labels["source"], {})[one.labels["reason"]] = int(one.value)
    return found
