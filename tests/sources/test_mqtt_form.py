"""The form of payloads that nobody has described: what is the value, the time, the quality."""

from __future__ import annotations

import gzip

import orjson
import pytest

from edge_agent.sources.mqtt.form import Form, form_of
from edge_agent.sources.mqtt.sparkplug_wire import Payload

JSON_LINES = "JSON list of objects (JSON object, 2 numbers)"
NOW_US = 1_767_225_600_000_000


def form(payload: object, topic: str = "t") -> Form:
    return form_of(topic, payload if isinstance(payload, bytes) else orjson.dumps(payload), NOW_US)


@pytest.mark.parametrize(
    ("payload", "kind", "usable"),
    [
        (b"4.2", "number", True),
        (b" -1e3 ", "number", True),
        (b"+5", "number", True),
        (b"true", "truth value", True),
        (b"4,2", "number with a decimal comma", True),
        (b"23.4 \xc2\xb0C", "number with its unit", True),
        (b"23,4 m3/h", "number with a decimal comma with its unit", True),
        (b'"12.5"', "number", True),
        (b"ON", "truth value as text", True),
        (b"RUNNING", "text", False),
        (b"", "empty", False),
        (b"null", "null", False),
        (b"\xff\x00", "binary, 2 bytes", False),
        (b"a;b\n1;2\n", "CSV, 2 columns", True),
        (b"1767225600;1,5;2,5", "CSV, 3 columns", True),
        (b"a;b\nx;y\n", "text, 2 columns", False),
        (b"pump,machine=P-1 flow=1.5 1767225600000000000", "lines of InfluxDB, 1 fields", True),
        (b"flow=1.5 bar=2.5 run=1", "text", False),
        (gzip.compress(b'{"a": 1, "b": 2}', mtime=0), "JSON object, 2 numbers", True),
        (b'\xef\xbb\xbf{"a": 1, "b": nan}', "JSON object, 2 numbers", True),
        ('{"a": 1, "b": 2}'.encode("utf-16"), "JSON object, 2 numbers", True),
        (b'"{\\"a\\": 1, \\"b\\": 2}"', "JSON object, 2 numbers", True),
        (b'{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', JSON_LINES, True),
        (b"\x82\xa4temp\xcb\x3f\xf8\0\0\0\0\0\0\xa1a\x01", "binary, 18 bytes", False),
        (b"\0\0\xc0\x3f", "binary, 4 bytes", False),
        (b"[[1767225600, 2]]", "JSON array", False),
        (b"x" * 20_000, "large, 20000 bytes", False),
        (b"[1, 2]", "JSON array of 2 numbers", False),
        (b'[{"id": "a.b", "v": 1}]', "JSON list of name and value", True),
        (b'{"x": [{"name": "a", "value": 1}]}', "JSON list of name and value under 'x'", True),
        (b'[{"a": 1, "b": 2}]', "JSON list of objects (JSON object, 2 numbers)", True),
        (b"{}", "JSON object, 0 numbers", False),
    ],
)
def test_kinds(payload: bytes, kind: str, usable: bool) -> None:  # noqa: FBT001
    got = form(payload)
    assert (got.kind, got.usable) == (kind, usable)


def test_sparkplug_names_its_metrics() -> None:
    """Known by its topic; a birth says what there is."""
    message = Payload()
    for name in ("Process/Flow", "Process/Bar"):
        message.metrics.add(name=name, datatype=10)
    got = form(message.SerializeToString(), "spBv1.0/g/NBIRTH/n")
    assert got.kind == "Sparkplug B, 2 metrics: Process/Flow, Process/Bar"
    assert form(b"\xff\xff", "spBv1.0/g/NDATA/n").kind == "Sparkplug B, not to be read"


def test_one_value_among_other_numbers() -> None:
    """`value` is the value; min and max are none of its signals."""
    got = form({"value": 3, "min": 1, "max": 9, "ts": NOW_US // 1000})
    assert (got.value, got.numbers, got.time, got.time_form) == ("value", (), "ts", "ms")
    assert got.offset_us == 0


def test_an_object_of_a_machine() -> None:
    got = form({"a": 1, "b": {"c": True}, "quality": 192, "time": "2026-01-01T00:00:05Z"})
    assert got.numbers == ("a", "b.c")
    assert (got.quality, got.time, got.time_form, got.offset_us) == (
        "quality",
        "time",
        "ISO 8601",
        5_000_000,
    )


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (NOW_US / 1e6, "s"),
        (NOW_US // 1000, "ms"),
        (NOW_US, "us"),
        (NOW_US * 1000, "ns"),
        ("2026-01-01T01:00:00+01:00", "ISO 8601"),
        ("2026-01-01T00:00:00", "ISO 8601 without zone"),
    ],
)
def test_forms_of_time(raw: object, name: str) -> None:
    got = form({"v": 1, "timestamp": raw})
    assert (got.time_form, got.offset_us) == (name, 0)


def test_a_key_that_only_sounds_like_a_time_is_none() -> None:
    """t: 21.5 is a temperature."""
    got = form({"t": 21.5, "h": 40})
    assert got.time == ""
    assert got.numbers == ("t", "h")


def test_a_text_that_is_the_value() -> None:
    """Called so, and a number; a version or a name beside numbers is none."""
    assert form({"value": "12.5", "ts": NOW_US}).value == "value"
    assert form({"value": "on", "fw": "1.2"}).usable
    assert form({"fw": "1.2"}).usable is False


def test_records_name_their_signals() -> None:
    """Kepware's: where they stand, and what name, value, time and quality are called."""
    got = form(
        {
            "timestamp": 1,
            "values": [
                {"id": "Ch.Dev.Flow", "v": 1.5, "q": True, "t": NOW_US // 1000},
                {"id": "Ch.Dev.Bar", "v": 2, "q": True, "t": NOW_US // 1000},
            ],
        }
    )
    assert (got.items, got.name, got.value, got.time, got.quality) == (
        "values",
        "id",
        "v",
        "t",
        "q",
    )
    assert got.numbers == ("Ch.Dev.Flow", "Ch.Dev.Bar")
