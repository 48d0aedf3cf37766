"""The cutter: the same messages from a byte stream however it is split, and no way to break it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_support import packet, publish_packet

from edge_agent.sources.mqtt.paho_client import FrameCutter, Messages

LIMIT = 20_000
PINGRESP = b"\xd0\x00"


@dataclass
class Sum:
    """All that came out of several cuts."""

    messages: list[tuple[bytes, bytes, bool]] = field(default_factory=list)
    acks: list[bytes] = field(default_factory=list)
    control: list[bytes] = field(default_factory=list)
    too_large: list[bytes] = field(default_factory=list)
    malformed: str = ""

    def add(self, out: Messages) -> None:
        for n, pair in enumerate(zip(out.topics, out.payloads, strict=True)):
            self.messages.append((*pair, n in out.retained))
        self.acks += out.acks
        self.control += out.control
        self.too_large += out.too_large
        self.malformed = self.malformed or out.malformed


def cut(chunks: list[bytes], *, v5: bool, held: set[bytes] | None = None) -> Sum:
    cutter = FrameCutter(LIMIT, v5=v5, held=set() if held is None else held)
    total = Sum()
    for chunk in chunks:
        total.add(cutter.cut(chunk))
        if total.malformed:
            break
    return total


def pid(n: int) -> bytes:
    return n.to_bytes(2, "big")


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], Sum, bool]:
    """Packets of every kind that a broker sends, and what should come out of them."""
    v5 = draw(st.booleans())
    packets: list[bytes] = []
    expected = Sum()
    for n in range(1, draw(st.integers(1, 12)) + 1):
        kind = draw(st.sampled_from(["publish"] * 4 + ["pubrel", "control", "large"]))
        if kind == "pubrel":
            packets.append(packet(0x62, pid(n) + (b"\x00" if v5 else b"")))
            expected.acks.append(b"\x70\x02" + pid(n))
        elif kind == "control":
            packets.append(packet(0x90, draw(st.binary(min_size=3, max_size=300))))
            expected.control.append(packets[-1])
        else:
            packets.append(_publish(draw, n, expected, v5=v5, large=kind == "large"))
    return packets, expected, v5


def _publish(draw: st.DrawFn, n: int, expected: Sum, *, v5: bool, large: bool) -> bytes:
    topic = draw(st.binary(min_size=1, max_size=200))
    qos, retain = draw(st.integers(0, 2)), draw(st.booleans())
    size = LIMIT + 1 if large else draw(st.sampled_from([0, 1, 50, 120, 300, 17_000]))
    payload = random.Random(n).randbytes(size)  # noqa: S311
    properties = draw(st.sampled_from([b"", b"x" * 5, b"y" * 200])) if v5 else None
    if qos:
        expected.acks.append((b"\x40\x02" if qos == 1 else b"\x50\x02") + pid(n))
    if large:
        expected.too_large.append(topic)
    else:
        expected.messages.append((topic, payload, retain))
    return publish_packet(
        topic, payload, qos=qos, packet_id=n, retain=retain, properties=properties
    )


@given(streams(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same_messages(
    stream: tuple[list[bytes], Sum, bool], data: st.DataObject
) -> None:
    """What comes out depends on the bytes only, not on how the network cut them."""
    packets, expected, v5 = stream
    whole = b"".join(packets)
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    chunks = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    assert cut([whole], v5=v5) == expected
    assert cut(chunks, v5=v5) == expected


def test_byte_by_byte_is_enough() -> None:
    stream = (
        publish_packet(b"t", b"x" * 400, qos=1, packet_id=7)
        + PINGRESP
        + publish_packet(b"t", b"y" * (LIMIT + 5), qos=2, packet_id=8)
        + publish_packet(b"u", b"z")
    )
    total = cut([stream[n : n + 1] for n in range(len(stream))], v5=False)
    assert total.messages == [(b"t", b"x" * 400, False), (b"u", b"z", False)]
    assert (total.too_large, total.control) == ([b"t"], [PINGRESP])
    assert total.acks == [b"\x40\x02" + pid(7), b"\x50\x02" + pid(8)]


@given(st.lists(st.binary(max_size=400), max_size=8), st.booleans())
@settings(max_examples=1000, deadline=None)
def test_noise_ends_in_malformed_or_nothing(chunks: list[bytes], v5: bool) -> None:  # noqa: FBT001
    """Random bytes never raise."""
    total = cut(chunks, v5=v5)
    assert all(isinstance(topic, bytes) for topic, _, _ in total.messages)


def test_ten_thousand_mutated_streams_never_raise() -> None:
    chance = random.Random(5)  # noqa: S311
    base = b"".join(
        publish_packet(
            b"plant/l/a/s", b'{"ts":1767225600000,"value":1}', qos=n % 3, packet_id=n + 1
        )
        for n in range(6)
    )
    for _ in range(10_000):
        mutated = bytearray(base)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        split = chance.randrange(len(mutated))
        cut([bytes(mutated[:split]), bytes(mutated[split:])], v5=chance.random() < 0.5)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\x36\x05\x00\x01t\x00\x01", "QoS 3"),
        (b"\x30\x01\x00", "cut short"),
        (b"\x30\x03\x00\x05t" + b"x" * 9, "longer than the packet"),
        (b"\x32\x03\x00\x01t" + b"x" * 9, "longer than the packet"),
        (b"\x30\xff\xff\xff\xff\x01", "four bytes"),
        (b"\x62\x01\x00\x00", "without packet id"),
        (b"\x90\xff\xff\x7f" + b"x", "a control packet of"),
    ],
)
def test_what_is_no_mqtt_ends_the_stream(stream: bytes, reason: str) -> None:
    assert reason in cut([stream], v5=False).malformed


def test_properties_longer_than_the_packet_end_the_stream() -> None:
    assert "longer" in cut([packet(0x30, b"\x00\x01t\x7f")], v5=True).malformed
    assert cut([packet(0x30, b"\x00\x01t")], v5=True).malformed


def test_messages_before_a_malformed_one_are_kept() -> None:
    total = cut([publish_packet(b"t", b"1") + b"\x36\x05\x00\x01t\x00\x01"], v5=False)
    assert total.messages == [(b"t", b"1", False)]


def test_qos2_repeated_before_its_release_is_one_message() -> None:
    """MQTT 5, 4.3.3: exactly once, also over a new connection with the same set of ids."""
    held: set[bytes] = set()
    message = publish_packet(b"t", b"1", qos=2, packet_id=9)
    first = cut([message, message], v5=False, held=held)
    again = cut([message, packet(0x62, pid(9)), message], v5=False, held=held)
    assert [len(first.messages), len(again.messages)] == [1, 1]
    assert again.acks == [b"\x50\x02" + pid(9), b"\x70\x02" + pid(9), b"\x50\x02" + pid(9)]


def test_a_message_too_large_is_not_kept_in_memory() -> None:
    cutter = FrameCutter(LIMIT, v5=False, held=set())
    big = publish_packet(b"t", b"x" * 5_000_000)
    assert cutter.cut(big[:100]).too_large == [b"t"]
    for at in range(100, len(big), 65_536):
        cutter.cut(big[at : at + 65_536])
        assert cutter._have <= 5
    assert cutter.cut(publish_packet(b"u", b"2")).topics == [b"u"]
