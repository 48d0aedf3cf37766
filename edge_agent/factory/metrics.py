"""Figures that recipes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEMPERATURES: Final = np.geomspace(0.25, 8.0, 101)


def life_metrics(rul: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    """Of quantiles [N, 3] and truth [N], in the target's unit: error, and coverage if any width."""
    error = (rul[:, 1] - truth).astype(float)
    width = rul[:, 2] - rul[:, 0]
    found = {"rmse": float(np.sqrt((error**2).mean())), "bias": float(error.mean())}
    if width.any():
        inside = (rul[:, 0] <= truth) & (truth <= rul[:, 2])
        found |= {"coverage": float(inside.mean()), "width": float(width.mean())}
    return found


def class_metrics(
    probabilities: NDArray[np.float32], one_hot: NDArray[np.float32]
) -> dict[str, float]:
    """Of probabilities [N, K] and truth [N, K]: accuracy, cross-entropy, calibration error."""
    truth = one_hot.argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    chosen = probabilities[np.arange(len(truth)), truth]
    return {
        "accuracy": float((predicted == truth).mean()),
        "cross_entropy": float(-np.log(np.clip(chosen, 1e-7, 1)).mean()),
        "calibration_error": calibration_error(probabilities.max(axis=1), predicted == truth),
    }


def calibration_error(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int = 10
) -> float:
    """Expected calibration error: Guo, Pleiss, Sun, Weinberger: On Calibration, ICML 2017."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[index == b].mean()) - float(right[index == b].mean()))
        * float((index == b).mean())
        for b in range(bins)
        if (index == b).any()
    ]
    return float(sum(gaps))


def anomaly_metrics(score: NDArray[np.float32], anomalous: NDArray[np.bool_]) -> dict[str, float]:
    """Of scores [N] whose limit is 1: F1, and the shares of wrong rows."""
    over = score.reshape(len(anomalous)) > 1
    hit, false = int((over & anomalous).sum()), int((over & ~anomalous).sum())
    missed = int((~over & anomalous).sum())
    return {
        "f1": 2 * hit / max(1, 2 * hit + false + missed),
        "false_alarm_share": false / max(1, int((~anomalous).sum())),
        "missed_share": missed / max(1, int(anomalous.sum())),
    }


def conformal_margin(excess: NDArray[np.floating], coverage: float) -> float:
    """The margin with which `coverage` of new cases lie inside: split conformal prediction.

    excess [n]: distance of the truth of held-out cases outside (negative: inside). The
    ceil((n + 1) coverage)-th smallest. Romano, Patterson, Candes: Conformalized Quantile
    Regression, NeurIPS 2019, equation 8.
    """
    rank = min(len(excess), int(np.ceil((len(excess) + 1) * coverage)))
    return float(np.sort(excess)[rank - 1])


def best_temperature(logits: NDArray[np.float32], one_hot: NDArray[np.float32]) -> float:
    """The temperature of the least cross-entropy on a grid."""
    truth = one_hot.argmax(axis=1)
    rows = np.arange(len(truth))
    losses = [
        -np.log(np.clip(softmax(logits / t)[rows, truth], 1e-9, 1)).mean() for t in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Probabilities [N, K] of logits [N, K]."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
