"""The client between paho and the socket: what it cannot send waits, what it reads is whole."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from mqtt_support import mqtt_config, packet, publish_packet

from edge_agent.sources.mqtt.paho_client import READ_BYTES, Client
from edge_agent.transport.mqtt import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[Client, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connected client, and the broker's end of its socket."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    client = Client(mqtt_config("mqtt://127.0.0.1"), "c", Protocol.V311, 0, set())
    client.on_socket_register_write = lambda *_: None
    client.opened = ours
    client.connect("127.0.0.1", 1883)
    client.loop_write()
    theirs.recv(1000)
    yield client, theirs
    client.drop("end of the test")
    theirs.close()


def test_acks_that_the_socket_does_not_take_wait_in_order(pair: Pair) -> None:
    """A broker that reads slowly gets every byte once, also of an ack that was cut in two."""
    client, theirs = pair
    acks = [b"\x40\x02" + (n % 65_536).to_bytes(2, "big") for n in range(400_001)]
    client.acknowledge(acks[:400_000])
    client.acknowledge(acks[400_000:])
    assert client.want_write()
    got = bytearray()
    while len(got) < 4 * len(acks):
        got += theirs.recv(100_001)
        client.loop_write()
    assert bytes(got) == b"".join(acks)


def test_an_empty_socket_is_told_from_a_closed_one(pair: Pair) -> None:
    client, theirs = pair
    assert client.receive() is None
    assert client.socket() is not None
    theirs.close()
    assert client.receive() is None
    assert client.socket() is None
    assert client.loss == "closed by the broker"


def test_other_packets_are_served_to_paho_whole(pair: Pair) -> None:
    """A SUBACK in pieces and between messages reaches paho's own callback."""
    client, theirs = pair
    granted: list[int] = []
    client.on_subscribe = lambda _c, _u, mid, *_: granted.append(mid)
    suback = packet(0x90, b"\x00\x07\x01")
    theirs.send(publish_packet(b"t", b"1") + suback[:2])
    first = client.receive()
    theirs.send(suback[2:] + publish_packet(b"t", b"2"))
    second = client.receive()
    assert first is not None
    assert second is not None
    assert (first.payloads, second.payloads) == ([b"1"], [b"2"])
    assert granted == [7]


def test_a_read_that_fills_its_buffer_says_so(pair: Pair) -> None:
    client, theirs = pair
    theirs.settimeout(None)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * READ_BYTES)
    theirs.send(publish_packet(b"t", b"x" * READ_BYTES))
    first = client.receive()
    assert first is not None
    assert (client.more, first.topics) == (True, [])
    second = client.receive()
    assert second is not None
    assert (client.more, second.topics) == (False, [b"t"])


def test_a_packet_that_paho_refuses_ends_the_connection(pair: Pair) -> None:
    client, theirs = pair
    theirs.send(packet(0xF0, b""))
    client.receive()
    assert client.socket() is None


def test_a_late_pingresp_does_not_end_a_busy_connection(pair: Pair) -> None:
    """It waits behind all that the broker has queued for us; what arrives before it is proof."""
    client, theirs = pair
    client._ping_t = 1.0  # a PINGREQ was sent, long ago
    theirs.send(publish_packet(b"t", b"1"))
    client.receive()
    client.loop_misc()
    assert client.socket() is not None
    assert client.loss == ""
