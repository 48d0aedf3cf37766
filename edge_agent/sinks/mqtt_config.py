"""The config of an MQTT broker that receives alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from edge_agent.config.types import Between, Duration, HostText, Secret
from edge_agent.transport import Tls
from edge_agent.transport.mqtt import Broker, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WINDOW: Final = 10  # of QoS 1: a larger one is reordered after a loss


@dataclass(frozen=True, slots=True)
class MqttSinkConfig(Broker):
    """An MQTT broker as the plant bus; it can keep the lease of a pair of gateways (`standby`)."""

    keeps_lease: ClassVar = True
    url: str
    username: str = ""
    password: Secret | None = None
    allow_insecure_password: bool = False  # sends it without encryption
    client_id: HostText = HostText("")  # default: edge-agent-<gateway>-<sink>-alarms
    protocol: Protocol = Protocol.AUTO
    keepalive: Annotated[Duration, Between(5, 65_535)] = Duration(30)
    send_window: Annotated[int, Between(1, MAX_WINDOW)] = MAX_WINDOW
    tls: Tls = field(default_factory=Tls)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        return self.broker_problems()
