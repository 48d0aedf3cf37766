"""Bundles that were learned on a gateway: their names, and the time in their versions."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from edge_agent.clock import US_PER_S
from edge_agent.config.types import Name

LEARNED: Final = "learned"
LEFT_OUT: Final = "left_out"  # key in the manifest's `training`
ALWAYS_NEW: Final = "new_in_every_row"  # key in `calibration`: inputs that never repeat a value
_LONGEST_TEMPLATE: Final = 40


def learned_prefix(template: str) -> str:
    """The beginning of the names of a template's bundles; cut, as they must not exceed its own."""
    return f"{LEARNED}-{template[:_LONGEST_TEMPLATE]}-"


def learned_version(now_us: int, *content: bytes) -> Name:
    """The version of a bundle that is learned now; the same content has the same ending."""
    stamp = datetime.fromtimestamp(now_us / US_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    ending = sha256(b"".join(content)).hexdigest()[:8]
    return Name(f"{stamp}-{ending}")


def learned_us(version: str) -> int:
    """When a version was learned, by its name (to the second); 0 if the name has no time."""
    try:
        moment = datetime.strptime(f"{version.partition('-')[0]}+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return 0
    return round(moment.timestamp()) * US_PER_S
