"""From topics to signals: what a topic is about, and how its payloads are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.config.plant import fill
from edge_agent.config.schema import Kind
from edge_agent.errors import ConfigError, DecodeError
from edge_agent.sources.mqtt._columns import Batch, batch_key, make_batch
from edge_agent.sources.mqtt._payload_spec import Payload, Target, Wanted
from edge_agent.sources.mqtt._topics import Pattern, is_safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.config.plant import Plant, PlantAsset
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sources.mqtt._config import Subscription
    from edge_agent.sources.mqtt._refusals import Refusals

MAX_ROUTES: Final = 200_000
MAX_IGNORED: Final = 10_000
_FIRST_PENALTY: Final = 64
_MAX_PENALTY: Final = 1 << 16


@dataclass(slots=True, eq=False)
class Route:
    """What is known of a topic.

    batch: where its messages are decoded together with others; None while they are read one by
    one. careful: so many plain messages in a row are still to be seen before it enters a batch.
    """

    target: Target
    spec: Payload
    batch: Batch | None = None
    timed: bool = False
    careful: int = 0
    penalty: int = _FIRST_PENALTY
    unknown_noted: bool = False


class Routes:
    """The topics of one source, learned as they appear. All its memory is bounded."""

    def __init__(
        self,
        source: str,
        subscriptions: Iterable[Subscription],
        plant: Plant,
        metrics: Metrics,
        refusals: Refusals,
    ) -> None:
        self._source = source
        self._subscriptions: list[tuple[Subscription, Pattern]] = [
            (subscription, subscription.pattern) for subscription in subscriptions
        ]
        self._plant = plant
        self._metrics = metrics
        self._refusals = refusals
        self._routes: dict[bytes, Route] = {}
        self._ignored: dict[bytes, str] = {}
        self._orphans: set[bytes] = set()  # topics of unknown assets, which may yet be discovered
        self._batches: dict[tuple[object, ...], Batch] = {}
        plant.on_asset(lambda _: self._orphans.clear())

    def find(self, topic: bytes) -> Route | None:
        """The route of a topic; None where it is of no use, which is counted."""
        route = self._routes.get(topic)
        if route is not None:
            return route
        known = "unknown_asset" if topic in self._orphans else self._ignored.get(topic)
        if known is not None:
            if known != "unknown_signal":
                self._refusals.count(known)
            return None
        return self._learn(topic)

    def judge(self, topic: bytes, route: Route, *, odd: bool, timed: bool) -> None:
        """Let a message that was read carefully decide how the topic's next ones are decoded."""
        if route.batch is not None and (odd or (route.target.single and timed != route.timed)):
            route.batch.rows.pop(topic, None)
            route.batch = None
            route.penalty = min(2 * route.penalty, _MAX_PENALTY)
            route.careful = route.penalty
        elif odd:
            route.careful = route.penalty
        elif route.careful:
            route.careful -= 1
        elif route.batch is None:
            route.timed = timed
            self._enter_batch(topic, route)

    def _enter_batch(self, topic: bytes, route: Route) -> None:
        key = batch_key(route.target, route.spec, timed=route.timed)
        if key is None:
            return
        batch = self._batches.get(key)
        if batch is None:
            batch = make_batch(route.target, route.spec, timed=route.timed)
            self._batches[key] = batch
        batch.add(topic, route.target)
        route.batch = batch

    def _learn(self, topic: bytes) -> Route | None:
        try:
            route = self._make(topic)
        except DecodeError as error:
            self._ignore(topic, error)
            return None
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
            for batch in self._batches.values():
                batch.rows.clear()
        self._routes[topic] = route
        return route

    def _ignore(self, topic: bytes, error: DecodeError) -> None:
        self._refusals.note(error.reason, topic, error.message)
        if len(self._ignored) + len(self._orphans) >= MAX_IGNORED:
            self._ignored.clear()
            self._orphans.clear()
        if error.reason == "unknown_asset":
            self._orphans.add(topic)
        else:
            self._ignored[topic] = error.reason

    def _make(self, topic: bytes) -> Route:
        try:
            text = topic.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("unknown_topic", "the topic is not UTF-8") from error
        for subscription, pattern in self._subscriptions:
            places = pattern.match(text)
            if places is not None:
                return self._route(subscription, places)
        raise DecodeError("unknown_topic", "no subscription of the config matches the topic")

    def _route(self, subscription: Subscription, places: dict[str, str]) -> Route:
        asset = self._asset(subscription, places)
        named = self._wanted(asset)
        if not named:
            raise DecodeError("unknown_signal", "no signal of the asset comes from this source")
        if not subscription.signal_format:
            return Route(Target(None, named), subscription.payload)
        name = fill(subscription.signal_format, places)
        address = asset.signals[name].address if name in asset.signals else ""
        wanted = named.get(name) or named.get(address)
        if wanted is None:
            raise DecodeError("unknown_signal", "the asset has no such signal from this source")
        return Route(Target(wanted), subscription.payload)

    def _wanted(self, asset: PlantAsset) -> dict[str, Wanted]:
        """The asset's signals of this source, by their address or else their name."""
        return {
            signal.address or name: Wanted(signal.index, signal.config.kind is Kind.WAVEFORM)
            for name, signal in asset.signals.items()
            if signal.source == self._source
        }

    def _asset(self, subscription: Subscription, places: dict[str, str]) -> PlantAsset:
        asset_id = fill(subscription.asset_format, places)
        asset = self._plant.assets.get(asset_id)
        if asset is not None:
            return asset
        if not subscription.template:
            raise DecodeError("unknown_asset", "the config has no such asset, and no template")
        line = places.get("line", "")
        if not is_safe_name(asset_id) or (line and not is_safe_name(line)):
            raise DecodeError("asset_name", "the topic gives no name that an asset may have")
        return self._discover(asset_id, subscription.template, line)

    def _discover(self, asset_id: str, template: str, line: str) -> PlantAsset:
        try:
            asset = self._plant.discover(asset_id, template, line)
        except (ConfigError, KeyError) as error:
            raise DecodeError("template", f"cannot make an asset of it: {error}") from error
        if asset is None:
            self._metrics.assets_refused.inc()
            raise DecodeError("assets_refused", "discovery.max_assets is reached")
        return asset
