"""The OPC UA source against node-opcua, a server that nobody here wrote, in another process."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opcua_support import CLIENT_URI, SERVER_URI, NodeServer, Pair, Rig, make_pair
from support import value_of

from edge_agent.config import schema
from edge_agent.config.types import Secret
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sources.opcua.config import (
    OpcUaSourceConfig,
    Security,
    SecurityMode,
    SecurityPolicy,
)
from edge_agent.sources.opcua.connector import connect
from edge_agent.sources.opcua.nodes import node_id
from edge_agent.sources.opcua.source import probe
from edge_agent.sources.opcua.subscribe import Item, Subscriptions
from edge_agent.values import BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN, BAD_SENSOR_FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration]

POLICIES = [policy for policy in SecurityPolicy if policy is not SecurityPolicy.NONE]
MODES = [SecurityMode.SIGN, SecurityMode.SIGN_AND_ENCRYPT]
POLICY = SecurityPolicy.BASIC256SHA256
MANY = 5000


def newest_is(rig: Rig, value: float) -> bool:
    return rig.of("s2")[-1][1] == value


@pytest.fixture(scope="module")
def make_server(
    node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., NodeServer]]:
    """Call it with options of opcua_server.js for a running server of its own."""
    servers: list[NodeServer] = []

    def make(**options: Any) -> NodeServer:
        folder = tmp_path_factory.mktemp("node-opcua")
        servers.append(NodeServer(node_modules, folder, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("pki")
    ca = make_pair(folder, "ca", "urn:ca", ca=True)
    return {
        "ca": ca,
        "server": make_pair(folder, "server", SERVER_URI, issuer=ca),
        "other": make_pair(folder, "other", SERVER_URI),
        "client": make_pair(folder, "client", CLIENT_URI),
        "user": make_pair(folder, "user", "urn:test:user"),
    }


@pytest.fixture(scope="module")
def plain(make_server: Callable[..., NodeServer]) -> NodeServer:
    """A server without security whose values change on command."""
    return make_server(trust_all=True)


@pytest.fixture(scope="module")
def secure(make_server: Callable[..., NodeServer], pki: dict[str, Pair]) -> NodeServer:
    """A server that offers no channel without security, and takes any client certificate."""
    own = {"certificate": pki["server"].certificate, "key": pki["server"].key}
    return make_server(trust_all=True, secure=True, users={"joe": "secret"}, **own)


@pytest.fixture
def security(pki: dict[str, Pair]) -> Callable[..., Security]:
    """Call it for a Security with our certificate and the server's pinned, or as said."""

    def make(policy: SecurityPolicy = POLICY, **options: Any) -> Security:
        if "trusted" not in options:
            options.setdefault("server_certificate", pki["server"].certificate)
        own: dict[str, Any] = {
            "certificate": pki["client"].certificate,
            "private_key": pki["client"].key,
        }
        return Security(policy, **own, **options)

    return make


@pytest.fixture
def password(tmp_path: Path) -> Callable[[str], Secret]:
    def make(text: str) -> Secret:
        (tmp_path / "password").write_text(f"{text}\n")
        return Secret(file=tmp_path / "password")

    return make


async def arrives(rig: Rig) -> None:
    await rig.until_state(LinkState.UP)
    await rig.until(lambda: len(rig.intake) >= len(rig.plant.signals))


async def is_refused(rig: Rig, reason: str) -> None:
    await rig.until_state(LinkState.DOWN)
    assert reason in rig.source.link.detail


# -- values -------------------------------------------------------------------------------------


async def test_values_arrive_with_their_own_times_and_codes(plain: NodeServer) -> None:
    async with Rig(plain.url) as rig:
        await arrives(rig)
        at_ms = 1_700_000_000_123
        plain.ask(set="a000.s0", value=42.5, at=at_ms)
        await rig.until(lambda: len(rig.of("s0")) == 2)
        assert rig.of("s0")[-1] == (at_ms * 1000, 42.5, 0)
        plain.ask(set="a000.s0", value=43.5, status="BadSensorFailure", at=at_ms + 1)
        await rig.until(lambda: len(rig.of("s0")) == 3)
        time_us, value, status = rig.of("s0")[-1]
        assert (time_us, status) == ((at_ms + 1) * 1000, BAD_SENSOR_FAILURE)
        assert np.isnan(value)


