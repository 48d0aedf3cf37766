"""The last stage: a bundle of the first seed's graphs, with the figures of all seeds."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.types import Name
from edge_agent.errors import ModelError
from edge_agent.factory.card import card, spread
from edge_agent.factory.judge import MAIN_ROLES, outputs_of
from edge_agent.factory.plots import curves_picture, reliability_picture
from edge_agent.models import Golden, domain_of, histogram_of, verify_bundle, write_bundle
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.build import Made
    from edge_agent.factory.recipe import Recipe, Samples
    from edge_agent.models import Domain, Histogram, Manifest

_GOLDEN_ROWS: Final = 32  # normal rows, and the same number of anomalous rows
_GOLDEN_CELLS: Final = 300_000  # of all rows together: a megabyte of waveforms is enough
_BINS: Final = 10


def write(recipe: Recipe, made: Sequence[Made], folder: Path, command: str) -> Manifest:
    """Write the bundle and verify it; ModelError if it is refused."""
    first = made[0]
    fp32, test = first.graphs["fp32"], first.splits.test
    manifest = replace(
        first.manifest,
        version=Name(f"{recipe.manifest.version}-{sha256(fp32).hexdigest()[:8]}"),
        healthy=_healthy(first),
        domain=trained_domain(first.manifest, first.splits.train, first.splits.valid),
        calibration={**first.manifest.calibration, **_realised(made)},
        **_figures(first.manifest, made, command),
    )
    extras = {
        "card.md": card(recipe, manifest, [each.found for each in made], command).encode(),
        "training.png": curves_picture(first.curves),
        "reliability.png": reliability_picture(outputs_of(fp32, manifest, test.inputs), test),
    }
    variants = {name: raw for name, raw in first.graphs.items() if name != "fp32"}
    golden = golden_of(fp32, manifest, test)
    with as_owner_of(folder):
        manifest = write_bundle(folder, manifest, fp32, golden, variants=variants, extras=extras)
    for problem in verify_bundle(folder):
        raise ModelError(f"the new bundle failed its verification: {problem}", where=str(folder))
    return manifest


def golden_of(raw: bytes, manifest: Manifest, test: Samples) -> Golden:
    """Rows of test, normal and anomalous, from the least to the largest output of the graph."""
    outputs = outputs_of(raw, manifest, test.inputs)
    role = next(role for role in MAIN_ROLES if role in outputs)
    predicted = outputs[role].reshape(len(test), -1)
    order = np.argsort(
        predicted[:, 0] if role == "probabilities" else predicted.mean(axis=1), kind="stable"
    )
    cells = max(1, sum(array[0].size for array in test.inputs.values()))
    most = max(1, min(_GOLDEN_ROWS, _GOLDEN_CELLS // (2 * cells)))
    kinds = (order[~test.anomalous[order]], order[test.anomalous[order]])
    picked = np.concatenate([_spaced(rows, most) for rows in kinds])
    rows = test.select(picked)
    # Run again: a batch of another size sums in another order.
    told_again = outputs_of(raw, manifest, rows.inputs)
    named = manifest.outputs.named()
    return Golden(
        {name: rows.inputs[name] for name in manifest.tensors()},
        {named[role]: values for role, values in told_again.items()},
        rows.anomalous.astype(np.int64),
    )


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    index = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return np.asarray(rows[np.unique(index)])


def _realised(made: Sequence[Made]) -> dict[str, str]:
    """The coverage of an interval on test, over all seeds."""
    found = [one.found["graphs"]["fp32"]["figures"] for one in made]
    predicted = [figures["coverage"] for figures in found if "coverage" in figures]
    return {"coverage_on_test": spread(predicted)} if predicted else {}


def _healthy(made: Made) -> dict[str, Histogram]:
    """Histograms by scalar input, of the newest row of each healthy training window.

    Not of a counter: its reading is the running time of a machine, not a sign of drift.
    """
    manifest, train = made.manifest, made.splits.train
    if not manifest.scalars:
        return {}
    healthy = train.inputs[manifest.window.tensor][~train.anomalous]
    return {
        spec.name: histogram_of(healthy[:, -1, channel], _BINS)
        for channel, spec in enumerate(manifest.scalars)
        if not is_counter(healthy[:, :, channel])
    }


def trained_domain(manifest: Manifest, *parts: Samples) -> Domain | None:
    """The domain of these rows, faults included; None of a model of anomalies, or without scalars.

    Not of a counter: a longer run than in the training is no other machine.
    """
    if not (manifest.scalars and manifest.task_row.has_domain):
        return None
    windows = np.concatenate([part.inputs[manifest.window.tensor] for part in parts])
    by_input = {spec.name: windows[:, :, c] for c, spec in enumerate(manifest.scalars)}
    return domain_of({name: each for name, each in by_input.items() if not is_counter(each)})


def is_counter(windows: NDArray[np.float32]) -> bool:
    """True if an input [N, L] never falls within a window and grows in each."""
    grows = windows[:, -1] > windows[:, 0]
    return bool(grows.all() and (np.diff(windows, axis=1) >= 0).all())


def _figures(manifest: Manifest, made: Sequence[Made], command: str) -> dict[str, Any]:
    """The manifest's free maps: figures over all seeds as text."""
    found = [each.found for each in made]
    names = list(found[0]["graphs"]["fp32"]["figures"])
    first = found[0]["graphs"]
    return {
        "teacher": {
            **manifest.teacher,
            **{
                name: spread([one["teacher"][name] for one in found])
                for name in found[0]["teacher"]
            },
        },
        "pruning": {
            **manifest.pruning,
            "parameters": str(found[0]["parameters"]),
            "parameters_before": str(found[0]["parameters_before"]),
        },
        "quantization": {
            f"{graph}_off_{kind}": f"{value:.3g}"
            for graph, one in first.items()
            for kind, value in one.get("off", {}).items()
        },
        "benchmarks": {
            "command": command,
            **manifest.benchmarks,
            **{
                f"{graph}_{name}": spread([one["graphs"][graph]["figures"][name] for one in found])
                for graph in first
                for name in names
            },
        },
        "training": {**manifest.training, "seeds": " ".join(str(one["seed"]) for one in found)},
    }
