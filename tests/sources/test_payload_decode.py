"""Decoders: what a payload says, what is refused by which reason, and that nothing breaks them."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.columns import times_us
from edge_agent.sources.mqtt.objects import MAX_REFUSED
from edge_agent.sources.mqtt.payload import FORMATS, decode
from edge_agent.sources.mqtt.payload_spec import (
    ByteOrder,
    Format,
    Payload,
    Target,
    TimeUnit,
    Wanted,
)
from edge_agent.sources.mqtt.payload_time import MAX_TIME_US, MIN_TIME_US, time_us
from edge_agent.sources.mqtt.readings import UNREADABLE, Readings
from edge_agent.values import BAD, GOOD, RETAINED, UNCERTAIN

ARRIVAL_US = 1_767_225_600_000_000
TS_US = 1_767_000_000_123_000
TS_MS = TS_US // 1000
ONE = Target(Wanted(7, waveform=False))
WAVE = Target(Wanted(9, waveform=True))
ASSET = Target(
    None,
    {
        "s0": Wanted(0, waveform=False),
        "s1": Wanted(1, waveform=False),
        "motor.temp": Wanted(2, waveform=False),
        "vib": Wanted(3, waveform=True),
    },
)
REASONS = {
    *("json", "text", "shape", "value", "type", "time", "range"),
    *("kind", "length", "columns", "empty", "quality", "unit"),
}

Row = tuple[int, int, float, int]


def read(
    payload: bytes | str | Any, target: Target = ONE, *, retained: bool = False, **spec: Any
) -> Readings:
    if not isinstance(payload, bytes):
        payload = (payload if isinstance(payload, str) else json.dumps(payload)).encode()
    out = Readings(ARRIVAL_US)
    decode(payload, out, target, Payload(**spec), retained=retained)
    return out


def rows(out: Readings) -> list[Row]:
    return list(zip(out.signal, out.time_us, out.value, out.status, strict=True))


def reasons(out: Readings) -> list[str]:
    return [error.reason for error in out.refused]


@pytest.mark.parametrize("text", ["12.5", " 12.5\n", "1.25e1"])
def test_json_scalar_has_the_time_of_arrival(text: str) -> None:
    assert rows(read(text)) == [(7, ARRIVAL_US, 12.5, GOOD)]


def test_json_object_has_its_own_time() -> None:
    assert rows(read({"ts": TS_MS, "value": 3})) == [(7, TS_US, 3.0, GOOD)]
    assert rows(read({"ts": None, "value": 3})) == [(7, ARRIVAL_US, 3.0, GOOD)]
    assert rows(read({"ts": "", "value": 3})) == [(7, ARRIVAL_US, 3.0, GOOD)]


def test_keys_may_be_paths() -> None:
    doc = {"data": {"v": 1.5, "t": TS_MS}}
    assert rows(read(doc, value="data.v", time="data.t")) == [(7, TS_US, 1.5, GOOD)]
    assert rows(read({"data.v": 2}, value="data.v")) == [(7, ARRIVAL_US, 2.0, GOOD)]


def test_one_object_may_hold_many_signals() -> None:
    """Keys are signal names or addresses, nested ones as dotted paths."""
    out = read({"ts": TS_MS, "s0": 1, "motor": {"temp": 2.5, "rpm": 9}, "x": 4}, ASSET)
    assert rows(out) == [(0, TS_US, 1.0, GOOD), (2, TS_US, 2.5, GOOD)]
    assert out.unknown == "motor.rpm"


def test_a_signal_inside_an_object_may_have_its_own_time_and_quality() -> None:
    doc = {"s0": {"value": 1, "ts": TS_MS, "q": "bad"}, "s1": {"value": 2}, "ts": TS_MS + 1}
    assert rows(read(doc, ASSET, quality="q")) == [
        (0, TS_US, 1.0, BAD),
        (1, TS_US + 1000, 2.0, GOOD),
    ]


def test_an_array_of_objects_is_several_readings() -> None:
    doc = [
        {"ts": TS_MS, "value": 1},
        {"ts": TS_MS + 1, "value": "x"},
        {"ts": TS_MS + 2, "value": 3},
    ]
    out = read(doc)
    good = [(7, TS_US, 1.0, GOOD), (7, TS_US + 2000, 3.0, GOOD)]
    assert [row for row in rows(out) if row[3] == GOOD] == good
    assert [row[3] for row in rows(out)] == [GOOD, UNREADABLE, GOOD]
    assert reasons(out) == ["type"]


def test_truth_values_are_numbers() -> None:
    assert [row[2] for row in rows(read([{"value": True}, {"value": False}]))] == [1.0, 0.0]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null"])
def test_no_number_is_a_bad_value(text: str) -> None:
    """Also where a program wrote NaN, which is no JSON, into an otherwise good object."""
    for payload in (text, f'{{"value": {text}}}'):
        ((_, _, value, status),) = rows(read(payload))
        assert math.isnan(value)
        assert status == BAD


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"{", "json"),
        (b"\xff\xfe", "empty"),
        (b"[" * 5000, "json"),
        (b"[" * 100_000 + b"NaN", "json"),
        (b"1e999", None),
        (b'{"value": 1e999, "x": NaN}', None),
        (b'"12.5x1"', "type"),
        (b'{"value": "12,5"}', "type"),
        (b'{"value": {"a": 1}}', "value"),
        (b'{"v": 1}', "value"),
        (b"{}", "value"),
        (b"[1, 2]", "kind"),
        (b"[]", "empty"),
        (b'{"value": [1, 2]}', "kind"),
        (b'{"value": 1, "ts": "2611262310"}', "time"),
        (b'{"value": 1, "ts": true}', "time"),
        (b'{"value": 1, "ts": 0}', "time"),
        (b'{"value": 1, "ts": -5}', "time"),
        (b'{"value": 1, "ts": 1e300}', "time"),
        (b'{"value": 1, "ts": "yesterday"}', "time"),
        (b'{"value": 1, "ts": "1970-01-01"}', "time"),
        (b'{"value": NaN, "ts": NaN}', "time"),
        (b'{"value": NaN, "ts": 1' + b"0" * 400 + b"}", "time"),
        (b'{"x": NaN, "value": 1' + b"0" * 400 + b"}", "range"),
    ],
)
def test_json_of_one_signal_is_refused_by_reason(payload: bytes, reason: str | None) -> None:
    out = read(payload)
    assert reasons(out) == ([reason] if reason else [])
    if reason:
        # What can be read as a message, but not as a number, says that the sensor is not well.
        assert {row[3] for row in rows(out)} <= {UNREADABLE}


@pytest.mark.parametrize("text", ["1", '"x"', "null", "[1]", '["s0"]'])
def test_json_of_an_asset_must_be_an_object(text: str) -> None:
    assert reasons(read(text, ASSET)) == ["shape"]


def test_one_bad_signal_does_not_hold_back_the_others() -> None:
    out = read({"s0": "x", "s1": 2, "vib": 3}, ASSET, rate_hz=10)
    assert [row[::3] for row in rows(out)] == [(0, UNREADABLE), (1, GOOD)]
    assert reasons(out) == ["type", "kind"]


def test_a_message_full_of_nonsense_is_given_up() -> None:
    out = read("[" + ",".join(["{}"] * 100_000) + "]")
    assert reasons(out) == ["value"] * MAX_REFUSED + ["shape"]


def test_deep_objects_are_not_followed_for_ever() -> None:
    out = read('{"a":' * 1000 + "1" + "}" * 1000, ASSET)
    assert rows(out) == []
    assert out.refused == []


@pytest.mark.parametrize(
    ("raw", "unit", "expected"),
    [
        (1_767_000_000, "auto", 1_767_000_000_000_000),
        (1_767_000_000.25, "auto", 1_767_000_000_250_000),
        (1_767_000_000_123, "auto", 1_767_000_000_123_000),
        (1_767_000_000_123_456, "auto", 1_767_000_000_123_456),
        (1_767_000_000_123_456_000, "auto", 1_767_000_000_123_456),
        (1_767_000_000_123, "ms", 1_767_000_000_123_000),
        (1_767_000_000, "s", 1_767_000_000_000_000),
        (1_767_000_000, "ms", 1_767_000_000_000),  # a wrong unit: a clock that was never set
        (86_400, "auto", 86_400_000_000),
        ("2026-01-01T00:00:00Z", "auto", 1_767_225_600_000_000),
        ("2026-01-01T01:00:00.5+01:00", "iso", 1_767_225_600_500_000),
        ("2026-01-01 00:00:00.000001", "auto", 1_767_225_600_000_001),
        ("1767000000", "auto", 1_767_000_000_000_000),
        ("1767000000.25", "auto", 1_767_000_000_250_000),
        ("1767000000123", "auto", 1_767_000_000_123_000),
        ("1767000000123456000", "auto", 1_767_000_000_123_456),
        ("2767000000", "s", 2_767_000_000_000_000),
        ("20260101T000000", "auto", 1_767_225_600_000_000),
    ],
)
def test_time_stamps(raw: object, unit: str, expected: int) -> None:
    assert time_us(raw, TimeUnit(unit)) == expected


@pytest.mark.parametrize(
    ("raw", "unit"),
    [
        (1_767_000_000_123, "s"),
        (1_767_000_000, "iso"),
        ("2026-01-01", "ms"),
        ("1767000000", "iso"),
        ("2611262310", "auto"),  # yymmddHHMM, or seconds of 2052
        ("20261126231000", "auto"),  # no count since 1970
        ("1_767_000_000", "auto"),
        (10_000_000_000, "s"),
        (0, "s"),
        (-5, "ms"),
        (math.nan, "auto"),
        (math.inf, "auto"),
        ([], "auto"),
    ],
)
def test_times_that_are_refused(raw: object, unit: str) -> None:
    with pytest.raises(DecodeError) as caught:
        time_us(raw, TimeUnit(unit))
    assert caught.value.reason == "time"


@given(st.floats(MIN_TIME_US / 1e6, MAX_TIME_US / 1e6 - 1), st.sampled_from([1, 1e3, 1e6, 1e9]))
def test_auto_finds_the_unit_of_every_time_of_the_range(seconds: float, per_s: float) -> None:
    """The ranges of the four units do not overlap; the column form gives the same."""
    raw = seconds * per_s
    got = time_us(raw, TimeUnit.AUTO)
    assert abs(got - seconds * 1e6) <= 1
    assert times_us(np.array([raw]), TimeUnit.AUTO).tolist() == [got]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("good", GOOD),
        ("GOOD", GOOD),
        ("uncertain", UNCERTAIN),
        ("bad", BAD),
        ("odd", BAD),  # what is not known is never good
        (True, GOOD),
        (False, BAD),
        (0, BAD),  # bad in OPC Classic, good in OPC UA: a dead sensor must not pass for data
        (192, GOOD),
        (0x8034_0000, 0x8034_0000),
        (-1, 0xFFFF_FFFF),
        (1 << 40, BAD),
        (None, UNCERTAIN),
    ],
)
def test_quality(raw: object, status: int) -> None:
    assert rows(read({"value": 1, "q": raw}, quality="q"))[0][3] == status


def test_a_retained_message_is_marked_unless_its_own_time_is_fresh() -> None:
    """Whatever it says: it is of any age, good or bad."""
    target = Target(Wanted(7, waveform=False, stale_us=30_000_000))
    fresh_ms = ARRIVAL_US // 1000 - 29_000
    assert rows(read("1", target, retained=True))[0][3] == RETAINED
    assert rows(read({"ts": fresh_ms, "value": 1}, target, retained=True))[0][3] == GOOD
    assert rows(read({"ts": fresh_ms - 2000, "value": 1}, target, retained=True))[0][3] == RETAINED
    assert rows(read("null", target, retained=True))[0][3] == RETAINED


def test_a_retained_waveform_without_time_belongs_to_no_window() -> None:
    assert read([1, 2], WAVE, rate_hz=1, retained=True).blocks == []


def test_numbers_in_an_array_are_a_waveform() -> None:
    out = read([1, 2.5, True], WAVE, rate_hz=100, scale=2, offset=1)
    (block,) = out.blocks
    assert block.samples.tolist() == [3.0, 6.0, 3.0]
    assert block.samples.dtype == np.float32
    assert (block.signal, block.end_us, block.rate_hz) == (9, ARRIVAL_US, 100)


def test_a_waveform_in_an_object_has_its_time() -> None:
    out = read({"ts": TS_MS, "samples": [1, 2]}, WAVE, rate_hz=100)
    assert out.blocks[0].end_us == TS_US
    out = read({"ts": TS_MS, "vib": [1, 2], "s0": 1}, ASSET, rate_hz=100)
    assert (len(out.blocks), len(out.signal)) == (1, 1)


def test_a_waveform_with_a_gap_is_bad() -> None:
    assert read([1, None], WAVE, rate_hz=1).blocks[0].status == BAD
    assert read([1e300], WAVE, rate_hz=1).blocks[0].status == BAD


def test_a_waveform_needs_a_rate_and_a_waveform_signal() -> None:
    assert reasons(read([1, 2], WAVE)) == ["kind"]
    assert reasons(read([1, "2"], WAVE, rate_hz=1)) == ["type"]
    assert reasons(read("5", WAVE, rate_hz=1)) == ["kind"]


@pytest.mark.parametrize("order", list(ByteOrder))
@pytest.mark.parametrize(("form", "code"), [(Format.FLOAT32, "f"), (Format.INT16, "h")])
def test_binary_samples(form: Format, code: str, order: ByteOrder) -> None:
    sign = "<" if order is ByteOrder.LITTLE else ">"
    payload = b"HEAD" + struct.pack(f"{sign}3{code}", 1, -2, 300)
    out = read(
        payload, WAVE, format=form, byte_order=order, header=4, rate_hz=25_600, scale=0.5, offset=1
    )
    (block,) = out.blocks
    assert block.samples.tolist() == [1.5, 0.0, 151.0]
    assert (block.rate_hz, block.end_us, block.status) == (25_600, ARRIVAL_US, GOOD)


def test_binary_samples_that_are_no_numbers_are_bad() -> None:
    out = read(struct.pack("<2f", 1, math.nan), WAVE, format=Format.FLOAT32, rate_hz=1)
    assert out.blocks[0].status == BAD


@pytest.mark.parametrize(
    ("payload", "target", "reason"),
    [
        (b"abc", WAVE, "length"),
        (b"ab", WAVE, "length"),
        (b"", WAVE, "empty"),
        (b"abcd", ONE, "kind"),
        (b"abcd", ASSET, "shape"),
    ],
)
def test_binary_is_refused_by_reason(payload: bytes, target: Target, reason: str) -> None:
    header = 2 if payload == b"ab" else 0
    out = read(payload, target, format=Format.FLOAT32, rate_hz=1, header=header)
    assert reasons(out) == [reason]


def test_csv_line_of_one_signal() -> None:
    csv: dict[str, Any] = {"format": Format.CSV}
    assert rows(read(f"{TS_MS},12.5", **csv)) == [(7, TS_US, 12.5, GOOD)]
    assert rows(read(" 12.5 ", **csv)) == [(7, ARRIVAL_US, 12.5, GOOD)]
    assert rows(read("2026-01-01T00:00:00Z;true", separator=";", **csv)) == [
        (7, 1_767_225_600_000_000, 1.0, GOOD)
    ]


def test_csv_line_of_an_asset() -> None:
    columns = ("ts", "s0", "", "s1", "q", "extra")
    out = read(
        f"{TS_MS},1,skipped,-2e3,good,5\n\n{TS_MS + 1},nan,,3,bad,5\n",
        ASSET,
        format=Format.CSV,
        columns=columns,
        quality="q",
    )
    assert rows(out)[:2] == [(0, TS_US, 1.0, GOOD), (1, TS_US, -2000.0, GOOD)]
    assert [row[3] for row in rows(out)[2:]] == [BAD, BAD]
    assert out.unknown == "extra"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff", "type"),
        (b"1,2,3", "columns"),
        (b"abc", "type"),
        (b"1_000", "type"),
        (b"0x10", "type"),
        (b"9" * 65, "type"),
        (b"0,1", "time"),
        (b"soon,1", "time"),
        (b" \n ", "empty"),
    ],
)
def test_csv_is_refused_by_reason(payload: bytes, reason: str) -> None:
    assert reasons(read(payload, format=Format.CSV)) == [reason]


def test_a_bad_line_does_not_hold_back_the_next() -> None:
    out = read(f"x,y\n{TS_MS},1", format=Format.CSV)
    assert (rows(out), reasons(out)) == ([(7, TS_US, 1.0, GOOD)], ["time"])


SAMPLES: list[tuple[Format, Target, bytes]] = [
    (Format.JSON, ONE, b'{"ts": 1767000000123, "value": 12.5, "q": "good"}'),
    (Format.JSON, ONE, b'[{"ts": "2026-01-01T00:00:00Z", "value": -1e5}, {"value": null}]'),
    (Format.JSON, ONE, b"-12.5e3"),
    (Format.JSON, ASSET, b'{"ts": 1767000000, "s0": 1, "motor": {"temp": NaN}, "vib": [1, 2, 3]}'),
    (Format.JSON, WAVE, b"[0.25, -1, 2e5, true]"),
    (Format.CSV, ONE, b"1767000000123,12.5\n2026-01-01T00:00:00,-1e5"),
    (Format.CSV, ASSET, b"1767000000123,12.5,,bad\n1767000000124,nan,1,0"),
    (Format.FLOAT32, WAVE, struct.pack("<6f", 1, 2, 3, math.inf, -0.0, 1e30)),
    (Format.INT16, WAVE, struct.pack("<6h", 1, 2, 3, -4, 5, 32767)),
]
COUNT = 10_000


def mutated(chance: random.Random, payload: bytes) -> bytes:
    """A payload with a few bytes changed, doubled, cut out, or replaced by noise."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(64))
    out = bytearray(payload)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(4):
            case 0:
                out[at:at] = chance.choice(
                    [b"{", b"[", b'"', b",", b"NaN", b"1e99", b"\xff", b"9" * 30]
                )
            case 1:
                del out[at : at + chance.randrange(8)]
            case 2:
                out[at:at] = out[at : at + chance.randrange(16)]
            case _:
                out[at : at + 1] = chance.randbytes(1)
    return bytes(out)


