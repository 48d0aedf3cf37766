"""A model that takes pictures beside scalars, by rows alone: from a block to an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_plants import BEGIN_S, Live, of
from onnx import helper
from picture_kind import KIND, MORE_INPUTS, PictureManifest, picture
from plants import S

from edge_agent.config.schema import Signal
from edge_agent.config.types import Name
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.runtime.graph_engine import model_of_graph
from edge_agent.models.runtime.reference import Reference
from edge_agent.testing import tiny_graph
from edge_agent.values import BAD, columns

if TYPE_CHECKING:
    from edge_agent.models.runtime.model import Model

SPEED, WELD = 0, 1


def seam() -> Model:
    """score = speed * mean of the picture; its limit is 1."""
    nodes = [
        helper.make_node("ReduceMean", ["weld"], ["grey"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["speed"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["grey", "speed"], ["score"]),
    ]
    graph = tiny_graph(nodes, {"x": ("N", 1, 1), "weld": ("N", 2, 2)}, {"score": ("N",)})
    specs = InputSpec("speed"), InputSpec("weld", kind=KIND, length=2)
    made = PictureManifest(Name("seam"), Name("1"), Task.ANOMALY, specs, OutputNames(score="score"))
    model = model_of_graph(made, graph.SerializeToString())
    model.reference = Reference(
        {"x": np.ones((1, 1), np.float32), "weld": np.zeros((2, 2), np.float32)}
    )
    return model


def plant() -> Live:
    signals = {"speed": Signal(unit="m/s"), "weld": Signal(kind=KIND)}  # type: ignore[arg-type]
    live = Live(of("seam", **signals), input_kinds=MORE_INPUTS)
    assert live.use(seam()) == [""]
    return live


def weld(live: Live, second: int, level: float, *, side: int = 2, status: int = 0) -> None:
    """A picture, and the speed after it."""
    at_us = (BEGIN_S + second) * S
    live.turn(second, blocks=[picture(WELD, at_us, level, side, status)])
    live.turn(second + 0.5, columns([SPEED], [at_us + S // 2], [2.0]))


def test_a_dark_picture_raises_an_alarm_and_names_the_camera() -> None:
    """The newest picture goes with each window of the scalars; its mean is told as the value."""
    live = plant()
    for second in range(20):
        weld(live, second, 0.25)
    assert live.transitions == []
    for second in range(20, 60):
        weld(live, second, 1.0)
    alarm = live.transitions[0].alarm
    assert alarm.detail is not None
    assert alarm.detail.score == pytest.approx(2.0)
    first = max(alarm.detail.contributors, key=lambda one: one.weight)
    assert (first.input, first.value) == ("weld", 1.0)


@pytest.mark.parametrize("spoiled", [{"side": 5}, {"status": BAD}])
def test_a_picture_that_does_not_fit_or_is_bad_never_reaches_the_model(
    spoiled: dict[str, int],
) -> None:
    """There is no window then, and no alarm."""
    live = plant()
    for second in range(60):
        weld(live, second, 1.0, **spoiled)
    assert [kind for kind, key in live.told() if key == "anomaly"] == []
