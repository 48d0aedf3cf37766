"""The windows that a model needs, by its manifest, and a comparison of two models' windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.clock import US_PER_S
from edge_agent.signals import BlockInputs, Layout

if TYPE_CHECKING:
    from edge_agent.config.schema import ModelUse
    from edge_agent.models import InputSpec, Manifest


def layout_of(manifest: Manifest, use: ModelUse) -> Layout:
    """The windows that a model needs."""
    scalars, window = manifest.scalars, manifest.window
    return Layout(
        channels=len(scalars),
        length=window.length,
        hop=window.hop,
        step_us=round(window.step_s * US_PER_S),
        lateness_us=round(use.lateness * US_PER_S),
        resample=tuple(i.resample for i in scalars),
        least=window.least,
        precise=manifest.is_precise,
    )


def block_inputs_of(manifest: Manifest) -> BlockInputs | None:
    """The windows of blocks that a model needs; None without such inputs."""
    specs = manifest.own_tensors
    if not specs:
        return None
    # The default hop of 1 would mean a window for each sample, which is not intended.
    hop = 0 if manifest.scalars or manifest.window.hop == 1 else manifest.window.hop
    return BlockInputs(manifest.rules.inputs[specs[0].kind], specs, hop)


def same_windows(old: Manifest, new: Manifest) -> bool:
    """True if windows made for one model fit another."""
    if old.window != new.window or old.constants != new.constants:
        return False
    if new.is_precise and old.units != new.units:
        return False
    return [_windowed(i) for i in old.inputs] == [_windowed(i) for i in new.inputs]


def _windowed(spec: InputSpec) -> tuple[object, ...]:
    """The properties of an input that its windows depend on."""
    read = spec.offset, spec.counter
    return spec.name, spec.kind, spec.rate_hz, spec.length, spec.resample, *read
