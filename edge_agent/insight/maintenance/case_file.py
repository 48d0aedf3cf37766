"""A case in a file, for `edge-agent plan --input`: what a daemon would collect, as JSON or YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from edge_agent.clock import US_PER_S
from edge_agent.config.maintenance import Maintenance
from edge_agent.config.schema import Alarms
from edge_agent.config.structs import read_struct
from edge_agent.config.types import Between
from edge_agent.errors import UsageError
from edge_agent.insight.maintenance.case import AlarmFact, Facts, LifeFact
from edge_agent.insight.maintenance.changes import known_places
from edge_agent.insight.maintenance.child import Question
from edge_agent.insight.maintenance.stops import Place
from edge_agent.models import local_zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PRIORITIES = ("low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class CaseAsset:
    """Where an asset is."""

    line: str = ""
    area: str = ""


@dataclass(frozen=True, slots=True)
class CaseAlarm:
    """An active alarm. raised: a local time of the plant."""

    asset: str = ""
    mode: str = "inspection"
    priority: str = "medium"
    raised: str = ""
    alarm_id: str = ""  # default: asset.mode

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield problems as (key, message)."""
        if self.priority not in _PRIORITIES:
            yield "priority", f"one of {', '.join(_PRIORITIES)}"
        yield from _time_problems("raised", self.raised)


@dataclass(frozen=True, slots=True)
class CaseLife:
    """A remaining life in hours. at: when it was predicted; default: now."""

    asset: str = ""
    mode: str = "end_of_life"
    p10_h: Annotated[float, Between(0, 1e7)] = 0.0
    p50_h: Annotated[float, Between(0, 1e7)] = 0.0
    p90_h: Annotated[float, Between(0, 1e7)] = 0.0
    at: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield problems as (key, message)."""
        if not self.p10_h <= self.p50_h <= self.p90_h:
            yield "p50_h", "quantiles rise: p10_h <= p50_h <= p90_h"
        if self.at:
            yield from _time_problems("at", self.at)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The file. now: a local time of the plant; assets need an entry only for lines and areas."""

    now: str = ""
    assets: dict[str, CaseAsset] = field(default_factory=dict)
    alarms: tuple[CaseAlarm, ...] = ()
    lives: tuple[CaseLife, ...] = ()
    languages: tuple[str, ...] = ("en", "zh", "ja", "de")
    maintenance: Maintenance = field(default_factory=Maintenance)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield problems as (key, message)."""
        yield from _time_problems("now", self.now)


def read_case(file: Path) -> Question:
    """The question that a file asks; ConfigErrors lists all its problems with their lines."""
    if not file.is_file():
        raise UsageError("there is no such file", where=str(file))
    case = read_struct(file, CaseFile)
    zone = case.maintenance.timezone or local_zone()
    facts = _facts(case, zone, file.parent)
    return Question(case.maintenance, Alarms(languages=case.languages), facts, zone, {})


def _facts(case: CaseFile, zone: str, folder: Path) -> Facts:
    alarms = tuple(
        AlarmFact(
            one.alarm_id or f"{one.asset}.{one.mode}",
            one.asset,
            one.mode,
            one.priority,
            _us(one.raised, zone),
        )
        for one in case.alarms
    )
    lives = tuple(
        LifeFact(
            one.asset, "", one.mode, _us(one.at or case.now, zone), one.p10_h, one.p50_h, one.p90_h
        )
        for one in case.lives
    )
    named = {one.asset for one in case.alarms} | {one.asset for one in case.lives}
    places = tuple(
        Place(name, place.line, place.area)
        for name, place in ((one, case.assets.get(one, CaseAsset())) for one in sorted(named))
    )
    calendars = {
        str(name): (folder / one.file).read_bytes()
        for name, one in case.maintenance.calendars.items()
        if one.file is not None
    }
    return Facts(_us(case.now, zone), places, alarms, lives, calendars, known_places({}))


def _us(text: str, zone: str) -> int:
    moment = datetime.fromisoformat(text)
    local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    return round(local.timestamp()) * US_PER_S


def _time_problems(key: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        yield key, "is no time such as 2026-12-01T08:00"
