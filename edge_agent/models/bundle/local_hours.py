"""The local hour of the week, by which the middle of a baseline with a season moves.

Shifts and office hours follow local time, also when the clocks change; what follows the sun moves
by an hour then, which a smooth season hardly shows.
"""

from __future__ import annotations

import os
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEK_H: Final = 168
_HOUR_US: Final = 3600 * US_PER_S
_QUARTER_US: Final = 900 * US_PER_S  # no zone changes its offset within a quarter of an hour
_MONDAY_US: Final = 4 * 24 * _HOUR_US  # 1970-01-05, the first Monday after the epoch
_LOCALTIME: Final = Path("/etc/localtime")


def is_zone(name: str) -> bool:
    """True if this machine knows the time zone of an IANA name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def local_zone() -> str:
    """The IANA name of this machine's time zone, by TZ or /etc/localtime; UTC if it has none."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        name = os.path.realpath(_LOCALTIME).partition("zoneinfo/")[2]
    return name if name and is_zone(name) else "UTC"


def local_hours(time_us: NDArray[np.int64], zone: str) -> NDArray[np.float64]:
    """Times [n], in microseconds since the epoch, as local hours since a Monday at midnight."""
    quarter = time_us // _QUARTER_US
    first = int(quarter[0]) if len(quarter) else 0
    if (quarter == first).all():  # as live
        return np.asarray((time_us - _MONDAY_US + _offset_us(first, zone)) / _HOUR_US)
    quarters, which = np.unique(quarter, return_inverse=True)
    offsets = np.array([_offset_us(each, zone) for each in quarters.tolist()], np.int64)
    return np.asarray((time_us - _MONDAY_US + offsets[which]) / _HOUR_US)


def hours_of_week(time_us: NDArray[np.int64], zone: str) -> NDArray[np.float32]:
    """Times [n] as local hours since the last Monday at midnight: a graph's input HOUR."""
    return np.asarray(np.mod(local_hours(time_us, zone), WEEK_H), np.float32)


@lru_cache(maxsize=4096)
def _offset_us(quarter: int, zone: str) -> int:
    """The offset from UTC in a quarter of an hour."""
    offset = datetime.fromtimestamp(quarter * _QUARTER_US / US_PER_S, ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * US_PER_S)
