"""The teacher of the bearing model: two experts, and a gate that selects one by the machine.

- The physicist uses only defect lines at the orders of the configured bearing and what speaks
  against them, from simulated machines with all kinds of bearings (and one real healthy recording).
  It is valid for machines that were not in the training, and knows damage of an unknown part.
- The old hand knows the learned machine: lines, and the ringing of its structure above 2 kHz.
  It recognises damage without lines (Smith, Randall, MSSP 64-65, 2015, name such recordings) by
  the ringing alone. It is the mean of nine logistic regressions on parts of the features.
- The gate selects the old hand if the configured bearing has the learned machine's geometry, and
  the ringing is as near to that machine's as that of a size of damage that was left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from edge_agent.factory.bearing.data import one_hot
from edge_agent.factory.bearing.features import LINES, PHYSICS, SHAPE
from edge_agent.factory.bearing.sim import CLASSES, PARTS
from edge_agent.factory.metrics import best_temperature, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BEST, _MEAN = slice(0, LINES), slice(LINES, 2 * LINES)
_VIEWS: Final = ((_BEST,), (_MEAN,), (_BEST, _MEAN))
_CUTS: Final = (0, 3, 7)  # first bands of the shape: from 2.06, 2.48 and 3.05 kHz on
_STRENGTH: Final = 0.5  # C of the regressions
_SHRINK: Final = 0.3
_PASS: Final = 0.97  # share of left-out damage that passes the gate
_SOFT: Final = 0.1  # width of the gate, as a share of its limit
_TREES: Final = 300
_LEAF: Final = 3
_TINY: Final = 1e-6
_SURE: Final = 1e-3  # least probability that the physicist predicts
OWN: Final = PHYSICS - 1  # the feature that is 1 for bearings of the learned machine's geometry
_RIG_CLASSES: Final = len(CLASSES) - 1  # the old hand never heard damage of an unknown part
NEVER: Final = -6.0  # its logit of that class
# A part is named if it has this share of the probability of any; else the part is unknown.
_CLEAR: Final = 0.6
_DOUBT: Final = 0.05
# Of a named part, on any other machine and on the learned one. Heard by the physicist alone, three
# in four named windows of the learned rig are right; one rig has been heard, so 0.9 is never told.
CEILING: Final = 0.85
MOST: Final = 0.89


class Linear(NamedTuple):
    """Logits = features @ weights + bias: weights [features, classes]."""

    weights: Floats
    bias: Floats

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """Logits [N, classes] of features [N, features]."""
        return np.asarray(features @ self.weights + self.bias)


class Gate(NamedTuple):
    """Squared distance of a shape from the learned machine's, against a limit."""

    center: Floats  # [SHAPE]
    root: Floats  # [SHAPE, SHAPE]
    limit: float

    def distance(self, shape: NDArray[np.floating]) -> Floats:
        """[N], 1 for usual windows."""
        return np.asarray((((shape - self.center) @ self.root) ** 2).mean(axis=1))

    def __call__(self, shape: NDArray[np.floating]) -> Floats:
        """The weight of the old hand, [N], 0..1."""
        soft = self.limit * _SOFT
        return np.asarray(1 / (1 + np.exp(-(self.limit - self.distance(shape)) / soft)))


