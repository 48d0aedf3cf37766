"""The variants of a model (fp32, int8, ..) on this device: which agree with fp32, which is fastest.

The reference is fp32's output for the golden vectors. A variant must agree with it on the healthy
and on the anomalous rows, each separately: int8 is calibrated on a range, and clamps beyond it.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.kinds import FP32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Golden, Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.tasks import Role

    Run = Callable[[Mapping[str, NDArray[Any]]], object]
    Mask = NDArray[np.bool_]
    Clock = Callable[[], float]

MAX_DIFFERENCE: Final = 0.01
_MAX_SIZES: Final = 4  # of batches in a report
_FASTER: Final = 0.95  # of fp32's time, at most: a smaller gain is noise, and fp32 is exact
_WARM_UP: Final = 2
_MIN_RUNS: Final = 9
_MAX_RUNS: Final = 300
_BUDGET_S: Final = 0.4  # for one batch size of one variant
PATIENCE_S: Final = 10.0  # for one batch size of all variants of a model that is slow
_US: Final = 1e6
_MAX_TEXT: Final = 400


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements of one variant on this device.

    p50_us: the median run in microseconds, on one thread, by batch size. relative: the sum of the
    best runs, relative to fp32's, run alternately with it; variants are compared by it.
    difference: from fp32, the worst of all outputs and of healthy and anomalous rows (relative, of
    probabilities absolute). refused: why it is not used; empty if it may be.
    """

    variant: str
    p50_us: tuple[tuple[int, float], ...] = ()
    relative: float = 1.0
    difference: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The variant that this device uses, and why: the figures of all, fp32 first.

    steady: no value of an input can change the time or the memory of a run, of any variant.
    """

    chosen: str = FP32
    figures: tuple[Figures, ...] = ()
    steady: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain JSON: `chosen`, `steady` and `figures`, with p50_us as a map by batch size."""
        rows = [asdict(f) | {"p50_us": {str(n): us for n, us in f.p50_us}} for f in self.figures]
        return {"chosen": self.chosen, "figures": rows, "steady": self.steady}


def parse_trial(found: object, manifest: Manifest) -> Trial:
    """A child's report; an empty trial (fp32) if it is not valid.

    The child has run the model, so its report is checked like any untrusted input.
    """
    try:
        chosen = str(found["chosen"])  # type: ignore[index]
        figures = tuple(_parsed(row) for row in found["figures"])  # type: ignore[index]
        steady = found["steady"] is True  # type: ignore[index]
    except (TypeError, KeyError, ValueError, AttributeError, IndexError):
        return Trial()
    known = {FP32, *manifest.variants}
    if chosen not in known or not {row.variant for row in figures} <= known:
        return Trial()
    return Trial(chosen, figures[: len(known)], steady)


def _parsed(row: Mapping[str, Any]) -> Figures:
    pairs = tuple((int(n), float(us)) for n, us in row["p50_us"].items())[:_MAX_SIZES]
    relative, difference = float(row["relative"]), float(row["difference"])
    numbers = [relative, difference, *(us for _, us in pairs)]
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    refused = "".join(c if c.isprintable() else " " for c in str(row["refused"])[:_MAX_TEXT])
    return Figures(str(row["variant"]), pairs, relative, difference, refused)


# -- agreement --------------------------------------------------------------------------------


def parity(manifest: Manifest, golden: Golden, found: Tensors) -> tuple[float, str]:
    """How far `found` is from fp32's golden outputs: (worst difference, why that is too far).

    Of healthy and of anomalous rows separately: score and remaining life within 1 % of fp32's
    mean size and on the same side of the threshold (except within 1 % of it: sides do not
    count there); probabilities with the same first class and, as health, within 0.01; contributions
    within 1 % of the score. Without both kinds of rows agreement is unknown: too far as well.
    """
    worst = 0.0
    groups = row_groups(manifest, golden)
    for kind, rows in groups.items():
        if not rows.any():
            return worst, f"the golden vectors contain no {kind} rows to compare on"
        for role, tensor in manifest.outputs.named().items():
            got, wanted = found[tensor][rows], golden.outputs[tensor][rows]
            if got.shape != wanted.shape or not (np.isfinite(got) == np.isfinite(wanted)).all():
                return worst, f"{kind} rows: {role} has not the shape and gaps of fp32's"
            meaning = manifest.task_row.roles[role]
            off = _difference(meaning, got, wanted, _scale(manifest, golden, role, rows))
            worst = max(worst, off)
            if off > MAX_DIFFERENCE:
                return worst, f"{kind} rows: {role} is {off:.2%} off fp32's"
    return worst, _other_side(manifest, golden, found)


def row_groups(manifest: Manifest, golden: Golden) -> dict[str, Mask]:
    """Masks of the healthy and the anomalous golden rows; if none is marked, by the threshold."""
    if golden.anomalous is not None:
        anomalous = golden.anomalous.astype(bool)
    else:
        watched, limit = decision(manifest, golden.outputs)
        anomalous = watched < limit if manifest.task_row.falls else watched >= limit
    return {"healthy": ~anomalous, "anomalous": anomalous}


