"""The exact plan, by HiGHS (extra `plan`), in a child only: it may better the greedy one.

One binary variable for each job, stop, crew and first slot. Two solves: the least loss by jobs that
are late or left out, then the least expected cost with no more loss than that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import highspy
import numpy as np

from edge_agent.insight.maintenance.problem import UNPLACED, Placement, problems_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.insight.maintenance.problem import Problem, Schedule

    Floats = NDArray[np.float64]

MAX_COLUMNS: Final = 60_000
_SCALE: Final = 1e4  # of the largest coefficient of an objective
_SLACK: Final = 1e-6
_HALF: Final = 0.5


class Exact(NamedTuple):
    """A plan, and True if it is proven that none is better."""

    placements: list[Placement]
    is_best: bool


class Row(NamedTuple):
    """The sum of columns, each with its weight, is at most `most`."""

    columns: list[int]
    weights: list[float]
    most: float


def plan_exactly(problem: Problem, greedy: Schedule, limit_s: float) -> Exact | None:
    """A plan that is no worse than the greedy one; None if the problem is too large."""
    until_s = time.monotonic() + limit_s
    columns = []
    for one in _columns(problem):
        columns.append(one)
        if len(columns) > MAX_COLUMNS:
            return None
    rows = list(_rows(problem, columns))
    chosen = _start(columns, greedy)
    late = np.array([_late(problem, one) for one in columns], float)
    proven = True
    if greedy.value.late > _least_late(problem, columns):
        chosen, proven = _solve(rows, late, chosen, limit_s / 2)
    used = np.flatnonzero(late)
    most = float(late @ chosen)
    bound = Row(used.tolist(), late[used].tolist(), most + _SLACK * max(1.0, abs(most)))
    cost = np.array([_saving(problem, one) for one in columns], float)
    chosen, is_best = _solve([*rows, bound], cost, chosen, until_s - time.monotonic())
    made = [columns[number] for number in np.flatnonzero(chosen > _HALF)]
    if problems_of(problem, made) or not problem.value(made) < greedy.value:
        made = list(greedy.placed.values())
    return Exact(made, proven and is_best)


def _columns(problem: Problem) -> Iterator[Placement]:
    """Every place of every job, as if it were alone."""
    for number, job in enumerate(problem.jobs):
        for _, stop, team in problem.choices[number]:
            times = problem.times(stop, team)
            for begin in range(len(times) - job.length + 1):
                slots = tuple(times[begin : begin + job.length])
                one = Placement(number, stop, team, slots[0], slots[-1] + 1, slots)
                if all(
                    one.first >= problem.parts[name].arrives or count <= problem.parts[name].stock
                    for name, count in job.parts
                ):
                    yield one


def _late(problem: Problem, one: Placement) -> int:
    """What a place changes of the loss by jobs that are late, against being left out."""
    return (problem.is_late(one) - UNPLACED) * problem.jobs[one.job].loss


def _saving(problem: Problem, one: Placement) -> int:
    """What a place changes of the expected cost."""
    return problem.cost(one.job, one.stop, one.team) - problem.unplaced[one.job]


def _least_late(problem: Problem, columns: Sequence[Placement]) -> int:
    """The least loss by jobs that are late, if each were alone."""
    best = [0] * len(problem.jobs)
    for one in columns:
        best[one.job] = min(best[one.job], _late(problem, one))
    return sum(UNPLACED * job.loss for job in problem.jobs) + sum(best)


def _rows(problem: Problem, columns: Sequence[Placement]) -> Iterator[Row]:
    """One place a job; crews, assets and parts as many times as there are."""
    shared: dict[tuple[Any, ...], dict[int, float]] = {}
    several = _assets_of_several(problem)
    for number, one in enumerate(columns):
        job = problem.jobs[one.job]
        shared.setdefault(("job", one.job), {})[number] = 1.0
        for slot in one.slots:
            shared.setdefault(("team", one.team, slot), {})[number] = float(job.people)
        for slot in range(one.first, one.last) if job.asset in several else ():
            shared.setdefault(("asset", job.asset, slot), {})[number] = 1.0
        for name, count in job.parts:
            if one.first < problem.parts[name].arrives:
                shared.setdefault(("part", name), {})[number] = float(count)
    for key, weights in shared.items():
        most = _most(problem, key)
        of_job: dict[int, float] = {}
        for number, weight in weights.items():
            job_number = columns[number].job
            of_job[job_number] = max(of_job.get(job_number, 0.0), weight)
        if key[0] == "job" or sum(of_job.values()) > most:
            yield Row(list(weights), list(weights.values()), most)


def _most(problem: Problem, key: tuple[Any, ...]) -> float:
    if key[0] == "team":
        return float(problem.teams[key[1]].count)
    return float(problem.parts[key[1]].stock) if key[0] == "part" else 1.0


def _assets_of_several(problem: Problem) -> set[str]:
    """Assets with more than one job."""
    seen: set[str] = set()
    return {job.asset for job in problem.jobs if job.asset in seen or seen.add(job.asset)}  # type: ignore[func-returns-value]


def _start(columns: Sequence[Placement], greedy: Schedule) -> Floats:
    """The greedy plan as values of the columns."""
    known = {(one.job, one.stop, one.team, one.first) for one in greedy.placed.values()}
    return np.array([(one.job, one.stop, one.team, one.first) in known for one in columns], float)


def _solve(rows: Sequence[Row], cost: Floats, start: Floats, limit_s: float) -> tuple[Floats, bool]:
    """The best values of the columns that were found, never worse than `start`."""
    if limit_s <= 0 or not cost.any():
        return start, not cost.any()
    solver = _solver(limit_s)
    solver.passModel(_model(rows, cost / np.abs(cost).max() * _SCALE))
    known = highspy.HighsSolution()
    known.col_value = start.tolist()
    solver.setSolution(known)
    solver.run()
    found = np.array(solver.getSolution().col_value)
    is_best = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    if len(found) != len(start):
        return start, False
    found = np.round(found)
    return (found, is_best) if cost @ found <= cost @ start else (start, is_best)


def _solver(limit_s: float) -> Any:  # noqa: ANN401 (it has no types)
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in {
        "output_flag": False,
        "threads": 1,
        "random_seed": 0,
        "time_limit": limit_s,
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 1e-6,
    }.items():
        solver.setOptionValue(name, value)
    return solver


def _model(rows: Sequence[Row], cost: Floats) -> Any:  # noqa: ANN401 (it has no types)
    count = len(cost)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = count, len(rows)
    model.col_cost_ = cost
    model.col_lower_, model.col_upper_ = np.zeros(count), np.ones(count)
    model.integrality_ = [highspy.HighsVarType.kInteger] * count
    model.row_lower_ = np.full(len(rows), -highspy.kHighsInf)
    model.row_upper_ = np.array([row.most for row in rows])
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    starts = np.cumsum([0, *(len(row.columns) for row in rows)])
    model.a_matrix_.start_ = starts.astype(np.int32)
    model.a_matrix_.index_ = np.concatenate([row.columns for row in rows]).astype(np.int32)
    model.a_matrix_.value_ = np.concatenate([row.weights for row in rows]).astype(float)
    return model
