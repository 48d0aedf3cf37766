"""The service goes on after errors that nobody foresaw, and its stop loses nothing."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from support import until, value_of

from edge_agent.config.schema import (
    AlarmRule,
    Asset,
    Discovery,
    Learn,
    ModelUse,
    Signal,
    Template,
)
from edge_agent.config.settings import Http, Store, Tuning
from edge_agent.config.types import Duration, Name
from edge_agent.daemon.daemon import Daemon
from edge_agent.messages import LinkState
from edge_agent.pipeline import Pipeline
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.config.schema import Config

SIGNALS = {Name(name): Signal() for name in plants.INPUTS}
WATCHED = Template(SIGNALS, (ModelUse(Name("base")),))
LEARNER = Template(
    SIGNALS, learn=Learn(auto=True, step=Duration(1), duration=Duration(200), length=8)
)


def config(folder: Path, template: Template = WATCHED, **changes: Any) -> Config:
    """No source: the tests append to the intake themselves."""
    wanted: dict[str, object] = {
        "sources": {},
        "templates": {"pump": template},
        "http": Http(enabled=False),
        "store": Store(path=folder / "store.db"),
        "tuning": Tuning(drain_deadline=Duration(5.0)),
    }
    return plants.config(**(wanted | changes))


@asynccontextmanager
async def running(made: Config, path: Path | None = None) -> AsyncIterator[Daemon]:
    daemon, ready = Daemon(made, path=path), asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(daemon.run(on_ready=ready))
        await ready.wait()
        yield daemon
        daemon.stop()


def has_errors(daemon: Daemon, number: int) -> bool:
    return error_boundary(daemon, "pipeline") == number


def error_boundary(daemon: Daemon, part: str) -> float:
    return value_of(daemon.parts.metrics.error_boundary.labels(part))


async def test_values_that_cannot_be_digested_are_lost_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A signal that is not there must not end the service, nor fill the log."""
    async with running(config(tmp_path)) as daemon:
        for number in range(5):
            daemon.runtime.intake.append(columns([999], [1000], [1.0]))
            await until(partial(has_errors, daemon, number + 1))
        daemon.runtime.intake.append(plants.values(plants.fault()))
        await until(lambda: [a.alarm_id for a in daemon.runtime.alarms.active()] == ["any.base"])
        assert daemon.parts.loop.is_alive()
    assert [r.message for r in caplog.records].count("unexpected error") == 1


async def test_a_backlog_that_comes_signal_by_signal_is_not_late(tmp_path: Path) -> None:
    """As of a server that was held up: more than goes down the path at once, and none is lost."""
    rows = plants.healthy(8000, seed=5)
    values = plants.values(rows)
    by_signal = np.argsort(values.signal, kind="stable")
    async with running(config(tmp_path)) as daemon:
        daemon.runtime.intake.append(values.where(by_signal))
        windows = daemon.parts.metrics.windows.labels("base", "scored")
        await until(lambda: value_of(windows) == len(rows) - 31)
        (found,) = daemon.parts.metrics.values_late.collect()
        late = [m for m in found.samples if m.value]
        assert late == []


async def test_a_pipeline_that_digests_nothing_is_not_alive(tmp_path: Path) -> None:
    """Then the watchdog of systemd starts the service anew."""
    async with running(config(tmp_path)) as daemon:
        daemon.runtime.pipeline.close_windows = None  # type: ignore[assignment]
        await until(lambda: error_boundary(daemon, "pipeline") > 0)
        before_s = daemon.parts.loop._turned_s
        await until(lambda: error_boundary(daemon, "pipeline") > 2)
        assert daemon.parts.loop._turned_s == before_s


async def test_a_disk_that_refuses_what_was_learned_does_not_end_the_service(
    tmp_path: Path,
) -> None:
    """The rows are kept, it is tried again later, and a fault says so meanwhile."""
    (tmp_path / "file").write_text("")
    made = config(tmp_path, LEARNER, models_dir=tmp_path / "file" / "models")
    async with running(made) as daemon:
        daemon.runtime.intake.append(plants.values(plants.healthy(210, seed=1)))
        learning = daemon.runtime.pipeline.learning["pump"]
        await until(lambda: learning.progress() == {"any": 1.0})
        await until(lambda: "learning" in {one.what for one in daemon.parts.supervisor.faults()})
        assert learning.progress() == {"any": 1.0}
        assert daemon.parts.loop.is_alive()


async def test_what_is_on_its_way_when_the_service_stops_arrives(tmp_path: Path) -> None:
    """The model is at work when the stop comes: its alarm is in the store all the same."""
    made = config(tmp_path)
    began, go_on = threading.Event(), threading.Event()
    async with running(made) as daemon:
        infer = daemon.runtime.pipeline.score_windows

        def slow(due: list[Any]) -> list[Any]:
            began.set()
            go_on.wait(10)
            return infer(due)

        daemon.runtime.pipeline.score_windows = slow  # type: ignore[assignment, method-assign]
        daemon.runtime.intake.append(plants.values(plants.fault()))
        await until(began.is_set)
        daemon.stop()
        await asyncio.sleep(0.05)
        go_on.set()
    async with running(made) as daemon:
        assert [alarm.alarm_id for alarm in daemon.runtime.alarms.active()] == ["any.base"]


async def test_models_at_work_do_not_wait_for_those_that_are_loaded(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as daemon:
        held = threading.Event()
        daemon.parts.builder.loading.submit(held.wait, 20)
        daemon.runtime.intake.append(plants.values(plants.fault()))
        await until(lambda: bool(daemon.runtime.alarms.active()))
        assert not held.is_set()
        held.set()


async def test_an_asset_with_a_signal_of_its_own_learns_beside_the_others(tmp_path: Path) -> None:
    """In whatever order they come: what is learned is what all have."""
    assets = {"A": Asset(Name("pump"), signals={Name("more"): Signal()}), "B": Asset(Name("pump"))}
    async with running(
        config(tmp_path, LEARNER, assets=assets, models_dir=tmp_path / "models")
    ) as daemon:
        assert daemon.runtime.pipeline.learning["pump"].progress() == {"A": 0.0, "B": 0.0}


async def test_a_reload_that_fails_half_way_leaves_the_sources_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are stopped before the new side is made."""
    (tmp_path / "run.csv").write_text("time,flow\n2026-01-01T00:00:00Z,1\n")
    source = {"bus": ReplayConfig(path=tmp_path / "run.csv", asset="any", loop=True)}
    made = config(tmp_path, sources=source)
    async with running(made) as daemon:
        before = daemon.runtime
        monkeypatch.setattr(Pipeline, "adopt_state", None)
        with pytest.raises(TypeError):
            await daemon.parts.replacer.adopt(replace(made, discovery=Discovery(7)))
        assert daemon.runtime is before
        assert daemon.runtime.sources["bus"].link.state is not LinkState.STOPPED


async def test_assets_discovered_after_a_reload_have_the_new_rules(tmp_path: Path) -> None:
    made = config(tmp_path)
    louder = replace(WATCHED, models=(ModelUse(Name("base"), alarm=AlarmRule(severity=900)),))
    async with running(made) as daemon:
        await daemon.parts.replacer.adopt(replace(made, templates={Name("pump"): louder}))
        daemon.runtime.plant.discover("new", "pump")
        assert [daemon.runtime.catalogue.rule(f"{a}.base").severity for a in ("any", "new")] == [
            900,
            900,
        ]
