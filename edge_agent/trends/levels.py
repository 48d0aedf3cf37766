"""The resolutions of the trends: how long each is kept, and which one answers a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DAY_S: Final = 86_400
_BYTES_PER_ROW: Final = 12  # of an aggregate in the file, about; see docs/performance.md
_WRITES_A_DAY: Final = 2  # of the size of the file: what flash memory bears for many years


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution.

    kept_s: for how long, if the size allows it; share: of the size of the file; roll_s: after this
    long its rows are summed up for the next level.
    """

    resolution_s: int
    kept_s: int
    share: float
    roll_s: int


LEVELS: Final = (
    Level(10, _DAY_S, 0.4, 3600),
    Level(60, 7 * _DAY_S, 0.3, 12 * 3600),
    Level(900, 92 * _DAY_S, 0.2, 10 * _DAY_S),
    Level(21_600, 3660 * _DAY_S, 0.1, 0),
)
RESOLUTIONS_S: Final = tuple(one.resolution_s for one in LEVELS)
LAST: Final = len(LEVELS) - 1
# Steps between two points of an answer: multiples of a resolution that people read easily.
_STEPS_S: Final = (
    *(10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(_DAY_S * days for days in (1, 2, 7, 14, 28, 91, 364)),
)


def step_for(seconds: int, points: int) -> int:
    """The smallest step (s) with which a time of that length has at most so many points."""
    return next((step for step in _STEPS_S if step * points >= seconds), _STEPS_S[-1])


def level_for(step_s: int) -> int:
    """The coarsest level from which points with that step are made."""
    fits = (n for n, s in enumerate(RESOLUTIONS_S) if s <= step_s and step_s % s == 0)
    return max(fits, default=0)


def base_level(series: int, max_bytes: int) -> int:
    """The finest level that so many series may write: more would wear the memory of the gateway."""
    for number, level in enumerate(LEVELS[:LAST]):
        a_day = series * _BYTES_PER_ROW * _DAY_S // level.resolution_s
        if a_day <= _WRITES_A_DAY * max_bytes:
            return number
    return LAST
