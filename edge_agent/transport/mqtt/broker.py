"""The config of an MQTT broker, shared by source and sink."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

# (the config's loader asks for the types of fields, those of the bases too)
from edge_agent.config.types import Duration, Secret  # noqa: TC001
from edge_agent.transport.tls import Tls
from edge_agent.transport.url import is_loopback, url_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_FORM: Final = "write mqtt://host:port or mqtts://host:port"
_READABLE: Final = "would be sent unencrypted: use mqtts://, or set allow_insecure_password: true"
_LOGIN: Final = "credentials have keys of their own: username, password"


class Protocol(StrEnum):
    """Version of MQTT. AUTO: 5, but 3.1.1 if the broker has no 5."""

    AUTO = "auto"
    V5 = "5"
    V311 = "3.1.1"


class Broker:
    """The part of a config struct with the address of a broker and our login."""

    __slots__ = ()

    url: str
    username: str
    password: Secret | None
    allow_insecure_password: bool
    tls: Tls
    keepalive: Duration

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
        """True if TLS is used."""
        return urlsplit(self.url).scheme == "mqtts"

    def broker_problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        problems = list(url_problems(self.url, PORTS, _FORM, _LOGIN, bare=True))
        yield from problems
        if self.password is not None and not self.username:
            yield "password", "needs a username"
        elif self.password is not None and not problems and self._is_readable():
            yield "password", _READABLE
        if self.tls != Tls() and not self.url.startswith("mqtts:"):
            yield "tls", "has no effect without mqtts://"

    def _is_readable(self) -> bool:
        """True if others on the network could read the password, and that is not allowed."""
        return not (self.encrypted or self.allow_insecure_password or is_loopback(self.url))
