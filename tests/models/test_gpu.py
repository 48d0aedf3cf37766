"""Bundles on a GPU score as on the CPU. Skipped where no GPU is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import shipped_bundles

from edge_agent.config.settings import Runtime, Trust
from edge_agent.errors import ModelError
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import GOLDEN
from edge_agent.models.bundle.ort import available_providers
from edge_agent.models.runtime.registry import PROVIDERS, SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

ROWS = 77  # more than one batch, and the last one is not full


def loaded(folder: Path, provider: str) -> Model:
    runtime = Runtime(providers=(provider,), required=True)
    trust = Trust(allow_unsigned=("*",))
    return SessionRegistry(folder.parent, runtime, Metrics(), trust).load(folder.name)


@pytest.mark.slow
@pytest.mark.parametrize("folder", shipped_bundles(), ids=lambda folder: folder.name)
@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "cpu"])
def test_it_scores_as_on_the_cpu(folder: Path, provider: str) -> None:
    """Golden vectors pass on the GPU itself, and batches of every size give the CPU's scores."""
    if PROVIDERS[provider] not in available_providers():
        pytest.skip(f"this build of onnxruntime does not include {provider}")
    try:
        model = loaded(folder, provider)
    except ModelError as error:
        if "failed to start" not in str(error):
            raise
        pytest.skip(f"{provider} does not start here")
    golden = parse_golden((folder / GOLDEN).read_bytes())
    rows = np.arange(ROWS) % golden.rows
    feeds = {name: array[rows] for name, array in golden.inputs.items()}
    found = model.engine.infer(feeds, list(golden.outputs))
    for name, wanted in golden.outputs.items():
        size = float(np.abs(wanted).max())
        close = np.isclose(found[name], wanted[rows], rtol=1e-3, atol=1e-4 * size)
        assert close.all(), name
