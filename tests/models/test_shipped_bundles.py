"""What `models/` ships: it holds, says what it must, and int8 agrees with fp32 where it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import shipped_bundles

from edge_agent.models.bundle.bundle import load_manifest, verify_bundle
from edge_agent.models.bundle.golden import Golden, parse_golden
from edge_agent.models.bundle.kinds import GOLDEN, MODEL, variant_file
from edge_agent.models.bundle.ort import open_session
from edge_agent.models.bundle.tasks import Task
from edge_agent.models.bundle.variants import parity
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

BUNDLES = shipped_bundles()
bundles = pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
MOST_OFF = 0.01
LEAST_ROWS = 8


def golden_of(folder: Path) -> Golden:
    return parse_golden((folder / GOLDEN).read_bytes())


def test_the_models_folder_ships_what_the_readme_says() -> None:
    """A bundle that is not in the list is not licensed to anybody, and nobody finds it."""
    told = (ROOT / "models" / "README.md").read_text()
    assert BUNDLES, "the demo at least needs one"
    assert [folder.name for folder in BUNDLES if f"`{folder.name}`" not in told] == []


@bundles
def test_it_holds(folder: Path) -> None:
    assert verify_bundle(folder) == []
    assert load_manifest(folder).name == folder.name


@bundles
def test_it_says_how_often_it_is_wrong(folder: Path) -> None:
    """A threshold without its false-alarm rate, or an interval without coverage, says nothing."""
    manifest = load_manifest(folder)
    if manifest.task == Task.REMAINING_LIFE:
        assert manifest.interval is not None
        assert any("coverage" in key for key in manifest.calibration)
    else:
        assert manifest.false_alarms_per_day is not None or any(
            "false" in key for key in manifest.calibration
        )


@bundles
def test_it_says_where_it_comes_from(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest.training["data"]
    assert manifest.training["licence"]
    assert manifest.benchmarks["command"].startswith("edge-agent train ")
    stated = " ".join(manifest.training.values()).lower()
    assert "skab" not in stated, "its licence forbids it"


@bundles
def test_its_card_is_of_this_very_version(folder: Path) -> None:
    manifest = load_manifest(folder)
    card = (folder / "card.md").read_text()
    assert manifest.name in card
    assert manifest.version in card


@bundles
def test_sizes_that_it_states_are_true(folder: Path) -> None:
    manifest = load_manifest(folder)
    files = {"bytes": MODEL} | {f"bytes_{v}": variant_file(v) for v in manifest.variants}
    stated = manifest.benchmarks | manifest.quantization
    for key, file in files.items():
        if key in stated:
            assert int(stated[key].replace(",", "")) == (folder / file).stat().st_size, file


@bundles
def test_its_golden_rows_are_of_both_kinds(folder: Path) -> None:
    marks = golden_of(folder).anomalous
    assert marks is not None
    assert np.bincount(marks.astype(int), minlength=2).min() >= LEAST_ROWS


@bundles
def test_its_variants_agree_with_fp32_on_healthy_and_on_anomalous_rows(folder: Path) -> None:
    manifest, golden = load_manifest(folder), golden_of(folder)
    for variant in manifest.variants:
        off, reason = parity(manifest, golden, outputs_of(folder, manifest, golden, variant))
        assert reason == "", f"{variant}: {reason}"
        assert off <= MOST_OFF


def outputs_of(
    folder: Path, manifest: Manifest, golden: Golden, variant: str
) -> dict[str, np.ndarray]:
    session = open_session((folder / variant_file(variant)).read_bytes())
    names = list(manifest.outputs.named().values())
    return dict(zip(names, session.run(names, dict(golden.inputs)), strict=True))
