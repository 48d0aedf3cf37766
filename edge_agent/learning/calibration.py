"""What the limits of learned baselines are based on, as the card of their bundle states it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.threshold import poisson_upper

if TYPE_CHECKING:
    from edge_agent.learning.choice import Candidate

_MAX_TRIED: Final = 8  # forms on the card


@dataclass(frozen=True, slots=True)
class Calibration:
    """The basis of an asset's limits.

    days: held out; alarms: that the limits raise in them; tried: forms, the chosen one first;
    period: of the cycle in rows, 0 for none; cycle: what the config tells of it.
    """

    days: float
    alarms: int
    tried: tuple[Candidate, ...]
    period: float = 0.0
    cycle: str = ""


def length_for_cycles(calibrations: list[Calibration], length: int, at_most: int) -> int:
    """The rows of a window that holds a cycle of every asset; `length` if it does already."""
    longest = ceil(max((each.period for each in calibrations), default=0.0))
    return longest if length < longest <= at_most else length


def detected_share(calibrations: list[Calibration]) -> float:
    """The mean share of injected faults that the chosen forms detect."""
    return float(np.mean([each.tried[0].detected for each in calibrations]))


def stated(calibrations: list[Calibration]) -> dict[str, str]:
    """The manifest's facts about forms and limits, over all assets together."""
    cycles = Counter(each.cycle for each in calibrations if each.cycle)
    days = sum(each.days for each in calibrations)
    alarms = sum(each.alarms for each in calibrations)
    return {
        "method": "each quarter of the time held out in turn",
        "form": _listed(Counter(each.tried[0].plan.name for each in calibrations)),
        "tried": _tried(calibrations),
        **({"cycle": _listed(cycles)} if cycles else {}),
        "held_out_asset_days": f"{days:.4g}",
        "held_out_alarms": str(alarms),
        "at_most_per_asset_day": f"{poisson_upper(alarms) / days:.4g}",
    }


def promised(stated: dict[str, str], wanted: float) -> float:
    """False alarms a day and asset: the wanted ones, or as many as the seen time cannot exclude."""
    return max(wanted, float(stated["at_most_per_asset_day"]))


def _listed(forms: Counter[str]) -> str:
    """What holds for the assets; with their number if they differ."""
    if len(forms) == 1:
        return next(iter(forms))
    return "; ".join(f"{name} ({count} assets)" for name, count in forms.most_common())


def _tried(calibrations: list[Calibration]) -> str:
    """Each tried form with the mean share of injected faults that it detected."""
    shares: dict[str, list[float]] = {}
    for candidate in (each for calibration in calibrations for each in calibration.tried):
        shares.setdefault(candidate.plan.name, []).append(candidate.detected)
    best_first = sorted(shares.items(), key=lambda item: -float(np.mean(item[1])))
    found = [f"{name}: finds {100 * np.mean(each):.0f} %" for name, each in best_first]
    return "; ".join(found[:_MAX_TRIED])
