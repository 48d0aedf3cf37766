"""The first stage of the path: orders, scales and dates values, and checks their range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER, US_PER_S, StepWatch
from edge_agent.config.schema import TimeOf, Uncertain
from edge_agent.signals.bindings import Binding, Bindings, Outage
from edge_agent.signals.conditions import Conditions
from edge_agent.signals.input_kinds import INPUT_KINDS, PICTURE_KINDS, InputKind, signs_of_life
from edge_agent.signals.quality import QualityWatch
from edge_agent.signals.scaling import Scaling
from edge_agent.signals.tacho import Tachos
from edge_agent.signals.window_set import BAD, MISSING, UNCERTAIN
from edge_agent.tables import Table, column
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Config
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.values import TensorBlock


_UNCERTAIN_MARK: Final = {Uncertain.USE: UNCERTAIN, Uncertain.HOLD: MISSING, Uncertain.BAD: BAD}
_CLOCK_EVERY_S: Final = 0.25
_DRIFT_US: Final = 10 * US_PER_S
_RECENT_US: Final = 5 * US_PER_S
_STEP_BACK_S: Final = 10.0  # if only old values arrive for so long, the source's clock was set back
_KEPT_US: Final = 10 * US_PER_S  # a value that is so much later than usual was kept somewhere
_RETURN_S: Final = 5.0  # after an outage: the time for what was kept meanwhile to begin to arrive
_NOBODY: Final = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Observed:
    """The values of one turn.

    values: in the order of time, in the units of their signals, out of range marked as bad; seen:
    the same, and one value per block, as signs of life. asset_now_us: event time by plant asset
    [A]; known_us: the same, but it stands still while every source of the asset is disconnected:
    values of that time may still come [A]; monotonic_s: the gateway's clock. is_clock_due: True if
    it is time to check for changes by time alone. step_us: step of the gateway's clock before this
    turn.
    clock_reset: by number of the plant asset, the time to which its source's clock was set back.
    from_future: the signals of values refused because their source's clock is too far ahead.
    """

    values: Columns
    blocks: Sequence[TensorBlock]
    seen: Columns
    asset_now_us: NDArray[np.int64]
    known_us: NDArray[np.int64]
    monotonic_s: float
    is_clock_due: bool
    step_us: int = 0
    clock_reset: dict[int, int] = field(default_factory=dict)
    from_future: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def reset_assets(self) -> NDArray[np.intp]:
        """The numbers of the plant assets in `clock_reset` [k]."""
        return np.array(list(self.clock_reset), np.intp)


class EventTime(Table):
    """Event time by asset: the source's clock, continued by the gateway's while it is silent.

    since_us: since when each asset is monitored [A]. moves: assets whose time is the gateway's, so
    that it moves with the gateway's clock [A]. back_us: when values came that were kept somewhere,
    as in an outage of a source; windows of before that close now are late [A]. away_us: when the
    present outage began [A]. In a recording (not `live`) time stops without values.
    """

    _event_us = column(np.int64)
    since_us = column(np.int64)
    moves = column(np.bool_)
    back_us = column(np.int64, NEVER)
    _is_away = column(np.bool_)  # every source of the asset is disconnected
    away_us = column(np.int64)  # since when
    _returns_s = column(np.float64, -np.inf)  # until when its values may begin to arrive
    _begun = column(np.bool_)
    _arrived_s = column(np.float64)
    _behind_s = column(np.float64, np.inf)  # since when only old values arrived

    def __init__(self, *, live: bool) -> None:
        super().__init__()
        self._live = live

    def add_asset(self, now_us: int, monotonic_s: float, *, moves: bool) -> None:
        """Add one asset."""
        row = self.grow()
        self.moves[row] = moves
        self._event_us[row] = self.since_us[row] = now_us if self._live else NEVER
        self._arrived_s[row] = monotonic_s

    def follow(
        self, asset: NDArray[np.intp], time_us: NDArray[np.int64], monotonic_s: float
    ) -> NDArray[np.intp]:
        """Accept the assets [n] and times [n] of values, in the order of time.

        Returns the assets [k] whose clock was set back, as these values show: their time starts
        again from these values; otherwise all values would be late until the old time is reached.
        A few old values (a device that delivers stored values) do not count.
        """
        if self._live:
            self._note_return(asset, time_us, monotonic_s)
        past = (time_us < self._event_us[asset]) & self._begun[asset]
        found = _NOBODY
        if self._live and past.any():
            found = self._reset_clocks(asset, time_us, past, monotonic_s)
        else:
            self._behind_s[asset] = np.inf
        fresh = ~self._begun[asset]
        if fresh.any():
            # The gateway's clock was only a substitute: from now on the source's own is used.
            first = asset[fresh][::-1]
            self._event_us[first] = self.since_us[first] = time_us[fresh][::-1]
            self._begun[first] = True
        self._event_us[asset] = np.maximum(self._event_us[asset], time_us)
        self._arrived_s[asset] = monotonic_s
        self._returns_s[asset] = -np.inf
        return found

    def set_away(self, is_away: NDArray[np.bool_], monotonic_s: float) -> None:
        """Set which assets have no connected source [A]."""
        now_us, before = self.now_us(monotonic_s), self._is_away.copy()
        begun, ended = is_away & ~before, before & ~is_away
        self.away_us[begun] = now_us[begun]
        self.back_us[ended] = np.maximum(self.back_us, now_us)[ended]
        self._returns_s[ended] = monotonic_s + _RETURN_S
        self._is_away[:] = is_away

    def _note_return(
        self, asset: NDArray[np.intp], time_us: NDArray[np.int64], monotonic_s: float
    ) -> None:
        """Note which assets have values that were kept somewhere: they are behind their clock."""
        now_us = self.now_us(monotonic_s)
        kept = (now_us[asset] - time_us > _KEPT_US) | self._is_away[asset]
        if kept.any():
            back = asset[kept]
            self.back_us[back] = np.maximum(self.back_us[back], now_us[back])

    def _reset_clocks(
        self,
        asset: NDArray[np.intp],
        time_us: NDArray[np.int64],
        past: NDArray[np.bool_],
        monotonic_s: float,
    ) -> NDArray[np.intp]:
        """The assets [k] from which only old values arrived for too long."""
        old = asset[past]
        self._behind_s[old] = np.minimum(self._behind_s[old], monotonic_s)
        self._behind_s[asset[time_us > self._event_us[asset]]] = np.inf
        found = np.unique(old[monotonic_s - self._behind_s[old] > _STEP_BACK_S])
        self._begun[found] = False
        self._behind_s[found] = np.inf
        self.back_us[found] = self.away_us[found] = NEVER
        return found

    def shift_clock(self, step_us: int) -> None:
        """Shift the times of the assets that move with the gateway's clock."""
        self._event_us[self.moves & (self._event_us > NEVER)] += step_us
        self.since_us[self.moves & (self.since_us > NEVER)] += step_us
        self.away_us[self.moves] += step_us
        self.back_us[self.moves & (self.back_us > NEVER)] += step_us

    def now_us(self, monotonic_s: float) -> NDArray[np.int64]:
        """Event time of each asset now, [A]."""
        if not self._live:
            return self._event_us.copy()
        silent_us = ((monotonic_s - self._arrived_s) * US_PER_S).astype(np.int64)
        now_us: NDArray[np.int64] = self._event_us + np.maximum(silent_us, 0)
        return now_us

    def known_us(self, now_us: NDArray[np.int64], monotonic_s: float) -> NDArray[np.int64]:
        """`now_us` [A], but the time of the newest value for assets whose values may be late [A].

        From the begin of an outage until the values after it arrive.
        """
        waits = self._is_away | (self._returns_s > monotonic_s)
        if not waits.any():
            return now_us
        return np.where(waits, np.maximum(self._event_us, self.away_us), now_us)