def decision(manifest: Manifest, outputs: Tensors) -> tuple[NDArray[np.float64], float]:
    """The watched quantity [N], which is compared with the threshold, and the threshold."""
    row = manifest.task_row
    needed = outputs[manifest.outputs.named()[row.needs]].astype(np.float64)
    shape = manifest.output_shape(row.needs)
    if needed.size != len(needed) * math.prod(shape):
        raise ModelError(f"golden vectors: {row.needs} has shape {needed.shape}, not [N, *{shape}]")
    return row.watched(needed.reshape(-1, *shape)), manifest.threshold


def _other_side(manifest: Manifest, golden: Golden, found: Tensors) -> str:
    """Rows on the other side of the threshold, or of another class, as text; empty if none."""
    wanted, limit = decision(manifest, golden.outputs)
    got, _ = decision(manifest, found)
    clear = np.abs(wanted - limit) > MAX_DIFFERENCE * limit
    moved = int(np.count_nonzero(clear & ((wanted >= limit) != (got >= limit))))
    if moved:
        return f"{moved} rows are on the other side of the threshold than fp32's"
    for role, tensor in manifest.outputs.named().items():
        if manifest.task_row.roles[role].same_class:
            same = found[tensor].argmax(axis=1) == golden.outputs[tensor].argmax(axis=1)
            if not same.all():
                return f"{np.count_nonzero(~same)} rows have another class than fp32's"
    return ""


def _scale(manifest: Manifest, golden: Golden, role: str, rows: Mask) -> float:
    """The size that a difference is relative to."""
    tensor = manifest.outputs.named().get(manifest.task_row.roles[role].relative_to)
    return _mean_size(golden.outputs[tensor][rows]) if tensor else 1.0


def _mean_size(array: NDArray[Any]) -> float:
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.mean()) if len(finite) else 0.0


def _difference(role: Role, got: NDArray[Any], wanted: NDArray[Any], scale: float) -> float:
    """The mean difference by that scale; of the worst column, if each counts separately."""
    off = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    by_column = off.reshape(len(off), -1) if role.by_column else off.reshape(-1, 1)
    means = [_mean_size(column) for column in by_column.T]
    largest = max(means)
    return largest / scale if scale else (0.0 if largest == 0 else math.inf)


# -- timing -----------------------------------------------------------------------------------


class Timing(NamedTuple):
    """Microseconds of fp32 and of a variant at one batch size: the median and the best run."""

    batch: int
    p50_us: tuple[float, float]
    best_us: tuple[float, float]


def compare(
    pair: tuple[Run, Run],
    inputs: Tensors,
    sizes: Sequence[int],
    patience_s: float,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time fp32 and a variant alternately, so that other load affects both.

    sizes: of the batches. patience_s: for a batch size, if even few runs take long.
    """
    return [_timing(pair, _tiled(inputs, rows), rows, patience_s, clock) for rows in sizes]


def _timing(
    pair: tuple[Run, Run], feeds: Tensors, batch: int, patience_s: float, clock: Clock
) -> Timing:
    times: tuple[list[float], list[float]] = ([], [])
    begun = clock()
    for turn in range(_MAX_RUNS):
        used = clock() - begun
        if used > patience_s or (used > _BUDGET_S and turn >= _MIN_RUNS):
            break
        for run, taken in zip(pair, times, strict=True):
            start = clock()
            run(feeds)
            taken.append(_US * (clock() - start))
    warm = [taken[_WARM_UP:] or taken for taken in times]
    p50_us = (statistics.median(warm[0]), statistics.median(warm[1]))
    return Timing(batch, p50_us, (min(warm[0]), min(warm[1])))


def _tiled(inputs: Tensors, rows: int) -> Tensors:
    """That many rows, the golden ones repeated."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


def choose(figures: tuple[Figures, ...]) -> str:
    """The fastest variant that agrees with fp32 (the first) and is clearly faster than it."""
    fp32, *others = figures
    fit = [f for f in others if not f.refused]
    return min(fit, key=lambda f: f.relative, default=fp32).variant


def too_slow(relative: float) -> str:
    """Why a variant with that part of fp32's time is not used; empty if it is fast enough."""
    return "" if relative <= _FASTER else f"no faster: {relative:.0%} of fp32's time"


def timed(variant: str, timings: Sequence[Timing], difference: float) -> Figures:
    """The figures of a variant that agrees.

    Compared by the best runs: other work on the machine can only make a run longer.
    """
    fp32, mine = (sum(timing.best_us[index] for timing in timings) for index in (0, 1))
    relative = mine / fp32 if fp32 else 1.0
    p50_us = tuple((timing.batch, timing.p50_us[1]) for timing in timings)
    return Figures(variant, p50_us, relative, difference, too_slow(relative))
