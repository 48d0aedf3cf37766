"""Waveforms from files: `learn` makes a bundle of them, `replay` raises its alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from rotating import machine, speeds

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


SPEED_CONFIG = """\
templates:
  fan:
    signals:
      vibration: {kind: waveform, rate_hz: 12000, unit: g}
      rpm: {unit: 1/min}
    bearing: {model: "6205", speed: rpm}
    learn: {alarm: {on_delay: 0s}}
assets:
  F-1: {template: fan}
models_dir: models
"""
BEGIN_S = 1767268800


def write_fan(folder: Path, seed: int, n: int = 300, *, fault: float = 0.0) -> Path:
    """A block of 0.35 s each second in one file, the speed each second in another."""
    folder.mkdir()
    rpm = speeds(n, seed)
    waves = machine(rpm, seed, fault=fault)
    np.save(folder / f"vibration_{BEGIN_S}.npy", waves)
    rows = [f"{BEGIN_S + second},{value:.1f}" for second, value in enumerate(rpm)]
    (folder / "speed.csv").write_text("\n".join(["time,rpm", *rows]) + "\n")
    return folder


def test_a_speed_in_a_second_file_gives_the_orders(tmp_path: Path, run: Run) -> None:
    """Learned and replayed: a healthy fan raises nothing, an outer race is found at any speed."""
    (tmp_path / "edge-agent.yaml").write_text(SPEED_CONFIG)
    healthy = write_fan(tmp_path / "healthy", 1)
    code, out, err = run("learn", "--input", f"{healthy}/*", *INTERVAL[:4])
    assert code == 0, err
    (folder,) = [one for one in (tmp_path / "models").iterdir() if "vibration" in one_inputs(one)]
    manifest = load_manifest(folder)
    assert [spec.name for spec in manifest.inputs] == ["rpm", "vibration"]
    assert manifest.window.at_blocks
    assert "vibration: outer race" in manifest.contributors
    assert verify_bundle(folder) == []
    code, out, err = run("replay", "--input", f"{write_fan(tmp_path / 'later', 3)}/*", *INTERVAL)
    assert (code, _raised(out)) == (0, set())
    worn = write_fan(tmp_path / "worn", 5, fault=0.8)
    code, out, err = run("replay", "--input", f"{worn}/*", *INTERVAL)
    assert (code, _raised(out)) == (0, {"F-1.waveforms"})


INTERVAL = ("--asset", "F-1", "--interval", "1s", "--json")


def _raised(out: str) -> set[str]:
    rows = [orjson.loads(line) for line in out.splitlines()]
    found = {row["alarm_id"] for row in rows if row["transition"] == "raise"}
    return {alarm for alarm in found if alarm.endswith(".waveforms")}


def one_inputs(folder: Path) -> set[str]:
    return {spec.name for spec in load_manifest(folder).inputs}


def test_waveforms_without_the_speed_that_the_config_names_are_not_learned(
    tmp_path: Path, run: Run
) -> None:
    (tmp_path / "edge-agent.yaml").write_text(SPEED_CONFIG)
    healthy = write_fan(tmp_path / "healthy", 1, 80)
    (healthy / "speed.csv").unlink()
    code, _, err = run("learn", "--input", str(healthy), *INTERVAL[:4])
    assert code == 1
    assert "no window with a speed: no value of rpm" in err
