"""Describes the faults of a source's nodes in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.status_codes import NAMES, code_of, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.plant import PlantSignal

_SHOWN: Final = 3
_UPPER: Final = 0xFFFF_0000
_WORDS: Final = {
    "BadNodeIdUnknown": "does not exist",
    "BadNodeIdInvalid": "does not exist",
    "BadNoMatch": "does not exist",
    "BadNotFound": "does not exist",
    "BadObjectDeleted": "no longer exists",
    "BadAttributeIdInvalid": "is not a variable",
    "BadUserAccessDenied": "may not be read by this user",
    "BadNotReadable": "cannot be read",
    "BadSecurityModeInsufficient": "may not be read over this security mode",
    "BadTooManyMonitoredItems": "exceeds the number of nodes that the server monitors",
    "BadTypeMismatch": "is not a number",
}
_WORDS_OF: Final = {code_of(name): words for name, words in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class NodeReport:
    """total: nodes of the source; wrong: the StatusCodes of the nodes without usable values."""

    total: int
    wrong: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True if no node has a fault."""
        return not self.wrong

    def text(self) -> str:
        """`38 of 40 nodes: P-105.Temp does not exist (BadNodeIdUnknown); 1 more`."""
        if not self.wrong:
            return f"{self.total} nodes"
        shown = [f"{name} {words(code)}" for name, code in list(self.wrong.items())[:_SHOWN]]
        more = len(self.wrong) - _SHOWN
        shown += [f"{more} more"] if more > 0 else []
        return f"{self.total - len(self.wrong)} of {self.total} nodes: {'; '.join(shown)}"


def report(signals: Sequence[PlantSignal], wrong: Mapping[int, int]) -> NodeReport:
    """The report on `signals`; wrong: StatusCode by position."""
    named = {}
    for position, code in sorted(wrong.items()):
        signal = signals[position]
        named[f"{signal.asset.id}.{signal.name}"] = code
    return NodeReport(len(signals), named)


def words(code: int) -> str:
    """The meaning of a StatusCode for a node, with the code's name."""
    kind = type_of(code)
    if kind:
        return f"is {'an array' if kind == 'array' else f'a {kind}'}: not usable"
    said = _WORDS_OF.get(code & _UPPER)
    return f"{said} ({short(code)})" if said else f"is refused ({short(code)})"


def short(code: int) -> str:
    """The name of a StatusCode, with the mismatched type."""
    kind = type_of(code)
    name = NAMES.get(code & _UPPER, f"0x{code & _UPPER:08X}")
    return f"{name} ({kind})" if kind else name
