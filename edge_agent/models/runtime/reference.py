"""The healthy window of a model, the reference of its explanations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reference:
    """A healthy window: one row of each tensor of measured numbers that the model takes."""

    feeds: Mapping[str, Floats]


def reference_of(manifest: Manifest, inputs: Tensors, outputs: Tensors) -> Reference:
    """The healthy window of this model, from its golden vectors and its histograms.

    The golden row that the model itself scores healthiest; a scalar input with a histogram of
    its healthy values has their median instead.
    """
    row = _healthiest(manifest, outputs)
    feeds = {
        name: np.array(inputs[name][row], np.float32)
        for name, (dtype, _) in manifest.tensors().items()
        if dtype == "float32" and name not in manifest.constants
    }
    for channel, spec in enumerate(manifest.scalars):
        known = manifest.healthy.get(spec.name)
        if known is not None and not known.center:
            feeds[manifest.window.tensor][:, channel] = known.median
    return Reference(feeds)


def _healthiest(manifest: Manifest, outputs: Tensors) -> int:
    """The golden row with the lowest score, the most certain health or the longest life."""
    row, own = manifest.task_row, manifest.outputs.score
    found = outputs[own or manifest.outputs.named()[row.needs]].astype(np.float64)
    score = (found if own else row.watched(found)).reshape(len(found))
    badness = -score if manifest.score_falls else score
    return int(np.argmin(np.nan_to_num(badness, nan=np.inf)))
