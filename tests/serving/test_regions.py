"""Connected regions of a map above its limit."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.serving.regions import MOST, regions_of


def test_cells_that_touch_are_one_region_and_the_largest_comes_first() -> None:
    """Also at a corner; its place is told as shares of the map, its share by what is above."""
    heat = np.zeros((4, 8), np.float32)
    heat[0, 0] = heat[1, 1] = 2.0  # they touch at a corner
    heat[3, 6:8] = 4.0
    first, second = regions_of(heat, 1.0)
    assert first[:4] == (6 / 8, 3 / 4, 1.0, 1.0)
    assert second[:4] == (0.0, 0.0, 2 / 8, 2 / 4)
    assert first.share == pytest.approx(6 / 8)
    assert first.share + second.share == pytest.approx(1.0)
    assert (first.peak, second.peak) == (4.0, 2.0)


def test_a_long_snake_is_one_region() -> None:
    heat = np.ones((9, 9), np.float32)
    heat[1::4, :-1] = heat[3::4, 1:] = 0.0
    assert len(regions_of(heat, 0.5)) == 1


def test_without_a_cell_above_the_limit_the_hottest_place_is_shown() -> None:
    """The score may be over its limit although no cell is: it is no maximum of the map."""
    heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert regions_of(heat, 5.0)[0][2:4] == (1.0, 1.0)


def test_no_map_no_region_and_many_are_cut() -> None:
    """Whatever a graph answers: nothing that is not finite, and never more than MOST."""
    assert regions_of(np.full((3, 3), np.nan, np.float32), 1.0) == []
    assert regions_of(np.zeros((0, 0), np.float32), 1.0) == []
    dots = np.zeros((20, 20), np.float32)
    dots[::2, ::2] = 3.0
    dots[0, 0] = np.inf
    assert len(regions_of(dots, 1.0)) == MOST
