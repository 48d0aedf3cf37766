"""HistoryRead: continuation, bounds, deadline, refusals; and what becomes of the values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua.connector import Connection
from edge_agent.sources.opcua.history import HistoryReader, Limits, Span, grouped
from edge_agent.sources.opcua.history_response import decode_history_response
from edge_agent.sources.opcua.stored import NO_STAMP, Outage, Stored, arrange
from edge_agent.values import BAD_NO_COMMUNICATION, BAD_SENSOR_FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import FakeClock

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
SECOND = 1_000_000


def data_value(content: object, second: float, status: int = 0) -> ua.DataValue:
    variant = content if isinstance(content, ua.Variant) else _ua.Variant(content)
    stamp = START + timedelta(seconds=second)
    value: ua.DataValue = _ua.DataValue(variant, _ua.StatusCode(status), SourceTimestamp=stamp)
    return value


def result(
    values: Sequence[ua.DataValue] = (), *, status: int = 0, point: bytes | None = None
) -> ua.HistoryReadResult:
    data = ua.HistoryData(DataValues=list(values))
    return ua.HistoryReadResult(_ua.StatusCode(status), point, data)


def encoded(*results: ua.HistoryReadResult) -> bytes:
    response = ua.HistoryReadResponse(Results=list(results))
    return bytes(struct_to_binary(response))


@dataclass
class Server:
    """Answers HistoryReads as `answer` does: results, bytes or an error."""

    answer: Callable[[ua.HistoryReadParameters], Any]
    asked: list[ua.HistoryReadParameters] = field(default_factory=list)

    @property
    def uaclient(self) -> Server:
        return self

    async def _send_request(self, request: ua.HistoryReadRequest, timeout_s: float) -> Buffer:
        assert timeout_s > 0
        self.asked.append(request.Parameters)
        answer = self.answer(request.Parameters)
        if isinstance(answer, Exception):
            raise answer
        return Buffer(answer if isinstance(answer, bytes) else encoded(*answer))

    def connection(self, nodes: int = 0) -> Connection:
        client: Any = self
        return Connection(client, "opc.tcp://test", [], 0, nodes)

    def nodes(self, number: int) -> list[int]:
        return [one.NodeId.Identifier for one in self.asked[number].NodesToRead]


def spans(*handles: int, after_us: int = START_US, seconds: int = 3600) -> list[Span]:
    return [
        Span(one, ua.NodeId(ua.Int32(one)), after_us, after_us + seconds * SECOND)
        for one in handles
    ]


def always(answer: Any, _asked: ua.HistoryReadParameters) -> Any:
    return answer


def error(code: int) -> UaStatusCodeError:
    return UaStatusCodeError(code)  # type: ignore[no-untyped-call]


def stamps(parts: Sequence[Any]) -> list[tuple[int, float]]:
    """(handle, seconds) of all values, in their order."""
    return [
        (int(handle), (int(at) - START_US) / SECOND)
        for part in parts
        for rows in part.rows
        for handle, at in zip(rows.handle, rows.stamp_us, strict=True)
    ]


# -- decoding -----------------------------------------------------------------------------------


def test_values_of_each_node_have_its_handle_and_their_own_codes() -> None:
    """Uniform values, values of several layouts, and what is no number."""
    mixed = [
        data_value(1.5, 1),
        data_value(_ua.Variant(7, ua.VariantType.Int16), 2, BAD_SENSOR_FAILURE),
        data_value("on", 3),
        data_value([1.0, 2.0], 4),
        ua.DataValue(_ua.Variant(None)),
    ]
    uniform = [data_value(float(n), n) for n in range(5)]
    data = encoded(result(mixed, point=b"more"), result(uniform), result(status=0x80340000))
    first, second, third = decode_history_response(data, [4, 9, 2])
    assert (first.n, first.continuation, first.last_us) == (5, b"more", START_US + 4 * SECOND)
    assert sum(len(rows) for rows in first.values.rows) == 3
    assert {int(one) for rows in first.values.rows for one in rows.handle} == {4}
    assert BAD_SENSOR_FAILURE in first.values.rows[0].status
    assert first.values.texts[0].text == "on"
    assert first.values.arrays[0].samples.tolist() == [1.0, 2.0]
    assert second.values.rows[0].value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert second.values.rows[0].handle.tolist() == [9] * 5
    assert (third.n, third.status) == (0, 0x80340000)


def test_a_part_of_an_answer_is_an_error_and_nothing_else() -> None:
    data = encoded(result([data_value(1.0, 1), data_value("on", 2)], point=b"more"), result())
    for size in range(len(data) - 4):  # the last four bytes count diagnostics, which are not read
        with pytest.raises(DecodeError):
            decode_history_response(data[:size], [1, 2])


def test_answers_to_other_nodes_than_asked_for_are_refused() -> None:
    with pytest.raises(DecodeError, match="other nodes"):
        decode_history_response(encoded(result()), [1, 2])


# -- reading ------------------------------------------------------------------------------------


async def test_continuation_points_are_followed_to_the_end(clock: FakeClock) -> None:
    """Only the node that has more is asked again, with what the server gave."""

    def answer(asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        if asked.NodesToRead[0].ContinuationPoint:
            return [result([data_value(3.0, 3)])]
        return [result([data_value(1.0, 1), data_value(2.0, 2)], point=b"go on"), result()]

    server = Server(answer)
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1, 2))
    assert [server.nodes(0), server.nodes(1)] == [[1, 2], [1]]
    assert server.asked[1].NodesToRead[0].ContinuationPoint == b"go on"
    assert stamps(reader.found.parts) == [(1, 1), (1, 2), (1, 3)]
    assert reader.found.complete == {1, 2}
    assert reader.found.unread == 0


async def test_a_full_answer_without_a_continuation_point_is_asked_on_from_its_end(
    clock: FakeClock,
) -> None:
    """Some servers take the number of values of an answer for that of all."""

    def answer(asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        details: Any = asked.HistoryReadDetails
        later = [n for n in range(1, 6) if START + timedelta(seconds=n) >= details.StartTime]
        return [result([data_value(float(n), n) for n in later[:2]])]

    server = Server(answer)
    reader = HistoryReader(server.connection(), clock, Limits(per_answer=2))
    await reader.read(spans(1))
    assert stamps(reader.found.parts) == [(1, n) for n in range(1, 6)]
    assert (len(server.asked), reader.found.complete) == (3, {1})


async def test_the_last_value_that_is_known_is_not_asked_for_again(clock: FakeClock) -> None:
    server = Server(lambda _: [result()])
    await HistoryReader(server.connection(), clock).read(spans(1, seconds=10))
    details: Any = server.asked[0].HistoryReadDetails
    assert details.StartTime == START + timedelta(microseconds=1)
    assert details.EndTime == START + timedelta(seconds=10, milliseconds=1)
    assert (details.IsReadModified, details.ReturnBounds) == (False, False)


async def test_no_request_has_more_nodes_than_the_server_takes(clock: FakeClock) -> None:
    server = Server(lambda asked: [result() for _ in asked.NodesToRead])
    reader = HistoryReader(server.connection(nodes=2), clock)
    await reader.read(spans(1, 2, 3, 4, 5))
    assert [server.nodes(n) for n in range(3)] == [[1, 2], [3, 4], [5]]
    assert reader.found.complete == {1, 2, 3, 4, 5}


async def test_a_request_that_is_too_large_is_asked_for_in_halves(clock: FakeClock) -> None:
    def answer(asked: ua.HistoryReadParameters) -> Any:
        if len(asked.NodesToRead) > 2:
            return error(StatusCodes.BadTooManyOperations)
        return [result() for _ in asked.NodesToRead]

    server = Server(answer)
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1, 2, 3, 4))
    assert [len(server.nodes(n)) for n in range(3)] == [4, 2, 2]
    assert reader.found.complete == {1, 2, 3, 4}


async def test_nodes_for_which_no_continuation_point_was_free_are_asked_later(
    clock: FakeClock,
) -> None:
    def answer(asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        crowded = result(status=StatusCodes.BadNoContinuationPoints)
        return [result([data_value(1.0, 1)]), *(crowded for _ in asked.NodesToRead[1:])]

    server = Server(answer)
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1, 2, 3))
    assert [server.nodes(n) for n in range(3)] == [[1, 2, 3], [2], [3]]
    assert reader.found.complete == {1, 2, 3}


async def test_one_node_cannot_cost_more_than_its_share(clock: FakeClock) -> None:
    """A server may give empty answers and yet go on, but not for ever."""
    answers = iter([[result(point=b"more")], [result([data_value(1.0, 1)])]])
    patient = HistoryReader(Server(lambda _: next(answers)).connection(), clock)
    await patient.read(spans(1))
    assert (patient.found.n, patient.found.complete) == (1, {1})
    endless: list[list[ua.DataValue]] = [[data_value(1.0, 1), data_value(1.0, 2)], []]
    for values in endless:
        answer = [result(values, point=b"more")]
        reader = HistoryReader(
            Server(partial(always, answer)).connection(), clock, Limits(per_node=10, per_answer=10)
        )
        await reader.read(spans(1))
        assert (reader.found.unread, reader.found.complete) == (1, set())
        assert reader.found.n in {0, 10}


async def test_all_nodes_together_cannot_cost_more_than_their_share(clock: FakeClock) -> None:
    values = [data_value(1.0, n) for n in range(1, 6)]
    server = Server(lambda asked: [result(values) for _ in asked.NodesToRead])
    reader = HistoryReader(server.connection(nodes=1), clock, Limits(values=10))
    await reader.read(spans(1, 2, 3, 4))
    assert (reader.found.n, reader.found.complete, reader.found.unread) == (10, {1, 2}, 2)


async def test_it_ends_at_its_deadline_with_what_came_until_then(clock: FakeClock) -> None:
    def answer(_asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        clock.advance(2)
        return [result([data_value(1.0, 1)])]

    server = Server(answer)
    reader = HistoryReader(server.connection(nodes=1), clock, Limits(deadline_s=5))
    await reader.read(spans(1, 2, 3, 4, 5))
    assert (reader.found.complete, reader.found.unread) == ({1, 2, 3}, 2)


async def test_it_ends_when_too_many_live_values_wait(clock: FakeClock) -> None:
    server = Server(lambda _: [result()])
    reader = HistoryReader(server.connection(nodes=1), clock, stop=lambda: len(server.asked) == 2)
    await reader.read(spans(1, 2, 3))
    assert (reader.found.complete, reader.found.unread) == ({1, 2}, 1)


async def test_a_request_without_an_answer_is_reported(clock: FakeClock) -> None:
    server = Server(lambda _: TimeoutError())
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1, 2))
    assert (reader.is_answered, reader.has_timed_out) == (False, True)
    assert (reader.unanswered, reader.found.unread) == ([1, 2], 2)


@pytest.mark.parametrize(
    "code",
    [
        StatusCodes.BadServiceUnsupported,
        StatusCodes.BadHistoryOperationUnsupported,
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadNotImplemented,
    ],
)
async def test_a_server_that_refuses_the_service_is_asked_once(clock: FakeClock, code: int) -> None:
    server = Server(lambda _: error(code))
    reader = HistoryReader(server.connection(nodes=1), clock)
    await reader.read(spans(1, 2, 3))
    assert len(server.asked) == 1
    assert reader.found.refused == dict.fromkeys((1, 2, 3), code)


async def test_an_answer_that_does_not_decode_is_a_refusal(clock: FakeClock) -> None:
    server = Server(lambda _: b"\x01\x00\x9b\x02nonsense")
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1))
    assert reader.found.refused == {1: StatusCodes.BadDecodingError}


async def test_a_node_without_history_does_not_hold_back_the_others(clock: FakeClock) -> None:
    refused = result(status=StatusCodes.BadHistoryOperationUnsupported)
    broken = result(status=StatusCodes.BadInternalError)
    empty = result(status=StatusCodes.BadNoData)
    good = result([data_value(1.0, 1)])
    server = Server(lambda _: [refused, good, broken, empty])
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1, 2, 3, 4))
    assert reader.found.refused == {1: StatusCodes.BadHistoryOperationUnsupported}
    assert (reader.found.complete, reader.found.unread) == ({2, 4}, 1)


async def test_continuation_points_that_remain_are_released(clock: FakeClock) -> None:
    def answer(_asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        clock.advance(9)
        return [result([data_value(1.0, 1)], point=b"more")]

    server = Server(answer)
    reader = HistoryReader(server.connection(), clock)
    await reader.read(spans(1))
    await reader.release()
    assert server.asked[-1].ReleaseContinuationPoints is True
    assert server.asked[-1].NodesToRead[0].ContinuationPoint == b"more"


def test_nodes_share_a_request_only_if_their_values_are_missing_since_about_the_same_time() -> None:
    """One that had not changed for a year would bring a year of all others."""
    old = spans(1, after_us=START_US - 365 * 86_400 * SECOND)
    recent = spans(2, 3, 4)
    close = [replace(recent[2], after_us=START_US + 9 * SECOND)]
    assert [[one.handle for one in part] for part in grouped([*recent[:2], *old, *close], 10)] == [
        [1],
        [2, 3, 4],
    ]


# -- arranging ----------------------------------------------------------------------------------

MARK = START_US + 10 * SECOND


def stored(*rows: tuple[int, float, float]) -> Stored:
    """Values of (handle, second, value)."""
    handle = np.array([h for h, _, _ in rows], np.intp)
    time_us = np.array([START_US + round(s * SECOND) for _, s, _ in rows], np.int64)
    value = np.array([v for _, _, v in rows])
    return Stored(handle, time_us, time_us, value, np.zeros(len(rows), np.uint32))


def outage(known: Sequence[bool] = (True, True), **changes: Any) -> Outage:
    """Two signals: last values 1.0 at 0 s, marked at 10 s, first values of the session at 20 s."""
    n = len(known)
    whole = Outage(
        after_us=np.full(n, START_US),
        first_us=np.full(n, START_US + 20 * SECOND),
        marked_us=np.full(n, MARK),
        latest=np.ones(n),
        status=np.zeros(n, np.uint32),
        is_known=np.array(known),
    )
    return replace(whole, **changes)


def seen(found: Stored) -> list[tuple[int, float, float | None]]:
    """(handle, second, value; None of a mark), in order."""
    return [
        (int(h), (int(at) - START_US) / SECOND, None if np.isnan(v) else float(v))
        for h, at, v in zip(found.handle, found.time_us, found.value, strict=True)
    ]


JUST = 1e-6


def test_what_was_delivered_before_or_comes_live_is_dropped() -> None:
    """The last value before the outage, those from the new session's first one on, repetitions."""
    found = arrange(stored((0, 0, 1), (0, 12, 2), (0, 12, 2), (0, 20, 3), (0, 21, 4)), outage())
    assert [row for row in seen(found) if row[0] == 0 and row[1] != 10 + JUST] == [(0, 12, 2)]


