"""Planned stops and working hours of a config, as slots of the span that is planned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import US_PER_S
from edge_agent.config.local_time import Day, minute_of_day
from edge_agent.config.maintenance import PlaceFrom
from edge_agent.config.types import Name
from edge_agent.insight.maintenance.calendar_in import (
    CALENDAR_S,
    CalendarError,
    Moment,
    TimeUpError,
    busy_times,
    limited,
    recurrences,
)
from edge_agent.insight.maintenance.problem import Stop, Team, slot_after, slot_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.config.maintenance import (
        Crew,
        Maintenance,
        PlannedStop,
        StopCalendar,
        WorkingHours,
    )
    from edge_agent.insight.maintenance.calendar_in import Busy

_DAYS: Final = tuple(Day)
MAX_STOPS: Final = 5000


class Place(NamedTuple):
    """Where an asset is."""

    id: str
    line: str
    area: str


class Span(NamedTuple):
    """The time that is planned, and the plant's zone."""

    begin: datetime
    end: datetime
    zone: tzinfo


def stops_of(
    config: Maintenance, calendars: Mapping[str, bytes], places: Iterable[Place], span: Span
) -> tuple[list[Stop], list[str]]:
    """All stops in order of time, and notes on calendars that could not be read in full.

    calendars: the content of each that was read, by name. places: of assets with jobs.
    """
    places = list(places)
    found: list[Stop] = []
    notes: list[str] = []
    for name, one in config.stops.items():
        made, said = _of_config(name, one, places, span)
        found, notes = found + made, notes + said
    for key, raw in calendars.items():
        made, said = _of_calendar(key, config.calendars[Name(key)], raw, places, span)
        found += made
        notes += [f"calendar {key}: {text}" for text in said]
    found.sort(key=lambda one: (one.first, one.last, one.id))
    if len(found) > MAX_STOPS:
        notes.append(f"more than {MAX_STOPS} stops: the later ones are left out")
    return found[:MAX_STOPS], notes


def running_days(places: Iterable[Place], span: Span) -> list[Stop]:
    """The days on which work on running machines is possible, each as a stop that is none."""
    assets, day = frozenset(one.id for one in places), span.begin.astimezone(span.zone).date()
    found = []
    while (begin := _local(day, 0, span.zone)) < span.end:
        end = _local(day, 24 * 60, span.zone)
        inside = max(begin, span.begin), min(end, span.end)
        found.append(replace(_stop(f"running:{day}", f"{day}", inside, assets), running=True))
        day += timedelta(days=1)
    return [one for one in found if one.last > one.first]


def team_of(name: str, crew: Crew, span: Span) -> Team:
    """A crew with its shifts within the span."""
    shifts = sorted(_shifts(crew.hours, span)) if crew.hours else [(span.begin, span.end)]
    slots: list[tuple[int, int]] = []
    for begin, end in shifts:
        first, last = slot_after(_us(begin)), slot_before(_us(end))
        if slots and first <= slots[-1][1]:  # hours that overlap are one shift
            slots[-1] = (slots[-1][0], max(last, slots[-1][1]))
        elif first < last:
            slots.append((first, last))
    return Team(name, frozenset(crew.skills), crew.count, tuple(slots))


def _shifts(hours: Iterable[WorkingHours], span: Span) -> Iterator[tuple[datetime, datetime]]:
    day = span.begin.astimezone(span.zone).date() - timedelta(days=1)
    while _local(day, 0, span.zone) < span.end:
        for one in hours:
            if _DAYS[day.weekday()] in one.days:
                begin, end = minute_of_day(one.start), minute_of_day(one.end)
                end += 24 * 60 * (end <= begin)
                first, last = _local(day, begin, span.zone), _local(day, end, span.zone)
                if last > span.begin and first < span.end:
                    yield max(first, span.begin), min(last, span.end)
        day += timedelta(days=1)


def _local(day: date, minutes: int, zone: tzinfo) -> datetime:
    """An instant by the clock of a zone; minutes: after midnight."""
    moment = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001
    return moment.replace(tzinfo=zone).astimezone(UTC)


def _of_config(
    name: str, one: PlannedStop, places: list[Place], span: Span
) -> tuple[list[Stop], list[str]]:
    length = timedelta(seconds=one.length)
    try:
        with limited(CALENDAR_S):
            begins = [moment.utc for moment in _starts(one, span, length)]
    except (ValueError, TypeError, LookupError, OverflowError, TimeUpError) as error:
        return [], [f"stop {name}: {error or 'its recurrences take too long'}"]
    assets = _assets(one, places)
    return [
        _stop(f"{name}@{begin:%Y%m%dT%H%MZ}", name, (begin, begin + length), assets)
        for begin in begins
        if begin < span.end and begin + length > span.begin
    ], []


def _starts(one: PlannedStop, span: Span, length: timedelta) -> Iterable[Moment]:
    start = Moment(datetime.fromisoformat(one.start), span.zone)
    if one.repeat:
        return recurrences(one.repeat, start, span.begin - length, span.end)
    return [start]


def _of_calendar(
    name: str, one: StopCalendar, raw: bytes, places: list[Place], span: Span
) -> tuple[list[Stop], list[str]]:
    try:
        busy, notes = busy_times(raw, span.begin, span.end, span.zone)
    except CalendarError as error:
        return [], [str(error)]
    allowed = [place for place in places if place.id in _assets(one, places)]
    made = [
        _stop(
            f"{name}/{each.id}",
            each.summary or name,
            (each.start, each.end),
            _named(one, each, allowed),
        )
        for each in busy
        if fnmatchcase(each.summary.casefold(), one.match.casefold())
    ]
    return made, notes


def _named(one: StopCalendar, event: Busy, places: list[Place]) -> frozenset[str]:
    """The assets that an event names: by id, line or area; all of the calendar if it need not."""
    if one.place is PlaceFrom.NONE:
        return frozenset(place.id for place in places)
    patterns = [part.strip().casefold() for part in event.texts[one.place].split(",")]
    return frozenset(
        place.id
        for place in places
        if any(fnmatchcase(name.casefold(), each) for name in place for each in patterns if each)
    )


def _assets(one: PlannedStop | StopCalendar, places: list[Place]) -> frozenset[str]:
    """The assets that a stop names by line or id; with neither, all."""
    everything = not one.lines and not one.assets
    return frozenset(
        place.id
        for place in places
        if everything
        or any(fnmatchcase(place.line, each) for each in one.lines)
        or any(fnmatchcase(place.id, each) for each in one.assets)
    )


def _stop(key: str, name: str, span: tuple[datetime, datetime], assets: frozenset[str]) -> Stop:
    first, last = slot_after(_us(span[0])), slot_before(_us(span[1]))
    return Stop(key, name, first, last, assets)


def _us(moment: datetime) -> int:
    return round(moment.timestamp()) * US_PER_S
