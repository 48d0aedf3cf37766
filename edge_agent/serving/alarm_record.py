"""What one alarm of an anomaly model did, and what was said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Final

import numpy as np

from edge_agent.alarms import FALSE, PLANNED, TRUE

MOST: Final = 4.0  # times the model's own limit
_ABOVE: Final = 1.15  # of the largest score of a false alarm: below the usual deadband, too
_BELOW: Final = 0.95  # of the largest score of a true one
_KEPT: Final = 50  # alarms of an asset
_VERSIONS: Final = 8  # that are counted apart
_SHOWN: Final = ("alarms", "called_false", "called_true", "called_planned")
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_CONFIDENT: Final = 1.645  # sigmas of a normal distribution: 95 % on one side


@dataclass(slots=True)
class Occurrence:
    """An alarm that was raised by a version.

    peak: its largest score, as a share of the model's own limit; healthy: «this is healthy» was
    said during it; part: of the machine, as a person named it.
    """

    raised_us: int
    peak: float
    version: str
    verdict: str = ""
    healthy: bool = False
    part: str = ""


@dataclass(slots=True)
class AlarmCounts:
    """What was counted. judged_s: time in windows that were scored."""

    alarms: int = 0
    called_false: int = 0
    called_true: int = 0
    judged_s: float = 0.0
    called_planned: int = 0

    def add(self, other: AlarmCounts) -> None:
        """Add what was counted elsewhere."""
        self.alarms += other.alarms
        self.called_false += other.called_false
        self.called_true += other.called_true
        self.judged_s += other.judged_s
        self.called_planned += other.called_planned

    def change_verdict(self, before: str, verdict: str) -> None:
        """An alarm is called so, instead of what it was called before."""
        for said, number in ((before, -1), (verdict, 1)):
            self.called_false += number * (said == FALSE)
            self.called_true += number * (said == TRUE)
            self.called_planned += number * (said == PLANNED)

    @property
    def precision(self) -> float | None:
        """Share of true ones of the alarms that were called true or false; None if none was."""
        said = self.called_true + self.called_false
        return self.called_true / said if said else None

    @property
    def false_a_day(self) -> float | None:
        """Alarms that were called false in a day of an asset; None if no time was judged."""
        return self.called_false * _DAY_S / self.judged_s if self.judged_s else None

    def refutes(self, promised: float | None) -> bool:
        """True if so many alarms were called false that no such rate (a day and asset) holds.

        The smallest Poisson mean that the count allows with 95 % confidence is compared; Wilson,
        Hilferty: The Distribution of Chi-Square, PNAS 17, 1931.
        """
        n = self.called_false
        if promised is None or not n or not self.judged_s:
            return False
        least = n * (1 - 1 / (9 * n) - _CONFIDENT / (3 * sqrt(n))) ** 3
        return least > promised * self.judged_s / _DAY_S

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        hours = round(self.judged_s / _HOUR_S, 2)
        shown = {key: getattr(self, key) for key in _SHOWN} | {"judged_h": hours}
        for key in ("precision", "false_a_day"):
            value = getattr(self, key)
            shown[key] = None if value is None else round(value, 4)
        return shown


@dataclass(slots=True)
class AlarmRecord:
    """What one alarm of an asset did, by version; of the oldest together under an empty name.

    version: the active one.
    """

    asset: str
    version: str
    counts: dict[str, AlarmCounts] = field(default_factory=dict)
    occurrences: list[Occurrence] = field(default_factory=list)

    @property
    def active(self) -> AlarmCounts:
        """The counts of the active version."""
        return self.counts.setdefault(self.version, AlarmCounts())

    def set_version(self, version: str) -> None:
        """Another version is active; what earlier ones did is kept."""
        self.version = version
        self.counts[version] = self.counts.pop(version, AlarmCounts())
        while len(self.counts) > _VERSIONS:
            oldest = next(name for name in self.counts if name)
            self.counts.setdefault("", AlarmCounts()).add(self.counts.pop(oldest))

    def add_occurrence(self, raised_us: int, peak: float) -> None:
        """Count an alarm; those that nobody judged are given up first."""
        self.active.alarms += 1
        self.occurrences.append(Occurrence(raised_us, peak, self.version))
        if len(self.occurrences) > _KEPT:
            spare = next((one for one in self.occurrences if not one.verdict), self.occurrences[0])
            self.occurrences.remove(spare)

    def judge(self, verdict: str, part: str = "") -> None:
        """Call the last alarm so; part: of the machine that it was about."""
        last = self.occurrences[-1]
        version = last.version if last.version in self.counts else ""
        counts = self.counts.setdefault(version, AlarmCounts())
        counts.change_verdict(last.verdict, verdict)
        last.verdict, last.part = verdict, part

    def margin(self) -> float:
        """The factor on the model's own limit that the verdicts ask for, 1 to `MOST`."""
        wrong = max(self._peaks(FALSE), default=0.0) * _ABOVE
        right = min(self._peaks(TRUE), default=np.inf) * _BELOW
        return float(max(1.0, min(wrong, right, MOST)))

    def _peaks(self, verdict: str) -> list[float]:
        """Of the active version; those from before the middle was moved mean nothing any more."""
        mine = (one for one in self.occurrences if one.version == self.version and not one.healthy)
        return [one.peak for one in mine if one.verdict == verdict]

    def total(self) -> AlarmCounts:
        """The counts of all versions."""
        found = AlarmCounts()
        for one in self.counts.values():
            found.add(one)
        return found
