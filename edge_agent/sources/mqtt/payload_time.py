"""Converts a payload's time stamp to microseconds since the epoch; for many see `columns`."""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.payload_spec import TimeUnit

MIN_TIME_US: Final = 631_152_000_000_000  # 1990-01-01; earlier: the clock was never set
MAX_TIME_US: Final = 4_102_444_800_000_000  # 2100-01-01
_LAST_US: Final = 10_000_000_000_000_000  # 2286: accepted when read one by one, to report the clock
OUTSIDE: Final = "a time stamp outside 1970 to 2286"
UNIT_US: Final = {TimeUnit.S: 1e6, TimeUnit.MS: 1e3, TimeUnit.US: 1.0, TimeUnit.NS: 1e-3}
# At most one of the four units makes a number a time of 1990 to 2100; these are the limits.
AUTO_LIMITS: Final = (1e11, 1e14, 1e17)
AUTO_US: Final = (1e6, 1e3, 1.0, 1e-3)
# Texts that count s, ms, us or ns since 1970 and are no date such as 20261126231000 or 2611262310.
_COUNT: Final = re.compile(r"1\d{9}(\.\d+)?|[12]\d{12}(\.\d+)?|[12]\d{15}|[12]\d{18}", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,19}(\.\d+)?", re.ASCII)


def time_us(raw: object, unit: TimeUnit, zone: str = "") -> int:
    """One time stamp as microseconds; DecodeError `time` if it is not one.

    raw: a number, also in a text, or ISO 8601.
    zone: the IANA name of the zone of texts without zone; default: UTC.
    """
    if isinstance(raw, str) and unit != TimeUnit.ISO:
        counts = _COUNT if unit == TimeUnit.AUTO else _NUMBER
        raw = float(raw) if counts.fullmatch(raw) else raw
    if isinstance(raw, str) and unit in {TimeUnit.AUTO, TimeUnit.ISO}:
        return _bounded(_iso_seconds(raw, zone) * 1e6)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or unit == TimeUnit.ISO:
        raise DecodeError("time", f"a {type(raw).__name__} where a time ({unit}) is expected")
    try:
        number = float(raw)
    except OverflowError as error:
        raise DecodeError("time", "the time stamp is too large") from error
    factor = UNIT_US.get(unit)
    return _bounded(number * (factor or AUTO_US[bisect_left(AUTO_LIMITS, number)]))


def _bounded(microseconds: float) -> int:
    if not 1 <= microseconds < _LAST_US:
        raise DecodeError("time", OUTSIDE)
    return round(microseconds)


def _iso_seconds(text: str, zone: str) -> float:
    """Seconds since the epoch; a time without zone is in `zone`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise DecodeError("time", "the time stamp is not ISO 8601") from error
