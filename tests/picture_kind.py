"""A kind of input that the package does not know: small square pictures, each a window at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edge_agent.models.bundle.kinds import WINDOW, BundleKind
from edge_agent.models.bundle.manifest import Manifest
from edge_agent.signals.input_kinds import INPUT_KINDS, InputKind
from edge_agent.signals.waves import BlockWindow
from edge_agent.values import TensorBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.signals.input_kinds import Spec

KIND = "picture"


class PictureWindows:
    """Every picture of the right size is a window; with several cameras, the newest of each."""

    def __init__(self, specs: Sequence[Spec], _hop: int) -> None:
        self._sides = [spec.length for spec in specs]
        self._newest: dict[int, dict[int, np.ndarray]] = {}
        self.rejected = 0

    def accept_block(self, asset: int, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept a picture."""
        side = self._sides[channel]
        if block.samples.shape != (side, side):
            self.rejected += 1
            return
        newest = self._newest.setdefault(asset, {})
        newest[channel] = block.samples
        if len(newest) == len(self._sides):
            yield BlockWindow(asset, block.end_us, block.end_us, dict(newest))

    def shift_clock(self, asset: int, step_us: int) -> None:
        """Pictures that wait have no time."""


PICTURE = InputKind(
    shape=lambda spec: (spec.length, spec.length),
    lacks=lambda spec: "" if spec.length else "a picture needs its side as length",
    level=lambda samples: float(samples.mean()),
    windows=PictureWindows,
)
MORE_INPUTS = {**INPUT_KINDS, KIND: PICTURE}


@dataclass(frozen=True, slots=True)
class PictureManifest(Manifest):
    """Scalars, and pictures beside them."""

    rules: ClassVar[BundleKind] = replace(WINDOW, name="pictures", inputs=MORE_INPUTS)
    kind: str = "pictures"


def picture(signal: int, end_us: int, level: float, side: int = 2, status: int = 0) -> TensorBlock:
    """A picture of one colour."""
    samples = np.full((side, side), level, np.float32)
    return TensorBlock(signal, end_us, 0.0, samples, status, KIND)
