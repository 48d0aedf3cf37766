"""The connection of a pair of gateways: their lease, who is there, and what the active one says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.config.types import Duration
from edge_agent.errors import EdgeAgentError
from edge_agent.sinks.base import DeliveryError, Refusals, SinkReporter
from edge_agent.sinks.mqtt_connection import Connection
from edge_agent.transport import LostError, Reconnector, Waits
from edge_agent.transport.mqtt import Takeovers, VersionChoice

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Reply
    from edge_agent.sinks.mqtt_config import MqttSinkConfig
    from edge_agent.transport.mqtt import Protocol as Version

OFFLINE: Final = "offline"
MAX_ALERT_BYTES: Final = 256 << 10
GOODBYE_S: Final = 1.0
_WAITS: Final = Waits(first_s=0.5, longest_s=5.0, failures_after_up=1)  # alarms wait for it


class PairListener(Protocol):
    """What a pair hears over its connection, each call in the order of the broker's messages."""

    def connected(self) -> None:
        """Connected; nothing has arrived yet."""

    def complete(self) -> None:
        """All that the broker keeps has arrived."""

    def lost(self) -> None:
        """The connection ended."""

    def lease(self, body: bytes) -> None:
        """A note on the topic of the lease, also one of ours."""

    def member(self, name: str, state: str) -> None:
        """Another member's state; `offline` if its connection ended."""

    def alert(self, topic: str, body: bytes) -> None:
        """An alert or an event of any gateway; an empty body: the alarm is normal."""


