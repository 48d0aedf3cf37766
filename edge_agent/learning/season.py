"""The season of a machine: how the middle of its statistics moves with the hour of the day or week.

A season is an additive profile over the repetitions (days, weeks), whose levels may differ. Each
repetition is compared with the profile of the others only, which says how far a profile may be
trusted (`share`), and how wide a statistic is around it: a new day is no better known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.models import WEEK_H

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAY_H: Final = 24

POINTS_PER_HOUR: Final = 2
NO_SEASON: Final = 0
_NAMES: Final = {DAY_H: "day", WEEK_H: "week"}
_SPACINGS_H: Final = (0.5, 1, 2, 3, 4)
_NEAR: Final = 0.02
_ROUNDS: Final = 8  # of levels and profile in turn
_SPAN: Final = 1.98  # periods that the values must span
_EXPLAINED: Final = 0.25  # of the variance within the repetitions
_LEFT: Final = 0.7  # times what other periods leave
_MANY_DAYS: Final = 2.9  # fewer must show more
_SHORT_EXPLAINED: Final = 0.7
_SHORT_LEFT: Final = 0.5
_OTHER_DAYS: Final = (0.62, 0.71, 0.79, 0.87, 1.13, 1.29, 1.43)
_OTHER_WEEKS: Final = (4 / 7, 5 / 7, 6 / 7, 8 / 7, 9 / 7, 10 / 7)
_TINY: Final = 1e-12


class Season(NamedTuple):
    """What `learn_season` finds.

    profile: [B, S, C], at half-hour points of the period; removed: [n, S, C], what the profile of
    the other repetitions is at each value, NaN where there is none. explained: [S, C], the share of
    the variance within the repetitions that it explains.
    """

    profile: Floats
    removed: Floats
    explained: Floats


def season_name(period_h: int) -> str:
    """The period in words."""
    return f"season of a {_NAMES[period_h]}"


def seasons_in(values: Floats, hour: Floats, span_h: float) -> list[int]:
    """The periods, in hours, of which values [n, S, C] show a season; the shortest first.

    hour: [n], since a Monday at midnight; span_h: the time in which the values were taken.
    """
    found: list[int] = []
    if not len(hour) or _step_h(hour) > (1 + _NEAR) * _SPACINGS_H[-1]:
        return found
    if span_h >= _SPAN * DAY_H and _is_season(values, hour, DAY_H, _OTHER_DAYS, span_h):
        found.append(DAY_H)
    if span_h >= _SPAN * WEEK_H:
        rest = values - _learn(values, hour, DAY_H).removed
        if _is_season(rest, hour, WEEK_H, _OTHER_WEEKS, span_h):
            found.append(WEEK_H)
    return found


def _is_season(
    values: Floats, hour: Floats, period_h: int, others: tuple[float, ...], span_h: float
) -> bool:
    """True if the period explains more of a statistic than `others`, times as long, do.

    Slow values repeat by chance, but then at any period.
    """
    explained = _learn(values, hour, period_h).explained
    chance = [
        _learn(values, hour, other * period_h).explained
        for other in others
        if span_h >= _SPAN * other * period_h
    ]
    largest = np.max(chance, axis=0) if chance else np.zeros_like(explained)
    is_short = span_h < _MANY_DAYS * DAY_H
    at_least, left = (_SHORT_EXPLAINED, _SHORT_LEFT) if is_short else (_EXPLAINED, _LEFT)
    return bool(((explained > at_least) & (1 - explained < left * (1 - largest))).any())


def season_at(profile: Floats, hour: Floats) -> Floats:
    """A profile [B, ...] at hours [n] since its period began, between its points."""
    place = np.mod(hour * POINTS_PER_HOUR, len(profile))
    low = np.floor(place).astype(np.intp) % len(profile)
    share = (place - np.floor(place)).reshape(-1, *[1] * (profile.ndim - 1))
    return np.asarray((1 - share) * profile[low] + share * profile[(low + 1) % len(profile)])


def learn_season(values: Floats, hour: Floats, period_h: int) -> Season:
    """The season of values [n, S, C] at hours [n] since a period began.

    A week is a season of a day first, then of a week in what is left.
    """
    if period_h == WEEK_H:
        day = _learn(values, hour, DAY_H)
        week = _learn(values - day.removed, hour, WEEK_H)
        profile = np.tile(day.profile, (WEEK_H // DAY_H, 1, 1)) + week.profile
        return Season(profile, day.removed + week.removed, week.explained)
    return _learn(values, hour, period_h)


def _learn(values: Floats, hour: Floats, period_h: float) -> Season:
    columns = values.reshape(len(values), -1)
    points = round(period_h / _spacing_h(hour))
    begin_h = float(np.mod(hour[0], period_h / points)) if len(hour) else 0.0
    place = (hour - begin_h) * points / period_h  # of values on a coarse grid: a point
    nearest = np.floor(place + 0.5).astype(np.intp)
    turns, turn = np.unique(nearest // points, return_inverse=True)
    point = nearest % points
    means, is_seen = _means(columns, turn, point, points)
    levels, profile = _levels_and_profile(means, is_seen, turns)
    others = _profile_of_others(means - levels, is_seen)
    expected = _between(others, turn, place)
    share, explained = _share(columns - levels[turn, point], expected)
    shape = values.shape[1:]
    known_h = begin_h + np.flatnonzero(is_seen.any(axis=0)) * period_h / points
    filled = _filled(share * profile[is_seen.any(axis=0)], known_h, period_h)
    removed = (share * expected).reshape(values.shape)
    return Season(filled.reshape(-1, *shape), removed, explained.reshape(shape))


def _spacing_h(hour: Floats) -> float:
    """The hours between two points of a profile: not less than the step of the values."""
    step_h = (1 - _NEAR) * _step_h(hour)
    return next((each for each in _SPACINGS_H if each >= step_h), _SPACINGS_H[-1])


def _step_h(hour: Floats) -> float:
    """The usual hours between two values."""
    steps = np.diff(hour)
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def _means(
    columns: Floats, turn: NDArray[np.intp], point: NDArray[np.intp], points: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """The mean of each column at each point of each repetition [Q, B, K], and where there is one.

    NaN is no value.
    """
    known = ~np.isnan(columns).any(axis=1)
    turns = int(turn.max(initial=-1)) + 1
    cell = (turn * points + point)[known]
    counts = np.bincount(cell, minlength=turns * points)
    sums = [np.bincount(cell, each, minlength=turns * points) for each in columns[known].T]
    means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
    return means.reshape(turns, points, -1), (counts > 0).reshape(turns, points)


def _levels_and_profile(
    means: Floats, is_seen: NDArray[np.bool_], turns: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Levels [Q, B, K] and profile [B, K] whose sums are nearest to `means` [Q, B, K].

    The level goes straight from the middle of a repetition to that of the next: a trend is no
    season.
    """
    weight = is_seen[:, :, None].astype(float)
    by_turn = np.maximum(weight.sum(axis=1), 1)
    by_bin = np.maximum(weight.sum(axis=0), 1)
    seen = np.asarray(is_seen.any(axis=0))
    profile, levels = np.zeros(means.shape[1:]), np.zeros_like(means)
    for _ in range(_ROUNDS):
        sums = ((means - profile) * weight).sum(axis=1)
        levels = _lines(sums / by_turn, turns, means.shape[1])
        profile = ((means - levels) * weight).sum(axis=0) / by_bin
        profile -= profile[seen].sum(axis=0) / max(seen.sum(), 1)
    return levels, np.where(seen[:, None], profile, 0.0)


