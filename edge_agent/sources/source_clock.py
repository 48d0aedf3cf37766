"""Compares one source's time stamps with the gateway's clock, and corrects the time of each value.

A right clock's stamps pass unchanged. A clock with a steady offset is shifted by it, so that order
and spacing of its stamps remain; stamps that do not change or drift are replaced by the server's,
or by the time of arrival. The result never steps back with the source's clock.

Old stamps do not prove a wrong clock: a device may deliver stored values, and an OPC UA node has
the time of its last change. Such stamps run faster than time or occur once; those of a wrong clock
run at its pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER, US_PER_S, StepWatch
from edge_agent.config.schema import TimeOf
from edge_agent.messages import LinkState
from edge_agent.sources.clock_report import ClockReport, Wrong
from edge_agent.tables import Table, column
from edge_agent.values import SEVERITY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.messages import Link
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant

    Mask = NDArray[np.bool_]
    Times = NDArray[np.int64]

_SLACK_US: Final = 5 * US_PER_S  # transport, jitter, values out of order
_ALIKE_US: Final = 2 * US_PER_S  # offsets of one asset's signals within this share one
_CONFIRM_S: Final = 5.0
_CONFIRM_BEHIND_S: Final = 10.0
_SAMPLES: Final = 4
_SAMPLES_AHEAD: Final = 2  # no correct stamp is ahead
_PACE: Final = (0.6, 1.5)  # of stamps that advance like time
_HOLD_S: Final = 60.0  # stamps that did not change are not trusted for this long
_SLEW: Final = 0.05  # fraction of the elapsed time by which events that are ahead are moved back
_LEAST_BEHIND_S: Final = 60.0
_REPORT_S: Final = 1.0
_SOUND_REPORT_S: Final = 10.0  # while no stamp is doubtful: only the metric changes
_NEVER_SET_US: Final = 631_152_000 * US_PER_S  # 1990: no device stores values for this long


@dataclass(frozen=True, slots=True)
class _Doubts:
    """The newest stamp of signals [k] that does not continue those before it.

    follow_us: the stamp if it had continued; ahead, behind: beyond the permitted limit.
    """

    signal: NDArray[np.integer]
    raw_us: Times
    follow_us: Times
    ahead: Mask
    behind: Mask


class SourceClock(Table):
    """The state of each signal of the plant, in columns that grow; see the module.

    raw_us: the newest stamp; shift_us: how far a corrected clock is ahead (behind: < 0);
    by_arrival: the stamps cannot be used. anchor_*: the start of doubtful stamps.
    """

    _raw_us = column(np.int64, NEVER)
    _value = column(np.float64, np.nan)
    _moved_s = column(np.float64)
    _shift_us = column(np.int64)
    _by_arrival = column(np.bool_)
    _held_s = column(np.float64, -np.inf)
    _doubted = column(np.bool_)
    _anchor_s = column(np.float64)
    _anchor_us = column(np.int64)
    _offset_us = column(np.int64)  # the largest since the anchor
    _samples = column(np.int64)
    _asset = column(np.intp)
    _special = column(np.bool_)  # not for the fast path

    def __init__(  # noqa: PLR0913, PLR0917 (the parts of the source that it uses)
        self,
        source: str,
        time_of: TimeOf,
        plant: Plant,
        link: Link,
        metrics: Metrics,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._time_of = time_of
        self._plant = plant
        self._clock = clock
        limit_s: float = plant.tuning.max_future
        self._ahead_us = round(limit_s * US_PER_S)
        self._behind_us = round(max(limit_s, _LEAST_BEHIND_S) * US_PER_S)
        self._report = ClockReport(source, time_of, link, metrics, clock, on_change)
        self._asset_shift_us = np.zeros(0, np.int64)
        self._steps = StepWatch()
        self._stepped_us = 0  # total steps of the gateway's clock
        self._report_s = -np.inf
        self._is_settled = False  # as of the last report: no clock is, or was just, wrong

    def moved_us(self, now_us: int) -> int:
        """The total by which all event times were moved with the gateway's clock."""
        self._follow_gateway(now_us, self._clock.monotonic_s())
        return self._stepped_us if self._time_of in {TimeOf.AUTO, TimeOf.ARRIVAL} else 0

    def shown(self, state: LinkState, detail: str) -> tuple[LinkState, str]:
        """State and detail of the link: a connected link with a wrong clock is degraded."""
        trouble = self._report.trouble
        if not trouble or state not in {LinkState.UP, LinkState.DEGRADED}:
            return state, detail
        # A good connection has no detail of its own to keep.
        return LinkState.DEGRADED, trouble if state is LinkState.UP else f"{detail}; {trouble}"

    def stamp(  # noqa: PLR0913, PLR0917 (columns)
        self,
        signal: NDArray[np.integer],
        time_us: Times,
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
        arrival_us: int,
        server_us: Times | None = None,
        first: Mask | None = None,
    ) -> Times:
        """Event times [n] of values [n] that arrived at `arrival_us`, in microseconds.

        time_us: the source's stamps; 0 or `arrival_us` if there is none. server_us: a second
        clock's, 0 if there is none. first: values that existed before the subscription.
        """
        now_s = self._clock.monotonic_s()
        self._follow_gateway(arrival_us, now_s)
        if self._time_of is TimeOf.ARRIVAL:
            return np.full(len(time_us), arrival_us, np.int64)
        if (time_us == arrival_us).all():
            return time_us
        self._cover_plant(signal)
        passed = self._pass_sound(signal, time_us, value, arrival_us, now_s)
        if not passed:
            stamped = (time_us > 0) & (time_us != arrival_us)
            sound = (status >> SEVERITY_SHIFT) <= 1
            proof = stamped & sound & np.isfinite(value)
            if first is not None:
                proof &= ~first
                told = first & stamped & (time_us <= arrival_us + self._ahead_us)
                self._note_first(signal[told], time_us[told], now_s)
            if proof.any():
                self._judge(signal[proof], time_us[proof], value[proof], arrival_us, now_s)
            time_us = self._times(signal, time_us, stamped, arrival_us, server_us)
        every_s = _SOUND_REPORT_S if passed and self._is_settled else _REPORT_S
        if now_s - self._report_s >= every_s:
            self._report_s = now_s
            self._tell(arrival_us, now_s)
        return time_us

    # -- columns ------------------------------------------------------------------------------

    def _cover_plant(self, signal: NDArray[np.integer]) -> None:
        """Grow the columns for signals that the plant has discovered."""
        if len(signal) and int(signal.max()) >= self._raw_us.size:
            self.cover(max(len(self._plant.signals), int(signal.max()) + 1))
            known = self._plant.signals
            self._asset[: len(known)] = [one.asset.index for one in known]
            shifts = np.zeros(int(self._asset.max()) + 1, np.int64)
            shifts[: len(self._asset_shift_us)] = self._asset_shift_us
            self._asset_shift_us = shifts

    # -- usual stamps ---------------------------------------------------------------------------

    def _pass_sound(
        self,
        signal: NDArray[np.integer],
        time_us: Times,
        value: NDArray[np.float64],
        now_us: int,
        now_s: float,
    ) -> bool:
        """Record the stamps if all of them continue as expected; False if one does not."""
        if (
            (time_us > now_us + self._ahead_us).any()
            or (time_us < now_us - self._behind_us).any()
            or (time_us <= self._raw_us[signal]).any()
            or self._special[signal].any()
        ):
            return False
        self._raw_us[signal], self._value[signal] = time_us, value
        self._moved_s[signal] = now_s
        return True

    def _note_first(self, signal: NDArray[np.integer], time_us: Times, now_s: float) -> None:
        self._raw_us[signal] = np.maximum(self._raw_us[signal], time_us)
        self._moved_s[signal] = now_s

    # -- doubtful stamps ------------------------------------------------------------------------

    def _judge(
        self,
        signal: NDArray[np.integer],
        time_us: Times,
        value: NDArray[np.float64],
        now_us: int,
        now_s: float,
    ) -> None:
        """Judge the newest stamp of each signal."""
        order = np.lexsort((time_us, signal))
        signal = signal[order]
        last = np.append(signal[1:] != signal[:-1], True)
        one, raw_us, value = signal[last], time_us[order][last], value[order][last]
        self._return_to_raw(one, raw_us, now_us, now_s)
        before_us, elapsed_s = self._raw_us[one], now_s - self._moved_s[one]
        known = before_us > NEVER
        event_us = raw_us - self._shift_us[one]
        elapsed_us = (elapsed_s * US_PER_S).astype(np.int64)
        ahead = event_us > now_us + self._ahead_us
        front_us = before_us - self._shift_us[one]
        goes_on = known & (raw_us <= before_us + elapsed_us + _SLACK_US) & (raw_us >= before_us)
        goes_on &= front_us <= now_us + self._ahead_us + _SLACK_US
        moved = ~known | (raw_us > before_us)
        back = known & (raw_us < before_us - _SLACK_US)
        stands = known & (raw_us == before_us) & (value != self._value[one])
        behind = moved & (event_us < now_us - self._behind_us)
        doubtful = (ahead & ~goes_on) | back | stands | behind
        doubtful &= ~self._adopt_siblings(one, raw_us, now_us, doubtful)
        sure = moved & ~doubtful
        self._believe(one[sure], raw_us[sure], ahead[sure], now_us, now_s)
        self._value[one] = value
        late = behind & doubtful  # perhaps stored by a device: passed unchanged
        self._raw_us[one[late]], self._moved_s[one[late]] = raw_us[late], now_s
        which = np.flatnonzero(doubtful)
        if len(which):
            # A value behind all before it continues at the time that they would have now.
            follow_us = np.where(back, front_us + elapsed_us, now_us)
            doubts = _Doubts(
                one[which], raw_us[which], follow_us[which], ahead[which], behind[which]
            )
            self._doubt(doubts, now_us, now_s)
        self._special[one] = self._doubted[one] | self._by_arrival[one] | (self._shift_us[one] != 0)

    def _return_to_raw(
        self, signal: NDArray[np.integer], raw_us: Times, now_us: int, now_s: float
    ) -> None:
        """A clock that was wrong and now shows the right time is trusted at once."""
        fits = np.abs(raw_us - now_us) <= _SLACK_US
        shifted = self._shift_us[signal] != 0
        front_us = self._raw_us[signal] - self._shift_us[signal]
        arrival = self._by_arrival[signal]
        shifted &= fits & (raw_us >= front_us - _SLACK_US) & ~arrival
        released = arrival & (now_s >= self._held_s[signal]) & (raw_us > self._raw_us[signal])
        released &= raw_us >= now_us - self._behind_us
        released &= raw_us <= now_us + _SLACK_US
        back = signal[shifted | released]
        self._settle(back, np.zeros(len(back), np.int64), NEVER)

    def _adopt_siblings(
        self, signal: NDArray[np.integer], raw_us: Times, now_us: int, doubtful: Mask
    ) -> Mask:
        """Doubtful stamps that match the offset of another signal of their asset use it."""
        shift_us = self._asset_shift_us[self._asset[signal]]
        fits = np.abs(raw_us - shift_us - now_us) <= _SLACK_US
        found: Mask = doubtful & fits & (shift_us != 0) & (shift_us != self._shift_us[signal])
        self._settle(signal[found], shift_us[found], raw_us[found])
        self._moved_s[signal[found]] = self._clock.monotonic_s()
        return found

    def _settle(self, signal: NDArray[np.integer], shift_us: Times, raw_us: Times | int) -> None:
        self._shift_us[signal], self._raw_us[signal] = shift_us, raw_us
        self._by_arrival[signal] = self._doubted[signal] = False

    def _believe(
        self, signal: NDArray[np.integer], raw_us: Times, ahead: Mask, now_us: int, now_s: float
    ) -> None:
        """Accept stamps that continue; those that drift too far ahead are moved back slowly."""
        self._doubted[signal] = False
        passed_s = np.minimum(now_s - self._moved_s[signal], 10.0)
        shift_us = self._shift_us[signal]
        excess_us = raw_us - shift_us - now_us
        slew_us = np.minimum(excess_us, (passed_s * _SLEW * US_PER_S).astype(np.int64))
        slews = (ahead | (shift_us != 0)) & (excess_us > US_PER_S)
        self._shift_us[signal] = shift_us + np.where(slews, np.maximum(slew_us, 1), 0)
        self._raw_us[signal], self._moved_s[signal] = raw_us, now_s
        self._offset_us[signal] = raw_us - now_us

    def _doubt(self, doubts: _Doubts, now_us: int, now_s: float) -> None:
        """Measure the pace of doubtful stamps; decide if it was observed for long enough."""
        signal, raw_us, ahead = doubts.signal, doubts.raw_us, doubts.ahead
        offset_us = raw_us - now_us
        fresh = ~self._doubted[signal]
        self._anchor(signal[fresh], raw_us[fresh], offset_us[fresh], now_s)
        again = signal[~fresh]
        self._samples[again] += 1
        self._offset_us[again] = np.maximum(self._offset_us[again], offset_us[~fresh])
        span_s = now_s - self._anchor_s[signal]
        long_s = np.where(doubts.behind, _CONFIRM_BEHIND_S, _CONFIRM_S)
        many = self._samples[signal] >= np.where(ahead, _SAMPLES_AHEAD, _SAMPLES)
        ripe = many & (span_s >= long_s)
        if not ripe.any():
            return
        pace = (raw_us - self._anchor_us[signal]) / US_PER_S / np.maximum(span_s, 1e-9)
        steady = ripe & (pace >= _PACE[0]) & (pace <= _PACE[1])
        # Slower: the clock does not change. Faster, or history in reverse order: late values, if
        # not ahead.
        useless = ripe & ~steady
        useless &= ahead | (np.abs(pace) < _PACE[0]) | (raw_us < _NEVER_SET_US)
        self._correct(signal[steady], raw_us[steady], doubts.follow_us[steady], now_us)
        self._by_arrival[signal[useless]] = True
        self._held_s[signal[useless]] = now_s + _HOLD_S
        rest = ripe & ~steady
        self._anchor(signal[rest], raw_us[rest], offset_us[rest], now_s)

    def _anchor(
        self, signal: NDArray[np.integer], raw_us: Times, offset_us: Times, now_s: float
    ) -> None:
        self._doubted[signal] = True
        self._anchor_s[signal], self._anchor_us[signal] = now_s, raw_us
        self._offset_us[signal], self._samples[signal] = offset_us, 1

    def _correct(
        self, signal: NDArray[np.integer], raw_us: Times, follow_us: Times, now_us: int
    ) -> None:
        """Shift by a steady offset. One asset's signals share it if their offsets are similar."""
        follows = (follow_us != now_us) & (follow_us <= now_us + self._ahead_us)
        shift_us = np.where(follows, raw_us - follow_us, self._offset_us[signal])
        asset = self._asset[signal]
        self._asset_shift_us[asset] = shift_us
        shared_us = self._asset_shift_us[asset]
        alike = np.abs(shared_us - shift_us) <= _ALIKE_US
        self._settle(signal, np.where(alike, shared_us, shift_us), raw_us)
        self._moved_s[signal] = self._clock.monotonic_s()

    # -- resulting times -------------------------------------------------------------------------

    def _times(
        self,
        signal: NDArray[np.integer],
        time_us: Times,
        stamped: Mask,
        now_us: int,
        server_us: Times | None,
    ) -> Times:
        if self._time_of is not TimeOf.AUTO:
            return np.where(stamped, time_us, now_us)
        shift_us = self._shift_us[signal]
        event_us = time_us - shift_us
        limit_us = now_us + self._ahead_us + np.where(shift_us != 0, _SLACK_US, 0)
        useless = self._by_arrival[signal] | (event_us > limit_us)
        if server_us is not None:
            # Not merely old: a server may repeat a source's stamp that does not change.
            sound = np.abs(server_us - now_us) <= _SLACK_US
            instead = np.where(sound, server_us, now_us)
            useless |= sound & (np.abs(shift_us) > self._ahead_us)
            return np.where(stamped & ~useless, event_us, np.where(stamped, instead, now_us))
        return np.where(stamped & ~useless, event_us, now_us)

    def _follow_gateway(self, now_us: int, now_s: float) -> None:
        """If the gateway's clock was moved: move all events with it; no stamp is to blame."""
        step_us = self._steps.step_us(now_us, now_s)
        if not step_us:
            return
        known = self._raw_us > NEVER
        self._shift_us[known] -= step_us
        self._offset_us[known] -= step_us
        self._special |= self._shift_us != 0
        self._asset_shift_us -= step_us
        self._stepped_us += step_us
        self._doubted[:] = False

    def _tell(self, now_us: int, now_s: float) -> None:
        """Report wrong clocks; `_offset_us` is kept for those."""
        known = self._raw_us > NEVER
        far = (np.abs(self._offset_us) > self._ahead_us) & (self._shift_us != 0)
        far |= self._by_arrival
        moved = np.abs(self._shift_us + self._stepped_us) <= _SLACK_US
        moved &= far & ~self._by_arrival & (self._stepped_us != 0)
        wrong = np.flatnonzero(far & ~moved)
        if not len(wrong):
            offsets = (self._raw_us[known] - now_us) / US_PER_S + (now_s - self._moved_s[known])
            blames_gateway = bool(moved.any())
            self._report.sound(offsets, blames_gateway=blames_gateway)
            self._is_settled = not (blames_gateway or self._report.trouble)
            return
        self._is_settled = False
        steady = (np.abs(self._shift_us) > self._ahead_us) & ~self._by_arrival
        offset_us = np.where(steady, self._shift_us, self._offset_us)
        worst = int(wrong[np.abs(offset_us[wrong]).argmax()])
        assets = np.unique(self._asset[wrong])
        of = np.unique(self._asset[known])
        self._report.wrong(
            Wrong(
                offset_s=float(offset_us[worst]) / US_PER_S,
                stands=bool(self._by_arrival[worst]),
                asset=self._plant.signals[worst].asset.id,
                assets=len(assets),
                of=max(len(of), len(assets)),
            )
        )
