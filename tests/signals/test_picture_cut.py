"""Pictures: how they are cut and scaled, and whether a camera sees anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge_agent.config.cameras import View
from edge_agent.signals import HIDDEN, Look, cut, faults_of, look_at, reference_look, to_square

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Change = Callable[[Pixels], Pixels]

RNG = np.random.default_rng(7)


def scene(height: int = 120, width: int = 160) -> Pixels:
    """Blocks of random colours: edges, light and dark."""
    blocks = RNG.integers(20, 230, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width].copy()


@pytest.mark.parametrize(
    ("height", "width", "size"), [(480, 640, 224), (100, 37, 64), (20, 20, 64)]
)
def test_the_one_resize_is_antialiased_as_pillows(height: int, width: int, size: int) -> None:
    """Differences of one grey level are of rounding; fine patterns are averaged, not picked."""
    picture = RNG.integers(0, 256, (height, width, 3), np.uint8)
    wanted = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
    found = to_square(picture, size)
    assert found.shape == (size, size, 3)
    assert np.abs(found.astype(int) - np.asarray(wanted).astype(int)).max() <= 1


def test_a_picture_is_turned_then_cut_then_masked() -> None:
    picture = scene(100, 200)
    view = View(
        rotate=90, region=(0.0, 0.5, 0.5, 1.0), mask=((0.0, 0.5, 0.2, 0.5, 0.2, 0.6, 0.0, 0.6),)
    )
    pixels, hidden = cut(picture, view)
    turned = np.asarray(Image.fromarray(picture).rotate(-90, expand=True))
    assert hidden is not None
    assert pixels.shape == (100, 50, 3)
    assert (pixels[:20, :20] == HIDDEN).all()
    assert hidden.sum() == 20 * 20
    assert (pixels[~hidden] == turned[100:, :50][~hidden]).all()


def test_a_mask_of_a_file_is_scaled_to_the_picture() -> None:
    file_mask = np.array([[True, False], [False, False]])
    pixels, hidden = cut(scene(100, 200), View(), file_mask)
    assert hidden is not None
    assert hidden[:50, :100].all()
    assert hidden.sum() == 5000
    assert (pixels[hidden] == HIDDEN).all()


def test_the_picture_of_the_caller_is_not_changed() -> None:
    picture = scene()
    before = picture.copy()
    cut(picture, View(), np.ones((1, 1), np.bool_))
    assert (picture == before).all()


def look(picture: Pixels) -> Look:
    return look_at(to_square(picture, 128))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one // 10, "dark"),
        (lambda one: 235 + one // 16, "bright"),
        (lambda one: np.full_like(one, 100), "covered"),
    ],
)
def test_a_camera_that_sees_nothing_is_found_without_learning(change: Change, fault: str) -> None:
    assert faults_of(look(scene()), View()) == ()
    assert faults_of(look(change(scene())), View()) == (fault,)
    assert faults_of(look(change(scene())), View(exposure=False)) == ()


def test_a_scene_that_is_dark_by_nature_is_no_fault() -> None:
    """What the good pictures of learning look like is right for this camera."""
    night = [look(scene() // 10) for _ in range(20)]
    assert faults_of(night[0], View(), reference_look(night)) == ()
    assert faults_of(look(scene() // 60), View(), reference_look(night)) == ("dark",)


def test_a_lens_out_of_focus_is_found_beside_what_learning_saw_in_any_light() -> None:
    """Half the contrast is not blur, and a blurred picture of full contrast is."""
    reference = reference_look([look(scene()) for _ in range(20)])
    dim = 60 + scene() // 2
    assert faults_of(look(dim), View(), reference) == ()
    blurred = Image.fromarray(scene()).filter(ImageFilter.GaussianBlur(4))
    assert faults_of(look(np.asarray(blurred)), View(), reference) == ("blurred",)
    assert faults_of(look(np.asarray(blurred)), View(blur=0), reference) == ()
    assert faults_of(look(np.asarray(blurred)), View()) == ()


def test_a_mask_has_no_part_in_exposure_and_sharpness() -> None:
    picture = scene(128, 128)
    hidden = np.zeros((128, 128), np.bool_)
    hidden[:64] = True
    covered = picture.copy()
    covered[hidden] = HIDDEN
    whole, part = look_at(picture[64:]), look_at(covered, hidden)
    assert part.contrast == pytest.approx(whole.contrast)
    assert part.sharpness == pytest.approx(whole.sharpness, rel=0.1)
    assert look_at(covered, ~hidden).contrast == 0
