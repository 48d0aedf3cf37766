"""Remaining life: what was told of each asset, and how each model's interval adapts to the truth.

The truth comes late: when a life has ended somebody says so, and all that was told of that life
meets what became of it. What is kept of a life is bounded: when it grows too much every other
prediction goes, so that those which stay span the whole of it.

The interval is kept honest by adaptive conformal inference (Gibbs and Candes: Adaptive Conformal
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


WIDEST: Final = 8.0  # half-widths are scaled by 1/8 to 8, whatever is fed in
_MEMORY: Final = 100  # lives over which the realised coverage is taken


@dataclass(frozen=True, slots=True)
class AdaptiveInterval:
    """How far the half-widths that a model gives are stretched, and how well that held.

    A model says p10, p50, p90 in hours; told are p50 - low * (p50 - p10), p50 and
    p50 + high * (p90 - p50). When a life has ended, all that was told of it meets its truth: let
    `missed` be the share of it that lay beyond one side, then the logarithm of that side's factor
    moves by rate * (missed - (1 - coverage) / 2). Sides are separate, so that p10 and p90 stay what
    their names say where a model is biased.

    While no factor is at its bound, the average over n lives of what was missed on one side differs
    from (1 - coverage) / 2 by at most log(8) / (rate * n), whatever the truths are; with
    nothing to tell, the factors are 1 and the model's own calibration holds.

    lives: how many have ended; covered: mean over them (the last 100 or so) of the share of what
    was told that held the truth, NaN before the first.
    """

    interval: Interval = field(default_factory=Interval)
    low: float = 1.0
    high: float = 1.0
    lives: int = 0
    covered: float = math.nan

    def told(self, rul: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is told instead of a model's own p10, p50, p90: hours [N, 3], none below 0."""
        middle = rul[:, 1:2]
        stretched = middle + (rul - middle) * np.array([self.low, 1.0, self.high], np.float32)
        return np.maximum(stretched, np.float32(0)).astype(np.float32)

    def after(self, told: ArrayLike, truth_h: ArrayLike) -> AdaptiveInterval:
        """The interval once a life has ended; a single prediction is a life, too.

        told: hours [n, 3] as `told` gave them over that life, each counting the same; truth_h: the
        hours that were left in truth, [n]. Rows that are not finite say nothing.
        """
        bounds = np.asarray(told, np.float64).reshape(-1, 3)
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
SPACING_US: Final = 60 * US_PER_S  # between two of them, as long as there are few
US_PER_H: Final = 3_600 * US_PER_S
_VERSIONS: Final = 4  # of one model, whose state is kept
_QUANTILES: Final = ("0.1", "0.5", "0.9")

Row = tuple[int, float, float, float]  # event time, p10, p50, p90 as told, in hours


@dataclass(slots=True)
class Life:
    """What was told of one asset since its life began."""

    rows: list[Row] = field(default_factory=list)
    spacing_us: int = SPACING_US

    def note(self, row: Row) -> bool:
        """Keep a prediction, unless one is kept that is near enough."""
        if self.rows and row[0] < self.rows[-1][0]:
            self.rows.clear()  # the clock was set back: what was told cannot be placed any more
        if self.rows and row[0] - self.rows[-1][0] < self.spacing_us:
            return False
        self.rows.append(row)
        if len(self.rows) > KEPT:
            self.rows = self.rows[::2]
            self.spacing_us *= 2
        return True

    def end(self, at_us: int) -> list[Row]:
        """What was told until then; what was told after belongs to the life that began."""
        ended = [row for row in self.rows if row[0] <= at_us]
        self.rows = self.rows[len(ended) :]
        self.spacing_us = SPACING_US
        return ended


