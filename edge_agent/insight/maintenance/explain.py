"""A plan as plain data, each line with the reasons for it: codes and their values, no words yet.

`wording` turns the reasons into sentences in the languages of the plant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_MS
from edge_agent.insight.maintenance.problem import SLOT_US, is_fit

if TYPE_CHECKING:
    from edge_agent.insight.maintenance.case import Case, Cause
    from edge_agent.insight.maintenance.problem import Job, Placement, Problem, Schedule, Stop

_MS: Final = SLOT_US // US_PER_MS
_SHOWN: Final = 3  # earlier stops whose refusal is told
_CENTS: Final = 100
STATUSES: Final = ("planned", "late", "impossible")
PLANNED, LATE, IMPOSSIBLE = STATUSES
Row = dict[str, Any]


def explained(case: Case, schedule: Schedule) -> Row:
    """The whole plan, the most costly to put off first."""
    problem = case.problem
    lines = [_line(case, schedule, number) for number in range(len(problem.jobs))]
    lines.sort(key=lambda one: (-one["wait_cost"], one["job"]))
    value = schedule.value
    return {
        "at_ms": problem.now_us // US_PER_MS,
        "until_ms": problem.until_us // US_PER_MS,
        "expected_cost": sum(one["expected_cost"] for one in lines),
        "late_loss": value.late / _CENTS,
        "objective": list(value),
        "lines": [{"rank": rank, **one} for rank, one in enumerate(lines, 1)],
        "stops": [_stop_row(stop) for stop in problem.stops if not stop.running],
        "crews": [_crew_row(one.name, one.shifts) for one in problem.teams],
        "notes": list(case.notes),
    }


def _stop_row(stop: Stop) -> Row:
    first, last = stop.first * _MS, stop.last * _MS
    assets = sorted(stop.assets)
    return {"id": stop.id, "name": stop.name, "start_ms": first, "end_ms": last, "assets": assets}


def _crew_row(name: str, shifts: tuple[tuple[int, int], ...]) -> Row:
    return {"name": name, "shifts_ms": [[first * _MS, last * _MS] for first, last in shifts[:60]]}


def _line(case: Case, schedule: Schedule, number: int) -> Row:
    problem, cause = case.problem, case.causes[number]
    job, one = problem.jobs[number], schedule.placed.get(number)
    at_us = problem.until_us if one is None else _begin_us(problem, problem.stops[one.stop])
    next_stop = None if one is None else _next(problem, number, one)
    next_us = problem.until_us if next_stop is None else _begin_us(problem, next_stop)
    now, later = problem.expected(job, at_us), problem.expected(job, next_us)
    status = IMPOSSIBLE if one is None else LATE if problem.is_late(one) else PLANNED
    return {
        "job": job.id,
        "asset": job.asset,
        "mode": job.mode,
        "status": status,
        "due_ms": cause.due_us // US_PER_MS,
        **_cause_row(cause),
        "people": job.people,
        "skills": sorted(job.skills),
        "parts": dict(job.parts),
        "duration_h": job.length * _MS / 3_600_000,
        **_place_row(problem, one),
        "probability": _share(problem, job, at_us),
        "loss": job.loss / _CENTS,
        "loss_formula": _formula(cause),
        "expected_cost": now / _CENTS,
        "next_ms": next_us // US_PER_MS,
        "next_stop": "" if next_stop is None else next_stop.name,
        "next_probability": _share(problem, job, next_us),
        "wait_cost": (later if one is None else later - now) / _CENTS,
        "earlier": [_refusal(schedule, number, stop) for stop in _earlier(problem, number, one)],
        "bound": _bound(schedule, number, one),
    }


def _cause_row(cause: Cause) -> Row:
    life = cause.life
    alarms = [
        {"alarm_id": a.alarm_id, "priority": a.priority, "raised_ms": a.raised_us // US_PER_MS}
        for a in cause.alarms
    ]
    if life is None:
        return {"due_from": "priority", "alarms": alarms, "rul_h": None, "model": ""}
    rul_h = {"p10": life.p10_h, "p50": life.p50_h, "p90": life.p90_h}
    told_ms = life.at_us // US_PER_MS
    return {
        "due_from": "rul",
        "alarms": alarms,
        "rul_h": rul_h,
        "model": life.model,
        "rul_ms": told_ms,
    }


def _place_row(problem: Problem, one: Placement | None) -> Row:
    if one is None:
        return {"stop": None, "crew": "", "start_ms": None, "end_ms": None}
    stop = problem.stops[one.stop]
    named = {**_stop_row(stop), "running": stop.running}
    del named["assets"]
    team = problem.teams[one.team].name
    return {"stop": named, "crew": team, "start_ms": one.first * _MS, "end_ms": one.last * _MS}


def _share(problem: Problem, job: Job, until_us: int) -> float:
    return round(job.risk.probability(problem.now_us, until_us), 6)


def _formula(cause: Cause) -> Row:
    return dict(zip(cause.loss._fields, cause.loss, strict=True))


def _begin_us(problem: Problem, stop: Stop) -> int:
    return max(stop.first * SLOT_US, problem.now_us)


def _next(problem: Problem, number: int, one: Placement) -> Stop | None:
    """The next stop after the chosen one in which the job is allowed."""
    present = problem.stops[one.stop]
    allowed = sorted({stop for _, stop, _ in problem.choices[number]})
    later = (problem.stops[stop] for stop in allowed)
    return next((stop for stop in later if stop.first >= present.last), None)


# Why not earlier ----------------------------------------------------------------------------------


def _earlier(problem: Problem, number: int, one: Placement | None) -> list[int]:
    """The last stops of the asset before the chosen one, or before it is due if there is none."""
    job = problem.jobs[number]
    allowed = [n for n, stop in enumerate(problem.stops) if problem.allows(job, stop)]
    if one is not None:
        return [number for number in allowed if number < one.stop][-_SHOWN:]
    in_time = [number for number in allowed if problem.stops[number].first <= job.due]
    return in_time[-_SHOWN:] or allowed[:_SHOWN]


def _refusal(schedule: Schedule, number: int, index: int) -> Row:
    """A stop with the rule that forbids it."""
    stop = schedule.problem.stops[index]
    name = "" if stop.running else stop.name
    return {"stop": name, "start_ms": stop.first * _MS, **why_not(schedule, number, index)}


def why_not(schedule: Schedule, number: int, stop: int) -> Row:
    """The rule that keeps a job out of a stop."""
    problem = schedule.problem
    job = problem.jobs[number]
    fit = [index for index, team in enumerate(problem.teams) if is_fit(job, team)]
    if not fit:
        skilled = any(job.skills <= team.skills for team in problem.teams)
        rule = "people" if skilled else "skill"
        return {"rule": rule, "names": sorted(job.skills), "count": job.people}
    if all(len(problem.times(stop, team)) < job.length for team in fit):
        at_work = any(problem.times(stop, team) for team in fit)
        return {"rule": "short" if at_work else "hours", "names": _teams(problem, fit)}
    alone = type(schedule)(problem)
    if all(alone.earliest(number, stop, team) is None for team in fit):
        name, part = max(
            (
                (name, problem.parts[name])
                for name, count in job.parts
                if problem.parts[name].stock < count
            ),
            key=lambda each: each[1].arrives,
        )
        return {"rule": "part", "names": [name], "arrives_ms": part.arrives * _MS}
    free = type(schedule)(problem, [each for key, each in schedule.placed.items() if key != number])
    if any(free.earliest(number, stop, team) is not None for team in fit):
        return {"rule": "kept", "names": []}
    return {"rule": "taken", "names": _others(schedule, number, stop)}


def _teams(problem: Problem, numbers: list[int]) -> list[str]:
    return [problem.teams[number].name for number in numbers]


def _others(schedule: Schedule, number: int, stop: int) -> list[str]:
    """Jobs in that stop that hold its crews, its asset or its parts."""
    problem = schedule.problem
    mine = problem.jobs[number]
    wanted = {name for name, _ in mine.parts}
    found = []
    for key, one in schedule.placed.items():
        job = problem.jobs[key]
        shares = job.asset == mine.asset or is_fit(mine, problem.teams[one.team])
        shares = shares or any(name in wanted for name, _ in job.parts)
        within = problem.stops[stop]
        if key != number and shares and one.first < within.last and within.first < one.last:
            found.append(job.id)
    return sorted(found)[:_SHOWN]


def _bound(schedule: Schedule, number: int, one: Placement | None) -> str:
    """The rule that bound the line most: of the last earlier stop, or why there is none."""
    problem = schedule.problem
    job = problem.jobs[number]
    allowed = [index for index, stop in enumerate(problem.stops) if problem.allows(job, stop)]
    if not allowed:
        return "no_stop"
    in_time = [index for index in allowed if problem.stops[index].first <= job.due]
    if one is not None and (not problem.is_late(one) or not in_time):
        if not in_time:
            return "no_stop_before"
        earlier = [index for index in allowed if index < one.stop]
        return why_not(schedule, number, earlier[-1])["rule"] if earlier else "first"
    reasons = [why_not(schedule, number, index)["rule"] for index in in_time or allowed]
    return reasons[-1] if in_time or one is None else "no_stop_before"
