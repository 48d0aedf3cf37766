"""The fifth stage of the path: what scores mean for the alarm table, the bus and the next turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from edge_agent.clock import US_PER_MS
from edge_agent.serving.scores import FULL_COVERAGE, observation, reportable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.messages import Observation
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.scores import Scored


@dataclass(frozen=True, slots=True)
class ScoreState:
    """What is known of the assets of one deployment, columns [A].

    alarm_open: True if the asset's alarm is not at rest, so that all its windows are reported.
    score, health: of its newest window, which ended at scored_us and was scored at scored_s
    (monotonic clock). published_us: end of the newest window whose score went to the bus.
    """

    alarm_open: NDArray[np.bool_]
    score: NDArray[np.float32]
    health: NDArray[np.float32]
    scored_us: NDArray[np.int64]
    scored_s: NDArray[np.float64]
    published_us: NDArray[np.int64]

    @staticmethod
    def of(deployment: Deployment) -> ScoreState:
        """The state that a deployment keeps, as views."""
        one = deployment
        return ScoreState(
            one.alarm_open, one.score, one.health, one.scored_us, one.scored_s, one.published_us
        )

    def store(self, deployment: Deployment) -> None:
        """Let a deployment keep this state."""
        for name in self.__slots__:
            getattr(deployment, name)[:] = getattr(self, name)

    def copy(self) -> ScoreState:
        """The same in arrays of its own."""
        return ScoreState(
            self.alarm_open.copy(),
            self.score.copy(),
            self.health.copy(),
            self.scored_us.copy(),
            self.scored_s.copy(),
            self.published_us.copy(),
        )


@dataclass(frozen=True, slots=True)
class EvaluationRules:
    """topic_root: of score messages; interval_us: at least so long lies between two of an asset.

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
    """What the scores of a turn bring about; changes nothing.

    state: of all deployments that `scored` names, as the turn before left it. The state returned
    holds the same deployments.
    """
    new = {deployment: one.copy() for deployment, one in state.items()}
    observations: list[Observation] = []
    scores: list[tuple[str, bytes]] = []
    for one in scored:
        mine = new[one.deployment]
        reported = reportable(one, mine.alarm_open)
        observations += [observation(one, i, replayed=rules.replayed) for i in reported.tolist()]
        scores += _score_messages(one, mine.published_us, rules)
        mine.alarm_open[one.row[reported]] = True
        mine.score[one.row], mine.health[one.row] = one.outputs.score, one.health
        mine.scored_us[one.row], mine.scored_s[one.row] = one.end_us, monotonic_s
    return Evaluation(observations, scores, new)


def _score_messages(
    scored: Scored, published_us: NDArray[np.int64], rules: EvaluationRules
) -> list[tuple[str, bytes]]:
    """Topic and payload of each score that is due; follows in `published_us` what was sent."""
    found: list[tuple[str, bytes]] = []
    deployment = scored.deployment
    suffix = f"_pdm/score/{deployment.title}"
    columns = zip(
        scored.row.tolist(),
        scored.end_us.tolist(),
        scored.outputs.score.tolist(),
        scored.health.tolist(),
        (scored.coverage >= FULL_COVERAGE).tolist(),
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
