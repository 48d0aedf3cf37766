"""The part of a baseline's graph that subtracts the season of its middle; see `season`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.learning.season import POINTS_PER_HOUR
from edge_agent.models import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]  # operator, inputs, output, attributes
_INT64: Final = 7  # of ONNX's TensorProto

# `away` from the middle in sigmas, less the season at the hour, between two points. An unknown hour
# is between two rows of zeros after all points.
SEASON: Final[_Nodes] = (
    ("Mul", "away sigma_scale_n", "sigmas", {}),
    ("Mul", "hour points_per_hour", "hour_point", {}),
    ("Mod", "hour_point points", "season_point", {"fmod": 1}),
    ("Floor", "season_point", "whole_point", {}),
    ("Sub", "season_point whole_point", "past_point", {}),
    ("Less", "hour nothing", "is_unknown", {}),
    ("Where", "is_unknown unknown_point whole_point", "known_point", {}),
    ("Cast", "known_point", "season_row", {"to": _INT64}),
    ("Mul", "unit season_rows", "unit_row", {}),
    ("Add", "unit_row season_row", "lower_row", {}),
    ("Add", "lower_row rows", "upper_row", {}),
    ("Gather", "season lower_row", "lower_season", {"axis": 0}),
    ("Gather", "season upper_row", "upper_season", {"axis": 0}),
    ("Sub", "upper_season lower_season", "season_step", {}),
    ("Unsqueeze", "past_point past_axes", "past_n", {}),
    ("Mul", "season_step past_n", "season_past", {}),
    ("Add", "lower_season season_past", "season_now", {}),
    ("Sub", "sigmas season_now", "deviation", {}),
)


def season_tables(seasons: Sequence[Floats]) -> dict[str, NDArray[np.generic]]:
    """The constants of these nodes, from the season [B, S, C] of each asset."""
    points = max(map(len, seasons))
    table = np.concatenate([_padded(each, points) for each in seasons])
    return {
        "season": table.astype(np.float32),
        HOUR: np.array([-1], np.float32),
        "points": np.array(points, np.float32),
        "points_per_hour": np.array(POINTS_PER_HOUR, np.float32),
        "unknown_point": np.array(points + 1, np.float32),
        "season_rows": np.array(points + 3, np.int64),
        "past_axes": np.array([1, 2], np.int64),
        "nothing": np.array(0.0, np.float32),
    }


def _padded(season: Floats, points: int) -> Floats:
    """A season [B, S, C] repeated to `points`, its first point again, and two rows of zeros."""
    whole = np.tile(season, (points // len(season), 1, 1))
    none = np.zeros_like(whole[:1])
    return np.concatenate([whole, whole[:1], none, none])
