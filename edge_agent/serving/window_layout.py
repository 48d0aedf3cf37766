"""The windows of a model: those that it needs, by its manifest, and those that close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.models import ALWAYS_NEW
from edge_agent.signals import GOOD, BlockInputs, BlockRows, Layout, Reads, WindowSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import ModelUse
    from edge_agent.models import InputSpec, Manifest
    from edge_agent.signals import BlockWindow, Windows


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


def always_new(manifest: Manifest) -> NDArray[np.bool_]:
    """The scalar inputs whose value was hardly ever repeated when the model was learned, [C]."""
    names = manifest.calibration.get(ALWAYS_NEW, "").split(", ")
    return np.array([spec.name in names for spec in manifest.scalars], np.bool_)


def block_inputs_of(manifest: Manifest, use: ModelUse) -> BlockInputs | None:
    """The windows of blocks that a model needs; None without such inputs."""
    specs, window = manifest.own_tensors, manifest.window
    if not specs:
        return None
    rows = None
    if window.at_blocks:
        resample = [spec.resample for spec in manifest.scalars]
        rows = BlockRows(resample, round(use.lateness * US_PER_S))
    # The default hop of 1 would mean a window for each sample, which is not intended.
    on_grid = bool(manifest.scalars) and rows is None
    hop = 0 if on_grid or window.hop == 1 else window.hop
    return BlockInputs(manifest.rules.inputs[specs[0].kind], specs, hop, rows)


def why_unjudged(manifest: Manifest, row: NDArray[np.float64]) -> str:
    """Why a row [C] at a window is not judged; empty if it is."""
    for spec, value in zip(manifest.scalars, row.tolist(), strict=True):
        low, high = spec.valid or (-np.inf, np.inf)
        if np.isnan(value):
            return f"no value of {spec.name}"
        if not low <= value <= high:
            return f"{spec.name} is {value:.4g}, and {low:.4g} to {high:.4g} was learned"
    return ""


def judged_rows(
    manifest: Manifest, blocks: Sequence[BlockWindow], rows: NDArray[np.float64]
) -> tuple[list[BlockWindow], WindowSet]:
    """The blocks whose rows [n, C] have every input within its valid range, with their rows."""
    ranges = [spec.valid or (-np.inf, np.inf) for spec in manifest.scalars]
    low, high = np.array(ranges, float).reshape(-1, 2).T
    good = np.asarray(((rows >= low) & (rows <= high)).all(axis=1))
    kept = [block for block, ok in zip(blocks, good, strict=True) if ok]
    columns = [(block.asset, block.start_us, block.end_us) for block in kept]
    row, start_us, end_us = np.array(columns, np.int64).reshape(-1, 3).T
    x = rows[good][:, None].astype(np.float32)
    return kept, WindowSet(row, start_us, end_us, x, np.full(x.shape, GOOD, np.uint8))


def reads_of(manifest: Manifest, unit: int) -> Reads | None:
    """How a model reads the scalar inputs of a unit; None if unchanged."""
    if not manifest.is_precise:
        return None
    return Reads(np.array(manifest.offset_of(unit)), np.array(manifest.counter_of(unit)))


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


def write_fixed(
    windows: Windows, fixed: NDArray[np.float32], complete: Sequence[BlockWindow]
) -> list[WindowSet]:
    """Write inputs without a signal, [assets, C], NaN: a signal, at the times of blocks."""
    rows = np.array([block.asset for block in complete], np.intp)
    at, channel = np.nonzero(~np.isnan(fixed[rows]))
    if not len(at):
        return []
    end_us = np.array([block.end_us for block in complete], np.int64)[at]
    order = np.argsort(end_us, kind="stable")
    value, mark = fixed[rows[at], channel][order], np.full(len(at), GOOD, np.uint8)
    return windows.write_values(rows[at][order], channel[order], end_us[order], value, mark)
