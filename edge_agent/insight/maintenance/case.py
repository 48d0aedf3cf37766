"""From what is known of a plant to the problem: jobs with their causes, stops, crews and parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from edge_agent.clock import US_PER_S
from edge_agent.config.maintenance import AssetCosts
from edge_agent.insight.maintenance.problem import Job, Part, Problem, slot_after, slot_before
from edge_agent.insight.maintenance.risk import risk_of_alarm, risk_of_life
from edge_agent.insight.maintenance.stops import Place, Span, running_days, stops_of, team_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.config.maintenance import Maintenance, MaintenanceJob
    from edge_agent.insight.maintenance.risk import Risk

MAX_JOBS: Final = 500  # the most urgent ones; the others are noted
_CENTS: Final = 100


class AlarmFact(NamedTuple):
    """An alarm that is not normal. mode: its failure mode; times in microseconds."""

    alarm_id: str
    asset: str
    mode: str
    priority: str
    raised_us: int


class LifeFact(NamedTuple):
    """A remaining life in hours, as predicted at `at_us`; mode: of the alarm of its model."""

    asset: str
    model: str
    mode: str
    at_us: int
    p10_h: float
    p50_h: float
    p90_h: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the plant. calendars: their bytes by name; before: as in `Problem`."""

    now_us: int
    places: tuple[Place, ...]
    alarms: tuple[AlarmFact, ...] = ()
    lives: tuple[LifeFact, ...] = ()
    calendars: Mapping[str, bytes] = field(default_factory=dict)
    before: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Loss(NamedTuple):
    """What a failure costs: criticality x (failure_cost + downtime_h x downtime_cost)."""

    criticality: float
    failure_cost: float
    downtime_h: float
    downtime_cost: float

    @property
    def cents(self) -> int:
        """The whole loss; at least one, so that no job is worth nothing."""
        whole = self.criticality * (self.failure_cost + self.downtime_h * self.downtime_cost)
        return max(1, round(_CENTS * whole))


class Cause(NamedTuple):
    """Why there is a job: the alarms behind it, and a remaining life, if one is known."""

    alarms: tuple[AlarmFact, ...]
    life: LifeFact | None
    loss: Loss
    due_us: int


@dataclass(frozen=True, slots=True)
class Case:
    """A problem with the causes of its jobs, by their number; notes: what was left out."""

    problem: Problem
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]
    zone: tzinfo


def case_of(config: Maintenance, facts: Facts, zone_name: str) -> Case:
    """The problem of a plant at one time."""
    now = datetime.fromtimestamp(facts.now_us / US_PER_S, UTC)
    end = now + timedelta(seconds=config.horizon)
    zone = ZoneInfo(zone_name)
    span = Span(now, end, zone)
    until_us = facts.now_us + round(config.horizon * US_PER_S)
    found = sorted(_jobs(config, facts, until_us), key=lambda one: (one[0].due, one[0].id))
    notes = [f"{len(found) - MAX_JOBS} jobs more than are planned"] if found[MAX_JOBS:] else []
    jobs = [job for job, _ in found[:MAX_JOBS]]
    busy = {job.asset for job in jobs}
    places = [place for place in facts.places if place.id in busy]
    stops, said = stops_of(config, facts.calendars, places, span)
    if not all(job.needs_stop for job in jobs):
        stops = sorted([*stops, *running_days(places, span)], key=lambda one: (one.first, one.id))
    teams = tuple(team_of(name, crew, span) for name, crew in config.crews.items())
    parts = {
        str(name): Part(part.stock, slot_after(facts.now_us + round(part.lead_time * US_PER_S)))
        for name, part in config.parts.items()
    }
    problem = Problem(
        facts.now_us,
        until_us,
        tuple(jobs),
        tuple(stops),
        teams,
        parts,
        facts.before,
        config.change_cost,
    )
    return Case(problem, tuple(cause for _, cause in found[:MAX_JOBS]), (*notes, *said), zone)


def _jobs(config: Maintenance, facts: Facts, until_us: int) -> Iterable[tuple[Job, Cause]]:
    """A job for each asset and failure mode that has an alarm, or a life that ends in the span."""
    known = {place.id for place in facts.places}
    alarms: dict[tuple[str, str], list[AlarmFact]] = {}
    for alarm in facts.alarms:
        alarms.setdefault((alarm.asset, alarm.mode), []).append(alarm)
    lives: dict[tuple[str, str], LifeFact] = {}
    for life in facts.lives:
        key = (life.asset, life.mode)
        if key not in lives or _due_us(life) < _due_us(lives[key]):
            lives[key] = life
    for key in sorted(alarms.keys() | lives.keys()):
        told = lives.get(key)
        if key[0] in known and (key in alarms or (told is not None and _due_us(told) < until_us)):
            yield _job(config, key, tuple(alarms.get(key, ())), told)


def _due_us(life: LifeFact) -> int:
    return _risk_of(life).due_us


def _risk_of(life: LifeFact) -> Risk:
    return risk_of_life(life.at_us, (life.p10_h, life.p50_h, life.p90_h))


def _job(
    config: Maintenance, key: tuple[str, str], alarms: tuple[AlarmFact, ...], life: LifeFact | None
) -> tuple[Job, Cause]:
    asset, mode = key
    work = config.job_of(mode)
    if life is not None:
        risk = _risk_of(life)
    else:
        assumed = [risk_of_alarm(one.priority, one.raised_us, config.due) for one in alarms]
        risk = min(assumed, key=lambda one: one.due_us)
    loss = loss_of(config, asset, work)
    job = Job(
        f"{asset}:{mode}",
        asset,
        mode,
        slot_before(risk.due_us),
        slot_after(round(work.duration * US_PER_S)),
        loss.cents,
        risk,
        work.people,
        frozenset(work.skills),
        tuple((str(name), count) for name, count in work.parts.items()),
        work.needs_stop,
    )
    return job, Cause(alarms, life, loss, risk.due_us)


def loss_of(config: Maintenance, asset: str, work: MaintenanceJob) -> Loss:
    """What a failure costs: by the job, else the asset, else the section."""
    fitting = (one for name, one in config.assets.items() if fnmatchcase(asset, name))
    own = next(fitting, AssetCosts())
    failure = _first(work.failure_cost, own.failure_cost, config.failure_cost)
    downtime = _first(work.downtime, own.downtime, config.downtime)
    hourly = _first(own.downtime_cost, config.downtime_cost)
    return Loss(own.criticality, failure, downtime / 3600, hourly)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
