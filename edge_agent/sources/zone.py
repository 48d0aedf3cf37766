"""Converts columns of local times of a zone to UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_QUARTER_US: Final = 900 * US_PER_S  # no zone changes its offset within a quarter of an hour
_FIRST_US: Final = 631_152_000 * US_PER_S  # 1990-01-01; older times are not of a plant
_LAST_US: Final = 4_102_444_800 * US_PER_S  # 2100-01-01


def zone_problems(name: str) -> Iterator[tuple[str, str]]:
    """The faults of a `timezone:`, as (key, message)."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        yield "timezone", f"unknown time zone {name!r}: write Europe/Berlin, Asia/Tokyo, UTC ..."


class Zone:
    """One time zone; `is_utc` if times need no change."""

    def __init__(self, name: str) -> None:
        self.is_utc = name == "UTC"
        self._zone = ZoneInfo(name)
        self._known: dict[int, tuple[int, int]] = {}

    def to_utc(self, local_us: NDArray[np.int64], now_us: int) -> NDArray[np.int64]:
        """Local times [n] as UTC [n], microseconds; 0 and times not of a plant stay unchanged.

        In the hour that occurs twice in autumn, the time closer to `now_us`.
        """
        if self.is_utc:
            return local_us
        usable = (local_us >= _FIRST_US) & (local_us < _LAST_US)
        quarters, which = np.unique(local_us[usable] // _QUARTER_US, return_inverse=True)
        offsets = np.array([self._offsets_us(int(q)) for q in quarters], np.int64).reshape(-1, 2)
        result = local_us.copy()
        both = local_us[usable, None] - offsets[which]
        nearest = np.abs(both - now_us).argmin(axis=1)
        result[usable] = both[np.arange(len(both)), nearest]
        return result

    def _offsets_us(self, quarter: int) -> tuple[int, int]:
        """Offsets of a local quarter of an hour: of its first and its second occurrence."""
        found = self._known.get(quarter)
        if found is None:
            naive = datetime.fromtimestamp(quarter * _QUARTER_US / US_PER_S, UTC)
            local = naive.replace(tzinfo=self._zone)
            first, second = (_offset_us(local.replace(fold=fold)) for fold in (0, 1))
            if len(self._known) > 1000:  # noqa: PLR2004 (of a recording over many years)
                self._known.clear()
            found = self._known[quarter] = first, second
        return found


def _offset_us(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * US_PER_S)
