"""Plans keep the hard rules, and are as good as the best of all; greedy and by the solver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_cases import best_value, random_case

from edge_agent.insight.maintenance.greedy import plan_greedily
from edge_agent.insight.maintenance.problem import Schedule, problems_of
from edge_agent.insight.maintenance.solver import plan_exactly

if TYPE_CHECKING:
    from edge_agent.insight.maintenance.problem import Placement, Problem

CASES = 200
CHUNK = 25
LEAST_GREEDY = 0.98  # of the small cases; 1.0 when it was written


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_the_solver_equals_brute_force_and_greedy_nearly(first: int) -> None:
    """200 small plants; no plan beats the best of all, so the search itself is sound, too."""
    equal = 0
    for seed in range(first, first + CHUNK):
        problem = random_case(seed)
        greedy, best = plan_greedily(problem), best_value(problem)
        assert greedy.value >= best, seed
        equal += greedy.value == best
        found = plan_exactly(problem, greedy, 60.0)
        value = greedy.value if found is None else problem.value(found.placements)
        assert value == best, seed
    assert equal >= LEAST_GREEDY * CHUNK - 1


def test_the_solver_betters_a_bad_plan() -> None:
    """It does not only hand back the greedy plan: from an empty one it comes to the best."""
    for seed in range(12):
        problem = random_case(seed)
        found = plan_exactly(problem, Schedule(problem), 60.0)
        if found is not None:
            assert problem.value(found.placements) == best_value(problem), seed
            assert found.is_best


def independent_faults(problem: Problem, plan: list[Placement]) -> list[str]:
    """The hard rules once more, written without a schedule: by counting every slot."""
    found = []
    crew: dict[tuple[int, int], int] = {}
    asset: dict[tuple[str, int], int] = {}
    parts: dict[str, int] = {}
    for one in plan:
        job, stop, team = problem.jobs[one.job], problem.stops[one.stop], problem.teams[one.team]
        at_work = [s for s in one.slots if any(a <= s < b for a, b in team.shifts)]
        inside = stop.first <= one.first and one.last <= stop.last and len(at_work) == job.length
        if not (inside and job.asset in stop.assets and job.skills <= team.skills):
            found.append(f"{job.id} is not allowed there")
        for slot in one.slots:
            crew[one.team, slot] = crew.get((one.team, slot), 0) + job.people
        for slot in range(one.first, one.last):
            asset[job.asset, slot] = asset.get((job.asset, slot), 0) + 1
        for name, count in job.parts:
            early = one.first < problem.parts[name].arrives
            parts[name] = parts.get(name, 0) + count * early
    found += [f"crew {k}" for k, n in crew.items() if n > problem.teams[k[0]].count]
    found += [f"asset {k}" for k, n in asset.items() if n > 1]
    found += [f"part {k}" for k, n in parts.items() if n > problem.parts[k].stock]
    return found


LARGE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@LARGE
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5))
def test_no_crew_asset_or_part_is_used_twice(seed: int, jobs: int, stops: int) -> None:
    problem = random_case(seed, jobs, stops)
    plan = list(plan_greedily(problem).placed.values())
    assert independent_faults(problem, plan) == problems_of(problem, plan) == []


@LARGE
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 5))
def test_no_job_is_late_while_a_stop_before_its_p10_is_free(
    seed: int, jobs: int, stops: int
) -> None:
    """With a crew and the parts: only other jobs may have taken it, and none is left out."""
    problem = random_case(seed, jobs, stops)
    schedule = plan_greedily(problem)
    for number, job in enumerate(problem.jobs):
        one = schedule.placed.get(number)
        if one is not None and one.first <= job.due:
            continue
        others = Schedule(problem, [e for key, e in schedule.placed.items() if key != number])
        for _, stop, team in problem.choices[number]:
            free = others.earliest(number, stop, team)
            assert free is None or (one is not None and free.first > job.due)


@LARGE
@given(st.integers(0, 10**6))
def test_a_job_alone_is_in_time_if_any_stop_allows_it(seed: int) -> None:
    problem = random_case(seed, 1, 4)
    places = [Schedule(problem).earliest(*one) for one in _all(problem)]
    in_time = [one for one in places if one is not None and one.first <= problem.jobs[0].due]
    chosen = plan_greedily(problem).placed.get(0)
    assert bool(in_time) == (chosen is not None and chosen.first <= problem.jobs[0].due)
    assert (chosen is None) == (not any(places))


def _all(problem: Problem) -> list[tuple[int, int, int]]:
    stops, teams = range(len(problem.stops)), range(len(problem.teams))
    return [(0, s, t) for s in stops for t in teams if (s, t) in _allowed(problem)]


def _allowed(problem: Problem) -> set[tuple[int, int]]:
    job = problem.jobs[0]
    return {
        (s, t)
        for s, stop in enumerate(problem.stops)
        for t, team in enumerate(problem.teams)
        if job.asset in stop.assets and job.skills <= team.skills and job.people <= team.count
    }


def test_a_small_change_of_a_remaining_life_moves_nothing() -> None:
    """A change costs 2 % of the loss: a plan that was told stays while lives wobble by 1 %."""
    moved = 0
    for seed in range(60):
        problem = replace(random_case(seed, 6, 4), before={})
        first = plan_greedily(problem)
        names = {
            problem.jobs[n].id: (problem.stops[one.stop].id, problem.teams[one.team].name)
            for n, one in first.placed.items()
        }
        wobbled = tuple(
            replace(j, risk=j.risk._replace(p50_h=j.risk.p50_h * 1.01, p90_h=j.risk.p90_h * 1.01))
            for j in problem.jobs
        )
        second = plan_greedily(replace(problem, jobs=wobbled, before=names))
        now = {
            problem.jobs[n].id: (problem.stops[one.stop].id, problem.teams[one.team].name)
            for n, one in second.placed.items()
        }
        moved += now != names
    assert moved == 0
