"""The time scale of a baseline: its step, found from the times of an asset's values, and its rows.

The step is the lower median, over the inputs, of the usual distance between two of their values:
the shortest step at which at least half of the inputs have a new value. Inputs that report at
irregular times, such as those that report changes only, are set aside if any other is regular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import DEFAULT_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_agent.config.schema import Learn

LEAST_STEP_US: Final = 1000
LARGEST_STEP_US: Final = 86_400 * US_PER_S
DEFAULT_STEP_S: Final = 1.0  # nothing is known of the values' times
ENOUGH: Final = 30  # distances of an input
FEW: Final = 8  # distances that are enough after a time; fewer do not show if they are regular

# Values that come in bunches: at least this share of the distances is long, and the others
# make up less than this share of the time.
_LONG: Final = 4.0
_BUNCHES: Final = 3
_BUNCH_SHARE: Final = 0.01
_BUNCH_TIME: Final = 0.05
_CORE: Final = (0.5, 1.5)  # of the median: distances without a missing value between them
_NEAR: Final = (0.75, 1.33)
_REGULAR: Final = 0.5  # of the distances are near their median

_ROUND_WITHIN: Final = (0.03, 0.08)
_JITTERS: Final = 2.0
_MS_US: Final = 1000
_MINUTE_US: Final = 60 * US_PER_S
_ROUND_US: Final = np.array(
    [
        *(round(n * unit * _MS_US) for unit in (1, 10, 100) for n in (1, 2, 2.5, 4, 5, 8)),
        *(n * unit for unit in (US_PER_S, _MINUTE_US) for n in (1, 2, 3, 4, 5, 6, 8, 10, 12)),
        *(n * unit for unit in (US_PER_S, _MINUTE_US) for n in (15, 20, 30, 40)),
        *(n * 60 * _MINUTE_US for n in (1, 2, 3, 4, 6, 8, 12, 24)),
    ]
)
_DIGITS: Final = 3  # of a step that is near no round one

_DAY_S: Final = 86_400.0
_STAGES: Final = 4  # times the rows of a provisional baseline make the next one
_GRACE_S: Final = 300.0
_GRACE_ROWS: Final = 10
_LEAST_GRACE_ROWS: Final = 3  # a shorter one would leave out inputs between two of their values
_GRACE_SHARE: Final = 0.25  # of the time until the first baseline, at most
_PATIENCE_S: Final = 60.0  # no report of an obstacle before this time
_PATIENCE_ROWS: Final = 5
_SHORT_WINDOWS: Final = 8  # in a recording that is too short for windows of the usual length
_LEAST_LENGTH: Final = 8


class Spacing(NamedTuple):
    """The usual distance of an input's values.

    distances: number it is based on; jitter: their standard deviation, as a share.
    """

    distance_us: float
    distances: int
    is_regular: bool
    jitter: float = 0.0


NO_SPACING: Final = Spacing(np.inf, 0, is_regular=True)


def spacing_of(time_us: NDArray[np.int64]) -> Spacing:
    """The spacing of the values of one input, by their times [n] in any order."""
    distances = np.diff(np.unique(time_us)).astype(np.float64)
    if not len(distances):
        return NO_SPACING
    distances = _without_bunches(distances)
    middle = float(np.median(distances))
    ratio = distances / middle
    core = distances[(ratio > _CORE[0]) & (ratio < _CORE[1])]
    near = np.mean((ratio > _NEAR[0]) & (ratio < _NEAR[1]))
    core = core if len(core) else np.array([middle])
    is_regular = len(distances) < FEW or bool(near >= _REGULAR)
    usual = float(core.mean())
    return Spacing(usual, len(distances), is_regular, float(core.std()) / usual)


def _without_bunches(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distances between bunches, if the values come in bunches."""
    while True:
        long = distances > _LONG * np.quantile(distances, 0.25, method="lower")
        within = distances[~long].sum()
        is_rare = long.sum() < max(_BUNCHES, _BUNCH_SHARE * len(distances))
        if is_rare or within >= _BUNCH_TIME * distances.sum():
            return distances
        distances = distances[long]


