"""A line of three machines as tables of states and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.insight import STATES
from scripts.rigs.lines import Recorded, TrueLine, record

if TYPE_CHECKING:
    from pathlib import Path


def slow_second(hours: float = 4.0) -> tuple[TrueLine, Recorded]:
    """A line whose second machine, S2, is by far the slowest, and what was recorded of it."""
    line = TrueLine(
        np.array([[20.0, 30.0, 21.0]]),
        np.full(3, 0.2),
        np.full(3, 2000.0),
        np.full(3, 60.0),
        np.ones(3),
        np.array([3, 3]),
        is_calendar=False,
        run_parts=1 << 30,
    )
    return line, record(line, 5, hours)


def write_line(folder: Path, hours: float = 4.0) -> tuple[Path, Path]:
    """states.csv and parts.csv of a line whose second machine, S2, is by far the slowest."""
    _, found = slow_second(hours)
    states, parts = folder / "states.csv", folder / "parts.csv"
    rows = [f"S{i + 1},{STATES[state]},{a:.3f},{b:.3f}" for i, state, a, b in sorted(found.rows)]
    states.write_text("\n".join(["machine,state,start,end", *rows]) + "\n")
    counted = [f"S{i + 1},{at:.3f}" for i, at in found.parts]
    parts.write_text("\n".join(["machine,time", *counted]) + "\n")
    return states, parts
