"""`scripts/benchmark-models` runs with the daemon's packages, and its docs tell of every bundle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import shipped_bundles

from edge_agent.models.bundle.bundle import load_manifest
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ROOT / "scripts" / "benchmark-models"
MANIFESTS = [load_manifest(folder) for folder in shipped_bundles()]
GRAPHS = [
    f"{manifest.name} {variant}"
    for manifest in MANIFESTS
    for variant in ("fp32", *manifest.variants)
]


def run(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGE_AGENT_DATA": str(data), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )


@pytest.mark.benchmark
def test_it_measures_every_graph_that_is_shipped(tmp_path: Path) -> None:
    done = run("--only", "latency,parity", "--json", str(tmp_path / "f.json"), data=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    (speeds,), (differences,) = found["latency"], found["parity"]
    assert [row["name"] for row in speeds["rows"]] == GRAPHS
    assert all(0 < row["ms_1"] < row["ms_64"] for row in speeds["rows"])
    for manifest in MANIFESTS:
        names = [row["name"] for row in differences["rows"] if manifest.name in row["name"]]
        assert len(names) >= max(1, len(manifest.variants))


def test_what_is_absent_is_said_and_not_made_up(tmp_path: Path) -> None:
    done = run("--only", "skab,turbofan,bearing", "--json", str(tmp_path / "f.json"), data=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Not measured here: no recordings") == 3
    found = json.loads((tmp_path / "f.json").read_text())
    rows = [table["rows"] for name in ("skab", "turbofan", "bearing") for table in found[name]]
    assert rows == [[], [], []]


def test_an_unknown_section_is_wrong_use(tmp_path: Path) -> None:
    done = run("--only", "latency,speed", data=tmp_path)
    assert done.returncode == 2
    assert "no section 'speed'" in done.stderr


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_docs_have_a_row_for_every_graph(graph: str) -> None:
    docs = (ROOT / "docs" / "benchmarks.md").read_text()
    assert f"| {graph} |" in docs, "scripts/benchmark-models --only latency,parity --write-docs"


@pytest.mark.parametrize(
    "section", ["latency", "parity", "skab", "machines", "turbofan", "bearing", "demo"]
)
def test_the_docs_have_every_section(section: str) -> None:
    docs = (ROOT / "docs" / "benchmarks.md").read_text()
    assert f"<!-- section {section} -->" in docs
