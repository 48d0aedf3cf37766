"""The life of one connection: subscribe, publish, check that it is alive. Never used twice.

asyncua's own reconnect can remain "connected" forever after a stall of the server, so nothing is
repaired here: any doubt ends the session, and the source opens a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.connector import connect
from edge_agent.sources.opcua.decode import decode_publish_response
from edge_agent.sources.opcua.explain import explained, status_name
from edge_agent.sources.opcua.node_report import NodeReport, report
from edge_agent.sources.opcua.nodes import address_of
from edge_agent.sources.opcua.recovery import Recovery
from edge_agent.sources.opcua.renew import NodeRetry, lasting, silent_items
from edge_agent.sources.opcua.subscribe import Subscriptions, items_of
from edge_agent.transport import LostError
from edge_agent.values import BAD_NODE_ID_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.connector import Connection
    from edge_agent.sources.opcua.feed import Feed
    from edge_agent.sources.opcua.notification import Notification

# Part 4, 5.14.5: the server can only send in answer to a request, so some must always wait there.
_PUBLISH_REQUESTS: Final = 3
_WATCH_STEP_S: Final = 1.0
_LEAST_STEP_S: Final = 0.02
_MAX_PARTS: Final = 16  # of one publishing cycle, of up to 10,000 values each
_SHOWN: Final = 3
_NODE_STEP_S: Final = 1.0
_LAST_SEQUENCE: Final = 0xFFFF_FFFF

log = logging.getLogger("edge_agent.sources")


class Session:
    """One connection from its first packet to its end.

    on_up is called with a text when values arrive, and again when that text changes, and with the
    faults of the nodes. add_signals adds newly discovered signals of the plant to the feed.
    """

    def __init__(  # noqa: PLR0913 (the parts of the source that it uses)
        self,
        config: OpcUaSourceConfig,
        session_name: str,
        feed: Feed,
        clock: Clock,
        *,
        source: str,
        discovered: asyncio.Event,
        add_signals: Callable[[], None],
        on_up: Callable[[str, NodeReport], None],
    ) -> None:
        self._config = config
        self._session_name = session_name
        self._feed = feed
        self._clock = clock
        self._source = source
        self._discovered = discovered
        self._add_signals = add_signals
        self._on_up = on_up
        self._refused: dict[int, int] = {}
        self._asked = 0
        self._requests = _PUBLISH_REQUESTS
        self._acks: list[ua.SubscriptionAcknowledgement] = []
        self._parts: list[Notification] = []
        self._next_sequence: dict[int, int] = {}
        self._received_s: dict[int, float] = {}
        self._recovery: Recovery | None = None

    async def run(self) -> None:
        """Deliver until the connection ends; always raises, a ConnectError for expected reasons."""
        connection = await connect(self._config, self._session_name)
        try:
            async with asyncio.TaskGroup() as group:
                await self._serve(connection, group)
        except BaseExceptionGroup as failed:  # the library has a CancelledError of its own
            self._hand_over_rest()
            self._feed.mark_lost()  # at once: a server that is stalled does not answer the end
            raise failed.exceptions[0] from None
        finally:
            self._hand_over_rest()
            await connection.close()

    def _hand_over_rest(self) -> None:
        """Pass on what came before the end."""
        self._hand_over()
        if self._recovery is not None:
            self._recovery.abandon()
            self._recovery = None

    async def _serve(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        if self._config.reads_history and self._feed.stamp_us.any():
            self._recovery = Recovery(self._feed, self._clock, self._source)
        self._feed.start_subscription()
        subscriptions = Subscriptions(connection, self._config)
        await subscriptions.create()
        for number in range(self._requests):
            group.create_task(self._publish(connection, subscriptions), name=f"publish-{number}")
        group.create_task(self._watch(subscriptions), name="watch")
        group.create_task(connection.keep_open(), name="renew")
        group.create_task(connection.keep_session(), name="keep")
        await self._subscribe(connection, subscriptions)
        if self._recovery is not None:
            await self._recover(connection, subscriptions, self._recovery)
        self._feed.history.started = connection.started
        group.create_task(self._keep_nodes(connection, subscriptions), name="nodes")

    async def _recover(
        self, connection: Connection, subscriptions: Subscriptions, recovery: Recovery
    ) -> None:
        """Deliver what was missed during the outage; the link is up when that is read."""
        await recovery.read(connection, subscriptions)
        self._report_nodes(subscriptions)
        await recovery.deliver()
        self._recovery = None
        recovery.release()
        self._mark_refused(recovery.refused)
        if self._feed.faulty_changed:
            self._report_nodes(subscriptions)

    # -- values -------------------------------------------------------------------------------

    async def _publish(self, connection: Connection, subscriptions: Subscriptions) -> None:
        """Keep one publish request at the server; several of these tasks run in parallel."""
        while True:
            acks, self._acks = self._acks, []
            try:
                with explained("receiving", connection.where):
                    data = await self._receive(connection, acks)
            except _FewerRequests:
                return
            if data is not None:
                self._accept_answer(data, subscriptions, connection.where)

    async def _receive(
        self, connection: Connection, acks: list[ua.SubscriptionAcknowledgement]
    ) -> bytes | None:
        try:
            return await wire.publish(connection.client, acks)
        except UaStatusCodeError as error:
            if error.code == StatusCodes.BadTimeout:
                return None
            if error.code == StatusCodes.BadTooManyPublishRequests and self._requests > 1:
                self._requests -= 1
                raise _FewerRequests("the server holds fewer publish requests") from error
            raise

    def _accept_answer(self, data: bytes, subscriptions: Subscriptions, where: str) -> None:
        try:
            notification = decode_publish_response(data)
        except DecodeError as error:
            self._feed.reject(error.reason)
            return
        if notification.subscription not in subscriptions.ids:
            self._feed.reject("subscription_unknown")
            return
        if notification.ended is not None:
            reason = f"the server ended the subscription: {status_name(notification.ended)}"
            raise LostError(reason, where=where)
        self._received_s[notification.subscription] = self._clock.monotonic_s()
        self._acknowledge(notification)
        self._parts.append(notification)
        if not notification.more or len(self._parts) >= _MAX_PARTS:
            self._hand_over()
            if self._feed.faulty_changed and self._asked:
                self._report_nodes(subscriptions)

    def _hand_over(self) -> None:
        """Pass on all parts together: one may contain values of the same seconds as another."""
        parts, self._parts = self._parts, []
        accept = self._feed.accept_notification if self._recovery is None else self._recovery.hold
        for part in parts:
            accept(part)

    def _acknowledge(self, notification: Notification) -> None:
        """Acknowledge, and detect a missing notification."""
        number, sequence = notification.subscription, notification.sequence
        if sequence != self._next_sequence.get(number, sequence):
            self._feed.reject("sequence_gap")
        if not notification.data:  # a keepalive contains the next number
            self._next_sequence[number] = sequence
            return
        self._next_sequence[number] = sequence + 1 if sequence < _LAST_SEQUENCE else 1
        self._acks.append(
            ua.SubscriptionAcknowledgement(
                SubscriptionId=ua.IntegerId(number), SequenceNumber=ua.Counter(sequence)
            )
        )

    async def _watch(self, subscriptions: Subscriptions) -> None:
        """End the session if a subscription is silent for too long, without even a keepalive."""
        while True:
            step_s = self._watch_step_s(subscriptions.stall_after_s)
            before_s = self._clock.monotonic_s()
            await asyncio.sleep(step_s)
            now_s = self._clock.monotonic_s()
            # Time in which this process itself was blocked is not the server's silence: the data
            # sent meanwhile still waits in the socket.
            own_s = max(0.0, now_s - before_s - step_s)
            for number in subscriptions.ids:
                self._received_s[number] = self._received_s.get(number, now_s) + own_s
            silent_s = now_s - min(self._received_s.values())
            if silent_s >= subscriptions.stall_after_s:
                raise LostError(
                    f"stalled: nothing was received for {silent_s:.1f} s", where=self._config.url
                )

    def _watch_step_s(self, stall_after_s: float) -> float:
        """The time to the next look: short enough to see that this process itself was blocked."""
        newest_s = min(self._received_s.values(), default=self._clock.monotonic_s())
        left_s = newest_s + stall_after_s - self._clock.monotonic_s()
        return min(_WATCH_STEP_S, stall_after_s / 4, max(_LEAST_STEP_S, left_s))

    # -- nodes --------------------------------------------------------------------------------

    async def _keep_nodes(self, connection: Connection, subscriptions: Subscriptions) -> None:
        """Add discovered signals, and request missing or silent nodes again."""
        retry = NodeRetry(self._config.node_retry, self._clock.monotonic_s())
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_NODE_STEP_S):
                    await self._discovered.wait()
            is_any_missing = bool(self._refused or lasting(self._feed.faulty()))
            if retry.is_due(self._clock.monotonic_s(), is_any_missing=is_any_missing):
                await self._renew(connection, subscriptions)
            elif self._discovered.is_set():
                await self._subscribe(connection, subscriptions)

    async def _renew(self, connection: Connection, subscriptions: Subscriptions) -> None:
        """Request deleted nodes again, and items that the server lost.

        Part 4, 5.12.1.1: an item whose node is deleted is not linked to a new node of that id. Some
        servers report that with a status; others fall silent, which only reading the nodes shows.
        """
        gone = set(lasting(self._feed.faulty()))
        with explained("reading the nodes", connection.where):
            if self._refused or gone:
                await connection.read_namespaces()
            gone |= await silent_items(connection, subscriptions, self._feed, self._config)
            await subscriptions.remove(gone)
        await self._subscribe(connection, subscriptions, sorted(gone))

    async def _subscribe(
        self, connection: Connection, subscriptions: Subscriptions, again: Sequence[int] = ()
    ) -> None:
        """Subscribe every signal that has no item yet; again: handles whose items were removed."""
        self._discovered.clear()
        self._add_signals()
        signals = self._feed.signals
        handles = [*self._refused, *again, *range(self._asked, len(signals))]
        items, refused = items_of(self._feed, self._config, handles, connection.namespaces)
        with explained("subscribing the nodes", connection.where):
            refused |= await subscriptions.add(items)
        self._asked = len(signals)
        known = self._refused | self._feed.faulty()
        new = [handle for handle, code in refused.items() if known.get(handle) != code]
        self._refused = refused
        self._feed.forget_faults(list(refused))
        if self._recovery is not None:
            self._recovery.refused = new
            return
        self._mark_refused(new)
        self._report_nodes(subscriptions)

    def _report_nodes(self, subscriptions: Subscriptions) -> None:
        """Report the number of nodes, the faults of the others, and revised parameters."""
        self._feed.faulty_changed = False
        found = report(self._feed.signals, self._feed.faulty() | self._refused)
        most = subscriptions.revised.most_common(_SHOWN)
        parts = [found.text()]
        parts += [f"revised: {what}" + (f" ({n})" if n > 1 else "") for what, n in most]
        self._on_up("; ".join(parts), found)

    def _mark_refused(self, refused: Sequence[int]) -> None:
        """Mark refused nodes with bad values, so that their alarm is raised."""
        for code in {self._refused[handle] for handle in refused}:
            handles = [handle for handle in refused if self._refused[handle] == code]
            self._feed.mark_without_value(code, handles)
            unknown = code == BAD_NODE_ID_UNKNOWN
            self._feed.reject("node_unknown" if unknown else "node_refused", len(handles))
            signals = [self._feed.signals[handle] for handle in handles[:_SHOWN]]
            nodes = ", ".join(address_of(signal, self._config.node) for signal in signals)
            log.warning(
                "nodes refused",
                extra={
                    "source": self._source,
                    "status": status_name(code),
                    "count": len(handles),
                    "nodes": nodes,
                },
            )


class _FewerRequests(Exception):  # noqa: N818 (no error: the other requests continue)
    """The server's queue of publish requests is shorter than expected."""
