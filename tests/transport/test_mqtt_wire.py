"""The paho client that tells why its connection ended."""

from __future__ import annotations

import ssl

import pytest

from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.transport.mqtt import BrokerClient, Protocol


class Refused:
    """A TLS 1.3 socket whose server wants a certificate and is gone before we have written."""

    def send(self, _data: bytes) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def recv(self, _size: int) -> bytes:
        raise ssl.SSLError(1, "tlsv13 alert certificate required")

    def close(self) -> None:
        pass


class Hung(Refused):
    """One whose other side is gone without a word."""

    def recv(self, _size: int) -> bytes:
        raise BlockingIOError


@pytest.mark.parametrize(
    ("socket", "said"), [(Refused, "alert certificate required"), (Hung, "Broken pipe")]
)
def test_the_last_word_of_a_server_counts_more_than_the_failed_write(
    socket: type[Refused], said: str
) -> None:
    client = BrokerClient(MqttSinkConfig("mqtt://h"), "c", Protocol.V5)
    client._sock = socket()  # type: ignore[assignment]
    with pytest.raises(BrokenPipeError):
        client._sock_send(b"CONNECT")
    assert said in client.loss
    client._sock = None
