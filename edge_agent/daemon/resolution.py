"""Inputs that read more than float32 resolves, of models that take them as they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.models import InputSpec, Manifest
    from edge_agent.pipeline import Pipeline

log = logging.getLogger("edge_agent.models")

_WHOLE: Final = 2.0**24  # above it float32 does not even hold all whole numbers


def unresolved_inputs(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """By asset, the inputs of its models that are too large for float32, and what they read."""
    found: dict[str, dict[str, float]] = {}
    for group in pipeline.deployments:
        names = [s.name for s in group.scalars if _is_read_as_it_is(group.model.manifest, s)]
        for asset in group.assets if names else ():
            for name in names:
                signal = group.signal_of(asset, name)
                value = np.nan if signal is None else float(pipeline.watch.value[signal.index])
                if abs(value) > _WHOLE:
                    found.setdefault(asset.id, {})[name] = value
    return found


def _is_read_as_it_is(manifest: Manifest, spec: InputSpec) -> bool:
    """Learning chose an offset where one is needed; before it did, it had counters as they are."""
    if spec.offset or spec.counter:
        return False
    if "held_out_asset_days" not in manifest.calibration:
        return True
    return spec.name in manifest.calibration.get("judged_by_their_rate", "").split(", ")


class ResolutionWatch:
    """Says once of each asset and input that a model cannot resolve it."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, pipeline: Pipeline) -> None:
        """Look at what all inputs read now."""
        self.found = unresolved_inputs(pipeline)
        for asset, name, value in self._fresh():
            step = float(np.spacing(np.float32(abs(value))))
            extra = {"asset": asset, "input": name, "value": value, "resolution": step}
            log.warning("float32 does not resolve an input, give it an offset", extra=extra)

    def _fresh(self) -> Iterator[tuple[str, str, float]]:
        for asset, inputs in self.found.items():
            for name, value in inputs.items():
                if (asset, name) not in self._told:
                    self._told.add((asset, name))
                    yield asset, name, value

    def notes(self) -> dict[str, str]:
        """By asset, what the page says of it."""
        text = "reads more than float32 resolves (give the model's input an offset, or learn again)"
        return {asset: f"{', '.join(inputs)} {text}" for asset, inputs in self.found.items()}
