"""The bundle of baselines of waveforms: what is measured, its manifest, and its golden vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.learned_bundle import LearnedBundle, manifest_of
from edge_agent.learning.waveform import SHAPES, Bank, Orders, measure
from edge_agent.models import InputSpec, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.waveform_conditions import WaveBaseline
    from edge_agent.models import Tensors

    Floats = NDArray[np.float64]

_GOLDEN: Final = 8


@dataclass(frozen=True)
class WaveRecipe:
    """The parameters of learning waveforms, without the data.

    step_s: seconds from window to window when they are scored; spacing_s: the same of the rows, 0:
    as step_s. lines, orders: see `Bank`. conditions: scalar inputs that the features may depend on;
    speed_hz: turns of the shaft per second for each unit of the first one, 0: it is no speed.
    provisional_s: see `Manifest`.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    step_s: float = 1.0
    spacing_s: float = 0.0
    false_alarms_per_day: float = 0.1
    lines: tuple[tuple[str, float], ...] = ()
    orders: Orders = ()
    conditions: tuple[InputSpec, ...] = ()
    speed_hz: float = 0.0
    training: tuple[tuple[str, str], ...] = ()
    provisional_s: float = 0.0

    @cached_property
    def banks(self) -> tuple[Bank, ...]:
        """What is measured in each input."""
        known = self.lines, self.orders
        return tuple(Bank(spec.rate_hz, spec.length, *known) for spec in self.inputs)

    @property
    def places(self) -> list[int]:
        """The place of the first feature of each input, and of the end."""
        return [0, *accumulate(bank.size for bank in self.banks)]

    @property
    def features(self) -> tuple[str, ...]:
        """The features of all inputs, by name."""
        pairs = zip(self.inputs, self.banks, strict=True)
        return tuple(f"{spec.name}: {name}" for spec, bank in pairs for name in bank.names)

    def measure(
        self, samples: Sequence[NDArray[np.floating]], conditions: Floats | None = None
    ) -> Floats:
        """The features [N, F] of windows of all inputs, [N, length] each, given conditions [N, K].

        NaN if the speed is needed and not known, or if the machine stands.
        """
        speed_hz = None
        if conditions is not None and self.speed_hz:
            speed_hz = conditions[:, 0] * self.speed_hz
            speed_hz = np.where(np.nan_to_num(speed_hz) > 0, speed_hz, np.nan)
        pairs = zip(samples, self.banks, strict=True)
        found = np.concatenate([measure(wave, bank, speed_hz) for wave, bank in pairs], axis=1)
        if speed_hz is not None:
            found[np.isnan(speed_hz)] = np.nan
        return found


def bundle_of(
    recipe: WaveRecipe,
    baselines: dict[str, WaveBaseline],
    refused: dict[str, str],
    stated: dict[str, str],
    now_us: int,
) -> LearnedBundle:
    """The bundle of these baselines, by asset. stated: facts about their limits."""
    # onnx is large and the daemon never needs it: only a process that learns imports it.
    from edge_agent.learning.waveform_graph import build_wave_graph  # noqa: PLC0415

    names, count = [spec.name for spec in recipe.inputs], len(recipe.conditions)
    banks = dict(zip(names, recipe.banks, strict=True))
    onnx_bytes = build_wave_graph(list(baselines.values()), banks, count, recipe.speed_hz)
    manifest = manifest_of(
        recipe,
        onnx_bytes,
        now_us,
        stated,
        inputs=(*recipe.conditions, *recipe.inputs),
        window=WindowSpec(recipe.step_s, at_blocks=bool(recipe.conditions)),
        units=baselines,
    )
    manifest = replace(manifest, contributors=recipe.features)
    return LearnedBundle(manifest, onnx_bytes, golden_waves(recipe, baselines), refused)


def golden_waves(
    recipe: WaveRecipe, baselines: Mapping[str, WaveBaseline]
) -> tuple[Tensors, Tensors]:
    """Windows from healthy to far off, and the outputs of `reference_waves`; no plant data.

    Noise with the healthy energies of each band, with ever larger impacts; conditions in all parts
    of their ranges.
    """
    units = list(baselines.values())
    unit = np.arange(_GOLDEN, dtype=np.int64) % len(units)
    random = np.random.default_rng(0)
    conditions = _golden_conditions(recipe)
    pairs = zip(unit.tolist(), conditions, strict=True)
    centers = [units[u].center + units[u].given.explained(row[None])[0] for u, row in pairs]
    feeds: Tensors = {"unit": unit}
    if recipe.conditions:
        feeds["x"] = conditions[:, None].astype(np.float32)
    for place, spec, bank in zip(recipe.places, recipe.inputs, recipe.banks, strict=False):
        mine = [center[place:] for center in centers]
        noise = np.stack([_noise(center, bank, random) for center in mine])
        level = np.exp([center[:1] for center in mine])
        beats = np.arange(bank.length) % max(8, bank.length // 16) == 0
        impacts = level * beats * np.linspace(0, 20, _GOLDEN)[:, None]
        feeds[spec.name] = (noise + impacts).astype(np.float32)
    return feeds, reference_waves(recipe, units, feeds)


def _golden_conditions(recipe: WaveRecipe) -> Floats:
    """Conditions from the beginning to the end of their ranges, [golden rows, K]."""
    ranges = [spec.valid or (0.0, 1.0) for spec in recipe.conditions]
    low, high = np.array(ranges, float).reshape(-1, 2).T
    share = np.linspace(0.05, 0.95, _GOLDEN)[:, None]
    return np.asarray((low + (high - low) * share).astype(np.float32), float)


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
    rows, count = len(feeds["unit"]), len(recipe.conditions)
    conditions = feeds.get("x", np.empty((rows, 1, count), np.float32))[:, 0].astype(float)
    waves = [feeds[spec.name].astype(float) for spec in recipe.inputs]
    features = recipe.measure(waves, conditions)
    units = [baselines[u] for u in feeds["unit"].tolist()]
    z = [unit.scaled(features[n : n + 1], conditions[n : n + 1])[0] for n, unit in enumerate(units)]
    contributions = np.stack([unit.shares(row) for unit, row in zip(units, z, strict=True)])
    score = contributions.sum(axis=1)
    away = [row - unit.middle for unit, row in zip(units, z, strict=True)]
    outputs = {
        "score": score,
        "health": 1.0 / (1.0 + score),
        "contributions": contributions,
        "deviation": np.stack(away)[:, None],
    }
    return {name: value.astype(np.float32) for name, value in outputs.items()}
