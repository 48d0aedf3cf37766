"""Sparkplug B: births, aliases, deaths, gaps in the sequence, and what asks for a rebirth."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_support import make_plant, rejected

from edge_agent.config import schema
from edge_agent.ops.metrics import Metrics
from edge_agent.sources.mqtt.paho_client import Messages
from edge_agent.sources.mqtt.readings import Readings
from edge_agent.sources.mqtt.refusals import Refusals
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.sources.mqtt.sparkplug import BIRTHS_MISSING, SparkplugReader
from edge_agent.sources.mqtt.sparkplug_config import Sparkplug
from edge_agent.sources.mqtt.sparkplug_wire import metrics_of, parse_payload, read_value
from edge_agent.values import BAD_NO_COMMUNICATION, GOOD

NOW_MS = 1_767_225_600_000
NOW_US = NOW_MS * 1000
INT16, INT32, INT64, UINT8, FLOAT, DOUBLE, BOOLEAN, STRING = 2, 3, 4, 5, 9, 10, 11, 12
DATASET, TEMPLATE, FLOAT_ARRAY = 16, 19, 30


# -- a writer of protobuf that knows nothing of the reader's table ---------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, raw: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def metric(
    value: Any = None,
    *,
    name: str = "",
    alias: int | None = None,
    kind: int = 0,
    ms: int | None = None,
    quality: int | None = None,
) -> bytes:
    """A metric; a value of None is null. Field numbers are those of the specification, 6.4.5."""
    raw = chunk(1, name.encode()) if name else b""
    raw += number(2, alias) if alias is not None else b""
    raw += number(3, ms) if ms is not None else b""
    raw += number(4, kind) if kind else b""
    if quality is not None:
        raw += chunk(9, chunk(1, b"Quality") + chunk(2, number(1, INT32) + number(3, quality)))
    return raw + (number(7, 1) if value is None else WRITERS[kind](value))


WRITERS: dict[int, Any] = {
    0: lambda value: varint(13 << 3 | 1) + struct.pack("<d", value),
    INT16: lambda value: number(10, value & 0xFFFFFFFF),
    INT32: lambda value: number(10, value & 0xFFFFFFFF),
    INT64: lambda value: number(11, value & (1 << 64) - 1),
    UINT8: lambda value: number(10, value & 0xFFFFFFFF),
    FLOAT: lambda value: varint(12 << 3 | 5) + struct.pack("<f", value),
    DOUBLE: lambda value: varint(13 << 3 | 1) + struct.pack("<d", value),
    BOOLEAN: lambda value: number(14, int(value)),
    STRING: lambda value: chunk(15, value.encode()),
    DATASET: lambda _: chunk(17, b""),
    TEMPLATE: lambda value: chunk(18, b"".join(chunk(2, one) for one in value)),
    FLOAT_ARRAY: lambda value: chunk(16, struct.pack(f"<{len(value)}f", *value)),
}


def message(seq: int, *metrics: bytes, ms: int = NOW_MS) -> bytes:
    return number(1, ms) + b"".join(chunk(2, one) for one in metrics) + number(3, seq)


class Bench:
    """A reader with its plant; `hear` gives (signal, value, status) of what a message brought."""

    def __init__(self, *assets: str, signals: Any = None, **options: Any) -> None:
        self.plant = make_plant(*assets, signals=signals)
        self.metrics = Metrics()
        refusals = Refusals("bus", self.metrics)
        routes = Routes("bus", (), self.plant, self.metrics, refusals)
        self.reader = SparkplugReader("bus", Sparkplug(**options), routes, refusals)
        self.s = 0.0
        self.out = Readings(NOW_US)

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> list[Any]:
        self.out = Readings(NOW_US)
        held = Messages([f"spBv1.0/G/{topic}".encode()], [payload], [0] if retained else [])
        self.reader.read(held, self.out, self.s)
        return self.readings()

    def readings(self) -> list[Any]:
        names = [f"{s.asset.id}.{s.name}" for s in self.plant.signals]
        rows = zip(self.out.signal, self.out.value, self.out.status, strict=True)
        return [(names[n], None if math.isnan(v) else v, status) for n, v, status in rows]

    def born(self, **options: Any) -> None:
        """Node N with bdSeq 7, and device P1 of two metrics."""
        birth = message(0, metric(7, name="bdSeq", kind=INT64))
        assert self.hear("NBIRTH/N", birth) == []
        self.hear("DBIRTH/N/P1", message(1, *device(**options)))

    def asked(self) -> list[str]:
        requests, self.reader.requests = self.reader.requests, []
        return [topic for topic, _ in requests]


def device(ms: int | None = None) -> tuple[bytes, bytes]:
    return (
        metric(4.5, name="s0", alias=10, kind=DOUBLE, ms=ms),
        metric(-3, name="s1", alias=11, kind=INT32, ms=ms),
    )


# -- values ----------------------------------------------------------------------------------------


def test_a_birth_brings_values_and_aliases_for_what_follows() -> None:
    """Data messages name their metrics by the alias alone, and leave the data type out."""
    bench = Bench("P1")
    bench.hear("NBIRTH/N", message(0))
    assert bench.hear("DBIRTH/N/P1", message(1, *device())) == [
        ("P1.s0", 4.5, GOOD),
        ("P1.s1", -3.0, GOOD),
    ]
    data = message(2, metric(7.25, alias=10), number(2, 11) + number(10, 0xFFFFFFFE))
    assert bench.hear("DDATA/N/P1", data) == [("P1.s0", 7.25, GOOD), ("P1.s1", -2.0, GOOD)]
    by_name = message(3, metric(8.5, name="s0", kind=DOUBLE))
    assert bench.hear("DDATA/N/P1", by_name) == [("P1.s0", 8.5, GOOD)]
    assert bench.asked() == []


def test_times_are_those_of_the_metric_else_of_the_payload() -> None:
    bench = Bench("P1")
    bench.born()
    bench.hear(
        "DDATA/N/P1", message(2, metric(1.0, alias=10, ms=NOW_MS - 50), metric(2.0, alias=11))
    )
    assert bench.out.time_us == [NOW_US - 50_000, NOW_US]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (INT16, -5, -5.0),
        (INT32, -(2**31), -(2.0**31)),
        (INT64, -(2**40), -(2.0**40)),
        (UINT8, 200, 200.0),
        (FLOAT, 1.5, 1.5),
        (DOUBLE, -1e300, -1e300),
        (BOOLEAN, True, 1.0),
        (STRING, "23.4 °C", 23.4),
    ],
)
def test_every_type_that_is_a_number(kind: int, value: Any, expected: float) -> None:
    """Signed integers stand in unsigned fields as two's complement."""
    bench = Bench("P1")
    bench.hear("NBIRTH/N", message(0))
    found = bench.hear("DBIRTH/N/P1", message(1, metric(value, name="s0", kind=kind)))
    assert found == [("P1.s0", expected, GOOD)]


