"""Nodes found on a server. Without the library, so that commands can use the types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A variable of a server.

    address: as in a config; path: browse names below Objects; type: of its value; number: True if
    it is a number, an array of numbers, or a text with a number; low, high: EURange; kind: the type
    of the object that contains it.
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
        """The path of its parent."""
        return self.path[:-1]


@dataclass(frozen=True, slots=True)
class Browsed:
    """The result of a walk. seen: number of nodes; stopped: why it is incomplete, else empty."""

    nodes: list[FoundNode]
    namespaces: list[str]
    seen: int
    stopped: str
    product: str
