"""The models at work and the shelf on disk are kept in step, whatever happens to either."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support import until, value_of
from tiny_versions import INPUTS, LENGTH, NAME, fails_over, mean, nan_over

from edge_agent.config.schema import (
    Asset,
    Config,
    Discovery,
    ModelUse,
    Signal,
    Template,
)
from edge_agent.config.settings import Http, Store, Tuning
from edge_agent.config.types import Duration, Name
from edge_agent.daemon import daemon as daemon_module
from edge_agent.daemon.daemon import Daemon
from edge_agent.models.repository import ModelRepository
from edge_agent.store import AuditFilter
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

S = 1_000_000


def bundle(folder: Path, made: Any = mean, version: str = "1", limit: float | None = None) -> Path:
    """A bundle of one of the tiny models."""
    arguments = () if limit is None else (limit,)
    made(*arguments, version=version, folder=folder)
    return folder


class Gateway:
    """A daemon without sources, whose looks at the disk the test takes itself."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.t = daemon.parts.clock.now_us() // S - 3600

    async def look(self, times: int = 2) -> None:
        """What the daemon does every second."""
        for _ in range(times):
            await self.daemon.parts.reconciler.reconcile()

    async def rows(self, n: int, level: float) -> int:
        """`n` more rows, a second apart; gives how many windows were scored meanwhile."""
        daemon = self.daemon
        scored = daemon.parts.metrics.windows.labels(NAME, "scored")
        before = value_of(scored)
        signals = [s.index for s in daemon.runtime.plant.assets["P-1"].signals.values()]
        time_us = [(self.t + i) * S for i in range(n) for _ in signals]
        self.t += n
        daemon.runtime.intake.append(columns(signals * n, time_us, [level] * len(time_us)))
        await until(lambda: daemon.runtime.pipeline.watch.time_us[signals[0]] == (self.t - 1) * S)
        async with daemon.parts.loop.turning:
            return int(value_of(scored) - before)

    def row(self, mode: str = "active") -> dict[str, Any]:
        """What /api/models says."""
        rows = self.daemon.parts.status.models()
        return next((row for row in rows if row["mode"] == mode), {})

    async def alarm(self) -> str:
        """What the service alarm of the models would say now."""
        await self.daemon.parts.supervisor.supervise()
        faults = self.daemon.runtime.pipeline.deployments.reports.faults(
            self.daemon.parts.clock.now_us()
        )
        return faults[0].detail.message_key if faults else ""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with version 1 at work."""
    bundle(tmp_path / "models" / NAME)
    return tmp_path / "models"


@asynccontextmanager
async def gateway(models: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(daemon_module, "RECONCILE_EVERY_S", 3600.0)
    template = Template(
        {Name(name): Signal() for name in INPUTS}, (ModelUse(Name(NAME), lateness=Duration(0.0)),)
    )
    made = Config(
        templates={Name("pump"): template},
        assets={"P-1": Asset(Name("pump"))},
        models_dir=models,
        http=Http(enabled=False),
        store=Store(path=models.parent / "store.db"),
        tuning=Tuning(drain_deadline=Duration(5.0)),
    )
    daemon, ready = Daemon(made), asyncio.Event()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        group.create_task(daemon.run(on_ready=ready))
        await ready.wait()
        one = Gateway(daemon)
        await one.look()
        yield one
        daemon.stop()


async def test_what_is_still_being_copied_is_not_read(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken up once it has stood still from one look to the next."""
    async with gateway(models, monkeypatch) as one:
        good = bundle(models.parent / "new", version="2")
        text = (good / "model.yaml").read_bytes()
        (models / NAME / "model.yaml").write_bytes(text[:100])
        await one.look(1)
        (models / NAME / "model.yaml").write_bytes(text)
        await one.look(1)
        for name in ("model.onnx", "golden.npz"):
            (models / NAME / name).write_bytes((good / name).read_bytes())
        await one.look(1)
        assert (one.row()["version"], one.row().get("refused")) == ("1", None)
        await one.look(1)
        assert (one.row()["version"], one.row().get("refused")) == ("2", None)


