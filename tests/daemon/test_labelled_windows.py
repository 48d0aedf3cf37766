"""Rows around alarms: collected off the hot path, labelled by feedback, read by learning."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import insight_models
import numpy as np
import pytest
from cli_recordings import rows, write_csv
from daemon_support import Running, fed_config
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of
from plants import S
from support import until

from edge_agent.alarms import Judgement
from edge_agent.cli import main
from edge_agent.clock import FakeClock
from edge_agent.config.schema import Signal
from edge_agent.config.settings import Labelled
from edge_agent.daemon.alarm_feedback import AlarmFeedback
from edge_agent.daemon.build import Parts
from edge_agent.daemon.labelled_windows import MAX_ROWS, LabelledWindows
from edge_agent.daemon.labelled_writer import LabelledWriter
from edge_agent.errors import ConfigError
from edge_agent.labelled import LabelledSet, entries_of, read_window
from edge_agent.models import ModelRepository, load_manifest
from edge_agent.testing import mean_bundle
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ALARM = "any.squares"
FAULT = (13.0, 5.0, 20.0)
YEAR_US = 365 * 86_400 * S


class Plant:
    """A plant of one asset; `runs` is a turn a second, with the collection that the daemon does."""

    def __init__(self, folder: Path, record: bytes | None = None, kept: Path | None = None) -> None:
        self.live = Live(of("squares", **{name: Signal(unit="u") for name in NAMES}))
        assert self.live.use(insight_models.squares(folder / "model")) == [""]
        self.folder = kept or folder / "labelled"
        runtime: Any = SimpleRuntime(self.live)
        self.kept = LabelledSet(self.folder, 1 << 20, YEAR_US)
        clock, metrics = FakeClock(BEGIN_S * S), self.live.metrics
        counter, gauge = metrics.labelled_windows, metrics.labelled_bytes
        self.windows = LabelledWindows(
            lambda: runtime, LabelledWriter(self.kept, counter, gauge, clock)
        )
        values: Any = Values(record)
        self.feedback = AlarmFeedback(lambda: runtime, asyncio.Lock(), values, clock)
        self.feedback.windows = self.windows
        self.values = values
        self._t = 0

    async def runs(self, values: tuple[float, ...], seconds: int) -> None:
        for t in range(self._t, self._t + seconds):
            self.live.turn(t, columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, list(values)))
            await self.feedback.save()
        self._t += seconds

    def outcomes(self) -> dict[str, float]:
        found = self.live.metrics.labelled_windows.collect()
        samples = [one for family in found for one in family.samples]
        return {one.labels["outcome"]: one.value for one in samples}


class SimpleRuntime:
    def __init__(self, live: Live) -> None:
        self.pipeline, self.alarms = live.pipeline, live.alarms


class Values:
    """The values of the store, in memory."""

    def __init__(self, record: bytes | None) -> None:
        self.record = record

    async def load(self, _: str) -> bytes | None:
        return self.record

    async def save(self, _: str, value: bytes) -> bool:
        self.record = value
        return True

    async def audit(self, *_: object) -> None: ...


async def test_rows_before_during_and_after_an_alarm_are_kept(tmp_path: Path) -> None:
    """Of an alarm that nobody judged too; `active` tells its own rows from the others."""
    plant = Plant(tmp_path)
    await plant.runs(HEALTHY, 60)
    await plant.runs(FAULT, 30)
    await plant.runs(HEALTHY, 120)
    await plant.feedback.close()
    (entry,) = entries_of(plant.folder)
    found = read_window(entry)
    assert (entry.verdict, found.inputs, found.model) == ("none", NAMES, "squares@1")
    assert np.diff(found.times_us).tolist() == [S] * (len(found.times_us) - 1)
    assert (found.times_us[0], found.raised_us) == ((BEGIN_S + 60) * S, found.times_us[1])
    changes = np.flatnonzero(np.diff(found.active)).tolist()
    length = insight_models.ROWS
    assert changes == [0, len(found.active) - length - 1], "rows before, and one window after"
    assert found.rows[0].tolist() == list(FAULT)
    assert found.rows[-1].tolist() == list(HEALTHY)
    assert plant.outcomes() == {"written": 2.0}


async def test_a_verdict_moves_the_window_and_a_later_one_again(tmp_path: Path) -> None:
    """While the alarm is active already: what comes later is written to the same place."""
    plant = Plant(tmp_path)
    await plant.runs(HEALTHY, 60)
    await plant.runs(FAULT, 3)
    said = await plant.feedback.judge(ALARM, Judgement("false", "seal"), "anna")
    assert said["window_kept"]
    assert [(one.verdict, one.part) for one in entries_of(plant.folder)] == [("false", "seal")]
    await plant.runs(HEALTHY, 120)
    await plant.feedback.judge(ALARM, Judgement("planned"), "anna")
    await plant.feedback.close()
    (entry,) = entries_of(plant.folder)
    assert (entry.verdict, entry.part) == ("planned", "")
    assert not read_window(entry).active[-1]


async def test_a_kill_leaves_the_window_of_an_alarm_that_was_raised(tmp_path: Path) -> None:
    """The next run does not collect the same alarm again, but labels what the first one wrote."""
    plant = Plant(tmp_path)
    await plant.runs(HEALTHY, 60)
    await plant.runs(FAULT, 3)
    await plant.feedback.save(at_once=True)
    await until(lambda: bool(entries_of(plant.folder)), "written")
    before = entries_of(plant.folder)
    again = Plant(tmp_path / "again", plant.values.record, plant.folder)
    await again.feedback.restore()
    await again.feedback.judge(ALARM, Judgement("true", "bearing"), "anna")
    (entry,) = entries_of(plant.folder)
    assert (entry.path.name, entry.part) == (before[0].path.name, "bearing")
    await plant.feedback.close()
    await again.feedback.close()


async def test_an_alarm_that_does_not_end_is_kept_with_its_first_rows(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    await plant.runs(HEALTHY, 60)
    await plant.runs(FAULT, MAX_ROWS + 50)
    await plant.feedback.close()
    (entry,) = entries_of(plant.folder)
    assert len(read_window(entry).times_us) == MAX_ROWS


async def test_a_folder_that_cannot_be_written_costs_the_window_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The alarms and the verdict are as without it; it is said once."""
    plant = Plant(tmp_path)
    plant.folder.write_text("a file")
    await plant.runs(HEALTHY, 60)
    await plant.runs(FAULT, 3)
    said = await plant.feedback.judge(ALARM, Judgement("false"), "anna")
    await plant.feedback.close()
    assert (said["window_kept"], said["called_false"]) == (False, 1)
    assert [one.message for one in caplog.records].count("labelled set not written") == 1
    assert set(plant.outcomes()) == {"failed"}


