"""Subscriptions and their monitored items: created in batches, revised parameters compared."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.explain import explained
from edge_agent.sources.opcua.nodes import address_of, node_id
from edge_agent.values import BAD_NODE_ID_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.connector import Connection
    from edge_agent.sources.opcua.feed import Feed

_CODES: Final = StatusCodes
_TOO_LARGE: Final = frozenset(
    {
        _CODES.BadTooManyOperations,
        _CODES.BadTooManyMonitoredItems,
        _CODES.BadRequestTooLarge,
        _CODES.BadResponseTooLarge,
        _CODES.BadEncodingLimitsExceeded,
        _CODES.BadTcpMessageTooLarge,
    }
)
_NO_DEADBAND: Final = frozenset(
    {
        _CODES.BadMonitoredItemFilterUnsupported,
        _CODES.BadMonitoredItemFilterInvalid,
        _CODES.BadFilterNotAllowed,
        _CODES.BadDeadbandFilterInvalid,
    }
)
_MAX_SUBSCRIPTIONS: Final = 16
_MAX_PER_PUBLISH: Final = 10_000
_DEFAULT_KEEPALIVE_S: Final = 2.0
_LIFETIME_KEEPALIVES: Final = 10  # Part 4, 5.14.2: at least three
_MIN_STALL_S: Final = 5.0
_MAX_STALL_S: Final = 600.0
_CHANGED: Final = 0.01  # a revised interval that differs by less is the same


@dataclass(frozen=True, slots=True)
class Item:
    """A node to monitor."""

    handle: int
    node: ua.NodeId
    sampling_ms: float
    deadband: float = 0.0


@dataclass(frozen=True, slots=True)
class Watched:
    """A monitored item at the server."""

    subscription: int
    number: int
    item: Item


class Subscriptions:
    """The subscriptions and items of one session.

    ids: of the subscriptions, more than one only if the server limits their items; interval_s: how
    often the server publishes; stall_after_s: a live session answers within this time; revised:
    parameters that the server changed, with the number of nodes; items: the monitored items by
    handle.
    """

    def __init__(self, connection: Connection, config: OpcUaSourceConfig) -> None:
        self.ids: list[int] = []
        self.interval_s = float(config.publishing_interval)
        self.stall_after_s = float(config.stall_after or _MIN_STALL_S)
        self.revised: Counter[str] = Counter()
        self.items: dict[int, Watched] = {}
        self._connection = connection
        self._config = config
        self._batch = min(config.batch, connection.max_items or config.batch)

    async def create(self) -> None:
        """Create one more subscription."""
        wanted = self._parameters()
        with explained("creating a subscription", self._connection.where):
            answer = await wire.call(
                self._connection.client,
                ua.CreateSubscriptionRequest(Parameters=wanted),
                ua.CreateSubscriptionResponse,
            )
        given = answer.Parameters
        self.ids.append(int(given.SubscriptionId))
        asked_ms, given_ms = wanted.RequestedPublishingInterval, given.RevisedPublishingInterval
        self.interval_s = _finite(given_ms / 1000)
        keepalive_s = _finite(given_ms * given.RevisedMaxKeepAliveCount / 1000)
        self._compare("publishing interval", asked_ms, given_ms, "ms")
        asked_keepalive_s = asked_ms * wanted.RequestedMaxKeepAliveCount / 1000
        self._compare("keepalive", asked_keepalive_s, keepalive_s, "s")
        self._set_stall(keepalive_s)

    async def add(self, items: Sequence[Item]) -> dict[int, int]:
        """Monitor `items`; returns handle and StatusCode of each item that the server refuses."""
        refused = await self._add_to(self.ids[-1], items)
        plain = [_plain(i) for i in items if refused.get(i.handle) in _NO_DEADBAND and i.deadband]
        if plain:
            self.revised[f"no deadband for {len(plain)} nodes"] = 0
            refused = {k: v for k, v in refused.items() if k not in {i.handle for i in plain}}
            refused |= await self._add_to(self.ids[-1], plain)
        left = [i for i in items if refused.get(i.handle) == _CODES.BadTooManyMonitoredItems]
        if left and len(left) < len(items) and len(self.ids) < _MAX_SUBSCRIPTIONS:
            await self.create()
            refused = {k: v for k, v in refused.items() if k not in {i.handle for i in left}}
            refused |= await self.add(left)
        return refused

    async def remove(self, handles: Iterable[int]) -> None:
        """Delete these items, so that their nodes can be requested again."""
        gone = [one for one in (self.items.pop(h, None) for h in handles) if one is not None]
        for subscription in {one.subscription for one in gone}:
            numbers = [ua.IntegerId(o.number) for o in gone if o.subscription == subscription]
            for at in range(0, len(numbers), self._batch):
                parameters = ua.DeleteMonitoredItemsParameters(
                    SubscriptionId=ua.IntegerId(subscription),
                    MonitoredItemIds=numbers[at : at + self._batch],
                )
                session = self._connection.client.uaclient.session
                # The results do not matter: the server may have deleted the items itself.
                await session.delete_monitored_items(parameters)

    async def _add_to(self, subscription: int, items: Sequence[Item]) -> dict[int, int]:
        refused: dict[int, int] = {}
        at = 0
        while at < len(items):
            batch = items[at : at + self._batch]
            try:
                results = await self._request(subscription, batch)
            except UaStatusCodeError as error:
                if error.code not in _TOO_LARGE or len(batch) == 1:
                    raise
                self._batch = len(batch) // 2
                continue
            at += len(batch)
            for item, result in zip(batch, results, strict=True):
                if result.StatusCode.is_good():
                    number = int(result.MonitoredItemId)
                    self.items[item.handle] = Watched(subscription, number, item)
                    self._compare_item(item, result)
                else:
                    refused[item.handle] = int(result.StatusCode.value)
        return refused

    async def _request(
        self, subscription: int, batch: Sequence[Item]
    ) -> list[ua.MonitoredItemCreateResult]:
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.IntegerId(subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[self._create_request(item) for item in batch],
        )
        return await self._connection.client.uaclient.session.create_monitored_items(parameters)

    def _create_request(self, item: Item) -> ua.MonitoredItemCreateRequest:
        wanted = ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(item.handle),
            SamplingInterval=ua.Duration(item.sampling_ms),
            QueueSize=ua.Counter(self._config.queue_size),
            DiscardOldest=True,
        )
        if item.deadband:
            wanted.Filter = ua.DataChangeFilter(
                Trigger=ua.DataChangeTrigger.StatusValue,
                DeadbandType=ua.UInt32(ua.DeadbandType.Absolute),
                DeadbandValue=ua.Double(item.deadband),
            )
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=item.node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=wanted,
        )

    def _parameters(self) -> ua.CreateSubscriptionParameters:
        interval_s = self._config.publishing_interval
        stall_s = self._config.stall_after
        keepalive_s = stall_s / 3 if stall_s else max(_DEFAULT_KEEPALIVE_S, interval_s)
        keepalives = max(1, math.floor(keepalive_s / interval_s))
        lifetime = max(
            _LIFETIME_KEEPALIVES * keepalives, math.ceil(self._config.session_timeout / interval_s)
        )
        return ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=ua.Duration(interval_s * 1000),
            RequestedLifetimeCount=ua.Counter(lifetime),
            RequestedMaxKeepAliveCount=ua.Counter(keepalives),
            MaxNotificationsPerPublish=ua.Counter(_MAX_PER_PUBLISH),
            PublishingEnabled=True,
            Priority=ua.Byte(0),
        )

    def _set_stall(self, keepalive_s: float) -> None:
        """Silence proves a stall only if it is longer than the revised keepalive allows."""
        stall_s = self._config.stall_after
        least_s = 1.5 * keepalive_s if stall_s else max(_MIN_STALL_S, 3 * keepalive_s)
        self.stall_after_s = min(_MAX_STALL_S, max(self.stall_after_s, least_s))

    def _compare_item(self, item: Item, given: ua.MonitoredItemCreateResult) -> None:
        self._compare("queue size", self._config.queue_size, given.RevisedQueueSize)
        self._compare("sampling", item.sampling_ms, given.RevisedSamplingInterval, "ms")

    def _compare(self, what: str, asked: float, given: float, unit: str = "") -> None:
        if abs(given - asked) > _CHANGED * max(asked, 1.0):
            self.revised[f"{what} {asked:g}{unit} -> {given:g}{unit}"] += 1


def items_of(
    feed: Feed, config: OpcUaSourceConfig, handles: Sequence[int], namespaces: Sequence[str]
) -> tuple[list[Item], dict[int, int]]:
    """The items of these handles, and the StatusCode of each whose address is no node here."""
    items: list[Item] = []
    invalid: dict[int, int] = {}
    for handle in handles:
        signal = feed.signals[handle]
        sampling_s = signal.config.sampling
        if sampling_s is None:
            sampling_s = config.sampling_interval
        if sampling_s is None:
            sampling_s = config.publishing_interval
        try:
            node = node_id(address_of(signal, config.node), namespaces)
        except ValueError:
            invalid[handle] = BAD_NODE_ID_UNKNOWN
        else:
            items.append(Item(handle, node, sampling_s * 1000, signal.config.deadband))
    return items, invalid


def _plain(item: Item) -> Item:
    return Item(item.handle, item.node, item.sampling_ms)


def _finite(value: float) -> float:
    return value if 0 <= value < _MAX_STALL_S else _MAX_STALL_S
