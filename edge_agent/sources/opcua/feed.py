"""Passes notifications to the intake, with signal, event time and quality."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import Kind
from edge_agent.errors import DecodeError
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.opcua.notification import ARRAY, NOTHING, NUMBER, OTHER, Rows
from edge_agent.sources.opcua.stored import NO_ROWS, ServerHistory, Stored, doubt_edited
from edge_agent.status_codes import is_of_node
from edge_agent.tables import Table, column
from edge_agent.values import (
    BAD,
    BAD_NO_COMMUNICATION,
    BAD_NO_DATA,
    BAD_TYPE_MISMATCH,
    Columns,
    TensorBlock,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantSignal
    from edge_agent.sources.opcua.event_times import EventTimes
    from edge_agent.sources.opcua.notification import Notification, Samples, Text
    from edge_agent.values import Intake

# Part 4, 7.39: InfoType DataValue with the Overflow bit: the server's queue has lost values.
_OVERFLOW: Final = 0x0480

log = logging.getLogger("edge_agent.sources")


class Feed(Table):
    """Maps client handles to signals.

    The client handle of an item is the position of its signal in `signals`. latest, received_s: by
    handle, the last notified value and its time (monotonic); status, stamp_us: its StatusCode and
    time stamp, as the server sent it; is_wave: waveforms. faulty_changed: the set of nodes that do
    not exist, cannot be read or are not a number has changed; True until it is handled.
    """

    latest = column(np.float64, np.nan)
    status = column(np.uint32)
    stamp_us = column(np.int64)
    received_s = column(np.float64, -np.inf)
    is_wave = column(np.bool_)
    _signal = column(np.int32)
    _fault = column(np.uint32)

    def __init__(
        self, source: str, intake: Intake, metrics: Metrics, clock: Clock, times: EventTimes
    ) -> None:
        super().__init__()
        self._times = times
        self.signals: list[PlantSignal] = []
        self.faulty_changed = False
        self.history = ServerHistory()
        self._is_any_faulty = False
        self._is_silent = False  # no notification since all signals were marked
        self._source = source
        self._intake = intake
        self._clock = clock
        self._rejected = metrics.values_rejected
        self._received = metrics.values_received.labels(source)
        self._logged: set[int] = set()
        self._rules: dict[int, TextRules] = {}

    def add(self, signals: Sequence[PlantSignal]) -> None:
        """Assign the next handles to `signals`."""
        self.signals.extend(signals)
        first = self.grow(len(signals))
        self._times.grow(len(signals))
        self._signal[first:] = [signal.index for signal in signals]
        self.is_wave[first:] = [signal.config.kind is Kind.WAVEFORM for signal in signals]

    def start_subscription(self) -> None:
        """Start a new subscription: each item's first value is the server's last, of any age."""
        self._times.start_subscription()
        self.history.has_kept = False
        self._fault[:] = 0
        self._is_any_faulty = self.faulty_changed = False

    def accept_notification(self, notification: Notification) -> None:
        """Hand a notification's values to the intake."""
        self._is_silent = False
        for rows in notification.rows:
            self._accept_rows(rows)
        for text in notification.texts:
            self._accept_text(text)
        for samples in notification.arrays:
            self._accept_samples(samples)

    def mark_lost(self) -> None:
        """Mark every signal as without communication, once for each outage."""
        if not self._is_silent:
            self.mark_without_value(BAD_NO_COMMUNICATION, range(len(self.signals)))
            self._is_silent = True

    def mark_without_value(self, status: int, handles: Sequence[int]) -> None:
        """Mark `handles` as without a value now: NaN of that status."""
        if not handles:
            return
        every, n = np.asarray(handles, np.intp), len(handles)
        at_us = self._times.mark(every)
        self._intake.append(
            Columns(
                self._signal[every],
                np.full(n, at_us, np.int64),
                np.full(n, np.nan),
                np.full(n, status, np.uint32),
            )
        )

    # -- what the server has stored -----------------------------------------------------------

    def stored_values(self, parts: Sequence[Notification]) -> Stored:
        """Stored values with their event times; nothing is passed on."""
        for part in parts:
            for text in part.texts:
                self._read_number(text)
        found = [rows for part in parts for rows in (*part.rows, *(t.rows for t in part.texts))]
        rows = Rows.concat(found) if found else NO_ROWS
        handle = rows.handle.astype(np.intp)
        value, status = self._judge(handle, rows)
        signal = self._signal[handle]
        time_us = self._times.of_stored(signal, rows.time_us, rows.server_us, value, status)
        return Stored(handle, rows.stamp_us, time_us, value, doubt_edited(status))

    def stored_blocks(self, parts: Sequence[Notification]) -> list[tuple[int, int, TensorBlock]]:
        """The handle, the time stamp and the block of stored waveforms."""
        found = []
        for block in (one for part in parts for one in part.arrays if self._is_block(one)):
            row = row_of(block)
            signal, value = self._signal[row.handle.astype(np.intp)], _last_sample(block)
            end_us = self._times.of_stored(signal, row.time_us, row.server_us, value, row.status)
            tensor = self._tensor(block, int(end_us[0]))
            found.append((block.handle, int(row.stamp_us[0]), tensor))
        return found

    def append_stored(self, stored: Stored) -> None:
        """Hand stored values, in the order of time, to the intake, and count them."""
        handle = stored.handle
        self.latest[handle], self.status[handle] = stored.value, stored.status
        np.maximum.at(self.stamp_us, handle, stored.stamp_us)
        parts = self._signal[handle], stored.time_us, stored.value, stored.status
        self._intake.append(Columns(*parts))
        self._received.inc(len(handle))

    def append_block(self, block: TensorBlock) -> None:
        """Hand a block to the intake, and count its samples."""
        self._intake.append_block(block)
        self._received.inc(len(block.samples))

    def is_full(self) -> bool:
        """True if what is handed to the intake should wait."""
        return self._intake.backpressured()

    @property
    def marked_us(self) -> NDArray[np.int64]:
        """When each signal was last marked as without a value, 0 if never."""
        return self._times.marked_us

    def now_s(self) -> float:
        """The monotonic time, as in `received_s`."""
        return self._clock.monotonic_s()

    def reject(self, reason: str, n: int = 1) -> None:
        """Count refused values."""
        self._rejected.labels(self._source, reason).inc(n)

    def _accept_rows(self, rows: Rows) -> None:
        known = rows.handle < len(self.signals)
        if not known.all():
            self.reject("handle_unknown", int((~known).sum()))
            rows = rows.where(known)
        if not len(rows):
            return
        handle = rows.handle.astype(np.intp)
        value, status = self._judge(handle, rows)
        time_us = self._times.of_values(
            self._signal[handle], handle, rows.time_us, rows.server_us, value, status
        )
        self._store_latest(handle, value, status, rows.stamp_us)
        self._intake.append(Columns(self._signal[handle], time_us, value, status))
        self._received.inc(len(rows))

    def _store_latest(
        self,
        handle: NDArray[np.intp],
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
        stamp_us: NDArray[np.int64],
    ) -> None:
        """Store the latest value of each node, and which nodes the server reports as faulty."""
        self.latest[handle], self.status[handle] = value, status
        self.stamp_us[handle] = stamp_us
        self.received_s[handle] = self._clock.monotonic_s()
        if self._is_any_faulty or (status >= BAD).any():
            self._store_faults(handle, np.where(is_of_node(status), status, np.uint32(0)))

    def _store_faults(self, handle: NDArray[np.intp], code: NDArray[np.uint32]) -> None:
        if (self._fault[handle] != code).any():
            self._fault[handle] = code
            self._is_any_faulty = bool(self._fault.any())
            self.faulty_changed = True

    def faulty(self) -> dict[int, int]:
        """StatusCode by handle of the nodes that the server reports as faulty."""
        return {int(one): int(self._fault[one]) for one in np.flatnonzero(self._fault)}

    def forget_faults(self, handles: Sequence[int]) -> None:
        """Clear the faults of nodes that are requested again, or known to be refused."""
        self._store_faults(np.asarray(handles, np.intp), np.zeros(len(handles), np.uint32))

    def _accept_text(self, text: Text) -> None:
        """Read a text that is a number, or a word of the signal's `map`; else the type is wrong."""
        self._read_number(text)
        self._accept_rows(text.rows)

    def _read_number(self, text: Text) -> None:
        handle, rows = int(text.rows.handle[0]), text.rows
        if handle < len(self.signals) and not self.is_wave[handle] and rows.status[0] < BAD:
            rules = self._rules.get(handle)
            if rules is None:
                rules = self._rules[handle] = TextRules(self.signals[handle].config)
            with contextlib.suppress(DecodeError):
                rows.value[0] = rules.number(text.text)
                rows.kind[0] = NUMBER

    def _judge(
        self, handle: NDArray[np.intp], rows: Rows
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
        """Values and codes: no value is BadNoData, no number BadTypeMismatch, Bad is always NaN."""
        value, status = rows.value, rows.status
        overflows = int(((status & _OVERFLOW) == _OVERFLOW).sum())
        if overflows:
            self.reject("overflow", overflows)
        bad = status >= BAD
        wrong = ((rows.kind >= OTHER) | ((rows.kind == NUMBER) & self.is_wave[handle])) & ~bad
        if wrong.any():
            self._refuse("type", handle[wrong])
            status = np.where(wrong, np.uint32(BAD_TYPE_MISMATCH) | rows.kind, status)
        none = (rows.kind == NOTHING) & ~bad
        status = np.where(none, np.uint32(BAD_NO_DATA), status)
        return np.where(none | wrong | bad, np.nan, value), status

    def _accept_samples(self, block: Samples) -> None:
        if block.handle >= len(self.signals):
            self.reject("handle_unknown")
            return
        config = self.signals[block.handle].config
        if self._is_block(block):
            row = row_of(block)
            handle = row.handle.astype(np.intp)
            times = self._signal[handle], handle, row.time_us, row.server_us
            end_us = self._times.of_values(*times, _last_sample(block), row.status)
            self._store_latest(handle, row.value, row.status, row.stamp_us)
            self.append_block(self._tensor(block, int(end_us[0])))
            return
        if config.kind is Kind.WAVEFORM and block.status < BAD:
            self._refuse("rate_unknown", np.array([block.handle]))
        self._accept_rows(row_of(block))

    def _is_block(self, block: Samples) -> bool:
        config = self.signals[block.handle].config
        return config.kind is Kind.WAVEFORM and config.rate_hz > 0 and block.status < BAD

    def _tensor(self, block: Samples, end_us: int) -> TensorBlock:
        rate_hz = self.signals[block.handle].config.rate_hz
        index = int(self._signal[block.handle])
        return TensorBlock(index, end_us, rate_hz, block.samples, block.status)

    def _refuse(self, reason: str, handles: NDArray[np.intp]) -> None:
        self.reject(reason, len(handles))
        for handle in set(handles.tolist()) - self._logged:
            self._logged.add(handle)
            signal = self.signals[handle]
            log.warning(
                "value refused",
                extra={
                    "source": self._source,
                    "signal": f"{signal.asset.id}.{signal.name}",
                    "reason": reason,
                },
            )


def _last_sample(block: Samples) -> NDArray[np.float64]:
    """To the clock, a block is one value: its last sample."""
    return (block.samples[-1:] if len(block.samples) else np.zeros(1)).astype(np.float64)


def row_of(block: Samples) -> Rows:
    """A row without a value, in place of an array that cannot be used."""
    return Rows(
        np.array([block.handle], np.uint32),
        np.array([block.time_us], np.int64),
        np.full(1, np.nan),
        np.array([block.status], np.uint32),
        np.array([ARRAY], np.uint8),
        np.array([block.server_us], np.int64),
    )