class Acceptance(Table):
    """Accepts the values of all signals of a plant; rows are signals.

    live: values arrive in real time, so time advances with the clock also without values, and a
    source clock that is ahead is refused; a recording has only its own time. input_kinds: how a
    block becomes one number.
    """

    _asset_of = column(np.intp)
    _source_of = column(np.intp)

    def __init__(
        self,
        config: Config,
        *,
        live: bool,
        input_kinds: Mapping[str, InputKind] = INPUT_KINDS,
    ) -> None:
        super().__init__()
        self._input_kinds = {**PICTURE_KINDS, **input_kinds}
        self.watch = QualityWatch()
        self.time = EventTime(live=live)
        self.bindings = Bindings(self.watch, Conditions(live=live))
        self._config = config
        self._live = live
        self._scaling = Scaling()
        self._tachos = Tachos()
        self._groups_by_source: dict[str, int] = {}
        self._max_future_us = round(config.tuning.max_future * US_PER_S)
        self._steps = StepWatch()
        self._clock_s = 0.0
        self.asset_now_us = self.time.now_us(0.0)  # as of the last turn [A]
        self.known_us = self.asset_now_us
        self._sources: dict[str, int] = {}  # by name: its number
        self._down: frozenset[str] = frozenset()
        self._judged_links = self._down, 0

    @property
    def asset_of(self) -> NDArray[np.intp]:
        """The number of the plant asset of each signal [S]."""
        return self._asset_of

    @property
    def moves(self) -> NDArray[np.bool_]:
        """True for each plant asset [A] whose time is the gateway's."""
        return self.time.moves

    def event_us(self, asset: PlantAsset) -> int:
        """Event time of an asset as of the last turn; 0 for one that is newer."""
        known = asset.index < len(self.asset_now_us)
        return int(self.asset_now_us[asset.index]) if known else 0

    # -- what there is ------------------------------------------------------------------------

    def add_asset(self, asset: PlantAsset, now_us: int, monotonic_s: float) -> None:
        """Accept values of an asset's signals from now on; times: 0 in a recording."""
        named = {signal.source for signal in asset.signals.values()}
        judged = {self._config.traits_of(name).time_of for name in named}
        moves = not judged.isdisjoint({TimeOf.AUTO, TimeOf.ARRIVAL})
        self.time.add_asset(now_us, monotonic_s, moves=moves)
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
        self._source_of[row] = self._sources.setdefault(signal.source, len(self._sources))
        self._scaling.add(config)
        self._tachos.add(row, config)
        self.watch.add(
            signal.asset.index,
            stale_us=stale_us,
            stuck_us=stuck_us,
            valid=config.valid,
            uncertain=config.uncertain,
            finds_silence=source.finds_silence and config.stale_after is None,
            is_sampled=not source.reports_changes,
        )

    # -- links --------------------------------------------------------------------------------

    def follow_links(
        self, down: Collection[str], kept: Collection[str], monotonic_s: float
    ) -> list[Outage]:
        """Follow which sources are disconnected (`down`); returns the changes.

        kept: connected sources whose other side has kept what came during the outage.
        """
        down = frozenset(down)
        if self._judged_links == (down, len(self)):
            return []
        before, self._down = self._down, down
        self._judged_links = down, len(self)
        is_down = self._are_of(down)
        is_away = np.zeros(len(self.time), np.bool_)
        is_away[self._asset_of[is_down]] = True
        is_away[self._asset_of[~is_down]] = False  # the limits of its other sources go on
        self.time.set_away(is_away, monotonic_s)
        back, now_us = before - down, np.maximum(self.time.now_us(monotonic_s), self.time.back_us)
        return [
            one
            for one in (
                self._outage(down - before, now_us, is_down=True),
                self._outage(back & frozenset(kept), now_us, is_down=False, is_kept=True),
                self._outage(back - frozenset(kept), now_us, is_down=False),
            )
            if len(one.signals)
        ]

    def _are_of(self, sources: Collection[str]) -> NDArray[np.bool_]:
        """True for the signals [S] of these sources."""
        numbers = [self._sources[name] for name in sources if name in self._sources]
        return np.isin(self._source_of, numbers)

    def _outage(
        self,
        sources: Collection[str],
        now_us: NDArray[np.int64],
        *,
        is_down: bool,
        is_kept: bool = False,
    ) -> Outage:
        signals = np.flatnonzero(self._are_of(sources))
        return Outage(signals, now_us[self._asset_of[signals]], is_down, is_kept)

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
        if blocks and (speeds := self._tachos.speeds(blocks)) is not None:
            values = Columns.concat([values, speeds]).sorted_by_time()
        values, from_future = self._refuse_future(values, now_us)
        values = self.watch.refuse_out_of_range(values)
        seen = values
        if blocks:
            alive = signs_of_life(self._tachos.others(blocks), self._input_kinds)
            seen = Columns.concat([values, alive]).sorted_by_time()
            seen, more = self._refuse_future(seen, now_us)
            from_future = np.concatenate([from_future, more])
        reset = self._note_times(seen, monotonic_s) if seen.signal.size else {}
        self.asset_now_us = self.time.now_us(monotonic_s)
        self.known_us = self.time.known_us(self.asset_now_us, monotonic_s)
        return Observed(
            values,
            blocks,
            seen,
            self.asset_now_us,
            self.known_us,
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
        self.time.shift_clock(step_us)
        self.watch.shift_clock(step_us, self.moves)
        self.bindings.cuts.shift_clock(step_us, self.moves[self._asset_of])
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
