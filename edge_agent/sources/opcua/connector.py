"""One connection to a server: channel, session, trust; opened in steps and closed within a limit.

The library's own `connect` is not used: it starts tasks that watch and reconnect by their own
rules, and it sends the user's password before the server's certificate can be checked.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge_agent.errors import ConnectError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.explain import TRUST_US, explained, is_policy, status_name
from edge_agent.sources.opcua.trust import (
    application_uri,
    check_pinned,
    check_trusted,
    ended_text,
    read_certificate,
    read_pair,
    split_chain,
    subject,
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
_NONE_URI: Final = security_policies.SecurityPolicyNone.URI
_DEFAULT_PORT: Final = 4840
_OPEN_STEPS: Final = 8  # round trips, each of which may take `timeout`
_CLOSE_S: Final = 2.0
_LEAST_REST_S: Final = 0.25
_RENEW_AT: Final = 0.75  # Part 4, 5.6.2: of the token's life
_MAX_ITEMS_PER_CALL: Final = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
)
_MAX_NAMESPACES: Final = 65_536


@dataclass(slots=True)
class Connection:
    """An activated session. max_items: monitored items per call, 0 if the server has no limit."""

    client: Client
    where: str
    namespaces: list[str]
    max_items: int

    async def keep_open(self) -> None:
        """Renew the channel's token before it expires, forever."""
        while True:
            await asyncio.sleep(self.client.secure_channel_timeout * _RENEW_AT / 1000)
            with explained("renewing the secure channel", self.where):
                await self.client.open_secure_channel(renew=True)
            self.client.uaclient.revolve_security_token()

    async def keep_session(self) -> None:
        """Send a request within each third of the timeout that the server set, forever.

        Part 4, 5.6.2: it may revise the timeout, and closes a session without requests; requests
        for notifications may wait at the server for longer.
        """
        state = [ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))]
        rest_s = max(_LEAST_REST_S, self.client.session_timeout / 1000 / 3)
        while True:
            await asyncio.sleep(rest_s)
            with explained("keeping the session", self.where), contextlib.suppress(TimeoutError):
                await self.client.uaclient.session.read_attributes(state, AttributeIds.Value)

    async def read_namespaces(self) -> None:
        """Read the namespaces again: a server may add some while it runs."""
        nodes = [ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray))]
        answers = await self.client.uaclient.session.read_attributes(nodes, AttributeIds.Value)
        found = answers[0].Value.Value if answers and answers[0].Value else None
        if isinstance(found, list):
            self.namespaces = [str(name) for name in found[:_MAX_NAMESPACES]]

    async def close(self) -> None:
        """Close the session at the server; waits for at most 2 s."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                await self.client.uaclient.close_session(delete_subscriptions=True)
                await self.client.close_secure_channel()
        wire.cut(self.client)


async def connect(config: OpcUaSourceConfig, name: str) -> Connection:
    """Open a session of that name with a server that the config trusts; else a ConnectError."""
    wire.quieten()
    url = _with_port(config.url)
    client = Client(url, timeout=config.timeout)
    client.name, client.description = "edge-agent", f"edge-agent {name}"
    client.product_uri = "urn:edge-agent"
    client.session_timeout = round(config.session_timeout * 1000)
    client.max_messagesize = wire.MAX_MESSAGE_BYTES
    client.application_uri = config.application_uri or f"urn:edge-agent:{name}"
    try:
        with explained("connecting", config.url):
            async with asyncio.timeout(config.timeout * _OPEN_STEPS):
                return await _open(client, config)
    except BaseException:
        wire.cut(client)
        raise


async def _open(client: Client, config: OpcUaSourceConfig) -> Connection:
    where = config.url
    if config.is_secure:
        await _secure(client, config)
    username, password = _identify(client, config)
    with explained("connecting", where):
        await wire.connect_socket(client, *host_and_port(config.url), config.timeout)
        await client.send_hello()
    wire.bound(client)
    await _open_channel(client, config)
    await _create_session(client, config)
    _check_password(client, config)
    with explained("logging in", where):
        await client.activate_session(username, password, client.user_certificate)
    with explained("reading the server's namespaces", where):
        return await _read_server(client, where)


async def _secure(client: Client, config: OpcUaSourceConfig) -> None:
    """Set policy, mode, our certificate and the server's, which is checked here."""
    security = config.security
    certificate, key = _pair(
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
        if shown:
            check_pinned(pinned, shown)
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
    client = Client(_with_port(config.url), timeout=config.timeout)
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


async def _offer(config: OpcUaSourceConfig) -> str:
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


def _identify(client: Client, config: OpcUaSourceConfig) -> tuple[str | None, str | None]:
    """Set the user's certificate, if any; returns the user's name and password, if any."""
    if config.user_certificate:
        client.user_certificate, client.user_private_key = _pair(
            config.user_certificate, config.user_private_key, config.user_private_key_password
        )
    if not config.username:
        return None, None
    return config.username, config.password.reveal() if config.password else ""


def _pair(
    certificate: Path | None, key: Path | None, password: Secret | None
) -> tuple[x509.Certificate, RSAPrivateKey]:
    if certificate is None or key is None:
        raise RefusedError("a certificate and its private key are needed")
    return read_pair(certificate, key, password.reveal() if password else None)


async def _open_channel(client: Client, config: OpcUaSourceConfig) -> None:
    try:
        with explained("opening the secure channel", config.url):
            await wire.open_channel(client)
    except ConnectError as error:
        if isinstance(error, RefusedError):
            error.message = f"the server refused the secure channel: {status_name(error.code)}"
        if not config.is_secure:
            error.hint = await _offer(config)
        else:
            error.hint = _own_hint(client, error)
        raise


def _own_hint(client: Client, error: ConnectError) -> str:
    """What may be wrong with our certificate: servers report one reason for all faults."""
    own = client.security_policy.host_certificate
    if not own:
        return error.hint
    certificate = split_chain(own)[0]
    if ended := ended_text(certificate):
        return f"this client's certificate {ended}: {subject(certificate)}"
    if error.hint in {"", TRUST_US}:
        return f"{TRUST_US}: {subject(certificate)}"
    return error.hint


async def _create_session(client: Client, config: OpcUaSourceConfig) -> None:
    try:
        with explained("creating the session", config.url):
            await client.create_session()
    except ConnectError as error:
        # The library detects a missing endpoint only after the session exists.
        if not is_policy(error) and "No matching endpoint" not in error.message:
            raise
        raise RefusedError(
            f"the server does not offer {config.security.policy} with {config.mode}",
            where=config.url,
            hint=await _offer(config),
        ) from error


def _check_password(client: Client, config: OpcUaSourceConfig) -> None:
    """Refuse a readable password; the server's policy is authentic once the session exists."""
    if not config.username or config.mode == "SignAndEncrypt" or config.allow_insecure_password:
        return
    policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
    # On an unsecured channel an encrypted password is no safer: any program may be the server.
    if not config.is_secure or policy in {None, "", _NONE_URI}:
        raise RefusedError(
            "the password would be sent unencrypted",
            where=config.url,
            hint="use mode SignAndEncrypt, or set allow_insecure_password: true",
        )


async def _read_server(client: Client, where: str) -> Connection:
    nodes = [
        ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray)),
        ua.NodeId(ua.Int32(_MAX_ITEMS_PER_CALL)),
    ]
    session = client.uaclient.session
    answers = await session.read_attributes(nodes, AttributeIds.Value)
    namespaces, limit = (answer.Value.Value if answer.Value else None for answer in answers)
    names = namespaces if isinstance(namespaces, list) else []
    return Connection(
        client,
        where,
        [str(name) for name in names[:_MAX_NAMESPACES]],
        limit if isinstance(limit, int) else 0,
    )


def host_and_port(url: str) -> tuple[str, int]:
    """The host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORT


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    return url if parts.port else parts._replace(netloc=f"{parts.netloc}:{_DEFAULT_PORT}").geturl()
