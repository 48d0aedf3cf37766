"""Sink `mqtt`: the plant bus. Alarms out with QoS 1, operators' commands in.

Speaks MQTT 5, and 3.1.1 if the broker has no 5. Then a refusal by access rules looks like success,
because the protocol has no word for it: an alarm is confirmed if the broker also sends it back. The
retained message `{root}/_svc/{gateway}/confirmed/{sink}` tells after an outage what the broker has
forgotten. The service's own state is retained at
`{root}/_svc/{gateway}/status`: online, degraded, offline (the last will).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.sinks.base import (
    ALERT,
    EVENT,
    DeliveryError,
    Position,
    Refusals,
    Sink,
    SinkReporter,
)
from edge_agent.sinks.mqtt_commands import CommandInbox, command_filters
from edge_agent.sinks.mqtt_connection import NO_SUBSCRIBERS, REFUSED_HOLD_S, Connection
from edge_agent.transport import LostError, Reconnector, Waits
from edge_agent.transport.mqtt import Takeovers, VersionChoice

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Reply
    from edge_agent.sinks.mqtt_config import MqttSinkConfig
    from edge_agent.transport.mqtt import Protocol

log = logging.getLogger("edge_agent.sinks")

# After a connection that was up the wait is short, because alarms wait; not the shortest,
# otherwise two clients of one name would disconnect each other every second.
_WAITS: Final = Waits(failures_after_up=1)
GOODBYE_TIMEOUT_S: Final = 2.0
RETURN_S: Final = 30.0  # how long after a connection an event waits for a subscriber
UNHEARD_HOLD_S: Final = 2.0
REANNOUNCE_S: Final = 0.2
MARK_HOLD_S: Final = 30.0  # at most: events wait until those before them that were lost are sent
_OFFLINE: Final = b"offline"
_REMEMBERED: Final = 1000
_COMMAND: Final = "/_pdm/cmd/"
_PROBE_SUFFIX: Final = "-v5"


class MqttSink(Sink):
    """One broker; see `Sink`. A message is confirmed by its PUBACK."""

    kinds = frozenset({ALERT, EVENT})
    takes_kpi = True

    def __init__(  # noqa: PLR0913, PLR0917 (the same for all sinks)
        self,
        name: str,
        config: MqttSinkConfig,
        gateway: Gateway,
        topic_root: str,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.name = name
        self.window = config.send_window
        self._config = config
        self._client_id = config.client_id or f"edge-agent-{gateway.client_name}-{name}-alarms"
        self._status_topic = f"{topic_root}/_svc/{gateway.id}/status"
        self._root = topic_root
        self._filters = command_filters(topic_root)
        self._is_of_pair = bool(gateway.member)  # the will of the other one may overwrite ours
        self._inbox = CommandInbox(name, metrics, clock)
        self._clock = clock
        self._versions = VersionChoice(config.protocol)
        self._reporter = SinkReporter(name, metrics, clock)
        self._reconnector = Reconnector(self._reporter, self._serve, clock, waits=_WAITS)
        self.link = self._reporter.link
        self._takeovers = Takeovers(name, self._client_id, self.link)
        self._status = "online"
        self._connection: Connection | None = None
        self._has_been_up = False
        self._mark_topic = f"{topic_root}/_svc/{gateway.id}/confirmed/{name}"
        self._sent: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)  # of this connection
        self._marks = False  # True if the receiver's last mark is evaluated, and it takes others
        self._known: Connection | None = None  # whose last mark was read
        self._notices: set[asyncio.Task[None]] = set()
        self._asks_again = False  # True if the refused status must be sent again

    async def start(self) -> None:
        """Start to connect, and retry for ever."""
        self._versions.has_spoken_5 |= self.knowledge == self._spoken_5
        self._hold()
        await self._reconnector.start()

    async def stop(self) -> None:
        """Publish `offline` and disconnect; if another gateway has replaced us, only disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None and self.is_replaced:
            connection.close()
        elif connection is not None:
            with contextlib.suppress(DeliveryError, TimeoutError):
                async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                    await connection.publish(self._status_topic, _OFFLINE, retain=True)
            connection.close()
        await self._reconnector.stop()
        for notice in self._notices:
            notice.cancel()
        await asyncio.gather(*self._notices, return_exceptions=True)

    async def deliver(self, message: Message) -> None:
        """Publish it, retained if it is a state, and return after its PUBACK."""
        connection = self._connection
        if connection is None:
            raise DeliveryError(
                "not connected", reason="disconnected", retry=True, where=self._config.url
            )
        is_state = message.kind == ALERT
        sent = _nothing if is_state else partial(self._sent.append, (message.key, message.seq))
        code = await connection.publish_proven(
            message.topic, message.body, retain=is_state, on_sent=sent
        )
        if code == NO_SUBSCRIBERS and not is_state and self._reconnector.lived_s() < RETURN_S:
            # After an outage subscribers also reconnect, and an event is not retained.
            raise DeliveryError(
                "no receiver is subscribed yet", reason="", retry=True, hold_s=UNHEARD_HOLD_S
            )

    def publish_scores(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Send (topic, body) pairs with QoS 0; dropped while there is no connection."""
        if self._connection is not None:
            self._connection.publish_scores(batch)

    async def publish_kpi(self, topic: str, body: bytes, *, retain: bool) -> bool:
        """Publish with QoS 1; False if the broker does not confirm it, or is not there."""
        connection = self._connection
        if connection is None:
            return False
        try:
            await connection.publish(topic, body, retain=retain)
        except DeliveryError:
            return False
        return True

    def set_status(self, status: str) -> None:
        """Publish `online` or `degraded`; repeated after each reconnection."""
        if status != self._status:
            self._status = status
            if self._connection is not None:
                self._notice(self._announce_again(self._connection, 0.0))

    def show_refusals(self, refusals: Refusals) -> None:
        """Show refused messages in the link."""
        self._reporter.show_refusals("messages", refusals)

    def _notice(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _serve(self) -> None:
        """One connection from start to end; an EdgeAgentError has the reason of its end."""
        try:
            connection = await self._versions.connect(self._make_connection)
        except EdgeAgentError:
            self._takeovers.forget_short_connections()
            raise
        try:
            await self._welcome(connection)
            if self._versions.guessed:
                self._notice(self._leave_if_5_is_spoken(connection))
            host, port = self._config.host, self._config.port
            lived_s = self._reconnector.lived_s
            reason = await self._takeovers.end_of(connection.ended, lived_s, host, port)
            raise LostError(reason, where=self._config.url)
        finally:
            self._connection = None
            self._hold()
            connection.abort("left")

    def _make_connection(self, version: Protocol) -> Connection:
        connection = Connection(self._config, self._client_id, version, self._clock)
        connection.on_message = self._on_message
        connection.may_answer = self._may_answer
        connection.set_will(self._status_topic, _OFFLINE)
        return connection

    async def _leave_if_5_is_spoken(self, connection: Connection) -> None:
        def make(version: Protocol) -> Connection:
            other = self._client_id + _PROBE_SUFFIX
            return Connection(self._config, other, version, self._clock, clean=True)

        asking = asyncio.create_task(self._versions.ask_for_5(make))
        ended = asyncio.ensure_future(asyncio.shield(connection.ended))
        try:
            await asyncio.wait((asking, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
        connection.close()

    async def _welcome(self, connection: Connection) -> None:
        """Subscribe and publish our state before the first alarm."""
        details = await self._adopt_version(connection)
        if self.on_command is not None:
            filters = [(one, 1) for one in self._filters]
            filters += [(self._status_topic, 1)] if self._is_of_pair else []
            refused = await connection.subscribe(filters, as_published=True)
            details += [f"refused to subscribe to {one}" for one in refused]
        await self._announce(connection)
        self.window = min(self._config.send_window, connection.window)
        self._sent.clear()
        self._marks = False
        self._connection = connection
        self._reconnector.set_connected(detail="; ".join(details))
        if self.on_connected is not None:
            self.on_connected()
        if self.on_ready is not None:
            self.on_ready()
        # A killed broker may have kept our session and lost its last confirmed messages.
        doubt = self.in_doubt or self._has_been_up or not connection.session_present
        self._has_been_up, self.in_doubt = True, False
        self._notice(self._read_mark(connection, in_doubt=doubt))

    async def _adopt_version(self, connection: Connection) -> list[str]:
        """Remember MQTT 5; over 3.1.1 find out if refusals can be seen. Returns notes."""
        if connection.v5:
            self.knowledge = self._spoken_5
            return []
        await connection.try_readback(self._status_topic, self._status.encode())
        if connection.readback.works:
            return ["MQTT 3.1.1: each alarm is read back"]
        return ["MQTT 3.1.1: refusals by access rules are not seen"]

    @property
    def _spoken_5(self) -> str:
        return f"MQTT 5: {self._config.url}"

    async def _read_mark(self, connection: Connection, *, in_doubt: bool) -> None:
        """Report what the broker may have forgotten; then it may be given a new mark."""
        asyncio.get_running_loop().call_later(MARK_HOLD_S, self._release, connection)
        with contextlib.suppress(EdgeAgentError):
            mark = await connection.readback.retained(self._mark_topic)
            connection.unsubscribe(self._mark_topic)
            if self._connection is not connection or self.on_forgotten is None:
                return
            self._known = connection
            if mark or in_doubt:
                self.on_forgotten(Position.parse(mark), set(self._sent))
            else:
                self.accept_marks()

    def _hold(self) -> None:
        """Keep events back from now on, if somebody finds out what was forgotten."""
        self.held = frozenset() if self.on_forgotten is None else frozenset({EVENT})

    def _release(self, connection: Connection) -> None:
        """Let events go out that waited for too long."""
        if self._connection is connection and self.held:
            self.held = frozenset()
            if self.on_ready is not None:
                self.on_ready()

    def accept_marks(self) -> None:
        """Take marks from now on: what was forgotten is in the outbox again, before all else."""
        if self._known is not self._connection:  # of a connection that ended meanwhile
            return
        self._marks, self.held = True, frozenset()
        if self.on_ready is not None:
            self.on_ready()

    def mark(self, position: Position) -> bool:
        """Publish how far events were sent; retained, so that the broker loses it with them.

        A broker reads what is sent in its order: if it holds the mark, it has received them.
        """
        if self._connection is None or not self._marks:
            return False
        waiting = [one for one in position.waiting if one not in self._sent]
        self._connection.publish_mark(self._mark_topic, position._replace(waiting=waiting).dump())
        return True

    async def _announce(self, connection: Connection) -> None:
        said, refusals = "", Refusals()
        try:
            while said != self._status:
                said = self._status
                await connection.publish(self._status_topic, said.encode(), retain=True)
        except DeliveryError as error:
            if error.hold_s is None:
                raise
            refusals = Refusals(1, self._status_topic, error.message)
        self._reporter.show_refusals("status", refusals)
        if refusals.waiting and not self._asks_again:
            self._asks_again = True
            self._notice(self._announce_again(connection, REFUSED_HOLD_S))

    async def _announce_again(self, connection: Connection, delay_s: float) -> None:
        if delay_s:
            await asyncio.sleep(delay_s)
            self._asks_again = False
        with contextlib.suppress(DeliveryError):  # the next connection starts with it
            if self._connection is connection:
                await self._announce(connection)

    def _defend_status(self, said: bytes) -> None:
        """Say it again if the will of the gateway that we replaced came after it."""
        if self._is_of_pair and self._connection is not None and said != self._status.encode():
            self._notice(self._announce_again(self._connection, REANNOUNCE_S))

    def _may_answer(self, topic: str) -> bool:
        """True unless it is a topic of our own, where an answer could look like an alarm."""
        ours = topic.startswith((f"{self._root}/", "$")) and "/_pdm/reply/" not in topic
        return not ours and not set(topic) & set("+#\0")

    def _on_message(
        self,
        topic: str,
        payload: bytes,
        retained: bool,  # noqa: FBT001 (a callback)
        reply: Reply | None,
    ) -> None:
        if topic == self._status_topic:
            self._defend_status(payload)
            return
        if _COMMAND not in topic:  # of an old subscription, or read back too late
            return
        self._inbox.on_refused = self.on_refused
        command = self._inbox.command_of(topic, payload, retained=retained, reply=reply)
        if command is None or self.on_command is None:
            return
        try:
            self.on_command(command)
        except Exception:
            log.exception("command failed", extra={"sink": self.name, "command": command.id})


def _nothing() -> None:
    """Stand in for a callback: states need no marks."""
