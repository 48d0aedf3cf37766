"""Kinds of bundles and their engines are rows of two tables; a third kind needs no other change."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx
import pytest
from text_kind import MORE_ENGINES, MORE_KINDS, TEXT, VOCABULARY, CountingEngine, TextManifest
from tiny_models import manifest, mean_model

from edge_agent.config.settings import Runtime, Trust
from edge_agent.config.types import Name
from edge_agent.errors import ModelError
from edge_agent.models import Golden
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle, write_bundle
from edge_agent.models.bundle.graph_check import graph_problems
from edge_agent.models.bundle.kinds import WINDOW, BundleKind
from edge_agent.models.bundle.manifest import Manifest
from edge_agent.models.bundle.manifest_text import dump_manifest
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.runtime.engine import Signature
from edge_agent.models.runtime.registry import SessionRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics

WORDS = np.array([[0, 1, 1, -1], [0, 2, -1, -1]], np.int64)  # pump leaks! leaks!, pump runs
GOOD: dict[str, bytes] = {VOCABULARY: b"pump leaks! runs"}


def write(folder: Path, score: tuple[float, float] = (2.0, 0.0), **files: bytes) -> Path:
    """A bundle of the kind `text`."""
    made = TextManifest(Name("notes"), Name("1"), Task.ANOMALY, (), OutputNames(score="score"))
    golden = Golden({"words": WORDS}, {"score": np.array(score, np.float32)})
    extras = GOOD | {name.replace("_", "."): raw for name, raw in files.items()}
    write_bundle(folder / "notes", made, None, golden, extras=extras)
    return folder / "notes"


def registry(folder: Path, metrics: Metrics) -> SessionRegistry:
    return SessionRegistry(
        folder,
        Runtime(),
        metrics,
        Trust(allow_unsigned=("*",)),
        kinds=MORE_KINDS,
        engines=MORE_ENGINES,
    )


def test_a_kind_of_its_own_is_verified_and_run_by_its_own_engine(
    tmp_path: Path, metrics: Metrics
) -> None:
    """From the folder to a score, beside windows; no file of the package knows of it."""
    write(tmp_path)
    model = registry(tmp_path, metrics).load("notes")
    assert isinstance(model.engine, CountingEngine)
    assert model.infer({"words": WORDS}).score.tolist() == [2.0, 0.0]
    assert model.engine.signature == Signature(
        {"words": ("int64", (4,))}, {"score": ("float32", ())}
    )


def test_an_engine_is_closed_when_nobody_holds_its_model(tmp_path: Path, metrics: Metrics) -> None:
    """And not before: a run may be under way."""
    write(tmp_path)
    found = registry(tmp_path, metrics)
    model = found.load("notes")
    before = CountingEngine.closed
    del found
    assert CountingEngine.closed == before
    del model
    gc.collect()
    assert CountingEngine.closed == before + 1


def test_what_its_own_sandbox_finds_is_told(tmp_path: Path) -> None:
    """The module that its row names, in a child."""
    problems = verify_bundle(write(tmp_path, score=(7.0, 0.0)), MORE_KINDS)
    assert [problem.reason for problem in problems] == ["golden"]
    assert "score is off by 5" in problems[0].text


def test_its_files_are_those_of_its_row(tmp_path: Path) -> None:
    """No graph, no pictures, and a vocabulary that is not too large."""
    folder = write(tmp_path)
    assert verify_bundle(folder, MORE_KINDS) == []
    (folder / "model.onnx").write_bytes(mean_model())
    assert "'model.onnx' does not belong" in verify_bundle(folder, MORE_KINDS)[0].text
    with pytest.raises(ModelError, match="does not belong"):
        write(tmp_path, loss_png=b"")
    large: dict[str, Any] = {VOCABULARY: bytes(65)}
    too_large = write(tmp_path, **large)
    assert "vocabulary.txt: is larger than" in verify_bundle(too_large, MORE_KINDS)[0].text


def test_without_its_row_it_is_refused(tmp_path: Path) -> None:
    """By name, as any bundle of a newer version will be."""
    with pytest.raises(ModelError, match="kind: 'text' is not allowed"):
        load_manifest(write(tmp_path))


def test_a_window_does_not_name_its_kind() -> None:
    """So that bundles of before are as they were."""
    assert b"kind:" not in dump_manifest(manifest())


class Narrow(Manifest):
    """Windows whose graph may hold one operator, once."""

    __slots__ = ()
    rules: ClassVar[BundleKind] = replace(
        WINDOW, operators={"": frozenset({"Mul"})}, max_nodes=0, tasks=TEXT.tasks
    )


def test_the_operators_and_their_number_are_those_of_the_row() -> None:
    """What one kind of bundle may hold, another may not."""
    plain = manifest()
    fields: dict[str, Any] = {
        name: getattr(plain, name) for name in ("inputs", "outputs", "window")
    }
    narrow = Narrow(Name("mean"), Name("1"), Task.ANOMALY, **fields)
    graph = onnx.load_model_from_string(mean_model())
    assert list(graph_problems(graph, plain)) == []
    assert list(graph_problems(graph, narrow)) == [
        "more than 0 nodes",
        "operator ReduceMean is not allowed",
    ]
