"""A start with many bundles: what is loaded works at once, the others come, and nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support import until
from tiny_models import write_mean_bundle

from edge_agent.config.schema import Asset, Config, ModelUse, Signal, Template
from edge_agent.config.settings import Http, Store, Tuning
from edge_agent.config.types import Duration, Name
from edge_agent.daemon import asset_lives, model_manager, supervisor
from edge_agent.daemon import daemon as daemon_module
from edge_agent.daemon.daemon import Daemon
from edge_agent.models.runtime import registry
from edge_agent.models.runtime.verified import VerifiedBundles
from edge_agent.ops import notify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

COUNT = 6
NAMES = [f"model-{number}" for number in range(COUNT)]


def plant(tmp_path: Path) -> Config:
    """As many assets as bundles, each with a bundle of its own."""
    for name in NAMES:
        if not (tmp_path / "models" / name).exists():
            write_mean_bundle(tmp_path / "models" / name)
    signals = {Name(name): Signal() for name in ("flow", "pressure")}
    return Config(
        templates={
            Name(name): Template(signals, (ModelUse(Name(name), lateness=Duration(0.0)),))
            for name in NAMES
        },
        assets={f"A-{number}": Asset(Name(name)) for number, name in enumerate(NAMES)},
        models_dir=tmp_path / "models",
        http=Http(enabled=False),
        store=Store(path=tmp_path / "store.db"),
        tuning=Tuning(drain_deadline=Duration(5.0)),
    )


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Daemon]:
    daemon, ready = Daemon(config), asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(daemon.run(on_ready=ready))
        await ready.wait()
        yield daemon
        daemon.stop()


def loaded(daemon: Daemon) -> list[str]:
    return [model.manifest.name for model in daemon.runtime.pipeline.deployments.models()]


async def test_a_start_waits_for_a_few_bundles_and_the_others_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain limits must not wait for hundreds of models; who is not judged yet is named."""
    monkeypatch.setattr(daemon_module, "RECONCILE_EVERY_S", 3600.0)
    monkeypatch.setattr(daemon_module, "START_S", 0.0)
    async with running(plant(tmp_path)) as daemon:
        models = daemon.runtime.models
        late = NAMES[model_manager.AT_LEAST :]
        assert loaded(daemon) == NAMES[: model_manager.AT_LEAST]
        assert models.without == {
            f"A-{NAMES.index(name)}": f"model {name} is being loaded" for name in late
        }
        assert daemon.runtime.pipeline.deployments.reports.faults(0) == []
        for _ in range(2):
            await daemon.parts.reconciler.reconcile()
        assert loaded(daemon) == NAMES
        assert models.without == {}
        assert daemon.runtime.pipeline.deployments.reports.awaited == set()


async def test_each_model_is_at_work_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when the last one is, which may be minutes later."""
    monkeypatch.setattr(daemon_module, "RECONCILE_EVERY_S", 3600.0)
    monkeypatch.setattr(daemon_module, "START_S", 0.0)
    monkeypatch.setattr("edge_agent.serving.reconciler.USE_EVERY_S", 0.0)
    async with running(plant(tmp_path)) as daemon:
        models, real = daemon.runtime.models, daemon.runtime.models.load_model
        without: list[int] = []

        async def noted(name: str, folder: Path | None = None) -> Model:
            without.append(len(models.without))
            return await real(name, folder)

        monkeypatch.setattr(models, "load_model", noted)
        for _ in range(2):
            await daemon.parts.reconciler.reconcile()
        assert [*dict.fromkeys(without)] == [2, 1]
        assert models.without == {}


async def test_a_restart_tries_only_what_it_has_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store knows the digests; files that changed are refused all the same."""
    tried: list[str] = []
    real: Any = vars(registry)["try_files"]

    def noted(folder: Path, *rest: Any) -> Any:
        tried.append(folder.name)
        return real(folder, *rest)

    monkeypatch.setattr(registry, "try_files", noted)
    config = plant(tmp_path)
    async with running(config) as daemon:
        await until(lambda: not daemon.runtime.pipeline.deployments.reports.awaited)
    assert sorted(tried) == NAMES
    tried.clear()
    write_mean_bundle(tmp_path / "models" / NAMES[1], factor=2.0, version="2")
    (tmp_path / "models" / NAMES[2] / "model.onnx").write_bytes(b"other")
    async with running(config) as daemon:
        await until(lambda: not daemon.runtime.pipeline.deployments.reports.awaited)
        refused = daemon.runtime.pipeline.deployments.reports.not_loaded
    assert tried == [NAMES[1]]
    assert list(refused) == [NAMES[2]]


def test_what_another_machine_or_runtime_has_verified_counts_for_nothing() -> None:
    here, there = VerifiedBundles(), VerifiedBundles()
    there._machine = "another"
    there._trials["digest"] = {"chosen": "fp32"}
    here.restore(there.dumped())
    assert here._trials == {}
    there._machine = here._machine
    here.restore(there.dumped())
    assert list(here._trials) == ["digest"]
    for damaged in (b"{", b"[]", b"{}"):
        with pytest.raises((ValueError, KeyError, TypeError)):
            VerifiedBundles().restore(damaged)


async def test_a_stop_does_not_wait_for_all_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = asyncio.Event()

    async def endless(*_: object) -> None:
        loading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(model_manager.ModelManager, "load_model", endless)
    daemon = Daemon(plant(tmp_path))
    async with asyncio.timeout(60):
        run = asyncio.create_task(daemon.run())
        await loading.wait()
        daemon.stop()
        await run
    assert not daemon.parts.is_ready


async def test_the_watchdog_waits_for_nothing_but_the_pipeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that hangs is an alarm; a pipeline that hangs ends the service."""
    fed = asyncio.Event()
    monkeypatch.setattr(notify, "watchdog_interval_s", lambda: 0.01)
    monkeypatch.setattr(notify, "watchdog", fed.set)
    alive = True
    task = asyncio.create_task(supervisor.heartbeat(lambda: alive))
    await asyncio.wait_for(fed.wait(), 10)
    alive = False
    await asyncio.sleep(0)
    fed.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(fed.wait(), 0.1)
    task.cancel()


def test_what_a_baseline_followed_waits_until_it_is_loaded() -> None:
    """And is neither lost nor moved into another version."""
    restored: list[tuple[int, object]] = []
    following = SimpleNamespace(restore=lambda row, state: restored.append((row, state)))
    late = SimpleNamespace(
        model=SimpleNamespace(sha256="b"), assets=[SimpleNamespace(id="P-1")], following=following
    )
    waiting = {"a": {"P-9": "of another"}, "b": {"P-1": "moved"}}
    restore_followed: Any = vars(asset_lives)["_restore_followed"]
    restore_followed([], waiting)
    assert restored == []
    assert waiting["b"] == {"P-1": "moved"}
    for _ in range(2):
        restore_followed([late], waiting)
    assert restored == [(0, "moved")]
    assert waiting == {"a": {"P-9": "of another"}, "b": {}}
