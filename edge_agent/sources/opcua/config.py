"""The config of an OPC UA source."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the config loader reads the annotations)
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.config.schema import SourceTraits, TimeOf
from edge_agent.config.types import Between, Duration, Secret
from edge_agent.sources.opcua.address import FORM, is_address
from edge_agent.sources.zone import zone_problems
from edge_agent.transport import url_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL: Final = "must be opc.tcp://HOST:PORT/PATH"
_LOGIN: Final = "holds a login: use username and password"
_READABLE: Final = (
    "without a security policy the password is sent unencrypted: "
    "choose one, or set allow_insecure_password: true"
)
_UNCHECKED: Final = (
    "a policy needs server_certificate or trusted: an unchecked server can be any program"
)


class SecurityPolicy(StrEnum):
    """Part 7; the older policies are broken and not offered."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSAOAEP = "Aes128Sha256RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256Sha256RsaPss"


class SecurityMode(StrEnum):
    """Part 4, 7.20."""

    NONE = "None"
    SIGN = "Sign"
    SIGN_AND_ENCRYPT = "SignAndEncrypt"


@dataclass(frozen=True, slots=True)
class Security:
    """The secure channel. A server is trusted by its pinned certificate or by a folder."""

    policy: SecurityPolicy = SecurityPolicy.NONE
    mode: SecurityMode | None = None  # default: SignAndEncrypt if there is a policy
    certificate: Path | None = None
    private_key: Path | None = None
    private_key_password: Secret | None = None
    server_certificate: Path | None = None  # pinned: only this certificate is accepted
    allow_expired: bool = False  # of the pinned certificate
    trusted: Path | None = None  # a folder of certificates of servers and CAs, and *.crl


@dataclass(frozen=True, slots=True)
class OpcUaSourceConfig:
    """`type: opcua`. One server and how its nodes are monitored."""

    url: str
    security: Security = field(default_factory=Security)
    username: str = ""
    password: Secret | None = None
    allow_insecure_password: bool = False
    user_certificate: Path | None = None
    user_private_key: Path | None = None
    user_private_key_password: Secret | None = None
    application_uri: str = ""  # default: the one in the certificate
    node: str = ""  # of signals without an address: nsu=urn:plant;s={asset}.{signal}
    publishing_interval: Annotated[Duration, Between(0.01, 3600)] = Duration(0.5)
    sampling_interval: Annotated[Duration, Between(0, 3600)] | None = None  # default: publishing's
    queue_size: Annotated[int, Between(1, 100_000)] = 10
    batch: Annotated[int, Between(1, 100_000)] = 500  # nodes in one request
    timeout: Annotated[Duration, Between(0.1, 600)] = Duration(5)
    stall_after: Annotated[Duration, Between(1, 600)] | None = None  # default: three keepalives
    session_timeout: Annotated[Duration, Between(10, 3600)] = Duration(60)
    node_retry: Annotated[Duration, Between(1, 86_400)] = Duration(300)  # of refused nodes
    history: bool = True  # read what the server has stored during an outage or a stop of ours
    time: TimeOf = TimeOf.AUTO  # which clock is used: source, server, arrival, auto
    timezone: str = "UTC"  # of a server that reports its local time

    @property
    def traits(self) -> SourceTraits:
        """While the subscription is alive, a node without reports is unchanged."""
        return SourceTraits(reports_changes=True, time_of=self.time)

    @property
    def reads_history(self) -> bool:
        """True if stored values can be used: those that count by their arrival cannot."""
        return self.history and self.time is not TimeOf.ARRIVAL

    @property
    def is_secure(self) -> bool:
        """True if the channel is at least signed."""
        return self.security.policy is not SecurityPolicy.NONE

    @property
    def mode(self) -> SecurityMode:
        """The mode that is used."""
        default = SecurityMode.SIGN_AND_ENCRYPT if self.is_secure else SecurityMode.NONE
        return self.security.mode or default

    def address_problem(self, address: str) -> tuple[str, str] | None:
        """Why a signal's address (or, without one, `node`) is not a node; with a hint."""
        if not address and not self.node:
            return "has no address, and its source has no node pattern", f"write address: {FORM}"
        if address and not is_address(address):
            return "is not an OPC UA node", f"write {FORM}; `edge-agent browse` lists the nodes"
        return None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, and settings that would send a secret unencrypted."""
        yield from url_problems(self.url, ("opc.tcp",), _URL, _LOGIN)
        yield from zone_problems(self.timezone)
        if self.node and not is_address(self.node):
            yield "node", f"is not an OPC UA node: write {FORM}"
        yield from _security_problems(self)
        if self.password and not self.username:
            yield "password", "needs a username"
        if bool(self.user_certificate) != bool(self.user_private_key):
            yield "user_certificate", "user_certificate and user_private_key go together"
        if self.username and self.user_certificate:
            yield "username", "give either username or user_certificate"


def _security_problems(config: OpcUaSourceConfig) -> Iterator[tuple[str, str]]:
    security = config.security
    if not config.is_secure:
        if security.mode not in {None, SecurityMode.NONE}:
            yield "security.policy", f"mode {security.mode} needs a policy"
        if config.username and not config.allow_insecure_password:
            yield "username", _READABLE
        return
    if security.mode is SecurityMode.NONE:
        yield "security.mode", "must be Sign or SignAndEncrypt where there is a policy"
    if not (security.certificate and security.private_key):
        yield "security.certificate", "a policy needs certificate and private_key"
    if not (security.server_certificate or security.trusted):
        yield "security.server_certificate", _UNCHECKED
