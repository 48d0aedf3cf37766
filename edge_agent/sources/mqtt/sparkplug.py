"""Sparkplug B (Eclipse Sparkplug 3.0.0): births name the aliases, deaths set the quality.

An edge node reports all its metrics once (NBIRTH, DBIRTH) and then only changes. So if a node's
birth was not received, or a message is missing, its birth is requested: a rebirth request is the
only message that this source ever publishes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_MS
from edge_agent.errors import DecodeError
from edge_agent.messages import Detail, Fault
from edge_agent.sources.mqtt.sparkplug_channels import Channel, Channels, add_loss
from edge_agent.sources.mqtt.sparkplug_wire import (
    Message,
    metrics_of,
    parse_payload,
    read_value,
    rebirth_payload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.sources.mqtt.readings import Readings
    from edge_agent.sources.mqtt.refusals import Refusals
    from edge_agent.sources.mqtt.routes import Routes
    from edge_agent.sources.mqtt.sparkplug_config import Sparkplug
    from edge_agent.sources.mqtt.sparkplug_wire import Metric

BIRTHS_MISSING: Final = "sparkplug_births"
MAX_NODES: Final = 5_000
MAX_METRICS: Final = 500_000  # of all nodes together
_FIRST_ASK_S: Final = 10.0  # between two requests to one node, doubled each time it does not answer
_LAST_ASK_S: Final = 600.0
_MISSING_S: Final = 30.0  # data without a birth for this long is a fault
_SEQUENCE: Final = 256
_BD_SEQ: Final = "bdSeq"
_NODE_LEVELS: Final = 4
_DEVICE_LEVELS: Final = 5
log = logging.getLogger("edge_agent.sources")


@dataclass(slots=True)
class Node:
    """An edge node, as known from its messages.

    channels: by (device, name), the device empty for the node's own; aliases: of all of them.
    """

    group: str
    name: str
    is_born: bool = False
    bd_seq: float | None = None
    seq: int = 0
    channels: dict[tuple[str, str], Channel] = field(default_factory=dict)
    aliases: dict[int, Channel] = field(default_factory=dict)
    asked_s: float | None = None
    wait_s: float = _FIRST_ASK_S
    missing_since_s: float | None = None

    def answered(self) -> None:
        """Nothing is missing any more."""
        self.asked_s, self.wait_s, self.missing_since_s = None, _FIRST_ASK_S, None

    def lose(self, device: str | None, out: Readings) -> None:
        """A device, or the node with all devices, is lost: its values are no longer valid."""
        for (of, _), channel in self.channels.items():
            if device in {None, of}:
                add_loss(channel, out)


@dataclass(frozen=True, slots=True)
class _Received:
    """A message and its subject; device: empty for the node itself."""

    node: Node
    device: str
    message: Message
    monotonic_s: float


class SparkplugReader:
    """The Sparkplug messages of one broker. All its memory is bounded.

    requests: topics and payloads to publish; the owner of the connection removes them.
    """

    def __init__(self, source: str, config: Sparkplug, routes: Routes, refusals: Refusals) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self._source = source
        self._may_ask = config.rebirth
        self._channels = Channels(config, routes, refusals)
        self._refusals = refusals
        self._nodes: dict[tuple[str, str], Node] = {}
        self._metrics = 0
        self._handlers: dict[str, Callable[[_Received, Readings], None]] = {
            "NBIRTH": self._on_node_birth,
            "DBIRTH": self._on_device_birth,
            "NDATA": self._on_data,
            "DDATA": self._on_data,
            "NDEATH": self._on_node_death,
            "DDEATH": self._on_device_death,
        }

    def read(self, messages: Messages, out: Readings, monotonic_s: float) -> None:
        """Decode Sparkplug messages into `out`; unusable ones are counted, never raised."""
        retained = set(messages.retained)
        for n, topic in enumerate(messages.topics):
            if n in retained:  # births and data never are: it is an old message
                self._refusals.refuse_payload("retained", topic, "a retained Sparkplug message")
                continue
            try:
                self._read_one(topic, messages.payloads[n], out, monotonic_s)
            except DecodeError as error:
                self._refusals.refuse_payload(error.reason, topic, error.message)

    def forget_births(self, out: Readings) -> None:
        """The connection is lost: deaths are not received, so no value is known to be valid."""
        for node in self._nodes.values():
            node.lose(None, out)
            node.is_born = False
            node.answered()

    def request_known_births(self, monotonic_s: float, now_us: int) -> None:
        """After a new connection: request the births of every known node."""
        for node in self._nodes.values():
            self._request_births(node, monotonic_s, now_us)

    def report(self, faults: dict[str, Fault], monotonic_s: float) -> None:
        """Set or delete the fault of nodes whose births are missing."""
        what = f"births.{self._source}"
        late = [
            f"{one.group}/{one.name}"
            for one in self._nodes.values()
            if one.missing_since_s is not None and monotonic_s - one.missing_since_s > _MISSING_S
        ]
        if not late:
            faults.pop(what, None)
            return
        args = {"source": self._source, "node": late[0][:200], "n": len(late)}
        text = f"{self._source}: no birth certificate of {late[0][:100]} ({len(late)} nodes)"
        faults[what] = Fault(what, text, Detail(BIRTHS_MISSING, args))

    # -- messages -----------------------------------------------------------------------------

    def _read_one(self, topic: bytes, payload: bytes, out: Readings, monotonic_s: float) -> None:
        levels = topic.decode("utf-8", "backslashreplace").split("/")
        if len(levels) not in {_NODE_LEVELS, _DEVICE_LEVELS} or levels[2] not in self._handlers:
            return  # the STATE of a host, or commands of others
        _, group, kind, name, *device = levels
        message = parse_payload(payload)
        received = _Received(self._node(group, name), "".join(device), message, monotonic_s)
        self._handlers[kind](received, out)

    def _node(self, group: str, name: str) -> Node:
        node = self._nodes.get((group, name))
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                raise DecodeError("assets_refused", f"more than {MAX_NODES} edge nodes")
            node = self._nodes[group, name] = Node(group, name)
        return node

    def _on_node_birth(self, received: _Received, out: Readings) -> None:
        """A birth replaces all that was known of the node and its devices (6.4.19)."""
        node = received.node
        node.lose(None, out)
        self._metrics -= len(node.channels)
        node.channels.clear()
        node.aliases.clear()
        node.answered()
        node.is_born, node.seq, node.bd_seq = True, received.message.seq % _SEQUENCE, None
        self._read_births(received, out)

    def _on_device_birth(self, received: _Received, out: Readings) -> None:
        if self._in_sequence(received, out):
            self._read_births(received, out)

    def _on_data(self, received: _Received, out: Readings) -> None:
        if not self._in_sequence(received, out):
            return
        for metric in metrics_of(received.message):
            channel = _channel(received.node, received.device, metric)
            if channel is None:
                self._request_births(received.node, received.monotonic_s, out.arrival_us)
            else:
                self._channels.read_metric(channel, metric, out)

    def _on_node_death(self, received: _Received, out: Readings) -> None:
        """The will of a connection; that of an earlier connection is ignored (6.4.21)."""
        node = received.node
        bd_seq = next((_number(m) for m in metrics_of(received.message) if m.name == _BD_SEQ), None)
        if node.is_born and None not in {bd_seq, node.bd_seq} and bd_seq != node.bd_seq:
            return
        node.lose(None, out)
        node.is_born = False

    def _on_device_death(self, received: _Received, out: Readings) -> None:
        if self._in_sequence(received, out):
            received.node.lose(received.device, out)

    def _in_sequence(self, received: _Received, out: Readings) -> bool:
        """True if the node's birth is known; a gap in its sequence requests another birth."""
        node = received.node
        if not node.is_born:
            if node.missing_since_s is None:
                node.missing_since_s = received.monotonic_s
            self._request_births(node, received.monotonic_s, out.arrival_us)
            return False
        if received.message.HasField("seq"):
            expected, node.seq = (node.seq + 1) % _SEQUENCE, received.message.seq % _SEQUENCE
            if node.seq != expected:
                about = {"source": self._source, "node": f"{node.group}/{node.name}"[:200]}
                log.warning("sparkplug messages missing", extra={**about, "expected": expected})
                self._request_births(node, received.monotonic_s, out.arrival_us)
        return True

    def _request_births(self, node: Node, monotonic_s: float, now_us: int) -> None:
        """Request a node's births, less and less often while it does not answer."""
        if not self._may_ask:
            return
        if node.asked_s is not None:
            if monotonic_s - node.asked_s < node.wait_s:
                return
            node.wait_s = min(2 * node.wait_s, _LAST_ASK_S)
        node.asked_s = monotonic_s
        topic = f"spBv1.0/{node.group}/NCMD/{node.name}"
        self.requests.append((topic, rebirth_payload(now_us // US_PER_MS)))

    def _read_births(self, received: _Received, out: Readings) -> None:
        for metric in metrics_of(received.message):
            if metric.name == _BD_SEQ and not received.device:
                received.node.bd_seq = _number(metric)
            else:
                channel = self._born(received.node, received.device, metric)
                self._channels.read_metric(channel, metric, out)
        if received.device:
            node, device = received.node, received.device
            own = [one for (of, _), one in node.channels.items() if of == device]
            self._channels.report_unused(f"{node.group}/{node.name}/{device}", own)

    def _born(self, node: Node, device: str, metric: Metric) -> Channel:
        channel = node.channels.get((device, metric.name))
        if channel is None:
            if self._metrics >= MAX_METRICS:
                raise DecodeError("assets_refused", f"more than {MAX_METRICS} metrics")
            self._metrics += 1
            channel = self._channels.new_channel(node.group, node.name, device, metric)
            node.channels[device, metric.name] = channel
        channel.datatype = metric.datatype or channel.datatype
        if metric.alias is not None:
            node.aliases[metric.alias] = channel
        return channel


def _channel(node: Node, device: str, metric: Metric) -> Channel | None:
    """The channel of a metric of a data message; None if no birth has defined it."""
    if metric.name:
        return node.channels.get((device, metric.name))
    return None if metric.alias is None else node.aliases.get(metric.alias)


def _number(metric: Metric) -> float | None:
    try:
        value = read_value(metric.raw, metric.datatype)
    except DecodeError:
        return None
    return value if isinstance(value, float) else None
