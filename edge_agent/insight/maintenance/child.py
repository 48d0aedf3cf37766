"""The process that plans: niced, with an end to its memory and its time.

On stdin a pickle of `Question`: the daemon, its parent, is trusted. On stdout a line of JSON for
each plan: the greedy one at once, then a better one, if the solver finds one.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.insight.maintenance.case import case_of
from edge_agent.insight.maintenance.changes import changes_of
from edge_agent.insight.maintenance.explain import explained
from edge_agent.insight.maintenance.greedy import plan_greedily
from edge_agent.insight.maintenance.problem import Schedule
from edge_agent.insight.maintenance.wording import Wording, texts_of
from edge_agent.models import limit_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config.maintenance import Maintenance
    from edge_agent.config.schema import Alarms
    from edge_agent.insight.maintenance.case import Case, Facts

_NICER: Final = 10
REFUSED: Final = 3  # exit code: one line on stderr says why
WORK_S: Final = 60  # of processor time for everything but the solver
Row = dict[str, Any]


class Question(NamedTuple):
    """What to plan. alarms: of the config, for its texts; zone: the plant's time zone.

    before: by job, its place in the last plan, as `changes.places_of` returns it.
    """

    config: Maintenance
    alarms: Alarms
    facts: Facts
    zone: str
    before: Mapping[str, Row]


def plans_of(question: Question) -> Iterator[Row]:
    """The greedy plan, and then that of the solver, if it is installed and wanted."""
    case = case_of(question.config, question.facts, question.zone)
    wording = Wording(texts_of(question.alarms), case.zone, question.config.currency)

    def told(schedule: Schedule, by: str) -> Row:
        plan = explained(case, schedule)
        changes = changes_of(question.before, plan["lines"])
        return {"by": by, "zone": question.zone, **wording.worded({**plan, "changes": changes})}

    greedy = plan_greedily(case.problem)
    yield told(greedy, "greedy")
    better = _better(question.config, case, greedy)
    if better is not None:
        yield told(better, "solver")


def _better(config: Maintenance, case: Case, greedy: Schedule) -> Schedule | None:
    """A plan that is better than the greedy one by the same objective; None if none was found."""
    if not case.problem.jobs or config.solver is False or find_spec("highspy") is None:
        return None
    from edge_agent.insight.maintenance import solver  # noqa: PLC0415 (an extra)

    found = solver.plan_exactly(case.problem, greedy, config.solver_time)
    if found is None:
        return None
    schedule = Schedule(case.problem, sorted(found.placements, key=lambda one: one.first))
    return schedule if schedule.value < greedy.value else None


def main() -> int:
    """Answer the question on stdin."""
    question: Question = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 (ours)
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    limit_memory(question.config.memory)
    seconds = WORK_S + round(question.config.solver_time)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        for plan in plans_of(question):
            answers.write(orjson.dumps(plan) + b"\n")
            answers.flush()
    except EdgeAgentError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return REFUSED
    except MemoryError:
        print("it needs more memory: maintenance.memory", file=sys.stderr)  # noqa: T201
        return REFUSED
    return 0
