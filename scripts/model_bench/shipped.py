"""The shipped files themselves: their size and speed, and the effect of int8."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import onnx

from edge_agent.errors import ModelError
from edge_agent.factory.judge import latency_ms, off, outputs_of
from edge_agent.factory.metrics import anomaly_metrics, class_metrics
from edge_agent.models import GOLDEN, Task, load_manifest, parse_golden, variant_file, verify_bundle
from scripts.model_bench.context import Context, progress
from scripts.model_bench.table import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.models import Golden, Manifest

    Arrays = Mapping[str, NDArray[np.float32]]

COMMAND: Final = "scripts/benchmark-models --only latency,parity"
# Bundle to the recipe that has real rows for it: `test_set(data)`.
RECIPES: Final = {
    "turbofan-life": "edge_agent.factory.turbofan.recipe",
    "bearing-fault": "edge_agent.factory.bearing.recipe",
}
_CAP: Final = 125.0  # cycles


def graphs(folder: Path) -> dict[str, bytes]:
    """fp32 and every variant of a verified bundle: ONNX bytes by name."""
    problems = verify_bundle(folder)
    if problems:
        raise ModelError("; ".join(map(str, problems)), where=str(folder))
    manifest = load_manifest(folder)
    files = {"fp32": "model.onnx"} | {name: variant_file(name) for name in manifest.variants}
    return {name: (folder / file).read_bytes() for name, file in files.items()}


def golden_of(folder: Path) -> Golden:
    """Its golden vectors."""
    return parse_golden((folder / GOLDEN).read_bytes())


def numbers_in(raw: bytes) -> int:
    """The count of numbers in the graph's weights and constants of one dimension or more."""
    model = onnx.load_from_string(raw)
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.dims)


# -- latency ----------------------------------------------------------------------------------


def latency(context: Context) -> list[Table]:
    """Size and speed of every variant of every bundle."""
    columns = (
        Column("bytes", "bytes", 0),
        Column("numbers", "numbers in the graph", 0),
        Column("ms_1", "p50 ms, batch 1", 4),
        Column("ms_64", "p50 ms, batch 64", 4),
        Column("us_each", "µs a window in 64", 1),
    )
    rows = tuple(
        row for folder in progress(context.bundles(), "latency") for row in _speeds(folder)
    )
    note = (
        "Of the graph alone, on its golden rows, one thread that does not spin. A bundle's first "
        "row is fp32; the daemon measures all variants on its own device and takes the fastest "
        "that agrees with fp32 and is at least 5 % faster."
    )
    return [Table("Shipped bundles: size and latency", COMMAND, columns, rows, (note,))]


def _speeds(folder: Path) -> Iterator[Row]:
    manifest, golden = load_manifest(folder), golden_of(folder)
    for variant, raw in graphs(folder).items():
        found = latency_ms(raw, manifest, cast("Arrays", golden.inputs))
        yield {
            "name": f"{manifest.name} {variant}",
            "bytes": len(raw),
            "numbers": numbers_in(raw),
            "ms_1": found["p50_ms_batch_1"],
            "ms_64": found["p50_ms_batch_64"],
            "us_each": found["p50_ms_batch_64"] / 64 * 1e3,
        }


# -- parity -----------------------------------------------------------------------------------


def parity(context: Context) -> list[Table]:
    """The effect of int8: on golden rows, and on real recordings if present."""
    columns = (
        Column("rows", "anomalous rows", 0),
        Column("normal", "off, normal rows %", 3, 100),
        Column("anomalous", "off, anomalous rows %", 3, 100),
        Column("metric", "metric"),
        Column("fp32", "fp32", 4),
        Column("variant", "variant", 4),
        Column("change", "worst metric change %", 3, 100),
    )
    folders = progress(context.bundles(), "parity")
    rows = tuple(row for folder in folders for row in _parities(context, folder))
    note = (
        "Off: mean difference of the output as a share of its mean size (of probabilities as it "
        "is). The metric change is relative to fp32's, on anomalous rows alone, the worst of all "
        "metrics that the rows allow. A bundle without variants has nothing that could differ."
    )
    return [Table("int8 against fp32, on anomalous data", COMMAND, columns, rows, (note,))]


