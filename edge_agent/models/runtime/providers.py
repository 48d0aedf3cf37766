"""Execution providers: the configured ones, and those of this build of ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
PROVIDERS_KEY: Final = "runtime.providers"


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """The available ones of the configured execution providers; both in the configured order.

    used: at least the CPU, which runs the operators that the others do not support.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]


def choose_providers(wished: Sequence[str], available: Sequence[str]) -> ProviderReport:
    """Split the configured providers (tensorrt, cuda, cpu) by the runtime's `available` ones.

    ModelError for an unknown provider.
    """
    unknown = [name for name in wished if name not in PROVIDERS]
    if unknown:
        known = f"known: {', '.join(PROVIDERS)}"
        raise ModelError(f"unknown provider {unknown[0]!r}", where=PROVIDERS_KEY, hint=known)
    used = [name for name in wished if PROVIDERS[name] in available]
    missing = tuple(name for name in wished if name not in used)
    return ProviderReport(tuple(used if "cpu" in used else [*used, "cpu"]), missing)
