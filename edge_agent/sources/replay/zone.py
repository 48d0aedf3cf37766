"""Converts local times to UTC, across the doubled hour in autumn and the skipped one in spring."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001
_BUCKET_US: Final = 900_000_000  # every zone changes at a quarter of an hour
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?")


def find_zone(name: str) -> tzinfo:
    """The zone of an IANA name or of an offset such as `+01:00`; EdgeAgentError."""
    if name in {"UTC", "Z", ""}:
        return UTC
    if found := _OFFSET.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3] or 0)
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = "an IANA name such as Europe/Berlin, or an offset such as +01:00"
        raise EdgeAgentError(f"unknown time zone {name!r}", hint=hint) from error


class LocalTime:
    """Converts the local times of one file, in the order of its rows, to UTC.

    In the doubled hour a step back, in rows that go forward, begins the second pass; in rows that
    go backward a step ahead begins the first. It must be at least half as long as the step that a
    second pass causes at the typical step of the rows: small disorder does not count. doubtful:
    times of a doubled hour for which the rows do not show the pass; they are read as the first.
    """

    def __init__(self, zone: tzinfo, *, backward: bool = False, typical_step_us: int = 0) -> None:
        self._fixed = isinstance(zone, timezone)
        self._offsets = lru_cache(maxsize=4096)(lambda bucket: _offsets(zone, bucket))
        self._backward = backward
        self._step_us = typical_step_us
        self._last_us: int | None = None  # in the doubled hour
        self._second = backward
        self._run = 0
        self._decided = False
        self.doubtful = 0

    def to_utc(self, wall_us: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """UTC in microseconds, and a mask of the times that do not exist in the zone."""
        if self._fixed or not len(wall_us):
            return wall_us - self._offsets(0)[0], np.zeros(len(wall_us), np.bool_)
        buckets, inverse = np.unique(wall_us // _BUCKET_US, return_inverse=True)
        table = np.array([self._offsets(int(b)) for b in buckets], np.int64).reshape(-1, 2)
        early, late = table[inverse, 0], table[inverse, 1]
        offset, twice, never = early.copy(), early > late, early < late
        if twice.any():
            second = self._second_passes(wall_us, early - late)
            offset[second] = late[second]
        else:
            self._leave()
        return wall_us - offset, never

    def finish(self) -> int:
        """Return the number of times of a doubled hour that could not be decided."""
        self._leave()
        return self.doubtful

    def _second_passes(
        self, wall_us: NDArray[np.int64], doubled_us: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        twice = doubled_us > 0
        second = np.zeros(len(wall_us), np.bool_)
        for row in np.flatnonzero(twice).tolist():
            if row and not twice[row - 1]:
                self._leave()
            second[row] = self._is_second(int(wall_us[row]), int(doubled_us[row]))
        if not twice[-1]:
            self._leave()
        return second

    def _is_second(self, us: int, doubled_us: int) -> bool:
        last, self._last_us = self._last_us, us
        self._run += 1
        if last is not None:
            step = last - us if not self._backward else us - last
            expected_us = max(0, doubled_us - self._step_us)
            if 2 * step >= expected_us and (step > 0 or self._step_us > 0):
                self._second = not self._backward
                self._decided = True
        return self._second

    def _leave(self) -> None:
        if self._run and not self._decided:
            self.doubtful += self._run
        self._last_us, self._run, self._decided = None, 0, False
        self._second = self._backward


def _offsets(zone: tzinfo, bucket: int) -> tuple[int, int]:
    """Offsets in microseconds of the first and the second reading of a local time."""
    try:
        local = _EPOCH + timedelta(microseconds=bucket * _BUCKET_US)
        found = [local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
    except OverflowError:
        return 0, 0
    first, second = (round((one or timedelta()).total_seconds() * 1e6) for one in found)
    return first, second