class LeaseLink:
    """A connection of its own, so that the will can say what becomes of this member alone.

    Its keepalive is at least the lease: when the broker misses us, our lease has run out.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (as a sink)
        self,
        name: str,
        config: MqttSinkConfig,
        gateway: Gateway,
        topic_root: str,
        lease_s: float,
        listener: PairListener,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        keepalive = Duration(max(config.keepalive, lease_s))
        self._config = replace(config, keepalive=keepalive)
        self._gateway = gateway
        self._client_id = f"edge-agent-{gateway.client_name}-lease"
        self._service = f"{topic_root}/_svc/{gateway.id}"
        place = f"{topic_root}/{gateway.enterprise}/{gateway.site}/+/+/+/_pdm"
        self._alerts = (f"{place}/alert/+", f"{place}/event")
        self._listener = listener
        self._clock = clock
        self._versions = VersionChoice(config.protocol)
        self._reporter = SinkReporter(f"{name}.lease", metrics, clock)
        self._reconnector = Reconnector(self._reporter, self._serve, clock, waits=_WAITS)
        self.link = self._reporter.link
        self._takeovers = Takeovers(f"{name}.lease", self._client_id, self.link)
        self._connection: Connection | None = None
        self._state = "standby"
        self._seen = False  # our own state, since the connection
        self._follows = True
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_connected(self) -> bool:
        """True while the connection stands."""
        return self._connection is not None

    async def start(self) -> None:
        """Start to connect, and retry for ever."""
        await self._reconnector.start()

    async def stop(self, last_note: bytes | None = None) -> None:
        """Publish a last note and `offline`, and disconnect; safe when repeated."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(DeliveryError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    if last_note is not None:
                        await connection.publish(f"{self._service}/lease", last_note, retain=True)
                    await connection.publish(self._own_topic, OFFLINE.encode(), retain=True)
            connection.close()
        await self._reconnector.stop()
        for task in self._tasks:
            task.cancel()

    def publish_note(self, body: bytes, *, retain: bool) -> None:
        """Send a note of the lease; whether it arrived is known when it comes back."""
        self._send(f"{self._service}/lease", body, retain=retain)

    def show_state(self, state: str) -> None:
        """Show what this member is: `active` or `standby`."""
        self._state = state
        self._send(self._own_topic, state.encode(), retain=True)

    def follow_alerts(self, *, wanted: bool) -> None:
        """Begin or end to hear alerts; the retained ones come first."""
        if wanted is self._follows:
            return
        self._follows = wanted
        connection = self._connection
        if connection is None:
            return
        if wanted:
            self._spawn(self._follow_again(connection))
        for topic in () if wanted else self._alerts:
            connection.unsubscribe(topic)

    async def _follow_again(self, connection: Connection) -> None:
        await self._subscribe_alerts(connection)
        self.show_state(self._state)

    @property
    def _own_topic(self) -> str:
        return f"{self._service}/member/{self._gateway.member}"

    async def _serve(self) -> None:
        """One connection from start to end; an EdgeAgentError has the reason of its end."""
        connection = await self._versions.connect(self._make_connection)
        try:
            await self._welcome(connection)
            host, port, lived_s = self._config.host, self._config.port, self._reconnector.lived_s
            reason = await self._takeovers.end_of(connection.ended, lived_s, host, port)
            raise LostError(reason, where=self._config.url)
        finally:
            self._connection = None
            connection.on_message = lambda *_: None
            connection.abort("left")
            self._listener.lost()

    def _make_connection(self, version: Version) -> Connection:
        connection = Connection(
            self._config,
            self._client_id,
            version,
            self._clock,
            clean=True,
            max_incoming=MAX_ALERT_BYTES,
        )
        connection.on_message = self._on_message
        connection.set_will(self._own_topic, OFFLINE.encode())
        return connection

    async def _welcome(self, connection: Connection) -> None:
        """Subscribe; our own state comes back behind all that the broker keeps."""
        self._seen = False
        self._listener.connected()  # what the broker keeps may come before its answer
        topics = [f"{self._service}/lease", f"{self._service}/member/+"]
        refused = await connection.subscribe([(topic, 1) for topic in topics])
        self._connection = connection
        await self._subscribe_alerts(connection)
        detail = "; ".join(f"refused to subscribe to {one}" for one in refused)
        self._reconnector.set_connected(detail=detail)
        self.show_state(self._state)

    async def _subscribe_alerts(self, connection: Connection) -> None:
        if not self._follows:
            return
        with contextlib.suppress(EdgeAgentError):
            refused = await connection.subscribe([(topic, 1) for topic in self._alerts])
            text = "; ".join(refused)
            told = Refusals(len(refused), refused[0], text) if refused else Refusals()
            self._reporter.show_refusals("alerts", told)
            self._seen = False  # our state comes back behind the retained alerts

    def _on_message(
        self,
        topic: str,
        payload: bytes,
        retained: bool,  # noqa: FBT001 (a callback)
        reply: Reply | None,
    ) -> None:
        del retained, reply
        if topic == f"{self._service}/lease":
            self._listener.lease(payload)
        elif topic == self._own_topic:
            self._accept_own_state(payload.decode("utf-8", "replace"))
        elif topic.startswith(f"{self._service}/member/"):
            name = topic.rpartition("/")[2]
            self._listener.member(name, payload.decode("utf-8", "replace") or OFFLINE)
        elif self._follows:
            self._listener.alert(topic, payload)

    def _accept_own_state(self, state: str) -> None:
        """Our own state came back; the will of our last connection may have replaced it."""
        if state != self._state:
            if self._seen:
                self.show_state(self._state)
            return
        if not self._seen:
            self._seen = True
            self._listener.complete()

    def _send(self, topic: str, body: bytes, *, retain: bool) -> None:
        if self._connection is not None:
            self._spawn(self._publish(self._connection, topic, body, retain=retain))

    async def _publish(
        self, connection: Connection, topic: str, body: bytes, *, retain: bool
    ) -> None:
        told = Refusals()
        try:
            await connection.publish(topic, body, retain=retain)
        except DeliveryError as error:
            if error.reason == "disconnected":
                return
            told = Refusals(1, topic, error.message)
        self._reporter.show_refusals(topic.removeprefix(self._service), told)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