def _parities(context: Context, folder: Path) -> Iterator[Row]:
    manifest, golden = load_manifest(folder), golden_of(folder)
    found = graphs(folder)
    if len(found) == 1:
        yield {"name": f"{manifest.name}: fp32 only"}
        return
    marks = golden.anomalous
    sets: list[tuple[str, Arrays, NDArray[np.bool_], dict[str, Any] | None]]
    sets = [("golden rows", cast("Arrays", golden.inputs), np.asarray(marks).astype(bool), None)]
    real = test_set(context, manifest.name)
    if isinstance(real, dict):
        sets.append(("recordings", real["inputs"], real["anomalous"], real))
    for what, inputs, anomalous, truth in sets:
        fp32 = outputs_of(found["fp32"], manifest, inputs)
        for variant in manifest.variants:
            other = outputs_of(found[variant], manifest, inputs)
            yield {
                "name": f"{manifest.name} {variant}, {what}",
                "rows": int(anomalous.sum()),
                **off(fp32, other, anomalous),
                **_worst(manifest, fp32, other, anomalous, truth),
            }


def test_set(context: Context, bundle: str) -> dict[str, Any] | str:
    """Real rows of the bundle's inputs, or why there are none."""
    if bundle not in RECIPES:
        return "the bundle is of simulated data"
    try:
        found: dict[str, Any] = importlib.import_module(RECIPES[bundle]).test_set(context.data)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        return str(error)
    return found


def _worst(
    manifest: Manifest,
    fp32: Arrays,
    other: Arrays,
    anomalous: NDArray[np.bool_],
    truth: dict[str, Any] | None,
) -> dict[str, Any]:
    """Of the present metrics, the one that the variant changes most on the anomalous rows."""
    before = metrics_of(manifest, fp32, anomalous, truth)
    after = metrics_of(manifest, other, anomalous, truth)
    changes = {name: abs(after[name] - v) / max(abs(v), 1e-9) for name, v in before.items()}
    if not changes:
        return {}
    name = max(changes, key=lambda each: changes[each])
    return {
        "metric": name,
        "fp32": before[name],
        "variant": after[name],
        "change": changes[name],
        "all_changes": {key: round(value, 6) for key, value in changes.items()},
    }


def metrics_of(
    manifest: Manifest, outputs: Arrays, rows: NDArray[np.bool_], real: dict[str, Any] | None
) -> dict[str, float]:
    """Figures of outputs by role on these rows; without truth, only of the decision."""
    kept = {role: values[rows] for role, values in outputs.items()}
    if real is None or not rows.any():
        return _without_truth(manifest, kept)
    truth = np.asarray(real["truth"])[rows]
    if manifest.task == Task.CLASSIFICATION:
        return class_metrics(kept["probabilities"], np.eye(len(manifest.classes))[truth])
    if manifest.task == Task.REMAINING_LIFE:
        return life_figures(kept["rul"] / real["hours_per_cycle"], truth.astype(float))
    return anomaly_metrics(kept["score"], np.asarray(real["anomalous"])[rows])


def _without_truth(manifest: Manifest, kept: Arrays) -> dict[str, float]:
    if not len(next(iter(kept.values()))):
        return {}
    if manifest.task == Task.CLASSIFICATION:
        alarmed = 1.0 - kept["probabilities"][:, 0] >= manifest.threshold
        return {"share of rows that alarm": float(alarmed.mean())}
    if manifest.task == Task.REMAINING_LIFE:
        return {"mean remaining life": float(kept["rul"][:, 1].mean())}
    return {
        "share of rows that alarm": float((kept["score"] >= manifest.threshold).mean()),
        "mean score": float(kept["score"].mean()),
    }


def life_figures(rul: NDArray[np.float32], truth: NDArray[np.float64]) -> dict[str, float]:
    """Of quantiles [N, 3] in cycles: error and NASA's score, truth uncapped and capped; interval.

    The score: Saxena, Goebel, Simon, Eklund: Damage Propagation Modeling, PHM 2008, equation 11.
    """
    found = {}
    for suffix, true in (("_capped", np.minimum(truth, _CAP)), ("", truth)):
        error = rul[:, 1].astype(float) - true
        found[f"rmse{suffix}"] = float(np.sqrt((error**2).mean()))
        late = np.where(error < 0, np.exp(-error / 13), np.exp(error / 10)) - 1
        found[f"score{suffix}"] = float(late.sum())
        found[f"coverage{suffix}"] = float(((rul[:, 0] <= true) & (true <= rul[:, 2])).mean())
    found["width"] = float((rul[:, 2] - rul[:, 0]).mean())
    return found
