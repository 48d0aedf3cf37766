"""The kinds of inputs, one row per kind: how blocks become windows, and how quality is used.

Scalars are columns of values on a grid (`windows.py`). All other kinds arrive as blocks: tensors
that are complete when they arrive, waveforms or pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.clock import ENDLESS
from edge_agent.config.schema import Kind
from edge_agent.signals.waves import BlockWindow, WaveWindows
from edge_agent.signals.windows import Router
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.signals.bindings import Binding
    from edge_agent.signals.block_rows import BlockRows
    from edge_agent.values import Columns, TensorBlock


class Spec(Protocol):
    """The specification of one input of a model: a manifest's InputSpec."""

    @property
    def kind(self) -> str:
        """A key of INPUT_KINDS."""

    @property
    def length(self) -> int:
        """Samples of a window."""

    @property
    def rate_hz(self) -> float:
        """Samples per second."""


class BlockWindows(Protocol):
    """Makes windows from the blocks of all assets; a window is due when every input has one.

    rejected: blocks that do not fit a window.
    """

    rejected: int

    def accept_block(self, asset: int, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept a block of one input of an asset; returns the windows that it completes."""

    def shift_clock(self, asset: int, step_us: int) -> None:
        """Shift the waiting samples; the gateway's clock was moved."""


@dataclass(frozen=True, slots=True)
class InputKind:
    """One kind of input.

    shape: shape of the model's input tensor, without the batch; None: the input is a channel of
    the window of scalars. lacks: why a spec is incomplete, or nothing. level: samples to the one
    number that represents them, as a sign of life and in an alert. windows: of the inputs of one
    model, None for channels of the window of scalars; hop: samples of the first input between two
    windows, 0 for as many as it is long. dtype: of the model's input tensor.
    """

    shape: Callable[[Spec], tuple[int, ...]] | None = None
    lacks: Callable[[Spec], str] = lambda _: ""
    level: Callable[[NDArray[Any]], float] = float
    windows: Callable[[Sequence[Spec], int], BlockWindows] | None = None
    dtype: str = "float32"


def rms(samples: NDArray[Any]) -> float:
    """The root mean square."""
    return math.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def _wave_windows(specs: Sequence[Spec], hop: int) -> WaveWindows:
    lengths = tuple(spec.length for spec in specs)
    return WaveWindows(lengths, hop or lengths[0], tuple(spec.rate_hz for spec in specs))


def _lacks_rate(spec: Spec) -> str:
    return "" if spec.length and spec.rate_hz else "a waveform needs length and rate_hz"


INPUT_KINDS: Final[Mapping[str, InputKind]] = {
    Kind.SCALAR: InputKind(),
    Kind.WAVEFORM: InputKind(
        shape=lambda spec: (spec.length,), lacks=_lacks_rate, level=rms, windows=_wave_windows
    ),
}

PICTURE_INPUT: Final = "picture"  # the kind and the name of the input of a model of pictures
_SIDES: Final = range(64, 1025, 32)  # pixels of a picture


def _lacks_side(spec: Spec) -> str:
    some = f"{_SIDES[0]}, {_SIDES[1]} .. {_SIDES[-1]}"
    return "" if spec.length in _SIDES else f"a picture needs its side in pixels as length: {some}"


class PictureWindows:
    """The answers about pictures: each is a window at once, of a model with one camera."""

    rejected = 0

    def __init__(self, _specs: Sequence[Spec], _hop: int) -> None:
        pass

    def accept_block(self, asset: int, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept the answer about a picture: [its number, the score]."""
        yield BlockWindow(asset, block.end_us, block.end_us, {channel: block.samples})

    def shift_clock(self, asset: int, step_us: int) -> None:
        """No picture waits here."""


# Of models of pictures, which cameras deliver. Their samples are the answer of the process of
# pictures: see `PictureWindows`.
PICTURE_KINDS: Final[Mapping[str, InputKind]] = {
    PICTURE_INPUT: InputKind(
        shape=lambda spec: (spec.length, spec.length, 3),
        lacks=_lacks_side,
        level=lambda answer: float(answer[1]),
        windows=PictureWindows,
        dtype="uint8",
    ),
}


def signs_of_life(
    blocks: Sequence[TensorBlock], kinds: Mapping[str, InputKind] = INPUT_KINDS
) -> Columns:
    """A value for each block with samples: their level."""
    blocks = [block for block in blocks if block.samples.size]
    return columns(
        [block.signal for block in blocks],
        [block.end_us for block in blocks],
        [kinds[block.kind].level(block.samples) for block in blocks],
        [block.status for block in blocks],
    )


class BlockInputs:
    """The inputs of one model that are blocks, all of one kind: their newest windows by asset row.

    A block of bad quality is not used, and a separate value of bad quality removes the last window.
    A window is valid as long as its signals are not stale. rows: of the scalar inputs at each
    window, if they are not on a grid.
    """

    def __init__(
        self, kind: InputKind, specs: Sequence[Spec], hop: int, rows: BlockRows | None = None
    ) -> None:
        self.rows = rows
        if kind.windows is None:
            raise ValueError("inputs of this kind are channels of the window of scalars")
        self._windows = kind.windows(specs, hop)
        self._router = Router()
        self._last: dict[int, BlockWindow] = {}
        self._hold_us: list[list[int]] = []  # of each input, by row

    def add_asset(
        self, row: int, signals: Sequence[tuple[int, Binding]], hold_us: Sequence[int | None]
    ) -> None:
        """Add an asset.

        signals: number and binding of each input's signal; hold_us: how long a block of each is
        valid (None: without end).
        """
        for channel, (signal, binding) in enumerate(signals):
            self._router.add(signal, row, channel, binding.uncertain)
        self._hold_us.append([ENDLESS if hold is None else hold for hold in hold_us])

    def set_hold(self, signal: int, hold_us: int) -> None:
        """A block of a signal is valid for another time from now on."""
        row, channel = self._router.place(signal)
        if row >= 0:
            self._hold_us[row][channel] = hold_us

    def accept_blocks(self, values: Columns, blocks: Sequence[TensorBlock]) -> list[BlockWindow]:
        """Write blocks into the windows; returns the complete ones.

        values: a bad value of an input's signal removes its last window.
        """
        found: list[BlockWindow] = []
        for row in self._router.spoiled(values):
            self._last.pop(row, None)
        for block in blocks:
            row, channel = self._router.place(block.signal)
            if row < 0 or not self._router.is_usable(block):
                continue
            for window in self._windows.accept_block(row, channel, block):
                found.append(window)
                self._last[row] = window
        return found

    def newest(self, row: int, at_us: int) -> BlockWindow | None:
        """The last window of an asset, unless it is stale by then."""
        found = self._last.get(row)
        hold_us = min(self._hold_us[row], default=ENDLESS)
        return None if found is None or at_us - found.end_us > hold_us else found

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Remove the last windows of these assets."""
        if self.rows is not None:
            self.rows.forget(rows)
        for row in rows.tolist():
            self._last.pop(row, None)

    def shift_clock(self, rows: NDArray[np.intp], step_us: int) -> None:
        """Shift the stored times of these assets; the gateway's clock was moved."""
        if self.rows is not None:
            self.rows.shift_clock(rows, step_us)
        for row in rows.tolist():
            self._windows.shift_clock(row, step_us)
            if row in self._last:
                self._last[row] = self._last[row].shifted(step_us)

    def drain_rejected(self) -> int:
        """Number of blocks that did not fit a window, since the last call."""
        rejected, self._windows.rejected = self._windows.rejected, 0
        return rejected
