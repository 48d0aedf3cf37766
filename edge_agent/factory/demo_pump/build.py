"""Learn, judge and write `demo-pump`; seeded, so that the same code gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import ModelError
from edge_agent.factory.demo_pump.card import card, picture
from edge_agent.factory.demo_pump.model import (
    NAME,
    Scorer,
    golden_of,
    judged,
    learned,
    manifest_of,
    rows_learned,
    without_units,
)
from edge_agent.models import verify_bundle, write_bundle
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(output: Path, command: str, report: Callable[[str], None]) -> Path:
    """Build the bundle below `output`, in about a minute; its folder. ModelError if refused."""
    report("1/3 training the baseline")
    rows = rows_learned()
    baseline = learned(rows)
    onnx_bytes = without_units(baseline.onnx_bytes)
    scorer = Scorer(onnx_bytes)
    report("2/3 testing it on pumps that were not used for training")
    found = judged(scorer)
    manifest = manifest_of(baseline, rows, onnx_bytes, found, command)
    report("3/3 writing and verifying the bundle")
    folder = output / NAME
    extras = {
        "card.md": card(manifest, found, command).encode(),
        "scores.png": picture(scorer),
    }
    golden = golden_of(scorer)
    with as_owner_of(folder):
        write_bundle(folder, manifest, onnx_bytes, golden, extras=extras)
    for problem in verify_bundle(folder):
        raise ModelError(f"the new bundle failed its verification: {problem}", where=str(folder))
    return folder
