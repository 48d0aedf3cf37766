"""A model of a user's own CSV files: classes of faults, or remaining life (docs/factory.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import UsageError
from edge_agent.factory.recipe import Recipe, Samples, Splits, Training
from edge_agent.factory.recordings.classification import class_parts
from edge_agent.factory.recordings.csv_files import TENSOR, load_recipe, read_recordings
from edge_agent.factory.recordings.remaining_life import life_parts
from edge_agent.factory.split import split_groups, windows_of
from edge_agent.factory.student import Student, fitted_features, mlp, run
from edge_agent.models import Task

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.factory.recipe import Context
    from edge_agent.factory.recordings.csv_files import Parts, Recorded, Recordings

_LEAST: Final = 3  # recordings of a kind: one for each split


def recipe(path: Path) -> Recipe:
    """The recipe in a YAML file; the recordings lie below its folder."""
    spec = load_recipe(path)
    parts = life_parts(spec) if spec.task is Task.REMAINING_LIFE else class_parts(spec, path.parent)
    taught = asdict(spec.training)
    hidden = taught.pop("hidden")
    del taught["hard_share"]
    return Recipe(
        manifest=parts.manifest,
        sources=(spec.files,),
        data=lambda context: _splits(spec, parts, context),
        teacher=parts.teacher,
        as_outputs=parts.as_outputs,
        student=lambda splits, _: _student(splits, hidden, parts.outputs),
        loss=parts.loss,
        finish=parts.finish,
        metrics=parts.metrics,
        training=Training(**taught),
        # Also the last layer: else its answers have only 256 steps.
        keep_float=("student.features", f"student.body.{2 * len(hidden)}"),
        settings=asdict(spec),
        card=spec.card,
    )


def _student(splits: Splits, hidden: tuple[int, ...], outputs: int) -> Student:
    x = splits.train.inputs[TENSOR]
    features = fitted_features(x)
    return Student(features, mlp(run(features, x[:1]).shape[1], hidden, outputs))


def _splits(spec: Recordings, parts: Parts, context: Context) -> Splits:
    """Assign whole recordings to splits, each kind of recording separately."""
    recorded = read_recordings(spec, context.data)
    samples = _joined([_samples(n, one, spec, parts) for n, one in enumerate(recorded)])
    kinds = [frozenset(one.labels) for one in recorded]
    shares = (1 - spec.shares.valid - spec.shares.test, spec.shares.valid, spec.shares.test)
    masks = np.zeros((len(shares), len(samples)), np.bool_)
    for kind in sorted(set(kinds), key=sorted):
        members = np.array([n for n, found in enumerate(kinds) if found == kind])
        if len(members) < _LEAST:
            what = f"recordings with {', '.join(sorted(kind))}" if kind else "recordings"
            hint = f"{_LEAST} of each kind are needed: for training, calibration and testing"
            raise UsageError(f"{len(members)} {what}", where=spec.files, hint=hint)
        drawn = split_groups(members, shares, context.random(f"split {sorted(kind)}"))
        masks |= np.stack([np.isin(samples.group, members[part]) for part in drawn])
    return Splits(*(samples.select(mask) for mask in masks))


def _samples(group: int, one: Recorded, spec: Recordings, parts: Parts) -> Samples:
    x, ends = windows_of(one.rows, spec.window.length, spec.window.hop)
    target, anomalous, usable = parts.truth(one, ends)
    every = Samples({TENSOR: x}, target, np.full(len(ends), group, np.int64), anomalous)
    return every.select(usable)


def _joined(parts: list[Samples]) -> Samples:
    return Samples(
        {TENSOR: np.concatenate([one.inputs[TENSOR] for one in parts])},
        np.concatenate([one.target for one in parts]),
        np.concatenate([one.group for one in parts]),
        np.concatenate([one.anomalous for one in parts]),
    )
