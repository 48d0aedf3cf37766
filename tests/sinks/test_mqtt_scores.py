"""The block of QoS 0 packets is what MQTT says it is: paho's own decoder reads it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion

from edge_agent.sinks.mqtt_scores import PUBLISH_QOS_0, encode_scores

topics = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=300)
batches = st.lists(st.tuples(topics, st.binary(max_size=20_000)), max_size=5)


def cut(block: bytes) -> list[tuple[int, bytes]]:
    """Packets as (first byte, rest), by the remaining length of MQTT 5, 1.5.5."""
    packets = []
    while block:
        length = shift = 0
        for place in range(1, 5):
            length |= (block[place] & 0x7F) << shift
            shift += 7
            if block[place] < 0x80:
                break
        packets.append((block[0], block[place + 1 : place + 1 + length]))
        assert len(packets[-1][1]) == length, "the last packet is whole"
        block = block[place + 1 + length :]
    return packets


@pytest.mark.parametrize("v5", [True, False])
@given(batches)
def test_each_message_is_read_back(v5: bool, batch: list[tuple[str, bytes]]) -> None:  # noqa: FBT001
    version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
    read = []
    for head, rest in cut(encode_scores(batch, v5=v5)):
        assert head == PUBLISH_QOS_0
        packet = _packet.decode_publish(head, bytearray(rest), version)
        assert (packet.qos, packet.retain, packet.dup) == (0, False, False)
        read.append((packet.topic.decode(), bytes(packet.payload)))
    assert read == batch


@pytest.mark.parametrize("size", [0, 116, 117, 118, 16_373, 16_374, 16_375, 2_097_141, 2_097_142])
def test_lengths_around_each_further_byte(size: int) -> None:
    """Topic and its length take 10 bytes, and the properties one."""
    ((_, rest),) = cut(encode_scores([("edge/s/1", b"x" * size)], v5=True))
    assert len(rest) == size + 11


def test_nothing_is_nothing() -> None:
    assert encode_scores([], v5=True) == b""