async def test_other_types_arrive_as_what_they_are(plain: NodeServer) -> None:
    wave = schema.Signal(kind=schema.Kind.WAVEFORM, rate_hz=4.0, address="nsu=urn:plant;s=wave")
    names = {
        "bool": schema.Signal(address="nsu=urn:plant;s=bool"),
        "int": schema.Signal(address="nsu=urn:plant;s=int"),
        "text": schema.Signal(address="nsu=urn:plant;s=text"),
        "wave": wave,
    }
    async with Rig(plain.url, names) as rig:
        await rig.until(lambda: rig.intake.blocks and len(rig.intake) == 3)
        assert rig.of("bool")[0][1] == 1.0
        assert rig.of("int")[0][1] == -7.0
        assert np.isnan(rig.of("text")[0][1])
        assert rig.intake.blocks[0].samples.tolist() == [1.0, 2.0, 3.0, 4.0]


async def test_a_missing_node_does_not_hold_back_the_others(plain: NodeServer) -> None:
    names = {"s0": schema.Signal(), "gone": schema.Signal()}
    async with Rig(plain.url, names, node_retry=1) as rig:
        await rig.until_state(LinkState.DEGRADED)
        await rig.until(lambda: rig.of("s0"))
        assert rig.of("gone")[-1][2] == BAD_NODE_ID_UNKNOWN
        plain.ask(add="a000.gone")
        await arrives(rig)
        await rig.until(lambda: rig.of("gone")[-1][1] == 5.0)


async def test_changes_within_the_deadband_are_not_sent(plain: NodeServer) -> None:
    names = {"s1": schema.Signal(deadband=1.0), "s2": schema.Signal()}
    async with Rig(plain.url, names) as rig:
        await arrives(rig)
        for value in (0.5, 5.0, 5.5, 9.0):
            plain.ask(set="a000.s1", value=value)
            plain.ask(set="a000.s2", value=value)
            await rig.until(partial(newest_is, rig, value))
        await rig.until(lambda: rig.of("s1")[-1][1] == 9.0)
        assert [value for _, value, _ in rig.of("s1")][1:] == [5.0, 9.0]


async def test_a_deadband_that_the_server_refuses_is_done_without(plain: NodeServer) -> None:
    odd = schema.Signal(deadband=1.0, address="nsu=urn:plant;s=bool")
    async with Rig(plain.url, {"bool": odd}) as rig:
        await arrives(rig)
        assert rig.of("bool")[-1][1] == 1.0
        assert "no deadband" in rig.source.link.detail


async def test_what_the_server_revised_is_shown(plain: NodeServer) -> None:
    async with Rig(plain.url, queue_size=9000, sampling_interval=0.001) as rig:
        await arrives(rig)
        assert "queue size 9000 -> 5000 (8)" in rig.source.link.detail
        assert "sampling 1ms -> " in rig.source.link.detail


async def test_five_thousand_nodes_are_watched_in_batches(
    make_server: Callable[..., NodeServer],
) -> None:
    """The server takes 300 items a call, which it says, and 2000 a subscription."""
    server = make_server(trust_all=True, assets=MANY // 8, max_items_per_call=300, max_items=2000)
    async with Rig(server.url, assets=f"a{{000..{MANY // 8 - 1:03}}}") as rig:
        await rig.until_state(LinkState.UP, timeout_s=60)
        await rig.until(lambda: len(rig.intake) == MANY, timeout_s=30)
        assert sorted(rig.intake.columns.signal.tolist()) == list(range(MANY))
        assert server.ask(sessions=True) == {"sessions": 1, "subscriptions": 3}


async def test_a_server_that_does_not_say_its_limit_is_asked_for_less(
    make_server: Callable[..., NodeServer],
) -> None:
    server = make_server(trust_all=True, assets=125, max_items_per_call=300)
    connection = await connect(OpcUaSourceConfig(server.url), "test")
    assert connection.max_items == 300
    connection.max_items = 0
    try:
        subscriptions = Subscriptions(connection, OpcUaSourceConfig(server.url, batch=1000))
        await subscriptions.create()
        names = [f"a{n // 8:03}.s{n % 8}" for n in range(1000)]
        nodes = [node_id(f"nsu=urn:plant;s={name}", connection.namespaces) for name in names]
        items = [Item(handle, node, 100.0) for handle, node in enumerate(nodes)]
        assert await subscriptions.add(items) == {}
    finally:
        await connection.close()


# -- security -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_every_policy_and_mode_with_user_and_password(
    secure: NodeServer,
    security: Callable[..., Security],
    password: Callable[[str], Secret],
    policy: SecurityPolicy,
    mode: SecurityMode,
) -> None:
    user: dict[str, Any] = {"username": "joe", "password": password("secret")}
    async with Rig(secure.url, security=security(policy, mode=mode), **user) as rig:
        await arrives(rig)


async def test_a_user_may_show_a_certificate(
    secure: NodeServer, security: Callable[..., Security], pki: dict[str, Pair]
) -> None:
    user: dict[str, Any] = {
        "user_certificate": pki["user"].certificate,
        "user_private_key": pki["user"].key,
    }
    async with Rig(secure.url, security=security(), **user) as rig:
        await arrives(rig)


