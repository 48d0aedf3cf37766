"""Subscriptions with bounds: what a client that is slow, gone or hostile can hold in memory.

The library's own send any number of events in one message, drop the oldest without a word, accept
any publishing interval, and let each session use the subscriptions of all others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.opcua_server.events import (
    Event,
    FieldLists,
    Where,
    check_filter,
    clause_keys,
    plain_event,
)
from edge_agent.opcua_server.ua_types import status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncua.server.address_space import AddressSpace
    from asyncua.server.monitored_item_service import MonitoredItemData

MIN_INTERVAL_MS: Final = 50.0
MAX_INTERVAL_MS: Final = 60_000.0
MAX_LIFETIME_S: Final = 600.0  # of a subscription whose client is gone
MAX_SUBSCRIPTIONS: Final = 8  # of a session
MAX_ITEMS: Final = 20_000  # monitored items of a session
MAX_QUEUE: Final = 20_000  # events that wait for a client
MAX_VALUES: Final = 100  # values of one item that wait
PER_MESSAGE: Final = 500  # notifications
_EVENTS_AT_ONCE: Final = 200  # then other work of the loop has its turn


class Items(MonitoredItemService):
    """The monitored items of one subscription."""

    isub: Subscription

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._monitored_items)

    @property
    def ids(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(self._monitored_items)

    def create_events_item(self, params: ua.MonitoredItemCreateRequest) -> Any:  # noqa: ANN401
        """Check the filter, then let the library create the item."""
        code = check_filter(params.RequestedParameters.Filter)
        if code != StatusCodes.Good:
            return ua.MonitoredItemCreateResult(StatusCode=status(code))
        result = super()._create_events_monitored_item(params)
        data = self._monitored_items.get(result.MonitoredItemId)
        if data is not None:
            self._adopt(data)
        return result

    _create_events_monitored_item = create_events_item

    def _adopt(self, data: MonitoredItemData) -> None:
        data.where_clause_evaluator = Where(self.logger, self.aspace, data.filter.WhereClause)
        data.clause_key = self.isub.key_of(data.filter.SelectClauses)  # type: ignore[attr-defined]

    async def _create_data_change_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        """Values only: our nodes are made for each request, and nothing else of them changes."""
        wanted = params.RequestedParameters.Filter
        if isinstance(wanted, ua.ExtensionObject) and wanted.TypeId.is_null():
            wanted = params.RequestedParameters.Filter = None
        if params.ItemToMonitor.AttributeId != AttributeIds.Value:
            code = StatusCodes.BadAttributeIdInvalid
        elif wanted is not None and not isinstance(wanted, ua.DataChangeFilter):
            code = StatusCodes.BadFilterNotAllowed
        elif wanted is not None and wanted.DeadbandType == ua.DeadbandType.Percent:
            code = StatusCodes.BadMonitoredItemFilterUnsupported
        else:
            size = params.RequestedParameters.QueueSize
            params.RequestedParameters.QueueSize = min(max(size, 1), MAX_VALUES)
            return await super()._create_data_change_monitored_item(params)
        return ua.MonitoredItemCreateResult(StatusCode=status(code))

    def _modify_monitored_item(
        self, params: ua.MonitoredItemModifyRequest
    ) -> ua.MonitoredItemModifyResult:
        result = ua.MonitoredItemModifyResult()
        data = self._monitored_items.get(params.MonitoredItemId)
        if data is None:
            result.StatusCode = status(StatusCodes.BadMonitoredItemIdInvalid)
            return result
        wanted = params.RequestedParameters
        is_event = data.where_clause_evaluator is not None
        if is_event and wanted.Filter is not None:
            code = check_filter(wanted.Filter)
            if code != StatusCodes.Good:
                result.StatusCode = status(code)
                return result
            data.filter = wanted.Filter
            self._adopt(data)
        data.client_handle = wanted.ClientHandle
        data.queue_size = self._revise_queue_size(wanted.QueueSize)
        result.RevisedQueueSize = data.queue_size
        result.RevisedSamplingInterval = self.isub.data.RevisedPublishingInterval
        return result

    def _delete_monitored_items(self, mid: int) -> ua.StatusCode:
        self.isub.forget_item(mid)
        with suppress(KeyError):  # the node is gone
            return super()._delete_monitored_items(mid)
        self._monitored_items.pop(mid, None)
        return ua.StatusCode()

    async def send(self, lists: FieldLists, mid: int | None = None) -> None:
        """Enqueue an event for the items that want it; mid: for this one only.

        An event of no node is about the subscription: all items get it, whatever they filter.
        """
        if not lists.event.nodes:
            for number, data in list(self._monitored_items.items()):
                if data.where_clause_evaluator is not None and mid in {None, number}:
                    await self._enqueue(lists, number, data)
        for node in lists.event.nodes:
            for number in self._monitored_events.get(node, ()):
                found = self._monitored_items.get(number)
                if found is not None and mid in {None, number}:
                    await self._send_one(lists, number, found)

    async def _send_one(self, lists: FieldLists, number: int, data: MonitoredItemData) -> None:
        where = data.where_clause_evaluator
        if where is None or data.mode == ua.MonitoringMode.Disabled or not where.eval(lists.event):
            return
        await self._enqueue(lists, number, data)

    async def _enqueue(self, lists: FieldLists, number: int, data: MonitoredItemData) -> None:
        key: int = data.clause_key  # type: ignore[attr-defined]
        fields = ua.EventFieldList()
        fields.ClientHandle = data.client_handle
        fields.EventFields = lists.of(key, data.filter.SelectClauses)
        await self.isub.enqueue_event(number, fields, data.queue_size)

    def overflow(self, mid: int) -> ua.EventFieldList | None:
        """The event that says that events were lost (OPC 10000-4, 7.22.3)."""
        data = self._monitored_items.get(mid)
        if data is None:
            return None
        event = plain_event(
            ObjectIds.EventQueueOverflowEventType, "events were lost", self.isub.now_us(), ()
        )
        fields = ua.EventFieldList()
        fields.ClientHandle = data.client_handle
        fields.EventFields = [event.value(one) for one in data.filter.SelectClauses]
        return fields


class Subscription(InternalSubscription):
    """A subscription whose queues are bounded, and which is sent in parts."""

    key_of: Callable[[Any], int]
    now_us: Callable[[], int]
    per_message: int = PER_MESSAGE

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self.monitored_item_srv: Items = Items(self, self.monitored_item_srv.aspace)
        self._events: dict[int, deque[ua.EventFieldList]] = {}
        self._lost: set[int] = set()

    @property
    def items(self) -> Items:
        """Its monitored items."""
        return self.monitored_item_srv

    def forget_item(self, mid: int) -> None:
        """Drop what waits for an item."""
        self._events.pop(mid, None)
        self._triggered_datachanges.pop(mid, None)
        self._lost.discard(mid)

    async def enqueue_event(self, mid: int, eventdata: ua.EventFieldList, maxsize: int) -> None:
        """Enqueue an event; the oldest one gives way."""
        queue = self._events.setdefault(mid, deque())
        while len(queue) >= max(1, min(maxsize or MAX_QUEUE, MAX_QUEUE)):
            queue.popleft()
            self._lost.add(mid)
        queue.append(eventdata)

    @property
    def _waits(self) -> bool:
        return self._publishing_enabled and bool(self._events or self._triggered_datachanges)

    def has_published_results(self) -> bool:
        """True if there is something to send: notifications, or it is time for a sign of life."""
        return self._waits or super().has_published_results()

    async def publish_results(self, requestdata: Any = None) -> bool:  # noqa: ANN401
        """Send what waits, in as many messages as there are publish requests for."""
        sent = await super().publish_results(requestdata)
        more = sent
        while more and self._waits:
            await asyncio.sleep(0)
            more = await super().publish_results()
        return sent

    def _pop_publish_result(self) -> ua.PublishResult:
        result = super()._pop_publish_result()
        result.MoreNotifications = self._waits
        return result

    def _pop_triggered_events(self, result: ua.PublishResult) -> None:
        room, found = self.per_message, list[ua.EventFieldList]()
        for mid in list(self._events):
            queue = self._events[mid]
            if mid in self._lost and (lost := self.monitored_item_srv.overflow(mid)):
                found.append(lost)
                self._lost.discard(mid)
            while queue and len(found) < room:
                found.append(queue.popleft())
            if not queue:
                del self._events[mid]
        if found:
            result.NotificationMessage.NotificationData.append(ua.EventNotificationList(found))

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        room, found = self.per_message, list[ua.MonitoredItemNotification]()
        for mid in list(self._triggered_datachanges):
            if len(found) >= room:
                break
            found += self._triggered_datachanges.pop(mid)
        if found:
            changes = ua.DataChangeNotification(MonitoredItems=found)
            result.NotificationMessage.NotificationData.append(changes)


class Subscriptions(SubscriptionService):
    """All subscriptions of the server."""

    def __init__(self, aspace: AddressSpace, iserver: Any, now_us: Callable[[], int]) -> None:  # noqa: ANN401
        super().__init__(aspace, iserver)
        self._now_us = now_us
        self._key_of = clause_keys()
        self.subscriptions: dict[int, Subscription] = {}  # type: ignore[assignment]

    def of_session(self, session_id: ua.NodeId) -> list[int]:
        """The subscriptions of a session."""
        return [
            number for number, one in self.subscriptions.items() if one.session_id == session_id
        ]

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Create one with the values that we grant."""
        if len(self.of_session(session_id)) >= MAX_SUBSCRIPTIONS:
            raise ServiceError(StatusCodes.BadTooManySubscriptions)
        result = _revised(params)
        self._sub_id_counter += 1
        number = result.SubscriptionId = self._sub_id_counter
        made = Subscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(number, None),
            no_acks_limit=self.iserver.max_unacked_messages_per_subscription,  # type: ignore[union-attr]
            max_queue_size=MAX_QUEUE,
            publishing_enabled=params.PublishingEnabled,
        )
        made.key_of, made.now_us = self._key_of, self._now_us
        asked = params.MaxNotificationsPerPublish
        made.per_message = min(asked, PER_MESSAGE) if asked else PER_MESSAGE
        await made.start()
        self.subscriptions[number] = made
        return result

    async def send(self, events: Iterable[Event]) -> None:
        """Enqueue events for all clients."""
        for count, event in enumerate(events, 1):
            lists = FieldLists(event)
            for one in list(self.subscriptions.values()):
                await one.monitored_item_srv.send(lists)
            if count % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def send_to(self, number: int, events: Iterable[Event], mid: int | None) -> None:
        """Enqueue events for one subscription, or for one item of it."""
        for count, event in enumerate(events, 1):
            if number not in self.subscriptions:
                return
            await self.subscriptions[number].monitored_item_srv.send(FieldLists(event), mid)
            if count % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)


def _revised(params: ua.CreateSubscriptionParameters) -> ua.CreateSubscriptionResult:
    result = ua.CreateSubscriptionResult()
    asked_ms = params.RequestedPublishingInterval
    # A NaN is not above the least.
    interval_ms = min(asked_ms, MAX_INTERVAL_MS) if asked_ms > MIN_INTERVAL_MS else MIN_INTERVAL_MS
    most = max(3, int(MAX_LIFETIME_S * 1000 / interval_ms))
    keep_alive = min(max(1, params.RequestedMaxKeepAliveCount or most // 3), most // 3)
    result.RevisedPublishingInterval = interval_ms
    result.RevisedMaxKeepAliveCount = keep_alive
    result.RevisedLifetimeCount = min(max(params.RequestedLifetimeCount, 3 * keep_alive), most)
    return result
