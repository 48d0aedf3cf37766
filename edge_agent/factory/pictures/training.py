"""Teacher and student of one seed: heads of five folds, and the one that learns their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.factory.metrics import softmax
from edge_agent.factory.pictures.figures import Limits, limits_of
from edge_agent.factory.pictures.head import Head, Settings, mean_head, train_head
from edge_agent.factory.pictures.parts import fold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from edge_agent.factory.pictures.folders import Labelled

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

FOLDS: Final = 5
# Of what the student learns: the rest is the truth.
_TEACHER_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures of one part: features [N, V, D] of V views, the class [N], and what each is."""

    features: Floats
    truth: Labels
    pictures: Sequence[Labelled]

    @property
    def weights(self) -> Floats:
        """How much each picture counts [N]."""
        return np.array([one.weight for one in self.pictures], np.float32)

    def rows(self, index: NDArray[np.generic]) -> Examples:
        """Some of the pictures, by a mask."""
        chosen = [one for one, taken in zip(self.pictures, index.tolist(), strict=True) if taken]
        return Examples(self.features[index], self.truth[index], chosen)


@dataclass(frozen=True, slots=True)
class Taught:
    """student: calibrated; teacher: the mean of the folds' heads, which sees all views.

    method: what limits and held_out are from; held_out: what was found on those pictures.
    """

    student: Head
    teacher: Head
    limits: Limits
    method: str
    held_out: dict[str, float]


def teach(  # noqa: PLR0913 (what a training consists of)
    examples: Examples,
    classes: int,
    settings: Settings,
    random: np.random.Generator,
    progress: Callable[[Iterable[int], str], Iterable[int]],
    *,
    held: Examples | None,
    false_alarms: float,
    sure: float,
) -> Taught:
    """Train; nothing of the test part is used.

    held: for the limits, if the features were trained with `examples`; else the folds give them.
    """
    folds = fold_of(examples.pictures, FOLDS, random)
    one_hot = np.eye(classes, dtype=np.float32)[examples.truth]
    unseen = np.zeros((len(one_hot), classes), np.float32)
    heads = []
    for fold in progress(range(FOLDS), "heads"):
        others = folds != fold
        head = _head(examples.rows(others), one_hot[others], settings, random)
        unseen[~others] = head.logits(examples.features[~others, 0])
        heads.append(head)
    teacher = mean_head(heads)
    softened = softmax(all_views(teacher, examples.features))
    targets = _TEACHER_SHARE * softened + (1 - _TEACHER_SHARE) * one_hot
    student = _head(examples, np.asarray(targets, np.float32), settings, random)
    method, truth = (
        f"on pictures that their head had not seen, {FOLDS} folds by product",
        examples.truth,
    )
    if held is not None:
        method = "on products that neither the backbone nor the head had seen"
        unseen, truth = student.logits(held.features[:, 0]), held.truth
    limits, held_out = limits_of(unseen, truth, false_alarms=false_alarms, sure=sure)
    return Taught(student.cooled(limits.temperature), teacher, limits, method, held_out)


def all_views(head: Head, features: Floats) -> Floats:
    """The mean of the logits [N, K] of all views of a picture."""
    pictures, views, columns = features.shape
    logits = head.logits(features.reshape(-1, columns))
    return np.asarray(logits.reshape(pictures, views, -1).mean(axis=1), np.float32)


def _head(
    examples: Examples, targets: Floats, settings: Settings, random: np.random.Generator
) -> Head:
    """Each view of a picture is a row with the picture's target."""
    views, columns = examples.features.shape[1:]
    rows = examples.features.reshape(-1, columns)
    targets, weights = (np.repeat(each, views, axis=0) for each in (targets, examples.weights))
    return train_head(rows, targets, weights, settings, random)