async def test_a_bundle_that_was_copied_over_by_hand_goes_back_in_memory(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has the old one on disk. The bad one is left alone until its files change."""
    async with gateway(models, monkeypatch) as one:
        bundle(models / NAME, nan_over, "2", 50.0)
        await one.look()
        assert (one.row()["version"], one.row()["previous"]) == ("2", "1")
        assert await one.rows(10, 60.0) == 10 - LENGTH + 1
        await one.look()
        await one.daemon.parts.reconciler.refresh()  # as SIGHUP does
        assert (one.row()["version"], one.row()["refused_version"]) == ("1", "2")
        assert ModelRepository(models).active(NAME) == "2"
        assert [r.message for r in caplog.records].count("rollback not on disk") == 1
        bundle(models / NAME, mean, "3")
        await one.look()
        assert (one.row()["version"], "refused" in one.row()) == ("3", False)


async def test_no_version_goes_back_to_one_that_the_operator_took_away(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 fails after a rollback by hand: it stays, and the service alarm says so."""
    bundle(models / NAME, fails_over, "1", 50)
    shelf = ModelRepository(models)
    shelf.install(bundle(models.parent / "new", version="2"))
    async with gateway(models, monkeypatch) as one:
        shelf.activate(NAME, "2")
        await one.look()
        assert (one.row()["version"], one.row()["previous"]) == ("2", "1")
        shelf.rollback(NAME)
        await one.look()
        assert (one.row()["version"], one.row()["previous"]) == ("1", None)
        await one.rows(LENGTH, 60.0)
        await one.look()
        assert (one.row()["version"], one.row()["state"]) == ("1", "failing")
        assert await one.alarm() == "model_failed"
        # A run that holds one bad window fails as a whole, and turns share the runs of a process.
        for _ in range(6):
            await one.rows(LENGTH, 1.0)
            await asyncio.sleep(0.05)
        assert await one.alarm() == ""


async def test_a_reload_right_after_a_rollback_does_not_undo_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad one was on disk still, and the reload has loaded it again."""
    shelf = ModelRepository(models)
    shelf.install(bundle(models.parent / "new", nan_over, "2", 50.0))
    async with gateway(models, monkeypatch) as one:
        shelf.activate(NAME, "2")
        await one.look()
        await one.rows(10, 60.0)
        assert one.row()["version"] == "1"
        changed = replace(one.daemon.runtime.config, discovery=Discovery(7))
        await one.daemon.parts.replacer.adopt(changed)
        await one.look()
        assert (one.row()["version"], shelf.active(NAME)) == ("1", "1")
        assert one.row()["refused_version"] == "2"
        assert await one.rows(10, 60.0) == 10 - LENGTH + 1


async def test_a_rollback_is_told_for_a_while_and_no_longer(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the alarm waits for its operator, as any that has gone."""
    shelf = ModelRepository(models)
    shelf.install(bundle(models.parent / "new", nan_over, "2", 50.0))
    async with gateway(models, monkeypatch) as one:
        shelf.activate(NAME, "2")
        await one.look()
        assert await one.rows(10, 60.0) == 10 - LENGTH + 1
        await one.look()
        assert shelf.active(NAME) == "1"
        assert await one.alarm() == "model_rolled_back"
        later_us = one.daemon.parts.clock.now_us() + 601 * S
        monkeypatch.setattr(one.daemon.parts.clock, "now_us", lambda: later_us)
        assert await one.alarm() == ""


async def test_a_bundle_that_fails_its_tests_at_the_start_gives_way(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The daemon was down when it was activated."""
    shelf = ModelRepository(models)
    shelf.install(bundle(models.parent / "new", version="2"))
    shelf.activate(NAME, "2")
    raw = (models / NAME / "model.onnx").read_bytes()
    (models / NAME / "model.onnx").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    async with gateway(models, monkeypatch) as one:
        await one.look(3)
        assert (one.row()["version"], one.row()["state"]) == ("1", "active")
        assert (one.row()["assets"], one.row()["refused_version"]) == (1, "2")
        assert [r.message for r in caplog.records].count("model refused") == 1
        assert await one.rows(10, 1.0) == 10 - LENGTH + 1


async def test_a_shadow_that_fails_its_tests_is_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is called off scores no more; its report stays."""
    shelf = ModelRepository(models)
    for version in ("2", "3"):
        shelf.install(bundle(models.parent / version, version=version))
    bad = shelf.folder(NAME, "2") / "model.onnx"
    bad.write_bytes(bad.read_bytes()[:-1])
    async with gateway(models, monkeypatch) as one:
        shelf.set_shadow(NAME, "2")
        await one.look()
        assert one.row("shadow") == {}
        assert one.row()["refused_version"] == "2"
        shelf.set_shadow(NAME, "3")
        await one.look()
        await one.rows(10, 1.0)
        await until(lambda: one.row("shadow")["compared"] == 10 - LENGTH + 1)
        shelf.set_shadow(NAME, None)
        await one.look()
        assert (one.row("shadow")["state"], one.row("shadow")["compared"]) == ("ended", 7)
        assert one.row()["version"] == "1"


async def test_the_audit_says_which_version_is_active_since_when_and_who_did_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start, a command, a rollback; a restart with the same version adds nothing."""
    shelf = ModelRepository(models)
    async with gateway(models, monkeypatch) as one:
        await one.daemon.parts.supervisor.supervise()
        shelf.install(bundle(models.parent / "new", nan_over, "2", 50.0))
        shelf.activate(NAME, "2")
        await one.look()
        await one.rows(10, 60.0)
        await one.look()
        assert one.row()["version"] == "1"
    async with gateway(models, monkeypatch) as one:
        await one.daemon.parts.supervisor.supervise()
        rows = await one.daemon.parts.status.audit(AuditFilter(alarm_id=NAME), 10)
    told = [(row["actor"], row["action"], row["detail"]) for row in reversed(rows)]
    assert told[:2] == [
        ("daemon", "activate", "version 1"),
        ("command", "activate", "version 2, before 1"),
    ]
    ((actor, action, detail),) = told[2:]
    assert (actor, action, detail[:21]) == ("automatic", "rollback", "version 1, before 2: ")
