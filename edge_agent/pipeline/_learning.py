"""Assets without a model: their healthy rows are kept until there are enough to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.pipeline._router import Router
from edge_agent.signals import Layout, Windows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.plant import PlantAsset
    from edge_agent.config.schema import Learn
    from edge_agent.pipeline._router import Bindings
    from edge_agent.records import Columns

_LATENESS_US: Final = 5 * US_PER_S
_BLOCK_ROWS: Final = 256
_ALMOST: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows [n, C] as what they are above `base` [C]."""

    base: NDArray[np.float64]
    above: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> _Block:
        known = ~np.isnan(rows)
        first = np.take_along_axis(rows, np.argmax(known, axis=0)[None], axis=0)[0]
        base = np.where(known.any(axis=0), first, 0.0)
        return cls(base, (rows - base).astype(np.float32))

    def rows(self) -> NDArray[np.float64]:
        return self.base + self.above


@dataclass(slots=True)
class _Rows:
    """An asset's rows in blocks.

    When they grow too many every other block goes, so that what stays still spans the whole time
    and each block is unbroken. A block is float32, less what its first whole row reads: so a meter
    of billions keeps its last digits.
    """

    blocks: list[_Block] = field(default_factory=list)
    open: list[NDArray[np.float64]] = field(default_factory=list)
    stride: int = 1
    seen_blocks: int = 0
    rows: int = 0
    last_us: int | None = None

    def add(self, row: NDArray[np.float64], max_blocks: int) -> None:
        self.rows += 1
        self._append(row, max_blocks)

    def break_off(self, row: NDArray[np.float64], max_blocks: int) -> None:
        """Time is missing: windows must not span what was before and what comes after."""
        self._append(np.full_like(row, np.nan), max_blocks)

    def _append(self, row: NDArray[np.float64], max_blocks: int) -> None:
        self.open.append(row)
        if len(self.open) < _BLOCK_ROWS:
            return
        if self.seen_blocks % self.stride == 0:
            self.blocks.append(_Block.of(np.stack(self.open)))
        self.seen_blocks += 1
        self.open = []
        if len(self.blocks) > max_blocks:
            self.blocks = self.blocks[::2]
            self.stride *= 2

    def all(self, channels: int) -> NDArray[np.float64]:
        """[T, C], blocks kept apart by one row of NaN where time is missing between them."""
        last = [np.stack(self.open)] if self.open else []
        whole = [*(block.rows() for block in self.blocks), *last]
        if self.stride == 1:
            return np.concatenate(whole) if whole else np.empty((0, channels))
        gap = np.full((1, channels), np.nan)
        return np.concatenate([part for block in whole for part in (block, gap)])


