"""A source's clock under a clock that the test moves, and streams of stamps through it."""

from __future__ import annotations

import numpy as np
from support import NO_SOURCE

from edge_agent.clock import FakeClock
from edge_agent.config import schema, settings
from edge_agent.config.schema import TimeOf
from edge_agent.config.types import Duration, Name
from edge_agent.messages import Link
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.source_clock import SourceClock

S = 1_000_000
NOW = 1_767_225_600 * S
HOUR = 3600.0
TRANSPORT_US = 1000
Row = tuple[int, float | None, float]  # signal, seconds its stamp is ahead (None: no stamp), value


class Rig:
    """Assets A and B with two signals each: 0, 1 and 2, 3.

    `send` hands over values whose stamps are given relative to the gateway's true time; `lag` is
    how far each event time then was behind (ahead: < 0) the gateway's clock, in seconds.
    """

    def __init__(
        self, time_of: TimeOf = TimeOf.AUTO, *, max_future: float = 300.0, now_us: int = NOW
    ) -> None:
        signals = {Name(name): schema.Signal(source="bus") for name in ("x", "y")}
        config = schema.Config(
            sources={Name("bus"): NO_SOURCE},
            templates={Name("m"): schema.Template(signals)},
            assets={name: schema.Asset(Name("m")) for name in ("A", "B")},
            tuning=settings.Tuning(max_future=Duration(max_future)),
        )
        self.clock = FakeClock(now_us)
        self.link, self.metrics = Link(), Metrics()
        self.plant = Plant(config)
        self.told: list[str] = []
        self.source = SourceClock(
            "bus",
            time_of,
            self.plant,
            self.link,
            self.metrics,
            self.clock,
            lambda: self.told.append(self.source._report.trouble),
        )
        self.true_us = now_us  # time as it is, whatever the gateway's clock shows
        self._number = 0.0

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.true_us += round(seconds * S)

    def step_gateway(self, seconds: float) -> None:
        self.clock.set_wall(seconds)

    def send(
        self,
        *rows: Row,
        first: bool = False,
        server: float | None = None,
        status: int = 0,
    ) -> list[float]:
        """The lags of values that come now, without the millisecond that they were on the way."""
        now_us = self.clock.now_us()
        signal, ahead, value = zip(*rows, strict=True)
        sent_us = self.true_us - TRANSPORT_US
        stamps = [now_us if a is None else sent_us + round(a * S) for a in ahead]
        times = self.source.stamp(
            np.array(signal, np.int32),
            np.array(stamps, np.int64),
            np.array(value, np.float64),
            np.full(len(rows), status, np.uint32),
            now_us,
            None if server is None else np.full(len(rows), self.true_us + round(server * S)),
            np.full(len(rows), first) if first else None,
        )
        return [round(float(now_us - t) / S, 2) for t in times]

    def live(
        self,
        seconds: float,
        ahead: float = 0.0,
        *,
        every: float = 0.5,
        signals: tuple[int, ...] = (0, 1),
        pace: float = 1.0,
        server: float | None = None,
        constant: bool = False,
    ) -> list[float]:
        """A stream of changing values for so long; the worst lag of each turn."""
        found = []
        for n in range(round(seconds / every)):
            self.pass_s(every)
            self._number += 0 if constant else 1
            shift = ahead + (pace - 1) * n * every
            rows = [(signal, shift, self._number) for signal in signals]
            found.append(max(self.send(*rows, server=server), key=abs))
        return found

    @property
    def fault(self) -> str:
        fault = self.link.faults.get("clock.bus")
        return "" if fault is None else fault.text
