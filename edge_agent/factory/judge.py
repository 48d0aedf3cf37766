"""Figures, parity of int8 and latency of the finished graphs. ONNX Runtime only, no torch."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Arrays, Recipe, Samples
    from edge_agent.models import Manifest

MAIN_ROLES: Final = (
    "probabilities",
    "rul",
    "score",
)  # the roles that a task is judged by, the most informative first
BATCHES: Final = (1, 64)
_RUN: Final = 512  # rows at a time
_REPEATS: Final = {1: 400, 64: 150}
_WARM: Final = 20


def session_of(raw: bytes) -> onnxruntime.InferenceSession:
    """One thread that does not spin, as in the daemon."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


def outputs_of(raw: bytes, manifest: Manifest, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    """Outputs by role for inputs by tensor."""
    session = session_of(raw)
    named = manifest.outputs.named()
    feeds = {name: inputs[name] for name in manifest.tensors()}
    rows = len(next(iter(feeds.values())))
    parts = [
        session.run(list(named.values()), {k: v[i : i + _RUN] for k, v in feeds.items()})
        for i in range(0, rows, _RUN)
    ]
    return {
        role: np.concatenate(part)
        for role, part in zip(named, zip(*parts, strict=True), strict=True)
    }


def latency_ms(raw: bytes, manifest: Manifest, inputs: Arrays) -> dict[str, float]:
    """Median time of a run by batch, as `p50_ms_batch_1`."""
    session = session_of(raw)
    found = {}
    for batch in BATCHES:
        feeds = {
            name: np.resize(inputs[name], (batch, *inputs[name].shape[1:]))
            for name in manifest.tensors()
        }
        spent = [_timed(session, feeds) for _ in range(_WARM + _REPEATS[batch])]
        found[f"p50_ms_batch_{batch}"] = statistics.median(spent[_WARM:])
    return found


def _timed(session: onnxruntime.InferenceSession, feeds: Mapping[str, Any]) -> float:
    begin = time.perf_counter()
    session.run(None, feeds)
    return (time.perf_counter() - begin) * 1e3


def judged(graphs: Mapping[str, bytes], recipe: Recipe, test: Samples) -> dict[str, dict[str, Any]]:
    """By graph (fp32 and variants): figures on all and on anomalous rows, size, latency, parity."""
    fp32 = outputs_of(graphs["fp32"], recipe.manifest, test.inputs)
    found: dict[str, dict[str, Any]] = {}
    for name, raw in graphs.items():
        outputs = outputs_of(raw, recipe.manifest, test.inputs)
        found[name] = {
            "figures": recipe.metrics(outputs, test),
            "bytes": len(raw),
            **latency_ms(raw, recipe.manifest, test.inputs),
        }
        bad = test.anomalous
        if bad.any():
            worse = {role: values[bad] for role, values in outputs.items()}
            found[name]["figures_anomalous"] = recipe.metrics(worse, test.select(bad))
        if name != "fp32":
            found[name]["off"] = off(fp32, outputs, bad)
    return found


def off(fp32: Arrays, other: Arrays, anomalous: NDArray[np.bool_]) -> dict[str, float]:
    """Mean difference of the main output on normal and on anomalous rows.

    For a score or a remaining life as a share of its mean size; for probabilities unscaled.
    """
    role = next(role for role in MAIN_ROLES if role in fp32)
    found = {}
    for kind, rows in (("normal", ~anomalous), ("anomalous", anomalous)):
        if rows.any():
            mean = float(np.abs(other[role][rows] - fp32[role][rows]).mean())
            size = float(np.abs(fp32[role][rows]).mean())
            found[kind] = mean if role == "probabilities" else mean / max(size, 1e-9)
    return found
