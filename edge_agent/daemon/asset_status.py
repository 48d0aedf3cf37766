"""The state of each asset: its scores now, or why it has none.

An old score has no meaning: a machine with missing inputs has no health, despite its last score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import ENDLESS, US_PER_MS, US_PER_S
from edge_agent.detection import STOPPED
from edge_agent.signals import FALSE, TRUE, UNKNOWN

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from edge_agent.daemon.runtime import Runtime
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.serving import Deployment, Followed

_LEAST_S: Final = 10.0
_WINDOWS: Final = 3  # missed windows in a row, with a missing input
_LEAST_UNEXPLAINED_S: Final = 60.0
_UNEXPLAINED_WINDOWS: Final = 10  # missed windows although every input is present
_SHOWN: Final = 3


def asset_rows(
    runtime: Runtime,
    judgements: Judgements,
    notes: Mapping[str, str],
    assets: Iterable[PlantAsset],
) -> list[dict[str, Any]]:
    """The assets with health, inputs and number of alarms; notes: by asset, on its models."""
    alarms = runtime.alarms.counts_by_asset(but=STOPPED)
    unseen = runtime.pipeline.watch.unseen()
    provisional = runtime.pipeline.deployments.baselines.provisional()
    followed = _followed(runtime)
    return [
        {
            "id": asset.id,
            "path": asset.path,
            "state": judgements.state_of(asset, alarms),
            "alarms": alarms[asset.id],
            **judgements.found.get(asset.id, {"health": None, "score": None, "limit": None}),
            "note": judgements.note_of(asset) or notes.get(asset.id, ""),
            "provisional_s": provisional.get(asset.id, 0.0),
            "followed": [_followed_row(one) for one in followed.get(asset.id, [])[:_SHOWN]],
            "inputs": [
                _input(runtime.pipeline, one, seen=not unseen[one.index])
                for one in asset.signals.values()
            ],
        }
        for asset in assets
    ]


def _chosen(runtime: Runtime, only: Collection[str] | None) -> list[PlantAsset]:
    """All assets, or those with these ids."""
    assets = runtime.plant.assets
    return list(assets.values()) if only is None else [assets[i] for i in only if i in assets]


def _without_a_model(runtime: Runtime, asset: PlantAsset) -> str:
    reason = runtime.models.without.get(asset.id)
    if reason is None:
        return "warming"
    if "learning" in reason:
        return "learning"
    return "normal" if runtime.pipeline.detection.limits.judges(asset) else "no_model"


def _input(pipeline: Pipeline, signal: PlantSignal, *, seen: bool) -> dict[str, Any]:
    row, watch = signal.index, pipeline.watch
    value = float(watch.value[row])
    return {
        "name": signal.name,
        "unit": signal.config.unit,
        "value": None if not seen or np.isnan(value) else value,
        "time_ms": int(watch.time_us[row]) // US_PER_MS if seen else None,
        "quality": watch.quality_of(row) if seen else "no_data",
        "stale_after_s": _seconds(watch.problem_after_us(row)["stale"]),
        **pipeline.detection.limits.shown(signal),
    }


def _followed(runtime: Runtime) -> dict[str, list[Followed]]:
    """How far the middles of learned baselines have moved notably, by asset, the largest first."""
    found: dict[str, list[Followed]] = {}
    for one in runtime.pipeline.deployments:
        following = one.following
        if following is None or not following.is_moved:
            continue
        for row in following.notable().tolist():
            if not one.disabled[row]:
                mine = found.setdefault(one.assets[row].id, [])
                mine += following.of(row, one.model.manifest)
    return found


def following_alarms(runtime: Runtime) -> set[str]:
    """The alarms of learned baselines that follow their machines, and so can be re-centred."""
    followed = (one for one in runtime.pipeline.deployments if one.following is not None)
    return {alarm_id for one in followed for alarm_id in one.alarm_ids}


def _followed_row(one: Followed) -> dict[str, Any]:
    """How far the middle of a baseline has moved, as the API shows it."""
    return {
        "model": one.model,
        "input": one.input,
        "statistic": one.statistic,
        "sigmas": round(one.sigmas, 2),
        "since_ms": one.since_us // US_PER_MS,
        "kind": one.kind,
        "budget": one.budget,
        "by": one.by,
        "accepted": one.accepted,
        "accepted_since_ms": one.accepted_us // US_PER_MS,
        "states": one.states,
    }


def _seconds(limit_us: int) -> float | None:
    """A limit in seconds; None if it never passes."""
    return None if limit_us >= ENDLESS else limit_us / US_PER_S


def export_assets(runtime: Runtime, judgements: Judgements, metrics: Metrics) -> None:
    """Update the gauges of assets; an old score is removed."""
    metrics.assets_unjudged.set(len(judgements.unjudged))
    for deployment in runtime.pipeline.deployments:
        for row, asset in enumerate(deployment.assets):
            if judgements.is_fresh(deployment, row):
                metrics.score.labels(asset.id, deployment.title).set(float(deployment.score[row]))
                metrics.health.labels(asset.id, deployment.title).set(float(deployment.health[row]))
            else:
                metrics.score.remove(asset.id, deployment.title)
                metrics.health.remove(asset.id, deployment.title)
    watch, stops = runtime.pipeline.watch, runtime.pipeline.detection.stops
    has_problem = watch.has_problem()
    metrics.asset_running.clear()
    for asset in runtime.plant.assets.values():
        rows = np.array([signal.index for signal in asset.signals.values()], np.intp)
        metrics.inputs_stale.labels(asset.id).set(int(has_problem[rows].sum()))
        after_us = watch.silence.stale_us[rows]
        if (after_us < ENDLESS).any():
            slowest_us = int(after_us[after_us < ENDLESS].max())
            metrics.stale_after_seconds.labels(asset.id).set(slowest_us / US_PER_S)
        truth = stops.judge(stops.number(asset))[0]
        if asset.when is not None and truth != UNKNOWN:
            metrics.asset_running.labels(asset.id).set(int(truth == TRUE))


def export_followed(runtime: Runtime, metrics: Metrics) -> None:
    """Update the gauges of baselines that have moved; those of others are removed."""
    metrics.baseline_followed_sigmas.clear()
    for asset, moved in _followed(runtime).items():
        furthest: dict[str, float] = {}
        for one in moved:
            furthest[one.model] = max(furthest.get(one.model, 0.0), abs(one.sigmas))
        for model, sigmas in furthest.items():
            metrics.baseline_followed_sigmas.labels(asset, model).set(sigmas)


class Judgements:
    """The state of all assets at one time; created for each request.

    found: the worst health of each judged asset, with its score and limit; unjudged: by asset, why
    no model scores it although one should; stopped: by asset, why it is stopped on purpose.
    away_reason: why a source is disconnected, else empty. only: ids of the assets that are judged,
    None for all.
    """

    def __init__(
        self,
        runtime: Runtime,
        away_reason: Callable[[str], str],
        monotonic_s: float,
        only: Collection[str] | None = None,
    ) -> None:
        self._runtime = runtime
        self._away_reason = away_reason
        self._now_s = monotonic_s
        self._has_problem = runtime.pipeline.watch.has_problem() | runtime.pipeline.watch.unseen()
        self.found: dict[str, dict[str, Any]] = {}
        self.unjudged: dict[str, str] = {}
        self.stopped: dict[str, str] = {}
        self._stops = runtime.pipeline.detection.stops
        for asset in _chosen(runtime, only):
            self._runs(self._stops.number(asset), asset)
        for deployment in runtime.pipeline.deployments:
            for row, asset in enumerate(deployment.assets):
                if (only is None or asset.id in only) and not deployment.disabled[row]:
                    self._judge_asset(deployment, row, asset)
        for asset_id in self.found:
            self.unjudged.pop(asset_id, None)
            self.stopped.pop(asset_id, None)

    def state_of(self, asset: PlantAsset, alarms: Counter[str]) -> str:
        """The state of an asset in one word; alarms: their number by asset."""
        if asset.id in alarms:
            return "alarm"
        for known, state in (
            (self.found, "normal"),
            (self.stopped, "stopped"),
            (self.unjudged, "unjudged"),
        ):
            if asset.id in known:
                return state
        return _without_a_model(self._runtime, asset)

    def note_of(self, asset: PlantAsset) -> str:
        """Why an asset is not judged, if it is not."""
        return self.stopped.get(asset.id) or self.unjudged.get(asset.id, "")

    def is_fresh(self, deployment: Deployment, row: int) -> bool:
        """True if the last score of an asset is still valid."""
        runs = self._stops.judge(deployment.gate.number(row))[0] == TRUE
        return runs and not np.isnan(deployment.score[row]) and not self._why_old(deployment, row)

    def _runs(self, number: int, asset: PlantAsset) -> bool:
        """True if a condition is true; else its meaning is recorded."""
        truth, why = self._stops.judge(number)
        if truth == FALSE:
            self.stopped.setdefault(asset.id, why)
        elif truth != TRUE:
            self.unjudged.setdefault(asset.id, why)
        return truth == TRUE

    def _judge_asset(self, deployment: Deployment, row: int, asset: PlantAsset) -> None:
        if not self._runs(deployment.gate.number(row), asset):
            return
        reason = self._why_old(deployment, row)
        if reason:
            self.unjudged.setdefault(asset.id, reason)
            return
        health = float(deployment.health[row])
        worst = self.found.get(asset.id)
        if np.isnan(health) or (worst is not None and worst["health"] <= health):
            return
        self.found[asset.id] = {
            "health": health,
            "score": float(deployment.score[row]),
            "limit": deployment.limit * float(deployment.margin[row]),
            "scored_ms": int(deployment.scored_us[row]) // US_PER_MS,
        }

    def _why_old(self, deployment: Deployment, row: int) -> str:
        """Why the last score of an asset is too old; empty if it is not."""
        silent_s = self._now_s - float(deployment.scored_s[row])
        if silent_s < _LEAST_S:
            return ""
        period_s = _period_s(deployment)
        away = [
            s for s in _inputs(deployment, deployment.assets[row]) if self._has_problem[s.index]
        ]
        if away:
            is_old = silent_s > _WINDOWS * period_s + deployment.use.lateness
            return self._reason(away) if is_old else ""
        if not np.isfinite(silent_s):
            return ""  # its windows fill for the first time
        limit_s = max(
            _LEAST_UNEXPLAINED_S, _UNEXPLAINED_WINDOWS * period_s + deployment.use.lateness
        )
        return f"no score for {silent_s:.0f} s" if silent_s > limit_s else ""

    def _reason(self, away: list[PlantSignal]) -> str:
        sources = {self._away_reason(signal.source) for signal in away} - {""}
        if sources:
            return "not judged: " + "; ".join(sorted(sources))
        names = ", ".join(signal.name for signal in away[:_SHOWN])
        more = f" and {len(away) - _SHOWN} more" if len(away) > _SHOWN else ""
        return f"not judged: no usable value from {names}{more}"


def _inputs(deployment: Deployment, asset: PlantAsset) -> Iterator[PlantSignal]:
    for spec in deployment.model.manifest.inputs:
        signal = deployment.signal_of(asset, spec.name)
        if signal is not None:
            yield signal


def _period_s(deployment: Deployment) -> float:
    """How often a model scores, in seconds; 0 if it depends on its blocks."""
    if deployment.windows is None:
        return 0.0
    layout = deployment.windows.layout
    return layout.hop * layout.step_us / US_PER_S
