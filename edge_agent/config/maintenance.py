"""The maintenance plan: what a failure costs, who works when, which parts and stops there are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the loader reads the hints)
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

from edge_agent.config.local_time import Day, hours_problems
from edge_agent.config.types import Between, Duration, Name, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

# The frequencies at which plants stop; a rule by the second would never end.
_REPEAT: Final = re.compile(r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;[A-Z]+=[A-Z0-9,+-]+)*", re.ASCII)
_REPEAT_HINT: Final = "write a rule of RFC 5545 such as FREQ=WEEKLY;BYDAY=SA"
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
DEFAULT_JOB: Final = "default"  # of failure modes without an entry


class PlaceFrom(StrEnum):
    """The property of an event that names the line, area or machine that stops."""

    NONE = "none"
    LOCATION = "location"
    SUMMARY = "summary"
    CATEGORIES = "categories"


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """From `start` to `end` by the plant's clock, also over midnight."""

    start: str = "06:00"  # by the plant's clock
    end: str = "14:00"  # 24:00 is midnight
    days: tuple[Day, ...] = (Day.MON, Day.TUE, Day.WED, Day.THU, Day.FRI)  # on which they begin

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        yield from hours_problems(self.start, self.end, or_midnight=True)
        if self.start == self.end:
            yield "end", "is the same as start: write 00:00 and 24:00 for a whole day"


@dataclass(frozen=True, slots=True)
class Crew:
    """People with the same skills. count: how many of them work at a time."""

    skills: tuple[Name, ...] = ()  # such as mechanic
    count: Annotated[int, Between(1, 1000)] = 1
    hours: tuple[WorkingHours, ...] = ()  # default: always


@dataclass(frozen=True, slots=True)
class SparePart:
    """A spare part: how many are there, and how long an order takes."""

    stock: Annotated[int, Between(0, 1_000_000)] = 0  # how many are there
    # From an order until it arrives.
    lead_time: Annotated[Duration, Between(0, 3 * 365 * _DAY_S)] = Duration(7 * _DAY_S)


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """The work for one failure mode. failure_cost, downtime: if nobody does it in time."""

    # Of the work.
    duration: Annotated[Duration, Between(900, 30 * _DAY_S)] = Duration(2 * _HOUR_S)
    people: Annotated[int, Between(1, 100)] = 1  # of one crew
    skills: tuple[Name, ...] = ()  # all of which the crew has
    # How many of which spare parts.
    parts: dict[Name, Annotated[int, Between(1, 1000)]] = field(default_factory=dict)
    needs_stop: bool = True  # false: may be done while the machine runs
    failure_cost: Annotated[float, Between(0, 1e12)] | None = None  # default: the asset's
    downtime: Annotated[Duration, Between(0, 365 * _DAY_S)] | None = None  # default: the asset's


@dataclass(frozen=True, slots=True)
class AssetCosts:
    """What a failure of these assets costs; a key that is left out is that of the section."""

    criticality: Annotated[float, Between(0.01, 100)] = 1.0  # a factor on the loss
    failure_cost: Annotated[float, Between(0, 1e12)] | None = None  # repair and damage
    downtime_cost: Annotated[float, Between(0, 1e12)] | None = None  # lost production per hour
    downtime: Annotated[Duration, Between(0, 365 * _DAY_S)] | None = None  # by a failure


@dataclass(frozen=True, slots=True)
class PlannedStop:
    """A planned stop of lines or assets; with neither of them, of all. start: by the plant's clock.

    repeat: a recurrence rule of RFC 5545.
    """

    start: str = ""  # such as 2026-12-05T06:00
    length: Annotated[Duration, Between(900, 60 * _DAY_S)] = Duration(8 * _HOUR_S)  # of each
    repeat: str = ""  # a rule of RFC 5545 such as FREQ=WEEKLY;BYDAY=SA
    lines: tuple[str, ...] = ()  # names; * stands for any text
    assets: tuple[str, ...] = ()  # ids; the same

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not _is_local(self.start):
            yield "start", "is no local time such as 2026-12-05T06:00"
        if self.repeat and not _REPEAT.fullmatch(self.repeat):
            yield "repeat", f"is no rule for a planned stop: {_REPEAT_HINT}"
        elif self.repeat and (reason := _wrong_rule(self.repeat)):
            yield "repeat", f"{reason}: {_REPEAT_HINT}"


