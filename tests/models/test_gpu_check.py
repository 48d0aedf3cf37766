"""scripts/gpu-check without a GPU: what it says, its figures (of the CPU) and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_agent.models.bundle.ort import available_providers
from edge_agent.models.runtime.providers import PROVIDERS
from edge_agent.testing import mean_bundle
from scripts import gpu_check, provider_bench
from scripts.gpu_check import NOT_TRIED, PROVED, REFUSED, Machine, Result

if TYPE_CHECKING:
    from pathlib import Path

CPU = ("CPUExecutionProvider",)
BARE = Machine("", "", "ONNX Runtime 1", CPU)
JETSON = Machine(
    "Orin", "NVIDIA Jetson Orin Nano", "ONNX Runtime 1", ("CUDAExecutionProvider", *CPU)
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small bundle, whose runs are timed for a moment only."""
    monkeypatch.setattr(provider_bench, "BUDGET_S", 0.0)
    mean_bundle(tmp_path / "watch", ["x"], length=4)
    return tmp_path


def test_a_bundle_on_a_provider_that_is_here_is_proved_with_figures(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The CPU in the place of a GPU: the whole check but its device."""
    code = gpu_check.main(["--providers", "cpu", "--models", str(models), "--json"], BARE)
    shown = json.loads(capsys.readouterr().out)
    (result,) = shown["results"]
    assert (code, shown["exit_code"], result["outcome"]) == (0, 0, PROVED)
    assert result["operators"][0] == result["operators"][1] > 0
    assert {"ms_1", "ms_1024", "cpu_ms_64", "difference", "load_s"} <= set(result["figures"])
    assert shown["not_proved"] == list(gpu_check.NEVER_PROVED)


def test_a_bundle_that_does_not_hold_there_is_refused(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "watch" / "golden.npz").write_bytes(b"")
    assert gpu_check.main(["--providers", "cpu", "--models", str(models)], BARE) == 1
    assert "refused: watch on cpu: " in capsys.readouterr().out


def test_a_provider_that_says_it_is_there_and_is_not_is_refused(models: Path) -> None:
    """A build with CUDA whose libraries are missing must not pass as proved on the CPU."""
    if PROVIDERS["cuda"] in available_providers():
        pytest.skip("this build has CUDA")
    code = gpu_check.main(["--providers", "cuda", "--models", str(models)], JETSON)
    assert code == 1


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (BARE, "does not include cuda"),
        (Machine("", "", "ONNX Runtime 1", JETSON.providers), "no NVIDIA GPU is seen"),
    ],
)
def test_what_is_missing_is_not_tried_and_told(
    machine: Machine, reason: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = gpu_check.main(["--providers", "cuda", "--models", str(models)], machine)
    said = capsys.readouterr().out
    assert code == 3
    assert reason in said.partition("not proved:")[2]


def test_the_worst_outcome_is_the_exit_code() -> None:
    def results(*outcomes: str) -> list[Result]:
        return [Result("watch", "cuda", outcome, "why") for outcome in outcomes]

    assert gpu_check.exit_code(results(PROVED)) == 0
    assert gpu_check.exit_code(results(PROVED, NOT_TRIED)) == 3
    assert gpu_check.exit_code(results(PROVED, NOT_TRIED, REFUSED)) == 1


def test_operators_that_fell_back_to_the_cpu_are_not_called_proved() -> None:
    result = Result("watch", "cuda", PROVED, operators=(3, 5))
    said = gpu_check.not_proved(JETSON, [result])
    assert said[0] == "watch on cuda: 2 operators ran on the CPU"
    assert said[-1] == gpu_check.OF_JETSON


def test_wrong_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--models", str(tmp_path)], BARE) == 2
    assert "no bundles" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        gpu_check.main(["--providers", "gpu"], BARE)
    assert ended.value.code == 2
