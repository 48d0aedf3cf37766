"""Calendars of shifts: when a plant is meant to produce, by its own clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edge_agent.config.local_time import Day, is_clock, minute_of_day
from edge_agent.config.problem import Wrong
from edge_agent.config.types import Name  # noqa: TC001 (the loader reads the hints)

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MIN: Final = 1440
_WEEK_MIN: Final = 7 * DAY_MIN


@dataclass(frozen=True, slots=True)
class Break:
    """A break in a shift; `09:00-09:15` is short for it. It keeps its length at clock changes."""

    start: str = ""  # local time at which it begins
    end: str = ""  # local time at which it ends

    @classmethod
    def from_text(cls, text: str) -> Break:
        """A break from `09:00-09:15`; Wrong if it is none."""
        start, dash, end = text.partition("-")
        if not dash:
            raise Wrong("is no break", "write 09:00-09:15")
        return cls(start.strip(), end.strip())

    @property
    def minutes(self) -> int:
        """How long it is."""
        return (minute_of_day(self.end) - minute_of_day(self.start)) % DAY_MIN


@dataclass(frozen=True, slots=True)
class Shift:
    """From `start` to `end` by the plant's clock, also over midnight; equal: 24 hours."""

    start: str = "06:00"  # local time at which it begins
    end: str = "14:00"  # local time at which it ends; on the next day if it is not later
    days: tuple[Day, ...] = tuple(Day)  # on which it begins
    breaks: tuple[Break, ...] = ()  # in which nothing is meant to be produced

    @property
    def minutes(self) -> int:
        """How long it is, on a day on which no clock is changed."""
        return (minute_of_day(self.end) - minute_of_day(self.start)) % DAY_MIN or DAY_MIN

    def offset_of(self, one: Break) -> int:
        """Minutes from the begin of the shift to that of a break."""
        return (minute_of_day(one.start) - minute_of_day(self.start)) % DAY_MIN

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        wrong = [key for key in ("start", "end") if not is_clock(getattr(self, key))]
        yield from ((key, "is no time of day such as 06:00") for key in wrong)
        if not self.days:
            yield "days", "on no day: remove the shift"
        clocks = {n: is_clock(one.start) and is_clock(one.end) for n, one in enumerate(self.breaks)}
        for number, is_good in clocks.items():
            if not is_good:
                yield f"breaks.{number}", "is no break: write 09:00-09:15"
        if not wrong and all(clocks.values()):
            yield from self._breaks()

    def _breaks(self) -> Iterator[tuple[str, str]]:
        spans = sorted((self.offset_of(one), n, one.minutes) for n, one in enumerate(self.breaks))
        for start, number, minutes in spans:
            if not minutes or start + minutes > self.minutes:
                yield f"breaks.{number}", "is not within the shift"
        for (start, _, minutes), (after, number, _) in pairwise(spans):
            if after < start + minutes:
                yield f"breaks.{number}", "overlaps another break"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The shifts of a plant, or of a part of it."""

    shifts: dict[Name, Shift] = field(default_factory=dict)  # by name; none overlaps another
    timezone: str = ""  # such as Europe/Berlin; default: the gateway's
    holidays: tuple[str, ...] = ()  # dates (2026-12-25) on which no shift begins

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.shifts:
            yield "shifts", "a calendar needs a shift"
        if self.timezone and not _is_zone(self.timezone):
            yield "timezone", f"{self.timezone!r} is no time zone such as Europe/Berlin"
        for number, day in enumerate(self.holidays):
            if not _is_date(day):
                yield f"holidays.{number}", "is no date such as 2026-12-25"
        if all(not list(one.problems()) for one in self.shifts.values()):
            yield from self._overlaps()

    def _overlaps(self) -> Iterator[tuple[str, str]]:
        days = tuple(Day)
        found = sorted(
            (days.index(day) * DAY_MIN + minute_of_day(one.start), one.minutes, str(name))
            for name, one in self.shifts.items()
            for day in one.days
        )
        again = [(start + _WEEK_MIN, minutes, name) for start, minutes, name in found[:1]]
        said = set()
        for (start, minutes, _), (after, _, name) in pairwise([*found, *again]):
            if after < start + minutes and name not in said:
                said.add(name)
                yield f"shifts.{name}", "overlaps another shift"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
