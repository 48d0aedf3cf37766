"""Remaining life from recordings that end with the failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from edge_agent.factory.calibrate import finish_life
from edge_agent.factory.losses import quantiles
from edge_agent.factory.metrics import life_metrics
from edge_agent.factory.recordings.csv_files import TENSOR, Parts, manifest_of
from edge_agent.factory.student import fitted_features, run
from edge_agent.models import OutputNames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Answer, Arrays, Context, Samples, Splits
    from edge_agent.factory.recordings.csv_files import Recorded, Recordings, Truth

    Floats = NDArray[np.float32]

_HOUR_S: Final = 3600.0
_TREES: Final = 200


def life_parts(spec: Recordings) -> Parts:
    """p10, p50 and p90 of the hours until the end of each file."""

    def truth(one: Recorded, ends: NDArray[np.int64]) -> Truth:
        left_h = (len(one.rows) - 1 - ends) * spec.window.step_s / _HOUR_S
        capped = np.minimum(left_h, spec.cap_h).astype(np.float32)
        return capped[:, None], capped <= spec.threshold, np.ones(len(ends), np.bool_)

    about = {"model": f"gradient-boosted forest, {_TREES} trees, on window statistics"}
    return Parts(
        manifest_of(
            spec, OutputNames(rul="rul"), threshold=spec.threshold, teacher=about, classes=()
        ),
        truth=truth,
        teacher=_teacher,
        as_outputs=lambda answers: {"rul": np.repeat(answers, 3, axis=1)},
        loss=quantiles(spec.training.hard_share, scale=spec.cap_h),
        finish=finish_life(cap_h=spec.cap_h),
        metrics=_metrics,
        outputs=3,
    )


def _teacher(splits: Splits, context: Context) -> Answer:
    x = splits.train.inputs[TENSOR]
    features = fitted_features(x)
    forest = HistGradientBoostingRegressor(
        max_iter=_TREES, early_stopping=False, random_state=context.seed
    )
    forest.fit(run(features, x), splits.train.target[:, 0])

    def answer(inputs: Arrays) -> Floats:
        predicted = forest.predict(run(features, inputs[TENSOR]))
        return np.asarray(predicted, np.float32)[:, None]

    return answer


def _metrics(outputs: Arrays, samples: Samples) -> dict[str, float]:
    found = life_metrics(outputs["rul"], samples.target[:, 0])
    return {name if name == "coverage" else f"{name}_h": value for name, value in found.items()}
