"""Bundles on a GPU score as on the CPU. Skipped where no GPU is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support import shipped_bundles, value_of

from edge_agent.config.settings import Runtime, Trust
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import FP32, GOLDEN
from edge_agent.models.runtime.providers import PROVIDERS
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors

ROWS = 77  # more than one batch, and the last one is not full


@pytest.mark.slow
@pytest.mark.parametrize("folder", shipped_bundles(), ids=lambda folder: folder.name)
@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "cpu"])
def test_it_scores_as_on_the_cpu(folder: Path, provider: str) -> None:
    """Batches of every size give the golden scores, on the GPU or, where it differs, beside it."""
    runtime, metrics = Runtime(providers=(provider, "cpu")), Metrics()
    registry = SessionRegistry(folder.parent, runtime, metrics, Trust(allow_unsigned=("*",)))
    model = registry.load(folder.name)
    if value_of(metrics.provider_missing.labels(provider)):
        pytest.skip(f"no {provider} here")
    golden = parse_golden((folder / GOLDEN).read_bytes())
    rows = np.arange(ROWS) % golden.rows
    feeds = {name: array[rows] for name, array in golden.inputs.items()}
    found = model.engine.infer(feeds, list(golden.outputs))
    differences = compare(golden.outputs, rows, found)
    assert model.variant != FP32 or differences == []


def compare(wanted: Tensors, rows: NDArray[np.int64], found: Tensors) -> list[str]:
    """The outputs that differ from the golden ones."""
    size = {name: float(np.abs(array).max()) for name, array in wanted.items()}
    return [
        name
        for name, array in wanted.items()
        if not np.isclose(found[name], array[rows], rtol=1e-3, atol=1e-4 * size[name]).all()
    ]