PUMP = {
    "signals": {"flow": {"unit": "m3/h"}, "pressure": {"unit": "bar"}},
    "models": [{"bundle": "watch", "lateness": "100ms"}],
}


async def test_feedback_makes_a_window_that_train_history_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon keeps and labels it; the rows of the false alarm become healthy ones."""
    mean_bundle(tmp_path / "models" / "watch", ["flow", "pressure"], length=4, step_s=1.0)
    async with Running(fed_config(tmp_path, ("pump", PUMP), "P-1")) as running:
        begin_ms = time.time_ns() // 1_000_000 - 20_000
        far = [(begin_ms + 1000 * n, {"flow": 50.0, "pressure": 50.0}) for n in range(10)]
        running.daemon.runtime.intake.append(running.values("P-1", far))
        await until(lambda: running.states().get("P-1.watch") == "unack", "raised")
        said = Judgement("false", "impeller")
        judged = await running.daemon.parts.status.feedback("P-1.watch", said, "anna")
        assert judged["window_kept"]
        folder = running.daemon.runtime.config.labelled_folder
    (entry,) = entries_of(folder)
    assert (entry.asset, entry.verdict, entry.part) == ("P-1", "false", "impeller")
    recording, shelf = tmp_path / "healthy.csv", tmp_path / "shelf"
    write_csv(recording, rows(1500, seed=1))
    for name in ("OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
    words = ["--asset", "P-1", "--input", str(recording), "--models-dir", str(shelf)]
    words += ["--columns", "flow=flow,pressure=pressure", "--candidates", "chart"]
    code = await asyncio.to_thread(main, ["train", "history", *words, "--labelled", str(folder)])
    assert code == 0, capsys.readouterr()
    repository = ModelRepository(shelf)
    (name,) = repository.names()
    (version,) = repository.versions(name)
    training = load_manifest(repository.folder(name, version)).training
    kept = len(read_window(entry).times_us)
    assert training["labelled"].startswith(
        f"{kept} rows of alarms that were called false are added"
    )


async def test_a_daemon_without_the_extra_runs_without_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the config asks for it: then the error says what to install."""
    monkeypatch.setitem(sys.modules, "arro3", None)
    mean_bundle(tmp_path / "models" / "watch", ["flow", "pressure"], length=4, step_s=1.0)
    async with Running(fed_config(tmp_path, ("pump", PUMP), "P-1")) as running:
        assert running.daemon.parts.feedback.windows is None
        config = running.daemon.runtime.config
    wanted = replace(config, labelled=Labelled(enabled=True))
    with pytest.raises(ConfigError, match="parquet"):
        Parts(wanted, None, FakeClock())
