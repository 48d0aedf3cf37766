"""Whose recording it is: the config of one asset, or of one model, that a prediction runs with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.config import expand_range, safe_name
from edge_agent.config.schema import Asset, Kind, ModelUse, Signal, SourceTraits, Template
from edge_agent.config.settings import Http, Store
from edge_agent.config.types import Name
from edge_agent.errors import ModelError, NotFoundError
from edge_agent.models import ModelRepository, load_manifest

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.models import Manifest
    from edge_agent.plant import PlantAsset

_SELF: Final = "recording"  # the asset and template of a model that is asked alone


@dataclass(frozen=True, slots=True)
class _Source:
    """A source of which nothing but its traits is known: no address, and no secret."""

    traits: SourceTraits


def config_of_asset(config: Config, asset: PlantAsset) -> Config:
    """The config with this asset alone, and without anything that connects."""
    found = (one for name, one in config.assets.items() if asset.id in expand_range(name))
    line = Name(asset.line) if asset.has_own_line else Name("")
    struct = next(found, Asset(Name(asset.template_name), line=line))
    return replace(
        config,
        sources={name: _Source(one.traits) for name, one in config.sources.items()},
        sinks={},
        http=Http(),
        store=Store(),
        templates={Name(asset.template_name): asset.template},
        assets={asset.id: struct},
    )


def config_of_model(config: Config, name: str) -> tuple[Config, str]:
    """A config of one asset that this bundle scores, and the asset's id.

    Raises NotFoundError, and ModelError if it was learned for assets.
    """
    if name != safe_name(name) or ModelRepository(config.models_dir).active(name) is None:
        raise NotFoundError("there is no such model", where=repr(name), hint="GET /api/models")
    manifest = load_manifest(config.models_dir / name)
    if manifest.units:
        hint = f"ask by asset: {', '.join(manifest.units[:5])}"
        raise ModelError(f"model {name} was learned for assets of its own", hint=hint)
    template = Template(_signals_of(manifest), (ModelUse(Name(name)),))
    empty = replace(config, sources={}, sinks={}, http=Http(), store=Store())
    assets = {_SELF: Asset(Name(_SELF))}
    return replace(empty, templates={Name(_SELF): template}, assets=assets), _SELF


def _signals_of(manifest: Manifest) -> dict[Name, Signal]:
    return {
        Name(one.name): Signal(unit=one.unit, kind=Kind(one.kind), rate_hz=one.rate_hz)
        for one in manifest.inputs
    }
