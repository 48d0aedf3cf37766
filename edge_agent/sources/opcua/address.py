"""Node addresses as users write them. Without the library, so that `check` need not load it."""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_NAMESPACE: Final = 0xFFFF
_MAX_NUMBER: Final = 0xFFFF_FFFF
# asyncua's own parser ignores unknown parts: a typing error would select another node.
_ADDRESS: Final = re.compile(r"(?:ns=([0-9]{1,5});|nsu=([^;]+);)?([isgb])=(.+)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "i": int,
    "s": str,
    "g": uuid.UUID,
    "b": lambda text: base64.b64decode(text, validate=True),
}
FORM: Final = "nsu=URI;s=NAME, ns=2;s=NAME or ns=2;i=1001"


@dataclass(frozen=True, slots=True)
class Address:
    """A NodeId (Part 6, 5.3.1.10); its namespace is an index, or a URI not yet resolved.

    kind: i, s, g or b. uri: empty if the address contains an index.
    """

    namespace: int
    uri: str
    kind: str
    identifier: Any


def parse_address(text: str) -> Address:
    """`nsu=URI;s=..`, `ns=2;s=..` or `i=85`; ValueError contains what is wrong with it."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("it is no node address such as nsu=URI;s=NAME")
    index, uri, kind, rest = match.groups()
    identifier = _READ[kind](rest)
    namespace = int(index or 0)
    if namespace > _MAX_NAMESPACE or (kind == "i" and not 0 <= identifier <= _MAX_NUMBER):
        raise ValueError("a number in it is out of range")
    return Address(namespace, uri or "", kind, identifier)


def is_address(pattern: str) -> bool:
    """True if a pattern can become an address once its {placeholders} are filled."""
    filled = _PLACEHOLDER.sub("1", pattern)
    match = _ADDRESS.fullmatch(filled)
    if match is not None and filled != pattern and match.group(3) in "gb":
        return True  # only a complete identifier can be checked
    try:
        parse_address(filled)
    except ValueError:
        return False
    return True
