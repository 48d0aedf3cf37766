"""The fifth stage of the path: from scores to alarms, score messages and the next turn's state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from edge_agent.alarms import model_alarm_id
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.messages import (
    PROVISIONAL,
    UNCERTAIN,
    Contributor,
    Detail,
    ModelInfo,
    Observation,
    WindowInfo,
)
from edge_agent.serving.contributors import features_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Manifest, Outputs
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.scored import Scored, ScoreState


FULL_COVERAGE: Final = 0.999
UNKNOWN_FAULT: Final = "unknown"  # the failure mode outside of the training data
MOST_UNCERTAIN: Final = 0.5  # no class is more probable there
_HOURS_A_DAY: Final = 24
_MINUTES_A_DAY: Final = 1440
_SHORT: Final = 2  # units of the next smaller size
_PROMISED: Final = frozenset({"false_alarms", "held_out", "at_most"})
_LONGEST_PAUSE_US: Final = 3_600_000_000  # between two windows; longer, nothing was judged
_NAMED: Final = 5  # inputs outside of the training data in an alert


class Promise(NamedTuple):
    """False alarms a day and asset at the bundle's own limit.

    rate: to be expected; at_most: what the held-out healthy data still allow with 95 %
    confidence, if that is more; held_out_days: of one asset, None if it is not known.
    """

    rate: float | None
    at_most: float | None
    held_out_days: float | None


def alarm_id(asset: PlantAsset, deployment: Deployment) -> str:
    """The id of the alarm that a model raises for an asset."""
    return model_alarm_id(asset.id, deployment.use_name)


def reportable(scored: Scored, alarm_open: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The windows to report to the alarm table; alarm_open: assets whose alarm is not normal.

    All windows of these assets and of those with any window over its limit: after that, windows
    below the limit count too.
    """
    interesting = alarm_open.copy()
    interesting[scored.row[scored.level >= 1.0]] = True
    return np.flatnonzero(interesting[scored.row])


def observation(scored: Scored, i: int, *, replayed: bool) -> Observation:
    """The alarm table's observation of a window."""
    deployment = scored.deployment
    return Observation(
        deployment.alarm_ids[scored.row[i]],
        float(scored.level[i]),
        int(scored.end_us[i]),
        _detail(scored, i, replayed=replayed),
        deployment.model.manifest.window.step_s,
    )


def _detail(scored: Scored, i: int, *, replayed: bool) -> Detail:
    deployment, outputs = scored.deployment, scored.outputs
    manifest = deployment.model.manifest
    outside = scored.names_outside(i)
    fault, probability = fault_of(scored, i, is_uncertain=bool(outside))
    coverage = float(scored.coverage[i])
    key, following = deployment.task.message_key, deployment.following
    moved = {} if following is None else following.message_args(int(scored.row[i]))
    args = {**promise_args(deployment), **_provisional(manifest), **moved}
    if outside:
        key, args = f"{key}_{UNCERTAIN}", {"outside": ", ".join(outside[:_NAMED])}
    is_late = scored.batch.late is not None and bool(scored.batch.late[i])
    if is_late:  # instead of the promise: a text has room for one of them
        args = {one: said for one, said in args.items() if one not in _PROMISED}
        args["late_time"] = f"{datetime.fromtimestamp(scored.end_us[i] / US_PER_S, UTC):%F %T}Z"
    mode = UNCERTAIN if outside else _mode(manifest)
    return Detail(
        message_key=key,
        message_args={"limit": scored.limit * float(deployment.margin[scored.row[i]]), **args},
        score=float(outputs.score[i]),
        failure_mode=fault,
        probability=probability,
        rul_h=_rul(outputs, i),
        contributors=_contributors(scored, i),
        window=WindowInfo(
            int(scored.start_us[i]),
            int(scored.end_us[i]),
            coverage,
            "good" if coverage >= FULL_COVERAGE else "uncertain",
            replayed or is_late,
        ),
        model=ModelInfo(manifest.name, manifest.version, deployment.model.sha256, mode),
        stage=deployment.task.stage,
    )