@pytest.mark.parametrize("case", range(len(SAMPLES)))
def test_ten_thousand_mutated_payloads_give_values_or_reasons(case: int) -> None:
    """Whatever arrives: columns of equal length, a bounded reason, and the next one decodes."""
    form, target, payload = SAMPLES[case]
    spec = Payload(
        format=form, rate_hz=10, quality="q" if case != 6 else "x", columns=_columns(form, target)
    )
    chance = random.Random(case)  # noqa: S311
    out = Readings(ARRIVAL_US)
    for _ in range(COUNT):
        decode(mutated(chance, payload), out, target, spec, retained=chance.random() < 0.1)
        assert set(reasons(out)) <= REASONS
    assert len(out.signal) == len(out.time_us) == len(out.value) == len(out.status)
    assert all(0 < time < 10**16 for time in out.time_us)
    for value, status in zip(out.value, out.status, strict=True):
        assert math.isfinite(value) or status >= BAD or status == RETAINED
    clean = Readings(ARRIVAL_US)
    decode(payload, clean, target, spec)
    assert clean.signal or clean.blocks


def _columns(form: Format, target: Target) -> tuple[str, ...]:
    return ("ts", "s0", "s1", "x") if form is Format.CSV and target is ASSET else ()


def test_every_format_has_a_decoder() -> None:
    assert set(FORMATS) - {None} == set(Format)
