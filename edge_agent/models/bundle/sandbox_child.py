"""The child process that tries the bundle in a folder.

On stdout: JSON, `problems` as [reason, text] and `trial`, the figures of the variants. Exit code 0:
it may be loaded; 3: the problems state why not. Any other code, or a signal, means that the model
exceeded the limits or crashed the runtime.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx

from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import read_checked, read_file
from edge_agent.models.bundle.golden import differences, not_finite, parse_golden
from edge_agent.models.bundle.graph_check import graph_problems
from edge_agent.models.bundle.kinds import (
    FP32,
    GOLDEN,
    MANIFEST,
    MODEL,
    THRESHOLD,
    WINDOW,
    variant_file,
)
from edge_agent.models.bundle.manifest_text import KINDS, parse_manifest
from edge_agent.models.bundle.ort import fixed_batch, open_session
from edge_agent.models.bundle.steady import is_steady
from edge_agent.models.bundle.tasks import HOUR
from edge_agent.models.bundle.variants import (
    MAX_DIFFERENCE,
    PATIENCE_S,
    Figures,
    Trial,
    choose,
    compare,
    parity,
    timed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.models.bundle.golden import Golden, Tensors
    from edge_agent.models.bundle.kinds import BundleKind
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.ort import Session

REFUSED: Final = 3
_ROWS_ALONE: Final = 8
_ROW_TOLERANCE: Final = 1e-3


def limit(model_bytes: int, rules: BundleKind = WINDOW) -> None:
    """Limit memory and time from now on to those of the kind of bundle."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = used + rules.memory_bytes + rules.model_copies * model_bytes
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, rules.cpu_s),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (most, most))


def try_bundle(
    folder: Path, digest: str, kinds: Mapping[str, type[Manifest]] = KINDS
) -> tuple[list[tuple[str, str]], Trial]:
    """The problems found by parsing, loading and running the bundle; and its variants."""
    raw = read_file(folder, MANIFEST)
    if sha256(raw).hexdigest() != digest:
        raise ModelError("model.yaml changes while it is verified")
    manifest = parse_manifest(raw, folder / MANIFEST, kinds)
    sizes = [(folder / name).stat().st_size for name in _graphs(manifest)]
    golden = read_checked(folder, manifest, GOLDEN)
    limit(sizes[0] + max(sizes), manifest.rules)
    steady: list[bool] = []
    problems = [
        found for name in _graphs(manifest) for found in _parsed(folder, manifest, name, steady)
    ]
    if problems:
        return problems, Trial()
    problems, trial = _run(folder, manifest, golden)
    return problems, replace(trial, steady=all(steady))


def _graphs(manifest: Manifest) -> list[str]:
    return [MODEL, *map(variant_file, manifest.variants)]


def _parsed(
    folder: Path, manifest: Manifest, name: str, steady: list[bool]
) -> list[tuple[str, str]]:
    """The problems of a graph; adds to `steady` whether it is."""
    try:
        model = onnx.load_model_from_string(read_checked(folder, manifest, name))
    except ModelError:
        raise
    except Exception:  # noqa: BLE001 (protobuf's own, depending on its build)
        return [("graph", f"{name} is not an ONNX model")]
    steady.append(is_steady(model))
    where = "" if name == MODEL else f"{name}: "
    return [("graph", f"{where}{text}") for text in graph_problems(model, manifest)]


def _run(
    folder: Path, manifest: Manifest, raw_golden: bytes
) -> tuple[list[tuple[str, str]], Trial]:
    """Load the model, run it on the golden vectors and compare; then its variants."""
    try:
        golden = parse_golden(raw_golden)
    except ModelError as error:
        return [("golden", str(error))], Trial()
    if endless := not_finite(golden.outputs):
        return [("golden", text) for text in endless], Trial()
    missing = set(manifest.outputs.named().values()) - golden.outputs.keys()
    given = {name: (str(array.dtype), array.shape[1:]) for name, array in golden.inputs.items()}
    hour = {HOUR: ("float32", ())} if manifest.season_zone else {}
    if missing or given != {**manifest.tensors(), **hour}:
        text = "golden vectors do not contain every input and output of model.yaml"
        return [("golden", text)], Trial()
    try:
        session = open_session(read_checked(folder, manifest, MODEL))
        found = _outputs(session, golden)
        stated = _other_threshold(session, manifest, golden)
    except MemoryError:
        return [("limits", "it needs more memory than a model may have")], Trial()
    except Exception as error:  # noqa: BLE001 (the runtime's exceptions have no public base)
        reason = "limits" if "alloc" in str(error) else "graph"
        return [(reason, f"the runtime refuses it: {_one_line(error)}")], Trial()
    problems = [("golden", text) for text in differences(golden.outputs, found)]
    problems += [("rows", text) for text in dependent_rows(session, golden, found)]
    problems += [("graph", text) for text in stated]
    return problems, Trial() if problems else try_variants(folder, manifest, golden, session)


