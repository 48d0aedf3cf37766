"""The fast way gives what the careful way gives, or says that it cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.sources.mqtt.columns import UNFIT, Batch, batch_key, make_batch
from edge_agent.sources.mqtt.payload import decode
from edge_agent.sources.mqtt.payload_spec import Format, Payload, Target, TimeUnit, Wanted
from edge_agent.sources.mqtt.readings import Readings

ARRIVAL_US = 1_767_225_600_000_000
TS_MS = 1_767_000_000_123
NAMES = ("s0", "s1", "s2")


def single(index: int) -> Target:
    return Target(Wanted(index, waveform=False))


def asset(number: int) -> Target:
    return Target(
        None, {name: Wanted(10 * number + n, waveform=False) for n, name in enumerate(NAMES)}
    )


def batch_of(targets: list[Target], spec: Payload, *, timed: bool) -> Batch:
    batch = make_batch(targets[0], spec, timed=timed)
    for n, target in enumerate(targets):
        batch.add(b"t%d" % n, target)
    return batch


Rows = list[tuple[int, int, float, int]]


def fast(batch: Batch, messages: list[tuple[int, bytes]]) -> Rows | None:
    """Rows of the batch, or None where it does not fit."""
    numbers = [batch.rows[b"t%d" % n] for n, _ in messages]
    try:
        got = batch.decode(numbers, [payload for _, payload in messages], ARRIVAL_US)
    except UNFIT:
        return None
    assert got.signal.dtype == np.int32
    assert got.time_us.dtype == np.int64
    assert got.value.dtype == np.float64
    assert got.status.dtype == np.uint32
    columns = (got.signal, got.time_us, got.value, got.status)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def careful(targets: list[Target], spec: Payload, messages: list[tuple[int, bytes]]) -> Rows | None:
    """Rows read one by one, or None where one of them was refused or not good."""
    out = Readings(ARRIVAL_US)
    odd = False
    for n, payload in messages:
        decode(payload, out, targets[n], spec)
        odd = odd or out.odd
    columns = (out.signal, out.time_us, out.value, out.status)
    return None if odd else list(zip(*columns, strict=True))


leaves = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.sampled_from(["1.5", "nan", "1e3", [1], {"value": 1}, [], {}]),
)
stamps = st.one_of(
    st.integers(TS_MS - 10**9, TS_MS + 10**9),
    st.floats(1.6e9, 1.8e9),
    st.sampled_from(
        [TS_MS * 1000, TS_MS * 10**6, True, None, "2026-01-01", "1767000000", 0, -1, 1e40]
    ),
)
goods = st.one_of(st.floats(-1e9, 1e9), st.integers(-1000, 1000), st.booleans())


def _mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 15).flatmap(lambda n: odd if n == 0 else good)


def _doc(keys: list[str]) -> st.SearchStrategy[Any]:
    fields = {key: _mostly(goods, leaves) for key in keys}
    return st.fixed_dictionaries({}, optional={**fields, "ts": stamps, "extra": leaves})


singles = _mostly(
    st.fixed_dictionaries({"ts": st.just(TS_MS) | stamps, "value": _mostly(goods, leaves)}),
    st.one_of(_doc(["value"]), leaves),
)


@given(st.lists(st.tuples(st.integers(0, 2), singles), min_size=1, max_size=6), st.booleans())
@settings(max_examples=600, deadline=None)
def test_signal_batches_agree_with_careful_reading(
    docs: list[tuple[int, Any]],
    timed: bool,  # noqa: FBT001
) -> None:
    """A batch never gives other values than reading one by one, and never gives odd ones."""
    spec, targets = Payload(), [single(n) for n in range(3)]
    messages = [(n, json.dumps(doc).encode()) for n, doc in docs]
    got = fast(batch_of(targets, spec, timed=timed), messages)
    if got is not None:
        assert got == careful(targets, spec, messages)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), _mostly(_doc(list(NAMES)), leaves)), min_size=1, max_size=6
    )
)
@settings(max_examples=600, deadline=None)
def test_asset_batches_agree_with_careful_reading(docs: list[tuple[int, Any]]) -> None:
    spec, targets = Payload(), [asset(n) for n in range(3)]
    messages = [(n, json.dumps(doc).encode()) for n, doc in docs]
    got = fast(batch_of(targets, spec, timed=True), messages)
    expected = careful(targets, spec, messages)
    if got is not None:
        assert expected is not None
        # careful reading goes by the order of the payload's keys, a batch by that of the names
        assert sorted(got) == sorted(expected)
        assert [row[0] // 10 for row in got] == [row[0] // 10 for row in expected]


@pytest.mark.parametrize("unit", [TimeUnit.AUTO, TimeUnit.MS])
def test_what_plants_send_is_fast(unit: TimeUnit) -> None:
    """The two common shapes must not fall back to careful reading."""
    spec = Payload(time_unit=unit)
    got = fast(
        batch_of([single(4), single(5)], spec, timed=True),
        [(1, b'{"ts":%d,"value":1.5}' % TS_MS), (0, b'{"ts":%d,"value":2,"u":"C"}' % TS_MS)],
    )
    assert got == [(5, TS_MS * 1000, 1.5, 0), (4, TS_MS * 1000, 2.0, 0)]
    got = fast(
        batch_of([asset(0), asset(1)], spec, timed=True),
        [
            (1, b'{"ts":%d,"s0":1,"s1":2.5}' % TS_MS),
            (0, b'{"s2":3}'),
            (1, b'{"ts":%d,"s0":4,"s1":5}' % TS_MS),
        ],
    )
    assert got == [
        (10, TS_MS * 1000, 1.0, 0),
        (11, TS_MS * 1000, 2.5, 0),
        (2, ARRIVAL_US, 3.0, 0),
        (10, TS_MS * 1000, 4.0, 0),
        (11, TS_MS * 1000, 5.0, 0),
    ]


def test_values_without_time_are_fast_too() -> None:
    batch = batch_of([single(4)], Payload(), timed=False)
    assert fast(batch, [(0, b"1.5"), (0, b"2")]) == [(4, ARRIVAL_US, 1.5, 0), (4, ARRIVAL_US, 2, 0)]
    assert fast(batch, [(0, b'{"value":3}')]) == [(4, ARRIVAL_US, 3.0, 0)]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"ts":1767000000123,"value":"1.5"}',
        b'{"ts":1767000000123,"value":null}',
        b'{"ts":1767000000123,"value":[1]}',
        b'{"ts":"1767000000123","value":1}',
        b'{"ts":true,"value":1}',
        b'{"ts":5,"value":1}',
        b'{"value":1}',
        b"1.5",
        b'["ts","value"]',
        b'"ts"',
        b"{",
        b"",
    ],
)
def test_a_check_is_not_lost_on_the_way(payload: bytes) -> None:
    """numpy alone would parse the texts."""
    good = (0, b'{"ts":1767000000123,"value":1}')
    batch = batch_of([single(0)], Payload(), timed=True)
    assert fast(batch, [good]) is not None
    assert fast(batch, [good, (0, payload), good]) is None


def test_a_message_cannot_speak_for_another_topic() -> None:
    """Each payload is parsed by itself: joined by a comma these two would be three."""
    batch = batch_of([single(0), single(1)], Payload(), timed=True)
    one = b'{"ts":%d,"value":1},{"ts":%d,"value":99}' % (TS_MS, TS_MS)
    assert fast(batch, [(0, one), (1, b'{"ts":%d,"value":2}' % TS_MS)]) is None


def test_time_and_value_under_paths() -> None:
    spec = Payload(time="d.t", value="d.v")
    batch = batch_of([single(0)], spec, timed=True)
    doc = b'{"d":{"t":%d,"v":1}}' % TS_MS
    assert fast(batch, [(0, doc)]) == [(0, TS_MS * 1000, 1.0, 0)]
    assert fast(batch, [(0, doc), (0, b'{"d":{"t":%d,"v":1},"d.v":2}' % TS_MS)]) is None


@pytest.mark.parametrize(
    ("target", "spec"),
    [
        (single(0), Payload(format=Format.CSV)),
        (single(0), Payload(quality="q")),
        (Target(Wanted(0, waveform=True)), Payload()),
        (Target(None, {"a.b": Wanted(0, waveform=False)}), Payload()),
        (Target(None, {"a": Wanted(0, waveform=True)}), Payload()),
    ],
)
def test_what_needs_care_has_no_batch(target: Target, spec: Payload) -> None:
    assert batch_key(target, spec, timed=True) is None


def test_an_asset_that_comes_back_keeps_its_row() -> None:
    """Topics go in and out of a batch; its table must not grow by that."""
    batch = batch_of([asset(0)], Payload(), timed=True)
    row = batch.rows.pop(b"t0")
    batch.add(b"t0", asset(0))
    batch.add(b"other", asset(0))
    assert batch.rows == {b"t0": row, b"other": row}


def test_shapes_are_not_kept_without_end() -> None:
    batch = batch_of([asset(0)], Payload(), timed=True)
    for n in range(300):
        assert fast(batch, [(0, b'{"s0":1,"x%d":2}' % n)]) == [(0, ARRIVAL_US, 1.0, 0)]
    assert len(batch._plans) <= 64  # type: ignore[attr-defined]
    wide = json.dumps({"s0": 1, **{f"key{n}": n for n in range(5000)}}).encode()
    assert fast(batch, [(0, wide)]) is None


def test_huge_numbers_do_not_become_infinite() -> None:
    batch = batch_of([single(0)], Payload(time=""), timed=False)
    rows = fast(batch, [(0, b"1e308"), (0, b"-" + b"9" * 300)])
    assert rows is None or all(math.isfinite(row[2]) for row in rows)


@pytest.mark.parametrize("line", [b", a=1", b",,, a=1", b", a=1 1767225600000000000"])
def test_a_line_of_influxdb_without_a_measurement_is_refused_and_no_other(line: bytes) -> None:
    """Found by fuzzing: it ended the decoding of its whole message."""
    out = Readings(1_767_225_600_000_000)
    target = Target(None, {"a": Wanted(0, waveform=False)})
    decode(line + b"\nm a=2", out, target, Payload(format=Format.INFLUX))
    assert list(out.value) == [2.0]
    assert len(out.refused) == 1


@pytest.mark.parametrize("time", ["17³³", "9" * 5000])
def test_a_time_of_influxdb_that_is_no_number_is_refused_and_no_other_line(time: str) -> None:
    """Found by fuzzing: digits that int() does not take ended the decoding of the message."""
    out = Readings(1_767_225_600_000_000)
    target = Target(None, {"a": Wanted(0, waveform=False)})
    decode(f"m a=1 {time}\nm a=2".encode(), out, target, Payload(format=Format.INFLUX, time="ts"))
    assert 2.0 in list(out.value)


@pytest.mark.parametrize("line", ["m " + "a" * 60_000 + '"', "m a=1," + "b=1," * 15_000 + '"'])
def test_a_long_line_of_influxdb_is_refused_in_linear_time(line: str) -> None:
    """A quote that is never closed made the search begin anew at each of its characters."""
    out = Readings(1_767_225_600_000_000)
    target = Target(None, {"a": Wanted(0, waveform=False)})
    decode(line.encode(), out, target, Payload(format=Format.INFLUX))
    assert not list(out.value)


def test_a_text_of_strange_signs_is_refused_in_linear_time() -> None:
    """Found by fuzzing: each sign that counts as a letter, too, doubled the time."""
    out = Readings(1_767_225_600_000_000)
    decode(("0 " + "³" * 60 + ",").encode(), out, Target(Wanted(0, waveform=False)), Payload())
    assert len(out.refused) == 1
