"""What a healthy window of a model looks like, to explain others by."""

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
    """What a healthy window of this model looks like, from its golden vectors and its histograms.

    The golden row that the model itself finds healthiest; a scalar input that has a histogram of
    its healthy values stands at their median instead.
    """
    row = _healthiest(manifest, outputs)
    feeds = {
        name: np.array(inputs[name][row], np.float32)
        for name, (dtype, _) in manifest.tensors().items()
        if dtype == "float32"
    }
    for channel, spec in enumerate(manifest.scalars):
        known = manifest.healthy.get(spec.name)
        if known is not None and not known.center:
            feeds[manifest.window.tensor][:, channel] = known.median
    return Reference(feeds)


def _healthiest(manifest: Manifest, outputs: Tensors) -> int:
    """The golden row with the lowest score, the surest health or the longest life."""
    row, own = manifest.task_row, manifest.outputs.score
    found = outputs[own or manifest.outputs.named()[row.needs]].astype(np.float64)
    score = (found if own else row.watched(found)).reshape(len(found))
    badness = -score if manifest.score_falls else score
    return int(np.argmin(np.nan_to_num(badness, nan=np.inf)))