def test_values_of_all_nodes_are_in_the_order_of_time() -> None:
    found = arrange(stored((1, 15, 7), (0, 11, 2), (0, 19, 3), (1, 12, 6)), outage())
    assert [(h, s) for h, s, _ in seen(found)] == [
        (0, 10 + JUST),
        (1, 10 + JUST),
        (0, 11),
        (1, 12),
        (1, 15),
        (0, 19),
    ]


def test_the_value_at_the_mark_stands_again_just_after_it() -> None:
    """Of a signal that changed before the mark its new value, of others the old one."""
    found = arrange(stored((0, 5, 2), (0, 12, 3)), outage())
    assert seen(found) == [(0, 5, 2), (0, 10 + JUST, 2), (1, 10 + JUST, 1), (0, 12, 3)]


def test_a_change_before_the_mark_that_still_stands_gets_its_own_time() -> None:
    """Its first notification is older than the mark, so that it is delivered as the present."""
    first_us = np.array([START_US + 5 * SECOND, START_US + 20 * SECOND])
    found = arrange(stored((0, 5, 2)), outage(first_us=first_us))
    assert (0, 5, 2) in seen(found)


def test_a_signal_of_which_something_is_missing_ends_with_its_last_value() -> None:
    found = arrange(stored((0, 12, 2), (0, 13, 3)), outage((False, True)))
    assert [row for row in seen(found) if row[0] == 0] == [
        (0, 12, 2),
        (0, 13, 3),
        (0, 13 + JUST, None),
    ]
    assert found.status[-1] == BAD_NO_COMMUNICATION


def test_a_bad_value_is_not_repeated_after_the_mark() -> None:
    bad = np.array([BAD_SENSOR_FAILURE, 0], np.uint32)
    found = arrange(stored((0, 12, 2)), outage(status=bad, latest=np.array([np.nan, 1.0])))
    assert seen(found) == [(1, 10 + JUST, 1), (0, 12, 2)]


def test_over_a_restart_of_the_server_no_value_is_held() -> None:
    """What it stored before it ended says nothing of the time until it was back."""
    restarted_us = START_US + 15 * SECOND
    found = arrange(stored((0, 12, 2), (0, 16, 3)), outage(restarted_us=restarted_us))
    assert seen(found) == [(0, 12, 2), (0, 12 + JUST, None), (0, 16, 3)]


def test_without_a_stored_value_nothing_is_added() -> None:
    assert len(arrange(stored((0, 0, 1)), outage())) == 0


def test_a_node_whose_first_value_did_not_come_keeps_what_is_new() -> None:
    first_us = np.array([NO_STAMP, NO_STAMP])
    found = arrange(stored((0, 0, 1), (0, 30, 2)), outage((False, False), first_us=first_us))
    assert seen(found) == [(0, 30, 2), (0, 30 + JUST, None)]