@pytest.mark.parametrize(
    ("quality", "value", "status"),
    [(192, 4.5, GOOD), (0, 4.5, "bad"), (500, 4.5, BAD_NO_COMMUNICATION), (77777, 4.5, "bad")],
)
def test_quality_is_a_property(quality: int, value: float, status: object) -> None:
    """Ignition sends 192, 0 and 500; what is not known is bad."""
    bench = Bench("P1")
    bench.hear("NBIRTH/N", message(0))
    birth = message(1, metric(4.5, name="s0", kind=DOUBLE, quality=quality))
    ((name, got, code),) = bench.hear("DBIRTH/N/P1", birth)
    assert (name, got) == ("P1.s0", value)
    assert code == status if status != "bad" else code >= 0x8000_0000


def test_null_and_what_is_no_number_is_bad_and_never_a_value() -> None:
    """A data set can be no number; that is said with the name of its metric."""
    bench = Bench("P1")
    bench.hear("NBIRTH/N", message(0))
    birth = message(1, metric(None, name="s0", kind=DOUBLE), metric(0, name="s1", kind=DATASET))
    found = bench.hear("DBIRTH/N/P1", birth)
    assert [(name, value) for name, value, _ in found] == [("P1.s0", None), ("P1.s1", None)]
    assert all(status >= 0x8000_0000 for *_, status in found)
    assert rejected(bench.metrics) == {"type": 1.0}


def test_members_of_templates_and_waveforms() -> None:
    """A UDT of Ignition is a template: its members are called template/member."""
    signals = {
        "udt/flow": schema.Signal(),
        "wave": schema.Signal(kind=schema.Kind.WAVEFORM, rate_hz=100),
    }
    bench = Bench("P1", signals=signals)
    bench.hear("NBIRTH/N", message(0))
    udt = metric([metric(9.5, name="flow", kind=DOUBLE)], name="udt", kind=TEMPLATE)
    wave = metric([1.0, 2.0], name="wave", kind=FLOAT_ARRAY)
    assert bench.hear("DBIRTH/N/P1", message(1, udt, wave)) == [("P1.udt/flow", 9.5, GOOD)]
    (block,) = bench.out.blocks
    assert (block.samples.tolist(), block.rate_hz) == ([1.0, 2.0], 100.0)


# -- deaths ----------------------------------------------------------------------------------------