class Teacher(NamedTuple):
    """Both experts and the gate; temperature: of the old hand, too confident on new damage."""

    hand: Linear
    temperature: float
    gate: Gate
    physicist: ExtraTreesClassifier

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, classes]."""
        share = (self.gate(features[:, PHYSICS:]) * features[:, OWN])[:, None]
        probability = clear_parts(self.physicist.predict_proba(features[:, :OWN]))
        lines = np.log(np.maximum(probability, _SURE))
        hand = self.hand(features) / self.temperature
        hand = np.column_stack([hand, np.full(len(hand), NEVER)])
        predicted = softmax(share * hand + (1 - share) * lines)
        return np.log(np.maximum(below_ceiling(predicted, share), _TINY)).astype(np.float32)


def clear_parts(probability: Floats) -> Floats:
    """Probabilities [N, classes] that name a part only if no other one is nearly as likely."""
    parts = probability[:, 1 : 1 + len(PARTS)]
    share = parts / np.maximum(parts.sum(axis=1, keepdims=True), _SURE)
    kept = parts / (1 + np.exp((_CLEAR - share) / _DOUBT))
    unknown = 1.0 - probability[:, 0] - kept.sum(axis=1)
    return np.column_stack([probability[:, 0], kept, unknown])


def below_ceiling(predicted: NDArray[np.floating], share: Floats) -> Floats:
    """Probabilities [N, classes] that are not too sure of a part.

    share: of the old hand [N, 1].
    """
    parts = predicted[:, 1 : 1 + len(PARTS)]
    kept = np.minimum(parts, CEILING + (MOST - CEILING) * np.maximum(2 * share - 1, 0))
    return np.column_stack([predicted[:, 0], kept, 1.0 - predicted[:, 0] - kept.sum(axis=1)])


class Known(NamedTuple):
    """Features [N, ...] of the learned machine, with label and size of damage [N]."""

    features: NDArray[np.float32]
    label: NDArray[np.int64]
    size: NDArray[np.int64]


def teacher_of(
    known: Known, made_up: NDArray[np.float32], label: NDArray[np.int64], seed: int
) -> Teacher:
    """Both experts: `made_up` are features of simulated machines."""
    healthy = known.label == 0
    lines = np.concatenate([made_up, known.features[healthy]])[:, :OWN]
    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=seed
    )
    forest.fit(lines, np.concatenate([label, known.label[healthy]]))
    hand = old_hand(known.features, known.label)
    return Teacher(hand, _temperature(known), gate_of(known), forest)


def _temperature(known: Known) -> float:
    """The temperature that calibrates the old hand on sizes of damage that were left out."""
    logits, label = [], []
    for size in _sizes(known):
        out = known.size == size
        hand = old_hand(known.features[~out], known.label[~out])
        logits.append(hand(known.features[out]))
        label.append(known.label[out])
    every = np.concatenate(logits).astype(np.float32)
    return best_temperature(every, one_hot(np.concatenate(label))[:, :_RIG_CLASSES])


def _sizes(known: Known) -> list[int]:
    """Sizes of damage that can be left out: the others still contain every class."""
    classes = np.unique(known.label)
    return [
        int(size)
        for size in np.unique(known.size[known.size > 0])
        if np.array_equal(np.unique(known.label[known.size != size]), classes)
    ]


def old_hand(features: NDArray[np.float32], label: NDArray[np.int64]) -> Linear:
    """The mean of nine regressions, which is one linear map again."""
    maps = [regression(features, label, view, cut) for view in _VIEWS for cut in _CUTS]
    weights = np.mean([one.weights for one in maps], axis=0)
    return Linear(weights, np.mean([one.bias for one in maps], axis=0))


def regression(
    features: NDArray[np.float32], label: NDArray[np.int64], view: tuple[slice, ...], cut: int
) -> Linear:
    """A regression on some lines and on the shape from band `cut` on, as a map of all features."""
    part = _part(view, cut)
    seen = features.astype(np.float64) @ part
    scale = StandardScaler().fit(seen)
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    model.fit(scale.transform(seen), label)
    weights = model.coef_.T / scale.scale_[:, None]
    whole = part @ weights
    bias = model.intercept_ - scale.mean_ @ weights
    return Linear(whole - whole.mean(axis=1, keepdims=True), bias - bias.mean())


def _part(view: tuple[slice, ...], cut: int) -> Floats:
    """A matrix that selects lines, and upper bands of the shape with their mean removed."""
    every = np.eye(PHYSICS + SHAPE)
    upper = every[:, PHYSICS + cut :]
    columns = [every[:, lines] for lines in view]
    return np.concatenate([*columns, upper - upper.mean(axis=1, keepdims=True)], axis=1)


def gate_of(known: Known) -> Gate:
    """The gate; most windows of a left-out size of damage are within its limit."""
    shape = known.features[:, PHYSICS:].astype(np.float64)
    held_out = [
        _distances(shape[known.size != size]).distance(shape[known.size == size])
        for size in _sizes(known)
    ]
    limit = float(np.quantile(np.concatenate(held_out), _PASS))
    return _distances(shape)._replace(limit=limit)


def _distances(shape: Floats) -> Gate:
    covariance = np.cov(shape.T)
    even = np.eye(SHAPE) * np.trace(covariance) / SHAPE
    root = np.linalg.cholesky(np.linalg.inv((1 - _SHRINK) * covariance + _SHRINK * even))
    return Gate(shape.mean(axis=0), root, 1.0)
