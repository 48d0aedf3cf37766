"""The first stage of the path: orders, scales and dates values, and checks their range."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S, StepWatch
from edge_agent.config.schema import TimeOf, Uncertain
from edge_agent.signals.conditions import Conditions
from edge_agent.signals.event_time import EventTime
from edge_agent.signals.input_kinds import INPUT_KINDS, InputKind, signs_of_life
from edge_agent.signals.quality import QualityWatch
from edge_agent.signals.router import Binding, Bindings
from edge_agent.signals.window_set import BAD, MISSING, UNCERTAIN
from edge_agent.tables import Table, column
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Config, Signal
    from edge_agent.plant import PlantAsset, PlantSignal
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


_UNCERTAIN_MARK: Final = {Uncertain.USE: UNCERTAIN, Uncertain.HOLD: MISSING, Uncertain.BAD: BAD}
_CLOCK_EVERY_S: Final = 0.25
_DRIFT_US: Final = 10 * US_PER_S
_RECENT_US: Final = 5 * US_PER_S


@dataclass(frozen=True, slots=True)
class Observed:
    """The values of one turn.

    values: in the order of time, in the units of their signals, out of range marked as bad; seen:
    the same, and one value per block, as signs of life. asset_now_us: event time by plant asset
    [A]; monotonic_s: the gateway's clock. is_clock_due: True if it is time to check for changes by
    time alone. step_us: step of the gateway's clock before this turn.
    clock_reset: by number of the plant asset, the time to which its source's clock was set back.
    from_future: the signals of values refused because their source's clock is too far ahead.
    """

    values: Columns
    blocks: Sequence[TensorBlock]
    seen: Columns
    asset_now_us: NDArray[np.int64]
    monotonic_s: float
    is_clock_due: bool
    step_us: int = 0
    clock_reset: dict[int, int] = field(default_factory=dict)
    from_future: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def reset_assets(self) -> NDArray[np.intp]:
        """The numbers of the plant assets in `clock_reset` [k]."""
        return np.array(list(self.clock_reset), np.intp)


class _AssetTable(Table):
    """moves: assets whose time is the gateway's, so that it moves with the gateway's clock."""

    moves = column(np.bool_)


class Acceptance(Table):
    """Accepts the values of all signals of a plant; rows are signals.

    live: values arrive in real time, so time advances with the clock also without values, and a
    source clock that is ahead is refused; a recording has only its own time. input_kinds: how a
    block becomes one number.
    """

    _asset_of = column(np.intp)

    def __init__(
        self,
        config: Config,
        *,
        live: bool,
        input_kinds: Mapping[str, InputKind] = INPUT_KINDS,
    ) -> None:
        super().__init__()
        self._input_kinds = input_kinds
        self.watch = QualityWatch()
        self.time = EventTime(live=live)
        self.bindings = Bindings(self.watch, Conditions(live=live))
        self._config = config
        self._live = live
        self._scaling = Scaling()
        self._assets = _AssetTable()
        self._groups_by_source: dict[str, int] = {}
        self._max_future_us = round(config.tuning.max_future * US_PER_S)
        self._steps = StepWatch()
        self._clock_s = 0.0
        self.asset_now_us = self.time.now_us(0.0)  # as of the last turn [A]

    @property
    def moves(self) -> NDArray[np.bool_]:
        """True for each plant asset [A] whose time is the gateway's."""
        return self._assets.moves

    def event_us(self, asset: PlantAsset) -> int:
        """Event time of an asset as of the last turn; 0 for one that is newer."""
        known = asset.index < len(self.asset_now_us)
        return int(self.asset_now_us[asset.index]) if known else 0

    # -- what there is ------------------------------------------------------------------------

    def add_asset(self, asset: PlantAsset, now_us: int, monotonic_s: float) -> None:
        """Accept values of an asset's signals from now on; times: 0 in a recording."""
        self.time.add(now_us, monotonic_s)
        named = {signal.source for signal in asset.signals.values()}
        judged = {self._config.traits_of(name).time_of for name in named}
        row = self._assets.grow()
        self._assets.moves[row] = any(one in {TimeOf.AUTO, TimeOf.ARRIVAL} for one in judged)
        for signal in asset.signals.values():
            self._add_signal(signal)

    def _add_signal(self, signal: PlantSignal) -> None:
        config = signal.config
        source = self._config.traits_of(signal.source)
        stale_s = config.stale_after or source.silence_s
        stale_us = None if stale_s is None else round(stale_s * US_PER_S)
        stuck_us = None if config.stuck_after is None else round(config.stuck_after * US_PER_S)
        group = 0
        if source.reports_changes:
            group = self._groups_by_source.setdefault(
                signal.source, len(self._groups_by_source) + 1
            )
        self.bindings.append(Binding(stale_us, group, _UNCERTAIN_MARK[config.uncertain]))
        row = self.grow()
        self._asset_of[row] = signal.asset.index
        self._scaling.add(config)
        self.watch.add(
            signal.asset.index,
            stale_us=stale_us,
            stuck_us=stuck_us,
            valid=config.valid,
            uncertain=config.uncertain,
        )

    # -- a turn -------------------------------------------------------------------------------

    def accept(
        self, values: Columns, blocks: Sequence[TensorBlock], now_us: int, monotonic_s: float
    ) -> Observed:
        """Accept the values of a turn, ordered by time, and its blocks.

        now_us, monotonic_s: the gateway's clocks; 0 in a recording.
        """
        step_us = self._steps.step_us(now_us, monotonic_s) if self._live else 0
        if step_us:
            values = self._shift_clock(values, step_us, now_us)
        if values.status.any():
            values = self.watch.without_retained(values)
        if self._scaling.is_used:
            values = self._scaling.scale_values(values)
            blocks = self._scaling.scale_blocks(blocks)
        values, from_future = self._refuse_future(values, now_us)
        values = self.watch.refuse_out_of_range(values)
        seen = values
        if blocks:
            alive = signs_of_life(blocks, self._input_kinds)
            seen = Columns.concat([values, alive]).sorted_by_time()
            seen, more = self._refuse_future(seen, now_us)
            from_future = np.concatenate([from_future, more])
        reset = self._note_times(seen, monotonic_s) if seen.signal.size else {}
        self.asset_now_us = self.time.now_us(monotonic_s)
        return Observed(
            values,
            blocks,
            seen,
            self.asset_now_us,
            monotonic_s,
            self._is_clock_due(monotonic_s),
            step_us,
            reset,
            from_future,
        )

    def _refuse_future(self, values: Columns, now_us: int) -> tuple[Columns, NDArray[np.int32]]:
        """Refuse values of a source clock too far ahead: they would close all later windows."""
        limit_us = now_us + self._max_future_us
        if not self._live or not values.signal.size or values.time_us[-1] <= limit_us:
            return values, np.zeros(0, np.int32)
        # The source corrects such a drifted clock slowly.
        moves = self.moves[self._asset_of[values.signal]]
        future = values.time_us > limit_us + _DRIFT_US * moves
        return values.where(~future), values.signal[future]

    def _shift_clock(self, values: Columns, step_us: int, now_us: int) -> Columns:
        """Shift everything that uses the gateway's time; its clock was moved."""
        self.time.shift_clock(step_us, self.moves)
        self.watch.shift_clock(step_us, self.moves)
        # Values just before the step have old time stamps.
        shifted_us = values.time_us + step_us
        old = self.moves[self._asset_of[values.signal]]
        old &= np.abs(shifted_us - now_us) < np.abs(values.time_us - now_us)
        old &= np.abs(shifted_us - now_us) < _RECENT_US
        time_us = np.where(old, shifted_us, values.time_us)
        return Columns(values.signal, time_us, values.value, values.status).sorted_by_time()

    def _note_times(self, seen: Columns, monotonic_s: float) -> dict[int, int]:
        """Follow event time; returns the assets whose clock was set back, and to which time."""
        asset = self._asset_of[seen.signal]
        found = self.time.follow(asset, seen.time_us, monotonic_s)
        if not len(found):
            return {}
        self.watch.reset_clock(found)
        return {one: int(seen.time_us[asset == one].max()) for one in found.tolist()}

    def _is_clock_due(self, monotonic_s: float) -> bool:
        if self._live and monotonic_s - self._clock_s < _CLOCK_EVERY_S:
            return False
        self._clock_s = monotonic_s
        return True
