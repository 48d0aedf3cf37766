"""`learn: auto` in a live run: from a recording that is played fast to a model at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from daemon_support import Running, now_ms
from support import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

HEALTHY_S = 400
FAULT_S = 60


def write_recording(path: Path) -> None:
    """Healthy for some minutes, then the flow is off; one row a second."""
    numbers = np.random.default_rng(3)
    rows = numbers.normal([10, 4], 0.1, (HEALTHY_S + FAULT_S, 2))
    rows[HEALTHY_S:, 0] += 3
    begin_s = now_ms() // 1000 - 86_400
    lines = [f"{begin_s + n},{flow:.4f},{bar:.4f}" for n, (flow, bar) in enumerate(rows)]
    path.write_text("time,flow,pressure\n" + "\n".join(lines) + "\n")


def write_config(folder: Path, speed: float) -> Path:
    write_recording(folder / "run.csv")
    config = {
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"enabled": False},
        "sources": {
            "run": {
                "type": "replay",
                "path": str(folder / "run.csv"),
                "asset": "P-1",
                "speed": speed,
            }
        },
        "sinks": {"lines": {"type": "log"}},
        "templates": {
            "pump": {
                "signals": {"flow": {}, "pressure": {}},
                "learn": {"auto": True, "duration": "200s", "step": "1s", "length": 8},
            }
        },
        "assets": {"P-1": {"template": "pump"}},
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


async def test_it_learns_by_itself_and_knows_it_after_a_restart(tmp_path: Path) -> None:
    path = write_config(tmp_path, speed=40)
    async with Running(path) as running:
        daemon = running.daemon
        assert daemon.runtime.models.without == {"P-1": "learning"}
        await until(daemon.runtime.pipeline.deployments.models, "learned", 40)
        (model,) = daemon.runtime.pipeline.deployments.models()
        assert model.manifest.name.startswith("learned-pump-")
        assert daemon.runtime.models.without == {}
        await until(lambda: running.windows(model.manifest.name), "windows")
        await until(lambda: running.states().get("P-1.baseline") == "unack", "the fault")
        alarm = daemon.runtime.alarms.get("P-1.baseline")
        assert alarm is not None
        assert alarm.detail is not None
        assert alarm.detail.contributors[0].input == "flow"
    async with Running(path) as running:
        (again,) = running.daemon.runtime.pipeline.deployments.models()
        assert again.sha256 == model.sha256, "not learned anew"
        assert running.daemon.runtime.models.without == {}
        assert running.states() == {"P-1.baseline": "unack"}


async def test_a_stop_in_the_middle_of_learning_is_no_trouble(tmp_path: Path) -> None:
    path = write_config(tmp_path, speed=20)
    running = Running(path)
    async with running:
        learning = running.daemon.runtime.pipeline.learning["pump"]
        await until(lambda: learning.progress().get("P-1", 1) > 0.9, "rows", 40)
    assert running.took_s < 5
    assert not list((tmp_path / "models").glob(".learn-*")), "the child's files are gone"
