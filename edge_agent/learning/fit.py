"""Learning a baseline from healthy rows: checks, calibration, and the resulting bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.config.schema import LEAST_ROWS, LEAST_WINDOWS
from edge_agent.errors import ModelError
from edge_agent.learning.calibration import (
    Calibration,
    detected_share,
    length_for_cycles,
    stated,
    unusual_text,
    unusual_time,
)
from edge_agent.learning.choice import NO_RIVALS, Fitting, Rivals, choose
from edge_agent.learning.cycles import told_period
from edge_agent.learning.estimation import fit
from edge_agent.learning.forms import LAMBDAS
from edge_agent.learning.golden import golden_of
from edge_agent.learning.learned_bundle import LearnedBundle, manifest_of
from edge_agent.learning.scaling import (
    always_new,
    constant_floor,
    counters,
    offsets,
    rates,
    stride_of,
)
from edge_agent.learning.statistics import Baseline, has_season, judge, window_ends
from edge_agent.learning.threshold import own_factor
from edge_agent.models import (
    ALWAYS_NEW,
    DRIFT_MEMORY_S,
    DRIFT_MEMORY_WINDOWS,
    Histogram,
    InputSpec,
    WindowSpec,
    histogram_of_units,
    local_hours,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from edge_agent.learning.statistics import Floats

    Rows = Mapping[str, NDArray[np.floating]]
    Times = Mapping[str, NDArray[np.int64]]

_MEMORY_ROWS: Final = round(1 / min(LAMBDAS))
_MAX_UNUSUAL: Final = 5  # assets that are named
_HOLD: Final = 0.2  # of a window: the share that may be missing in the daemon


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parameters of learning, without the data.

    step_s = 0: one row for each distinct time stamp, about `row_interval_s` apart. training: facts
    about the data for the manifest. provisional_s: see `Manifest`. modes: true for inputs that are
    conditions, see `Plan`; period: of the machine's cycle in rows, None: found from the data, 0:
    none; start: the input that rises at the start of each cycle, None: there is none. longest: rows
    that a window may have instead of `length`, if a cycle is longer. zone: the IANA time zone of
    seasons.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    step_s: float = 1.0
    length: int = 64
    hop: int = 1
    false_alarms_per_day: float = 0.1
    row_interval_s: float = 1.0
    training: tuple[tuple[str, str], ...] = ()
    provisional_s: float = 0.0
    modes: tuple[bool, ...] = ()
    period: float | None = None
    start: int | None = None
    longest: int = 0
    zone: str = "UTC"

    @property
    def interval_s(self) -> float:
        """Seconds between two rows."""
        return self.step_s or self.row_interval_s


def learn(
    rows: Rows,
    recipe: Recipe,
    *,
    now_us: int,
    times_us: Times | None = None,
    rivals: Rivals = NO_RIVALS,
) -> LearnedBundle:
    """A baseline for each asset from its healthy rows.

    rows: [T, C] by asset, on the model's grid, oldest first; a cell of NaN is a gap, a row of
    only NaN a break in time. times_us: of the rows [T] by asset; without them no season is sought.
    now_us determines the version, so that the same data results in the same bytes. rivals: students
    that are tried as well. ModelError if no asset has enough healthy data.
    """
    hours = {asset: local_hours(times, recipe.zone) for asset, times in (times_us or {}).items()}
    found = _learned(rows, recipe, rivals, hours)
    length = length_for_cycles(found.calibrations, recipe.length, recipe.longest)
    if length > recipe.length:
        longer = replace(recipe, length=length)
        other = _learned(rows, longer, rivals, hours)
        if len(other.baselines) == len(found.baselines) and other.detected > found.detected:
            recipe, found = longer, other
    if not found.baselines:
        reasons = [f"{asset}: {reason}" for asset, reason in found.refused.items()]
        raise ModelError(next(iter(reasons), "no rows to learn from"), where=recipe.name)
    return _bundle(recipe, rows, found, now_us, times_us or {})


class _Learned(NamedTuple):
    """Baselines by asset with their calibrations; refused assets with the reason."""

    baselines: dict[str, Baseline]
    calibrations: list[Calibration]
    refused: dict[str, str]

    @property
    def detected(self) -> float:
        """The mean share of injected faults that the chosen forms detect."""
        return detected_share(self.calibrations)


def _learned(rows: Rows, recipe: Recipe, rivals: Rivals, hours: Mapping[str, Floats]) -> _Learned:
    found = _Learned({}, [], {})
    for asset, values in rows.items():
        try:
            cleaned, hour = _cleaned(values, recipe), hours.get(asset)
            baseline, calibration = _calibrated(cleaned, recipe, rivals, hour)
        except ModelError as error:
            found.refused[asset] = str(error)
        else:
            found.baselines[asset] = baseline
            found.calibrations.append(calibration)
    return found


def _healthy(recipe: Recipe, rows: Rows, baselines: dict[str, Baseline]) -> dict[str, Histogram]:
    """The distribution of each input; without counters, whose readings never repeat."""
    counting = _counting(baselines)
    return {
        spec.name: histogram_of_units(
            [
                np.asarray(rows[asset][:, channel], np.float64) - baseline.offset[channel]
                for asset, baseline in baselines.items()
            ],
            [float(baseline.center[channel]) for baseline in baselines.values()],
            [float(baseline.spread[channel]) for baseline in baselines.values()],
            round(max(DRIFT_MEMORY_S / recipe.interval_s, DRIFT_MEMORY_WINDOWS * recipe.hop)),
        )
        for channel, spec in enumerate(recipe.inputs)
        if not counting[channel]
    }


def _counting(baselines: dict[str, Baseline]) -> NDArray[np.bool_]:
    """True for inputs that are counters on any of the assets, [C]."""
    return np.asarray(np.array([each.counter for each in baselines.values()]).any(axis=0))


def _bundle(
    recipe: Recipe, rows: Rows, found: _Learned, now_us: int, times_us: Times
) -> LearnedBundle:
    # onnx is large and the daemon never needs it: only a process that learns imports it.
    from edge_agent.learning.graph import build_graph  # noqa: PLC0415

    baselines, units = found.baselines, list(found.baselines.values())
    onnx_bytes = build_graph(units, recipe.length)
    manifest = manifest_of(
        recipe,
        onnx_bytes,
        now_us,
        _stated(recipe, rows, baselines, found.calibrations) | _unusual(recipe, found, times_us),
        inputs=_read_by(recipe.inputs, units),
        window=WindowSpec(recipe.step_s, recipe.length, recipe.hop),
        units=baselines,
    )
    manifest = replace(
        manifest,
        season_zone=recipe.zone if any(map(has_season, units)) else "",
        healthy=_healthy(recipe, rows, baselines),
        learned_rows=min(len(rows[asset]) for asset in baselines),
    )
    return LearnedBundle(manifest, onnx_bytes, golden_of(units, recipe.length), found.refused)


def _read_by(inputs: Iterable[InputSpec], baselines: list[Baseline]) -> tuple[InputSpec, ...]:
    """Inputs with the changes that the daemon makes to their values before the graph."""
    found = []
    for channel, spec in enumerate(inputs):
        offset = tuple(float(each.offset[channel]) for each in baselines)
        counter = tuple(bool(each.counter[channel]) for each in baselines)
        offset, counter = offset if any(offset) else (), counter if any(counter) else ()
        found.append(replace(spec, offset=offset, counter=counter))
    return tuple(found)


def _cleaned(rows: NDArray[np.floating], recipe: Recipe) -> Floats:
    """Rows [T, C], short gaps held, longer ones left open; ModelError if too little is left."""
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or values.shape[1] != len(recipe.inputs):  # noqa: PLR2004
        raise ModelError(f"rows are {values.shape}, not [T, {len(recipe.inputs)}]")
    values = np.where(np.isfinite(values), values, np.nan)
    empty = [recipe.inputs[i].name for i in np.flatnonzero(np.isnan(values).all(axis=0))]
    if empty:
        hint = "assign signals with values to these inputs, or learn without them"
        raise ModelError(f"no value at all of {', '.join(empty)}", hint=hint)
    held = _hold(values, max(1, int(_HOLD * recipe.length)))
    whole = int((~np.isnan(held).any(axis=1)).sum())
    needed = max(LEAST_ROWS, LEAST_WINDOWS * recipe.length)
    if whole < needed:
        hint = "learn from more time, or with a shorter window"
        raise ModelError(f"{whole} complete rows of the {needed} needed", hint=hint)
    return held


def _hold(values: Floats, at_most: int) -> Floats:
    """Hold the last value for `at_most` rows, never across a row of only NaN."""
    index = np.arange(len(values))[:, None]
    hole = np.isnan(values)
    last = np.maximum.accumulate(np.where(hole, -1, index), axis=0)
    broken = np.maximum.accumulate(np.where(hole.all(axis=1, keepdims=True), index, -1), axis=0)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where((last > broken) & (index - last <= at_most), held, np.nan)


def _calibrated(
    values: Floats, recipe: Recipe, rivals: Rivals, hour: Floats | None
) -> tuple[Baseline, Calibration]:
    """Baseline and limits of one asset, of the form that detects most in its held-out time."""
    counter = counters(values)
    rows = rates(values, counter)
    judged = ~np.array(recipe.modes or (False,) * rows.shape[1], bool)
    if not (np.nanmax(rows, axis=0) > np.nanmin(rows, axis=0))[judged].any():
        what = "no input has moved" if judged.all() else "conditions apart, no input has moved"
        hint = "learn from time in which the machine runs; it would never raise an alarm"
        raise ModelError(f"{what} in all the time", hint=hint)
    constant = constant_floor(rows, [spec.valid for spec in recipe.inputs])
    offset = offsets(rows)
    rows = rows - offset
    fitting = Fitting(
        rows,
        constant,
        recipe.length,
        recipe.interval_s,
        max(recipe.hop, _MEMORY_ROWS),
        recipe.false_alarms_per_day,
        rivals,
        hour,
    )
    start = None if recipe.start is None else values[:, recipe.start]
    counts = recipe.start is not None and bool(counter[recipe.start])
    period, cycle = told_period(start, recipe.period, counts=counts)
    tried, longest = choose(fitting, recipe.modes, period, recipe.longest)
    limits = tried[0].limits
    whole = fit(rows, np.ones(len(rows), bool), constant, recipe.length, tried[0].plan, hour=hour)
    baseline = whole.limited(limits.limit)
    stride = stride_of(len(rows))
    own = judge(baseline, rows, stride, hour).max(axis=1)
    factor = own_factor(own[~np.isnan(own)])
    unusual = unusual_time(rows, own, window_ends(len(rows), recipe.length, stride), factor)
    baseline = replace(baseline.limited(limits.limit * factor), counter=counter, offset=offset)
    calibration = Calibration(
        limits.days, limits.alarms(factor), tuple(tried), longest, cycle, unusual
    )
    return baseline, calibration


def _unusual(recipe: Recipe, found: _Learned, times_us: Times) -> dict[str, str]:
    """The learned time of each asset that is far from the rest, for the manifest."""
    texts = []
    for asset, each in zip(found.baselines, found.calibrations, strict=True):
        if each.unusual is not None:
            name = recipe.inputs[each.unusual.channel].name
            text = unusual_text(each.unusual, name, times_us.get(asset))
            texts.append(f"{asset}: {text}" if len(found.baselines) > 1 else text)
    more = f"; {len(texts) - _MAX_UNUSUAL} more assets" if len(texts) > _MAX_UNUSUAL else ""
    return {"unusual": "; ".join(texts[:_MAX_UNUSUAL]) + more} if texts else {}


def _stated(
    recipe: Recipe,
    rows: Rows,
    baselines: dict[str, Baseline],
    calibrations: list[Calibration],
) -> dict[str, str]:
    """The manifest's facts about limit and inputs, over all assets together."""
    new = np.all([always_new(np.asarray(rows[asset], np.float64)) for asset in baselines], axis=0)
    modes = [spec.name for spec, mode in zip(recipe.inputs, recipe.modes, strict=False) if mode]
    counting = [recipe.inputs[channel].name for channel in np.flatnonzero(_counting(baselines))]
    less = [s.name for s in _read_by(recipe.inputs, list(baselines.values())) if s.offset]
    inputs = {
        "conditions": modes,
        "judged_by_their_rate": counting,
        "read_less_an_offset": less,
        ALWAYS_NEW: [recipe.inputs[channel].name for channel in np.flatnonzero(new)],
    }
    return stated(calibrations) | {key: ", ".join(names) for key, names in inputs.items() if names}