@dataclass(slots=True)
class Told:
    """What one version of a model told, and how its interval stands. lives: by asset."""

    interval: AdaptiveInterval
    lives: dict[str, Life] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the end of a life taught one version of a model; coverage: of this life, 0..1."""

    model: str
    version: str
    predictions: int
    coverage: float


class RulTracker:
    """All remaining lives of this gateway.

    `annotate` may run on the models' thread while nothing else here does. changed: whether there is
    something to keep since the last `dump`.
    """

    def __init__(self) -> None:
        self.changed = False
        self._told: dict[tuple[str, str], Told] = {}
        self._latest: dict[tuple[str, str], tuple[float, float, float]] = {}

    def annotate(self, scored: Scored) -> Scored:
        """Put the adapted interval in place of the model's own, and keep what is told."""
        if scored.outputs.rul is None:
            return scored
        deployment = scored.deployment
        told = self._of(deployment.model.manifest)
        rul = told.interval.told(scored.outputs.rul)
        for row, end_us, hours in zip(
            scored.row.tolist(), scored.end_us.tolist(), rul.tolist(), strict=True
        ):
            if all(map(math.isfinite, hours)):
                asset = deployment.assets[row].id
                self._latest[asset, deployment.title] = (hours[0], hours[1], hours[2])
                life = told.lives.setdefault(asset, Life())
                self.changed |= life.note((end_us, *hours))
        return replace(scored, outputs=replace(scored.outputs, rul=rul))

    def forget(self, assets: Collection[str]) -> None:
        """These assets are gone: nothing that was told of them is kept."""
        for told in self._told.values():
            told.lives = {asset: life for asset, life in told.lives.items() if asset not in assets}
        self._latest = {key: hours for key, hours in self._latest.items() if key[0] not in assets}
        self.changed = True

    def end(self, asset: str, at_us: int, *, failed: bool) -> list[Outcome]:
        """A life of `asset` ended at `at_us` (event time): its end, or an overhaul before it.

        Only a failure is a truth: how long an overhauled machine would have lived nobody knows, so
        its predictions are dropped. NotFoundError if there was no prediction for it until then.
        """
        found = []
        for (name, version), told in self._told.items():
            rows = told.lives[asset].end(at_us) if asset in told.lives else []
            if not rows:
                continue
            at, hours = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
            after = AdaptiveInterval(told.interval.interval).after(hours, (at_us - at) / US_PER_H)
            found.append(Outcome(name, version, len(rows), after.covered))
            if failed:
                told.interval = told.interval.after(hours, (at_us - at) / US_PER_H)
        if not found:
            hint = "its models have no remaining life, or --at is before their first prediction"
            raise NotFoundError("there was no prediction for it until then", where=asset, hint=hint)
        self.changed = True
        return found

    def export(
        self, metrics: Metrics, is_known: Callable[[str, str], bool] = lambda _label, _name: True
    ) -> None:
        """Bring the gauges up to date; is_known(label, name): whether it is still there."""
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
        """By model the interval of the version that was last at work."""
        yield from {name: told.interval for (name, _), told in list(self._told.items())}.items()

    def _of(self, manifest: Manifest) -> Told:
        """Of one version; it becomes the newest of its name."""
        key = (str(manifest.name), str(manifest.version))
        told = self._told.pop(key, None)
        settings = manifest.interval or Interval()
        if told is None:
            told = Told(AdaptiveInterval(settings))
        elif told.interval.interval != settings:
            told.interval = replace(told.interval, interval=settings)
        self._told[key] = told
        same = [one for one in self._told if one[0] == key[0]]
        for old in same[:-_VERSIONS]:
            del self._told[old]
        return told

    # -- over a restart -----------------------------------------------------------------------

    def dump(self) -> bytes:
        """As JSON."""
        self.changed = False
        return orjson.dumps([_plain(key, told) for key, told in self._told.items()])

    def restore(self, raw: bytes | None) -> None:
        """From JSON; what another version wrote differently is as good as nothing."""
        try:
            found = dict(_parsed(one) for one in orjson.loads(raw or b"[]"))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return
        self._told = found | self._told


def _plain(key: tuple[str, str], told: Told) -> dict[str, Any]:
    interval = told.interval
    return {
        "model": key[0],
        "version": key[1],
        "low": interval.low,
        "high": interval.high,
        "lives": interval.lives,
        "covered": interval.covered if interval.lives else None,
        "assets": {a: [life.spacing_us, _short(life.rows)] for a, life in told.lives.items()},
    }


def _short(rows: list[Row]) -> list[tuple[float, ...]]:
    """With five digits: there may be thousands of lives."""
    return [(row[0], *(float(f"{hours:.5g}") for hours in row[1:])) for row in rows]


def _parsed(one: dict[str, Any]) -> tuple[tuple[str, str], Told]:
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
    return (str(one["model"]), str(one["version"])), Told(interval, lives)
