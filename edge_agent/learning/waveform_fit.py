"""Learns a baseline from the features of healthy windows of waveforms.

Two distances from healthy are compared with their own limits: T² of all features together, and the
largest deviation of a single one, so that one line that rises alone is found among many features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.types import Name
from edge_agent.errors import ModelError
from edge_agent.learning.calibration import promised
from edge_agent.learning.covariance import precision
from edge_agent.learning.fit import LearnedBundle
from edge_agent.learning.threshold import poisson_upper
from edge_agent.learning.waveform import SHAPES, Bank, WaveBaseline, measure
from edge_agent.models import InputSpec, Manifest, OutputNames, Task, WindowSpec, learned_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Tensors

    Floats = NDArray[np.float64]

LEAST_WAVES: Final = 48  # windows: three of each sixteenth of the time
_HEALTHY: Final = 30.0  # spreads: a start-up in the data must not fill the covariance
_LEAST_SPREAD: Final = 0.02  # of a logarithm: 2 %
_FOLDS: Final = 4
_MAX_SILENT: Final = 0.1
_QUANTILES: Final = (0.9, 0.99)
_LEAST_SHARE: Final = 1e-9
_OWN_QUANTILE: Final = 0.995
_MARGIN: Final = 1.5
_DAY_S: Final = 86_400.0
_ROWS_OF_ALARM: Final = 5
_GOLDEN: Final = 8


@dataclass(frozen=True)
class WaveRecipe:
    """The parameters of learning waveforms, without the data.

    step_s: seconds from window to window when they are scored; spacing_s: the same of the rows, 0:
    as step_s. lines: see `Bank`. provisional_s: see `Manifest`.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    step_s: float = 1.0
    spacing_s: float = 0.0
    false_alarms_per_day: float = 0.1
    lines: tuple[tuple[str, float], ...] = ()
    training: tuple[tuple[str, str], ...] = ()
    provisional_s: float = 0.0

    @cached_property
    def banks(self) -> tuple[Bank, ...]:
        """What is measured in each input."""
        return tuple(Bank(spec.rate_hz, spec.length, self.lines) for spec in self.inputs)

    @property
    def places(self) -> list[int]:
        """The place of the first feature of each input, and of the end."""
        return [0, *accumulate(bank.size for bank in self.banks)]

    @property
    def features(self) -> tuple[str, ...]:
        """The features of all inputs, by name."""
        pairs = zip(self.inputs, self.banks, strict=True)
        return tuple(f"{spec.name}: {name}" for spec, bank in pairs for name in bank.names)

    def measure(self, samples: Sequence[NDArray[np.floating]]) -> Floats:
        """The features [N, F] of windows of all inputs, [N, length] each."""
        pairs = zip(samples, self.banks, strict=True)
        return np.concatenate([measure(wave, bank) for wave, bank in pairs], axis=1)


def learn_waves(
    rows: Mapping[str, NDArray[np.floating]], recipe: WaveRecipe, *, now_us: int
) -> LearnedBundle:
    """A baseline for each asset from the features [T, F] of its healthy windows, oldest first.

    NaN: of a window that never changes. ModelError if no asset can be learned.
    """
    baselines: dict[str, WaveBaseline] = {}
    refused: dict[str, str] = {}
    days = alarms = 0.0
    for asset, found in rows.items():
        try:
            features = _sound(found.astype(np.float64), recipe)
            baselines[asset], over = _calibrated(features, recipe)
        except ModelError as error:
            refused[asset] = str(error)
        else:
            days += len(features) * (recipe.spacing_s or recipe.step_s) / _DAY_S
            alarms += over
    if not baselines:
        reasons = [f"{asset}: {reason}" for asset, reason in refused.items()]
        raise ModelError(next(iter(reasons), "no windows to learn from"), where=recipe.name)
    stated = _stated(days, round(alarms))
    bundle = _bundle(recipe, baselines, refused, stated, now_us)
    least = min(len(rows[asset]) for asset in baselines)
    return replace(bundle, manifest=replace(bundle.manifest, learned_rows=least))


