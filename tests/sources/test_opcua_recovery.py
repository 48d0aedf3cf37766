"""What a new session delivers after an outage: what was stored first, then what it held."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError
from opcua_support import named
from support import NO_SOURCE, value_of

from edge_agent.clock import FakeClock
from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.messages import Link
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.opcua.connector import Connection
from edge_agent.sources.opcua.event_times import EventTimes
from edge_agent.sources.opcua.feed import Feed
from edge_agent.sources.opcua.notification import NUMBER, Notification, Rows
from edge_agent.sources.opcua.recovery import Recovery
from edge_agent.sources.opcua.subscribe import Item, Watched
from edge_agent.sources.source_clock import SourceClock
from edge_agent.sources.zone import Zone
from edge_agent.testing import ListIntake
from edge_agent.values import BAD_NO_COMMUNICATION

if TYPE_CHECKING:
    from collections.abc import Sequence

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

SECOND = 1_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
HISTORY_READ = 1 << ua.AccessLevel.HistoryRead.value


@dataclass
class Subscribed:
    """As `Subscriptions`: one item for each handle."""

    items: dict[int, Watched]
    interval_s: float = 0.1


class Open:
    """A connection that is open."""

    is_closed = False


@dataclass
class Server:
    """A server with the history of nodes by handle: (second, value); error: its only answer."""

    stored: dict[int, Sequence[tuple[float, object]]]
    error: Exception | None = None
    access: int = HISTORY_READ | 1
    historizing: bool = True
    asked: int = 0
    protocol: Any = field(default_factory=Open)

    @property
    def uaclient(self) -> Server:
        return self

    @property
    def session(self) -> Server:
        return self

    async def read(self, asked: ua.ReadParameters) -> list[ua.DataValue]:
        answers: dict[Any, Any] = {
            AttributeIds.UserAccessLevel: _ua.Variant(self.access, ua.VariantType.Byte),
            AttributeIds.Historizing: _ua.Variant(self.historizing),
        }
        return [_ua.DataValue(answers[one.AttributeId]) for one in asked.NodesToRead]

    async def _send_request(self, request: Any, _timeout_s: float) -> Buffer:
        self.asked += 1
        if self.error is not None:
            raise self.error
        results = []
        for node in request.Parameters.NodesToRead:
            rows = self.stored.get(node.NodeId.Identifier, ())
            values = [
                _ua.DataValue(_ua.Variant(value), SourceTimestamp=START + timedelta(seconds=at))
                for at, value in rows
            ]
            results.append(ua.HistoryReadResult(HistoryData=ua.HistoryData(DataValues=values)))
        return Buffer(bytes(struct_to_binary(ua.HistoryReadResponse(Results=results))))


class Line:
    """Two numbers and a word: their feed, after values at 0 s and a mark at 10 s."""

    def __init__(self) -> None:
        words = schema.Signal(map={"off": 0.0, "on": 1.0})
        signals = {"a": schema.Signal(), "b": schema.Signal(), "word": words}
        config = schema.Config(
            sources={Name("plc"): NO_SOURCE},
            templates={Name("t"): schema.Template(signals=named(signals))},
            assets={"P": schema.Asset(template=Name("t"))},
        )
        self.clock, self.intake, self.metrics = FakeClock(START_US), ListIntake(), Metrics()
        plant = Plant(config)
        clock = SourceClock("plc", schema.TimeOf.AUTO, plant, Link(), self.metrics, self.clock)
        times = EventTimes(clock, Zone("UTC"), schema.TimeOf.AUTO, self.clock)
        self.feed = Feed("plc", self.intake, self.metrics, self.clock, times)
        self.feed.add(plant.signals)
        self.feed.start_subscription()
        self.clock.advance(0.5)
        self.feed.accept_notification(values((0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0)))
        self.clock.advance(9.5)
        self.feed.mark_lost()
        self.clock.advance(10)
        self.feed.start_subscription()
        self.recovery = Recovery(self.feed, self.clock, "plc")
        self._n = len(self.intake)

    async def recover(self, server: Server) -> None:
        """The whole course, as the session has it."""
        await self.read(server)
        await self.recovery.deliver()
        self.recovery.release()

    async def read(self, server: Server) -> None:
        items = {h: Watched(1, h, Item(h, ua.NodeId(ua.Int32(h)), 100.0)) for h in range(3)}
        client: Any = server
        subscribed: Any = Subscribed(items)
        await self.recovery.read(Connection(client, "opc.tcp://test", [], 0), subscribed)

    def delivered(self) -> list[tuple[int, float, float | None]]:
        """(handle, second, value; None of a mark) since the mark."""
        all_rows = self.intake.columns
        rows = all_rows.where(np.arange(self._n, len(all_rows)))
        return [
            (int(s), (int(at) - START_US) / SECOND, None if np.isnan(v) else float(v))
            for s, at, v in zip(rows.signal, rows.time_us, rows.value, strict=True)
        ]


def values(*rows: tuple[int, float, float]) -> Notification:
    """A notification of (handle, second, value)."""
    n = len(rows)
    found = Rows(
        np.array([h for h, _, _ in rows], np.uint32),
        np.array([START_US + round(s * SECOND) for _, s, _ in rows], np.int64),
        np.array([v for _, _, v in rows]),
        np.zeros(n, np.uint32),
        np.full(n, NUMBER, np.uint8),
        np.zeros(n, np.int64),
    )
    return Notification(1, 1, data=True, rows=[found])


MARKED = 10 + 1e-6


def present() -> Notification:
    """The first notification of the new session."""
    return values((0, 19, 5.0), (1, 0, 1.0), (2, 18, 1.0))


STORED: dict[int, Sequence[tuple[float, object]]] = {
    0: [(12, 2.0), (19, 5.0)],
    2: [(13, "off"), (18, "on")],
}


async def test_what_was_stored_comes_before_what_was_held() -> None:
    """Each with its own time, words as numbers; an unchanged value stands again from the mark."""
    line = Line()
    line.recovery.hold(present())
    line.recovery.hold(values((0, 20, 6.0)))
    await line.recover(Server(STORED))
    assert line.delivered() == [
        (0, MARKED, 1),
        (1, MARKED, 1),
        (2, MARKED, 1),
        (0, 12, 2),
        (2, 13, 0),
        (0, 19, 5),
        (1, 20, 1),  # older than the mark: the present value
        (2, 18, 1),
        (0, 20, 6),
    ]
    assert line.feed.history.has_kept
    assert value_of(line.metrics.values_received.labels("plc")) == 12


@pytest.mark.parametrize(
    "server",
    [
        Server(STORED, access=1),
        Server(STORED, historizing=False),
        Server(STORED, error=UaStatusCodeError(StatusCodes.BadServiceUnsupported)),  # type: ignore[no-untyped-call]
        Server(STORED, error=TimeoutError()),
        Server(STORED, error=ValueError("any defect of the library")),
    ],
    ids=["no access", "not stored", "unsupported", "no answer", "defect"],
)
async def test_without_history_the_live_values_come_all_the_same(server: Server) -> None:
    line = Line()
    line.recovery.hold(present())
    await line.recover(server)
    assert line.delivered() == [(0, 19, 5), (1, 20, 1), (2, 18, 1)]
    assert not line.feed.history.has_kept


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (UaStatusCodeError(StatusCodes.BadServiceUnsupported), 1),  # type: ignore[no-untyped-call]
        (TimeoutError(), 1),
        (ConnectionError(), 2),
    ],
    ids=["unsupported", "no answer", "hangs up"],
)
async def test_a_server_that_does_not_answer_is_not_asked_for_ever(
    error: Exception, asked: int
) -> None:
    line, server = Line(), Server(STORED, error=error)
    for _ in range(4):
        line.recovery = Recovery(line.feed, line.clock, "plc")
        line.recovery.hold(present())
        await line.read(server)
    assert server.asked == asked


async def test_a_server_that_has_answered_is_asked_again_after_a_timeout() -> None:
    line, server = Line(), Server(STORED)
    for error in (None, TimeoutError(), None):
        server.error = error
        line.recovery = Recovery(line.feed, line.clock, "plc")
        line.recovery.hold(present())
        await line.read(server)
    assert server.asked == 3


async def test_a_closed_connection_ends_the_session() -> None:
    """Whatever the library made of it: else values would go on as if nothing were missing."""
    line, server = Line(), Server(STORED, error=ConnectionError())
    server.protocol.is_closed = True
    line.recovery.hold(present())
    with pytest.raises(ConnectionError):
        await line.recover(server)


async def test_a_session_that_ends_before_leaves_what_can_be_read_again() -> None:
    """Else the next session would ask only for what came after it."""
    line = Line()
    line.recovery.hold(present())
    line.recovery.abandon()
    assert line.delivered() == [(1, 20, 1)]
    line.recovery = Recovery(line.feed, line.clock, "plc")
    line.recovery.hold(present())
    await line.recover(Server(STORED))
    assert (0, 12, 2) in line.delivered()


async def test_a_delivery_that_is_cut_off_is_not_repeated() -> None:
    """What the intake has got is known, so that the next session asks for the rest."""
    line = Line()
    line.recovery.hold(present())
    await line.read(Server(STORED))
    await line.recovery.deliver()
    line.recovery.abandon()
    line.recovery = Recovery(line.feed, line.clock, "plc")
    line.recovery.hold(present())
    await line.recover(Server(STORED))
    assert line.delivered().count((0, 12, 2)) == 1


async def test_after_a_restart_of_the_server_no_value_stands_again() -> None:
    line = Line()
    line.feed.history.started = START - timedelta(hours=1)
    line.recovery.hold(present())
    items = {h: Watched(1, h, Item(h, ua.NodeId(ua.Int32(h)), 100.0)) for h in range(3)}
    client: Any = Server(STORED)
    subscribed: Any = Subscribed(items)
    started = START + timedelta(seconds=15)
    connection = Connection(client, "opc.tcp://test", [], 0, 0, started)
    await line.recovery.read(connection, subscribed)
    await line.recovery.deliver()
    line.recovery.release()
    assert line.delivered() == [
        (0, 12, 2),
        (0, 12 + 1e-6, None),
        (2, 13, 0),
        (2, 13 + 1e-6, None),
        (0, 19, 5),
        (1, 20, 1),
        (2, 18, 1),
    ]
    assert not line.feed.history.has_kept
    assert BAD_NO_COMMUNICATION in line.intake.columns.status[-7:]
