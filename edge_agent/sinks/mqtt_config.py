"""What the config says about an MQTT broker that takes alarms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from edge_agent.config.types import Between, Duration, HostText, Secret
from edge_agent.transport import Tls

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
MAX_WINDOW: Final = 10  # of QoS 1: a larger one is reordered after a loss


class Protocol(StrEnum):
    """Version of MQTT. AUTO: 5, but 3.1.1 if the broker says that it has no 5, or never answers."""

    AUTO = "auto"
    V311 = "3.1.1"
    V5 = "5"


@dataclass(frozen=True, slots=True)
class MqttSinkConfig:
    """An MQTT broker as the plant bus."""

    url: str
    username: str = ""
    password: Secret | None = None
    client_id: HostText = HostText("")  # default: edge-agent-<gateway>-<sink>-alarms
    protocol: Protocol = Protocol.AUTO
    keepalive: Annotated[Duration, Between(5, 65_535)] = Duration(30)
    send_window: Annotated[int, Between(1, MAX_WINDOW)] = MAX_WINDOW
    tls: Tls = field(default_factory=Tls)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        yield from _url_problems(self.url)
        if self.password is not None and not self.username:
            yield "password", "needs a username"
        if self.tls != Tls() and not self.url.startswith("mqtts:"):
            yield "tls", "has no effect without mqtts://"

    @property
    def host(self) -> str:
        """The broker's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's TCP port."""
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return urlsplit(self.url).scheme == "mqtts"


def _url_problems(url: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield "url", str(error)
        return
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        yield "url", "write mqtt://host:port or mqtts://host:port"
    elif parts.username is not None:
        yield "url", "credentials have keys of their own: username, password"
    elif parts.path.strip("/") or parts.query or parts.fragment:
        yield "url", "has nothing after the port"
