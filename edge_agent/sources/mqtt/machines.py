"""Finds the machine of a topic: one id never stands for two machines.

An asset's id is often unique only within its line. The first topic with an id keeps it; a topic
that differs in another placeholder, its line or its template is another machine. If that machine
may be discovered, it gets a separate id (`line-2-M-01`); if not, it is refused with both names.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ConfigError, DecodeError
from edge_agent.messages import Detail, Fault
from edge_agent.plant import fill
from edge_agent.sources.mqtt.topics import is_safe_name, names_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.sources.mqtt.config import Subscription
    from edge_agent.sources.mqtt.refusals import Refusals

TWO_MACHINES: Final = "two_machines"
UNUSABLE_NAME: Final = "asset_name"
_FORGET_S: Final = 600.0  # a topic that did not arrive for this long is no longer a conflict
_MAX_CONFLICTS: Final = 1000
_MAX_LOGGED: Final = 100
_MAX_SHOWN: Final = 64
_log = logging.getLogger("edge_agent.sources")


@dataclass(frozen=True, slots=True)
class Place:
    """A topic's subscription, and the text of its placeholders and its '+' levels."""

    number: int
    subscription: Subscription
    places: dict[str, str]
    wild: tuple[str, ...]
    topic: str

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The parts of the topic that distinguish machines of this subscription."""
        one = self.subscription
        of_signal = names_in(one.signal_format) - names_in(one.asset_format)
        if not names_in(one.asset_format):
            return ()  # the config defines all of it as one machine
        return tuple((k, v) for k, v in self.places.items() if k not in of_signal)


class Conflicts:
    """Topics of machines that cannot be monitored: the name is another machine's, or not usable.

    topics: by topic: the machine's name, the topic as text, and what already delivers that machine.
    """

    def __init__(self, source: str) -> None:
        self._what = f"machines.{source}"
        self._source = source
        self.topics: dict[bytes, tuple[str, str, str]] = {}
        self._arrived: set[bytes] = set()
        self._last_s: dict[bytes, float] = {}

    def add(self, topic: bytes, name: str, other: str) -> None:
        """A topic is refused: `other` delivers `name`; without `other` the name is not usable."""
        if len(self.topics) < _MAX_CONFLICTS:
            self.topics[topic] = (name, topic.decode("utf-8", "backslashreplace"), other)
            self._arrived.add(topic)

    def record_arrival(self, topic: bytes) -> None:
        """Record that a topic arrived again."""
        if topic in self.topics:
            self._arrived.add(topic)

    def report(self, faults: dict[str, Fault], monotonic_s: float) -> None:
        """Set or delete the fault of this source."""
        self._last_s.update(dict.fromkeys(self._arrived, monotonic_s))
        self._arrived.clear()
        for topic in [t for t, s in self._last_s.items() if monotonic_s - s > _FORGET_S]:
            self._last_s.pop(topic)
            self.topics.pop(topic, None)
        if not self.topics:
            faults.pop(self._what, None)
            return
        name, topic_text, other = next(iter(self.topics.values()))
        args = {
            "source": self._source,
            "machine": name,
            "topic": topic_text[:200],
            "other": other[:200],
            "n": len(self.topics),
        }
        why = f"{name} is {other[:100]}" if other else f"{name!r} is not a name of an asset"
        n = len(self.topics)
        text = f"{self._source}: {topic_text[:100]} is not monitored: {why} ({n} topics)"
        detail = Detail(TWO_MACHINES if other else UNUSABLE_NAME, args)
        faults[self._what] = Fault(self._what, text, detail)


class Machines:
    """The assets of topics, and the topics that deliver their signals."""

    def __init__(self, source: str, plant: Plant, metrics: Metrics, refusals: Refusals) -> None:
        self.conflicts = Conflicts(source)
        self._source = source
        self._plant = plant
        self._metrics = metrics
        self._refusals = refusals
        self._owners: dict[tuple[int, int], Place] = {}  # asset and subscription -> its first topic
        self._feeds: dict[int, Place] = {}  # signal -> the first topic that delivered it
        self._logged = 0

    def asset_of(self, place: Place, name: str | None = None) -> PlantAsset:
        """The asset of a topic; name: from its payload. DecodeError if there can be none."""
        one = place.subscription
        if name is not None:
            place = replace(place, places={**place.places, "asset": name})
        asset_id = fill(one.asset_format, place.places)
        if not self._plant.owns(asset_id):
            raise DecodeError("other_shard", "another gateway monitors this asset")
        line = place.places.get("line", "")
        own = self._own(asset_id, place, line) if one.template else None
        if own is not None:
            return own
        known = self._plant.assets.get(asset_id)
        if known is not None and self._fits(known, place, line):
            self._owners.setdefault((known.index, place.number), place)
            return known
        if known is None and not one.template:
            raise DecodeError("unknown_asset", "the config has no such asset, and no template")
        unusable = next((n for n in (asset_id, line) if n and not is_safe_name(n)), "")
        if unusable or not asset_id:
            self.conflicts.add(place.topic.encode(), unusable[:_MAX_SHOWN], "")
            raise DecodeError(
                UNUSABLE_NAME,
                f"{unusable[:_MAX_SHOWN]!r} is not a name of an asset (letters, digits, _ . -): "
                "give it an id in the config, by a subscription of its own",
            )
        if known is None:
            return self._discover(asset_id, place, line)
        return self._another(known, place, line)

    def is_signal(self, place: Place, asset_id: str, name: str) -> bool:
        """False if nothing of this name is a signal of the asset that would be discovered.

        A gateway's own topics (`plant/gw/uptime`) must not become a machine without values.
        """
        template = place.subscription.template
        known = self._plant.assets.get(asset_id)
        if not template or (known is not None and not known.is_discovered):
            return True
        return self._plant.template_has(template, self._source, name)

    def claim(self, place: Place, signal: int) -> None:
        """Assign a signal to a topic; DecodeError if another machine's topic delivers it."""
        first = self._feeds.setdefault(signal, place)
        if first is place or not _are_two(first, place):
            return
        one = self._plant.signals[signal]
        name = f"{one.asset.id}.{one.name}"
        self.conflicts.add(place.topic.encode(), name, first.topic)
        raise DecodeError(TWO_MACHINES, f"{name} is what {first.topic} delivers: two machines?")

    def _own(self, asset_id: str, place: Place, line: str) -> PlantAsset | None:
        """The asset that an earlier run created for exactly this machine."""
        for other_id in _other_ids(asset_id, place.subscription, place.identity):
            asset = self._plant.assets.get(other_id)
            if asset is None or not asset.is_discovered or (line and asset.line != line):
                continue
            if self._fits(asset, place, line):
                self._owners.setdefault((asset.index, place.number), place)
                return asset
        return None

    def _fits(self, asset: PlantAsset, place: Place, line: str) -> bool:
        template = place.subscription.template
        if line and asset.has_own_line and asset.line != line:
            return False
        if asset.is_discovered and template and asset.template_name != template:
            return False
        owner = self._owners.get((asset.index, place.number))
        return owner is None or owner.identity == place.identity

    def _another(self, known: PlantAsset, place: Place, line: str) -> PlantAsset:
        """Discovers a separate machine whose name is already another machine's."""
        owner = self._owners.get((known.index, place.number))
        other = owner.topic if owner is not None else f"{known.path} of the config or of before"
        for other_id in _other_ids(known.id, place.subscription, place.identity):
            if place.subscription.template and other_id not in self._plant.assets:
                asset = self._discover(other_id, place, line)
                self._log(known.id, place.topic, other, other_id)
                return asset
        self.conflicts.add(place.topic.encode(), known.id, other)
        raise DecodeError(
            TWO_MACHINES,
            f"{known.id} is {other}: two machines of one name (give the asset its line in the "
            'config, or the subscription an id with more of the topic: asset: "{line}-{asset}")',
        )

    def _log(self, asset_id: str, topic: str, other: str, other_id: str) -> None:
        if self._logged < _MAX_LOGGED:
            self._logged += 1
            about = {"source": self._source, "asset": asset_id, "topic": topic[:200]}
            more = {"other": other[:200], "watched_as": other_id}
            _log.warning("two machines of one name", extra={**about, **more})

    def _discover(self, asset_id: str, place: Place, line: str) -> PlantAsset:
        try:
            asset = self._plant.discover(asset_id, place.subscription.template, line)
        except (ConfigError, KeyError) as error:
            raise DecodeError("template", f"cannot make an asset of it: {error}") from error
        if asset is None:
            self._metrics.assets_refused.inc()
            raise DecodeError("assets_refused", "discovery.max_assets is reached")
        self._owners.setdefault((asset.index, place.number), place)
        return asset


def _other_ids(
    asset_id: str, one: Subscription, identity: tuple[tuple[str, str], ...]
) -> Iterable[str]:
    """Ids for a machine whose id is taken: with all names of its topic, or with its template."""
    parts = [text for _, text in identity]
    found = ["-".join(parts), "_".join(parts)] if len(parts) > 1 else []
    found += [f"{one.template}-{asset_id}"] if one.template else []
    return [other for other in found if other != asset_id and is_safe_name(other)]


def _are_two(first: Place, second: Place) -> bool:
    """True if two topics that deliver one signal are, or may be, of two machines."""
    if first.number == second.number:
        return first.wild != second.wild
    return bool(first.subscription.template and second.subscription.template)
