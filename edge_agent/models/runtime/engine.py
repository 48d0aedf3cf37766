"""The interface of engines, which run bundles: named tensors in, named tensors out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest


class LateError(ModelError):
    """A run is not over yet and nobody waits for it any longer; it goes on in its own process.

    is_computing: it has used a processor for long, so that it is slow by itself and not for lack
    of one.
    """

    def __init__(self, message: str, *, where: str, is_computing: bool) -> None:
        super().__init__(message, where=where)
        self.is_computing = is_computing


class BusyError(ModelError):
    """An earlier run, whose outputs nobody wants any longer, is not over yet."""


Shape = tuple[str, tuple[int, ...]]  # "float32" or "int64", and the shape without the batch


class Signature(NamedTuple):
    """The tensors that an engine takes, and those that it returns."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A verified bundle, and the options of loading it.

    read: returns one of its files; ModelError if its checksum differs. variant: of its graph.
    providers: execution providers by falling preference. max_batch: rows of one run.
    """

    manifest: Manifest
    read: Callable[[str], bytes]
    variant: str
    providers: Sequence[str]
    max_batch: int


class Engine(Protocol):
    """A loaded bundle of any kind. Calls block; one thread at a time.

    providers: the execution providers that it runs on, the main one first; empty if it does not
    run on this machine.
    """

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that it runs on."""

    @property
    def signature(self) -> Signature:
        """The tensors that it takes and returns."""

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
        """Release everything; it is never used again. May be called repeatedly."""


class LoadableEngine(Engine, Protocol):
    """An engine of a kind of bundles."""

    @classmethod
    def load(cls, request: LoadRequest) -> Self:
        """Load a bundle; ModelError if that fails."""
