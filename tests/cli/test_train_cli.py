"""`edge-agent train`: what is said where it cannot begin, and that nothing else needs it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli import main

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"edge_agent.factory", "matplotlib", "onnx", "pandas", "scipy", "torch", "transformers"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets variables for the packages that it imports; put them back afterwards."""
    for name in ("OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "EDGE_AGENT_DATA"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("EDGE_AGENT_DATA")


def test_without_the_extra_there_is_one_line_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["train", "turbofan-life"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "torch" in line
    assert "sklearn" in line
    assert "pip install 'edge-agent-pdm[compress]'" in line


def test_an_unknown_recipe_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Even where torch is missing: the wrong word is said first."""
    assert main(["train", "no-such-model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for name in ("turbofan-life", "bearing-fault", "demo-pump", "demo-mixer", "YAML"):
        assert name in line


def test_a_recipe_file_that_is_absent_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tmp_path / "pump.yaml")]) == 2
    assert "pump.yaml" in capsys.readouterr().err


def test_no_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "turbofan-life", "--seeds", "0"]) == 2
    assert "--seeds" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["cli", "cli.train", "daemon"])
def test_a_gateway_imports_nothing_of_the_factory(module: str) -> None:
    """Whatever the extra `compress` brings stays out of the daemon's memory."""
    code = f"import sys, edge_agent.{module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert HEAVY.isdisjoint(done.stdout.split())