class Learning:
    """The assets of one template that are learning."""

    def __init__(self, template: str, config: Learn, first: PlantAsset) -> None:
        self.template = template
        self.config = config
        self.inputs = tuple(learn_inputs(config, first))
        self.assets: list[PlantAsset] = []
        self._rows: list[_Rows] = []
        self._router = Router()
        step_us = max(1, round(config.step * US_PER_S))
        known = [first.signals[name].config for name in self.inputs if name in first.signals]
        resample = tuple(signal.resample for signal in known)
        self._windows = Windows(
            Layout(len(self.inputs), 1, 1, step_us, _LATENESS_US, resample, precise=True)
        )
        # So much may be missing from a window that is scored.
        self._gap_us = round((1 - config.min_coverage) * config.length + 1) * step_us
        self.wanted_rows = max(1, round(config.duration / config.step))
        self.busy: set[str] = set()

    def add(self, asset: PlantAsset, bindings: Bindings) -> str:
        """Learn for an asset, anew for one that has learned; gives what is missing, or nothing."""
        missing = [name for name in self.inputs if name not in asset.signals]
        if missing or not self.inputs:
            return f"cannot learn: no signal {', '.join(missing) or 'that is a number'}"
        signals = [asset.signals[name] for name in self.inputs]
        row = self.assets.index(asset) if asset in self.assets else len(self.assets)
        for channel, signal in enumerate(signals):
            binding = bindings[signal.index]
            self._router.add(signal.index, row, channel, binding.uncertain)
        if row < len(self.assets):
            # The time in which it did not learn is no time in which it stood still.
            self._windows.set_back(np.array([row]))
            self.again([asset.id])
        else:
            bound = [bindings[signal.index] for signal in signals]
            self._windows.add_asset([b.stale_us for b in bound], [b.group for b in bound])
            self.assets.append(asset)
            self._rows.append(_Rows())
        self._router.begin(self._windows, bindings.standing([s.index for s in signals]))
        return ""

    def take_over(self, old: Learning) -> None:
        """Go on with the rows of before an exchange, of the assets whose learning is the same."""
        if (old.inputs, old.config.step) != (self.inputs, self.config.step):
            return
        rows = {asset.id: row for asset, row in zip(old.assets, old._rows, strict=True)}
        for number, asset in enumerate(self.assets):
            if asset.id in rows and asset.id not in old.busy:
                self._rows[number] = rows[asset.id]

    def push(self, values: Columns, max_blocks: int) -> None:
        """Keep the rows that close and whose every input is usable."""
        for windows in self._router.push(self._windows, values):
            usable = windows.ends_usable()
            for i in np.flatnonzero(usable):
                row = int(windows.asset[i])
                if self.assets[row].id not in self.busy:
                    self._keep(
                        self._rows[row],
                        windows.last[i].astype(float),
                        int(windows.end_us[i]),
                        max_blocks,
                    )

    def _keep(self, rows: _Rows, x: NDArray[np.float64], end_us: int, max_blocks: int) -> None:
        if rows.last_us is not None and abs(end_us - rows.last_us) > self._gap_us:
            rows.break_off(x, max_blocks)
        rows.add(x, max_blocks)
        rows.last_us = end_us

    def set_back(self, assets: NDArray[np.intp]) -> None:
        """The clock of these plant assets was set back."""
        rows = np.array([r for r, a in enumerate(self.assets) if a.index in assets], np.intp)
        self._windows.set_back(rows)

    def progress(self) -> dict[str, float]:
        """Share of the wanted rows by asset, 0..1."""
        return {
            asset.id: min(1.0, rows.rows / self.wanted_rows)
            for asset, rows in zip(self.assets, self._rows, strict=True)
            if asset.id not in self.busy
        }

    def ready(self) -> dict[str, NDArray[np.float64]]:
        """Rows [T, C] by asset once one has enough; others that almost have come along."""
        progress = self.progress()
        if not progress or max(progress.values()) < 1.0:
            return {}
        chosen = {asset for asset, share in progress.items() if share >= _ALMOST}
        self.busy |= chosen
        return {asset: rows for asset, rows in self.rows().items() if asset in chosen}

    def rows(self) -> dict[str, NDArray[np.float64]]:
        """All rows collected so far, [T, C] by asset."""
        return {
            asset.id: rows.all(len(self.inputs))
            for asset, rows in zip(self.assets, self._rows, strict=True)
        }

    def again(self, assets: Sequence[str]) -> None:
        """Learning failed for these: begin anew."""
        for row, asset in enumerate(self.assets):
            if asset.id in assets:
                self._rows[row] = _Rows()
                self.busy.discard(asset.id)

    def done(self, assets: Collection[str]) -> None:
        """These have a model now: their rows go, and their values no longer come here."""
        for row, asset in enumerate(self.assets):
            if asset.id in assets:
                self._rows[row] = _Rows()
                for name in self.inputs:
                    self._router.remove(asset.signals[name].index)


def learn_inputs(config: Learn, first: PlantAsset) -> list[str]:
    """The inputs to learn from: those named, else every scalar signal that all assets have."""
    if config.inputs:
        return list(config.inputs)
    shared = first.template.signals or first.signals
    return [name for name in shared if first.signals[name].config.kind is Kind.SCALAR]
