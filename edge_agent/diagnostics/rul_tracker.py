"""Remaining life: the predictions for each asset, and the adaptation of each model's interval.

The true value is known late: when a life has ended, an operator reports it, and all predictions
of that life are compared with it. The memory of a life is bounded: if it is full, every other
prediction is dropped, so that the remaining ones span the whole life.

The interval is adapted by adaptive conformal inference (Gibbs and Candes: Adaptive Conformal
Inference Under Distribution Shift, NeurIPS 2021) in the form of quantile tracking (Angelopoulos,
Candes, Tibshirani: Conformal PID Control for Time Series Prediction, NeurIPS 2023, section 2.2),
one tracker for each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.clock import US_PER_S
from edge_agent.errors import NotFoundError
from edge_agent.models import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import ArrayLike, NDArray

    from edge_agent.models import Manifest
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Scored


WIDEST: Final = 8.0  # half-widths are scaled by 1/8 to 8, for any input
_MEMORY: Final = 100  # lives over which the realised coverage is averaged


@dataclass(frozen=True, slots=True)
class AdaptiveInterval:
    """The factors that scale a model's half-widths, and the realised coverage.

    A model predicts p10, p50, p90 in hours; published are p50 - low * (p50 - p10), p50 and
    p50 + high * (p90 - p50). When a life has ended, all its published predictions are compared with
    the truth: if `missed` is the fraction of them with the truth beyond one side, the logarithm of
    that side's factor changes by rate * (missed - (1 - coverage) / 2). Sides are separate, so that
    p10 and p90 keep their meaning if a model is biased.

    While no factor is at its bound, the average over n lives of `missed` on one side differs
    from (1 - coverage) / 2 by at most log(8) / (rate * n), whatever the truths are; before the
    first life has ended the factors are 1 and the model's own calibration applies.

    lives: number that have ended; covered: mean over them (the last 100 or so) of the fraction of
    predictions whose interval contained the truth, NaN before the first.
    """

    interval: Interval = field(default_factory=Interval)
    low: float = 1.0
    high: float = 1.0
    lives: int = 0
    covered: float = math.nan

    def adapt(self, rul: NDArray[np.float32]) -> NDArray[np.float32]:
        """The published p10, p50, p90 instead of the model's own: hours [N, 3], none below 0."""
        middle = rul[:, 1:2]
        stretched = middle + (rul - middle) * np.array([self.low, 1.0, self.high], np.float32)
        return np.maximum(stretched, np.float32(0)).astype(np.float32)

    def after(self, published: ArrayLike, truth_h: ArrayLike) -> AdaptiveInterval:
        """The interval after a life has ended; a single prediction is a life, too.

        published: hours [n, 3] as `adapt` returned them over that life, all with the same weight;
        truth_h: the true remaining hours, [n]. Rows that are not finite are ignored.
        """
        bounds = np.asarray(published, np.float64).reshape(-1, 3)
        truth = np.minimum(np.asarray(truth_h, np.float64).reshape(-1), self._cap_h)
        known = np.isfinite(bounds).all(axis=1) & np.isfinite(truth)
        if not known.any():
            return self
        below = float((truth < bounds[:, 0])[known].mean())
        above = float((truth > bounds[:, 2])[known].mean())
        lives = self.lives + 1
        before = self.covered if self.lives else 0.0
        held = max(0.0, 1.0 - below - above)
        return replace(
            self,
            low=self._moved(self.low, below),
            high=self._moved(self.high, above),
            lives=lives,
            covered=before + (held - before) / min(lives, _MEMORY),
        )

    @property
    def _cap_h(self) -> float:
        return self.interval.cap_h or math.inf

    def _moved(self, factor: float, missed: float) -> float:
        wanted = (1.0 - self.interval.coverage) / 2
        moved = factor * math.exp(self.interval.rate * (missed - wanted))
        return min(max(moved, 1.0 / WIDEST), WIDEST)


