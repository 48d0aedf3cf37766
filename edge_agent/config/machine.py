"""Names that distinguish machines of a fleet that share one config file."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path
from typing import Final

from edge_agent.config.types import Name

MACHINE_ID: Final = Path("/etc/machine-id")
_APPLICATION: Final = b"edge-agent gateway id"
_DIGITS: Final = 6
_MAX_HOSTNAME: Final = 40
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def hostname() -> str:
    """The first label of the machine's host name, as letters, digits, `_` and `-`."""
    label = _NOT_OF_A_NAME.sub("-", socket.gethostname().partition(".")[0]).strip("-_")
    return label[:_MAX_HOSTNAME] or "gateway"


def default_gateway_id(machine_id: Path = MACHINE_ID) -> Name:
    """The host name and six digits of a hash of the machine's id.

    Machines made from one image often share the host name. The id itself is confidential
    (machine-id(5)), so a hash with a fixed text of ours replaces it.
    """
    try:
        identity = machine_id.read_bytes().strip()
    except OSError:
        identity = b""
    if not identity:
        return Name(hostname())
    digest = hashlib.sha256(_APPLICATION + b"\0" + identity).hexdigest()
    return Name(f"{hostname()}-{digest[:_DIGITS]}")
