"""One bad model stops no other one, whatever its role: it hangs, eats memory, or dies.

The controls run the same model in the daemon's own process.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from isolated_models import Host
from support import value_of
from tiny_versions import NAME, eats_over, hangs_over, mean
from version_models import Watched, config, fails_over

from edge_agent.config.settings import Isolated, Tuning
from edge_agent.config.types import Duration
from edge_agent.models.runtime.isolated_engine import IsolatedEngine
from edge_agent.testing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.models import Model

BUDGET_S = 0.1
EVIL = 50.0  # over the limit of the versions here
# A turn waits for 1.5 budgets; the standby scores in the same turn. The rest is for a busy machine.
SOON_S = 1.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.isolation.close()


def plant_of(model: Model) -> Watched:
    """Two pumps, watched by this version for six seconds."""
    plant = Watched(config(budget_s=BUDGET_S))
    plant.use(model)
    plant.rows(6, 1.0)
    return plant


def stopped(model: Model, number: signal.Signals) -> None:
    """Send a signal to the process of a model."""
    assert isinstance(model.engine, IsolatedEngine)
    assert model.engine._process is not None
    os.kill(model.engine._process._number, number)


def seconds_of(call: Callable[[], Any]) -> float:
    begin_s = time.monotonic()
    call()
    return time.monotonic() - begin_s


def turns_until(plant: Watched, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Turns without values, until something is so."""

    def turn() -> bool:
        plant.note(plant.turn(float(plant.t)))
        plant.shadow_told += plant.pipeline.run_shadows()
        return done()

    wait_until(turn, timeout_s=timeout_s, what="it")


def runs_of(plant: Watched) -> int:
    """The runs of its model."""
    (family,) = plant.metrics.batch_size.labels(NAME).collect()
    return sum(int(one.value) for one in family.samples if one.name.endswith("_count"))


@pytest.mark.parametrize("made", [hangs_over, eats_over])
def test_the_standby_scores_in_the_same_turn(host: Host, made: Callable[..., Model]) -> None:
    """The other pump's window has its score within a second, and the version gives way."""
    good, bad = mean(), host.load(made, 10.0)
    plant = plant_of(good)
    plant.pipeline.deployments.replace_version(bad)
    plant.rows(2, 1.0)
    assert plant.deployments() == {"2"}
    took_s = seconds_of(lambda: plant.row(EVIL, 2.0))
    turns_until(plant, lambda: plant.deployments() == {"1"}, 5.0)
    assert took_s < SOON_S
    assert plant.missing() == []
    assert plant.pipeline.deployments.rollbacks[0].bad.model is bad


def test_in_this_process_all_wait_for_a_model_that_hangs(host: Host) -> None:
    """The control."""
    host.load(hangs_over, 10.0, steps=20_000_000)
    bad = host.new_registry(isolation=Isolated.NEVER).load(NAME)
    plant = plant_of(mean())
    plant.pipeline.deployments.replace_version(bad)
    assert seconds_of(lambda: plant.row(EVIL, 2.0)) > SOON_S


def test_a_crash_costs_no_window(host: Host) -> None:
    """The process dies between two windows: the standby scores the next one."""
    bad = host.load(mean, version="2")
    plant = plant_of(mean())
    plant.pipeline.deployments.replace_version(bad)
    plant.row(1.0)
    stopped(bad, signal.SIGSEGV)
    plant.rows(3, 1.0)
    assert plant.missing() == []
    assert plant.deployments() == {"1"}
    assert "SIGSEGV" in plant.pipeline.deployments.rollbacks[0].bad.reason


def test_without_another_version_windows_wait_for_a_slow_run(host: Host) -> None:
    """Turns go on meanwhile, and each window has its score in the end."""
    only = host.load(mean)
    plant = plant_of(only)
    stopped(only, signal.SIGSTOP)
    assert seconds_of(lambda: plant.row(3.0)) < SOON_S
    assert seconds_of(lambda: plant.rows(5, 4.0)) < SOON_S
    stopped(only, signal.SIGCONT)
    turns_until(plant, lambda: plant.missing() == [])
    assert value_of(plant.metrics.windows.labels(NAME, "busy")) == 0