async def test_a_server_is_trusted_by_its_ca(
    secure: NodeServer, security: Callable[..., Security], pki: dict[str, Pair], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(pki["ca"].certificate.read_bytes())
    async with Rig(secure.url, security=security(trusted=tmp_path)) as rig:
        await arrives(rig)


async def test_a_server_that_nobody_vouches_for_is_refused(
    secure: NodeServer, security: Callable[..., Security], pki: dict[str, Pair], tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_bytes(pki["other"].certificate.read_bytes())
    async with Rig(secure.url, security=security(trusted=tmp_path)) as rig:
        await is_refused(rig, "is not trusted: CN=server")


async def test_another_certificate_than_the_pinned_one_is_refused(
    secure: NodeServer, security: Callable[..., Security], pki: dict[str, Pair]
) -> None:
    pinned = security(server_certificate=pki["other"].certificate)
    async with Rig(secure.url, security=pinned) as rig:
        await is_refused(rig, "certificate is not the pinned one")


async def test_a_wrong_password_is_said_so(
    secure: NodeServer, security: Callable[..., Security], password: Callable[[str], Secret]
) -> None:
    user: dict[str, Any] = {"username": "joe", "password": password("guess")}
    async with Rig(secure.url, security=security(), **user) as rig:
        await is_refused(rig, "BadUserAccessDenied")
        assert "guess" not in rig.source.link.detail


async def test_a_server_that_does_not_know_our_certificate_is_explained(
    make_server: Callable[..., NodeServer],
    security: Callable[..., Security],
    pki: dict[str, Pair],
) -> None:
    own = {"certificate": pki["server"].certificate, "key": pki["server"].key}
    server = make_server(trust_all=False, **own)
    async with Rig(server.url, security=security()) as rig:
        await is_refused(rig, "let the server trust this client's certificate: CN=client")


async def test_a_policy_that_is_not_offered_is_explained(
    secure: NodeServer,
) -> None:
    async with Rig(secure.url) as rig:
        await is_refused(rig, "it offers Aes128_Sha256_RsaOaep/Sign")
        assert "Basic256Sha256/SignAndEncrypt" in rig.source.link.detail


@pytest.fixture(scope="module")
def hidden(make_server: Callable[..., NodeServer], pki: dict[str, Pair]) -> NodeServer:
    """A hardened server: it lists its endpoints to nobody in the open."""
    own = {"certificate": pki["server"].certificate, "key": pki["server"].key}
    return make_server(trust_all=True, secure=True, no_discovery=True, **own)


async def test_a_server_without_open_discovery_takes_a_pinned_client(
    hidden: NodeServer, security: Callable[..., Security]
) -> None:
    """The session itself names the endpoints, over the channel that is secure already."""
    async with Rig(hidden.url, security=security()) as rig:
        await arrives(rig)


async def test_a_server_without_open_discovery_asks_for_a_pin(
    hidden: NodeServer, security: Callable[..., Security], tmp_path: Path
) -> None:
    async with Rig(hidden.url, security=security(trusted=tmp_path)) as rig:
        await is_refused(rig, "pin security.server_certificate")
    async with Rig(hidden.url) as rig:
        await is_refused(rig, "it accepts only secure connections: set security.policy")
        assert "Error" not in rig.source.link.detail


async def test_an_expired_certificate_of_ours_is_named(
    make_server: Callable[..., NodeServer], pki: dict[str, Pair], tmp_path: Path
) -> None:
    """The server only says that its checks failed, as it does for whatever it does not like."""
    server = make_server(secure=True, certificate=pki["server"].certificate, key=pki["server"].key)
    old = make_pair(tmp_path, "old", CLIENT_URI, days=(-20, -10))
    pinned = pki["server"].certificate
    mine = Security(POLICY, None, old.certificate, old.key, server_certificate=pinned)
    async with Rig(server.url, security=mine) as rig:
        await is_refused(rig, "this client's certificate ended on")


async def test_a_node_that_is_deleted_and_created_again_delivers_again(
    make_server: Callable[..., NodeServer],
) -> None:
    """What every program download does to a PLC's variables."""
    server = make_server(trust_all=True)
    async with Rig(server.url, node_retry=2) as rig:
        await arrives(rig)
        server.ask(**{"del": "a000.s1"})
        await rig.until_state(LinkState.DEGRADED)
        said = "7 of 8 nodes: a000.s1 does not exist (BadNodeId"
        assert rig.source.link.detail.startswith(said)
        server.ask(add="a000.s1")
        await rig.until_state(LinkState.UP)
        server.ask(set="a000.s1", value=7.5)
        await rig.until(lambda: rig.of("s1")[-1][1] == 7.5)


async def test_a_session_outlives_its_timeout_when_values_come_seldom(
    plain: NodeServer,
) -> None:
    """Requests for notifications wait at the server: they keep no session of node-opcua alive."""
    async with Rig(plain.url, publishing_interval=30.0, session_timeout=2.0) as rig:
        await rig.until_state(LinkState.UP)
        await asyncio.sleep(6)
        assert rig.source.link.state is LinkState.UP
        assert value_of(rig.metrics.source_reconnects.labels("plc")) == 0


async def test_a_password_never_goes_over_an_open_channel(
    plain: NodeServer, password: Callable[[str], Secret]
) -> None:
    user: dict[str, Any] = {"username": "joe", "password": password("secret")}
    async with Rig(plain.url, **user) as rig:
        await is_refused(rig, "the password would be sent unencrypted")


async def test_probe_says_what_run_would_meet(
    secure: NodeServer, security: Callable[..., Security], pki: dict[str, Pair]
) -> None:
    await probe(Rig(secure.url, security=security()).config)
    pinned = security(server_certificate=pki["other"].certificate)
    with pytest.raises(ConnectError, match="pinned"):
        await probe(Rig(secure.url, security=pinned).config)


@pytest.mark.slow
async def test_the_channels_token_is_renewed_without_a_gap(
    make_server: Callable[..., NodeServer], security: Callable[..., Security], pki: dict[str, Pair]
) -> None:
    """Values go on past the end of the first token, over the same connection.

    asyncua renews at three quarters of the lifetime and takes no message under the old key after
    it; ten seconds leave a busy machine its time.
    """
    own = {"certificate": pki["server"].certificate, "key": pki["server"].key}
    server = make_server(trust_all=True, period_ms=100, token_ms=10_000, **own)
    async with Rig(server.url, security=security()) as rig:
        await arrives(rig)
        await asyncio.sleep(12.5)
        assert rig.source.link.state is LinkState.UP
        assert value_of(rig.metrics.source_reconnects.labels("plc")) == 0
        times = [time_us for time_us, _, _ in rig.of("s0")]
        assert times[-1] - times[0] > 11_000_000


# -- outages ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_stalled_server_is_left_and_found_again(
    make_server: Callable[..., NodeServer],
    security: Callable[..., Security],
    pki: dict[str, Pair],
    *,
    encrypted: bool,
) -> None:
    """A SIGSTOP looks like a server whose sockets live and which says nothing.

    Its values end when the limit is over: nobody waits for a farewell of such a server.
    """
    own = {"certificate": pki["server"].certificate, "key": pki["server"].key}
    server = make_server(trust_all=True, period_ms=100, **own)
    safe = security() if encrypted else Security()
    async with Rig(server.url, security=safe, stall_after=2, timeout=1) as rig:
        await arrives(rig)
        server.freeze()
        frozen_s = time.monotonic()
        try:
            await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
            assert time.monotonic() - frozen_s < 3.5  # a farewell waits for two seconds more
            await rig.until_state(LinkState.DOWN, timeout_s=10)
            assert "stalled" in rig.source.link.detail
            assert rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION
            await asyncio.sleep(3)
        finally:
            server.thaw()
        await rig.until_state(LinkState.UP, timeout_s=30)
        seen = len(rig.of("s0"))
        await rig.until(lambda: len(rig.of("s0")) > seen + 5)
        times = [time_us for time_us, _, _ in rig.of("s0")]
        assert times == sorted(times)
        assert value_of(rig.metrics.source_reconnects.labels("plc")) == 1
    # What the frozen server still took up of the old client ends on its own, soon.
    assert server.ask(sessions=True)["sessions"] <= 3


@pytest.mark.slow
async def test_a_killed_server_is_found_again(make_server: Callable[..., NodeServer]) -> None:
    server = make_server(trust_all=True, period_ms=100)
    async with Rig(server.url) as rig:
        await arrives(rig)
        server.kill()
        await rig.until_state(LinkState.DOWN)
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        server.start()
        await rig.until_state(LinkState.UP, timeout_s=40)
        await rig.until(lambda: rig.of("s0")[-1][2] == 0)
        assert server.ask(sessions=True)["sessions"] == 1
    assert server.ask(sessions=True)["sessions"] == 0


@pytest.mark.slow
async def test_stopping_while_the_server_is_stalled_takes_no_longer_than_its_deadline(
    make_server: Callable[..., NodeServer],
) -> None:
    server = make_server(trust_all=True)
    rig = Rig(server.url)
    await rig.source.start()
    await arrives(rig)
    server.freeze()
    try:
        async with asyncio.timeout(6):
            await rig.source.stop()
    finally:
        server.thaw()
    assert rig.source.link.state is LinkState.STOPPED