def _sound(rows: Floats, recipe: WaveRecipe) -> Floats:
    """The rows without windows that never change; ModelError if they are many."""
    for place, spec in zip(recipe.places, recipe.inputs, strict=False):
        silent = np.isnan(rows[:, place])
        if silent.sum() > _MAX_SILENT * len(rows):
            raise ModelError(
                f"{spec.name}: {silent.sum()} of {len(rows)} windows never change",
                hint="a dead sensor? Or learn only while the machine runs: when",
            )
    sound: Floats = rows[~np.isnan(rows).any(axis=1)]
    if len(sound) < LEAST_WAVES:
        hint = "learn from more time"
        raise ModelError(f"{len(sound)} windows of the {LEAST_WAVES} needed", hint=hint)
    return sound


def fit_waves(features: Floats, used: NDArray[np.bool_]) -> WaveBaseline:
    """The healthy state in those of the rows [n, F] that are used."""
    mine = features[used]
    center = np.median(mine, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(mine - center), axis=0), _LEAST_SPREAD)
    z = np.clip((mine - center) / spread, -_HEALTHY, _HEALTHY)
    # Rows that are held out do not count as time: sixteenths of the rest are compared.
    known = precision(z, np.arange(len(z)), len(z))
    return WaveBaseline(center, spread, z.mean(axis=0), known)


def _calibrated(features: Floats, recipe: WaveRecipe) -> tuple[WaveBaseline, int]:
    """The baseline of one asset with its limits, and the alarms that they raise in its own time.

    Each quarter of the time is judged by the other three.
    """
    n = len(features)
    part = np.arange(n) * _FOLDS // n
    judged = np.concatenate(
        [fit_waves(features, part != k).distances(features[part == k]) for k in range(_FOLDS)]
    )
    share = recipe.false_alarms_per_day * recipe.step_s / _DAY_S
    whole = fit_waves(features, np.ones(n, bool))
    own = np.quantile(whole.distances(features), _OWN_QUANTILE, axis=0)
    limits = tuple(
        max(_limit(judged[:, k], share), _MARGIN * float(own[k])) for k in range(judged.shape[1])
    )
    over = (judged >= np.array(limits)).any(axis=1)
    return replace(whole, limits=(limits[0], limits[1])), _alarms(np.asarray(over))


def _limit(scores: Floats, share: float) -> float:
    """The limit that this share of healthy windows exceeds.

    The cube root of a sum of squares is nearly normal (Wilson, Hilferty 1931). Its spread is the
    largest that a quantile above the median shows, so that a heavy tail counts.
    """
    normal = NormalDist()
    root = np.cbrt(scores)
    middle = float(np.median(root))
    quantiles = [q for q in (*_QUANTILES, 1 - 1 / (len(root) + 1)) if q < 1]
    spread = max((float(np.quantile(root, q)) - middle) / normal.inv_cdf(q) for q in quantiles)
    wider = 1 + 2 / sqrt(len(root))  # few windows tell little about a tail
    far = normal.inv_cdf(1 - min(max(share, _LEAST_SHARE), 0.01))
    return max((middle + far * spread * wider) ** 3, _MARGIN * float(scores.max()))


def _alarms(over: NDArray[np.bool_]) -> int:
    """The number of alarms: windows near each other are one."""
    at = np.flatnonzero(over)
    return int(len(at) > 0) + int((np.diff(at) > _ROWS_OF_ALARM).sum())


def _stated(days: float, alarms: int) -> dict[str, str]:
    """The manifest's facts about the limits, over all assets together."""
    return {
        "method": "each quarter of the time held out in turn; beyond what was seen a normal law "
        "of the cube root",
        "held_out_asset_days": f"{days:.4g}",
        "held_out_alarms": str(alarms),
        "at_most_per_asset_day": f"{poisson_upper(alarms) / days:.4g}",
    }


