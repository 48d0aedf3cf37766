"""Pictures of the card: the course of training, and the reliability of its probabilities."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Arrays, Samples

    Curve = dict[str, list[float]]

_SIZE: Final = (6.4, 3.6)
_DPI: Final = 100
_BINS: Final = 10
_LIFE_LEVELS: Final = (0.1, 0.5, 0.9)


def curves_picture(curves: Mapping[str, Curve]) -> bytes:
    """Mean loss by epoch of each training stage, on train and on held-out groups."""
    figure, axes = _figure()
    begin = 0
    for stage, curve in curves.items():
        epochs = np.arange(begin, begin + len(curve["train"]))
        axes.plot(epochs, curve["train"], label=f"{stage}: train")
        axes.plot(epochs, curve["valid"], "--", label=f"{stage}: held out")
        begin += len(epochs)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log", title="training")
    axes.legend(fontsize="small")
    return _png(figure)


def reliability_picture(outputs: Arrays, test: Samples) -> bytes:
    """Predicted against found on test: probabilities, quantiles of life, or scores over limit."""
    figure, axes = _figure()
    if "probabilities" in outputs:
        _classes(axes, outputs["probabilities"], test.target)
    elif "rul" in outputs:
        _quantiles(axes, outputs["rul"], test.target[:, 0])
    else:
        _scores(axes, outputs["score"].reshape(len(test)), test.anomalous)
    axes.legend(fontsize="small")
    return _png(figure)


def _classes(axes: Axes, predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
    confidence, right = predicted.max(axis=1), predicted.argmax(axis=1) == truth.argmax(axis=1)
    index = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    used = [b for b in range(_BINS) if (index == b).any()]
    axes.plot([0, 1], [0, 1], ":", color="grey", label="as predicted")
    said = [confidence[index == b].mean() for b in used]
    found = [right[index == b].mean() for b in used]
    axes.plot(said, found, "o-", label=f"found, {len(predicted)} windows; so many of each")
    for b, x, y in zip(used, said, found, strict=True):
        axes.annotate(str(int((index == b).sum())), (x, y), (4, -12), textcoords="offset points")
    axes.set(xlabel="probability of the predicted class", ylabel="share that is right")
    axes.set_title("reliability on test")


def _quantiles(axes: Axes, predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
    found = (truth[:, None] <= predicted).mean(axis=0)
    axes.plot([0, 1], [0, 1], ":", color="grey", label="as predicted")
    axes.plot(_LIFE_LEVELS, found, "o-", label=f"found, {len(predicted)} windows")
    axes.set(xlabel="predicted quantile", ylabel="share of truths below it")
    axes.set_title("reliability of the remaining life on test")


def _scores(axes: Axes, score: NDArray[np.float32], anomalous: NDArray[np.bool_]) -> None:
    for rows, name in ((~anomalous, "healthy"), (anomalous, "anomalous")):
        if rows.any():
            values = np.sort(score[rows])
            axes.plot(
                values, 1 - np.arange(len(values)) / len(values), label=f"{name}, {len(values)}"
            )
    axes.axvline(1.0, color="grey", linestyle=":", label="limit")
    axes.set(xlabel="score", ylabel="share of windows above", xscale="symlog", yscale="log")
    axes.set_title("scores on test")


def _figure() -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    """PNG bytes without version or date, so that equal pictures have equal bytes."""
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    plt.close(figure)
    return target.getvalue()
