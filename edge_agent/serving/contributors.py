"""The features of inputs that contributed to a score, of graphs that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from edge_agent.messages import Contributor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.models import Outputs
    from edge_agent.serving.deployment import Deployment, WindowBatch

_MAX_FEATURES: Final = 16  # an alert has five


class Explained(Protocol):
    """Scored windows, as far as they explain themselves; see `Scored`."""

    @property
    def deployment(self) -> Deployment:
        """The model that scored them."""

    @property
    def row(self) -> NDArray[np.intp]:
        """The row of each window's asset."""

    @property
    def last(self) -> NDArray[np.floating]:
        """The newest values of the inputs."""

    @property
    def outputs(self) -> Outputs:
        """The model's outputs."""

    @property
    def batch(self) -> WindowBatch:
        """The windows themselves."""


def features_of(scored: Explained, i: int, weights: NDArray[np.float32]) -> tuple[Contributor, ...]:
    """The features of inputs that a graph itself names, by falling share, with their input's value.

    An input's name has no `: `, so that it is the text before the first one.
    """
    deployment = scored.deployment
    specs = (*deployment.scalars, *deployment.own_tensors)
    place = {spec.name: number for number, spec in enumerate(specs)}
    values = _values(scored, i)
    found = []
    for column in np.argsort(-np.abs(weights))[:_MAX_FEATURES]:
        name, _, feature = deployment.model.manifest.contributors[column].partition(": ")
        signal, spec = deployment.signals[scored.row[i]][place[name]], specs[place[name]]
        title, unit = (signal.name, signal.config.unit) if signal else (spec.name, "")
        weight, value = float(weights[column]), values[place[name]]
        found.append(Contributor(f"{title} ({feature})", weight, value, unit or spec.unit))
    return tuple(found)


def _values(scored: Explained, i: int) -> list[float]:
    """The newest value of each input of window `i`; of a block, the level of its samples."""
    deployment = scored.deployment
    scalars = [float(value) for value in scored.last[i, : len(deployment.scalars)]]
    if not scored.batch.blocks:
        return scalars
    samples = scored.batch.blocks[i].samples
    kinds = deployment.model.manifest.rules.inputs
    levels = [kinds[spec.kind].level(samples[n]) for n, spec in enumerate(deployment.own_tensors)]
    return [*scalars, *levels]
