"""Which learned bundle scores which asset: the newest that was learned for it and is not void."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.alarms import BASELINE
from edge_agent.config.schema import Learn, ModelUse
from edge_agent.models import LEFT_OUT, learned_prefix, learned_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.types import Name
    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset
    from edge_agent.values import Columns

    UseModel = Callable[[PlantAsset, ModelUse, str | None, Columns | None], str]

log = logging.getLogger("edge_agent.models")

_NONE: Final = ""  # the name of no bundle


class Baselines:
    """The learned bundle of each asset; at most one scores it, the others are disabled.

    models, latest, use_model, disable: of the deployments. void_us: by asset, the
    time before which its baselines are void; the daemon keeps it over restarts.
    """

    def __init__(
        self,
        models: Callable[[], list[Model]],
        latest: Callable[[str], Model | None],
        use_model: UseModel,
        disable: Callable[[PlantAsset, str], None],
    ) -> None:
        self.void_us: dict[str, int] = {}
        self._models = models
        self._latest = latest
        self._use_model = use_model
        self._disable = disable
        self._of_asset: dict[str, str] = {}
        self._replaced: set[str] = set()

    def use_newest(self, asset: PlantAsset, recent: Columns | None) -> bool:
        """Let the newest valid bundle of an asset score it; False if there is none.

        recent: as in `Deployments.use_model`.
        """
        learn = asset.template.learn or Learn()
        for name in self._learned_for(asset):
            if self._of_asset.get(asset.id) == name:
                self._disable_others(asset, name)
                return True
            use = ModelUse(
                name,
                min_coverage=learn.min_coverage,
                lateness=learn.lateness,
                when=learn.when,
                alarm=learn.alarm,
            )
            missing = self._use_model(asset, use, BASELINE, recent)
            if not missing:
                self._set(asset, name)
                return True
            extra = {"asset": asset.id, "model": name, "reason": missing}
            log.warning("learned model not suitable", extra=extra)
        return False

    def reset(self, asset: PlantAsset, now_us: int) -> None:
        """Make the baseline of an asset void; its bundle no longer scores it."""
        self.void_us[asset.id] = now_us
        self._disable(asset, self._of_asset.pop(asset.id, _NONE))

    def follow_version(self, name: str) -> None:
        """Another version of a learned bundle replaces the one that scores its assets."""
        self._replaced |= {asset for asset, one in self._of_asset.items() if one == name}

    def drain_replaced(self) -> set[str]:
        """The assets whose baseline was replaced by another since the last call."""
        replaced, self._replaced = self._replaced, set()
        return replaced

    def provisional_s(self, asset: str) -> float:
        """The seconds of data behind the provisional baseline of an asset; 0 if it has none."""
        model = self._latest(self._of_asset.get(asset, _NONE))
        return model.manifest.provisional_s if model is not None else 0.0

    def step_s(self, asset: str) -> float | None:
        """The step of an asset's baseline; None if it has one row for each time stamp, or none."""
        model = self._latest(self._of_asset.get(asset, _NONE))
        return (model.manifest.window.step_s or None) if model is not None else None

    def provisional(self) -> dict[str, float]:
        """The assets with a provisional baseline, and the seconds of data behind it."""
        found = {asset: self.provisional_s(asset) for asset in self._of_asset}
        return {asset: seconds for asset, seconds in found.items() if seconds}

    def left_out(self) -> dict[str, str]:
        """The assets whose baseline omits some inputs, and the names of these inputs."""
        models = {asset: self._latest(name) for asset, name in self._of_asset.items()}
        found = {a: m.manifest.training.get(LEFT_OUT, "") for a, m in models.items() if m}
        return {asset: names for asset, names in found.items() if names}

    def _set(self, asset: PlantAsset, name: str) -> None:
        """Another learned bundle scores an asset."""
        if asset.id in self.void_us or asset.id in self._of_asset:
            self._replaced.add(asset.id)
        self._of_asset[asset.id] = name
        if not self.provisional_s(asset.id):  # else it continues to learn, also after a restart
            self.void_us.pop(asset.id, None)
        self._disable_others(asset, name)

    def _disable_others(self, asset: PlantAsset, name: str) -> None:
        prefix = learned_prefix(asset.template_name)
        for model in self._models():
            other = str(model.manifest.name)
            if other.startswith(prefix) and other != name:
                self._disable(asset, other)

    def _learned_for(self, asset: PlantAsset) -> list[Name]:
        """The valid bundles that were learned for an asset, the newest first."""
        prefix, void_us = learned_prefix(asset.template_name), self.void_us.get(asset.id)
        mine = [
            model.manifest
            for model in self._models()
            if model.manifest.name.startswith(prefix) and asset.id in model.manifest.units
        ]
        valid = [m for m in mine if void_us is None or learned_us(m.version) > void_us]
        valid.sort(key=lambda manifest: learned_us(manifest.version), reverse=True)
        return [manifest.name for manifest in valid]
