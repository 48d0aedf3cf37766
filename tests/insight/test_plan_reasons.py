"""Each rule that keeps a job out of a stop is named, with who or what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.config.schema import Alarms
from edge_agent.insight.maintenance.case import Case, Cause, Loss
from edge_agent.insight.maintenance.explain import explained
from edge_agent.insight.maintenance.greedy import plan_greedily
from edge_agent.insight.maintenance.problem import Job, Part, Problem, Stop, Team
from edge_agent.insight.maintenance.risk import Risk
from edge_agent.insight.maintenance.wording import Wording, texts_of

from datetime import UTC  # isort: skip

RISK = Risk(0, 100.0, 200.0, 300.0)
JOB = Job("A:m", "A", "m", 400, 4, 1000, RISK)
STOPS = (
    Stop("s0", "first", 10, 20, frozenset("AB")),
    Stop("s1", "second", 50, 70, frozenset("AB")),
)
CREW = Team("crew", frozenset({"mech"}), 2, ((0, 1000),))


def planned(job: Job = JOB, *others: Job, **changes: Any) -> dict[str, Any]:
    """The line of a job beside others, in two stops with one crew."""
    given = {"stops": STOPS, "teams": (CREW,), "parts": {}, "before": {}, "change": 0.0}
    problem = Problem(0, 10**12, (job, *others), **{**given, **changes})
    cause = Cause((), None, Loss(1.0, 10.0, 0.0, 0.0), RISK.due_us)
    case = Case(problem, (cause,) * len(problem.jobs), (), UTC)
    plan = explained(case, plan_greedily(problem))
    return dict(next(line for line in plan["lines"] if line["job"] == job.id))


NIGHT = Team("night", frozenset(), 1, ((50, 1000),))
BRIEF = Team("brief", frozenset(), 1, ((10, 12), (50, 60)))
OTHER = Job("B:m", "B", "m", 12, 8, 10**6, RISK, 2)
CASES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "first": (planned(), "first", []),
    "hours": (planned(teams=(NIGHT,)), "hours", ["night"]),
    "short": (planned(teams=(BRIEF,)), "short", ["brief"]),
    "part": (
        planned(replace(JOB, parts=(("seal", 1),)), parts={"seal": Part(0, 40)}),
        "part",
        ["seal"],
    ),
    "taken": (planned(JOB, OTHER), "taken", ["B:m"]),
    "kept": (planned(before={"A:m": ("s1", "crew")}, change=0.5), "kept", []),
    "skill": (planned(replace(JOB, skills=frozenset({"weld"}))), "skill", ["weld"]),
    "people": (planned(replace(JOB, people=3)), "people", []),
    "no_stop": (planned(stops=()), "no_stop", []),
    "no_stop_before": (planned(replace(JOB, due=5)), "no_stop_before", []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_that_bound_is_named(name: str) -> None:
    line, bound, names = CASES[name]
    assert line["bound"] == bound
    status = {"skill": "impossible", "people": "impossible", "no_stop": "impossible"}
    status["no_stop_before"] = "late"
    assert line["status"] == status.get(name, "planned")
    if line["earlier"]:
        assert line["earlier"][-1]["rule"] == bound
        assert line["earlier"][-1]["names"] == names


def test_a_part_that_comes_later_moves_the_job_to_the_next_stop() -> None:
    line = CASES["part"][0]
    assert line["stop"]["name"] == "second"
    assert line["earlier"][0]["arrives_ms"] == 40 * 900_000


def test_every_rule_has_its_words() -> None:
    """In each language; nothing is left open in them."""
    wording = Wording(texts_of(Alarms()), UTC, "EUR")
    for name, (line, *_) in CASES.items():
        alarm = {"alarm_id": "A.m", "priority": "high", "raised_ms": 0}
        plan = {"lines": [{**line, "alarms": [alarm]}], "changes": []}
        (worded,) = wording.worded(plan)["lines"]
        assert len(set(worded["why"].values())) == 4, name
        assert not {"{", "}", "[", "]"} & set("".join(worded["why"].values())), name
