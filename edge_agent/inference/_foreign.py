"""Somebody else's ONNX file as a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.inference._bundle import write_bundle
from edge_agent.inference._ort import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.inference._golden import Tensors
    from edge_agent.inference._manifest import InputSpec, Manifest

_WINDOWS: Final = 4
_SEED: Final = 0


def bundle_from_onnx(onnx_path: Path, folder: Path, manifest: Manifest) -> Manifest:
    """Write `folder` from an ONNX file and a manifest that describes it.

    The golden vectors are what the model gives now for random windows within the inputs' valid
    ranges (standard normal where there is none): they pin the file, not its quality. The file is
    run in this process, so it must come from somebody trusted; ModelError where it does not run.
    """
    raw = onnx_path.read_bytes()
    try:
        session = open_session(raw)
        first = session.get_inputs()[0].shape[0]
        inputs = _inputs(manifest, first if isinstance(first, int) else _WINDOWS)
        names = list(manifest.outputs.named().values())
        outputs = dict(zip(names, session.run(names, inputs), strict=True))
    except Exception as error:
        text = " ".join(str(error).split())
        raise ModelError(f"it does not run: {text}", where=str(onnx_path)) from error
    return write_bundle(folder, replace(manifest, sha256={}), raw, (inputs, outputs))


def _inputs(manifest: Manifest, windows: int) -> Tensors:
    random = np.random.default_rng(_SEED)
    found: Tensors = {}
    if manifest.scalars:
        shape = (windows, manifest.window.length)
        found[manifest.window.tensor] = np.stack(
            [_samples(random, spec, shape) for spec in manifest.scalars], axis=-1
        )
    for spec in manifest.waveforms:
        found[spec.name] = _samples(random, spec, (windows, spec.length))
    if manifest.units:
        found["unit"] = np.arange(windows, dtype=np.int64) % len(manifest.units)
    return found


def _samples(random: np.random.Generator, spec: InputSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    if spec.valid is None:
        return random.standard_normal(shape).astype(np.float32)
    return random.uniform(*spec.valid, shape).astype(np.float32)
