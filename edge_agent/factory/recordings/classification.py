"""Classes of faults from recordings with a label in each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from edge_agent.errors import UsageError
from edge_agent.factory.calibrate import finish_classes
from edge_agent.factory.losses import soft_targets
from edge_agent.factory.metrics import class_metrics, softmax
from edge_agent.factory.recordings.csv_files import TENSOR, Parts, manifest_of, read_recordings
from edge_agent.factory.student import fitted_features, run
from edge_agent.models import OutputNames

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Answer, Arrays, Context, Samples, Splits
    from edge_agent.factory.recordings.csv_files import Recorded, Recordings, Truth

    Floats = NDArray[np.float32]

_LEAST: Final = 1e-4  # least probability of a teacher's answer: certainty adds no information
_TREES: Final = 100


def class_parts(spec: Recordings, folder: Path) -> Parts:
    """Probabilities of the label's values, the healthy one first."""
    classes = _classes(spec, folder)

    def truth(one: Recorded, ends: NDArray[np.int64]) -> Truth:
        codes = np.array([classes.index(label) for label in one.labels])
        first = ends - spec.window.length + 1
        # A window that begins before the fault and ends within it belongs to neither class.
        changes = np.r_[0, np.cumsum(np.diff(codes) != 0)]
        one_hot = np.eye(len(classes), dtype=np.float32)[codes[ends]]
        return one_hot, codes[ends] > 0, changes[ends] == changes[first]

    about = {"model": f"gradient-boosted forest, {_TREES} trees a class, on window statistics"}
    return Parts(
        manifest_of(
            spec,
            OutputNames(probabilities="probabilities"),
            threshold=1.0,
            teacher=about,
            classes=classes,
        ),
        truth=truth,
        teacher=_teacher,
        as_outputs=lambda answers: {"probabilities": softmax(answers)},
        loss=soft_targets(spec.training.hard_share),
        finish=finish_classes(spec.window, per_day=spec.false_alarms_per_day),
        metrics=_metrics,
        outputs=len(classes),
    )


def _classes(spec: Recordings, folder: Path) -> tuple[str, ...]:
    found = {label for one in read_recordings(spec, folder) for label in one.labels}
    if spec.healthy not in found or len(found) < 2:  # noqa: PLR2004
        hint = "set `healthy` to the label of healthy rows; at least one other label is needed"
        where = f"{spec.files}, column {spec.label}"
        raise UsageError(
            f"the labels found are: {', '.join(sorted(found))}", where=where, hint=hint
        )
    return (spec.healthy, *sorted(found - {spec.healthy}))


def _teacher(splits: Splits, context: Context) -> Answer:
    x = splits.train.inputs[TENSOR]
    features = fitted_features(x)
    forest = HistGradientBoostingClassifier(
        max_iter=_TREES, early_stopping=False, random_state=context.seed
    )
    forest.fit(run(features, x), splits.train.target.argmax(axis=1))

    def answer(inputs: Arrays) -> Floats:
        predicted = forest.predict_proba(run(features, inputs[TENSOR]))
        return np.asarray(np.log(np.clip(predicted, _LEAST, 1.0)), np.float32)

    return answer


def _metrics(outputs: Arrays, samples: Samples) -> dict[str, float]:
    return class_metrics(outputs["probabilities"], samples.target)
