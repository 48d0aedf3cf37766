"""Short ways to the library's types, with the types that it declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, cast

from asyncua import ua

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US: Final = 253_402_300_799_000_000  # the end of the year 9999


def number_node(number: int) -> ua.NodeId:
    """A node of the standard."""
    return ua.NodeId(ua.Int32(number))


def text_node(ident: str, index: int) -> ua.NodeId:
    """A node of a namespace of ours."""
    return ua.NodeId(ua.String(ident), ua.Int16(index), ua.NodeIdType.String)


def status(code: int) -> ua.StatusCode:
    """A status code of `StatusCodes`."""
    return ua.StatusCode(ua.UInt32(code))


def to_datetime(at_us: int) -> ua.DateTime:
    """Microseconds since the epoch; times that a DateTime cannot hold are cut."""
    at = _EPOCH + timedelta(microseconds=min(max(at_us, 0), _LAST_US))
    return cast("ua.DateTime", at)
