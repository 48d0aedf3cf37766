"""Pictures that wait for their process, and where what was seen on them is."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.config.cameras import View
from edge_agent.daemon.picture_queue import PictureQueue
from edge_agent.daemon.picture_views import boxes_of, map_json
from edge_agent.serving import Region
from edge_agent.signals import EncodedPicture

WHOLE = Region(0.5, 0.25, 0.75, 0.5, 1.0, 2.0)


def picture(camera: str, number: int, size: int = 10) -> EncodedPicture:
    return EncodedPicture(camera, bytes(size), number, number)


async def test_cameras_take_turns_and_the_oldest_of_a_busy_one_are_dropped() -> None:
    """One that sends a hundred waits no less than one that sends one; what is lost is counted."""
    queue = PictureQueue(waiting=3)
    dropped = sum(sum(queue.put(picture("busy", n)).values()) for n in range(100))
    assert queue.put(picture("calm", 7)) == {}
    assert dropped == 97
    taken = [await queue.take() for _ in range(4)]
    assert [(one.camera, one.at_ns) for one in taken] == [
        ("busy", 97),
        ("calm", 7),
        ("busy", 98),
        ("busy", 99),
    ]
    assert len(queue) == 0


async def test_the_bytes_of_all_are_bounded() -> None:
    """The camera with the most bytes gives way; the newest picture stays."""
    queue = PictureQueue(waiting=10, max_bytes=100)
    for n in range(3):
        queue.put(picture("large", n, 40))
    assert queue.put(picture("small", 9, 10)) == {}
    assert [one.at_ns for one in [await queue.take(), await queue.take()]] == [1, 9]


@pytest.mark.parametrize(
    ("rotate", "box"),
    [
        (0, (50, 10, 25, 10)),
        (90, (25, 10, 25, 10)),
        (180, (25, 20, 25, 10)),
        (270, (50, 20, 25, 10)),
    ],
)
def test_a_box_is_in_pixels_of_the_picture_as_it_came(
    rotate: int, box: tuple[int, int, int, int]
) -> None:
    """Whatever the view turned: a dot that is drawn there is found there by NumPy's own turn."""
    (found,) = boxes_of([WHOLE], View(rotate=rotate), 100, 40)
    assert (found.x, found.y, found.width, found.height) == box
    came = np.zeros((40, 100))
    came[found.y : found.y + found.height, found.x : found.x + found.width] = 1
    turned = np.rot90(came, -rotate // 90)
    rows, columns = np.nonzero(turned)
    height, width = turned.shape
    assert (columns.min() / width, rows.min() / height) == (WHOLE.left, WHOLE.top)


def test_a_box_is_moved_by_the_region() -> None:
    (found,) = boxes_of([WHOLE], View(region=(0.5, 0.5, 1.0, 1.0)), 100, 40)
    assert (found.x, found.y, found.width, found.height) == (75, 25, 13, 5)


def test_a_map_that_is_flat_or_not_finite_is_shown_all_the_same() -> None:
    assert map_json(np.full((2, 2), np.nan, np.float32))["values"] == "AAAAAA=="
    shown = map_json(np.array([[0.0, np.inf], [1.0, 2.0]], np.float32))
    assert (shown["low"], shown["high"], shown["values"]) == (0.0, 2.0, "AP+A/w==")
