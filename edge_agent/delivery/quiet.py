"""Quiet hours, by the plant's clock: one unbroken time each, also when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_agent.clock import US_PER_S
from edge_agent.config.local_time import Day, minutes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, tzinfo

    from edge_agent.config.notify import Quiet

_DAYS = tuple(Day)


def zone_of(name: str) -> tzinfo | None:
    """The zone of a config; None: that of this machine."""
    return ZoneInfo(name) if name else None


def is_quiet(quiet: Sequence[Quiet], zone: tzinfo | None, now_us: int) -> bool:
    """True within any of the quiet hours.

    Each lasts from the first `start` of its day to the last `end`: an hour that occurs twice
    belongs to it both times.
    """
    now = datetime.fromtimestamp(now_us / US_PER_S, UTC)
    today = now.astimezone(zone).date()
    days = (today - timedelta(days=1), today)
    return any(
        _instant(day, one.start, zone, fold=0) <= now < _end(one, day, zone)
        for one in quiet
        for day in days
        if _DAYS[day.weekday()] in one.days
    )


def _end(quiet: Quiet, day: date, zone: tzinfo | None) -> datetime:
    over_midnight = minutes_of(quiet.end) <= minutes_of(quiet.start)
    return _instant(day + timedelta(days=over_midnight), quiet.end, zone, fold=1)


def _instant(day: date, clock: str, zone: tzinfo | None, *, fold: int) -> datetime:
    hour, minute = minutes_of(clock)
    local = datetime(day.year, day.month, day.day, hour, minute, fold=fold, tzinfo=zone)
    return local.astimezone(UTC)
