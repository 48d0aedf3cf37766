"""What the limits of learned baselines are based on, as the card of their bundle states it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.threshold import poisson_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.choice import Candidate
    from edge_agent.learning.statistics import Floats

    Ints = NDArray[np.int64] | NDArray[np.intp]

_RAISED: Final = 2.0  # times: less is what later data differs by anyway
_TINY: Final = 1e-12
_MAX_TRIED: Final = 8  # forms on the card


@dataclass(frozen=True, slots=True)
class Unusual:
    """Rows `first` to `last` of the learned time, counted as healthy although far from the rest.

    channel: the input that is farthest; factor: by which the limits were raised for such rows.
    """

    first: int
    last: int
    channel: int
    factor: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The basis of an asset's limits.

    days: held out; alarms: that the limits raise in them; tried: forms, the chosen one first;
    period: of the cycle in rows, 0 for none; cycle: what the config tells of it; unusual: the time
    that raised the limits most, None if none did.
    """

    days: float
    alarms: int
    tried: tuple[Candidate, ...]
    period: float = 0.0
    cycle: str = ""
    unusual: Unusual | None = None


def unusual_time(rows: Floats, own: Floats, ends: Ints, factor: float) -> Unusual | None:
    """The time that raised the limits, if it raised them by more than its usual share.

    rows: [T, C]; own: the scores of its own windows [n], relative to the limits before that; ends:
    their last rows. A fault in the learned time looks so, and hides later ones of its size.
    """
    if factor < _RAISED:
        return None
    over = np.nan_to_num(own) >= 1
    worst = int(np.nanargmax(own))
    first = worst - int(np.argmin(np.append(over[: worst + 1][::-1], False)))
    last = worst + int(np.argmin(np.append(over[worst:], False)))
    a, b = int(ends[min(first + 1, worst)]), int(ends[max(last - 1, worst)])
    center = np.nanmedian(rows, axis=0)
    spread = np.nanmedian(np.abs(rows - center), axis=0)
    far = np.abs(np.nanmedian(rows[a : b + 1], axis=0) - center) / np.maximum(spread, _TINY)
    return Unusual(a, b, int(np.nanargmax(far)), factor)


def unusual_text(found: Unusual, name: str, times_us: Ints | None) -> str:
    """What was unusual, when, and what to do about it."""
    first, last = f"row {found.first}", f"row {found.last}"
    if times_us is not None:
        first, last = (_utc(int(times_us[row])) for row in (found.first, found.last))
    return (
        f"{first} to {last}, most of all {name}: taken as healthy, so that the limits are "
        f"{found.factor:.3g} times as high (if it was a fault, learn again without this time)"
    )


def _utc(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


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