KEPT: Final = 32  # predictions of one life
SPACING_US: Final = 60 * US_PER_S  # between two of them, while there are few
US_PER_H: Final = 3_600 * US_PER_S
_VERSIONS: Final = 4  # of one model, whose state is kept
_QUANTILES: Final = ("0.1", "0.5", "0.9")

Row = tuple[int, float, float, float]  # event time, published p10, p50, p90 in hours


@dataclass(slots=True)
class Life:
    """The predictions for one asset since its life began."""

    rows: list[Row] = field(default_factory=list)
    spacing_us: int = SPACING_US

    def keep_prediction(self, row: Row) -> bool:
        """Keep a prediction, unless a kept one is near enough in time."""
        if self.rows and row[0] < self.rows[-1][0]:
            self.rows.clear()  # the clock was set back: the times of these predictions are unknown
        if self.rows and row[0] - self.rows[-1][0] < self.spacing_us:
            return False
        self.rows.append(row)
        if len(self.rows) > KEPT:
            self.rows = self.rows[::2]
            self.spacing_us *= 2
        return True

    def end(self, at_us: int) -> list[Row]:
        """The predictions until then; later ones belong to the life that began."""
        ended = [row for row in self.rows if row[0] <= at_us]
        self.rows = self.rows[len(ended) :]
        self.spacing_us = SPACING_US
        return ended


