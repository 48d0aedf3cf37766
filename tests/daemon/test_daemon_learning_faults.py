"""Learning that does not get on: said on the page, as a trouble and as a service alarm."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from daemon_support import fed_config, now_ms

from edge_agent.daemon import model_manager
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.errors import ModelError
from edge_agent.learning import write_problem
from edge_agent.values import BAD_TYPE_MISMATCH, Columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

NAMES = ("flow", "pressure", "state")
ALARM = "gateway.service.learning.pump"


class Plant:
    """A daemon that is started, and is turned by the test alone."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._begin_ms = now_ms() // 1000 * 1000 - 7_200_000
        self._row = 0

    async def sees(self, rows: int, *, delivers: int = 3, text: bool = False) -> None:
        """Rows of the first inputs, one a second; text: the last of them is a String."""
        signals = self.daemon.runtime.plant.assets["P-1"].signals
        index = [signals[name].index for name in NAMES[:delivers]]
        random = np.random.default_rng(self._row)
        for begin in range(0, rows, 50):
            n = min(50, rows - begin)
            ms = self._begin_ms + 1000 * np.repeat(np.arange(self._row, self._row + n), delivers)
            self._row += n
            status = np.zeros(n * delivers, np.uint32)
            value = random.normal(10, 0.1, n * delivers)
            if text:
                status[delivers - 1 :: delivers] = BAD_TYPE_MISMATCH
                value[delivers - 1 :: delivers] = np.nan
            signal = np.tile(index, n).astype(np.int32)
            self.daemon.runtime.intake.append(Columns(signal, 1000 * ms, value, status))
            await self.daemon.parts.loop.run_turn()
            self.daemon.runtime.pipeline.learning.check_inputs()

    async def learns(self) -> None:
        await self.daemon.runtime.models.learn_what_is_ready()

    @property
    def note(self) -> str:
        (asset,) = self.daemon.parts.status.assets()
        return str(asset["note"])

    @property
    def learning(self) -> dict[str, Any]:
        (row,) = self.daemon.parts.status.summary()["learning"]
        return dict(row)

    async def alarm(self, alarm_id: str = ALARM) -> str:
        await self.daemon.parts.supervisor.supervise()
        found = self.daemon.runtime.alarms.get(alarm_id)
        return "" if found is None else str(found.state)


@contextlib.asynccontextmanager
async def plant(folder: Path, **learn: Any) -> AsyncIterator[Plant]:
    struct = {"signals": {name: {} for name in NAMES}, "learn": {"auto": True, **learn}}
    path = fed_config(folder, ("pump", struct), "P-1")
    daemon = Daemon(load_config(path), path=path)
    await daemon.startup()
    try:
        yield Plant(daemon)
    finally:
        await daemon.shutdown()


async def test_a_dead_sensor_is_a_trouble_within_minutes_and_then_left_out(tmp_path: Path) -> None:
    async with plant(tmp_path) as at:
        await at.sees(100, delivers=2)
        (trouble,) = [t for t in at.daemon.parts.supervisor.troubles() if t.startswith("learning")]
        assert trouble.startswith("learning is stopped: P-1 since ")
        assert "state" in trouble
        assert "pressure" not in trouble
        assert trouble.removeprefix("learning is stopped: P-1 ") in at.note
        assert await at.alarm() == "unack"
        alarm = at.daemon.runtime.alarms.get(ALARM)
        assert alarm is not None
        message = at.daemon.parts.publisher.texts_of(alarm)["message"]["en"]
        assert message.startswith("Learning is stopped: P-1 since")
        await at.sees(300, delivers=2)
        assert [t for t in at.daemon.parts.supervisor.troubles() if t.startswith("learning")] == []
        assert list(at.learning["left_out"]) == ["state"]
        assert "without state" in at.note
        assert at.learning["rows"] >= 390


async def test_a_string_does_not_hold_learning_up(tmp_path: Path) -> None:
    """From its first value on: progress, a provisional baseline, and a first score at once."""
    async with plant(tmp_path, first_after="5m") as at:
        await at.sees(310, text=True)
        await at.learns()
        (model,) = at.daemon.runtime.pipeline.deployments.models()
        assert [spec.name for spec in model.manifest.inputs] == ["flow", "pressure"]
        assert model.manifest.training["left_out"] == "state (no number)"
        assert at.note.startswith("provisional baseline from 5 min of data; learning 0 %")
        assert "without state (no number)" in at.note
        assert at.note.endswith("warming 63/64 rows; learned without state (no number)")
        await at.sees(2, text=True)
        (asset,) = at.daemon.parts.status.assets()
        assert asset["score"] is not None
        assert asset["provisional_s"] == model.manifest.provisional_s
        assert at.daemon.parts.status.models()[0]["provisional_s"] == model.manifest.provisional_s


async def test_learning_that_fails_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise ModelError("the learning process was killed (signal 9)")

    async with plant(tmp_path, first_after="5m") as at:
        await at.sees(310)
        with monkeypatch.context() as patch:
            patch.setattr(model_manager, "train_baseline", killed)
            await at.learns()
        assert at.learning["rows"] >= 300
        assert "killed" in at.learning["failure"]
        assert any(
            "killed" in trouble and "rows are kept" in trouble
            for trouble in at.daemon.parts.supervisor.troubles()
        )
        assert await at.alarm() == "unack"
        await at.learns()
        assert at.daemon.runtime.pipeline.deployments.models() == [], (
            "not before the time it was told"
        )
        for one in at.daemon.runtime.pipeline.learning["pump"].trainings:
            one.retry_s = 0.0
        await at.learns()
        assert len(at.daemon.runtime.pipeline.deployments.models()) == 1
        assert [t for t in at.daemon.parts.supervisor.troubles() if t.startswith("learning")] == []


async def test_a_folder_that_cannot_be_written_is_found_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not after a day; and the alarm goes once it can."""
    async with plant(tmp_path) as at:
        (tmp_path / "file").write_text("")
        folder = at.daemon.runtime.models._config.models_dir
        object.__setattr__(at.daemon.runtime.models._config, "models_dir", tmp_path / "file")
        await at.daemon.runtime.models.probe_disk()
        await at.daemon.runtime.models.probe_disk()
        assert caplog.messages.count("cannot learn") == 1
        assert any(
            str(tmp_path / "file") in trouble for trouble in at.daemon.parts.supervisor.troubles()
        )
        assert await at.alarm("gateway.service.learning") == "unack"
        object.__setattr__(at.daemon.runtime.models._config, "models_dir", folder)
        await at.daemon.runtime.models.probe_disk()
        assert [t for t in at.daemon.parts.supervisor.troubles() if "models_dir" in t] == []


def test_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    assert write_problem(tmp_path / "new" / "models") == ""
    (tmp_path / "file").write_text("")
    assert "cannot be written" in write_problem(tmp_path / "file" / "models")
    assert list((tmp_path / "new" / "models").iterdir()) == []