def _other_threshold(session: Session, manifest: Manifest, golden: Golden) -> list[str]:
    """Why the threshold in the graph is not that of the manifest, in a sentence."""
    if not manifest.states_threshold:
        return []
    feeds = {name: array[:1] for name, array in golden.inputs.items()}
    (found,) = session.run([THRESHOLD], feeds)
    if found.shape == () and np.isclose(found, manifest.threshold, rtol=_ROW_TOLERANCE):
        return []
    text = f"the graph's {THRESHOLD} is {found.tolist()!r:.40}, not {manifest.threshold:g}"
    return [text]


def try_variants(folder: Path, manifest: Manifest, golden: Golden, session: Session) -> Trial:
    """Measure every variant against fp32 in `session`; an empty trial if there are none."""
    figures = [_try_variant(folder, manifest, golden, session, v) for v in manifest.variants]
    if not figures:
        return Trial()
    timed = [fp32 for fp32, _ in figures if fp32.p50_us]
    every = (timed[0] if timed else Figures(FP32), *(figure for _, figure in figures))
    return Trial(choose(every), every)


def _try_variant(
    folder: Path, manifest: Manifest, golden: Golden, session: Session, variant: str
) -> tuple[Figures, Figures]:
    """The figures of fp32 and of one variant, measured alternately."""
    raw = read_checked(folder, manifest, variant_file(variant))
    try:
        other = open_session(raw)
        found = _outputs(other, golden)
        off, refused = parity(manifest, golden, found)
        refused = refused or "; ".join(dependent_rows(other, golden, found, MAX_DIFFERENCE))
        if refused:
            return Figures(FP32), Figures(variant, difference=off, refused=refused)
        fixed = fixed_batch(session)
        sizes = manifest.rules.batches if fixed is None else (fixed,)
        pair = (partial(session.run, None), partial(other.run, None))
        timings = compare(pair, golden.inputs, sizes, PATIENCE_S / len(manifest.variants))
    except Exception as error:  # noqa: BLE001 (not for this machine: fp32 still works)
        return Figures(FP32), Figures(variant, refused=f"does not run here: {_one_line(error)}")
    fp32 = Figures(FP32, tuple((timing.batch, timing.p50_us[0]) for timing in timings))
    return fp32, timed(variant, timings, off)


def dependent_rows(
    session: Session, golden: Golden, together: Tensors, tolerance: float = _ROW_TOLERANCE
) -> list[str]:
    """Outputs of a row that change with the other rows of the batch, in sentences.

    Such a graph takes a mean or a maximum over the batch: then a machine's score would depend on
    how many others are due at the same time, and a replay would differ from the live run.
    """
    batch = fixed_batch(session) or 1
    names = list(golden.outputs)
    last = golden.rows - 1
    for row in sorted({round(last * part / _ROWS_ALONE) for part in range(_ROWS_ALONE + 1)}):
        feeds = {n: np.repeat(a[row : row + 1], batch, axis=0) for n, a in golden.inputs.items()}
        alone = dict(zip(names, session.run(names, feeds), strict=True))
        for name in names:
            wanted, got = together[name][row].astype(float), alone[name][0].astype(float)
            slack = tolerance * float(np.abs(together[name]).max())
            if not np.allclose(got, wanted, rtol=tolerance, atol=slack):
                off = float(np.max(np.abs(got - wanted)))
                return [f"{name} of a row depends on the other rows (alone: {off:.3g} off)"]
    return []


def _outputs(session: Session, golden: Golden) -> Tensors:
    names = list(golden.outputs)
    return dict(zip(names, session.run(names, golden.inputs), strict=True))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def main(kinds: Mapping[str, type[Manifest]] = KINDS) -> int:
    """Try the bundle in the arguments; see the module's docstring for the output."""
    folder = Path(sys.argv[1])
    trial = Trial()
    try:
        problems, trial = try_bundle(folder, sys.argv[2], kinds)
    except ModelError as error:
        problems = [("files", str(error))]
    except MemoryError:
        problems = [("limits", "it needs more memory than a model may have")]
    told = [[reason, f"{folder}: {text}"] for reason, text in problems]
    print(json.dumps({"problems": told, "trial": trial.as_json()}))  # noqa: T201
    return REFUSED if problems else 0
