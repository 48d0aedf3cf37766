"""Cameras as sources: pictures from MQTT, a folder, HTTP or RTSP.

Only a config with cameras imports this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from edge_agent.config.camera_check import source_of
from edge_agent.sources.pictures.base import CameraSource
from edge_agent.sources.pictures.folder import FolderCamera
from edge_agent.sources.pictures.http import HttpCamera
from edge_agent.sources.pictures.probe import probe_camera
from edge_agent.sources.pictures.rtsp import StreamCamera
from edge_agent.sources.pictures.topics import PictureTopics, TopicCamera
from edge_agent.sources.pictures.trigger import TriggeredIntake, TriggerState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.messages import Source
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant
    from edge_agent.signals import EncodedPicture
    from edge_agent.sources.mqtt import MqttSource
    from edge_agent.values import BoundedIntake

__all__ = ["CAMERAS", "CameraSource", "TriggeredIntake", "make_cameras", "probe_camera"]

# By the key of a camera that says where its pictures come from.
CAMERAS: Final[Mapping[str, type[CameraSource]]] = {
    "mqtt": TopicCamera,
    "folder": FolderCamera,
    "http": HttpCamera,
    "rtsp": StreamCamera,
}


def make_cameras(  # noqa: PLR0913, PLR0917 (what all sources get, and who takes the pictures)
    config: Config,
    sources: Mapping[str, Source],
    plant: Plant,
    intake: BoundedIntake,
    metrics: Metrics,
    clock: Clock,
    accept: Callable[[EncodedPicture], None],
) -> dict[str, Source]:
    """The cameras of a config by their name, not started; the others of its sources are there.

    A camera whose asset is another gateway's (a shard) is not made.
    """
    found: dict[str, Source] = {}
    for name, struct in config.cameras.items():
        if struct.asset not in plant.assets:
            continue
        made = CAMERAS[struct.kind](name, struct, plant, intake, metrics, clock, config.gateway)
        made.accept = accept
        found[name] = made
        if isinstance(made, TopicCamera):
            _listen(made, cast("MqttSource", sources[source_of(made.topic, config)]))
        elif isinstance(made, HttpCamera) and isinstance(intake, TriggeredIntake):
            _follow_trigger(made, plant, intake)
    return found


def _listen(camera: TopicCamera, source: MqttSource) -> None:
    if source.pictures is None:
        source.pictures = PictureTopics(source.max_payload)
    source.pictures.add(camera)


def _follow_trigger(camera: HttpCamera, plant: Plant, intake: TriggeredIntake) -> None:
    trigger = camera.trigger
    if trigger is None:
        return
    signal, part = (_index(plant, text) for text in (trigger.signal, trigger.part))
    intake.add(TriggerState(signal, part, trigger.edge, camera.ask))


def _index(plant: Plant, text: str) -> int:
    """The number of a signal ASSET.SIGNAL; -1 if it is not one of this gateway."""
    asset, _, name = text.rpartition(".")
    found = plant.assets.get(asset)
    signal = None if found is None else found.signals.get(name)
    return -1 if signal is None else signal.index
