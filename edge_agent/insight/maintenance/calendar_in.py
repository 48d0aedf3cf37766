"""Planned stops from iCalendar files (RFC 5545): recurrences, exceptions, time zones.

Files come from strangers. Everything has a bound: bytes, events, recurrences, and time, which runs
out in `limited` (the main thread of a child). What cannot be read is left out and noted.
"""

from __future__ import annotations

import re
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from io import StringIO
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from dateutil.tz import tzical

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 10 << 20
MAX_EVENTS: Final = 20_000
MAX_TIMES: Final = 2000  # of one event within the span that is planned
CALENDAR_S: Final = 10.0  # of processor time
EVENT_S: Final = 0.25
_MAX_STEPS: Final = 40_000  # recurrences from the first one on: a century of days
_MAX_RULE: Final = 500  # characters
_MAX_TEXT: Final = 120  # of a summary
_MAX_NOTES: Final = 20
_MAX_SPAN: Final = timedelta(days=400)
_FREQUENCY: Final = re.compile(r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;|$)")
_UNTIL: Final = re.compile(r";?UNTIL=([0-9TZ]+)")
_ZERO: Final = re.compile(r"INTERVAL=0*(;|$)")
_PART: Final = re.compile(r';([A-Za-z-]+)=("[^"]*"|[^";:]*)')
_DURATION: Final = re.compile(
    r"([+-]?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)
_ESCAPED: Final = re.compile(r"\\([\\;,nN])")


class CalendarError(EdgeAgentError):
    """A calendar that cannot be read at all."""


class Line(NamedTuple):
    """A content line: its name, its parameters, its value as it is written."""

    name: str
    parameters: dict[str, str]
    value: str


class Busy(NamedTuple):
    """An event at one time: UTC. text: what the config chose to name places."""

    id: str
    summary: str
    start: datetime
    end: datetime
    texts: dict[str, str]


@dataclass(slots=True)
class Event:
    """The lines of a VEVENT, by name."""

    lines: dict[str, list[Line]] = field(default_factory=dict)

    def first(self, name: str) -> Line | None:
        """The first line of a name."""
        return next(iter(self.lines.get(name, ())), None)

    def text(self, name: str) -> str:
        """Its first value as text, on one printable line."""
        line = self.first(name)
        raw = "" if line is None else unescaped(line.value)[: _MAX_TEXT * 2]
        return " ".join("".join(c if c.isprintable() else " " for c in raw).split())[:_MAX_TEXT]


@dataclass(slots=True)
class Calendar:
    """What was read. notes: what was left out, a line each."""

    events: list[Event] = field(default_factory=list)
    zones: dict[str, tzinfo] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Note something that was left out."""
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text)


class TimeUpError(Exception):
    """The time for an event or a calendar is over."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeUpError in the main thread after so much time of the processor."""

    def ring(*_: object) -> None:
        raise TimeUpError

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def busy_times(
    raw: bytes, begin: datetime, end: datetime, zone: tzinfo
) -> tuple[list[Busy], list[str]]:
    """The events that touch a span, by time, and notes on what was left out.

    zone: of times without one. CalendarError if it is no calendar, or larger than MAX_BYTES.
    """
    calendar = parse(raw)
    reader = _Reader(calendar, begin, end, calendar.zones.get("", zone))
    found = reader.read()
    return sorted(found, key=lambda one: (one.start, one.id)), calendar.notes


# Text ---------------------------------------------------------------------------------------------


def parse(raw: bytes) -> Calendar:
    """The events and time zones of a file."""
    if len(raw) > MAX_BYTES:
        raise CalendarError(f"larger than {MAX_BYTES >> 20} MiB")
    text = raw.decode("utf-8-sig", errors="replace")
    if not text.lstrip()[:15].upper().startswith("BEGIN:VCALENDAR"):
        raise CalendarError("is no iCalendar: it does not begin with BEGIN:VCALENDAR")
    found = Calendar()
    stack: list[str] = []
    event: Event | None = None
    for line in content_lines(text):
        event = _follow(found, stack, event, line)
    found.zones |= _own_zones(text, found)
    return found


def content_lines(text: str) -> Iterator[Line]:
    """The unfolded lines; what is none is left out."""
    for raw in re.sub(r"\r?\n[ \t]", "", text).splitlines():
        head = raw[:60]
        end = next((i for i, c in enumerate(head) if c in ";:"), 0)
        name, parameters, at = head[:end].upper(), {}, end
        while part := _PART.match(raw, at):
            parameters[part[1].upper()] = part[2].strip('"')
            at = part.end()
        if name and raw[at : at + 1] == ":":
            yield Line(name, parameters, raw[at + 1 :])


def _follow(found: Calendar, stack: list[str], event: Event | None, line: Line) -> Event | None:
    """Follow one line; returns the event to which the next one belongs."""
    if line.name == "BEGIN":
        stack.append(line.value.strip().upper())
        return Event() if stack[-1] == "VEVENT" else event
    if line.name == "END":
        ended = stack.pop() if stack else ""
        if ended == "VEVENT" and event is not None:
            if len(found.events) >= MAX_EVENTS:
                raise CalendarError(f"more than {MAX_EVENTS} events")
            found.events.append(event)
            return None
        return event
    if event is not None and stack and stack[-1] == "VEVENT":
        event.lines.setdefault(line.name, []).append(line)
    elif line.name == "X-WR-TIMEZONE" and (zone := named_zone(line.value.strip())):
        found.zones[""] = zone
    return event


def unescaped(text: str) -> str:
    """A value of the type TEXT."""
    return _ESCAPED.sub(lambda one: "\n" if one[1] in "nN" else one[1], text)


# Zones --------------------------------------------------------------------------------------------


def named_zone(name: str) -> tzinfo | None:
    """A zone of the IANA database, also with the prefix of a vendor; None if it is unknown."""
    parts = name.strip("/").split("/")
    for known in ("/".join(parts), "/".join(parts[-2:])):
        try:
            return ZoneInfo(known)
        except (OSError, ValueError, LookupError):
            continue
    return None


def _own_zones(text: str, found: Calendar) -> dict[str, tzinfo]:
    """Zones that the file defines itself, as Outlook does, and whose names are unknown."""
    wanted = {
        line.parameters["TZID"]
        for event in found.events
        for lines in event.lines.values()
        for line in lines
        if "TZID" in line.parameters
    }
    unknown = {name for name in wanted if named_zone(name) is None}
    if not unknown:
        return {}
    blocks = re.findall(r"BEGIN:VTIMEZONE.*?END:VTIMEZONE", text, re.DOTALL)[:50]
    zones: dict[str, tzinfo] = {}
    for block in blocks:
        try:
            with limited(EVENT_S):
                made = tzical(StringIO(block[:20_000]))
                zones |= {name: made.get(name) for name in unknown & set(made.keys())}
        except (ValueError, TypeError, LookupError, TimeUpError):
            found.note("a time zone of the file cannot be read")
    return zones


# Times --------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """A time as it is written: local, with its zone; is_day: a date alone."""

    local: datetime
    zone: tzinfo
    is_day: bool = False

    @property
    def utc(self) -> datetime:
        """The instant; a time that a change of clocks skips is later by the change."""
        return self.local.replace(tzinfo=self.zone).astimezone(UTC)


def read_moment(text: str, zone: tzinfo) -> Moment:
    """A DATE or DATE-TIME; ValueError if it is none."""
    text = text.strip()
    if len(text) == len("20261205"):
        return Moment(datetime.strptime(text, "%Y%m%d"), zone, is_day=True)  # noqa: DTZ007 (local)
    if text.endswith("Z"):
        zone, text = UTC, text[:-1]
    return Moment(datetime.strptime(text, "%Y%m%dT%H%M%S"), zone)  # noqa: DTZ007 (local)


def read_duration(text: str) -> timedelta:
    """A DURATION; ValueError if it is none."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()[1:]):
        raise ValueError("no duration")
    weeks, days, hours, minutes, seconds = (int(one or 0) for one in found.groups()[1:])
    made = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -made if found[1] == "-" else made


class _Reader:
    """Turns events into times within a span."""

    def __init__(self, calendar: Calendar, begin: datetime, end: datetime, zone: tzinfo) -> None:
        self.calendar, self.begin, self.end, self.zone = calendar, begin, end, zone

    def read(self) -> list[Busy]:
        """All times; those that an exception replaces are left out."""
        found: list[Busy] = []
        replaced = self._replaced()
        left_s = CALENDAR_S
        for number, event in enumerate(self.calendar.events):
            if left_s <= 0:
                left = len(self.calendar.events) - number
                self.calendar.note(f"too costly: {left} events are not read")
                break
            before_s = time.process_time()
            found += self._guarded(event, replaced)
            left_s -= time.process_time() - before_s
        return found

    def _guarded(self, event: Event, replaced: set[tuple[str, datetime]]) -> list[Busy]:
        """The times of one event; none of them if it cannot be read."""
        name = event.text("SUMMARY") or event.text("UID") or "an event"
        try:
            with limited(EVENT_S):
                return list(self._times(event, replaced))
        except TimeUpError:
            self.calendar.note(f"{name}: its recurrences take too long")
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            self.calendar.note(f"{name}: {error}"[:200])
        return []

    def _replaced(self) -> set[tuple[str, datetime]]:
        """Which recurrences of which event another one of the file replaces."""
        found = set()
        for event in self.calendar.events:
            line = event.first("RECURRENCE-ID")
            if line is not None:
                try:
                    found.add((event.text("UID"), self._moment(line).utc))
                except (ValueError, OverflowError):
                    self.calendar.note(f"{event.text('SUMMARY')}: a recurrence without a time")
        return found

    def _moment(self, line: Line, value: str = "") -> Moment:
        name = line.parameters.get("TZID", "")
        zone = self.zone
        if name:
            known = named_zone(name) or self.calendar.zones.get(name)
            if known is None:
                raise ValueError(f"unknown time zone {name[:60]!r}")
            zone = known
        return read_moment(value or line.value, zone)

    def _times(self, event: Event, replaced: set[tuple[str, datetime]]) -> Iterator[Busy]:
        if event.text("STATUS").upper() == "CANCELLED":
            return
        line = event.first("DTSTART")
        if line is None:
            raise ValueError("has no DTSTART")
        start = self._moment(line)
        span = self._span(event, start)
        is_exception = "RECURRENCE-ID" in event.lines
        excluded = set(self._moments(event, "EXDATE"))
        uid = event.text("UID")
        count = 0
        for moment in self._starts(event, start, span):
            begin = moment.utc
            if begin in excluded or (not is_exception and (uid, begin) in replaced):
                continue
            finish = _ended(moment, span)
            if begin < self.end and finish > self.begin:
                count += 1
                if count > MAX_TIMES:
                    raise ValueError(f"more than {MAX_TIMES} times")
                texts = {k: event.text(k.upper()) for k in ("location", "summary", "categories")}
                yield Busy(
                    f"{uid}@{begin:%Y%m%dT%H%MZ}", event.text("SUMMARY"), begin, finish, texts
                )

    def _moments(self, event: Event, name: str) -> Iterator[datetime]:
        for line in event.lines.get(name, ()):
            for value in line.value.split(","):
                yield self._moment(line, value.partition("/")[0]).utc

    def _span(self, event: Event, start: Moment) -> timedelta:
        """How long it is; of dates in days of the calendar."""
        end, duration = event.first("DTEND"), event.first("DURATION")
        if end is not None:
            last = self._moment(end)
            span = last.local - start.local if start.is_day else last.utc - start.utc
        elif duration is not None:
            span = read_duration(duration.value)
        else:
            span = timedelta(days=1) if start.is_day else timedelta()
        if not timedelta() < span <= _MAX_SPAN:
            raise ValueError("it ends before it begins, or is longer than 400 days")
        return span

    def _starts(self, event: Event, start: Moment, span: timedelta) -> Iterator[Moment]:
        rule = event.first("RRULE")
        if rule is None or "RECURRENCE-ID" in event.lines:
            yield start
        else:
            yield from recurrences(rule.value, start, self.begin - span, self.end)
        for line in event.lines.get("RDATE", ()):
            for value in line.value.split(","):
                yield self._moment(line, value.partition("/")[0])


def recurrences(rule: str, start: Moment, begin: datetime, end: datetime) -> Iterator[Moment]:
    """The times of a recurrence rule that begin in a span; ValueError for a rule of no plant."""
    rule = rule.strip().upper()
    if len(rule) > _MAX_RULE or not _FREQUENCY.search(rule) or _ZERO.search(rule):
        raise ValueError("a rule that no planned stop has: FREQ from DAILY to YEARLY")
    until = _UNTIL.search(rule)
    last = _until(until[1], start) if until else datetime.max  # noqa: DTZ901 (local)
    local = start.local
    for steps, found in enumerate(rrulestr(_UNTIL.sub("", rule).strip(";"), dtstart=local)):
        moment = start._replace(local=found)
        if found > last or moment.utc >= end:
            return
        if steps > _MAX_STEPS:
            raise ValueError(f"more than {_MAX_STEPS} recurrences before this time")
        if moment.utc >= begin:
            yield moment


def _until(text: str, start: Moment) -> datetime:
    """The last time of a rule, by the clock of its start."""
    found = read_moment(text, start.zone)
    if found.is_day:
        return found.local + timedelta(days=1, seconds=-1)
    return found.utc.astimezone(start.zone).replace(tzinfo=None)


def _ended(moment: Moment, span: timedelta) -> datetime:
    if moment.is_day:
        return moment._replace(local=moment.local + span).utc
    return moment.utc + span
