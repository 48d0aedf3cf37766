"""A bundle from a third-party ONNX file."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import write_bundle
from edge_agent.models.bundle.golden import Golden
from edge_agent.models.bundle.ort import fixed_batch, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.graph_check import GraphSummary
    from edge_agent.models.bundle.manifest import InputSpec, Manifest

_WINDOWS: Final = 4
_SEED: Final = 0
_MAX_TEXT: Final = 400
_NO_VARIANTS: Final[Mapping[str, Path]] = {}


def bundle_from_onnx(  # noqa: PLR0913 (the parts of a bundle)
    onnx_path: Path,
    folder: Path,
    manifest: Manifest,
    *,
    golden: Path | None = None,
    variants: Mapping[str, Path] = _NO_VARIANTS,
    negate_score: bool = False,
) -> tuple[Manifest, list[str]]:
    """Write `folder` from an ONNX file and a manifest that describes it; returns the adaptations.

    The graph's inputs and outputs are adapted to the manifest's (`adapt`).

    golden: an NPZ of inputs by tensor (`x` or `in.x`), with `anomalous` (0 or 1 a row) if there
    are variants. Without it they are random windows within the inputs' valid ranges (standard
    normal if there are none): they pin the file, not its quality. The outputs are the model's
    present ones. It is run in this process, so its source must be trusted; ModelError if it
    does not run, or a file is not valid.
    """
    # Imported here: the daemon never imports onnx.
    from edge_agent.models.bundle.adapt import adapt  # noqa: PLC0415

    adapted = adapt(onnx_path, manifest, negate_score=negate_score)
    others = {
        name: adapt(path, manifest, negate_score=negate_score).raw
        for name, path in variants.items()
    }
    raw = adapted.raw
    inputs, anomalous = (None, None) if golden is None else read_inputs(golden)
    try:
        session = open_session(raw)
        inputs = inputs or _inputs(manifest, fixed_batch(session) or _WINDOWS)
        names = list(manifest.outputs.named().values())
        outputs = dict(zip(names, session.run(names, inputs), strict=True))
    except Exception as error:
        text = " ".join(str(error).split())[:_MAX_TEXT]
        raise ModelError(f"it does not run: {text}", where=str(onnx_path)) from error
    plain = replace(manifest, sha256={})
    written = write_bundle(folder, plain, raw, Golden(inputs, outputs, anomalous), variants=others)
    return written, adapted.changes


def inspect_onnx(path: Path) -> GraphSummary:
    """The inputs, outputs and operators of an ONNX file; ModelError if it is not one."""
    from edge_agent.models.bundle import (  # noqa: PLC0415 (the daemon never imports onnx)
        graph_check,
    )

    return graph_check.inspect_onnx(path)


def allowed_operators() -> list[str]:
    """Every operator that a bundle's graph may contain, as `domain:Name`."""
    from edge_agent.models.bundle import (  # noqa: PLC0415 (the daemon never imports onnx)
        graph_check,
    )

    return graph_check.allowed_operators()


def read_inputs(file: Path) -> tuple[Tensors, NDArray[np.generic] | None]:
    """Golden inputs by tensor, and which rows are anomalous; ModelError if the file is invalid."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            arrays = {name.removeprefix("in."): found[name] for name in found.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        text = " ".join(str(error).split())[:_MAX_TEXT]
        raise ModelError(f"no NPZ of golden inputs: {text}", where=str(file)) from error
    anomalous = arrays.pop("anomalous", None)
    arrays = {name: array for name, array in arrays.items() if not name.startswith("out.")}
    if not arrays or len({len(array) if array.ndim else 0 for array in arrays.values()}) != 1:
        raise ModelError("no arrays of the same number of rows", where=str(file))
    return arrays, anomalous


def _inputs(manifest: Manifest, windows: int) -> Tensors:
    random = np.random.default_rng(_SEED)
    found: Tensors = {}
    if manifest.scalars:
        shape = (windows, manifest.window.length)
        found[manifest.window.tensor] = np.stack(
            [_samples(random, spec, shape) for spec in manifest.scalars], axis=-1
        )
    for spec in manifest.own_tensors:
        dtype, size = manifest.tensors()[spec.name]
        is_picture = dtype == "uint8"
        found[spec.name] = (
            random.integers(0, 256, (windows, *size), np.uint8)
            if is_picture
            else _samples(random, spec, (windows, *size))
        )
    if manifest.units:
        found["unit"] = np.arange(windows, dtype=np.int64) % len(manifest.units)
    return found


def _samples(random: np.random.Generator, spec: InputSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    if spec.valid is None or any(spec.counter):  # steps have no valid range
        return random.standard_normal(shape).astype(np.float32)
    offset = spec.offset[0] if spec.offset else 0.0
    return (random.uniform(*spec.valid, shape) - offset).astype(np.float32)