def _bundle(
    recipe: WaveRecipe,
    baselines: dict[str, WaveBaseline],
    refused: dict[str, str],
    stated: dict[str, str],
    now_us: int,
) -> LearnedBundle:
    # onnx is large and the daemon never needs it: only a process that learns imports it.
    from edge_agent.learning.waveform_graph import build_wave_graph  # noqa: PLC0415

    names = [spec.name for spec in recipe.inputs]
    onnx_bytes = build_wave_graph(
        list(baselines.values()), dict(zip(names, recipe.banks, strict=True))
    )
    manifest = Manifest(
        name=Name(recipe.name),
        version=learned_version(now_us, onnx_bytes),
        task=Task.ANOMALY,
        inputs=recipe.inputs,
        outputs=OutputNames(
            score="score",
            health="health",
            contributions="contributions",
            deviation="deviation",
        ),
        contributors=recipe.features,
        window=WindowSpec(recipe.step_s),
        threshold=1.0,
        false_alarms_per_day=promised(stated, recipe.false_alarms_per_day),
        calibration=stated | {"wanted_per_asset_day": f"{recipe.false_alarms_per_day:g}"},
        units=tuple(baselines),
        training=dict(recipe.training),
        provisional_s=recipe.provisional_s,
    )
    return LearnedBundle(manifest, onnx_bytes, golden_waves(recipe, baselines), refused)


def golden_waves(
    recipe: WaveRecipe, baselines: Mapping[str, WaveBaseline]
) -> tuple[Tensors, Tensors]:
    """Windows from healthy to far off, and the outputs of `reference_waves`; no plant data.

    Noise with the healthy energies of each band, with ever larger impacts.
    """
    units = list(baselines.values())
    unit = np.arange(_GOLDEN, dtype=np.int64) % len(units)
    random = np.random.default_rng(0)
    feeds: Tensors = {"unit": unit}
    for place, spec, bank in zip(recipe.places, recipe.inputs, recipe.banks, strict=False):
        centers = [units[u].center[place:] for u in unit.tolist()]
        noise = np.stack([_noise(center, bank, random) for center in centers])
        level = np.exp([center[:1] for center in centers])
        beats = np.arange(bank.length) % max(8, bank.length // 16) == 0
        impacts = level * beats * np.linspace(0, 20, _GOLDEN)[:, None]
        feeds[spec.name] = (noise + impacts).astype(np.float32)
    return feeds, reference_waves(recipe, units, feeds)


def _noise(center: Floats, bank: Bank, random: np.random.Generator) -> Floats:
    """Noise [length] with the energies of the bands in healthy features."""
    edges = np.array(bank.band_edges) * bank.length / bank.segment
    levels = np.exp(center[len(SHAPES) :][: len(edges) - 1])
    bins = np.arange(bank.length // 2 + 1)
    band = np.clip(np.searchsorted(edges, bins, "right") - 1, 0, len(levels) - 1)
    size = (
        levels[band] * bank.length / np.sqrt(2.0 * np.bincount(band, minlength=len(levels))[band])
    )
    size[bins < edges[0]] = 0.0
    phase = random.uniform(0, 2 * np.pi, len(bins))
    return np.asarray(np.fft.irfft(size * np.exp(1j * phase), bank.length))


def reference_waves(recipe: WaveRecipe, baselines: list[WaveBaseline], feeds: Tensors) -> Tensors:
    """The result of the graph, in numpy and double precision."""
    features = recipe.measure([feeds[spec.name].astype(float) for spec in recipe.inputs])
    units = [baselines[u] for u in feeds["unit"].tolist()]
    found = [unit.shares(row) for unit, row in zip(units, features, strict=True)]
    contributions = np.stack(found)
    score = contributions.sum(axis=1)
    away = [unit.away(row) for unit, row in zip(units, features, strict=True)]
    outputs = {
        "score": score,
        "health": 1.0 / (1.0 + score),
        "contributions": contributions,
        "deviation": np.stack(away)[:, None],
    }
    return {name: value.astype(np.float32) for name, value in outputs.items()}
