"""Maps topics to signals, and decides how their payloads are decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.errors import DecodeError
from edge_agent.plant import fill
from edge_agent.sources.mqtt.columns import Batch, batch_key, make_batch
from edge_agent.sources.mqtt.machines import Machines, Place
from edge_agent.sources.mqtt.payload_spec import ENDLESS_US, Payload, Target, Wanted
from edge_agent.sources.numbers import TextRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantAsset, PlantSignal
    from edge_agent.sources.mqtt.config import Subscription
    from edge_agent.sources.mqtt.refusals import Refusals
    from edge_agent.sources.mqtt.topics import Pattern

MAX_ROUTES: Final = 200_000
MAX_IGNORED: Final = 10_000
_MAX_NAMED_ASSETS: Final = 10_000  # assets that the payloads of one topic may name
_FIRST_PENALTY: Final = 64
_MAX_PENALTY: Final = 1 << 16
_PLAIN: Final = Payload()
# Parts of a payload's spec that may contain a placeholder of the topic: value: "{signal}".
_FILLED: Final = ("value", "time", "quality", "items", "name")


@dataclass(slots=True, eq=False)
class Route:
    """The known properties of a topic.

    batch: the batch that decodes its messages together with others; None while they are read one by
    one. careful: the number of plain messages in a row that are still required before it joins a
    batch.
    """

    target: Target
    spec: Payload
    place: Place
    batch: Batch | None = None
    timed: bool = False
    careful: int = 0
    penalty: int = _FIRST_PENALTY
    reported: frozenset[str] = frozenset()


class Routes:
    """The topics of one source, learned as they arrive. All its memory is bounded."""

    def __init__(  # noqa: PLR0913
        self,
        source: str,
        subscriptions: Iterable[Subscription],
        plant: Plant,
        metrics: Metrics,
        refusals: Refusals,
        *,
        stale_after_s: float | None = 30.0,
    ) -> None:
        self._source = source
        self._subscriptions: list[tuple[Subscription, Pattern]] = [
            (subscription, subscription.pattern) for subscription in subscriptions
        ]
        self._plant = plant
        self._refusals = refusals
        self._stale_after_s = stale_after_s
        self.machines = Machines(source, plant, metrics, refusals)
        self._routes: dict[bytes, Route] = {}
        self._ignored: dict[bytes, str] = {}
        self._orphans: set[bytes] = set()  # topics of unknown assets, which may yet be discovered
        self._batches: dict[tuple[object, ...], Batch] = {}
        plant.on_asset(lambda _: self._orphans.clear())

    def find(self, topic: bytes) -> Route | None:
        """The route of a topic; None if it cannot be used, which is counted."""
        route = self._routes.get(topic)
        if route is not None:
            return route
        known = "unknown_asset" if topic in self._orphans else self._ignored.get(topic)
        if known is not None:
            if known != "unknown_signal":
                self._refusals.count(known)
                self.machines.conflicts.record_arrival(topic)
            return None
        return self._learn(topic)

    def judge(self, topic: bytes, route: Route, *, odd: bool, timed: bool) -> None:
        """Decide from a carefully read message how the topic's next messages are decoded."""
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

    def claim(self, route: Route, signal: int) -> None:
        """Assign a signal to a whole asset's topic; DecodeError if another machine has it."""
        self.machines.claim(route.place, signal)

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
        self._refusals.refuse_payload(error.reason, topic, error.message)
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
        for number, (subscription, pattern) in enumerate(self._subscriptions):
            places = pattern.match(text)
            if places is not None:
                place = Place(number, subscription, places, pattern.wild(text), text)
                return self._route(place)
        raise DecodeError("unknown_topic", "no subscription of the config matches the topic")

    def _route(self, place: Place) -> Route:
        spec = _filled(place.subscription.payload, place.places)
        if spec.asset:
            return Route(Target(None, by_asset=self._resolver(place)), spec, place)
        one, places = place.subscription, place.places
        name = fill(one.signal_format, places)
        if name and not self.machines.is_signal(place, fill(one.asset_format, places), name):
            raise DecodeError("unknown_signal", f"the template {one.template} has no such signal")
        asset = self.machines.asset_of(place)
        named = self._wanted(asset, spec)
        if not named:
            raise DecodeError("unknown_signal", "no signal of the asset comes from this source")
        if not place.subscription.signal_format:
            return Route(Target(None, named), spec, place)
        address = asset.signals[name].address if name in asset.signals else ""
        wanted = named.get(name) or named.get(address)
        if wanted is None:
            raise DecodeError("unknown_signal", "the asset has no such signal from this source")
        self.machines.claim(place, wanted.index)
        return Route(Target(wanted), spec, place)

    def _wanted(self, asset: PlantAsset, spec: Payload) -> dict[str, Wanted]:
        """The asset's signals of this source, by their address or else their name."""
        return {
            signal.address or name: self._one(signal, spec)
            for name, signal in asset.signals.items()
            if signal.source == self._source
        }

    def wanted_of(self, asset: PlantAsset) -> dict[str, Wanted]:
        """The asset's signals of this source, for default payloads."""
        return self._wanted(asset, _PLAIN)

    def _one(self, signal: PlantSignal, spec: Payload) -> Wanted:
        config = signal.config
        stale_s = config.stale_after or self._stale_after_s
        stale_us = ENDLESS_US if stale_s is None else round(stale_s * US_PER_S)
        return Wanted(
            signal.index,
            config.kind is Kind.WAVEFORM,
            config.rate_hz,
            TextRules(config, spec.decimal),
            stale_us,
        )

    def _resolver(self, place: Place) -> Callable[[str], dict[str, Wanted]]:
        """Returns a function to find the signals of an asset that a payload names."""
        known: dict[str, dict[str, Wanted]] = {}

        def resolve(name: str) -> dict[str, Wanted]:
            named = known.get(name)
            if named is None:
                asset = self.machines.asset_of(place, name)
                if len(known) >= _MAX_NAMED_ASSETS:
                    known.clear()
                named = known[name] = self._wanted(asset, place.subscription.payload)
            return named

        return resolve


def _filled(spec: Payload, places: dict[str, str]) -> Payload:
    """The spec for one topic, with the placeholders of the topic replaced."""
    found: dict[str, Any] = {
        key: filled
        for key in _FILLED
        if (filled := fill(getattr(spec, key), places)) != getattr(spec, key)
    }
    return replace(spec, **found) if found else spec
