"""docs/own-models.md: each recipe, as it stands there, gives a bundle that sees a new fault.

Needs other makers' libraries: run by EDGE_AGENT_FACTORY_PYTHON, the factory's Python, else skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.config.settings import Runtime
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "own-models.md"
PYTHON = os.environ.get("EDGE_AGENT_FACTORY_PYTHON", sys.executable)
NEEDED = {
    "scikit-learn": ("sklearn", "skl2onnx"),
    "XGBoost": ("xgboost", "onnxmltools"),
    "LightGBM": ("lightgbm", "onnxmltools"),
    "PyTorch": ("torch", "onnxscript"),
    "Keras": ("keras", "torch"),
}
HAS = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
HEALTHY, SPREAD = (10.0, 4.0, 1.0), (0.5, 0.2, 0.1)
FAULT = (-1.5, -0.9, 0.8)


def sections() -> dict[str, dict[str, str]]:
    """The blocks of each recipe by language."""
    text = PAGE.read_text(encoding="utf-8").partition("## Recipes")[2]
    parts = re.split(r"(?m)^### ", text)[1:]
    blocks = {
        part.partition("\n")[0]: re.findall(r"(?ms)^```(\w+)\n(.*?)^```", part) for part in parts
    }
    return {title: dict(found) for title, found in blocks.items()}


RECIPES = sections()


def rows(n: int, seed: int, *, faulty: bool = False) -> np.ndarray:
    found = np.random.default_rng(seed).normal(HEALTHY, SPREAD, (n, 3))
    return (found + FAULT if faulty else found).astype(np.float32)


def write_recordings(folder: Path) -> None:
    head = "flow,pressure,vibration"
    np.savetxt(folder / "healthy.csv", rows(3000, 1), delimiter=",", header=head, comments="")
    faulty = np.concatenate([rows(1500, 2), rows(1500, 3, faulty=True)])
    table = np.column_stack([faulty, np.repeat([0, 1], 1500)])
    np.savetxt(folder / "labelled.csv", table, delimiter=",", header=f"{head},fault", comments="")


def windows(values: np.ndarray, length: int) -> np.ndarray:
    cut = len(values) // length * length
    return np.ascontiguousarray(values[:cut].reshape(-1, length, 3))


def test_the_page_has_a_recipe_for_each_library() -> None:
    """And each has its script, its manifest and its command."""
    assert {title.partition(":")[0] for title in RECIPES} == NEEDED.keys()
    assert all(blocks.keys() == {"python", "yaml", "sh"} for blocks in RECIPES.values())


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_gives_a_bundle_that_sees_a_new_fault(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = NEEDED[title.partition(":")[0]]
    if subprocess.run([PYTHON, "-c", HAS, *needed], check=False).returncode:
        pytest.skip(f"{', '.join(needed)} are not installed (EDGE_AGENT_FACTORY=1)")
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path)
    blocks = RECIPES[title]
    (tmp_path / "recipe.py").write_text(blocks["python"])
    done = subprocess.run(
        [PYTHON, "recipe.py"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    output = re.search(r"(?m)^output: (\S+)", done.stdout)
    manifest = blocks["yaml"].replace("OUTPUT", output[1] if output else "")
    (tmp_path / "model.yaml").write_text(manifest)
    program, *words = shlex.split(blocks["sh"])
    assert program == "edge-agent"
    assert main(words) == 0
    (archive,) = tmp_path.glob("*.eab")
    assert main(["models", "verify", str(archive)]) == 0
    name = archive.name.removesuffix("-1.eab")
    install = ["models", "install", str(archive), "--activate", "--models-dir", "models"]
    install += ["--allow-unsigned", name]
    (tmp_path / "models").mkdir()
    assert main(install) == 0
    model = SessionRegistry(tmp_path / "models", Runtime(), Metrics()).load(name)
    length, limit = model.manifest.window.length, model.manifest.threshold
    sound = model.infer({"x": windows(rows(800, 11), length)}).score
    broken = model.infer({"x": windows(rows(800, 12, faulty=True), length)}).score
    assert (sound >= limit).mean() < 0.02
    assert (broken >= limit).mean() > 0.95
