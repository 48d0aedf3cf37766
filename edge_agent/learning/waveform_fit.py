"""Learns a baseline from the features of healthy windows of waveforms.

Two distances from healthy are compared with their own limits: T² of all features together, and the
largest deviation of a single one, so that one line that rises alone is found among many features.
Features are judged given the conditions (speed, load) if held-out time is judged more sharply then.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.learning.covariance import precision
from edge_agent.learning.threshold import poisson_upper
from edge_agent.learning.waveform_bundle import WaveRecipe, bundle_of
from edge_agent.learning.waveform_conditions import WaveBaseline, given_of, range_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.learning.learned_bundle import LearnedBundle

    Floats = NDArray[np.float64]

LEAST_WAVES: Final = 48  # windows: three of each sixteenth of the time
_HEALTHY: Final = 30.0  # spreads: a start-up in the data must not fill the covariance
_LEAST_SPREAD: Final = 0.02  # of a logarithm: 2 %
_FOLDS: Final = 4
_MAX_SILENT: Final = 0.1
_QUANTILES: Final = (0.9, 0.99)
_LEAST_SHARE: Final = 1e-9
_OWN_QUANTILE: Final = 0.995
_MARGIN: Final = 1.5
_DAY_S: Final = 86_400.0
_ROWS_OF_ALARM: Final = 5
_STANDS: Final = 0.1  # of its usual speed
_DOUBT: Final = 0.05  # each condition must make 5 % smaller faults visible


def learn_waves(
    rows: Mapping[str, NDArray[np.floating]], recipe: WaveRecipe, *, now_us: int
) -> LearnedBundle:
    """A baseline for each asset from its healthy windows, oldest first: features and conditions.

    rows: [T, F + K]. NaN: of a window that never changes, or a condition that is not known.
    ModelError if no asset can be learned.
    """
    found: dict[str, _Calibrated] = {}
    refused: dict[str, str] = {}
    for asset, each in rows.items():
        try:
            found[asset] = _calibrated(*_sound(each.astype(np.float64), recipe), recipe)
        except ModelError as error:
            refused[asset] = str(error)
    if not found:
        reasons = [f"{asset}: {reason}" for asset, reason in refused.items()]
        raise ModelError(next(iter(reasons), "no windows to learn from"), where=recipe.name)
    step_s = recipe.spacing_s or recipe.step_s
    days = sum(one.windows for one in found.values()) * step_s / _DAY_S
    stated = _stated(days, found, recipe)
    recipe, baselines = _needed(recipe, found)
    bundle = bundle_of(recipe, baselines, refused, stated, now_us)
    least = min(len(rows[asset]) for asset in baselines)
    return replace(bundle, manifest=replace(bundle.manifest, learned_rows=least))


class _Calibrated(NamedTuple):
    """The baseline of one asset, and what was seen of it.

    given: numbers of the conditions that it is given; tried: of each choice, the log of the
    deviation that is found, in the mean of the features. ranges: of the conditions, [2, K].
    """

    baseline: WaveBaseline
    windows: int
    alarms: int
    given: tuple[int, ...]
    tried: dict[tuple[int, ...], float]
    ranges: Floats


def _sound(rows: Floats, recipe: WaveRecipe) -> tuple[Floats, Floats]:
    """Features and conditions of windows that are whole; ModelError if many never change."""
    if recipe.speed_hz and not len(rows):
        message = f"no window with a speed: no value of {recipe.conditions[0].name}, or it is 0"
        raise ModelError(message, hint="a recording needs the speed, too: a second file")
    features, conditions = np.split(rows, [recipe.places[-1]], axis=1)
    known = np.asarray(np.isfinite(conditions).all(axis=1))
    if recipe.speed_hz and known.any():
        known[known] = conditions[known, 0] > _STANDS * np.quantile(conditions[known, 0], 0.9)
    features, conditions = features[known], conditions[known]
    for place, spec in zip(recipe.places, recipe.inputs, strict=False):
        silent = np.isnan(features[:, place])
        if silent.sum() > _MAX_SILENT * len(features):
            raise ModelError(
                f"{spec.name}: {silent.sum()} of {len(features)} windows never change",
                hint="a dead sensor? Or learn only while the machine runs: when",
            )
    sound = ~np.isnan(features).any(axis=1)
    if sound.sum() < LEAST_WAVES:
        names, without = [spec.name for spec in recipe.conditions], len(rows) - len(features)
        more = f", {without} are without {' or '.join(names)}" if without else ""
        message = f"{sound.sum()} windows of the {LEAST_WAVES} needed{more}"
        raise ModelError(message, hint="learn from more time")
    return features[sound], conditions[sound]


def fit_waves(
    features: Floats, conditions: Floats, given: tuple[int, ...], used: NDArray[np.bool_]
) -> WaveBaseline:
    """The healthy state in those of the rows, [n, F] and [n, K], that are used.

    given: the conditions that explain a part of the features.
    """
    explains = given_of(features[used], conditions[used], given)
    mine = features[used] - explains.explained(conditions[used])
    center = np.median(mine, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(mine - center), axis=0), _LEAST_SPREAD)
    z = np.clip((mine - center) / spread, -_HEALTHY, _HEALTHY)
    # Rows that are held out do not count as time: sixteenths of the rest are compared.
    known = precision(z, np.arange(len(z)), len(z))
    return WaveBaseline(center, spread, z.mean(axis=0), known, explains)


def _calibrated(features: Floats, conditions: Floats, recipe: WaveRecipe) -> _Calibrated:
    """The baseline of one asset, in the form that finds the smallest deviations."""
    count = conditions.shape[1]
    plans = dict.fromkeys([(), *((k,) for k in range(count)), tuple(range(count))])
    found = {plan: _limited(features, conditions, plan, recipe) for plan in plans}
    best = min(found, key=lambda plan: found[plan][2] + _DOUBT * len(plan))
    baseline, alarms, _ = found[best]
    tried = {plan: sharpness for plan, (_, _, sharpness) in found.items()}
    ranges = range_of(conditions) if count else np.empty((2, 0))
    return _Calibrated(baseline, len(features), alarms, best, tried, ranges)


def _limited(
    features: Floats, conditions: Floats, given: tuple[int, ...], recipe: WaveRecipe
) -> tuple[WaveBaseline, int, float]:
    """A baseline with its limits, the alarms in its own time, and the log of what it finds.

    Each quarter of the time is judged by the other three.
    """
    n = len(features)
    part = np.arange(n) * _FOLDS // n
    judged = np.concatenate(
        [_held_out(features, conditions, given, part == k) for k in range(_FOLDS)]
    )
    share = recipe.false_alarms_per_day * recipe.step_s / _DAY_S
    whole = fit_waves(features, conditions, given, np.ones(n, bool))
    own = np.quantile(whole.distances(features, conditions), _OWN_QUANTILE, axis=0)
    limits = tuple(
        max(_limit(judged[:, k], share), _MARGIN * float(own[k])) for k in range(judged.shape[1])
    )
    over = (judged >= np.array(limits)).any(axis=1)
    found = float(np.log(whole.spread).mean() + np.log(limits).mean() / 2)
    return replace(whole, limits=(limits[0], limits[1])), _alarms(np.asarray(over)), found


def _held_out(
    features: Floats, conditions: Floats, given: tuple[int, ...], out: NDArray[np.bool_]
) -> Floats:
    """The distances of windows that are held out, of those in the range of the others."""
    low, high = range_of(conditions[~out][:, given])
    inside = out & ((conditions[:, given] >= low) & (conditions[:, given] <= high)).all(axis=1)
    chosen = inside if inside.sum() >= out.sum() // 2 else out
    found = fit_waves(features, conditions, given, ~out)
    return found.distances(features[chosen], conditions[chosen])


def _limit(scores: Floats, share: float) -> float:
    """The limit that this share of healthy windows exceeds.

    The cube root of a sum of squares is nearly normal (Wilson, Hilferty 1931). Its spread is the
    largest that a quantile above the median shows, so that a heavy tail counts.
    """
    normal = NormalDist()
    root = np.cbrt(scores)
    middle = float(np.median(root))
    quantiles = [q for q in (*_QUANTILES, 1 - 1 / (len(root) + 1)) if q < 1]
    spread = max((float(np.quantile(root, q)) - middle) / normal.inv_cdf(q) for q in quantiles)
    wider = 1 + 2 / sqrt(len(root))  # few windows tell little about a tail
    far = normal.inv_cdf(1 - min(max(share, _LEAST_SHARE), 0.01))
    return max((middle + far * spread * wider) ** 3, _MARGIN * float(scores.max()))


def _alarms(over: NDArray[np.bool_]) -> int:
    """The number of alarms: windows near each other are one."""
    at = np.flatnonzero(over)
    return int(len(at) > 0) + int((np.diff(at) > _ROWS_OF_ALARM).sum())


def _stated(days: float, found: Mapping[str, _Calibrated], recipe: WaveRecipe) -> dict[str, str]:
    """The manifest's facts about the limits, over all assets together."""
    alarms = sum(one.alarms for one in found.values())
    stated = {
        "method": "each quarter of the time held out in turn; beyond what was seen a normal law "
        "of the cube root",
        "held_out_asset_days": f"{days:.4g}",
        "held_out_alarms": str(alarms),
        "at_most_per_asset_day": f"{poisson_upper(alarms) / days:.4g}",
    }
    if not recipe.conditions:
        return stated
    names = [spec.name for spec in recipe.conditions]

    def text(given: tuple[int, ...]) -> str:
        return " and ".join(names[k] for k in given) or "nothing"

    tried = next(iter(found.values())).tried
    factors = [f"{text(g)}: {np.exp(each - tried[()]):.2f}" for g, each in tried.items()]
    each = [f"{asset}: {text(one.given)}" for asset, one in found.items()]
    return stated | {"judged_given": ", ".join(each), "smallest_fault_given": ", ".join(factors)}


def _needed(
    recipe: WaveRecipe, found: Mapping[str, _Calibrated]
) -> tuple[WaveRecipe, dict[str, WaveBaseline]]:
    """Only the conditions that an asset is given, and the speed, with the range that was seen.

    A window beyond is not judged: what the machine does there is not known.
    """
    used = {k for one in found.values() for k in one.given} | ({0} if recipe.speed_hz else set())
    kept = sorted(used)
    ranges = np.stack([one.ranges[:, kept] for one in found.values()])
    low, high = ranges[:, 0].min(axis=0), ranges[:, 1].max(axis=0)
    edges = zip(low.tolist(), high.tolist(), strict=True)
    specs = [
        replace(recipe.conditions[k], valid=(float(f"{a:.6g}"), float(f"{b:.6g}")))
        for k, (a, b) in zip(kept, edges, strict=True)
    ]
    baselines = {
        asset: replace(one.baseline, given=one.baseline.given.only(kept))
        for asset, one in found.items()
    }
    return replace(recipe, conditions=tuple(specs)), baselines
