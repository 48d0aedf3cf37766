"""`edge-agent train history`: what it reads, where its bundle goes, and what it says.

The chart alone is the candidate here, which needs no torch; tests/factory has the networks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from cli_recordings import rows, write_csv, write_site

from edge_agent.cli import main
from edge_agent.models import ModelRepository, load_manifest, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Train = Callable[..., tuple[int, str, str]]


@pytest.fixture
def train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Train:
    """Call it with arguments for exit code, stdout and stderr."""
    config = write_site(tmp_path)
    for name in ("OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # the command sets them; put them back afterwards

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["train", "history", "-c", str(config), *words])
        return code, *capsys.readouterr()

    return run


def chart(folder: Path) -> tuple[str, ...]:
    return "--asset", "P-1", "--input", str(folder / "healthy.csv"), "--candidates", "chart"


def test_the_version_shadows_the_baseline_that_is_active(tmp_path: Path, train: Train) -> None:
    """The active one stays what it is: nothing speaks before it has been a shadow."""
    config, recording = str(tmp_path / "edge-agent.yaml"), str(tmp_path / "healthy.csv")
    assert main(["learn", "-c", config, "--asset", "P-1", "--input", recording]) == 0
    repository = ModelRepository(tmp_path / "models")
    (name,) = repository.names()
    active = repository.active(name)
    code, out, err = train(*chart(tmp_path))
    assert code == 0, err
    assert "P-1: 2000 rows of 3 inputs" in err
    assert "scores in parallel with the active baseline, without alarms" in out
    assert repository.active(name) == active
    shadow = repository.shadow(name)
    assert shadow is not None
    assert shadow != active
    assert verify_bundle(repository.folder(name, shadow)) == []


def test_without_a_baseline_it_waits_on_the_shelf(tmp_path: Path, train: Train) -> None:
    code, out, err = train(*chart(tmp_path))
    assert code == 0, err
    assert "is on the shelf" in out
    assert "edge-agent learn" in out
    repository = ModelRepository(tmp_path / "models")
    (name,) = repository.names()
    assert (repository.active(name), repository.shadow(name)) == (None, None)
    assert len(repository.versions(name)) == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".shelf"]


def test_the_card_says_how_it_was_trained(tmp_path: Path, train: Train) -> None:
    train(*chart(tmp_path))
    repository = ModelRepository(tmp_path / "models")
    (name,) = repository.names()
    (version,) = repository.versions(name)
    manifest = load_manifest(repository.folder(name, version))
    command = "edge-agent train history --asset P-1 --input healthy.csv --candidates chart"
    assert manifest.training["command"] == command
    assert manifest.training["candidates"] == "chart"
    assert "plain" in manifest.calibration["tried"]


def test_what_is_missing_is_said_with_an_example(train: Train) -> None:
    code, _, err = train("--asset", "P-1")
    assert code == 2
    assert "--asset and --input are required" in err
    assert "edge-agent train history --asset" in err


def test_networks_need_torch_and_say_so(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the recording is read."""
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = train("--asset", "P-1", "--input", str(tmp_path / "absent.csv"))
    assert code == 1
    assert "not installed: torch" in err
    assert "absent" not in err


def test_too_few_rows_are_refused_with_the_reason(tmp_path: Path, train: Train) -> None:
    write_csv(tmp_path / "healthy.csv", rows(40, seed=2))
    code, _, err = train(*chart(tmp_path))
    assert code == 1
    assert "40 complete rows of the 128 needed" in err
    assert not ModelRepository(tmp_path / "models").names()


def test_assets_that_share_a_baseline_are_named(tmp_path: Path, train: Train) -> None:
    """A version of one of them has another name, and could shadow nothing."""
    config = tmp_path / "edge-agent.yaml"
    config.write_text(config.read_text().replace("  V-1:", "  P-2: {template: pump}\n  V-1:"))
    text = (tmp_path / "healthy.csv").read_text().splitlines()
    both = ["pump," + text[0], *(f"{pump},{row}" for row in text[1:] for pump in ("P-1", "P-2"))]
    (tmp_path / "both.csv").write_text("\n".join(both))
    words = ("--input", str(tmp_path / "both.csv"), "--asset-column", "pump")
    assert main(["learn", "-c", str(config), "--asset", "P-*", *words]) == 0
    (name,) = ModelRepository(tmp_path / "models").names()
    code, out, err = train("--asset", "P-1", *words, "--candidates", "chart")
    assert code == 0, err
    assert f"P-1: the active {name} is of P-1, P-2: train the same assets to shadow it" in err
    assert "is on the shelf" in out
    code, out, err = train("--asset", "P-*", *words, "--candidates", "chart")
    assert "is of P-1, P-2" not in err
    assert "scores in parallel" in out