def test_a_device_that_dies_takes_its_values_with_it() -> None:
    bench = Bench("P1", "P2")
    bench.born()
    bench.hear("DBIRTH/N/P2", message(2, metric(1.0, name="s0", kind=DOUBLE)))
    gone = bench.hear("DDEATH/N/P1", message(3))
    assert gone == [("P1.s0", None, BAD_NO_COMMUNICATION), ("P1.s1", None, BAD_NO_COMMUNICATION)]


def test_a_node_that_dies_takes_all_its_devices_with_it_and_an_old_will_does_not() -> None:
    """A will that the broker sends late is of an earlier connection: its bdSeq is another one."""
    bench = Bench("P1")
    bench.born()
    assert bench.hear("NDEATH/N", message(0, metric(6, name="bdSeq", kind=INT64))) == []
    gone = bench.hear("NDEATH/N", message(0, metric(7, name="bdSeq", kind=INT64)))
    assert {status for *_, status in gone} == {BAD_NO_COMMUNICATION}
    assert len(gone) == 2
    assert bench.hear("DDATA/N/P1", message(2, metric(1.0, alias=10))) == []


def test_a_death_is_not_earlier_than_the_last_value() -> None:
    """A node whose clock is ahead would else die in its own past, and nobody would notice."""
    bench = Bench("P1")
    bench.born(ms=NOW_MS + 4000)
    bench.hear("DDEATH/N/P1", message(2))
    assert set(bench.out.time_us) == {NOW_US + 4_000_000}


def test_after_a_lost_connection_nothing_is_known_to_hold() -> None:
    """Deaths were not heard; known nodes are asked for their births."""
    bench = Bench("P1")
    bench.born()
    bench.out = Readings(NOW_US)
    bench.reader.forget_births(bench.out)
    assert {status for *_, status in bench.readings()} == {BAD_NO_COMMUNICATION}
    bench.reader.request_known_births(bench.s, NOW_US)
    assert bench.asked() == ["spBv1.0/G/NCMD/N"]


# -- what is missing -------------------------------------------------------------------------------


def test_data_without_a_birth_asks_for_it_less_and_less_often() -> None:
    bench = Bench("P1")
    times = []
    for second in range(200):
        bench.s = float(second)
        assert bench.hear("DDATA/N/P1", message(second % 256, metric(1.0, alias=10))) == []
        times += [second] * len(bench.asked())
    assert times == [0, 10, 30, 70, 150]


def test_births_that_stay_away_are_a_fault_until_they_come() -> None:
    """Else the machine would be blind and green."""
    bench = Bench("P1")
    faults: dict[str, Any] = {}
    for second in (0.0, 31.0):
        bench.s = second
        bench.hear("DDATA/N/P1", message(1, metric(1.0, alias=10)))
        bench.reader.report(faults, second)
        assert bool(faults) == (second > 30)
    assert faults["births.bus"].detail.message_key == BIRTHS_MISSING
    bench.born()
    bench.reader.report(faults, 32.0)
    assert faults == {}


def test_a_gap_in_the_sequence_asks_for_a_rebirth_and_values_go_on() -> None:
    """The number wraps from 255 to 0; that is no gap."""
    bench = Bench("P1")
    bench.hear("NBIRTH/N", message(254))
    bench.hear("DBIRTH/N/P1", message(255, *device()))
    bench.hear("DDATA/N/P1", message(0, metric(1.0, alias=10)))
    assert bench.asked() == []
    assert bench.hear("DDATA/N/P1", message(2, metric(2.0, alias=10))) == [("P1.s0", 2.0, GOOD)]
    assert bench.asked() == ["spBv1.0/G/NCMD/N"]


def test_an_alias_that_was_never_born_asks_for_a_rebirth() -> None:
    bench = Bench("P1")
    bench.born()
    assert bench.hear("DDATA/N/P1", message(2, metric(1.0, alias=99))) == []
    assert bench.asked() == ["spBv1.0/G/NCMD/N"]


def test_a_rebirth_gives_aliases_anew() -> None:
    """The same number may be another metric from then on."""
    bench = Bench("P1")
    bench.born()
    bench.hear("NBIRTH/N", message(0, metric(8, name="bdSeq", kind=INT64)))
    bench.hear("DBIRTH/N/P1", message(1, metric(1.0, name="s1", alias=10, kind=DOUBLE)))
    assert bench.hear("DDATA/N/P1", message(2, metric(5.0, alias=10))) == [("P1.s1", 5.0, GOOD)]


