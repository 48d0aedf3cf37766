"""The server: follows the alarm table and the assets, and serves clients until it is stopped.

It lives on the loop for other programs (`ops.service_loop`): what clients do never waits for the
pipeline, nor the pipeline for them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent import __version__
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Detail, Fault
from edge_agent.opcua_server.conditions import next_condition
from edge_agent.opcua_server.connections import Listener
from edge_agent.opcua_server.events import Event, plain_event
from edge_agent.opcua_server.fields import Surroundings, fields_of
from edge_agent.opcua_server.methods import Methods
from edge_agent.opcua_server.nodes import MadeNodes
from edge_agent.opcua_server.sessions import MAX_OPERATIONS, Session, SessionServer
from edge_agent.opcua_server.space import MACHINES, NAMESPACE, PlantSpace, Shown
from edge_agent.opcua_server.ua_types import number_node, text_node
from edge_agent.opcua_server.users import Users, key_pair
from edge_agent.ops.access import WrongKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.settings import OpcuaServer as Config
    from edge_agent.messages import Alarm, Transition

log = logging.getLogger("edge_agent.opcua_server")

EVERY_S: Final = 1.0
_REST_FACTOR: Final = 50.0  # rows of assets: they are made on the daemon's loop
_MAX_PENDING: Final = 50_000  # transitions; more: the table is read again
_RECONCILE_TURNS: Final = 10
_O: Final = ObjectIds
_POLICIES: Final = (
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)
_LIMITS: Final = (
    _O.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    _O.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    _O.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall,
    _O.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    _O.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    _O.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
)


@dataclass(frozen=True, slots=True)
class PlantAccess:
    """What the server reads of the daemon; what is awaited runs on the daemon's loop.

    changes: given the number of each known alarm's last transition, the alarms with another one,
    and the ids of those that are gone.
    """

    gateway: str
    languages: tuple[str, ...]
    shelve_max_s: Callable[[], float]
    assets: Callable[[], Awaitable[list[dict[str, Any]]]]
    changes: Callable[[Mapping[str, int]], Awaitable[tuple[list[Alarm], list[str]]]]
    texts: Callable[[Alarm], Mapping[str, Mapping[str, str]]]
    command: Callable[[str, str, str, float | None, str], Awaitable[object]]


class OpcuaServer:
    """Serves assets and alarms. A port that another program has is a fault, not the end.

    port: the one in use; 0 lets the system choose.
    """

    def __init__(self, config: Config, plant: PlantAccess, clock: Clock) -> None:
        self.port = config.port
        self._config = config
        self._plant = plant
        self._clock = clock
        self.space = PlantSpace(2, plant.gateway)
        self._methods = Methods(self)
        self._users = Users(config)
        self._wrong = WrongKeys(clock)
        self._server: Server | None = None
        self._nodes: MadeNodes | None = None
        self._sessions: SessionServer | None = None
        self._listens = False
        self._reason = ""
        self._turn = 0
        self._assets_after_s = -math.inf
        self._refreshing: set[int] = set()
        self._applying = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: list[Transition] = []
        self._pending_lock = threading.Lock()
        self._missed = True

    @property
    def serves(self) -> bool:
        """True while it listens."""
        return self._listens

    # -- life -----------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Listen, unless it does already, and follow the plant; call it every `EVERY_S`."""
        self._loop = asyncio.get_running_loop()
        if self._server is None and not await self._build():
            return
        await self._follow()
        if not self._listens:
            await self._listen()

    async def _build(self) -> bool:
        config, call = self._config, self._methods.call
        sessions = SessionServer(self._users, self._wrong, config.clients, call, self._clock.now_us)
        server = Server(sessions)
        try:
            uri = await self._secure(server)
        except EdgeAgentError as error:
            self._fail(str(error))
            return False
        await server.init()
        await self._name(server, uri)
        index = await server.register_namespace(NAMESPACE)
        self.space.index = index
        sessions.server_uri = uri
        self._nodes = MadeNodes(sessions.aspace._nodes, index, self.space.find)  # noqa: SLF001 (its only place for nodes)
        sessions.aspace._nodes = self._nodes  # type: ignore[assignment]  # noqa: SLF001
        self._nodes.link(_O.ObjectsFolder, _O.Organizes, text_node(MACHINES, index))
        self._nodes.link(_O.Server, _O.HasNotifier, text_node(MACHINES, index))
        self._server, self._sessions = server, sessions
        await server._setup_server_nodes()  # noqa: SLF001 (start() would listen with its own limits)
        await sessions.start()
        return True

    async def _secure(self, server: Server) -> str:
        """Set certificate, policies and logins; returns the application's URI."""
        config = self._config
        server.set_endpoint(f"opc.tcp://{config.host}:{config.port}")
        policies: list[ua.SecurityPolicyType] = []
        tokens: list[type] = [ua.UserNameIdentityToken]
        uri = f"urn:edge-agent:{self._plant.gateway}"
        if config.is_loopback:
            policies.append(ua.SecurityPolicyType.NoSecurity)
        if config.is_loopback or config.trusted is not None:
            tokens.append(ua.AnonymousIdentityToken)
        pair = await asyncio.to_thread(key_pair, config)
        if pair is not None:
            uri = pair.uri
            server.iserver.certificate, server.iserver.private_key = pair.certificate, pair.key
            policies += _POLICIES
            if config.trusted is not None:
                tokens.append(ua.X509IdentityToken)
        server.set_security_policy(policies)
        server.set_identity_tokens(tokens)
        return uri

    async def _name(self, server: Server, uri: str) -> None:
        name = f"edge-agent {self._plant.gateway}"
        server.set_server_name(name)
        await server.set_application_uri(uri)
        now = datetime.now(UTC)
        await server.set_build_info("urn:edge-agent", "edge-agent", name, __version__, "0", now)
        for number in _LIMITS:
            limit = ua.Variant(MAX_OPERATIONS, ua.VariantType.UInt32)
            await server.get_node(number_node(number)).write_value(limit)
        await server.get_node(number_node(_O.Server_Auditing)).write_value(ua.Variant(True))  # noqa: FBT003 (a value)

    async def _listen(self) -> None:
        assert self._server is not None  # noqa: S101 (tend() built it)
        assert self._sessions is not None  # noqa: S101 (same)
        listener = Listener(self._sessions, self._config.host, self.port)
        listener.set_policies(self._server._policies)  # noqa: SLF001 (made by the library)
        try:
            await listener.start()
        except OSError as error:
            where = f"{self._config.host}:{self.port}"
            self._fail(f"opc ua cannot listen on {where}: {error.strerror or error}")
            return
        self.port = listener.port
        self._server.bserver = listener
        self._listens, self._reason = True, ""
        log.info("opc ua serves", extra={"host": self._config.host, "port": self.port})

    def _fail(self, reason: str) -> None:
        if self._reason != reason:
            self._reason = reason
            log.warning("opc ua does not serve", extra={"reason": reason})

    def faults(self) -> list[Fault]:
        """One if it does not serve."""
        if not self._reason:
            return []
        args = {"where": f"opc ua {self._config.host}:{self._config.port}", "reason": self._reason}
        return [Fault("opcua_server", self._reason, Detail("http_address", args))]

    async def stop(self) -> None:
        """End all connections; safe before the start and when repeated."""
        server, self._server, self._loop = self._server, None, None
        self._listens = False
        if server is not None:
            with suppress(OSError):
                await server.stop()

    # -- the plant ------------------------------------------------------------------------------

    def notify(self, transitions: Sequence[Transition]) -> None:
        """Show transitions soon; called on the daemon's loop, returns at once."""
        loop = self._loop
        if loop is None or not transitions:
            return
        with self._pending_lock:
            is_first = not self._pending
            if len(self._pending) + len(transitions) > _MAX_PENDING:
                self._missed = True
                self._pending.clear()
            else:
                self._pending += transitions
        if is_first:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        task = asyncio.ensure_future(self.show_pending())
        self._task = task

    async def show_pending(self) -> None:
        """Show all transitions that were announced until now."""
        async with self._applying:
            with self._pending_lock:
                found, self._pending = self._pending, []
            await self._show([one.alarm for one in found])

    async def _follow(self) -> None:
        """Read what the announcements may have missed, and the state of the machines."""
        self._turn += 1
        if self._missed or self._turn % _RECONCILE_TURNS == 0:
            self._missed = False
            await self._reconcile()
        sessions = self._sessions.sessions if self._sessions else []
        self._methods.forget(sessions)
        now_s = self._clock.monotonic_s()
        if now_s >= self._assets_after_s and (sessions or not self.space.machines):
            await self._read_assets()
            took_s = self._clock.monotonic_s() - now_s
            self._assets_after_s = now_s + _REST_FACTOR * took_s

    async def _reconcile(self) -> None:
        async with self._applying:
            known = {key: one.condition.alarm.seq for key, one in self.space.conditions.items()}
            changed, gone = await self._plant.changes(known)
            await self._show([one for one in changed if one.seq > known.get(one.alarm_id, -1)])
            for alarm_id in gone:
                self.space.remove(alarm_id)

    async def _show(self, alarms: Sequence[Alarm]) -> None:
        """Show alarms after their transitions, and send their events."""
        events, now_us = [], self._clock.now_us()
        for alarm in alarms:
            before = self.space.conditions.get(alarm.alarm_id)
            if before is not None and before.condition.alarm.seq >= alarm.seq:
                continue
            condition = next_condition(before.condition if before else None, alarm)
            shown = Shown(condition, fields_of(condition, self._about(alarm), now_us))
            self.space.show(shown)
            if before is not None or condition.retain:
                events.append(self._event(shown))
            await self._tell_watchers(f"alarm:{alarm.alarm_id}/")
        if events and self._sessions is not None:
            await self._sessions.service.send(events)

    def _about(self, alarm: Alarm) -> Surroundings:
        texts = self._plant.texts(alarm)
        language = next(iter(self._plant.languages), "en")
        said = {part: _in_language(texts.get(part, {}), language) for part in ("message", "advice")}
        is_service = alarm.asset == self._plant.gateway
        shelve_max_s = self._plant.shelve_max_s()
        message = said["message"] or alarm.alarm_id
        index = self.space.index
        return Surroundings(message, said["advice"], language, index, is_service, shelve_max_s)

    def _event(self, shown: Shown) -> Event:
        alarm = shown.condition.alarm
        index = self.space.index
        nodes = (
            number_node(_O.Server),
            text_node(MACHINES, index),
            text_node(alarm.asset, index),
        )
        return Event(shown.fields, nodes, self.space.condition_node(alarm.alarm_id))

    async def _read_assets(self) -> None:
        rows = await self._plant.assets()
        self.space.show_machines(rows)
        await self._tell_watchers("")

    async def _tell_watchers(self, start: str) -> None:
        """Send values to the monitored items below a node; unchanged ones are left out."""
        nodes = self._nodes
        if nodes is None:
            return
        for ident in [one for one in nodes.watched if one.startswith(start)]:
            made = self.space.find(ident)
            if made is None or made.value is None:
                continue
            for handle, callback in list(nodes.watched.get(ident, {}).items()):
                await callback(handle, made.value)

    # -- for the methods --------------------------------------------------------------------------

    def now_us(self) -> int:
        """The gateway's time."""
        return self._clock.now_us()

    def monotonic_s(self) -> float:
        """A clock that is never set."""
        return self._clock.monotonic_s()

    def shelve_max_s(self) -> float:
        """The longest shelving."""
        return self._plant.shelve_max_s()

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> None:
        """Carry out a command; its transition is shown when it returns."""
        await self._plant.command(kind, alarm_id, actor, duration_s, comment)
        await self.show_pending()

    async def send(self, event: Event) -> None:
        """Send an event to all clients."""
        if self._sessions is not None:
            await self._sessions.service.send([event])

    async def refresh(self, session: Session, subscription: int, item: int | None) -> int:
        """Send all retained conditions to a subscription; returns a status code."""
        service = session.subscription_service
        if subscription not in service.of_session(session.session_id):
            return StatusCodes.BadSubscriptionIdInvalid
        if item is not None and item not in service.subscriptions[subscription].items.ids:
            return StatusCodes.BadMonitoredItemIdInvalid
        if subscription in self._refreshing:
            return StatusCodes.BadRefreshInProgress
        self._refreshing.add(subscription)
        try:
            async with self._applying:  # no event in between that is newer than a state after it
                await service.send_to(subscription, self._retained(), item)
        finally:
            self._refreshing.discard(subscription)
        return StatusCodes.Good

    def _retained(self) -> list[Event]:
        now_us = self._clock.now_us()
        shown = [one for one in self.space.conditions.values() if one.condition.retain]
        return [
            plain_event(_O.RefreshStartEventType, "refresh starts", now_us, ()),
            *map(self._event, shown),
            plain_event(_O.RefreshEndEventType, "refresh ends", now_us, ()),
        ]


def _in_language(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), "")
