"""Small random plants with all rules, and the best plan of each by trying everything."""

from __future__ import annotations

import random

from edge_agent.insight.maintenance.problem import (
    SLOT_US,
    Job,
    Part,
    Placement,
    Problem,
    Schedule,
    Stop,
    Team,
    Value,
)
from edge_agent.insight.maintenance.risk import Risk

DAY = 96  # slots


def random_case(seed: int, jobs: int = 4, stops: int = 3, hours: int = 4) -> Problem:
    """Jobs that compete for crews, parts and time. hours: of a stop at most."""
    chance = random.Random(seed)  # noqa: S311 (a test)
    assets = [f"A{n}" for n in range(max(2, jobs - 1))]
    made_stops, begin = [], 0
    for number in range(stops):
        begin += chance.randrange(20, 3 * DAY)
        length = chance.randrange(4, 4 * hours + 1)
        of = frozenset(one for one in assets if chance.random() < 0.8)
        made_stops.append(Stop(f"s{number}", f"S{number}", begin, begin + length, of))
    made = tuple(_job(chance, n, chance.choice(assets), begin) for n in range(jobs))
    return Problem(
        0,
        (begin + 10 * DAY) * SLOT_US,
        made,
        tuple(made_stops),
        tuple(_team(chance, n, begin + 2 * DAY) for n in range(2)),
        {"p": Part(chance.randrange(2), chance.randrange(0, begin + DAY))},
        _before(chance, made, stops),
        0.02,
    )


def _job(chance: random.Random, number: int, asset: str, span: int) -> Job:
    hours = sorted(chance.uniform(0, span / 2) for _ in range(3))
    risk = Risk(-chance.randrange(3600) * 1_000_000, *hours)
    return Job(
        f"{asset}:m{number}",
        asset,
        f"m{number}",
        risk.due_us // SLOT_US,
        chance.randrange(1, 7),
        chance.randrange(1, 100_000),
        risk,
        chance.choice((1, 1, 1, 2)),
        frozenset(chance.sample(("mech", "elec"), chance.choice((0, 0, 1, 1, 2)))),
        (("p", 1),) if chance.random() < 0.3 else (),
    )


def _team(chance: random.Random, number: int, span: int) -> Team:
    skills = frozenset(one for one in ("mech", "elec") if chance.random() < 0.8)
    shifts: tuple[tuple[int, int], ...] = ((0, span),)
    if chance.random() < 0.5:
        length = chance.randrange(24, 80)
        shifts = tuple((day, day + length) for day in range(0, span, DAY))
    return Team(f"c{number}", skills, chance.choice((1, 1, 2)), shifts)


def _before(chance: random.Random, jobs: tuple[Job, ...], stops: int) -> dict[str, tuple[str, str]]:
    """The last plan: of some jobs, and of one that is gone."""
    named = [job.id for job in jobs if chance.random() < 0.4]
    return {
        name: (f"s{chance.randrange(stops)}", f"c{chance.randrange(2)}")
        for name in [*named, "gone:m9"]
    }


def best_value(problem: Problem) -> Value:
    """The value of the best plan: every order of the jobs, in every stop by every crew.

    A job is placed as early as it fits. That loses nothing: take any plan, and place its jobs in
    the order of their begins; each finds its old place or an earlier one free.
    """
    best = [problem.value(())]
    _search(Schedule(problem), frozenset(range(len(problem.jobs))), best)
    return best[0]


def _search(schedule: Schedule, left: frozenset[int], best: list[Value]) -> None:
    value = schedule.value
    best[0] = min(best[0], value)
    if not _may_be_better(schedule, left, value, best[0]):
        return
    for job in left:
        for _, stop, team in schedule.problem.choices[job]:
            one = schedule.earliest(job, stop, team)
            if one is not None and _is_next(schedule, one):
                schedule.place(one)
                _search(schedule, left - {job}, best)
                schedule.remove(job)


def _is_next(schedule: Schedule, one: Placement) -> bool:
    """In the order of their begins, so that no plan is tried twice."""
    return all((each.first, each.job) <= (one.first, one.job) for each in schedule.placed.values())


def _may_be_better(schedule: Schedule, left: frozenset[int], value: Value, best: Value) -> bool:
    """False if even each job in its cheapest stop, in time, would not be better."""
    problem = schedule.problem
    late, cost = value
    for job in left:
        if problem.choices[job]:
            late -= 2 * problem.jobs[job].loss
            cost -= problem.unplaced[job] - problem.choices[job][0][0]
    return Value(late, cost) < best