def test_an_alias_that_a_rebirth_leaves_out_is_nobodys() -> None:
    """Else a value would be given to a metric that the node does not have any more."""
    bench = Bench("P1")
    bench.born()
    bench.hear("NBIRTH/N", message(0, metric(8, name="bdSeq", kind=INT64)))
    bench.hear("DBIRTH/N/P1", message(1, metric(1.0, name="s0", alias=10, kind=DOUBLE)))
    assert bench.hear("DDATA/N/P1", message(2, metric(5.0, alias=11))) == []
    assert bench.asked() == ["spBv1.0/G/NCMD/N"]


def test_requests_can_be_forbidden() -> None:
    bench = Bench("P1", rebirth=False)
    bench.hear("DDATA/N/P1", message(1, metric(1.0, alias=10)))
    assert bench.asked() == []


def test_retained_births_are_of_another_day() -> None:
    bench = Bench("P1")
    assert bench.hear("NBIRTH/N", message(0), retained=True) == []
    assert rejected(bench.metrics) == {"retained": 1.0}


# -- assets ----------------------------------------------------------------------------------------


def test_metrics_may_name_the_asset() -> None:
    bench = Bench("Pump-1", metric="{asset}/{signal}", asset="{asset}")
    birth = message(
        0, metric(1.0, name="Pump 1/s0", kind=DOUBLE), metric(1.0, name="s1", kind=DOUBLE)
    )
    assert bench.hear("NBIRTH/N", birth) == [("Pump-1.s0", 1.0, GOOD)]


def test_two_nodes_with_a_device_of_one_name_are_two_machines() -> None:
    """The second is refused, unless the asset's name holds the node."""
    bench = Bench("P1")
    bench.born()
    bench.hear("NBIRTH/M", message(0))
    assert bench.hear("DBIRTH/M/P1", message(1, *device())) == []
    assert rejected(bench.metrics)["two_machines"] >= 1
    split = Bench("N-P1", "M-P1", asset="{node}-{device}")
    split.born()
    split.hear("NBIRTH/M", message(0))
    assert [name for name, *_ in split.hear("DBIRTH/M/P1", message(1, *device()))] == [
        "M-P1.s0",
        "M-P1.s1",
    ]


def test_devices_are_discovered_with_a_template() -> None:
    bench = Bench(template="pump")
    bench.born()
    assert [name for name, *_ in bench.readings()] == ["P1.s0", "P1.s1"]


def test_what_has_no_signal_of_the_template_is_no_machine() -> None:
    """An edge node's own metrics make no ghost, and a device with other metrics is named."""
    bench = Bench(template="pump")
    bench.hear("NBIRTH/N", message(0, metric(1.0, name="Uptime", kind=DOUBLE)))
    bench.hear("DBIRTH/N/P1", message(1, metric(1.0, name="Other", kind=DOUBLE)))
    assert list(bench.plant.assets) == []
    assert rejected(bench.metrics)["unknown_signal"] == 1
    bench.hear("DBIRTH/N/P2", message(2, metric(1.0, name="s0", kind=DOUBLE)))
    assert list(bench.plant.assets) == ["P2"]


# -- hostile ---------------------------------------------------------------------------------------


@given(
    st.binary(max_size=300), st.sampled_from(["NBIRTH/N", "DBIRTH/N/P1", "DDATA/N/P1", "NDEATH/N"])
)
def test_any_bytes_are_read_or_counted(payload: bytes, topic: str) -> None:
    """Never raised; NaN and infinity are never Good."""
    bench = Bench("P1")
    bench.born()
    for _, value, status in bench.hear(topic, payload):
        assert status != GOOD or (value is not None and np.isfinite(value))


@given(
    st.lists(
        st.tuples(st.sampled_from([INT16, INT32, INT64, UINT8]), st.integers(-(2**63), 2**64 - 1))
    )
)
def test_integers_of_any_size_are_numbers_of_their_type(pairs: list[tuple[int, int]]) -> None:
    raw = message(0, *(metric(value, name="x", kind=kind) for kind, value in pairs))
    bounds = {
        INT16: (-(2**15), 2**15),
        INT32: (-(2**31), 2**31),
        INT64: (-(2**63), 2**63),
        UINT8: (0, 256),
    }
    for (kind, _), found in zip(pairs, metrics_of(parse_payload(raw)), strict=True):
        low, high = bounds[kind]
        number = read_value(found.raw, found.datatype)
        assert isinstance(number, float)
        assert low <= number <= high


@pytest.mark.parametrize("topic", ["NCMD/N", "STATE", "DDATA/N/P1/more", "XDATA/N"])
def test_other_topics_are_left_alone(topic: str) -> None:
    bench = Bench("P1")
    assert bench.hear(topic, b"\xff\xff") == []
    assert rejected(bench.metrics) == {}
