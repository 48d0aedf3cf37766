"""Figures of two scrapes of the daemon's /metrics: rates, quantiles, sums; for `edge-agent top`."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Labels = Mapping[str, str]

_PREFIX: Final = "edge_agent_"
_WANTED: Final = (
    "values_received_total",
    "values_dropped_total",
    "values_rejected_total",
    "windows_total",
    "inference_seconds_bucket",
    "end_to_end_seconds_bucket",
    "health",
    "assets",
    "assets_unjudged",
    "alarms",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
)
_LINE: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


class Series(NamedTuple):
    """One value with its labels."""

    labels: Labels
    value: float


class Scrape:
    """The wanted metrics of one scrape; at_s: when it was made, of a monotonic clock.

    Names are without `edge_agent_`.
    """

    def __init__(self, text: str, at_s: float) -> None:
        self.at_s = at_s
        self._series: dict[str, list[Series]] = defaultdict(list)
        for line in text.splitlines():
            found = _LINE.fullmatch(line)
            if found is not None and (name := found[1].removeprefix(_PREFIX)) in _WANTED:
                self._series[name].append(Series(_labels(found[2] or ""), float(found[3])))

    def of(self, name: str) -> list[Series]:
        """Every series of a metric."""
        return self._series.get(name, [])

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        wanted = labels.items()
        return math.fsum(one.value for one in self.of(name) if wanted <= one.labels.items())


def _labels(text: str) -> dict[str, str]:
    plain: Callable[[re.Match[str]], str] = lambda found: {"n": "\n"}.get(found[1], found[1])  # noqa: E731
    return {name: _ESCAPE.sub(plain, value) for name, value in _LABEL.findall(text)}


def rate(old: Scrape, new: Scrape, name: str, **labels: str) -> float:
    """How much a counter grew a second; from 0 if the daemon has started in between."""
    grown = new.total(name, **labels) - old.total(name, **labels)
    if grown < 0:
        grown = new.total(name, **labels)
    return grown / max(1e-9, new.at_s - old.at_s)


def quantile(old: Scrape, new: Scrape, q: float, name: str, **labels: str) -> float | None:
    """A quantile of a histogram in its unit, by linear interpolation as Prometheus does it.

    Of what was observed between the scrapes; if nothing was, of all since the daemon's start; None
    if there is nothing at all, and the largest finite bound if the quantile lies above it.
    """
    now = _buckets(new, name, labels)
    before = _buckets(old, name, labels)
    recent = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
    counts = recent if recent.get(math.inf, 0.0) > 0 else now
    return _interpolated(counts, q)


def _buckets(scrape: Scrape, name: str, labels: Labels) -> dict[float, float]:
    counts: dict[float, float] = defaultdict(float)
    for one in scrape.of(f"{name}_bucket"):
        if labels.items() <= one.labels.items():
            counts[float(one.labels["le"])] += one.value
    return counts


def _interpolated(counts: Mapping[float, float], q: float) -> float | None:
    rank = q * counts.get(math.inf, 0.0)
    if rank <= 0:
        return None
    low, below = 0.0, 0.0
    for bound in sorted(counts):
        if counts[bound] >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (counts[bound] - below)
        low, below = bound, counts[bound]
    return low
