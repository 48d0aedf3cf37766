"""What all bundles of learned baselines have in common, of numbers and of waveforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_agent.config.types import Name
from edge_agent.learning.calibration import promised
from edge_agent.models import (
    InputSpec,
    Manifest,
    OutputNames,
    Task,
    WindowSpec,
    learned_version,
    write_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge_agent.models import Tensors

_OUTPUTS = OutputNames(
    score="score", health="health", contributions="contributions", deviation="deviation"
)


class Told(Protocol):
    """What recipes of numbers and of waveforms tell alike; see `Manifest`."""

    @property
    def name(self) -> str:
        """Of the bundle."""

    @property
    def false_alarms_per_day(self) -> float:
        """Wanted, for each asset."""

    @property
    def training(self) -> tuple[tuple[str, str], ...]:
        """Facts about the data."""

    @property
    def provisional_s(self) -> float:
        """The seconds of data behind a provisional baseline, else 0."""


@dataclass(frozen=True, slots=True)
class LearnedBundle:
    """Baselines of one or more assets, ready to be written.

    golden: inputs and outputs by tensor. refused: assets whose rows were not sufficient to learn,
    with the reason.
    """

    manifest: Manifest
    onnx_bytes: bytes
    golden: tuple[Tensors, Tensors]
    refused: dict[str, str]

    def write(self, folder: Path) -> Manifest:
        """Write the bundle; see `write_bundle`."""
        return write_bundle(folder, self.manifest, self.onnx_bytes, self.golden)


def manifest_of(  # noqa: PLR0913 (what a manifest is made of)
    told: Told,
    onnx_bytes: bytes,
    now_us: int,
    stated: Mapping[str, str],
    *,
    inputs: tuple[InputSpec, ...],
    window: WindowSpec,
    units: Iterable[str],
) -> Manifest:
    """The manifest of a learned baseline. stated: facts about its limits; units: its assets."""
    return Manifest(
        name=Name(told.name),
        version=learned_version(now_us, onnx_bytes),
        task=Task.ANOMALY,
        inputs=inputs,
        outputs=_OUTPUTS,
        window=window,
        threshold=1.0,
        false_alarms_per_day=promised(dict(stated), told.false_alarms_per_day),
        calibration={**stated, "wanted_per_asset_day": f"{told.false_alarms_per_day:g}"},
        units=tuple(units),
        training=dict(told.training),
        provisional_s=told.provisional_s,
    )
