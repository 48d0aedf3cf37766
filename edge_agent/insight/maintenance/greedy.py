"""The greedy plan: fast, deterministic, and always there.

Jobs go one after the other to the cheapest stop in which they are in time. This is done in several
orders; jobs that come out late then go first, until that no longer helps. The best plan counts.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from edge_agent.insight.maintenance.problem import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.insight.maintenance.problem import Placement, Problem

_MIXED: Final = 100  # orders by chance, but not more jobs in all than
_WORK: Final = 400
_ROUNDS: Final = 12  # in which late jobs go first
_IMPROVEMENTS: Final = 4  # passes over all jobs


def plan_greedily(problem: Problem) -> Schedule:
    """The best plan of all orders."""
    best = Schedule(problem)
    for order in _orders(problem):
        made = _late_first(problem, order)
        if made.value < best.value:
            best = made
    return _improved(best)


def _orders(problem: Problem) -> Iterator[list[int]]:
    """Orders of the jobs: by each rank, and then mixed, always in the same way."""
    jobs = list(range(len(problem.jobs)))
    chance = random.Random(0)  # noqa: S311 (no secret)
    for rank in _ranks(problem):
        yield sorted(jobs, key=rank)
    for _ in range(min(_MIXED, _WORK // max(1, len(jobs)))):
        chance.shuffle(jobs)
        yield list(jobs)


def _ranks(problem: Problem) -> Sequence[Callable[[int], tuple[float, ...]]]:
    """Ranks of a job, the smallest first: by what is due, by its loss, by what waiting costs."""
    jobs, waiting = problem.jobs, problem.waiting

    def urgency(number: int) -> float:
        stops = [stop for _, stop, _ in problem.choices[number]]
        costs = sorted({waiting[number][stop] for stop in stops})
        return costs[1] - costs[0] if len(costs) > 1 else jobs[number].loss

    return (
        lambda number: (jobs[number].due, -jobs[number].loss, number),
        lambda number: (-jobs[number].loss, jobs[number].due, number),
        lambda number: (-urgency(number), jobs[number].due, number),
    )


def _late_first(problem: Problem, order: list[int]) -> Schedule:
    """The plan of an order; as long as it helps, jobs that are late or left out go to the front."""
    best = _in_order(problem, order)
    for _ in range(min(_ROUNDS, _WORK // max(1, len(order)))):
        late = [number for number in order if _is_late(best, number)]
        if not late:
            break
        order = [*late, *(number for number in order if number not in set(late))]
        made = _in_order(problem, order)
        if made.value >= best.value:
            break
        best = made
    return best


def _is_late(schedule: Schedule, number: int) -> bool:
    one = schedule.placed.get(number)
    return one is None or schedule.problem.is_late(one)


def _in_order(problem: Problem, order: Sequence[int]) -> Schedule:
    schedule = Schedule(problem)
    for number in order:
        one = cheapest(schedule, number)
        if one is not None:
            schedule.place(one)
    return schedule


def cheapest(schedule: Schedule, number: int) -> Placement | None:
    """The cheapest place of a job in time; if there is none, the cheapest; None without any."""
    late = None
    for _, stop, team in schedule.problem.choices[number]:
        one = schedule.earliest(number, stop, team)
        if one is None:
            continue
        if not schedule.problem.is_late(one):
            return one
        late = late or one
    return late


def _improved(schedule: Schedule) -> Schedule:
    """Place each job again while that makes the plan better."""
    for _ in range(_IMPROVEMENTS):
        before = schedule.value
        for number in range(len(schedule.problem.jobs)):
            old = schedule.remove(number) if number in schedule.placed else None
            one = cheapest(schedule, number)
            if one is not None:
                schedule.place(one)
            assert one is not None or old is None  # noqa: S101 (its old place is free)
        if schedule.value >= before:
            break
    return schedule
