"""Kills of the daemon and its broker (`scripts/crash-test`) over thousands of transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.crash_test.crash import Plan, crash
from scripts.crash_test.peers import Daemon
from scripts.rigs.faults.flow import PatchedDaemon
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from scripts.rigs.faults.promises import Run

LONG: Final = Plan(daemon_kills=100, broker_kills=20, pairs=40)
QUICK: Final = Plan(daemon_kills=5, broker_kills=3, seed=5)
CONTROL: Final = Plan(daemon_kills=10, broker_kills=16, seed=5, pairs=20)

FORGETFUL: Final = Plan(daemon_kills=4, broker_kills=6, persistence=False, seed=3, pairs=10)


class KilledDaemon(PatchedDaemon, Daemon):
    """The daemon of the crash test with a protection switched off."""


def kills(run: Run) -> Measured:
    """Kill 100 times; the control neither keeps nor repeats messages."""
    plan = (QUICK if run.quick else LONG) if run.protected else CONTROL
    return _crash(run, plan, "forgotten_messages")


def forgetful_broker(run: Run) -> Measured:
    """Kill a broker without memory; the control repeats nothing to it."""
    return _crash(run, FORGETFUL, "nothing_repeated")


def _crash(run: Run, plan: Plan, without: str) -> Measured:
    patches = [] if run.protected else [without]
    run.tell(f"{plan.daemon_kills} kills of the daemon, {plan.broker_kills} of the broker")
    verdict = crash(plan, run.folder, lambda config: KilledDaemon(config, patches))
    problems = "".join(f"; {problem}" for problem in verdict.problems[:2])
    return Measured(
        f"{plan.daemon_kills} kills of the daemon, {plan.broker_kills} of the broker: {verdict}"
        f"{problems}",
        holds=not verdict.unheard and not verdict.problems,
    )
