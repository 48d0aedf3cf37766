"""Decodes the messages of one read for the intake: similar messages together, others one by one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.columns import UNFIT, Batch
from edge_agent.sources.mqtt.hints import hint_of
from edge_agent.sources.mqtt.payload import decode
from edge_agent.sources.mqtt.readings import Readings
from edge_agent.sources.qualities import QualityCodes
from edge_agent.values import Columns, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Counter

    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.sources.mqtt.refusals import Refusals
    from edge_agent.sources.mqtt.routes import Route, Routes
    from edge_agent.sources.source_clock import SourceClock
    from edge_agent.values import Intake, TensorBlock

    # topic, payload, True if retained
    Careful = list[tuple[bytes, bytes, bool]]


_UNUSED: Final = "unused keys"
_MAX_REPORTED: Final = 16


@dataclass(slots=True)
class _Pile:
    """Messages of one batch."""

    rows: list[int] = field(default_factory=list)
    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


class Decoder:
    """Turns messages into values of the intake, and counts them."""

    def __init__(
        self,
        routes: Routes,
        refusals: Refusals,
        intake: Intake,
        received: Counter,
        clock: SourceClock | None = None,
    ) -> None:
        self._clock = clock
        self._routes = routes
        self._refusals = refusals
        self._intake = intake
        self._received = received
        self._main: Batch | None = None  # the batch of most messages of the last mixed read

    def decode_messages(self, messages: Messages, arrival_us: int) -> None:
        """Hand a read's messages to the intake; unusable ones are counted, never raised."""
        for topic in messages.too_large:
            self._refusals.refuse_payload("too_large", topic, "larger than max_payload")
        topics = messages.topics
        if not topics:
            return
        if self._main is not None and not messages.retained:
            try:
                rows = list(map(self._main.rows.__getitem__, topics))
            except KeyError:
                pass
            else:
                self._together(self._main, rows, topics, messages.payloads, arrival_us)
                return
        self._sort(messages, arrival_us)

    def _sort(self, messages: Messages, arrival_us: int) -> None:
        piles: dict[Batch, _Pile] = {}
        careful: Careful = []
        retained = set(messages.retained)
        for n, topic in enumerate(messages.topics):
            route = self._routes.find(topic)
            if route is None:
                continue
            payload = messages.payloads[n]
            if route.batch is None or n in retained:
                careful.append((topic, payload, n in retained))
                continue
            pile = piles.setdefault(route.batch, _Pile())
            pile.rows.append(route.batch.rows[topic])
            pile.topics.append(topic)
            pile.payloads.append(payload)
        self._one_by_one(careful, arrival_us)
        for batch, pile in piles.items():
            self._together(batch, pile.rows, pile.topics, pile.payloads, arrival_us)
        if piles:
            self._main = max(piles, key=lambda batch: len(piles[batch].rows))

    def _together(
        self,
        batch: Batch,
        rows: Sequence[int],
        topics: list[bytes],
        payloads: list[bytes],
        arrival_us: int,
    ) -> None:
        try:
            values = batch.decode(rows, payloads, arrival_us)
        except UNFIT:
            pairs = zip(topics, payloads, strict=True)
            self._one_by_one([(topic, payload, False) for topic, payload in pairs], arrival_us)
        else:
            self._deliver(values, arrival_us)

    def _one_by_one(self, messages: Careful, arrival_us: int) -> None:
        out = Readings(arrival_us)
        for topic, payload, retained in messages:
            route = self._routes.find(topic)
            if route is not None:
                self._read(topic, payload, route, out, retained=retained)
        self.deliver(out)

    def deliver(self, out: Readings) -> None:
        """Hand readings to the intake, with corrected times."""
        arrival_us = out.arrival_us
        if out.signal:
            status = np.array(out.status, np.uint32)
            values = columns(out.signal, out.time_us, out.value, status)
            self._deliver(values, arrival_us)
        for block in out.blocks:
            self._received.inc(len(block.samples))
            self._intake.append_block(self._stamped_block(block, arrival_us))

    def _read(
        self, topic: bytes, payload: bytes, route: Route, out: Readings, *, retained: bool
    ) -> None:
        first = len(out.signal)
        decode(payload, out, route.target, route.spec, retained=retained)
        if route.target.single is None:
            self._refuse_others(route, out, first)
        for n, error in enumerate(out.refused):
            hint = "" if n or self._refusals.knows(topic) else hint_of(error, out, payload)
            self._refusals.refuse_payload(error.reason, topic, error.message + hint)
        if out.classic and route.spec.quality_codes is QualityCodes.AUTO:
            route.spec = replace(route.spec, quality_codes=QualityCodes.CLASSIC)
        self._report_deviations(topic, payload, route, out)
        if not retained:
            self._routes.judge(topic, route, odd=out.odd, timed=out.timed)

    def _refuse_others(self, route: Route, out: Readings, first: int) -> None:
        """Remove what another machine's topic delivers: `hall-1/M-1` is not `hall-2/M-1`."""
        for n in range(len(out.signal) - 1, first - 1, -1):
            try:
                self._routes.claim(route, out.signal[n])
            except DecodeError as error:
                for column in (out.signal, out.time_us, out.value, out.status):
                    del column[n]
                out.refuse(error)

    def _report_deviations(self, topic: bytes, payload: bytes, route: Route, out: Readings) -> None:
        """Report input that was read although it is not as expected, once for each topic."""
        for what, text in out.deviations.items() if not out.refused else ():
            if what not in route.reported and len(route.reported) < _MAX_REPORTED:
                route.reported |= {what}
                self._refusals.count_deviation(topic, text)
        if not out.unknown or out.refused:
            return
        if not out.added:
            hint = "" if self._refusals.knows(topic) else hint_of(None, out, payload)
            message = f"none of its keys is a signal, the first is {out.unknown[:100]!r}{hint}"
            self._refusals.refuse_payload("unknown_signal", topic, message)
        elif _UNUSED not in route.reported:
            route.reported |= {_UNUSED}
            self._refusals.log_unused(topic, out.unknown[:100])

    def _deliver(self, values: Columns, arrival_us: int) -> None:
        self._received.inc(values.signal.size)
        self._intake.append(self._stamped(values, arrival_us))

    def _stamped(self, values: Columns, arrival_us: int) -> Columns:
        """The same values, each with its corrected time."""
        if self._clock is None:
            return values
        signal, value, status = values.signal, values.value, values.status
        time_us = self._clock.stamp(signal, values.time_us, value, status, arrival_us)
        return values if time_us is values.time_us else Columns(signal, time_us, value, status)

    def _stamped_block(self, block: TensorBlock, arrival_us: int) -> TensorBlock:
        """To the clock, a block is one value: its last sample."""
        last = float(block.samples[-1])
        one = columns([block.signal], [block.end_us], [last], block.status)
        return replace(block, end_us=int(self._stamped(one, arrival_us).time_us[0]))