def promise_of(manifest: Manifest) -> Promise:
    """The promise of a bundle: never less than its held-out data support."""
    days = _figure(manifest, "held_out_asset_days")
    wanted, bound = manifest.false_alarms_per_day, _figure(manifest, "at_most_per_asset_day")
    if not days:
        return Promise(wanted, None, None)
    if bound is not None and bound >= (wanted or 0.0):
        return Promise(None, bound, days)
    seen = (_figure(manifest, "held_out_alarms") or 0.0) / days
    return Promise(max(wanted or 0.0, seen), None, days)


def promise_args(deployment: Deployment) -> dict[str, Any]:
    """The promise for the text of an alarm; it is only valid at the bundle's own limit."""
    if deployment.use.alarm.limit is not None:
        return {}
    promise = promise_of(deployment.model.manifest)
    if promise.at_most is None or promise.held_out_days is None:
        return {"false_alarms": promise.rate}
    return {"held_out": _span(promise.held_out_days), "at_most": promise.at_most}


def _figure(manifest: Manifest, key: str) -> float | None:
    try:
        found = float(manifest.calibration.get(key, ""))
    except ValueError:
        return None
    return found if isfinite(found) else None


def _span(days: float) -> str:
    """A time, in units that are the same in every language."""
    minutes = _MINUTES_A_DAY * days
    if minutes < _SHORT:
        return f"{minutes * 60:.0f} s"
    if minutes < _SHORT * 60:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.3g} h" if hours < _SHORT * _HOURS_A_DAY else f"{days:.3g} d"


def _provisional(manifest: Manifest) -> dict[str, Any]:
    seconds = manifest.provisional_s
    return {"provisional_min": round(seconds / 60)} if seconds else {}


def _mode(manifest: Manifest) -> str:
    return PROVISIONAL if manifest.provisional_s else "active"


def fault_of(scored: Scored, i: int, *, is_uncertain: bool) -> tuple[str, float | None]:
    """The most likely fault class and its probability; else the rule's failure mode.

    Outside of the training data no class is known, and no probability is more than a half.
    """
    deployment = scored.deployment
    probabilities = scored.outputs.probabilities
    classes = deployment.model.manifest.classes
    if probabilities is None or not classes:
        return UNKNOWN_FAULT if is_uncertain else deployment.use.alarm.failure_mode, None
    if is_uncertain:
        return UNKNOWN_FAULT, min(MOST_UNCERTAIN, 1.0 - float(probabilities[i, 0]))
    best = 1 + int(np.argmax(probabilities[i, 1:]))
    return classes[best], float(probabilities[i, best])


def _rul(outputs: Outputs, i: int) -> dict[str, float] | None:
    if outputs.rul is None:
        return None
    p10, p50, p90 = (float(hours) for hours in outputs.rul[i])
    return {"p10": p10, "p50": p50, "p90": p90}


def _contributors(scored: Scored, i: int) -> tuple[Contributor, ...]:
    """All inputs by falling share; the shares sum to the score. Empty if they are unknown."""
    if scored.outputs.contributions is None:
        return ()
    weights = scored.outputs.contributions[i]
    if np.isnan(weights).any():
        return ()
    deployment, manifest = scored.deployment, scored.deployment.model.manifest
    if manifest.contributors:
        return features_of(scored, i, weights)
    specs = (*deployment.scalars, *deployment.own_tensors)
    i_row = int(scored.row[i])
    signals = deployment.signals[i_row]
    normal = manifest.normal_ranges(int(deployment.unit[i_row]))
    found = []
    for channel in np.argsort(-np.abs(weights)):
        signal, spec, value = signals[channel], specs[channel], float(scored.last[i, channel])
        name, unit = (signal.name, signal.config.unit) if signal else (spec.name, "")
        weight, unit = float(weights[channel]), unit or spec.unit
        low_high = normal.get(spec.name, (None, None))
        found.append(Contributor(name, weight, value, unit, *low_high))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class EvaluationRules:
    """topic_root: of score messages; interval_us: minimum time between two of an asset.

    replayed: the values come from a recording.
    """

    topic_root: str
    interval_us: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """observations: for the alarm table; scores: topic and payload of each score for the bus."""

    observations: list[Observation]
    scores: list[tuple[str, bytes]]
    state: dict[Deployment, ScoreState]


