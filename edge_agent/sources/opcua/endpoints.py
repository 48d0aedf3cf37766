"""The endpoints that a server offers, and which of its certificates is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies

from edge_agent.errors import ConnectError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.explain import explained
from edge_agent.sources.opcua.trust import (
    application_uri,
    check_pinned,
    check_trusted,
    read_certificate,
    read_pair,
    split_chain,
)
from edge_agent.transport import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from edge_agent.config.types import Secret
    from edge_agent.sources.opcua.config import OpcUaSourceConfig

_POLICIES: Final[Mapping[str, Any]] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_DEFAULT_PORT: Final = 4840


async def secure(client: Client, config: OpcUaSourceConfig) -> None:
    """Set policy, mode, our certificate and the server's, which is checked here."""
    security = config.security
    certificate, key = load_pair(
        security.certificate, security.private_key, security.private_key_password
    )
    client.application_uri = application_uri(certificate, config.application_uri)
    policy = _POLICIES[security.policy]
    mode = getattr(ua.MessageSecurityMode, config.mode)
    server = await _trusted_server(config, policy.URI, mode)
    client.security_policy = policy(server, certificate, key, mode)
    client.uaclient.set_security(client.security_policy)


async def _trusted_server(
    config: OpcUaSourceConfig, policy: str, mode: ua.MessageSecurityMode
) -> x509.Certificate:
    """The server's certificate: the pinned one, or the presented one if a trusted one confirms it.

    The presented certificate is read over an unsecured channel and proves nothing by itself.
    """
    security = config.security
    pinned = read_certificate(security.server_certificate) if security.server_certificate else None
    endpoints = await _endpoints(config)
    chosen = [e for e in endpoints if (e.SecurityPolicyUri, e.SecurityMode) == (policy, mode)]
    if endpoints and not chosen:
        raise RefusedError(
            f"the server does not offer {security.policy} with {config.mode}",
            where=config.url,
            hint=f"it offers {_offers(endpoints)}",
        )
    shown = split_chain(chosen[0].ServerCertificate or b"") if chosen else []
    if pinned is not None:
        # A hardened server may refuse to list its endpoints unsecured; it must then prove that it
        # has the pinned certificate's key, or the secure channel is not established.
        check_pinned(pinned, shown, allow_expired=security.allow_expired)
        return pinned
    if security.trusted is None:
        raise RefusedError("no trusted server is configured", where=config.url)
    uri = str(chosen[0].Server.ApplicationUri) if chosen else ""
    check_trusted(security.trusted, shown, uri, urlsplit(config.url).hostname or "")
    return shown[0]


async def _endpoints(config: OpcUaSourceConfig) -> Sequence[ua.EndpointDescription]:
    """The server's endpoints, requested over an unsecured channel.

    Empty if a hardened server refuses that and its certificate is pinned: then nothing is needed
    from an unsecured channel.
    """
    client = Client(with_port(config.url), timeout=config.timeout)
    step = "asking for the endpoints"
    try:
        with explained(step, config.url):
            await wire.connect_socket(client, *host_and_port(config.url), config.timeout)
        with explained(step, config.url):
            await client.send_hello()
            wire.bound(client)
            await wire.open_channel(client)
            return await client.get_endpoints()
    except ConnectError as error:
        if client.uaclient.protocol is None:
            raise
        if config.security.server_certificate:
            return []
        if isinstance(error, RefusedError):
            error.hint = "it does not list them without encryption: pin security.server_certificate"
        raise
    finally:
        wire.cut(client)


async def offer(config: OpcUaSourceConfig) -> str:
    """The settings to use if the server refuses the policy or mode."""
    try:
        offers = _offers(await _endpoints(config))
    except ConnectError:
        offers = ""
    if offers:
        return f"it offers {offers}"
    if config.is_secure:
        return "ask its administrator which policies and modes it offers: it does not list them"
    return (
        "it accepts only secure connections: set security.policy (Basic256Sha256 as a rule), "
        "certificate, private_key and server_certificate"
    )


def _offers(endpoints: Sequence[ua.EndpointDescription]) -> str:
    offers = {
        f"{(e.SecurityPolicyUri or '').rpartition('#')[2]}/{e.SecurityMode.name.rstrip('_')}"
        for e in endpoints
    }
    return ", ".join(sorted(offers)[:16])


def load_pair(
    certificate: Path | None, key: Path | None, password: Secret | None
) -> tuple[x509.Certificate, RSAPrivateKey]:
    """Read a certificate and its private key; RefusedError if one of them is not configured."""
    if certificate is None or key is None:
        raise RefusedError("a certificate and its private key are needed")
    return read_pair(certificate, key, password.reveal() if password else None)


def host_and_port(url: str) -> tuple[str, int]:
    """The host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORT


def with_port(url: str) -> str:
    """The URL, with the default port if it has none."""
    parts = urlsplit(url)
    return url if parts.port else parts._replace(netloc=f"{parts.netloc}:{_DEFAULT_PORT}").geturl()
