"""A kind of bundle that the package does not know: texts, without a graph, in its own sandbox."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edge_agent.models.bundle.bundle import load_manifest, read_checked
from edge_agent.models.bundle.golden import differences, parse_golden
from edge_agent.models.bundle.kinds import FP32, GOLDEN, BundleKind
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.manifest_text import KINDS
from edge_agent.models.bundle.tasks import OutputNames
from edge_agent.models.runtime.engine import LoadRequest, Signature
from edge_agent.models.runtime.registry import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.models.bundle.golden import Tensors

VOCABULARY = "vocabulary.txt"
TEXT = BundleKind(
    "text",
    {GOLDEN: 1 << 16, VOCABULARY: 64},
    max_variants=0,
    max_pictures=0,
    sandbox="text_kind",
    wall_s=60.0,
)


@dataclass(frozen=True, slots=True)
class TextManifest(Manifest):
    """Texts of `length` words, each a row of the vocabulary; -1 for none."""

    rules: ClassVar[BundleKind] = TEXT
    inputs: tuple[InputSpec, ...] = ()
    outputs: OutputNames = field(default_factory=OutputNames)
    kind: str = TEXT.name
    length: int = 4

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The words, instead of a window of sensors."""
        return {"words": ("int64", (self.length,))}

    def input_problems(self) -> Iterator[tuple[str, str]]:
        """It has no inputs that are signals."""
        if self.inputs:
            yield "inputs", "a text has none"


class CountingEngine:
    """score = how many words of a text are alarming: those that the vocabulary marks with '!'."""

    closed = 0

    def __init__(self, manifest: TextManifest, words: list[str]) -> None:
        self.manifest = manifest
        self.providers = ()
        self._weight = np.array([*(word.endswith("!") for word in words), False], np.float32)

    @classmethod
    def load(cls, request: LoadRequest) -> CountingEngine:
        """Read the vocabulary."""
        assert isinstance(request.manifest, TextManifest)
        return cls(request.manifest, request.read(VOCABULARY).decode().split())

    @property
    def signature(self) -> Signature:
        """Words to a score."""
        return Signature(self.manifest.tensors(), {"score": ("float32", ())})

    def infer(
        self, feeds: Mapping[str, Any], names: Sequence[str], budget_s: float | None = None
    ) -> Tensors:
        """Count."""
        del budget_s
        return dict.fromkeys(names, self._weight[feeds["words"]].sum(axis=1))

    def close(self) -> None:
        """Count that, too."""
        type(self).closed += 1


MORE_KINDS: dict[str, type[Manifest]] = {**KINDS, TEXT.name: TextManifest}
MORE_ENGINES = {**ENGINES, TEXT.name: CountingEngine}


def main() -> int:
    """The child: run the golden vectors."""
    folder = Path(sys.argv[1])
    manifest = load_manifest(folder, MORE_KINDS)
    read = partial(read_checked, folder, manifest)
    golden = parse_golden(read(GOLDEN))
    engine = CountingEngine.load(LoadRequest(manifest, read, FP32, (), 8))
    found = engine.infer(golden.inputs, tuple(golden.outputs))
    problems = [["golden", text] for text in differences(golden.outputs, found)]
    print(json.dumps({"problems": problems, "trial": None}))  # noqa: T201 (what a child says)
    return 3 if problems else 0
