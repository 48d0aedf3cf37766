"""C-MAPSS FD001: reading, noise estimation, and synthetic engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.factory.recipe import Samples, Splits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Context

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

# Sensor number of readme.txt, name and unit as in the simulator's paper (Saxena, Goebel,
# Simon, Eklund: Damage Propagation Modeling, PHM 2008, table 2); the other seven are constant.
SENSORS: Final = {
    "T24": (2, "°R"),
    "T30": (3, "°R"),
    "T50": (4, "°R"),
    "P30": (7, "psia"),
    "Nf": (8, "rpm"),
    "Nc": (9, "rpm"),
    "Ps30": (11, "psia"),
    "phi": (12, "pps/psi"),
    "NRf": (13, "rpm"),
    "NRc": (14, "rpm"),
    "BPR": (15, ""),
    "htBleed": (17, ""),
    "W31": (20, "lbm/s"),
    "W32": (21, "lbm/s"),
}
CYCLE: Final = "cycle"
LENGTH: Final = 128  # cycles in a window
LEAST: Final = 8  # cycles that the first window needs
CAP: Final = 125.0  # cycles; beyond it a healthy engine shows no sign of its end
WORN: Final = 25.0  # cycles; rows with less left are the anomalous ones

_FIRST_SENSOR: Final = 4  # column of readme.txt before sensor 1
_LATENT: Final = 2
_FRESH: Final = 40  # cycles that count as new
_BLOCK: Final = 10
_SMOOTH: Final = 12.0  # cycles
_LONGEST: Final = 360
_WARP: Final = 0.15
_CROPPED: Final = 0.2  # share of synthetic engines that are first seen in mid-life ...
_CROP: Final = 0.7  # ... at most at this share of their life
_FAR: Final = 150.0  # cycles; rows with more left are thinned: they are all similar
_FAR_SHARE: Final = 0.4
_SYNTHETIC_ROWS: Final = 1 / 6
_COPIES: Final = 20
_HELD_OUT: Final = 30
_VALID_FROM: Final = 31  # cycles of the shortest test engine
_VALID_TO: Final = 150.0
_VALID_HOP: Final = 3
_TEST_GROUP: Final = 1000


@dataclass(frozen=True, slots=True)
class Basis:
    """The common directions of the sensors: two numbers describe an engine's state of wear.

    spread [14]: standard deviation of each sensor's white noise; center [14]: new engines, in
    spreads; weights [14, 2], orthonormal: the two directions in which engines move.
    """

    spread: Doubles
    center: Doubles
    weights: Doubles

    def latent(self, rows: Doubles) -> Doubles:
        """Rows [T, 15] to [T, 2], whose noise has a standard deviation of 1."""
        return np.asarray((rows[:, :-1] / self.spread - self.center) @ self.weights)

    def sensors(self, latent: Doubles, random: np.random.Generator) -> Doubles:
        """Rows [T, 14] of noisy sensors that show this state [T, 2]."""
        clean = latent @ self.weights.T + self.center
        return np.asarray((clean + random.normal(size=clean.shape)) * self.spread)


def read_engines(file: Path) -> list[Doubles]:
    """Rows [T, 15] of each engine: 14 sensors, then the cycle."""
    table = np.loadtxt(file)
    columns = [_FIRST_SENSOR + number for number, _ in SENSORS.values()]
    return [table[table[:, 0] == unit][:, [*columns, 1]] for unit in np.unique(table[:, 0])]


def basis_of(engines: Sequence[Doubles]) -> Basis:
    """From training engines alone; noise from second differences, directions by SVD of means."""
    sensors = [rows[:, :-1] for rows in engines]
    second = np.concatenate([np.diff(rows, n=2, axis=0) for rows in sensors])
    spread = second.std(axis=0) / np.sqrt(6.0)
    scaled = [rows / spread for rows in sensors]
    center = np.mean([rows[:_FRESH].mean(axis=0) for rows in scaled], axis=0)
    blocks = [
        rows[len(rows) % _BLOCK :].reshape(-1, _BLOCK, len(center)).mean(axis=1) - center
        for rows in scaled
    ]
    _, _, directions = np.linalg.svd(np.concatenate(blocks), full_matrices=False)
    return Basis(spread, center, directions[:_LATENT].T)


def windows(rows: Doubles) -> Floats:
    """The window that ends with each row [T, LENGTH, C]; before the first row, the first row."""
    padded = np.concatenate([np.repeat(rows[:1], LENGTH - 1, axis=0), rows]).astype(np.float32)
    return np.lib.stride_tricks.sliding_window_view(padded, LENGTH, axis=0).transpose(0, 2, 1)


def synthetic(
    engines: Sequence[Doubles], basis: Basis, random: np.random.Generator
) -> Iterator[tuple[Doubles, Doubles]]:
    """Rows [T, 15] and cycles left [T] of synthetic engines, endlessly.

    The smoothed wear of a real engine, slowed down or sped up, with new noise; every fifth is
    first seen in mid-life, as after a restart of the daemon.
    """
    trends = [_smoothed(basis.latent(rows)) for rows in engines]
    for _ in range(_COPIES):
        for trend in trends:
            life = min(_LONGEST, round(len(trend) * float(np.exp(random.normal(0, _WARP)))))
            at = np.linspace(0, len(trend) - 1, life)
            state = np.stack([np.interp(at, np.arange(len(trend)), each) for each in trend.T], 1)
            cycle = np.arange(1.0, life + 1)
            rows = np.column_stack([basis.sensors(state, random), cycle])
            cropped = random.random() < _CROPPED
            begin = int(random.integers(1, int(_CROP * life))) if cropped else 0
            yield rows[begin:], life - cycle[begin:]


def splits(context: Context) -> Splits:
    """train: 70 engines, and synthetic ones made of them; valid: 30; test: the 100 of the test."""
    folder = context.data / "cmapss"
    engines = read_engines(folder / "train_FD001.txt")
    order = context.random("split").permutation(len(engines))
    held_out, taught = np.sort(order[:_HELD_OUT]), np.sort(order[_HELD_OUT:])
    random = context.random("rows")
    return Splits(
        _training_lives([engines[unit] for unit in taught], taught, random),
        _held_out([engines[unit] for unit in held_out], held_out),
        read_test(folder),
    )


def training_engines(samples: Samples, context: Context) -> list[Doubles]:
    """The whole engines behind the rows of `train`."""
    engines = read_engines(context.data / "cmapss" / "train_FD001.txt")
    return [engines[unit] for unit in np.unique(samples.group)]


def read_test(folder: Path) -> Samples:
    """The last window of each of the 100 test engines."""
    engines = read_engines(folder / "test_FD001.txt")
    left = np.loadtxt(folder / "RUL_FD001.txt")
    x = np.concatenate([windows(rows)[-1:] for rows in engines])
    return _samples(x, left, np.arange(len(left)) + _TEST_GROUP)


def _training_lives(
    engines: list[Doubles], units: NDArray[np.integer], random: np.random.Generator
) -> Samples:
    """Real rows, and a share of the synthetic ones, each in the group of the engine behind it."""
    parts = []
    for rows, unit in zip(engines, units, strict=True):
        left = np.arange(len(rows) - 1, -1, -1.0)
        parts.append(_thinned(rows, left, int(unit), 1.0, random))
    made = synthetic(engines, basis_of(engines), random)
    for number, (rows, left) in enumerate(made):
        unit = int(units[number % len(units)])
        parts.append(_thinned(rows, left, unit, _SYNTHETIC_ROWS, random))
    return _joined(parts)


def _thinned(
    rows: Doubles, left: Doubles, unit: int, share: float, random: np.random.Generator
) -> Samples:
    kept = random.random(len(left)) < share * np.where(left <= _FAR, 1.0, _FAR_SHARE)
    kept[: LEAST - 1] = False
    return _samples(windows(rows)[kept], left[kept], np.full(int(kept.sum()), unit))


def _held_out(engines: list[Doubles], units: NDArray[np.integer]) -> Samples:
    """Rows as a test might cut them: every third, from 150 cycles before the end."""
    parts = []
    for rows, unit in zip(engines, units, strict=True):
        left = np.arange(len(rows) - 1, -1, -1.0)
        kept = np.flatnonzero((left <= _VALID_TO) & (left >= 1))
        kept = kept[kept >= _VALID_FROM - 1][::_VALID_HOP]
        parts.append(_samples(windows(rows)[kept], left[kept], np.full(len(kept), int(unit))))
    return _joined(parts)


def _samples(x: Floats, left: Doubles, group: NDArray[np.integer]) -> Samples:
    """Samples whose targets are the remaining life, capped, and uncapped."""
    target = np.column_stack([np.minimum(left, CAP), left]).astype(np.float32)
    return Samples({"x": x}, target, group.astype(np.int64), left <= WORN)


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(
        {"x": np.concatenate([part.inputs["x"] for part in parts])},
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.anomalous for part in parts]),
    )


def _smoothed(latent: Doubles) -> Doubles:
    """A local parabola around every row: Gaussian weights, both sides."""
    at = np.arange(len(latent))
    found = np.empty_like(latent)
    for row in at:
        away = (at - row) / _SMOOTH
        weight = np.exp(-0.25 * away**2)[:, None]
        powers = np.stack([np.ones_like(away), away, away**2], axis=1)
        found[row] = np.linalg.lstsq(powers * weight, latent * weight, rcond=None)[0][0]
    return found