def evaluate(
    scored: Sequence[Scored],
    state: Mapping[Deployment, ScoreState],
    rules: EvaluationRules,
    monotonic_s: float,
) -> Evaluation:
    """Compute the effects of a turn's scores; changes nothing.

    state: of all deployments in `scored`, after the previous turn. The returned state has the same
    deployments.
    """
    new = {deployment: one.copy() for deployment, one in state.items()}
    observations: list[Observation] = []
    scores: list[tuple[str, bytes]] = []
    for one in scored:
        mine = new[one.deployment]
        reported = reportable(one, mine.alarm_open)
        observations += [observation(one, i, replayed=rules.replayed) for i in reported.tolist()]
        scores += _score_messages(one, mine.published_us, rules)
        _keep_peaks(one, mine)
        _add_judged_time(one, mine)
        mine.alarm_open[one.row[reported]] = True
        mine.score[one.row], mine.health[one.row] = one.outputs.score, one.health
        mine.scored_us[one.row], mine.scored_s[one.row] = one.end_us, monotonic_s
    return Evaluation(observations, scores, new)


def _keep_peaks(scored: Scored, mine: ScoreState) -> None:
    """Note the largest scores of possible alarms, for the track record."""
    over = scored.level >= 1.0
    calm = scored.row[~over]
    mine.peak[calm[~mine.alarm_open[calm]]] = 0.0
    rows = scored.row[over]
    np.maximum.at(mine.peak, rows, scored.level[over] * scored.deployment.margin[rows])


def _add_judged_time(scored: Scored, mine: ScoreState) -> None:
    """Add the time of these windows: that between two, on a grid; else since the one before."""
    windows = scored.deployment.windows
    if windows is not None and (hop_us := windows.layout.hop * windows.layout.step_us):
        np.add.at(mine.judged_us, scored.row, hop_us)
        return
    order = np.lexsort((scored.end_us, scored.row))
    row, end_us = scored.row[order], scored.end_us[order]
    is_first = np.diff(row, prepend=-1) != 0
    since_us = end_us - np.where(is_first, mine.scored_us[row], np.roll(end_us, 1))
    is_pause = (since_us < 0) | (since_us > _LONGEST_PAUSE_US)
    np.add.at(mine.judged_us, row, np.where(is_pause, 0, since_us))


def _score_messages(
    scored: Scored, published_us: NDArray[np.int64], rules: EvaluationRules
) -> list[tuple[str, bytes]]:
    """Topic and payload of each score that is due; updates `published_us`."""
    found: list[tuple[str, bytes]] = []
    deployment = scored.deployment
    suffix = f"_pdm/score/{deployment.title}"
    columns = zip(
        scored.row.tolist(),
        scored.end_us.tolist(),
        scored.outputs.score.tolist(),
        scored.health.tolist(),
        ((scored.coverage >= FULL_COVERAGE) & ~scored.is_uncertain).tolist(),
        strict=True,
    )
    for row, end_us, score, health, is_full in columns:
        if end_us - published_us[row] < rules.interval_us:
            continue
        published_us[row] = end_us
        asset = deployment.assets[row]
        payload = {
            "asset": asset.id,
            "ts": end_us // US_PER_MS,
            "score": score,
            "health": health,
            "quality": "good" if is_full else "uncertain",
        }
        topic = f"{rules.topic_root}/{asset.path}/{suffix}"
        found.append((topic, orjson.dumps(payload)))
    return found