@dataclass(slots=True)
class VersionLives:
    """The predictions of one version of a model, and its interval. lives: by asset."""

    interval: AdaptiveInterval
    lives: dict[str, Life] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The effect of the end of a life on one version; coverage: of this life, 0..1."""

    model: str
    version: str
    predictions: int
    coverage: float


class RulTracker:
    """All remaining lives of this gateway.

    `annotate` may run on the models' thread while no other method here runs. changed: True if
    there is something to save since the last `dump`.
    """

    def __init__(self) -> None:
        self.changed = False
        self._versions: dict[tuple[str, str], VersionLives] = {}
        self._latest: dict[tuple[str, str], tuple[float, float, float]] = {}

    def annotate(self, scored: Scored) -> Scored:
        """Replace the model's own interval by the adapted one, and keep the prediction."""
        if scored.outputs.rul is None:
            return scored
        deployment = scored.deployment
        version_lives = self._of(deployment.model.manifest)
        rul = version_lives.interval.adapt(scored.outputs.rul)
        for row, end_us, hours in zip(
            scored.row.tolist(), scored.end_us.tolist(), rul.tolist(), strict=True
        ):
            if all(map(math.isfinite, hours)):
                asset = deployment.assets[row].id
                self._latest[asset, deployment.title] = (hours[0], hours[1], hours[2])
                life = version_lives.lives.setdefault(asset, Life())
                self.changed |= life.keep_prediction((end_us, *hours))
        return replace(scored, outputs=replace(scored.outputs, rul=rul))

    def forget(self, assets: Collection[str]) -> None:
        """Drop all predictions for these removed assets."""
        for version_lives in self._versions.values():
            version_lives.lives = {
                asset: life for asset, life in version_lives.lives.items() if asset not in assets
            }
        self._latest = {key: hours for key, hours in self._latest.items() if key[0] not in assets}
        self.changed = True

    def end(self, asset: str, at_us: int, *, failed: bool) -> list[Outcome]:
        """A life of `asset` ended at `at_us` (event time): its end, or an overhaul before it.

        Only a failure is a truth: the remaining life of an overhauled machine is unknown, so its
        predictions are dropped. NotFoundError if there was no prediction for it until then.
        """
        found = []
        for (name, version), version_lives in self._versions.items():
            rows = version_lives.lives[asset].end(at_us) if asset in version_lives.lives else []
            if not rows:
                continue
            at, hours = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
            after = AdaptiveInterval(version_lives.interval.interval).after(
                hours, (at_us - at) / US_PER_H
            )
            found.append(Outcome(name, version, len(rows), after.covered))
            if failed:
                version_lives.interval = version_lives.interval.after(
                    hours, (at_us - at) / US_PER_H
                )
        if not found:
            hint = "its models have no remaining life, or --at is before their first prediction"
            raise NotFoundError("there was no prediction for it until then", where=asset, hint=hint)
        self.changed = True
        return found

    def export(
        self, metrics: Metrics, is_known: Callable[[str, str], bool] = lambda _label, _name: True
    ) -> None:
        """Update the gauges; is_known(label, name): True if it still exists."""
        for (asset, model), hours in list(self._latest.items()):
            if not (is_known("asset", asset) and is_known("model", model)):
                continue
            for quantile, value in zip(_QUANTILES, hours, strict=True):
                metrics.remaining_life.labels(asset, model, quantile).set(3600 * value)
        for name, interval in self._newest():
            if not is_known("model", name):
                continue
            metrics.rul_lives.labels(name).set(interval.lives)
            metrics.rul_interval_scale.labels(name, "low").set(interval.low)
            metrics.rul_interval_scale.labels(name, "high").set(interval.high)
            if interval.lives:
                metrics.rul_coverage.labels(name).set(interval.covered)

    def _newest(self) -> Iterator[tuple[str, AdaptiveInterval]]:
        """The interval by model, of the version that was active last."""
        yield from {
            name: version_lives.interval
            for (name, _), version_lives in list(self._versions.items())
        }.items()

    def _of(self, manifest: Manifest) -> VersionLives:
        """The predictions of one version; it becomes the newest of its name."""
        key = (str(manifest.name), str(manifest.version))
        version_lives = self._versions.pop(key, None)
        settings = manifest.interval or Interval()
        if version_lives is None:
            version_lives = VersionLives(AdaptiveInterval(settings))
        elif version_lives.interval.interval != settings:
            version_lives.interval = replace(version_lives.interval, interval=settings)
        self._versions[key] = version_lives
        same = [one for one in self._versions if one[0] == key[0]]
        for old in same[:-_VERSIONS]:
            del self._versions[old]
        return version_lives

    # -- persistence --------------------------------------------------------------------------

    def dump(self) -> bytes:
        """As JSON."""
        self.changed = False
        return orjson.dumps(
            [_plain(key, version_lives) for key, version_lives in self._versions.items()]
        )

    def restore(self, raw: bytes | None) -> None:
        """Restore from JSON; the unknown format of another version is ignored."""
        try:
            found = dict(_parsed(one) for one in orjson.loads(raw or b"[]"))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return
        self._versions = found | self._versions


def _plain(key: tuple[str, str], version_lives: VersionLives) -> dict[str, Any]:
    interval = version_lives.interval
    return {
        "model": key[0],
        "version": key[1],
        "low": interval.low,
        "high": interval.high,
        "lives": interval.lives,
        "covered": interval.covered if interval.lives else None,
        "assets": {
            a: [life.spacing_us, _short(life.rows)] for a, life in version_lives.lives.items()
        },
    }


def _short(rows: list[Row]) -> list[tuple[float, ...]]:
    """Rounded to five digits: there may be thousands of lives."""
    return [(row[0], *(float(f"{hours:.5g}") for hours in row[1:])) for row in rows]


def _parsed(one: dict[str, Any]) -> tuple[tuple[str, str], VersionLives]:
    covered = one["covered"]
    interval = AdaptiveInterval(
        low=float(one["low"]),
        high=float(one["high"]),
        lives=int(one["lives"]),
        covered=math.nan if covered is None else float(covered),
    )
    lives = {
        str(asset): Life([(int(t), float(a), float(b), float(c)) for t, a, b, c in rows], int(gap))
        for asset, (gap, rows) in one["assets"].items()
    }
    return (str(one["model"]), str(one["version"])), VersionLives(interval, lives)
