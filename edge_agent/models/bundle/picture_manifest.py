"""The manifest of a model of pictures: what a camera sees, without a window of sensors.

The graph has one input, `picture`, uint8 [N, side, side, 3], RGB as shown; every change of its
values (normalization) is in the graph. Its outputs: `score` float32 [N] and `map` float32
[N, side / 8, side / 8] in the unit of the score, of one that learned good pictures; `probabilities`
float32 [N, classes] of a classifier, which may have a map as well. A graph with a score also
returns `threshold`, float32 [], the manifest's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

from edge_agent.models.bundle.kinds import PICTURE, BundleKind
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.signals import PICTURE_INPUT, Look

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class PictureManifest(Manifest):
    """The manifest of a bundle of the kind `picture`; its input has the picture's side as length.

    look: of the pictures that it learned, by figure of `signals.Look`: later ones are compared with
    it, to notice a blind or blurred camera. Empty: not known.
    """

    rules: ClassVar[BundleKind] = PICTURE

    inputs: tuple[InputSpec, ...] = ()
    outputs: OutputNames = field(default_factory=OutputNames)
    kind: str = PICTURE.name
    look: dict[str, float] = field(default_factory=dict)

    @property
    def states_threshold(self) -> bool:
        """True if the graph must return the threshold."""
        return self.task == Task.ANOMALY

    def input_problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions in the inputs, as (key, message)."""
        yield from Manifest.input_problems(self)
        if [spec.name for spec in self.inputs] != [PICTURE_INPUT]:
            yield "inputs", f"a model of pictures has one input, named {PICTURE_INPUT}"
        names = [each.name for each in fields(Look)]
        if self.look and sorted(self.look) != sorted(names):
            yield "look", f"has the keys {', '.join(names)}"
