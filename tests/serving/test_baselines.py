"""Which learned bundle scores which asset: the newest valid one, and no other."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import plants

from edge_agent.config.schema import Asset, Signal, Template
from edge_agent.config.types import Name
from edge_agent.models import learned_us
from edge_agent.plant import Plant
from edge_agent.serving.baselines import Baselines

if TYPE_CHECKING:
    from edge_agent.config.schema import ModelUse
    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset

OLD, NEW = "20261101T000000Z", "20261102T000000Z"


@dataclass
class Service:
    """The models in service; `uses`: those that score an asset."""

    models: list[Model] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.baselines = Baselines(lambda: self.models, self.latest, self.use, self.disable)

    def latest(self, name: str) -> Model | None:
        return next((one for one in self.models if one.manifest.name == name), None)

    def use(self, _: PlantAsset, use: ModelUse, use_name: str | None, __: Any) -> str:
        assert use_name == "baseline"
        if use.bundle in self.lacking:
            return "no signal for input x"
        self.uses.append(use.bundle)
        return ""

    def disable(self, _: PlantAsset, name: str) -> None:
        self.uses = [one for one in self.uses if one != name]

    def add(self, name: str, version: str = OLD, *units: str, provisional_s: float = 0.0) -> None:
        manifest = SimpleNamespace(
            name=name,
            version=version,
            units=units or ("P-1",),
            provisional_s=provisional_s,
            own_tensors=(),
        )
        self.models.append(cast("Model", SimpleNamespace(manifest=manifest)))


def pump() -> PlantAsset:
    template = Template({Name("flow"): Signal(source="bus")})
    config = plants.config(templates={"pump": template}, assets={"P-1": Asset(Name("pump"))})
    return Plant(config).assets["P-1"]


def test_the_newest_bundle_of_an_asset_scores_it_and_the_others_no_longer_do() -> None:
    """Not one of another asset or template; the change is reported once."""
    service, asset = Service(), pump()
    service.add("learned-pump-a", OLD)
    assert service.baselines.use_newest(asset, None)
    assert service.baselines.drain_replaced() == set(), "it had none before"
    service.add("learned-pump-b", NEW)
    service.add("learned-pump-c", NEW, "P-2")
    service.add("learned-fan-d", NEW)
    assert service.baselines.use_newest(asset, None)
    assert service.uses == ["learned-pump-b"]
    assert service.baselines.drain_replaced() == {("P-1", "baseline")}
    assert service.baselines.drain_replaced() == set()


def test_a_bundle_that_does_not_fit_is_passed_over() -> None:
    """The next older one scores the asset."""
    service, asset = Service(lacking={"learned-pump-b"}), pump()
    service.add("learned-pump-a", OLD)
    service.add("learned-pump-b", NEW)
    assert service.baselines.use_newest(asset, None)
    assert service.uses == ["learned-pump-a"]


def test_a_reset_makes_all_older_bundles_void() -> None:
    """Until one is learned later; a provisional one does not end the reset."""
    service, asset = Service(), pump()
    service.add("learned-pump-a", OLD)
    service.baselines.use_newest(asset, None)
    service.baselines.reset(asset, learned_us(OLD))
    assert service.uses == []
    assert not service.baselines.use_newest(asset, None)
    service.add("learned-pump-b", NEW, provisional_s=300.0)
    assert service.baselines.use_newest(asset, None)
    assert service.baselines.provisional() == {"P-1": 300.0}
    assert list(service.baselines.void_us) == ["P-1"]
    service.models[1].manifest.provisional_s = 0.0  # type: ignore[misc]
    service.baselines.reset(asset, learned_us(OLD))
    assert service.baselines.use_newest(asset, None)
    assert (service.baselines.void_us, service.baselines.drain_replaced()) == (
        {},
        {("P-1", "baseline")},
    )


def test_another_version_of_a_bundle_replaces_the_baseline_of_its_assets() -> None:
    service, asset = Service(), pump()
    service.add("learned-pump-a")
    service.baselines.use_newest(asset, None)
    service.baselines.follow_version("learned-pump-z")
    assert service.baselines.drain_replaced() == set()
    service.baselines.follow_version("learned-pump-a")
    assert service.baselines.drain_replaced() == {("P-1", "baseline")}
