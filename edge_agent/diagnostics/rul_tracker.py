"""Remaining life: the predictions for each asset, and what became of them.

The true value is known late: when a life has ended, an operator reports it, and all predictions
of that life are compared with it. The memory of a life is bounded: if it is full, every other
prediction is dropped, so that the remaining ones span the whole life.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from edge_agent.clock import US_PER_S
from edge_agent.diagnostics.adaptive_interval import AdaptiveInterval
from edge_agent.errors import NotFoundError
from edge_agent.models import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edge_agent.models import Manifest
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Scored


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


class LatestLife(NamedTuple):
    """The newest prediction of a model for an asset: its event time, p10, p50 and p90 in hours."""

    asset: str
    model: str
    at_us: int
    hours: tuple[float, float, float]


class RulTracker:
    """All remaining lives of this gateway.

    `annotate` may run on the models' thread while no other method here runs. changed: True if
    there is something to save since the last `dump`.
    """

    def __init__(self) -> None:
        self.changed = False
        self._versions: dict[tuple[str, str], VersionLives] = {}
        self._latest: dict[tuple[str, str], Row] = {}

    def annotate(self, scored: Scored) -> Scored:
        """Replace the model's own interval by the adapted one, and keep the prediction.

        A prediction outside of the training data is not kept: it says nothing about the model.
        """
        if scored.outputs.rul is None:
            return scored
        deployment = scored.deployment
        version_lives = self._of(deployment.model.manifest)
        rul = version_lives.interval.adapt(scored.outputs.rul)
        is_uncertain = scored.is_uncertain
        if is_uncertain.any():
            unsupported = version_lives.interval.unsupported(scored.outputs.rul)
            rul = np.where(is_uncertain[:, None], unsupported, rul)
        columns = (scored.row, scored.end_us, rul, is_uncertain)
        for row, end_us, hours, uncertain in zip(*(c.tolist() for c in columns), strict=True):
            if all(map(math.isfinite, hours)):
                asset = deployment.assets[row].id
                self._latest[asset, deployment.title] = (end_us, *hours)
                if not uncertain:
                    life = version_lives.lives.setdefault(asset, Life())
                    self.changed |= life.keep_prediction((end_us, *hours))
        return replace(scored, outputs=replace(scored.outputs, rul=rul))

    def latest(self) -> list[LatestLife]:
        """The newest prediction of each asset by each model; after a restart the last one kept."""
        found = list(self._latest.items())
        known = {asset for (asset, _), _ in found}
        kept: dict[tuple[str, str], Row] = {}
        for (name, _), version_lives in list(self._versions.items()):
            for asset, life in list(version_lives.lives.items()):
                if asset not in known and life.rows:
                    kept[asset, name] = max(life.rows[-1], kept.get((asset, name), life.rows[-1]))
        return [
            LatestLife(asset, model, row[0], row[1:])
            for (asset, model), row in (*found, *kept.items())
        ]

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
        self._latest = {
            key: row for key, row in self._latest.items() if key[0] != asset or row[0] > at_us
        }
        if not found:
            hint = "its models have no remaining life, or --at is before their first prediction"
            raise NotFoundError("there was no prediction for it until then", where=asset, hint=hint)
        self.changed = True
        return found

    def export(
        self, metrics: Metrics, is_known: Callable[[str, str], bool] = lambda _label, _name: True
    ) -> None:
        """Update the gauges; is_known(label, name): True if it still exists."""
        for (asset, model), (_, *hours) in list(self._latest.items()):
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
