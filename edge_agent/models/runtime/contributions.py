"""Contributions of inputs to a score, for graphs without them: inputs are replaced one by one.

Inputs are replaced by healthy ones in two orders, forward and reverse. The mean of an antithetic
pair of orders is the Shapley value exactly for any sum of functions of one and of two inputs, and
an estimate of it otherwise (Mitchell, Cooper, Frank, Holmes: Sampling Permutations for Shapley
Value Estimation, JMLR 23, 2022). In each order the changes telescope, so their sum is complete.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.runtime.model import Model
    from edge_agent.models.runtime.reference import Reference

    Floats = NDArray[np.float32]

MAX_INPUTS: Final = 256  # of a model whose scores are explained
_CELLS: Final = 1 << 22  # of the windows that are built at a time
_ROWS: Final = 64
_LEAST_HOURS: Final = 1e-3
_LIMIT_S: Final = 0.5  # of one run in a process of its own


class Asked(NamedTuple):
    """Windows of a model, N rows of each of its tensors, and their score [N]."""

    feeds: Tensors
    score: Floats


def runs_of(manifest: Manifest) -> int:
    """The number of windows that a model is run with to explain one; 0 if it is not explained."""
    inputs = len(manifest.inputs)
    return 2 * inputs - 1 if inputs <= MAX_INPUTS else 0


def contributions(model: Model, reference: Reference, asked: Asked) -> Floats:
    """The share of each input in the score of each window, float32 [n, inputs]; blocking.

    Inputs are in the order of the manifest's scalars, then of its other inputs. Every row sums to
    the score.

    anomaly, classification: the decrease of the score (the probability of any fault) by replacing
    the input; negative if the input indicates health. The rest of the score after all inputs are
    healthy is added to those above 0, in proportion.

    remaining_life: the hours that the input takes from the healthy life, or 0, in proportion scaled
    so that they sum to the median, or to 0.001 h if that is less: weight / score is the input's
    share in the reduction of life.
    """
    pulls = _pulls(model, reference, asked)
    score = asked.score.astype(np.float64)
    if model.manifest.score_falls:
        hours = np.maximum(score, _LEAST_HOURS)  # a life at its very end must still be explained
        return (hours[:, None] * _proportions(-pulls)).astype(np.float32)
    rest = score - pulls.sum(axis=1)
    return np.asarray(pulls + rest[:, None] * _proportions(pulls), np.float32)


def _proportions(pulls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive pulls as shares of their sum, [n, I]; equal shares if none is positive."""
    above = np.maximum(pulls, 0.0)
    total = above.sum(axis=1, keepdims=True)
    even = np.full_like(above, 1.0 / above.shape[1])
    return np.asarray(np.divide(above, total, out=even, where=total > 0))


def _pulls(model: Model, reference: Reference, asked: Asked) -> NDArray[np.float64]:
    """The decrease of the score by each input's healthy replacement, [n, I]; mean of two orders."""
    count = len(model.manifest.inputs)
    found = _scores(model, reference, asked, _replaced(count)).astype(np.float64)
    score = asked.score.astype(np.float64)[:, None]
    # All inputs replaced is the end of both orders.
    there = np.hstack([score, found[:, :count]])
    back = np.hstack([score, found[:, count:], found[:, count - 1 : count]])
    pulls = (-np.diff(there) - np.diff(back)[:, ::-1]) / 2
    return np.where(np.isfinite(pulls), pulls, 0.0)


def _replaced(count: int) -> NDArray[np.bool_]:
    """The inputs replaced in each run, [2 count - 1, count]: the first k, the last k."""
    there = np.tril(np.ones((count, count), bool))
    return np.vstack([there, there[:-1, ::-1]])


def _scores(
    model: Model, reference: Reference, asked: Asked, replaced: NDArray[np.bool_]
) -> Floats:
    """The score of every window under every replacement, [n, runs]."""
    cells = sum(rows[0].size for rows in asked.feeds.values())
    piece = int(min(max(_CELLS // max(cells, 1), 1), _ROWS))
    window, run = np.divmod(np.arange(len(asked.score) * len(replaced)), len(replaced))
    inputs_of = _inputs_of_tensors(model.manifest)
    infer = model.infer_here  # also of a model that runs on a server: hundreds of windows
    infer = partial(infer, budget_s=_LIMIT_S) if model.is_isolated else infer
    found = [
        infer(_mixed(inputs_of, reference, asked, window[at], replaced[run[at]])).score
        for at in (slice(start, start + piece) for start in range(0, len(window), piece))
    ]
    return np.concatenate(found).reshape(len(asked.score), len(replaced))


def _inputs_of_tensors(manifest: Manifest) -> dict[str, slice]:
    """By tensor of measured numbers: the numbers of its inputs."""
    scalars, own_tensors = len(manifest.scalars), manifest.own_tensors
    found = {spec.name: slice(n, n + 1) for n, spec in enumerate(own_tensors, scalars)}
    return found | {manifest.window.tensor: slice(scalars)} if scalars else found


def _mixed(
    inputs_of: Mapping[str, slice],
    reference: Reference,
    asked: Asked,
    window: NDArray[np.intp],
    replaced: NDArray[np.bool_],
) -> Tensors:
    """The windows [k] with some of their inputs [k, I] replaced, as `Model.infer` takes them."""
    mixed: Tensors = {}
    for name, rows in asked.feeds.items():
        mixed[name] = rows[window]
        if name in reference.feeds:
            which = replaced[:, inputs_of[name]]
            which = np.expand_dims(which, tuple(range(1, rows.ndim - 1)))
            mixed[name] = np.where(which, reference.feeds[name], mixed[name])
    return mixed
