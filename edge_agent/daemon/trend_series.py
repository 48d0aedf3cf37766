"""Which series the columns of a pipeline belong to: signals, scores with limits, contributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.plant import PlantSignal
    from edge_agent.serving import Deployment
    from edge_agent.trends import Trends

_TOP: Final = 3  # contributions of one window


class SeriesNumbers:
    """The numbers of the series of signals and models, found once.

    of_signals: by number of the signal [S].
    """

    def __init__(self, trends: Trends) -> None:
        self.of_signals = np.zeros(0, np.int32)
        self._trends = trends
        self._generation = trends.generation
        self._plant: object = None
        self._scores: WeakKeyDictionary[Deployment, NDArray[np.int32]] = WeakKeyDictionary()
        self._shares: WeakKeyDictionary[Deployment, dict[tuple[int, int], int]] = (
            WeakKeyDictionary()
        )

    def follow(self, signals: Sequence[PlantSignal]) -> bool:
        """Find the numbers of new signals; True: of all, the plant or the file is another one."""
        is_other = self._plant is not signals or self._generation != self._trends.generation
        if is_other:
            self._plant, self._generation = signals, self._trends.generation
            self.of_signals = np.zeros(0, np.int32)
            self._scores.clear()
            self._shares.clear()
        known, n = len(self.of_signals), len(signals)
        if n > known:
            new = [self._trends.number(s.asset.id, "input", s.name) for s in signals[known:n]]
            self.of_signals = np.append(self.of_signals, np.array(new, np.int32))
        return is_other

    def of_deployment(self, deployment: Deployment) -> NDArray[np.int32]:
        """The series of the scores and of the limits of a model, by its rows [A, 2]."""
        known = self._scores.get(deployment, np.zeros((0, 2), np.int32))
        assets = deployment.assets
        if len(assets) > len(known):
            title, number = deployment.title, self._trends.number
            new = [
                (number(one.id, "score", title), number(one.id, "limit", title))
                for one in assets[len(known) :]
            ]
            known = np.concatenate([known, np.array(new, np.int32)])
            self._scores[deployment] = known
        return known

    def top_contributions(
        self, deployment: Deployment, row: NDArray[np.intp], weights: NDArray[np.floating]
    ) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float64]]:
        """The largest contributions of each window that has some: window, series and weight [k]."""
        explained = np.flatnonzero(np.isfinite(weights).all(axis=1))
        size = np.abs(weights[explained])
        top = np.argsort(-size, axis=1)[:, :_TOP]
        at, column = np.repeat(explained, top.shape[1]), top.ravel()
        series = [
            self._share(deployment, int(r), int(c)) for r, c in zip(row[at], column, strict=True)
        ]
        return at, np.array(series, np.int32), weights[at, column].astype(np.float64)

    def _share(self, deployment: Deployment, row: int, column: int) -> int:
        known = self._shares.setdefault(deployment, {})
        found = known.get((row, column))
        if found is None:
            asset, name = deployment.assets[row].id, _contributor(deployment, row, column)
            found = self._trends.number(asset, "contribution", name)
            known[row, column] = found
        return found


def _contributor(deployment: Deployment, row: int, column: int) -> str:
    """The name of a column of the contributions, as in alarms."""
    named = deployment.model.manifest.contributors
    specs = (*deployment.scalars, *deployment.own_tensors)
    titles = [
        signal.name if signal else spec.name
        for signal, spec in zip(deployment.signals[row], specs, strict=True)
    ]
    if not named:
        return str(titles[column])
    name, _, feature = named[column].partition(": ")
    place = next((n for n, spec in enumerate(specs) if spec.name == name), None)
    return f"{name if place is None else titles[place]} ({feature})"
