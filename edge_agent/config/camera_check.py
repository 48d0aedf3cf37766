"""Checks of cameras against the rest of the config: their asset, source, signals and names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge_agent.config.assets import expand_range
from edge_agent.config.problem import KeyPath, Notes, shown
from edge_agent.config.types import Name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config.cameras import Camera, PictureTopic, Snapshot
    from edge_agent.config.schema import Config, PlantCamera

_PACKAGES = {"rtsp": ("av", "rtsp")}  # by kind: the package that it needs, and its extra


def check_cameras(config: Config, notes: Notes) -> None:
    """Note names that are taken, unknown assets, sources and signals, and places used twice."""
    if not config.cameras:
        return
    patterns = {asset: pattern for pattern in config.assets for asset in expand_range(pattern)}
    places: dict[object, str] = {}
    for name, camera in config.cameras.items():
        path: KeyPath = ("cameras", name)
        if any(one[:2] == path for one in notes.broken):
            continue
        if name in config.sources:
            hint = "a camera is a source, too: choose another name"
            notes.add(path, f"{shown(name)} is the name of a source", hint)
        if camera.asset not in patterns and ("assets",) not in notes.broken:
            hint = notes.nearest(camera.asset, patterns)
            notes.add((*path, "asset"), f"there is no asset {shown(camera.asset)}", hint)
        _names(name, camera, config, patterns, notes)
        if camera.mqtt is not None:
            _topic(camera.mqtt, config, notes, (*path, "mqtt"))
        if camera.http is not None:
            _signals(camera.http, config, patterns, notes, (*path, "http"))
        _place(camera, config, places, notes, path)


def _names(
    name: Name,
    camera: PlantCamera,
    config: Config,
    patterns: Mapping[str, str],
    notes: Notes,
) -> None:
    """A camera is a signal of its asset and names an alarm of it; two have two models."""
    asset = config.assets.get(patterns.get(camera.asset, ""))
    template = None if asset is None else config.templates.get(asset.template)
    taken: set[str] = set() if asset is None else {*asset.signals}
    if template is not None:
        taken |= {*template.signals, *(use.name or use.bundle for use in template.models)}
    if name in taken:
        hint = "choose another name: it is that of its alarm"
        message = f"{shown(camera.asset)} has a signal or model {shown(name)}"
        notes.add(("cameras", name), message, hint)
    same = [
        other
        for other, one in config.cameras.items()
        if other != name and one.asset == camera.asset and one.judged_by == camera.judged_by
    ]
    if same and camera.learn is not None and not camera.bundle:
        hint = f"bundle: learned-pictures-{name}"
        message = f"{shown(same[0])} looks at the same asset: say which model is this one's"
        notes.add(("cameras", name, "bundle"), message, hint)


def brokers(config: Config) -> list[Name]:
    """The sources over which pictures may come in messages."""
    return [name for name, struct in config.sources.items() if getattr(struct, "subscribe", None)]


def source_of(topic: PictureTopic, config: Config) -> Name:
    """The source whose connection brings the pictures of a topic; empty if it is not clear."""
    found = brokers(config)
    return topic.source or (found[0] if len(found) == 1 else Name(""))


def _topic(topic: PictureTopic, config: Config, notes: Notes, path: KeyPath) -> None:
    if ("sources",) in notes.broken:
        return
    known = brokers(config)
    if topic.source and topic.source not in known:
        message = f"{shown(topic.source)} is no source of type mqtt with subscribe"
        notes.add((*path, "source"), message, notes.nearest(topic.source, known))
    elif not topic.source and len(known) != 1:
        hint = f"one of: {', '.join(known)}" if known else "add a source of type mqtt"
        notes.add((*path, "source"), "say over which source the pictures come", hint)


def _signals(
    http: Snapshot, config: Config, patterns: Mapping[str, str], notes: Notes, path: KeyPath
) -> None:
    """The signals of a trigger are those of an asset."""
    if http.trigger is None:
        return
    for key in ("signal", "part"):
        text = getattr(http.trigger, key)
        asset, _, signal = text.rpartition(".")
        if text and signal not in _signals_of(config, patterns.get(asset)):
            hint = "write ASSET.SIGNAL, such as P-101.part_in_place"
            notes.add((*path, "trigger", key), f"there is no signal {shown(text)}", hint)


def _signals_of(config: Config, pattern: str | None) -> set[str]:
    if pattern is None:
        return set()
    asset = config.assets[pattern]
    template = config.templates.get(asset.template)
    return {*asset.signals, *(template.signals if template else ())}


def _place(
    camera: Camera, config: Config, places: dict[object, str], notes: Notes, path: KeyPath
) -> None:
    """Two cameras of one topic or folder would each get the pictures of the other."""
    key: object = None
    if camera.mqtt is not None:
        key = source_of(camera.mqtt, config), camera.mqtt.topic
    elif camera.folder is not None:
        key = camera.folder.path, camera.folder.pattern
    if key is not None and (first := places.setdefault(key, str(path[1]))) != path[1]:
        notes.add((*path, camera.kind), f"camera {first} has the same pictures")


def camera_warnings(config: Config) -> Iterator[str]:
    """Packages that are missing here; they may be installed where the daemon runs."""
    if config.cameras and find_spec("PIL") is None:
        hint = "pip install --require-hashes -r requirements/pictures.txt"
        yield f"cameras: Pillow is not installed, no picture can be decoded ({hint})"
    for name, camera in config.cameras.items():
        package, extra = _PACKAGES.get(camera.kind, ("", ""))
        if package and find_spec(package) is None:
            hint = f"pip install 'edge-agent-pdm[{extra}]'"
            yield f"cameras.{name}.{camera.kind}: {package} is not installed ({hint})"
