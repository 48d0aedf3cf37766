"""Kinds of inputs are rows; a third kind needs no other change in signals."""

from __future__ import annotations

import numpy as np
import pytest
from picture_kind import KIND, MORE_INPUTS, PictureManifest, picture

from edge_agent.config.schema import Kind
from edge_agent.config.types import Name
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.signals.bindings import Binding
from edge_agent.signals.input_kinds import (
    INPUT_KINDS,
    PICTURE_KINDS,
    BlockInputs,
    signs_of_life,
)
from edge_agent.values import BAD, TensorBlock, columns

CAMERAS = (InputSpec("top", kind=KIND, length=2), InputSpec("side", kind=KIND, length=3))
HOLD_US = 1000


def inputs() -> BlockInputs:
    """Two cameras, signals 4 and 5, of asset row 0; a picture holds for a millisecond."""
    found = BlockInputs(MORE_INPUTS[KIND], CAMERAS, 0)
    binding = Binding(HOLD_US, 0, 0)
    found.add_asset(0, [(4, binding), (5, binding)], [HOLD_US, HOLD_US])
    return found


def test_blocks_of_a_new_kind_become_windows_as_its_row_says() -> None:
    """Once both cameras have one; a picture of another size is counted, those of others are not."""
    found = inputs()
    nothing = columns([], [], [])
    assert list(found.accept_blocks(nothing, [picture(4, 10, 0.5), picture(9, 10, 0.5)])) == []
    (window,) = found.accept_blocks(nothing, [picture(5, 20, 0.25, side=3)])
    assert (window.asset, window.end_us) == (0, 20)
    assert [samples.shape for samples in window.samples.values()] == [(2, 2), (3, 3)]
    assert list(found.accept_blocks(nothing, [picture(4, 30, 0.5, side=7)])) == []
    assert (found.drain_rejected(), found.drain_rejected()) == (1, 0)


def test_a_window_holds_until_it_is_stale_void_or_withdrawn() -> None:
    """By time, by word of the pipeline, by a value of bad quality; a bad picture is not used."""
    found = inputs()
    both = [picture(4, 10, 0.5), picture(5, 20, 0.5, side=3)]

    def shown() -> None:
        assert len(list(found.accept_blocks(columns([], [], []), both))) >= 1
        assert found.newest(0, 20 + HOLD_US) is not None

    shown()
    assert found.newest(0, 21 + HOLD_US) is None
    found.shift_clock(np.array([0]), 500)
    assert found.newest(0, 520 + HOLD_US) is not None
    found.forget(np.array([0]))
    assert found.newest(0, 20) is None
    shown()
    assert (
        list(
            found.accept_blocks(columns([4], [30], [np.nan], BAD), [picture(4, 30, 1, status=BAD)])
        )
        == []
    )
    assert found.newest(0, 30) is None


def test_a_block_is_a_sign_of_life_by_the_level_of_its_kind() -> None:
    """The mean of a picture, the root mean square of a waveform; an empty block says nothing."""
    wave = TensorBlock(1, 7, 10.0, np.array([3, -3], np.float32))
    empty = TensorBlock(1, 8, 10.0, np.empty(0, np.float32))
    found = signs_of_life([picture(4, 10, 0.5), wave, empty], MORE_INPUTS)
    assert found.signal.tolist() == [4, 1]
    assert found.value.tolist() == [0.5, 3.0]
    assert found.time_us.tolist() == [10, 7]


def test_a_model_of_a_new_kind_of_input_says_its_tensors() -> None:
    """With the kind's shape, beside the window of the scalars."""
    made = PictureManifest(
        Name("weld"),
        Name("1"),
        Task.ANOMALY,
        (InputSpec("speed"), *CAMERAS),
        OutputNames(score="score"),
    )
    assert list(made.problems()) == []
    assert made.tensors() == {
        "x": ("float32", (1, 1)),
        "top": ("float32", (2, 2)),
        "side": ("float32", (3, 3)),
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (InputSpec("top", kind=KIND), "a picture needs its side as length"),
        (
            InputSpec("top", kind="smell"),
            "'smell' is not allowed (known: scalar, waveform, picture)",
        ),
        (
            InputSpec("v", kind=Kind.WAVEFORM, rate_hz=9.0, length=8),
            "scalars and only one other kind are possible",
        ),
        (InputSpec("x", kind=KIND, length=2), "a waveform or picture may not be named x"),
    ],
)
def test_what_an_input_lacks_is_told_by_its_row(wrong: InputSpec, told: str) -> None:
    """So that the manifest needs no word about the kind."""
    outputs = OutputNames(score="score")
    specs = (InputSpec("speed"), CAMERAS[1], wrong)
    made = PictureManifest(Name("weld"), Name("1"), Task.ANOMALY, specs, outputs)
    assert told in "; ".join(message for _, message in made.problems())


def test_every_kind_that_a_config_may_name_has_its_row() -> None:
    """The names in the config are those of the table; pictures come from `cameras`, not signals."""
    assert {*Kind} - {Kind.PICTURE} == {*INPUT_KINDS}
    assert set(PICTURE_KINDS) == {Kind.PICTURE}
