"""The plant as the config describes it: assets and their signals, each signal with one number.

The number of a signal is its row in every table of the hot path, so rows are only added.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge_agent.config import MAX_ASSETS, expand_range
from edge_agent.config.schema import Asset as AssetConfig
from edge_agent.config.schema import Kind, Signal
from edge_agent.config.types import Duration
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.config.bearing import Bearing
    from edge_agent.config.conditions import Condition
    from edge_agent.config.schema import Config, PlantCamera, Template
    from edge_agent.config.settings import Tuning


@dataclass(frozen=True, slots=True)
class PlantSignal:
    """One sensor of one asset."""

    index: int
    asset: PlantAsset
    name: str
    config: Signal
    source: str
    address: str  # placeholders replaced; empty if the source finds the signal by its name


@dataclass(slots=True, eq=False)
class PlantAsset:
    """One machine; `path` is its ISA-95 path enterprise/site/area/line/asset.

    cameras: that look at it, by name; each is one of its signals, too.
    """

    index: int
    id: str
    template_name: str
    template: Template
    path: str
    line: str
    has_own_line: bool = False  # from the config or the topic, not from the gateway
    is_discovered: bool = False
    signals: dict[str, PlantSignal] = field(default_factory=dict)
    when: Condition | None = None  # the machine runs
    bearing: Bearing | None = None
    constants: dict[str, tuple[float, ...]] = field(default_factory=dict)  # for models, by name
    cameras: dict[str, PlantCamera] = field(default_factory=dict)


class Plant:
    """All assets and signals, in the order of their discovery."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.signals: list[PlantSignal] = []
        self.assets: dict[str, PlantAsset] = {}
        self.refused = 0  # discovered assets that were refused because of the maximum
        self._discovered: list[PlantAsset] = []
        self._listeners: list[Callable[[PlantAsset], None]] = []
        for pattern, asset in config.assets.items():
            for asset_id in filter(self.owns, expand_range(pattern)):
                self._add(asset_id, asset)

    def on_asset(self, listener: Callable[[PlantAsset], None]) -> None:
        """Call `listener` for each asset that is discovered from now on."""
        self._listeners.append(listener)

    def adopt(self, config: Config) -> None:
        """Use this config for assets that are discovered from now on."""
        self._config = config

    def owns(self, asset_id: str) -> bool:
        """True if this gateway's shard monitors an asset."""
        return self._config.shard.owns(asset_id)

    def of_source(self, source: str) -> list[PlantSignal]:
        """Signals that `source` delivers."""
        return [signal for signal in self.signals if signal.source == source]

    def discover(self, asset_id: str, template: str, line: str = "") -> PlantAsset | None:
        """The asset of that id, made from `template` if it is new; None if there is no room."""
        known = self.assets.get(asset_id)
        if known is not None:
            return known
        if self.is_full:
            self.refused += 1
            return None
        asset = self._add(asset_id, AssetConfig(template=template, line=line))  # type: ignore[arg-type]
        asset.is_discovered = True
        self._discovered.append(asset)
        for listener in self._listeners:
            listener(asset)
        return asset

    def template_has(self, template: str, source: str, name: str) -> bool:
        """False if a template exists and has no signal of a source with this name or address."""
        signals = {str(key): one.signals for key, one in self._config.templates.items()}
        if template not in signals:
            return True
        return any(
            (signal.source or self._only_source()) == source
            and (name in {key, signal.address} or "{" in signal.address)
            for key, signal in signals[template].items()
        )

    @property
    def tuning(self) -> Tuning:
        """Bounds of the hot path."""
        return self._config.tuning

    @property
    def max_assets(self) -> int:
        """The maximum number of discovered assets."""
        return self._config.discovery.max_assets

    @property
    def is_full(self) -> bool:
        """True if no further asset is accepted."""
        return len(self._discovered) >= self.max_assets

    @property
    def discovered(self) -> list[PlantAsset]:
        """Discovered assets, in the order of their discovery."""
        return list(self._discovered)

    def restore(self, known: Iterable[tuple[str, str, str]]) -> None:
        """Discover known assets again after a restart: (asset id, template, line) each."""
        for asset_id, template, line in known:
            if template in self._config.templates and self.owns(asset_id):
                self.discover(asset_id, template, line)

    def _add(self, asset_id: str, config: AssetConfig) -> PlantAsset:
        if len(self.assets) >= MAX_ASSETS:
            raise ConfigError(f"more than {MAX_ASSETS} assets")
        template = self._config.templates[config.template]
        gateway = self._config.gateway
        line = config.line or gateway.line
        path = (
            f"{gateway.enterprise}/{gateway.site}/{config.area or gateway.area}/{line}/{asset_id}"
        )
        asset = PlantAsset(len(self.assets), asset_id, config.template, template, path, line)
        asset.has_own_line = bool(config.line)
        asset.when = config.when or template.when
        asset.bearing = config.bearing or template.bearing
        asset.constants = {} if asset.bearing is None else asset.bearing.constants
        places = {**config.variables, "asset": asset_id, "line": line}
        for name, signal in {**template.signals, **config.signals}.items():
            limits = {**signal.limits, **config.limits.get(name, {})}
            own = replace(signal, limits=limits) if name in config.limits else signal
            asset.signals[name] = self._signal(asset, name, own, places)
        self._add_cameras(asset)
        self.assets[asset_id] = asset
        return asset

    def _add_cameras(self, asset: PlantAsset) -> None:
        """The cameras of an asset, each with its own source."""
        for name, camera in self._config.cameras.items():
            if camera.asset == asset.id:
                silence_s = camera.silence_s
                stale_after = None if silence_s is None else Duration(silence_s)
                own = Signal(name, kind=Kind.PICTURE, stale_after=stale_after)
                asset.signals[name] = self._signal(asset, name, own, {})
                asset.cameras[name] = camera

    def _signal(
        self, asset: PlantAsset, name: str, config: Signal, places: dict[str, str]
    ) -> PlantSignal:
        source = config.source or self._only_source()
        address = fill(config.address, {**places, "signal": name})
        signal = PlantSignal(len(self.signals), asset, name, config, source, address)
        self.signals.append(signal)
        return signal

    def _only_source(self) -> str:
        return next(iter(self._config.sources), "")


def fill(pattern: str, places: dict[str, str]) -> str:
    """Replace {name} for each name in `places`; other braces stay."""
    for name, value in places.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern
