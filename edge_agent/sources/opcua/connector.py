"""One connection to a server: channel, session, login; opened in steps and closed within a limit.

The library's own `connect` is not used: it starts tasks that watch and reconnect by their own
rules, and it sends the user's password before the server's certificate can be checked.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge_agent.errors import ConnectError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.endpoints import host_and_port, load_pair, offer, secure, with_port
from edge_agent.sources.opcua.explain import TRUST_US, explained, is_policy, status_name
from edge_agent.sources.opcua.trust import ended_text, split_chain, subject
from edge_agent.transport import RefusedError

if TYPE_CHECKING:
    from edge_agent.sources.opcua.config import OpcUaSourceConfig

_NONE_URI: Final = security_policies.SecurityPolicyNone.URI
_OPEN_STEPS: Final = 8  # round trips, each of which may take `timeout`
_CLOSE_S: Final = 2.0
_LEAST_REST_S: Final = 0.25
_RENEW_AT: Final = 0.75  # Part 4, 5.6.2: of the token's life
_MAX_ITEMS_PER_CALL: Final = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
)
_MAX_HISTORY_NODES: Final = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData
)
_STARTED: Final = ObjectIds.Server_ServerStatus_StartTime
_MAX_NAMESPACES: Final = 65_536


@dataclass(slots=True)
class Connection:
    """An activated session.

    max_items: monitored items per call; max_history_nodes: nodes in one HistoryRead; each 0 if the
    server has no limit. started: when the server was started, None if it does not say.
    """

    client: Client
    where: str
    namespaces: list[str]
    max_items: int
    max_history_nodes: int = 0
    started: datetime | None = None

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
    url = with_port(config.url)
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
        await secure(client, config)
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


def _identify(client: Client, config: OpcUaSourceConfig) -> tuple[str | None, str | None]:
    """Set the user's certificate, if any; returns the user's name and password, if any."""
    if config.user_certificate:
        client.user_certificate, client.user_private_key = load_pair(
            config.user_certificate, config.user_private_key, config.user_private_key_password
        )
    if not config.username:
        return None, None
    return config.username, config.password.reveal() if config.password else ""


async def _open_channel(client: Client, config: OpcUaSourceConfig) -> None:
    try:
        with explained("opening the secure channel", config.url):
            await wire.open_channel(client)
    except ConnectError as error:
        if isinstance(error, RefusedError):
            error.message = f"the server refused the secure channel: {status_name(error.code)}"
        if not config.is_secure:
            error.hint = await offer(config)
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
            hint=await offer(config),
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
    ids = (ObjectIds.Server_NamespaceArray, _MAX_ITEMS_PER_CALL, _MAX_HISTORY_NODES, _STARTED)
    nodes = [ua.NodeId(ua.Int32(one)) for one in ids]
    session = client.uaclient.session
    answers = await session.read_attributes(nodes, AttributeIds.Value)
    namespaces, items, history, started = (
        answer.Value.Value if answer.Value else None for answer in answers
    )
    names = namespaces if isinstance(namespaces, list) else []
    return Connection(
        client,
        where,
        [str(name) for name in names[:_MAX_NAMESPACES]],
        items if isinstance(items, int) else 0,
        history if isinstance(history, int) else 0,
        started if isinstance(started, datetime) else None,
    )