def _lines(levels: Floats, turns: NDArray[np.intp], points: int) -> Floats:
    """Lines through levels [Q, K] at the middle of the repetitions `turns` [Q]: [Q, B, K]."""
    if len(levels) == 1:
        return np.repeat(levels[:, None], points, axis=1)
    after = (np.arange(points) + 0.5) / points - 0.5  # the middle, in repetitions
    low = np.clip(np.arange(len(turns))[:, None] - (after < 0), 0, len(turns) - 2)
    share = (turns[:, None] + after - turns[low]) / (turns[low + 1] - turns[low])
    return np.asarray(levels[low] + share[:, :, None] * (levels[low + 1] - levels[low]))


def _profile_of_others(means: Floats, is_seen: NDArray[np.bool_]) -> Floats:
    """For each repetition the mean of the others [Q, B, K]; NaN where there is none."""
    weight = is_seen[:, :, None].astype(float)
    count = weight.sum(axis=0) - weight
    total = (means * weight).sum(axis=0) - means * weight
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _between(others: Floats, turn: NDArray[np.intp], place: Floats) -> Floats:
    """Profiles [Q, B, K] of repetitions `turn` at places [n] in points, between two of them."""
    points = others.shape[1]
    low = np.floor(place).astype(np.intp)
    share = (place - low)[:, None]
    found = (1 - share) * others[turn, low % points] + share * others[turn, (low + 1) % points]
    return np.asarray(np.where(share > 0, found, others[turn, low % points]))


def _share(moved: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """By how much of it the expected season is best removed, 0..1; the variance it explains."""
    known = ~np.isnan(expected).any(axis=1) & ~np.isnan(moved).any(axis=1)
    y, e = moved[known], expected[known]
    share = np.clip((y * e).sum(axis=0) / np.maximum((e * e).sum(axis=0), _TINY), 0.0, 1.0)
    left = ((y - share * e) ** 2).sum(axis=0)
    return share, 1 - left / np.maximum((y * y).sum(axis=0), _TINY)


def _filled(known: Floats, known_h: Floats, period_h: float) -> Floats:
    """A profile [B, K] at the points of `season_at`, from values [n, K] at known hours [n]."""
    at = np.arange(round(period_h * POINTS_PER_HOUR)) / POINTS_PER_HOUR
    if not len(known):
        return np.zeros((len(at), known.shape[1]))
    return np.stack([np.interp(at, known_h, each, period=period_h) for each in known.T], axis=1)
