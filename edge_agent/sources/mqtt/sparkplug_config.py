"""The config of the Sparkplug B nodes of a broker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.sources.mqtt.topics import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOPIC: Final = frozenset({"group", "node", "device"})
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Sparkplug:
    """Edge nodes that use Sparkplug B, such as Ignition's MQTT Transmission.

    A signal is found by its address, or else its name. {device} of a node's own metrics is the
    node.
    """

    group: str = "+"  # one group id; +: every group
    node: str = "+"  # one edge node; +: every node
    asset: str = "{device}"  # of {group}, {node}, {device} and the placeholders of `metric`
    metric: str = "{signal}"  # the format of a metric's name: "{asset}/{signal}"
    template: str = ""  # template of assets that the config does not name
    rebirth: bool = True  # request the births of nodes; nothing else is ever published

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        for key in ("group", "node"):
            text = getattr(self, key)
            if not text or set(text) & set("/#") or ("+" in text and text != "+"):
                yield key, "is one level of a topic, or +"
        found = _PLACEHOLDER.findall(self.metric)
        if "signal" not in found:
            yield "metric", "needs {signal}"
        if len(set(found)) != len(found) or _TOPIC & set(found):
            yield (
                "metric",
                "each placeholder is used once, and group, node and device are the topic's",
            )
        if unknown := names_in(self.asset) - _TOPIC - set(found):
            yield "asset", f"there is no {{{min(unknown)}}}"

    @property
    def topic(self) -> str:
        """The topic filter of all messages of these nodes and their devices."""
        return f"spBv1.0/{self.group}/+/{self.node}/#"
