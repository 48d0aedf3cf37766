"""Maps labels to signals."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import Kind
from edge_agent.errors import DecodeError
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.replay.labels import plain_name
from edge_agent.sources.replay.moments import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.plant import Plant, PlantAsset

NOWHERE: Final = -1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Places:
    """Finds signals by asset and label: a label is a mapped column, an address or a name.

    Other labels are compared without units in brackets, case and punctuation. Without an asset a
    label is an address that only one signal has, or `asset.signal`. source: only signals of this
    source; None for all. template: for assets that are not yet known. columns: column by signal
    name.
    """

    def __init__(
        self, plant: Plant, source: str | None, template: str, columns: Mapping[str, str]
    ) -> None:
        self._plant = plant
        self._source = source
        self._template = template
        self._columns = columns
        self._mapped = frozenset(columns.values())
        self._signals: dict[tuple[str, str], int] = {}
        self._plain: dict[tuple[str, str], set[int]] = {}
        self._assets: set[str] = set()
        self._valid: dict[int, tuple[float, float, float, float]] = {}
        self._rules: dict[tuple[int, str], TextRules] = {}
        for asset in plant.assets.values():
            self._add(asset)

    def knows(self, asset: str) -> bool:
        """True if the plant has that asset, or can discover it by the template."""
        if asset not in self._assets and self._template and _NAME.fullmatch(asset):
            found = self._plant.discover(asset, self._template)
            if found is not None:
                self._add(found)
        return asset in self._assets

    def find(self, asset: str, label: str) -> int:
        """The signal's index, or -1."""
        if asset and not self.knows(asset):
            return NOWHERE
        exact = self._signals.get((asset, label))
        if exact is not None:
            return exact
        alike = self._plain.get((asset, plain_name(label)), set())
        return next(iter(alike)) if len(alike) == 1 else NOWHERE

    def is_exact(self, asset: str, label: str) -> bool:
        """True if the label is exactly a signal's name, address or column."""
        return (asset, label) in self._signals

    def is_mapped(self, label: str) -> bool:
        """True if the config maps a signal to the column with that name or number."""
        return label in self._mapped

    def wanted(self, asset: str) -> list[str]:
        """Labels that identify signals of an asset, or of all."""
        return [label for owner, label in self._signals if owner == asset]

    def number(self, index: int, cell: str, decimal: str) -> float:
        """The number of a text by the signal's `map` and unit; infinite if there is none.

        decimal: the mark of the column, if the signal sets none. A plain number that was refused
        remains refused: 1.234 beside decimal commas may be 1234.
        """
        rules = self._rules.get((index, decimal))
        if rules is None:
            config = self._plant.signals[index].config
            rules = self._rules[index, decimal] = TextRules(config, decimal)
        if is_number(cell) and cell.strip() not in rules.words:
            return math.inf
        try:
            return rules.number(cell)
        except DecodeError:
            return math.inf

    def is_outside(
        self, signal: NDArray[np.int32], value: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """A mask of the values outside the valid range of their signal, -1 for none."""
        found = np.zeros(len(value), np.bool_)
        for index, (low, high, scale, offset) in self._valid.items():
            mine = signal == index
            if mine.any():
                scaled = value * scale + offset
                found |= mine & ((scaled < low) | (scaled > high))
        return found

    def unit(self, index: int) -> str:
        """The unit of a signal."""
        return self._plant.signals[index].config.unit

    def _add(self, asset: PlantAsset) -> None:
        self._assets.add(asset.id)
        for name, signal in asset.signals.items():
            if self._source not in {None, signal.source} or signal.config.kind is not Kind.SCALAR:
                continue
            index = signal.index
            if (valid := signal.config.valid) is not None:
                self._valid[index] = (*valid, signal.config.scale, signal.config.offset)
            self._signals.setdefault((asset.id, name), index)
            self._signals["", f"{asset.id}.{name}"] = index
            if signal.address:
                self._signals[asset.id, signal.address] = index
                shared = ("", signal.address) in self._signals
                self._signals["", signal.address] = NOWHERE if shared else index
            if name in self._columns:
                self._signals[asset.id, self._columns[name]] = index
            labels = (
                (asset.id, name),
                (asset.id, f"{asset.id}.{name}"),
                ("", f"{asset.id}.{name}"),
            )
            for owner, label in (*labels, (asset.id, signal.address)):
                if plain_name(label):
                    self._plain.setdefault((owner, plain_name(label)), set()).add(index)
