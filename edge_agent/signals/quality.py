"""The newest value of every signal, and the times at which its quality changed.

The time of a change of quality is the time at which it was due by the source's clock, not the time
of its detection: a recording produces the same episodes as the live stream.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.config.schema import Uncertain
from edge_agent.signals.episodes import Batch, Episode, Problem, before_each, problems_of, switch
from edge_agent.signals.silence_limits import SilenceLimits
from edge_agent.status_codes import Severity, severity_of
from edge_agent.tables import Table, column
from edge_agent.values import BAD_OUT_OF_RANGE, RETAINED, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TURN_S: Final = 1.0  # a value may wait for this long before it is accepted
_LARGEST: Final = float(np.finfo(np.float32).max)


class QualityWatch(Table):
    """Columns over all signals; rows are only added."""

    time_us = column(np.int64, NEVER)
    value = column(np.float64, np.nan)
    status = column(np.uint32)
    problem = column(np.uint8)
    stuck = column(np.bool_)
    _changed_us = column(np.int64, NEVER)
    _stuck_us = column(np.int64, ENDLESS)  # as long as it is valid
    _stuck_after_us = column(np.int64, ENDLESS)
    # A value outside the range of float32 is no data for a model.
    _low = column(np.float64, -_LARGEST)
    _high = column(np.float64, _LARGEST)
    _uncertain_is_bad = column(np.bool_)
    _uncertain_is_held = column(np.bool_)
    _asset = column(np.intp)
    _arrival_s = column(np.float64, -np.inf)

    def __init__(self) -> None:
        super().__init__()
        self.silence = SilenceLimits()

    def add(  # noqa: PLR0913 (each names a different thing)
        self,
        asset: int,
        *,
        stale_us: int | None,
        stuck_us: int | None,
        valid: tuple[float, float] | None,
        uncertain: Uncertain = Uncertain.USE,
        finds_silence: bool = False,
        is_sampled: bool = False,
    ) -> None:
        """Add a signal of the asset with that number.

        finds_silence: `stale_us` is the least; the limit is found from the signal's own intervals.
        is_sampled: it reports every sample, not only changes.
        """
        row = self.grow()
        self._asset[row] = asset
        self.silence.add(stale_us, is_least=finds_silence, is_sampled=is_sampled)
        self._stuck_us[row] = ENDLESS if stuck_us is None else stuck_us
        self._uncertain_is_bad[row] = uncertain is Uncertain.BAD
        self._uncertain_is_held[row] = uncertain is Uncertain.HOLD
        self._stuck_after_us[row] = self._stuck_us[row]
        if valid is not None:
            self._low[row], self._high[row] = valid

    def refuse_out_of_range(self, values: Columns) -> Columns:
        """The same values; those outside their valid range are marked BadOutOfRange."""
        signal, value = values.signal, values.value
        outside = (value < self._low[signal]) | (value > self._high[signal])
        if not outside.any():
            return values
        status = np.where(outside, np.uint32(BAD_OUT_OF_RANGE), values.status)
        value = np.where(np.abs(value) > _LARGEST, np.nan, value)
        return Columns(signal, values.time_us, value, status)

    def update(self, values: Columns, monotonic_s: float = math.inf) -> list[Episode]:
        """Accept values (ordered by time); returns the changes of quality.

        monotonic_s: their time of arrival; without it, silence is measured with time stamps.
        """
        values = self._without_held(values)
        arrival_s = self._arrival_s[values.signal]
        if monotonic_s < math.inf:
            self._arrival_s[values.signal] = monotonic_s
        stale_us = self.silence.stale_us[values.signal]
        if self.silence.observed:
            stale_us = self.silence.observe(values.signal, values.time_us, self.time_us)
        if self._unremarkable(values, stale_us):
            return []
        order = np.argsort(values.signal, kind="stable")
        signal, time_us = values.signal[order], values.time_us[order]
        # Also of the same time: a server may change the quality of a value and keep its time stamp.
        newer = time_us >= self.time_us[signal]
        if not newer.all():
            order, signal, time_us = order[newer], signal[newer], time_us[newer]
        if not len(signal):
            return []
        value, status = values.value[order], values.status[order]
        problem = problems_of(value, status, self._uncertain_is_bad[signal])
        new = Batch(signal, time_us, value, status, problem)
        latest = Batch(signal, self.time_us, self.value, self.status, self.problem)
        old = before_each(new, latest)
        quiet_s = monotonic_s - arrival_s[order]
        episodes = self._gaps(old, new, quiet_s, stale_us[order]) + self._changes(old, new)
        for i in np.flatnonzero(new.problem != old.problem).tolist():
            if old.problem[i] == Problem.STALE:
                self.silence.observe_again(int(signal[i]), int(time_us[i] - old.time_us[i]))
            episodes += switch(new, i, Problem(old.problem[i]), Problem(new.problem[i]))
        self.time_us[signal], self.value[signal] = time_us, value
        self.status[signal], self.problem[signal] = status, new.problem
        episodes.sort(key=lambda e: e.at_us)
        return episodes

    def _unremarkable(self, values: Columns, stale_us: NDArray[np.int64]) -> bool:
        """True (the usual case) if these values start and end no problem; then stores them."""
        signal, time_us = values.signal, values.time_us
        passed_us = time_us - self.time_us[signal]
        if (
            values.status.any()
            or self.problem[signal].any()
            or np.isnan(values.value).any()
            or (passed_us <= 0).any()
            or (passed_us > stale_us).any()
            or (self._stuck_us[signal] < ENDLESS).any()
        ):
            return False
        # Ordered by time, so of several values of one signal the newest is written last.
        self.time_us[signal], self.value[signal] = time_us, values.value
        self.status[signal] = 0
        return True

    def without_retained(self, values: Columns) -> Columns:
        """The values without retained ones, which are not a sign of life.

        A retained value is shown, as uncertain, if a signal has no other value; it neither ends an
        alarm nor restarts the wait for the next value.
        """
        old = values.status == RETAINED
        if not old.any():
            return values
        retained = values.where(old)
        fills = self.time_us[retained.signal] == NEVER
        shown = retained.where(fills & np.isfinite(retained.value))
        self.time_us[shown.signal], self.value[shown.signal] = shown.time_us, shown.value
        self.status[shown.signal] = RETAINED
        return values.where(~old)

    def _without_held(self, values: Columns) -> Columns:
        """The values without uncertain ones that the last good value replaces.

        They are not a sign of life: a signal that only sends such values becomes stale.
        """
        if not values.status.any():
            return values
        held = self._uncertain_is_held[values.signal]
        held &= severity_of(values.status) == Severity.UNCERTAIN
        if not held.any():
            return values
        self.status[values.signal[held]] = values.status[held]
        return values.where(~held)

    def quality_of(self, signal: int) -> str:
        """The problem of a signal in small letters, else `uncertain` or `good`."""
        problem = self.problem_of(signal)
        if problem is Problem.REFUSED:
            return "bad"
        if problem is not Problem.NONE:
            return problem.name.lower()
        uncertain = severity_of(self.status[signal : signal + 1])[0] == Severity.UNCERTAIN
        return "uncertain" if uncertain else "good"

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """The gateway's clock was moved, and the times of these assets [A] with it."""
        mine = moves[self._asset]
        self.time_us[mine & (self.time_us > NEVER)] += step_us
        self._changed_us[mine & (self._changed_us > NEVER + 1)] += step_us

    def reset_clock(self, assets: NDArray[np.intp]) -> None:
        """Treat all later values as newer; the clock of these assets was set back."""
        mine = np.isin(self._asset, assets) & (self.time_us > NEVER)
        self.time_us[mine] = NEVER
        self._changed_us[mine] = NEVER + self.stuck[mine]  # known, so that being stuck can end

    def stop_stuck_check(self, asset: int, at_us: int = NEVER) -> list[Episode]:
        """From `at_us` on an asset is stopped on purpose: constant values are not a fault.

        Call it between the values before that time and those after it.
        """
        mine = np.flatnonzero((self._asset == asset) & (self._stuck_us < ENDLESS))
        found = []
        for row in mine.tolist():
            due_us = int(self._changed_us[row] + self._stuck_us[row])
            known = self._changed_us[row] > NEVER and self.problem[row] == Problem.NONE
            if known and not self.stuck[row] and due_us < at_us:
                found.append(self._episode(row, Problem.STUCK, due_us, begins=True))
                self.stuck[row] = True
            if self.stuck[row]:
                found.append(self._episode(row, Problem.STUCK, at_us, begins=False))
        self.stuck[mine] = False
        self._stuck_us[mine] = ENDLESS
        return found

    def start_stuck_check(self, asset: int, at_us: int) -> None:
        """The asset runs again from `at_us` on."""
        mine = (self._asset == asset) & (self._changed_us > NEVER)
        self._changed_us[mine] = np.maximum(self._changed_us[mine], at_us)
        mine = self._asset == asset
        self._stuck_us[mine] = self._stuck_after_us[mine]

    def _episode(self, row: int, problem: Problem, at_us: int, *, begins: bool) -> Episode:
        value, status = float(self.value[row]), int(self.status[row])
        return Episode(row, problem, begins, at_us, value, status)

    def overdue(
        self,
        asset_now_us: NDArray[np.int64],
        asset_since_us: NDArray[np.int64],
        monotonic_s: float = math.inf,
    ) -> list[Episode]:
        """Signals that became stale or stuck by now.

        asset_now_us: event time by asset [A]; asset_since_us: since when each asset is monitored
        [A]: the start of the silence of a signal that never had a value. monotonic_s: now; a signal
        with a recent value is behind the others, as after an outage or in a fast replay, but not
        silent. Without it, silence is measured with time stamps.
        """
        now_us = asset_now_us[self._asset]
        last_us = np.where(self.unseen(), asset_since_us[self._asset], self.time_us)
        good = (last_us > NEVER) & (self.problem == Problem.NONE)
        silent_s, stale_us = monotonic_s - self._arrival_s, self.silence.stale_us
        silent = silent_s >= stale_us / US_PER_S
        is_stale = good & silent & (now_us - last_us > stale_us)
        stale = np.flatnonzero(is_stale)
        self.problem[stale] = Problem.STALE
        stuck_us = self._changed_us + self._stuck_us
        # A signal that was stuck before it became silent was both, also without a check between.
        good &= ~is_stale | (stuck_us < last_us + stale_us)
        good &= (self._changed_us > NEVER) & ~self.stuck
        stuck = np.flatnonzero(good & (now_us > stuck_us))
        self.stuck[stuck] = True
        found = [
            self._episode(row, problem, int(since[row] + after[row]), begins=True)
            for rows, problem, since, after in (
                (stale, Problem.STALE, last_us, stale_us),
                (stuck, Problem.STUCK, self._changed_us, self._stuck_us),
            )
            for row in rows.tolist()
        ]
        return sorted(found, key=lambda episode: episode.at_us)

    def problem_after_us(self, signal: int) -> dict[str, int]:
        """After how long a signal is `stale` and `stuck`."""
        return {
            "stale": int(self.silence.stale_us[signal]),
            "stuck": int(self._stuck_after_us[signal]),
        }

    def arrival_s(self, signals: NDArray[np.intp] | list[int]) -> NDArray[np.float64]:
        """The arrival time of the last value of these signals, by the monotonic clock [k]."""
        return self._arrival_s[signals]

    def unseen(self) -> NDArray[np.bool_]:
        """Signals that never had a value, [S]."""
        return np.equal(self.time_us, NEVER)

    def problem_of(self, signal: int) -> Problem:
        """The present problem of a signal."""
        if self.problem[signal] == Problem.NONE and self.stuck[signal]:
            return Problem.STUCK
        return Problem(self.problem[signal])

    def has_problem(self) -> NDArray[np.bool_]:
        """Signals with any problem, [S]."""
        problem: NDArray[np.bool_] = self.problem != Problem.NONE
        return problem | self.stuck

    def _gaps(
        self, old: Batch, new: Batch, quiet_s: NDArray[np.float64], stale_us: NDArray[np.int64]
    ) -> list[Episode]:
        """Silences that no check detected while they lasted.

        quiet_s: time without a value by the gateway's clock [n]; stale_us: allowed time [n]. A jump
        of time stamps while values arrive is not a silence.
        """
        silent = (old.time_us > NEVER) & (new.time_us - old.time_us > stale_us)
        silent &= quiet_s > stale_us / US_PER_S - _TURN_S
        silent &= old.problem == Problem.NONE
        found = []
        for i in np.flatnonzero(silent).tolist():
            self.silence.observe_again(int(new.signal[i]), int(new.time_us[i] - old.time_us[i]))
            due_us = int(old.time_us[i] + stale_us[i])
            found += switch(old, i, Problem.NONE, Problem.STALE, due_us)
            found += switch(new, i, Problem.STALE, Problem.NONE)
        return found

    def _changes(self, old: Batch, new: Batch) -> list[Episode]:
        """Store the time of each signal's last change; returns those that were stuck until now."""
        changed = np.flatnonzero((new.value != old.value) | (old.time_us == NEVER))
        signal, time_us = new.signal[changed], new.time_us[changed]
        first = np.append(True, signal[1:] != signal[:-1])[: len(signal)]
        since_us = np.where(first, self._changed_us[signal], np.append(0, time_us)[:-1])
        stuck = (since_us > NEVER) & (time_us - since_us > self._stuck_us[signal])
        found = []
        for i in np.flatnonzero(stuck):
            row, at = int(signal[i]), int(changed[i])
            if not (first[i] and self.stuck[row]):
                due_us = int(since_us[i] + self._stuck_us[row])
                found += switch(old, at, Problem.NONE, Problem.STUCK, due_us)
            found += switch(new, at, Problem.STUCK, Problem.NONE)
        self._changed_us[signal] = time_us
        self.stuck[signal] = False
        return found
