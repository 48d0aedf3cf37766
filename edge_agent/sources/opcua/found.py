"""What was found on a server. Without the library, so that commands can name the types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A variable of a server.

    address: as a config writes it; path: browse names from below Objects; type: of its value;
    number: it holds a number, an array of them, or a text that is one; low, high: EURange; kind:
    the type of the object that holds it.
    """

    address: str
    path: tuple[str, ...]
    type: str
    array: bool
    value: str
    number: bool
    status: str
    unit: str
    low: float | None
    high: float | None
    kind: str

    @property
    def name(self) -> str:
        """Its own browse name."""
        return self.path[-1]

    @property
    def parent(self) -> tuple[str, ...]:
        """The path of what holds it."""
        return self.path[:-1]


@dataclass(frozen=True, slots=True)
class Browsed:
    """What came of a walk. seen: nodes in all; stopped: why it is not complete, else empty."""

    nodes: list[FoundNode]
    namespaces: list[str]
    seen: int
    stopped: str
    product: str
