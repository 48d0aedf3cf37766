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

# `away` from the middle in sigmas, less the season at the hour. An unknown hour is the row of zeros
# after all points.
SEASON: Final[_Nodes] = (
    ("Mul", "away sigma_scale_n", "sigmas", {}),
    ("Less", "hour nothing", "is_unknown", {}),
    ("Mul", "hour points_per_hour", "hour_point", {}),
    ("Mod", "hour_point points", "season_point", {"fmod": 1}),
    ("Floor", "season_point", "lower", {}),
    ("Sub", "season_point lower", "past_lower", {}),
    ("Add", "lower one", "next", {}),
    ("Mod", "next points", "upper", {"fmod": 1}),
    ("Sub", "unit unit", "of_each", {}),
    ("Unsqueeze", "unit last_axis", "unit_column", {}),
    *(
        node
        for end in ("lower", "upper")
        for node in (
            ("Where", f"is_unknown points {end}", f"{end}_known", {}),
            ("Cast", f"{end}_known", f"{end}_number", {"to": _INT64}),
            ("Add", f"{end}_number of_each", f"{end}_each", {}),
            ("Unsqueeze", f"{end}_each last_axis", f"{end}_column", {}),
            ("Concat", f"unit_column {end}_column", f"{end}_place", {"axis": 1}),
            ("GatherND", f"season {end}_place", f"{end}_season", {}),
        )
    ),
    ("Sub", "upper_season lower_season", "season_step", {}),
    ("Unsqueeze", "past_lower past_axes", "past_n", {}),
    ("Mul", "season_step past_n", "season_past", {}),
    ("Add", "lower_season season_past", "season_now", {}),
    ("Sub", "sigmas season_now", "deviation", {}),
)


def season_tables(seasons: Sequence[Floats]) -> dict[str, NDArray[np.generic]]:
    """The constants of these nodes, from the season [B, S, C] of each asset."""
    points = max(map(len, seasons))
    table = np.stack([_padded(each, points) for each in seasons])
    return {
        "season": table.astype(np.float32),
        HOUR: np.array([-1], np.float32),
        "points": np.array(points, np.float32),
        "points_per_hour": np.array(POINTS_PER_HOUR, np.float32),
        "past_axes": np.array([1, 2], np.int64),
        "nothing": np.array(0.0, np.float32),
    }


def _padded(season: Floats, points: int) -> Floats:
    """A season [B, S, C], repeated to `points`, and a row of none."""
    whole = np.tile(season, (points // len(season), 1, 1))
    return np.concatenate([whole, np.zeros_like(whole[:1])])
