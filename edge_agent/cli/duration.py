"""Durations in words."""

from __future__ import annotations

import argparse
import re
from typing import Final

from edge_agent.config.types import DURATIONS

_UNITS: Final = ((86_400.0, "days"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Seconds for a terminal, in the largest unit of which there are two: 15 s, 90 min, 24 h."""
    unit, name = next((each for each in _UNITS if seconds >= 2 * each[0]), (1.0, "s"))
    return f"{seconds / unit:.3g} {name}"


def seconds(text: str) -> float:
    """Seconds from `10s`, `500ms`, `5m`, `2h` or `1d`, as an argument of a command."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 500ms, 10s, 5m or 2h")
    return float(found[1]) * DURATIONS[found[2] or ""]
