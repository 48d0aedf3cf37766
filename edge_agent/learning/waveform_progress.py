"""The progress of an asset's waveforms to a baseline, and the data that it is based on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.learning.healthy_rows import HealthyRows, Row
from edge_agent.learning.progress import Attempt
from edge_agent.learning.waveform import length_for
from edge_agent.learning.waveform_bundle import WaveRecipe
from edge_agent.learning.waveform_inputs import measured_at
from edge_agent.models import InputSpec
from edge_agent.signals import Span, WaveWindows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.plant import PlantAsset
    from edge_agent.signals import BlockRows, BlockWindow
    from edge_agent.values import TensorBlock

FIRST_BLOCKS: Final = 4  # of an input, until its windows are decided
KEEP_ROWS: Final = 16  # can be taken back
_JOINT_SAMPLES: Final = 1.5
_GAPS: Final = 64
_USUAL: Final = 3.0
_DENSE_ROWS: Final = 1024  # windows overlap until there are so many, and
_APART_MOST: Final = 1.5
_APART: Final = 0.9  # of a window's length is between them from then on
_MAX_BLOCKS: Final = 64  # of 256 rows
_ONLY: Final = np.zeros(1, np.intp)  # the row of its only asset


@dataclass(frozen=True, slots=True)
class WaveTrainingSet:
    """Features and conditions [T, F + K] of healthy windows by asset: the data of one bundle.

    recipe: what is measured, given which conditions. See `TrainingSet`.
    """

    rows: dict[str, NDArray[np.float64]]
    provisional_s: float
    left_out: dict[str, dict[str, str]]
    step_s: float
    spacing_s: float
    recipe: WaveRecipe


@dataclass(slots=True)
class Head:
    """The first blocks of one input, from which its windows are decided."""

    blocks: list[TensorBlock] = field(default_factory=list)
    run: int = 0  # samples since the last gap
    longest: int = 0
    end_us: int = 0

    def add(self, block: TensorBlock) -> None:
        """Add the next block."""
        spacing_us = US_PER_S / block.rate_hz
        begin_us = block.end_us - (len(block.samples) - 1) * spacing_us
        gap_us = abs(begin_us - self.end_us - spacing_us)
        joined = gap_us <= _JOINT_SAMPLES * spacing_us + 1000
        self.run = len(block.samples) + (self.run if joined else 0)
        self.longest = max(self.longest, self.run)
        self.end_us = block.end_us
        self.blocks.append(block)

    @property
    def rate_hz(self) -> float:
        """Samples per second of its blocks."""
        return self.blocks[0].rate_hz

    @property
    def is_known(self) -> bool:
        """True if more blocks would not change the length of a window."""
        enough = length_for(self.rate_hz, 1 << 30) if self.blocks else 1
        return self.longest >= enough or len(self.blocks) >= FIRST_BLOCKS


class ConditionedWindow(NamedTuple):
    """A window and its conditions [K]; NaN: not known."""

    window: BlockWindow
    conditions: NDArray[np.float64]


@dataclass(slots=True)
class WaveTraining(Attempt):
    """Progress of an asset. closed: why its windows are not learned now; see `Training`.

    confirmed: the next windows that are learned despite its alarm; an operator calls it healthy.
    conditions: that its features may depend on, the speed first; lacks: why a window without
    speed was not kept, of the last one.
    """

    asset: PlantAsset
    inputs: tuple[str, ...]
    conditions: tuple[InputSpec, ...]
    condition_rows: BlockRows
    heads: list[Head] = field(init=False)
    rows: HealthyRows = field(default_factory=lambda: HealthyRows(KEEP_ROWS))
    recipe: WaveRecipe | None = None  # what is measured
    _channels: list[int] = field(default_factory=list)  # the inputs that deliver
    _windows: WaveWindows | None = None
    seconds: float = 0.0  # the time that its windows stand for
    n: int = 0
    _gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))
    last_us: int = 0
    closed: str = ""
    confirmed: int = 0
    lacks: str = ""

    def __post_init__(self) -> None:
        self.heads = [Head() for _ in self.inputs]

    @property
    def spacing_s(self) -> float:
        """Seconds between two windows that were kept, on average; 0 if there are none."""
        return self.seconds / self.n if self.n else 0.0

    @property
    def length_s(self) -> float:
        """Seconds of a window."""
        specs = self.recipe.inputs if self.recipe else ()
        return max((spec.length / spec.rate_hz for spec in specs), default=0.0)

    def measures_as(self, other: WaveTraining) -> bool:
        """True if the features of both are of the same conditions and of the same bearing."""
        alike = measured_at(self.asset) == measured_at(other.asset)
        return alike and self.conditions == other.conditions

    # -- windows ------------------------------------------------------------------------------

    def windows_of(self, blocks: Iterable[tuple[int, TensorBlock]]) -> list[ConditionedWindow]:
        """Accept blocks by input; returns the windows whose conditions are known now."""
        found = [window for each in blocks for window in self.accept_block(*each)]
        return self._conditioned(found)

    def _conditioned(
        self, windows: Sequence[BlockWindow], *, ended: bool = False
    ) -> list[ConditionedWindow]:
        due, rows = self.condition_rows.accept_windows(windows, ended=ended)
        return [ConditionedWindow(*each) for each in zip(due, rows, strict=True)]

    def accept_block(self, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        """Accept a block of an input; returns the windows that it completes."""
        if self._windows is not None:
            yield from self._cut(channel, block)
            return
        self.heads[channel].add(block)
        if self.heads[channel].is_known and self._decide():
            yield from self._cut_first()

    def decide_now(self) -> None:
        """No more blocks follow: the few that came decide, and are kept."""
        found: list[BlockWindow] = []
        if self._windows is None and any(head.blocks for head in self.heads) and self._decide():
            found += self._cut_first()
        for each in self._conditioned(found, ended=True):
            self.keep(*each)

    def keep(self, window: BlockWindow, conditions: NDArray[np.float64]) -> None:
        """Keep the features of a healthy window, and its conditions [K]."""
        if self.recipe is not None and self.recipe.speed_hz:
            self.lacks = _lacks(self.conditions[0].name, float(conditions[0]))
            if self.lacks:
                return
        apart_us = window.end_us - self.last_us
        self.confirmed = max(0, self.confirmed - 1)
        if self.recipe is None or (
            self.n > _DENSE_ROWS and apart_us < _APART * self.length_s * US_PER_S
        ):
            return
        self._count(apart_us / US_PER_S if self.last_us else self.length_s)
        samples = [window.samples[n][None] for n in range(len(self._channels))]
        features = self.recipe.measure(samples, conditions[None])[0]
        row = Row(window.end_us, np.concatenate([features, conditions]))
        self.rows.add(row, _MAX_BLOCKS)
        self.n, self.last_us = self.n + 1, window.end_us

    def _count(self, apart_s: float) -> None:
        """Count the time of a window; a stop of the machine is not counted, a usual pause is."""
        pause_s = _APART_MOST * self.length_s
        if apart_s > pause_s:
            self._gaps_s.append(apart_s)
            pause_s = _USUAL * float(np.median(self._gaps_s))
        self.seconds += min(apart_s, pause_s)

    def take_back(self, since_us: int) -> None:
        """Remove the windows that end after `since_us`, as far as they are still kept apart."""
        gone = len(self.rows.take_back(since_us))
        self.seconds -= gone * self.spacing_s
        self.n -= gone

    def shift_clock(self, step_us: int) -> None:
        """Shift its times; the gateway's clock was moved."""
        self.last_us += step_us if self.last_us else 0
        self.rows.shift_clock(step_us)
        self.condition_rows.shift_clock(_ONLY, step_us)
        if self._windows is not None:
            self._windows.shift_clock(0, step_us)

    def reset_clock(self) -> None:
        """Its clock was set back."""
        self.last_us = 0
        self.condition_rows.forget(_ONLY)

    def _cut(self, channel: int, block: TensorBlock) -> Iterator[BlockWindow]:
        if self._windows is not None and channel in self._channels:
            yield from self._windows.accept_block(0, self._channels.index(channel), block)

    def _cut_first(self) -> Iterator[BlockWindow]:
        """The windows in the blocks from which they were decided."""
        waiting = [(n, block) for n, head in enumerate(self.heads) for block in head.blocks]
        for head in self.heads:
            head.blocks.clear()
        for channel, block in sorted(waiting, key=lambda pair: pair[1].end_us):
            yield from self._cut(channel, block)

    def _decide(self) -> bool:
        """Decide what is measured, when all inputs have delivered; False: not yet."""
        heard = [n for n, head in enumerate(self.heads) if head.blocks]
        most = max(len(self.heads[n].blocks) for n in heard)
        if len(heard) < len(self.heads) and most < FIRST_BLOCKS:
            return False
        specs = tuple(self._spec(n) for n in heard)
        short = [spec.name for spec in specs if not spec.length]
        if short:
            self.failure = f"blocks of {', '.join(short)} are too short: 256 samples are needed"
            for head in self.heads:
                head.blocks.clear()
            return False
        lengths = tuple(spec.length for spec in specs)
        rates = tuple(spec.rate_hz for spec in specs)
        self.failure, self._channels = "", heard
        measured = measured_at(self.asset)
        self.recipe = WaveRecipe("", specs, conditions=self.conditions, **measured)
        self._windows = WaveWindows(lengths, lengths[0] // 2, rates)
        return True

    def _spec(self, channel: int) -> InputSpec:
        name, head = self.inputs[channel], self.heads[channel]
        return InputSpec(
            name,
            unit=self.asset.signals[name].config.unit,
            kind=Kind.WAVEFORM,
            rate_hz=head.rate_hz,
            length=length_for(head.rate_hz, head.longest),
        )


@dataclass(frozen=True, slots=True)
class FoundWaves:
    """Windows of assets with their conditions, for the gate."""

    row: NDArray[np.intp]
    windows: list[ConditionedWindow]

    def span(self) -> Span:
        """Their rows and times."""
        start_us = np.array([each.window.start_us for each in self.windows], np.int64)
        end_us = np.array([each.window.end_us for each in self.windows], np.int64)
        return Span(self.row, start_us, end_us)

    def where(self, which: NDArray[np.bool_]) -> FoundWaves:
        """Only those for which `which` is true."""
        kept = [window for window, ok in zip(self.windows, which, strict=True) if ok]
        return FoundWaves(self.row[which], kept)


def _lacks(speed: str, value: float) -> str:
    """Why a window with this speed is not learned; empty if it is."""
    if np.isnan(value):
        return f"no value of {speed}"
    return "" if value > 0 else f"{speed} is {value:g}"