@dataclass(frozen=True, slots=True)
class StopCalendar:
    """An iCalendar (RFC 5545) whose events are planned stops."""

    file: Path | None = None  # or url, or secret_url
    url: str = ""  # http or https
    secret_url: Secret | None = None  # in place of url; never in logs
    # Between two reads.
    refresh: Annotated[Duration, Between(60, 7 * _DAY_S)] = Duration(_HOUR_S)
    match: str = "*"  # only events whose summary fits; * stands for any text
    place: PlaceFrom = PlaceFrom.NONE  # what names the lines, areas and assets that stop
    lines: tuple[str, ...] = ()  # as of a planned stop
    assets: tuple[str, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if sum((self.file is not None, bool(self.url), self.secret_url is not None)) != 1:
            yield "file", "write one of file, url and secret_url"
        if self.url and not self.url.startswith(("http://", "https://")):
            yield "url", "write http://host/path or https://host/path"


@dataclass(frozen=True, slots=True)
class DueTimes:
    """How soon an alarm without a remaining life is mended, by its priority."""

    # After the alarm was raised.
    critical: Annotated[Duration, Between(900, 365 * _DAY_S)] = Duration(8 * _HOUR_S)
    high: Annotated[Duration, Between(900, 365 * _DAY_S)] = Duration(3 * _DAY_S)  # the same
    medium: Annotated[Duration, Between(900, 365 * _DAY_S)] = Duration(14 * _DAY_S)  # the same
    low: Annotated[Duration, Between(900, 365 * _DAY_S)] = Duration(60 * _DAY_S)  # the same


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The maintenance plan; a proposal: nothing is ordered or commanded."""

    timezone: str = ""  # of stops, hours and texts; default: that of notify, else the gateway's
    currency: str = "EUR"  # of all costs, as it is shown
    every: Annotated[Duration, Between(30, _DAY_S)] = Duration(900)  # a new plan at the latest
    settle: Annotated[Duration, Between(1, 3600)] = Duration(30)  # between a new alarm and a plan
    # How far it looks.
    horizon: Annotated[Duration, Between(_HOUR_S, 400 * _DAY_S)] = Duration(60 * _DAY_S)
    failure_cost: Annotated[float, Between(0, 1e12)] = 10_000.0  # repair and damage
    downtime_cost: Annotated[float, Between(0, 1e12)] = 1_000.0  # lost production per hour
    downtime: Annotated[Duration, Between(0, 365 * _DAY_S)] = Duration(8 * _HOUR_S)  # by a failure
    # A job moves to another stop or crew only if that saves more than this share of its loss.
    change_cost: Annotated[float, Between(0, 0.5)] = 0.02
    due: DueTimes = field(default_factory=DueTimes)  # of alarms without a remaining life
    assets: dict[str, AssetCosts] = field(
        default_factory=dict
    )  # id or pattern; the first that fits
    jobs: dict[Name, MaintenanceJob] = field(default_factory=dict)  # by failure mode, or `default`
    crews: dict[Name, Crew] = field(default_factory=dict)
    parts: dict[Name, SparePart] = field(default_factory=dict)
    stops: dict[Name, PlannedStop] = field(default_factory=dict)
    calendars: dict[Name, StopCalendar] = field(default_factory=dict)
    sink: Name = Name("")  # a webhook or smtp with a template; it gets each new proposal
    language: str = ""  # of proposals; default: the first of alarms.languages
    solver: bool | None = None  # default: true if the extra `plan` is installed
    solver_time: Annotated[Duration, Between(1, 600)] = Duration(10)  # at most, for each plan
    memory: Annotated[Size, Between(64 << 20, 1 << 36)] = Size(512 << 20)  # of its process

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if self.timezone and not _is_zone(self.timezone):
            yield "timezone", f"{self.timezone!r} is no time zone such as Europe/Berlin"
        if not self.crews:
            yield "crews", "nobody could do a job: name at least one crew"
        for mode, job in self.jobs.items():
            for part in job.parts:
                if part not in self.parts:
                    yield f"jobs.{mode}.parts.{part}", "is not in maintenance.parts"

    def job_of(self, mode: str) -> MaintenanceJob:
        """The work for a failure mode."""
        return self.jobs.get(Name(mode)) or self.jobs.get(Name(DEFAULT_JOB)) or MaintenanceJob()


def _is_local(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


def _wrong_rule(rule: str) -> str:
    from dateutil.rrule import rrulestr  # noqa: PLC0415 (few configs have one)

    try:
        rrulestr(rule, dtstart=datetime(2026, 1, 1))  # noqa: DTZ001 (local)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        return f"is no rule: {error}"
    return ""


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True