def step_of(spacings: Iterable[Spacing], enough: int = ENOUGH, silent: int = 0) -> float | None:
    """The step of an asset with inputs of these spacings, in seconds; None if it is not known yet.

    enough: distances that the deciding input needs; silent: inputs that may have a longer spacing
    than all others.
    """
    known = [one for one in spacings if one.distances]
    usable = [one for one in known if one.is_regular] or known
    usable.sort(key=lambda one: one.distance_us)
    middle = (len(usable) + silent - 1) // 2
    if not usable or middle >= len(usable) or usable[middle].distances < enough:
        return None
    return rounded_us(usable[middle].distance_us, usable[middle].jitter) / US_PER_S


def rounded_us(distance_us: float, jitter: float = 0.0) -> int:
    """A round step near a distance, so that the grids of like assets agree; 1 ms to 1 day.

    Within 3 %, or within twice the jitter, but not more than 8 %.
    """
    within = min(max(distance_us, LEAST_STEP_US), LARGEST_STEP_US)
    tolerance = float(np.clip(_JITTERS * jitter, *_ROUND_WITHIN))
    nearest = int(_ROUND_US[np.argmin(np.abs(np.log(_ROUND_US / within)))])
    if abs(nearest / within - 1) <= tolerance:
        return nearest
    return round(float(f"{within:.{_DIGITS - 1}e}"))


@dataclass(frozen=True, slots=True)
class TimeScale:
    """The time scale of a baseline, in seconds and in rows of its model.

    is_found: the step was found from the data, not told; stages: rows of the provisional
    baselines, and of the full one; grace_s: an input that is unusable for longer is left out;
    patience_s: an obstacle is reported after this time.
    """

    step_s: float
    length: int
    is_found: bool
    stages: tuple[int, ...]
    grace_s: float
    patience_s: float

    @classmethod
    def of(cls, config: Learn, found_s: float | None = None) -> TimeScale:
        """The scale as the config tells it; found_s: the step in the data, if none is told."""
        step_s = float(config.step or found_s or DEFAULT_STEP_S)
        stages = _stages(config, step_s)
        told_s, usual_s = config.grace, max(_GRACE_S, _GRACE_ROWS * step_s)
        grace_s = usual_s if told_s is None else max(told_s, _LEAST_GRACE_ROWS * step_s)
        return cls(
            step_s=step_s,
            length=config.length or DEFAULT_LENGTH,
            is_found=config.step is None,
            stages=stages,
            grace_s=min(grace_s, _GRACE_SHARE * stages[0] * step_s),
            patience_s=max(_PATIENCE_S, _PATIENCE_ROWS * step_s),
        )

    @property
    def step_us(self) -> int:
        """The step in microseconds."""
        return max(1, round(self.step_s * US_PER_S))

    @property
    def text(self) -> str:
        """The step, and if it was found."""
        return f"{duration_text(self.step_s)}, {'found from the data' if self.is_found else 'told'}"


def _stages(config: Learn, step_s: float) -> tuple[int, ...]:
    """The numbers of rows for a baseline: provisional ones, each 4 times, then the full."""
    wanted = config.rows_wanted(step_s)
    found = []
    rows = max(config.rows_needed, round(config.first_after / step_s))
    while config.first_after and 2 * rows <= wanted:
        found.append(rows)
        rows *= _STAGES
    return (*found, wanted)


def length_for(rows: int, config: Learn) -> int:
    """The rows of a window if only this many rows will ever be there."""
    if config.length is not None:
        return config.length
    # Whoever tells the step knows the windows too: they are refused rather than changed.
    if rows >= config.rows_needed or config.step is not None:
        return DEFAULT_LENGTH
    windows = max(1, rows // _SHORT_WINDOWS)
    return max(_LEAST_LENGTH, 1 << (windows.bit_length() - 1))


def duration_text(seconds: float) -> str:
    """A step as the config writes it: 50ms, 3m, 6h."""
    for size, unit in ((_DAY_S, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s")):
        if seconds >= size and (seconds / size).is_integer():
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1.0 else f"{1000 * seconds:g}ms"