def test_without_another_version_a_hang_is_a_service_alarm(host: Host) -> None:
    """It is killed at the limit; until its process is started again its windows fail at once."""
    only = host.load(hangs_over, 10.0)
    plant = plant_of(only)
    faults = plant.pipeline.deployments.reports.faults
    assert seconds_of(lambda: plant.row(EVIL, 2.0)) < SOON_S
    turns_until(plant, lambda: [one.what for one in faults(0)] == ["model"])
    assert "no answer after" in faults(0)[0].text
    assert seconds_of(lambda: plant.rows(5, 2.0)) < SOON_S


def test_turns_within_a_moment_share_one_run(host: Host) -> None:
    """A process is not woken for each turn; no window is lost, and none waits for longer."""
    only = host.load(mean)
    plant = Watched(replace(config(budget_s=BUDGET_S), tuning=Tuning(tick=Duration(2.5))))
    plant.use(only)
    plant.rows(12, 1.0)
    deployments = plant.pipeline.deployments
    assert not plant.pipeline.score_windows([])
    assert deployments.is_resting([])
    assert deployments.due_s == 12.5
    assert plant.missing() == [(asset, t) for asset in plant.scores for t in (11, 12)]
    assert runs_of(plant) == 3
    plant.note(plant.turn(12.5))
    assert plant.missing() == []
    assert runs_of(plant) == 4
    assert deployments.due_s == inf


def test_nobody_waits_for_a_shadow(host: Host) -> None:
    """One that hangs is rejected at the limit, and costs no turn anything."""
    shadow = host.load(hangs_over, 10.0)
    plant = plant_of(mean())
    plant.pipeline.deployments.set_shadow(NAME, shadow)
    assert seconds_of(lambda: plant.row(EVIL, 2.0)) < BUDGET_S
    assert seconds_of(lambda: plant.rows(5, 2.0)) < SOON_S
    turns_until(plant, lambda: not plant.pipeline.deployments.has_shadows())
    assert plant.missing() == []


def test_a_shadow_that_dies_is_rejected(host: Host) -> None:
    shadow = host.load(mean, version="2")
    plant = plant_of(mean())
    plant.pipeline.deployments.set_shadow(NAME, shadow)
    plant.rows(2, 1.0)
    stopped(shadow, signal.SIGSEGV)
    plant.rows(2, 1.0)
    turns_until(plant, lambda: not plant.pipeline.deployments.has_shadows())
    assert plant.missing() == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGSTOP])
def test_a_standby_that_dies_or_hangs_is_not_missed(host: Host, number: signal.Signals) -> None:
    """It does not run until it is needed."""
    spare = host.load(mean, version="2")
    plant = plant_of(mean())
    plant.pipeline.deployments.set_standby(NAME, spare)
    stopped(spare, number)
    assert seconds_of(lambda: plant.rows(3, 1.0)) < SOON_S
    assert plant.missing() == []
    assert plant.deployments() == {"1"}


def test_a_standby_that_has_died_does_not_become_active(host: Host) -> None:
    """The active version fails, and so does its standby: the turn goes on."""
    spare = host.load(mean, version="2")
    plant = plant_of(fails_over(10, "1"))
    plant.pipeline.deployments.set_standby(NAME, spare)
    stopped(spare, signal.SIGSEGV)
    assert seconds_of(lambda: plant.row(EVIL, EVIL)) < SOON_S
    assert plant.deployments() == {"1"}
    assert [one.what for one in plant.pipeline.deployments.reports.faults(0)] == ["model"]


def test_a_sound_shadow_is_compared_a_turn_later(host: Host) -> None:
    """Windows are compared although nobody waits for them."""
    shadow = host.load(mean, version="2")
    plant = plant_of(mean())
    plant.pipeline.deployments.set_shadow(NAME, shadow)
    report = plant.pipeline.deployments.reports.shadow_report
    plant.row(1.0)
    turns_until(plant, lambda: (report(NAME) or {})["compared"] == 2)
    assert (report(NAME) or {})["agreement"] == 1.0


def test_a_shadow_in_this_process_is_waited_for(host: Host) -> None:
    """The control."""
    host.load(hangs_over, 10.0, steps=20_000_000)
    shadow = host.new_registry(isolation=Isolated.NEVER).load(NAME)
    plant = plant_of(mean())
    plant.pipeline.deployments.set_shadow(NAME, shadow)
    assert seconds_of(lambda: plant.row(EVIL, 2.0)) > SOON_S
