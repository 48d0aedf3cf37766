"""The head of a classifier: small networks on features that are not trained, in numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.factory.metrics import softmax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_TINY: Final = 1e-6
# Kingma, Ba: Adam, ICLR 2015; the decay is beside it (Loshchilov, Hutter, ICLR 2019).
_BETA1, _BETA2 = 0.9, 0.999


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one network: neurons, passes over the rows, rows of a step, step, decay and drop-out."""

    hidden: int = 128
    epochs: int = 20
    batch: int = 128
    rate: float = 1e-3
    decay: float = 1e-2
    drop_inputs: float = 0.2
    drop_hidden: float = 0.5


@dataclass(frozen=True, slots=True)
class Head:
    """Two layers on features [N, D]: w1 [D, H], b1 [H], w2 [H, K], b2 [K]."""

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats

    def logits(self, features: Floats) -> Floats:
        """[N, K] of features [N, D]."""
        hidden = np.maximum(features @ self.w1 + self.b1, 0)
        return np.asarray(hidden @ self.w2 + self.b2, np.float32)

    def cooled(self, temperature: float) -> Head:
        """The head whose logits are divided by a temperature."""
        share = np.float32(1 / temperature)
        return Head(self.w1, self.b1, self.w2 * share, self.b2 * share)


def mean_head(heads: Sequence[Head]) -> Head:
    """One head whose logits are the mean of those of all: their neurons stand side by side."""
    share = np.float32(1 / len(heads))
    return Head(
        np.concatenate([one.w1 for one in heads], axis=1),
        np.concatenate([one.b1 for one in heads]),
        np.concatenate([one.w2 for one in heads]) * share,
        np.asarray(np.mean([one.b2 for one in heads], axis=0), np.float32),
    )


def train_head(
    features: Floats,
    targets: Floats,
    weights: Floats,
    settings: Settings,
    random: np.random.Generator,
) -> Head:
    """Learn the probabilities `targets` [N, K] of rows [N, D]; a row counts by its weight [N]."""
    center = features.mean(axis=0)
    gain = 1 / (features.std(axis=0) + _TINY)
    network = _Network(features.shape[1], targets.shape[1], settings, random)
    steps = settings.epochs * -(-len(features) // settings.batch)
    for step, rows in enumerate(_batches(len(features), settings, random), 1):
        # Half a cosine: large steps first, none at the end.
        rate = settings.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        x = (features[rows] - center) * gain
        network.learn(x, targets[rows], weights[rows], (step, float(rate)))
    w1, b1, w2, b2 = network.layers
    return Head(w1 * gain[:, None], b1 - (center * gain) @ w1, w2, b2)


def _batches(
    rows: int, settings: Settings, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    for _ in range(settings.epochs):
        order = random.permutation(rows)
        yield from (order[i : i + settings.batch] for i in range(0, rows, settings.batch))


class _Network:
    """The layers while they learn, and Adam's moments of each."""

    def __init__(
        self, inputs: int, classes: int, settings: Settings, random: np.random.Generator
    ) -> None:
        self._settings = settings
        self._random = random
        hidden = settings.hidden
        shapes = ((inputs, hidden), (hidden,), (hidden, classes), (classes,))
        scales = (np.sqrt(2 / inputs), 0, np.sqrt(1 / hidden), 0)
        pairs = zip(shapes, scales, strict=True)
        self.layers = [self._normal(shape) * np.float32(scale) for shape, scale in pairs]
        self._moments = [(np.zeros_like(one), np.zeros_like(one)) for one in self.layers]

    def _normal(self, shape: tuple[int, ...]) -> Floats:
        return self._random.standard_normal(shape).astype(np.float32)

    def learn(
        self, x: Floats, targets: Floats, weights: Floats, progress: tuple[int, float]
    ) -> None:
        """One step down the cross-entropy; progress: the step's number and rate."""
        w1, b1, w2, b2 = self.layers
        x = x * self._kept(x.shape, self._settings.drop_inputs)
        before = x @ w1 + b1
        kept = self._kept(before.shape, self._settings.drop_hidden)
        hidden = np.maximum(before, 0) * kept
        off = (softmax(hidden @ w2 + b2) - targets) * (weights / len(x))[:, None]
        back = (off @ w2.T) * kept * (before > 0)
        slopes = (x.T @ back, back.sum(axis=0), hidden.T @ off, off.sum(axis=0))
        for number, slope in enumerate(slopes):
            self._move(number, slope, *progress)

    def _kept(self, shape: tuple[int, ...], share: float) -> Floats:
        """Drop-out (Srivastava et al., JMLR 2014): 0, or what keeps the mean."""
        drawn = self._random.random(shape, np.float32) >= share
        return np.asarray(drawn, np.float32) / np.float32(1 - share)

    def _move(self, number: int, slope: Floats, step: int, rate: float) -> None:
        layer, (first, second) = self.layers[number], self._moments[number]
        first += np.float32(1 - _BETA1) * (slope - first)
        second += np.float32(1 - _BETA2) * (slope * slope - second)
        mean = first / np.float32(1 - _BETA1**step)
        size = np.sqrt(second / np.float32(1 - _BETA2**step)) + np.float32(1e-8)
        decay = self._settings.decay if layer.ndim > 1 else 0.0
        layer -= np.float32(rate) * (mean / size + np.float32(decay) * layer)
