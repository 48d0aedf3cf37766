"""Shifts as spans of time: from the plant's clock to UTC, so that minutes are always right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edge_agent.config.local_time import Day, minute_of_day
from edge_agent.config.shifts import Calendar, Shift
from edge_agent.config.types import Name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo


NS_PER_S: Final = 1_000_000_000
_NS_PER_MIN: Final = 60 * NS_PER_S
_DAYS: Final = tuple(Day)
_LONGEST_DAYS: Final = 2  # a shift ends on the day after that on which it begins
WHOLE_DAYS: Final = {Name("day"): Shift("00:00", "00:00")}


@dataclass(frozen=True, slots=True)
class ShiftTime:
    """One occurrence of a shift. day: the local date on which it begins, as ISO 8601.

    start_ns, end_ns: ns since the epoch; breaks: the same for each break, in order.
    """

    name: str
    day: str
    start_ns: int
    end_ns: int
    breaks: tuple[tuple[int, int], ...] = ()

    def busy_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of a span is within the shift and outside of its breaks, in ns."""
        start_ns, end_ns = max(start_ns, self.start_ns), min(end_ns, self.end_ns)
        return max(0, end_ns - start_ns) - self.break_ns(start_ns, end_ns)

    def break_ns(self, start_ns: int, end_ns: int) -> int:
        """How much of a span is breaks, in ns."""
        return sum(
            max(0, min(end_ns, last_ns) - max(start_ns, first_ns))
            for first_ns, last_ns in self.breaks
        )

    def is_break(self, at_ns: int) -> bool:
        """True if a break is at a time."""
        return any(first_ns <= at_ns < last_ns for first_ns, last_ns in self.breaks)


class ShiftCalendar:
    """The shifts of a calendar; without one, a shift a day from midnight to midnight.

    Times of day that occur twice in autumn mean the first time; those that spring leaves out are
    as long after midnight as on any other day. A break keeps its length.
    """

    def __init__(self, calendar: Calendar | None = None) -> None:
        self._shifts: dict[Name, Shift] = {} if calendar is None else calendar.shifts
        self._holidays = frozenset(() if calendar is None else calendar.holidays)
        named = "" if calendar is None else calendar.timezone
        self._zone: tzinfo | None = ZoneInfo(named) if named else None
        self._known: dict[date, tuple[ShiftTime, ...]] = {}

    def at(self, at_ns: int) -> ShiftTime | None:
        """The shift at a time; None if there is none."""
        found = self.between(at_ns, at_ns + 1)
        return found[0] if found else None

    def between(self, start_ns: int, end_ns: int) -> list[ShiftTime]:
        """The shifts that overlap a span of time, in order."""
        first = self._local_date(start_ns) - timedelta(days=_LONGEST_DAYS)
        last = self._local_date(end_ns) + timedelta(days=1)
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        found = (one for day in days for one in self._of_day(day))
        mine = [one for one in found if one.end_ns > start_ns and one.start_ns < end_ns]
        return sorted(mine, key=lambda one: one.start_ns)

    def _local_date(self, at_ns: int) -> date:
        return datetime.fromtimestamp(at_ns / NS_PER_S, UTC).astimezone(self._zone).date()

    def _of_day(self, day: date) -> tuple[ShiftTime, ...]:
        if day not in self._known:
            if len(self._known) > _MOST_DAYS:
                self._known.clear()
            self._known[day] = tuple(self._made(day))
        return self._known[day]

    def _made(self, day: date) -> Iterator[ShiftTime]:
        if day.isoformat() in self._holidays:
            return
        for name, shift in (self._shifts or WHOLE_DAYS).items():
            if _DAYS[day.weekday()] not in shift.days:
                continue
            made = self._shift(str(name), shift, day)
            if made.end_ns > made.start_ns:
                yield made

    def _shift(self, name: str, shift: Shift, day: date) -> ShiftTime:
        begin = minute_of_day(shift.start)
        start_ns = self._instant_ns(day, begin)
        end_ns = self._instant_ns(day, begin + shift.minutes)
        spans = []
        for one in shift.breaks:
            first_ns = self._instant_ns(day, begin + shift.offset_of(one))
            last_ns = first_ns + one.minutes * _NS_PER_MIN
            if min(last_ns, end_ns) > max(first_ns, start_ns):
                spans.append((max(first_ns, start_ns), min(last_ns, end_ns)))
        return ShiftTime(name, day.isoformat(), start_ns, end_ns, tuple(sorted(spans)))

    def _instant_ns(self, day: date, minute: int) -> int:
        """The time at which a clock in the plant shows that minute, counted from a day's begin."""
        days, minute = divmod(minute, 24 * 60)
        at = day + timedelta(days=days)
        hour, minute = divmod(minute, 60)
        local = datetime(at.year, at.month, at.day, hour, minute, fold=0, tzinfo=self._zone)
        return round(local.astimezone(UTC).timestamp()) * NS_PER_S


_MOST_DAYS: Final = 400
