"""What the daemon asks of a camera's picture follows from the model that judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picture_models import SIDE, bright_model, picture_manifest

from edge_agent.daemon.cameras import _seen_by
from edge_agent.models import model_of_graph
from edge_agent.signals import Look

if TYPE_CHECKING:
    from edge_agent.models import Model

LOOK = {"darkest": 9.0, "brightest": 200.0, "saturated": 0.0, "contrast": 40.0, "sharpness": 0.5}


def test_the_size_and_the_look_of_learning_are_those_of_the_bundle() -> None:
    """Else a blurred camera is not noticed, and a model of another size gets no picture."""
    model: Model = model_of_graph(picture_manifest(look=LOOK), bright_model())
    assert _seen_by([model]) == {"size": SIDE, "reference": Look(**LOOK)}


def test_without_a_model_nothing_is_compared() -> None:
    """While it is being learned."""
    assert _seen_by([]) == {}
