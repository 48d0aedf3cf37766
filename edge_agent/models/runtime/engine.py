"""What runs a bundle: an engine takes tensors by name and gives tensors by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest

Shape = tuple[str, tuple[int, ...]]  # "float32" or "int64", and the shape without the batch


class Signature(NamedTuple):
    """The tensors that an engine takes, and those that it gives."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A bundle that was verified, and how it shall be loaded.

    read: one of its files; ModelError unless that has its checksum. variant: of its graph.
    providers: execution providers by falling preference. max_batch: rows of one run.
    """

    manifest: Manifest
    read: Callable[[str], bytes]
    variant: str
    providers: Sequence[str]
    max_batch: int


class Engine(Protocol):
    """A bundle that is loaded, of whatever kind. Calls block; one thread at a time.

    providers: the execution providers that it runs on, the first one mainly; empty if it does not
    run on this machine.
    """

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that it runs on."""

    @property
    def signature(self) -> Signature:
        """The tensors that it takes and gives."""

    @classmethod
    def load(cls, request: LoadRequest) -> Self:
        """Load a bundle; ModelError if that fails."""

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        budget_s: float | None = None,
    ) -> Tensors:
        """Run N rows of named tensors; returns the tensors `names`, with N rows each.

        ModelError if it fails, the inputs do not fit, or it takes longer than `budget_s`.
        """

    def close(self) -> None:
        """Release everything; it is never used again. Safe when repeated."""
