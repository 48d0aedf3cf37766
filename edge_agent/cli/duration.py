"""Durations in words."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ((86_400.0, "days"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Seconds for a terminal, in the largest unit of which there are two: 15 s, 90 min, 24 h."""
    unit, name = next((each for each in _UNITS if seconds >= 2 * each[0]), (1.0, "s"))
    return f"{seconds / unit:.3g} {name}"
