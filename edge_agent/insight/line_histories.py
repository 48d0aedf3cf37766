"""Random histories of a learned line: what each part takes at each station."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.insight.line_model import LearnedLine

    Floats = NDArray[np.float64]

_REPAIR_PRIOR: Final = 1.0  # stops that the mean of the line counts for, at each station
_STOP_PRIOR: Final = 0.5
_MOST_STOPS: Final = 20.0  # expected during one part


def draw_histories(
    line: LearnedLine, parts: int, lanes: int, rng: np.random.Generator, *, certain: bool = False
) -> tuple[Floats, Floats]:
    """Work and stops of each part, by station and lane [K, N, R].

    Each lane has its own blocks (a bootstrap) and its own rate and length of stops, as well as the
    window tells them; certain: all lanes have those of the window, so that only chance differs.
    """
    blocks = _draw_blocks(line, parts, lanes, rng, certain=certain)
    cycle_s = np.moveaxis(line.cycle_s[blocks], 2, 1)
    shape = 1 / np.square(line.cv)[None, :, None]
    work = cycle_s * rng.standard_gamma(shape, (parts, line.stations, lanes)) / shape
    rate, mean_s = _draw_stops(line, lanes, rng, certain=certain)
    return work, _draw_down(cycle_s * rate, mean_s, line.repair_cv, rng)


def _draw_blocks(
    line: LearnedLine, parts: int, lanes: int, rng: np.random.Generator, *, certain: bool
) -> NDArray[np.intp]:
    """The block of each part and lane [K, R]; a history goes through its blocks in their order."""
    count = len(line.parts)
    chosen = np.tile(np.arange(count), (lanes, 1))
    if not certain:
        chosen = np.sort(rng.integers(0, count, (lanes, count)), axis=1)
    until = np.cumsum(line.parts[chosen], axis=1)
    until /= until[:, -1:]
    place = (np.arange(parts) + 0.5) / parts
    found = [np.searchsorted(one, place) for one in until]
    return np.stack([chosen[r, one] for r, one in enumerate(found)], axis=1)


def _draw_stops(
    line: LearnedLine, lanes: int, rng: np.random.Generator, *, certain: bool
) -> tuple[Floats, Floats]:
    """Stops per second of work, and the mean length of one, by station and lane [N, R]."""
    stops, run_s = line.stops[:, None], np.maximum(line.run_s, 1.0)[:, None]
    usual_s = line.down_s.sum() / max(line.stops.sum(), 1.0)
    down_s = line.down_s[:, None] + _REPAIR_PRIOR * usual_s
    if certain:
        ones = np.ones((1, lanes))
        rate = stops / run_s * ones
        return rate, np.where(stops > 0, line.down_s[:, None] / np.maximum(stops, 1), 0.0) * ones
    size = (line.stations, lanes)
    rate = rng.standard_gamma(np.broadcast_to(stops + _STOP_PRIOR * (stops > 0), size)) / run_s
    mean_s = down_s / rng.standard_gamma(np.broadcast_to(stops + _REPAIR_PRIOR + 1, size))
    return rate, mean_s


def _draw_down(
    expected: Floats, mean_s: Floats, repair_cv: Floats, rng: np.random.Generator
) -> Floats:
    """Seconds of stops during each part [K, N, R]; expected: number of stops in each."""
    number = rng.poisson(np.minimum(expected, _MOST_STOPS))
    down = np.zeros(number.shape)
    part, station, lane = np.nonzero(number)
    shape = number[part, station, lane] / np.square(repair_cv[station])
    scale = mean_s[station, lane] * np.square(repair_cv[station])
    down[part, station, lane] = rng.standard_gamma(shape) * scale
    return down
