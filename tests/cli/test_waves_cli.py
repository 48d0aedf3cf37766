"""Waveforms from files: `learn` makes a bundle of them, `replay` raises its alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from edge_agent.cli import main
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

RATE_HZ = 2000
CONFIG = """\
templates:
  pump:
    signals:
      vibration: {kind: waveform, rate_hz: 2000, unit: g}
      sound: {kind: waveform, rate_hz: 2000}
      flow: {unit: m3/h}
    learn: {alarm: {on_delay: 0s}}
assets:
  P-1: {template: pump, bearing: {model: "6205", rpm: 1500}}
models_dir: models
"""
HOUR_S = 3600.0


def blocks(n: int, seed: int, *, fault: bool = False) -> np.ndarray:
    """Noise, [n, 2048]; the fault: ringing strikes of the bearing's outer race."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((n, 2048))
    if fault:
        at = (np.arange(0, 2048 / RATE_HZ, 1 / 89.6) * RATE_HZ).astype(int)
        found[:, at] += 6.0
    return found.astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    config = tmp_path / "edge-agent.yaml"
    config.write_text(CONFIG)

    def call(command: str, *words: str) -> tuple[int, str, str]:
        code = main([command, "-c", str(config), *words])
        return code, *capsys.readouterr()

    return call


def write(folder: Path, *, fault_from: int | None = None, n: int = 80) -> Path:
    """A block of both sensors each ten minutes."""
    folder.mkdir()
    for number, name in enumerate(("vibration", "sound")):
        found = blocks(n, number)
        if fault_from is not None and name == "vibration":
            found[fault_from:] = blocks(n - fault_from, 9, fault=True)
        np.save(folder / f"{name}_1767268800.npy", found)
    return folder


def test_waveforms_are_learned_from_files_and_their_fault_raises_an_alarm(
    tmp_path: Path, run: Run
) -> None:
    """The alert names the sensor and the feature: here the outer race of its bearing."""
    healthy = write(tmp_path / "healthy")
    code, out, err = run("learn", "--asset", "P-1", "--input", str(healthy), "--interval", "10m")
    assert code == 0, err
    (folder,) = (tmp_path / "models").iterdir()
    manifest = load_manifest(folder)
    assert "1 assets, 2 inputs" in out
    assert [(i.name, i.length, i.rate_hz, i.unit) for i in manifest.inputs] == [
        ("vibration", 1024, 2000, "g"),
        ("sound", 1024, 2000, ""),
    ]
    assert manifest.units == ("P-1",)
    assert verify_bundle(folder) == []
    worn = write(tmp_path / "worn", fault_from=40)
    code, out, err = run("replay", "--input", str(worn), "--interval", "10m", "--json")
    assert code == 0, err
    rows = [orjson.loads(line) for line in out.splitlines()]
    kinds = [(row["transition"], row["alarm_id"]) for row in rows]
    assert set(kinds[1:]) <= {("update", "P-1.waveforms")}
    assert kinds[0] == ("raise", "P-1.waveforms")
    assert rows[0]["time"] >= "2026-01-01T18:40:00"
    (first, *_) = rows[0]["detail"]["contributors"]
    assert first["input"].startswith("vibration (")
    assert first["unit"] == "g"
    names = [one["input"] for one in rows[0]["detail"]["contributors"]]
    assert any("outer race" in name or "kurtosis" in name for name in names)
    assert "160 windows" in err  # two in each block; both sensors are one window


def test_a_sensor_without_files_is_left_out_and_told(tmp_path: Path, run: Run) -> None:
    healthy = write(tmp_path / "healthy")
    (healthy / "sound_1767268800.npy").unlink()
    code, out, err = run("learn", "--asset", "P-1", "--input", str(healthy), "--interval", "10m")
    assert (code, "1 assets, 1 inputs" in out) == (0, True)
    assert "P-1: learned without sound (no value)" in err


def test_a_dead_sensor_is_not_learned(tmp_path: Path, run: Run) -> None:
    healthy = write(tmp_path / "healthy")
    np.save(healthy / "vibration_1767268800.npy", np.full((80, 2048), 0.5))
    code, out, err = run("learn", "--asset", "P-1", "--input", str(healthy), "--interval", "10m")
    assert (code, out) == (1, "")
    assert "vibration: 240 of 240 windows never change" in err


def test_too_little_is_told(tmp_path: Path, run: Run) -> None:
    healthy = write(tmp_path / "healthy", n=10)
    code, _, err = run("learn", "--asset", "P-1", "--input", str(healthy), "--interval", "10m")
    assert code == 1
    assert "windows of the 48 needed" in err
