"""Data acquisition (ISO 13374 DA): each source decodes its input into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.config.structs import kind_of
from edge_agent.config.types import Name
from edge_agent.sources import mqtt, opcua, replay
from edge_agent.sources.base import ConnectedSource
from edge_agent.sources.mqtt import MqttSource, MqttSourceConfig
from edge_agent.sources.opcua import OpcUaSource, OpcUaSourceConfig
from edge_agent.sources.replay import Recording, ReplayConfig, ReplaySource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_agent.config.schema import Config
    from edge_agent.findings import Finding
    from edge_agent.messages import Source

__all__ = [
    "CAMERA",
    "SOURCES",
    "ConnectedSource",
    "Recording",
    "ReplayConfig",
    "SourceType",
    "type_of",
]


class SourceType(NamedTuple):
    """The struct of a source's config, and the functions that create and check the source.

    make: (name, config, plant, intake, metrics, clock, gateway) -> Source.
    probe: (config) -> None, or EdgeAgentError if the other side does not answer correctly.
    inspect: (name, config, whole config, clock, seconds) -> what matches and what does not.
    beside: (config, purpose) -> the config of a second connection beside a running daemon's.
    """

    config: type
    make: Callable[..., Source]
    probe: Callable[..., Awaitable[None]]
    inspect: Callable[..., Awaitable[list[Finding]]]
    beside: Callable[[Any, str], Any] = lambda config, _: config


# The type of a camera, which is a source without an entry in `sources`.
CAMERA: Final = "camera"
# The possible values of a config's `type:`.
SOURCES: Final[Mapping[str, SourceType]] = {
    "mqtt": SourceType(MqttSourceConfig, MqttSource, mqtt.probe, mqtt.inspect, mqtt.beside),
    "opcua": SourceType(OpcUaSourceConfig, OpcUaSource, opcua.probe, opcua.inspect),
    "replay": SourceType(ReplayConfig, ReplaySource, replay.probe, replay.inspect),
}


def type_of(config: Config, name: str) -> str:
    """The `type:` of a source of a config, or CAMERA."""
    struct = config.sources.get(Name(name))
    return CAMERA if struct is None else kind_of(SOURCES, struct)
