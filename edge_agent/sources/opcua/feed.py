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
    handle, the last notified value and its time (monotonic). faulty_changed: the set of nodes that
    do not exist, cannot be read or are not a number has changed; True until it is handled.
    """

    latest = column(np.float64, np.nan)
    received_s = column(np.float64, -np.inf)
    _signal = column(np.int32)
    _is_wave = column(np.bool_)
    _fault = column(np.uint32)

    def __init__(
        self, source: str, intake: Intake, metrics: Metrics, clock: Clock, times: EventTimes
    ) -> None:
        super().__init__()
        self._times = times
        self.signals: list[PlantSignal] = []
        self.faulty_changed = False
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
        self._is_wave[first:] = [signal.config.kind is Kind.WAVEFORM for signal in signals]

    def start_subscription(self) -> None:
        """Start a new subscription: each item's first value is the server's last, of any age."""
        self._times.start_subscription()
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
            rows = Rows(*(getattr(rows, name)[known] for name in Rows.__slots__))
        if not len(rows):
            return
        handle = rows.handle.astype(np.intp)
        value, status = self._judge(handle, rows)
        time_us = self._times.of_values(
            self._signal[handle], handle, rows.time_us, rows.server_us, value, status
        )
        self._store_latest(handle, value, status)
        self._intake.append(Columns(self._signal[handle], time_us, value, status))
        self._received.inc(len(rows))

    def _store_latest(
        self, handle: NDArray[np.intp], value: NDArray[np.float64], status: NDArray[np.uint32]
    ) -> None:
        """Store the latest value of each node, and which nodes the server reports as faulty."""
        self.latest[handle] = value
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
        handle, rows = int(text.rows.handle[0]), text.rows
        if handle < len(self.signals) and not self._is_wave[handle] and rows.status[0] < BAD:
            rules = self._rules.get(handle)
            if rules is None:
                rules = self._rules[handle] = TextRules(self.signals[handle].config)
            with contextlib.suppress(DecodeError):
                rows.value[0] = rules.number(text.text)
                rows.kind[0] = NUMBER
        self._accept_rows(rows)

    def _judge(
        self, handle: NDArray[np.intp], rows: Rows
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
        """Values and codes: no value is BadNoData, no number BadTypeMismatch, Bad is always NaN."""
        value, status = rows.value, rows.status
        overflows = int(((status & _OVERFLOW) == _OVERFLOW).sum())
        if overflows:
            self.reject("overflow", overflows)
        bad = status >= BAD
        wrong = ((rows.kind >= OTHER) | ((rows.kind == NUMBER) & self._is_wave[handle])) & ~bad
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
        if config.kind is Kind.WAVEFORM and config.rate_hz > 0 and block.status < BAD:
            end_us = self._end_of(block)
            index = int(self._signal[block.handle])
            handle = np.array([block.handle])
            self._store_latest(handle, np.array([np.nan]), np.array([block.status], np.uint32))
            self._intake.append_block(
                TensorBlock(index, end_us, config.rate_hz, block.samples, block.status)
            )
            self._received.inc(len(block.samples))
            return
        if config.kind is Kind.WAVEFORM and block.status < BAD:
            self._refuse("rate_unknown", np.array([block.handle]))
        self._accept_rows(_row_of(block))

    def _end_of(self, block: Samples) -> int:
        """To the clock, a block is one value: its last sample."""
        last = block.samples[-1:] if len(block.samples) else np.zeros(1)
        handle = np.array([block.handle])
        times = self._times.of_values(
            self._signal[handle],
            handle,
            np.array([block.time_us]),
            np.array([block.server_us]),
            last.astype(np.float64),
            np.array([block.status], np.uint32),
        )
        return int(times[0])

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


def _row_of(block: Samples) -> Rows:
    """A row without a value, in place of an array that cannot be used."""
    return Rows(
        np.array([block.handle], np.uint32),
        np.array([block.time_us], np.int64),
        np.full(1, np.nan),
        np.array([block.status], np.uint32),
        np.array([ARRAY], np.uint8),
        np.array([block.server_us], np.int64),
    )
