"""A whole training by `edge-agent train`: killed and gone on, repeated, loaded by the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from factory_python import ENVIRONMENT, PYTHON, factory_run, needs_torch

from edge_agent.cli import main
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """\
name: pump-faults
task: classification
files: faults/*.csv
label: state
inputs:
- {name: flow, unit: m3/h}
- {name: suction_pressure, unit: bar}
- {name: bearing_temperature, unit: degC}
- {name: vibration, unit: mm/s}
window: {step_s: 60, length: 16, hop: 4}
training: {epochs: 12, prune_epochs: 6, batch: 32, learning_rate: 0.005, hidden: [16, 8]}
card: {About: Made by a test.}
"""


def train_command(folder: Path, work: str, models: str) -> list[str]:
    recipe = str(folder / "pump.yaml")
    places = ["--work", str(folder / work), "--output", str(folder / models)]
    return ["-m", "edge_agent", "train", recipe, *places]


def killed_at(command: list[str], stage: str) -> list[str]:
    """Run until that stage begins, then SIGKILL; the lines told so far."""
    told: list[str] = []
    with subprocess.Popen(
        [PYTHON, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line.strip())
            if told[-1] == stage:
                process.kill()
                break
        process.stderr.read()
    return told


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A bundle of a run that was killed and went on (`models`), and one of a run that was not."""
    folder = tmp_path_factory.mktemp("factory")
    example = [sys.executable, str(ROOT / "scripts" / "example-recordings"), str(folder)]
    subprocess.run([*example, "--pumps", "3", "--lives", "1"], check=True, timeout=60)
    (folder / "pump.yaml").write_text(RECIPE)
    command = train_command(folder, "work", "models")
    assert killed_at(command, "prune")[-1] == "prune"
    done = factory_run(*command)
    factory_run(*train_command(folder, "other-work", "other-models"))
    return folder, done.stderr.splitlines()


@needs_torch
@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(trained: tuple[Path, list[str]]) -> None:
    """What was done before the kill is kept, the rest is made, and no half stage stays behind."""
    folder, told = trained
    for stage in ("data", "teacher", "distill"):
        assert f"{stage}: unchanged, the result of an earlier run is used" in told
    for stage in ("prune", "export", "quantize", "judge"):
        assert stage in told
    work = [each.name for each in (folder / "work" / "pump-faults").iterdir()]
    assert len([name for name in work if not name.startswith(".new-")]) == 7


@needs_torch
@pytest.mark.slow
def test_the_same_seed_gives_the_same_graphs_and_vectors(trained: tuple[Path, list[str]]) -> None:
    """Killed or not, in whatever folder; times alone differ, in card and manifest."""
    folder, _ = trained
    one, other = (folder / name / "pump-faults" for name in ("models", "other-models"))
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted(path.name for path in other.iterdir())
    assert {"model.onnx", "model.int8.onnx", "golden.npz"} <= set(files)
    for name in files:
        if name not in {"card.md", "model.yaml"}:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@needs_torch
@pytest.mark.slow
def test_the_bundle_is_whole(trained: tuple[Path, list[str]]) -> None:
    """It verifies without torch, and says what it is, what it was made of and how good it is."""
    folder = trained[0] / "models" / "pump-faults"
    assert verify_bundle(folder) == []
    manifest = load_manifest(folder)
    assert manifest.classes == ("healthy", "bearing_wear", "blocked_valve", "cavitation")
    assert manifest.variants[0] == "int8"
    assert set(manifest.healthy) == {spec.name for spec in manifest.inputs}
    assert int(manifest.pruning["parameters"]) < int(manifest.pruning["parameters_before"])
    assert float(manifest.benchmarks["fp32_accuracy"]) > 0.8
    with np.load(folder / "golden.npz") as golden:
        assert set(golden["anomalous"].tolist()) == {0, 1}
    card = (folder / "card.md").read_text()
    assert "Made by a test." in card
    assert "| accuracy |" in card
    assert "2 groups" not in card  # 12 recordings: 4 in each split


@needs_torch
@pytest.mark.slow
def test_the_daemon_takes_the_bundle(
    trained: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`replay` over a recording that it never saw: it names the fault, and only after its onset."""
    folder = trained[0]
    example = [sys.executable, str(ROOT / "scripts" / "example-recordings"), str(folder / "new")]
    subprocess.run([*example, "--pumps", "1", "--lives", "1", "--seed", "9"], check=True)
    config = folder / "edge-agent.yaml"
    # The example's config knows two models; this test made one of them.
    config.write_text(config.read_text().replace("      - {bundle: pump-life, name: life}\n", ""))
    words = ["replay", "-c", str(config), "--asset", "P-1", "--json"]
    recording = str(folder / "new" / "faults" / "cavitation-00.csv")
    code = main([*words, "--template", "pump", "--input", recording])
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    first = next(line for line in lines if line["transition"] == "raise")
    assert first["time"] >= "2026-01-05T04:00"  # the onset, four hours in
    assert "cavitation" in json.dumps(first)
