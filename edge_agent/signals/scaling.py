"""Scale and offset of signals: values and blocks in the units of their signals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.schema import Signal
    from edge_agent.values import TensorBlock


class Scaling:
    """Columns over all signals; rows are only added. is_used: True if any signal is scaled."""

    def __init__(self) -> None:
        self._scale: list[float] = []
        self._offset: list[float] = []
        self._table = np.empty((2, 0))
        self.is_used = False

    def add(self, config: Signal) -> None:
        """Add a signal."""
        self._scale.append(config.scale)
        self._offset.append(config.offset)
        self.is_used = self.is_used or (config.scale, config.offset) != (1.0, 0.0)

    def scale_values(self, values: Columns) -> Columns:
        """The values in the units of their signals."""
        if not self.is_used:
            return values
        if self._table.shape[1] < len(self._scale):
            self._table = np.array([self._scale, self._offset])
        scale, offset = self._table[:, values.signal]
        with np.errstate(over="ignore"):
            scaled = values.value * scale + offset
        return Columns(values.signal, values.time_us, scaled, values.status)

    def scale_blocks(self, blocks: Sequence[TensorBlock]) -> Sequence[TensorBlock]:
        """The blocks in the units of their signals."""
        return [self._scale_block(block) for block in blocks]

    def _scale_block(self, block: TensorBlock) -> TensorBlock:
        scale, offset = self._scale[block.signal], self._offset[block.signal]
        if (scale, offset) == (1.0, 0.0):
            return block
        samples = block.samples.astype(np.float64) * scale + offset
        return replace(block, samples=samples.astype(np.float32))
