"""The decoder of publish responses, against what the library itself encodes."""

from __future__ import annotations

import math
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua.decode import decode_publish_response
from edge_agent.sources.opcua.notification import NOTHING, NUMBER, OTHER, Notification
from edge_agent.sources.opcua.skip import skip_variant

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

T = ua.VariantType
BASE = datetime(2026, 1, 1, tzinfo=UTC)
INTEGERS = {
    T.SByte: (-(2**7), 2**7 - 1),
    T.Byte: (0, 2**8 - 1),
    T.Int16: (-(2**15), 2**15 - 1),
    T.UInt16: (0, 2**16 - 1),
    T.Int32: (-(2**31), 2**31 - 1),
    T.UInt32: (0, 2**32 - 1),
    T.Int64: (-(2**63), 2**63 - 1),
    T.UInt64: (0, 2**64 - 1),
}


def numbers() -> st.SearchStrategy[ua.Variant]:
    def of(kind: ua.VariantType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[ua.Variant]:
        return values.map(lambda value: _ua.Variant(value, kind))

    return st.one_of(
        *(of(kind, st.integers(*bounds)) for kind, bounds in INTEGERS.items()),
        of(T.Double, st.floats(allow_nan=False)),
        of(T.Float, st.floats(width=32, allow_nan=False)),
        of(T.Boolean, st.booleans()),
    )


OTHERS = [
    _ua.Variant("motor läuft", T.String),
    _ua.Variant("", T.String),
    _ua.Variant(b"\x00\x01", T.ByteString),
    _ua.Variant(BASE, T.DateTime),
    _ua.Variant(uuid.UUID(int=7), T.Guid),
    _ua.Variant(_ua.NodeId("a;b=c", 2), T.NodeId),
    _ua.Variant(_ua.NodeId(5, 0), T.NodeId),
    _ua.Variant(_ua.NodeId(uuid.UUID(int=9), 3), T.NodeId),
    _ua.Variant(_ua.ExpandedNodeId("x", 1, NamespaceUri="urn:x", ServerIndex=4), T.ExpandedNodeId),
    _ua.Variant(_ua.StatusCode(0x80340000), T.StatusCode),
    _ua.Variant(_ua.QualifiedName("q", 1), T.QualifiedName),
    _ua.Variant(_ua.LocalizedText("text", "de"), T.LocalizedText),
    _ua.Variant(_ua.LocalizedText(None, None), T.LocalizedText),
    _ua.Variant(ua.Argument(Name="x"), T.ExtensionObject),
    _ua.Variant(_ua.DataValue(_ua.Variant("deep", T.String), SourceTimestamp=BASE), T.DataValue),
    _ua.Variant(["a", "b"], T.String),
    _ua.Variant([_ua.Variant(1, T.Int32), _ua.Variant("x", T.String)], T.Variant),
    _ua.Variant([_ua.LocalizedText("a")], T.LocalizedText),
    _ua.Variant([[1, 2], [3, 4]], T.Int32, Dimensions=[2, 2]),
    _ua.Variant([uuid.UUID(int=1)], T.Guid),
    _ua.Variant(_ua.DiagnosticInfo(SymbolicId=3, AdditionalInfo="info"), T.DiagnosticInfo),
]


def stamps() -> st.SearchStrategy[datetime | None]:
    return st.none() | st.integers(0, 10**12).map(lambda us: BASE + timedelta(microseconds=us))


def data_values(variants: st.SearchStrategy[ua.Variant | None]) -> st.SearchStrategy[ua.DataValue]:
    return st.builds(
        ua.DataValue,
        variants,
        StatusCode=st.none() | st.integers(0, 2**32 - 1).map(_ua.StatusCode),
        SourceTimestamp=stamps(),
        ServerTimestamp=stamps(),
    )


def response(values: list[ua.DataValue], *extra: object) -> bytes:
    change = ua.DataChangeNotification(
        MonitoredItems=[
            ua.MonitoredItemNotification(ClientHandle=handle, Value=value)
            for handle, value in enumerate(values)
        ]
    )
    message = ua.NotificationMessage(SequenceNumber=9, NotificationData=[change, *extra])
    result = ua.PublishResult(
        SubscriptionId=7, AvailableSequenceNumbers=[8, 9], NotificationMessage=message
    )
    return struct_to_binary(ua.PublishResponse(Parameters=result))


def by_handle(got: Notification) -> dict[int, tuple[int, float, int, int]]:
    return {
        int(rows.handle[i]): (
            int(rows.time_us[i]) or int(rows.server_us[i]),
            float(rows.value[i]),
            int(rows.status[i]),
            int(rows.kind[i]),
        )
        for rows in [*got.rows, *(text.rows for text in got.texts)]
        for i in range(len(rows))
    }


def stamp_us(value: ua.DataValue) -> int:
    stamp: Any = value.SourceTimestamp or value.ServerTimestamp
    return (stamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) if stamp else 0


def check(values: list[ua.DataValue]) -> None:
    got = by_handle(decode_publish_response(response(values)))
    assert len(got) == len(values)
    for handle, value in enumerate(values):
        time_us, number, status, kind = got[handle]
        assert time_us == stamp_us(value)
        assert status == (value.StatusCode.value if value.StatusCode else 0)
        if value.Value is None or value.Value.VariantType is T.Null:
            assert kind == NOTHING
            assert math.isnan(number)
        elif value.Value in OTHERS:
            assert kind >= OTHER
            assert math.isnan(number)
        else:
            assert kind == NUMBER
            assert number == float(value.Value.Value)


@settings(deadline=None)
@given(st.lists(data_values(numbers()), min_size=1, max_size=12))
def test_numbers_of_every_type_arrive_as_they_were_sent(values: list[ua.DataValue]) -> None:
    check(values)


@settings(deadline=None)
@given(
    st.lists(
        data_values(st.one_of(numbers(), st.sampled_from(OTHERS[:18]), st.just(_ua.Variant()))),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_no_number_does_not_disturb_its_neighbours(values: list[ua.DataValue]) -> None:
    check(values)


def test_a_long_uniform_notification_keeps_order_and_values() -> None:
    values = [_ua.DataValue(_ua.Variant(float(i)), SourceTimestamp=BASE) for i in range(5000)]
    (rows,) = decode_publish_response(response(values)).rows
    assert rows.handle.tolist() == list(range(5000))
    assert rows.value.tolist() == [float(i) for i in range(5000)]


def test_values_of_one_item_keep_their_order_when_layouts_alternate() -> None:
    items = [
        ua.MonitoredItemNotification(
            ClientHandle=1,
            Value=_ua.DataValue(
                _ua.Variant(float(i)), StatusCode=_ua.StatusCode(0x40000000) if i % 2 else None
            ),
        )
        for i in range(9)
    ]
    message = ua.NotificationMessage(
        NotificationData=[ua.DataChangeNotification(MonitoredItems=items)]
    )
    data = struct_to_binary(
        ua.PublishResponse(Parameters=ua.PublishResult(NotificationMessage=message))
    )
    (rows,) = decode_publish_response(data).rows
    assert rows.value.tolist() == [float(i) for i in range(9)]
    assert rows.status.tolist() == [0, 0x40000000] * 4 + [0]


def test_picoseconds_follow_the_time_stamp_they_belong_to() -> None:
    """Part 6, table 26; the library puts both behind both stamps, so the bytes are made here."""
    plain = _ua.DataValue(_ua.Variant(1.5), None, SourceTimestamp=BASE, ServerTimestamp=BASE)
    data = response([plain])
    ticks = struct.pack("<q", ua.datetime_to_win_epoch(BASE))
    start = data.index(ticks)
    # No source time, so that the server's counts, which stands behind the first picoseconds.
    fields = bytes(8) + struct.pack("<H", 1234) + ticks + struct.pack("<H", 4321)
    body = bytearray(data[:start] + fields + data[start + 16 :])
    mask_at = start - 10
    assert body[mask_at] == 0x0D
    body[mask_at] |= 0x30
    length_at = mask_at - 12
    length = struct.unpack_from("<i", body, length_at)[0]
    struct.pack_into("<i", body, length_at, length + 4)
    assert by_handle(decode_publish_response(bytes(body)))[0] == (stamp_us(plain), 1.5, 0, NUMBER)


def test_sequence_and_subscription_are_read() -> None:
    got = decode_publish_response(response([_ua.DataValue(_ua.Variant(1.0))]))
    assert (got.subscription, got.sequence, got.data, got.ended) == (7, 9, True, None)


def test_a_keepalive_has_no_data_and_names_the_next_sequence() -> None:
    message = ua.NotificationMessage(SequenceNumber=4)
    result = ua.PublishResult(SubscriptionId=7, NotificationMessage=message)
    got = decode_publish_response(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert (got.sequence, got.data, got.rows) == (4, False, [])


def test_the_end_of_a_subscription_is_told() -> None:
    change = ua.StatusChangeNotification(Status=_ua.StatusCode(_ua.StatusCodes.BadTimeout))
    message = ua.NotificationMessage(SequenceNumber=4, NotificationData=[change])
    result = ua.PublishResult(SubscriptionId=7, NotificationMessage=message)
    got = decode_publish_response(struct_to_binary(ua.PublishResponse(Parameters=result)))
    assert got.ended == _ua.StatusCodes.BadTimeout


def test_events_beside_data_are_stepped_over() -> None:
    events = ua.EventNotificationList(Events=[ua.EventFieldList(EventFields=[_ua.Variant("x")])])
    got = decode_publish_response(response([_ua.DataValue(_ua.Variant(2.0))], events))
    assert by_handle(got)[0][1] == 2.0


@pytest.mark.parametrize(
    ("kind", "values"),
    [(T.Float, [1.5, -2.0]), (T.Int16, [3, -4, 5]), (T.Double, []), (T.Boolean, [True, False])],
)
def test_arrays_of_numbers_become_samples(kind: ua.VariantType, values: list[float]) -> None:
    value = _ua.DataValue(_ua.Variant(values, kind, is_array=True), SourceTimestamp=BASE)
    got = decode_publish_response(response([value, _ua.DataValue(_ua.Variant(8.0))]))
    (block,) = got.arrays
    assert block.handle == 0
    assert block.time_us == stamp_us(value)
    assert block.samples.dtype == np.float32
    assert block.samples.tolist() == [float(v) for v in values]
    assert by_handle(got)[1][1] == 8.0


@pytest.mark.parametrize("variant", OTHERS, ids=lambda v: v.VariantType.name)
def test_every_type_is_stepped_over_exactly(variant: ua.Variant) -> None:
    data = variant_to_binary(variant)
    assert skip_variant(data + b"tail", 0) == len(data)


def test_a_variant_nested_without_end_is_refused() -> None:
    with pytest.raises(DecodeError):
        skip_variant(b"\x18" * 100_000, 0)


def test_a_huge_array_length_is_refused_without_allocating() -> None:
    for kind in (0x8B, 0x8C, 0x96):
        with pytest.raises(DecodeError):
            skip_variant(bytes([kind]) + b"\xff\xff\xff\x7f" + b"\x00" * 64, 0)


GOOD = response(
    [
        _ua.DataValue(_ua.Variant(1.0), SourceTimestamp=BASE, ServerTimestamp=BASE),
        _ua.DataValue(_ua.Variant("text"), SourceTimestamp=BASE),
        _ua.DataValue(_ua.Variant([1.0, 2.0], T.Float), SourceTimestamp=BASE),
        _ua.DataValue(_ua.Variant(2.0), SourceTimestamp=BASE, ServerTimestamp=BASE),
    ]
)


@settings(max_examples=5000, deadline=None)
@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8)).map(
        lambda edit: GOOD[: edit[0]] + edit[1] + GOOD[edit[0] + len(edit[1]) :]
    )
    | st.integers(0, len(GOOD) - 1).map(lambda n: GOOD[:n])
)
@example(b"")
def test_bytes_that_are_no_response_are_a_decode_error_and_nothing_else(data: bytes) -> None:
    try:
        decode_publish_response(data)
    except DecodeError as error:
        assert error.reason == "malformed"  # noqa: PT017 (other outcomes are fine too)


def test_both_time_stamps_are_kept_apart() -> None:
    """One clock may be wrong, and then the other counts."""
    later = BASE + timedelta(seconds=5)
    value = _ua.DataValue(_ua.Variant(1.0), SourceTimestamp=BASE, ServerTimestamp=later)
    (rows,) = decode_publish_response(response([value])).rows
    assert int(rows.server_us[0]) - int(rows.time_us[0]) == 5_000_000
    assert int(rows.time_us[0]) == stamp_us(value)


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        (_ua.Variant("LÄUFT"), "LÄUFT"),
        (_ua.Variant(""), ""),
        (_ua.Variant("x" * 1000), "x" * 256),
        (_ua.Variant(_ua.LocalizedText("RUNNING", "en")), "RUNNING"),
        (_ua.Variant(_ua.LocalizedText("RUNNING")), "RUNNING"),
        (_ua.Variant(_ua.LocalizedText(None, "en")), ""),
    ],
)
def test_texts_are_read_for_signals_that_map_them(variant: ua.Variant, text: str) -> None:
    """With the time and the status of their item; what stands beside them is read as ever."""
    value = _ua.DataValue(variant, SourceTimestamp=BASE)
    got = decode_publish_response(response([_ua.DataValue(_ua.Variant(8.0)), value]))
    (found,) = got.texts
    assert found.text == text
    assert (found.rows.handle.tolist(), found.rows.time_us.tolist()) == ([1], [stamp_us(value)])
    assert by_handle(got)[0][1] == 8.0
