"""What the models say of each asset now, and why nothing is said of one.

A score that is old says nothing: a machine whose inputs are away is not judged, whatever its last
score was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.signals import FALSE, TRUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.daemon.daemon import Daemon
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.serving import Deployment

_LEAST_S: Final = 10.0
_WINDOWS: Final = 3  # missed one after the other, with an input that is away
_LEAST_UNEXPLAINED_S: Final = 60.0
_UNEXPLAINED_WINDOWS: Final = 10  # missed although every input is there
_SHOWN: Final = 3


class Judgements:
    """A look at all assets; made anew for each question.

    found: the worst health of each asset that is judged, with the score and limit behind it;
    unjudged: by asset, why no model judges it although one should; stopped: by asset, why it rests
    on purpose.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._now_s = daemon.clock.monotonic_s()
        self._troubled = (
            daemon.runtime.pipeline.watch.troubled() | daemon.runtime.pipeline.watch.unseen()
        )
        self.found: dict[str, dict[str, Any]] = {}
        self.unjudged: dict[str, str] = {}
        self.stopped: dict[str, str] = {}
        self._stops = daemon.runtime.pipeline.detection.stops
        for asset in daemon.runtime.plant.assets.values():
            self._runs(self._stops.number(asset), asset)
        for group in daemon.runtime.pipeline.deployments:
            for row, asset in enumerate(group.assets):
                if not group.disabled[row]:
                    self._look(group, row, asset)
        for asset_id in self.found:
            self.unjudged.pop(asset_id, None)
            self.stopped.pop(asset_id, None)

    def is_fresh(self, group: Deployment, row: int) -> bool:
        """True if the last score of an asset still says how it is."""
        runs = self._stops.judge(group.gate.number(row))[0] == TRUE
        return runs and not np.isnan(group.score[row]) and not self._why_old(group, row)

    def _runs(self, number: int, asset: PlantAsset) -> bool:
        """True if a condition holds; else it is said what that means."""
        truth, why = self._stops.judge(number)
        if truth == FALSE:
            self.stopped.setdefault(asset.id, why)
        elif truth != TRUE:
            self.unjudged.setdefault(asset.id, why)
        return truth == TRUE

    def _look(self, group: Deployment, row: int, asset: PlantAsset) -> None:
        if not self._runs(group.gate.number(row), asset):
            return
        reason = self._why_old(group, row)
        if reason:
            self.unjudged.setdefault(asset.id, reason)
            return
        health = float(group.health[row])
        worst = self.found.get(asset.id)
        if np.isnan(health) or (worst is not None and worst["health"] <= health):
            return
        self.found[asset.id] = {
            "health": health,
            "score": float(group.score[row]),
            "limit": group.limit,
            "scored_ms": int(group.scored_us[row]) // US_PER_MS,
        }

    def _why_old(self, group: Deployment, row: int) -> str:
        """Why the last score of an asset is too old; empty where it is not."""
        silent_s = self._now_s - float(group.scored_s[row])
        if silent_s < _LEAST_S:
            return ""
        period_s = _period_s(group)
        away = [s for s in _inputs(group, group.assets[row]) if self._troubled[s.index]]
        if away:
            is_old = silent_s > _WINDOWS * period_s + group.use.lateness
            return self._reason(away) if is_old else ""
        if not np.isfinite(silent_s):
            return ""  # its windows fill for the first time
        limit_s = max(_LEAST_UNEXPLAINED_S, _UNEXPLAINED_WINDOWS * period_s + group.use.lateness)
        return f"no score for {silent_s:.0f} s" if silent_s > limit_s else ""

    def _reason(self, away: list[PlantSignal]) -> str:
        links = self._daemon.links
        sources = {links.reason(signal.source) for signal in away} - {""}
        if sources:
            return "not judged: " + "; ".join(sorted(sources))
        names = ", ".join(signal.name for signal in away[:_SHOWN])
        more = f" and {len(away) - _SHOWN} more" if len(away) > _SHOWN else ""
        return f"not judged: no usable value from {names}{more}"


def _inputs(group: Deployment, asset: PlantAsset) -> Iterator[PlantSignal]:
    for spec in group.model.manifest.inputs:
        signal = group.signal_of(asset, spec.name)
        if signal is not None:
            yield signal


def _period_s(group: Deployment) -> float:
    """How often a model scores, in seconds; 0 where its waveforms decide that."""
    if group.windows is None:
        return 0.0
    layout = group.windows.layout
    return layout.hop * layout.step_us / US_PER_S
