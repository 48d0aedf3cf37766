"""Bundles of pictures: their own kind, checked like all others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from picture_models import (
    SIDE,
    bright_golden,
    bright_model,
    bright_outputs,
    picture_manifest,
    write_bright_bundle,
)
from tiny_models import manifest

from edge_agent.config.settings import Runtime, Trust
from edge_agent.models import (
    InputSpec,
    OutputNames,
    PictureManifest,
    SessionRegistry,
    Task,
    load_manifest,
    verify_bundle,
    version_row,
    write_bundle,
)
from edge_agent.models.bundle.trust import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics


def test_a_bundle_of_pictures_is_verified_and_run(tmp_path: Path, metrics: Metrics) -> None:
    """From the folder to score and map, with the same checks as any bundle."""
    folder = write_bright_bundle(tmp_path)
    assert verify_bundle(folder) == []
    found = load_manifest(folder)
    assert isinstance(found, PictureManifest)
    assert (found.side, found.tensors()) == (SIDE, {"picture": ("uint8", (SIDE, SIDE, 3))})
    registry = SessionRegistry(tmp_path, Runtime(), metrics, Trust(allow_unsigned=("*",)))
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    outputs = registry.load("bright").infer({"picture": pictures})
    expected = bright_outputs(pictures)
    np.testing.assert_allclose(outputs.score, expected["score"], rtol=1e-5)
    np.testing.assert_allclose(outputs.other["map"], expected["map"], rtol=1e-5)


def test_a_list_of_models_says_pixels(tmp_path: Path) -> None:
    """Not a window of one row."""
    row = version_row(write_bright_bundle(tmp_path), "active", Keyring({}, ()))
    assert row["window"] == "64 x 64 pixels"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"inputs": ()}, "inputs"),
        ({"inputs": (InputSpec("photo", kind="picture", length=SIDE),)}, "inputs"),
        ({"inputs": (InputSpec("picture", kind="picture", length=100),)}, "inputs.0"),
        ({"inputs": (InputSpec("picture", kind="waveform", length=64),)}, "inputs.0.kind"),
        ({"look": {"darkest": 1.0}}, "look"),
        ({"task": Task.REMAINING_LIFE, "outputs": OutputNames(rul="rul")}, "task"),
    ],
)
def test_contradictions_are_named(changes: dict[str, Any], key: str) -> None:
    """By their key in model.yaml."""
    assert key in [found for found, _ in picture_manifest(**changes).problems()]


def test_only_a_model_of_pictures_has_a_map() -> None:
    """A window has no places."""
    wrong = replace(manifest(), outputs=OutputNames(score="score", map="map"))
    assert ("outputs.map", "only models of pictures have one") in list(wrong.problems())


@pytest.mark.parametrize(
    ("threshold", "text"), [(0.5, "the graph's threshold is 0.5, not 1"), (None, "no output")]
)
def test_the_threshold_in_the_graph_is_the_manifests(
    tmp_path: Path, threshold: float | None, text: str
) -> None:
    """Who has the graph alone and who has the daemon decide alike."""
    raw = bright_model(threshold or 1.0)
    if threshold is None:
        raw = raw.replace(b"threshold", b"thresholb")
    write_bundle(tmp_path / "bright", picture_manifest(), raw, bright_golden())
    problems = verify_bundle(tmp_path / "bright")
    assert [text in str(each) for each in problems] == [True], problems
