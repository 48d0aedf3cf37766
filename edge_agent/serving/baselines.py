"""Which learned bundles score which asset: the newest that were learned for it, if not void."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.alarms import BASELINE, WAVEFORMS, baselines_of
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
    """The learned bundles of each asset; at most one of a kind scores it, the others are disabled.

    Kinds are the names of their uses: BASELINE is learned from numbers, WAVEFORMS from waveforms.

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
        self._of_asset: dict[tuple[str, str], str] = {}
        self._replaced: set[tuple[str, str]] = set()

    def use_newest(
        self, asset: PlantAsset, recent: Columns | None, use_name: str = BASELINE
    ) -> bool:
        """Let the newest valid bundle of an asset score it; False if there is none.

        recent: as in `Deployments.use_model`.
        """
        learn = asset.template.learn or Learn()
        for name in self._learned_for(asset, use_name):
            if self._of_asset.get((asset.id, use_name)) == name:
                self._disable_others(asset, name, use_name)
                return True
            use = ModelUse(
                name,
                min_coverage=learn.min_coverage,
                lateness=learn.lateness,
                when=learn.when,
                alarm=learn.alarm,
                follow=learn.follow,
            )
            missing = self._use_model(asset, use, use_name, recent)
            if not missing:
                self._set(asset, name, use_name)
                return True
            extra = {"asset": asset.id, "model": name, "reason": missing}
            log.warning("learned model not suitable", extra=extra)
        return False

    def reset(self, asset: PlantAsset, now_us: int) -> None:
        """Make the baselines of an asset void; their bundles no longer score it."""
        self.void_us[asset.id] = now_us
        for use_name in (BASELINE, WAVEFORMS):
            self._disable(asset, self._of_asset.pop((asset.id, use_name), _NONE))

    def follow_version(self, name: str) -> None:
        """Another version of a learned bundle replaces the one that scores its assets."""
        self._replaced |= {key for key, one in self._of_asset.items() if one == name}

    def drain_replaced(self) -> set[tuple[str, str]]:
        """Baselines that were replaced by another since the last call: (asset, kind)."""
        replaced, self._replaced = self._replaced, set()
        return replaced

    def provisional_s(self, asset: str, use_name: str = BASELINE) -> float:
        """The seconds of data behind the provisional baseline of an asset; 0 if it has none."""
        model = self._latest(self._of_asset.get((asset, use_name), _NONE))
        return model.manifest.provisional_s if model is not None else 0.0

    def step_s(self, asset: str) -> float | None:
        """The step of an asset's baseline; None if it has one row for each time stamp, or none."""
        model = self._latest(self._of_asset.get((asset, BASELINE), _NONE))
        return (model.manifest.window.step_s or None) if model is not None else None

    def provisional(self) -> dict[str, float]:
        """The assets with a provisional baseline, and the seconds of data behind it."""
        found = [(asset, self.provisional_s(asset, kind)) for asset, kind in self._of_asset]
        return {asset: seconds for asset, seconds in found if seconds}

    def left_out(self) -> dict[str, str]:
        """The assets whose baseline omits some inputs, and the names of these inputs."""
        found: dict[str, list[str]] = {}
        for (asset, _), name in self._of_asset.items():
            model = self._latest(name)
            if model is not None and (names := model.manifest.training.get(LEFT_OUT, "")):
                found.setdefault(asset, []).append(names)
        return {asset: ", ".join(names) for asset, names in found.items()}

    def _set(self, asset: PlantAsset, name: str, use_name: str) -> None:
        """Another learned bundle scores an asset."""
        key = asset.id, use_name
        if asset.id in self.void_us or key in self._of_asset:
            self._replaced.add(key)
        self._of_asset[key] = name
        # Else it continues to learn, also after a restart.
        if all(self._is_full(asset.id, kind) for kind in baselines_of(asset)):
            self.void_us.pop(asset.id, None)
        self._disable_others(asset, name, use_name)

    def _is_full(self, asset: str, use_name: str) -> bool:
        return (asset, use_name) in self._of_asset and not self.provisional_s(asset, use_name)

    def _disable_others(self, asset: PlantAsset, name: str, use_name: str) -> None:
        prefix = learned_prefix(asset.template_name)
        for model in self._models():
            other = str(model.manifest.name)
            if other.startswith(prefix) and other != name and _kind_of(model) == use_name:
                self._disable(asset, other)

    def _learned_for(self, asset: PlantAsset, use_name: str) -> list[Name]:
        """The valid bundles that were learned for an asset, the newest first."""
        prefix, void_us = learned_prefix(asset.template_name), self.void_us.get(asset.id)
        mine = [
            model.manifest
            for model in self._models()
            if model.manifest.name.startswith(prefix)
            and asset.id in model.manifest.units
            and _kind_of(model) == use_name
        ]
        valid = [m for m in mine if void_us is None or learned_us(m.version) > void_us]
        valid.sort(key=lambda manifest: learned_us(manifest.version), reverse=True)
        return [manifest.name for manifest in valid]


def _kind_of(learned: Model) -> str:
    return WAVEFORMS if learned.manifest.own_tensors else BASELINE
