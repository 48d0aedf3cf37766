"""What a classifier is worth on pictures that it never saw; and its limits, from held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.factory.metrics import best_temperature, calibration_error, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

_NORMAL_95: Final = 1.959964
_LEAST_FAULT: Final = 0.5
_SHOWN: Final = (
    "accuracy",
    "balanced_accuracy",
    "false_alarms",
    "missed",
    "not_sure",
    "accuracy_when_sure",
    "calibration_error",
)


class Limits(NamedTuple):
    """Of the calibrated probabilities.

    threshold: the probability of any defect that raises an alarm; not_sure_below: if the largest
    probability is smaller, the answer is "not sure".
    """

    temperature: float
    threshold: float
    not_sure_below: float


def limits_of(
    logits: Floats, truth: Labels, *, false_alarms: float, sure: float
) -> tuple[Limits, dict[str, float]]:
    """Limits from logits [N, K] of pictures that their head had not seen; class 0 is healthy.

    false_alarms: the share of healthy ones that may raise an alarm, at most; sure: the share of
    right answers that is wanted of those that are sure. Returns also what was found there.
    """
    one_hot = np.eye(logits.shape[1], dtype=np.float32)[truth]
    # Never below 1: few pictures that are all right would make any answer certain.
    temperature = max(1.0, best_temperature(logits, one_hot))
    found = np.asarray(softmax(logits / temperature))
    healthy = np.sort(1.0 - found[truth == 0, 0])
    allowed = int(false_alarms * len(healthy))
    # The alarm is raised from the threshold on: just above the largest one that may not raise it.
    at = float(np.nextafter(healthy[-1 - allowed], 2, dtype=np.float32))
    threshold = min(max(_LEAST_FAULT, at), 0.9999)
    below = _not_sure_below(found.max(axis=1), found.argmax(axis=1) == truth, sure)
    stated = {
        "accuracy": float((found.argmax(axis=1) == truth).mean()),
        "false_alarms": float((healthy >= threshold).mean()),
    }
    return Limits(temperature, threshold, below), stated


def _not_sure_below(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], sure: float
) -> float:
    """The least confidence from which on `sure` of the answers are right; 1 if there is none.

    If all answers are sure, 1/2: less certain ones were not there.
    """
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    fitting = np.flatnonzero(shares >= sure)
    if not len(fitting):
        return 1.0
    least = float(confidence[order[fitting[-1]]])
    return min(least, _LEAST_FAULT) if fitting[-1] == len(order) - 1 else least


@dataclass(frozen=True, slots=True)
class Figures:
    """confusion [K, K]: pictures by truth (rows) and answer; the rest are shares.

    interval: of the accuracy, 95 %; recall, precision: by class, NaN without pictures.
    """

    confusion: Labels
    accuracy: float
    interval: tuple[float, float]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    balanced_accuracy: float
    false_alarms: float
    missed: float
    not_sure: float
    accuracy_when_sure: float
    calibration_error: float

    def as_dict(self) -> dict[str, float]:
        """The figures of the whole, the headline first."""
        return {name: getattr(self, name) for name in _SHOWN}


def figures_of(probabilities: Floats, truth: Labels, limits: Limits) -> Figures:
    """Of probabilities [N, K] and the true classes [N]; class 0 is healthy."""
    classes = probabilities.shape[1]
    answer, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, answer), 1)
    right, is_sure = answer == truth, confidence >= limits.not_sure_below
    alarms = 1.0 - probabilities[:, 0] >= limits.threshold
    recall = _shares(confusion.diagonal(), confusion.sum(axis=1))
    return Figures(
        confusion,
        float(right.mean()),
        wilson(int(right.sum()), len(right)),
        recall,
        _shares(confusion.diagonal(), confusion.sum(axis=0)),
        float(np.nanmean(recall)),
        _mean(alarms[truth == 0]),
        _mean(~alarms[truth > 0]),
        float((~is_sure).mean()),
        _mean(right[is_sure]),
        calibration_error(confidence, right),
    )


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The interval of a share, 95 %: Wilson, JASA 1927."""
    share, z2 = hits / count, _NORMAL_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_95 / (1 + z2 / count)
    half *= np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float(middle - half), float(middle + half)


def _shares(hits: Sequence[int] | Labels, counts: Labels) -> tuple[float, ...]:
    pairs = zip(np.asarray(hits).tolist(), counts.tolist(), strict=True)
    return tuple(hit / count if count else float("nan") for hit, count in pairs)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")
