"""Decides when to request nodes again, and which: a server may lose them silently."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from asyncua.ua.attribute_ids import AttributeIds

from edge_agent.config.schema import Kind
from edge_agent.sources.opcua.read import Reader, code_of
from edge_agent.status_codes import is_of_node
from edge_agent.values import BAD, BAD_TYPE_MISMATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncua import ua

    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.connector import Connection
    from edge_agent.sources.opcua.feed import Feed
    from edge_agent.sources.opcua.subscribe import Subscriptions

_FIRST_S: Final = 5.0
_UPPER: Final = 0xFFFF_0000
_LEAST_GRACE_S: Final = 0.5


class NodeRetry:
    """When to retry: soon after a fault begins, then less often, at last every `longest_s`.

    A server start, or a download that replaces nodes, takes seconds; a wrong address remains.
    """

    def __init__(self, longest_s: float, now_s: float) -> None:
        self._longest_s = longest_s
        self._wait_s = longest_s
        self._last_s = now_s
        self._was_any_missing = False

    def is_due(self, now_s: float, *, is_any_missing: bool) -> bool:
        """True if a retry is due; troubled: some nodes are missing."""
        if is_any_missing and not self._was_any_missing:
            self._wait_s, self._last_s = min(_FIRST_S, self._longest_s), now_s
        elif not is_any_missing:
            self._wait_s = self._longest_s
        self._was_any_missing = is_any_missing
        if now_s - self._last_s < self._wait_s:
            return False
        self._last_s = now_s
        self._wait_s = min(self._longest_s, 2 * self._wait_s)
        return True


def lasting(faulty: Mapping[int, int]) -> list[int]:
    """The nodes that a new item may repair: not those of a wrong type."""
    return [handle for handle, code in faulty.items() if code & _UPPER != BAD_TYPE_MISMATCH]


async def silent_items(
    connection: Connection, subscriptions: Subscriptions, feed: Feed, config: OpcUaSourceConfig
) -> set[int]:
    """Handles of items that do not report what their nodes contain.

    Every node is read once. If a node differs from its last notification, its item gets some time;
    if it sends nothing, it is dead. Only scalars are compared.
    """
    watched = {
        handle: one.item
        for handle, one in subscriptions.items.items()
        if feed.signals[handle].config.kind is Kind.SCALAR
    }
    asked_s = feed.now_s()
    answers = await Reader(connection).read(
        [item.node for item in watched.values()], AttributeIds.Value
    )
    differing = [
        handle
        for (handle, item), answer in zip(watched.items(), answers, strict=True)
        if _differs(answer, float(feed.latest[handle]), item.deadband)
    ]
    if not differing:
        return set()
    longest_ms = max(watched[handle].sampling_ms for handle in differing)
    grace_s = 2 * max(config.publishing_interval, longest_ms / 1000)
    await asyncio.sleep(max(_LEAST_GRACE_S, grace_s))
    return {handle for handle in differing if feed.received_s[handle] < asked_s}


def _differs(answer: ua.DataValue, latest: float, deadband: float) -> bool:
    code = code_of(answer)
    if is_of_node(np.array([code], np.uint32))[0]:
        return True
    value = answer.Value.Value if answer.Value is not None and code < BAD else None
    number = float(value) if isinstance(value, int | float) else math.nan
    if math.isnan(number) or math.isnan(latest):
        return math.isnan(number) is not math.isnan(latest)
    return abs(number - latest) > deadband
