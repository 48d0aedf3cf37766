"""The demo's plant: its shipped baseline, a windowed mean of |z|, and an endless alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.factory.demo_pump.model import (
    HEALTHY_PUMPS,
    HEALTHY_ROWS,
    LENGTH,
    NAME,
    STEP_S,
    Answer,
    Judged,
    Scorer,
    judged,
    rows_learned,
    windows_of,
)
from scripts.model_bench.shipped import graphs
from scripts.model_bench.table import Column, Row, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scripts.model_bench.context import Context

    Floats = NDArray[np.float32]

COMMAND: Final = "scripts/benchmark-models --only demo"
_COLUMNS: Final = (
    Column("alarms", "false alarms", 0),
    Column("days", "in pump-days", 2),
    Column("found", "faults found of 300", 0),
    Column("median_s", "median delay s", 1),
    Column("slowest_s", "slowest s", 1),
    Column("right", "right input first %", 1, 100),
)


def demo(context: Context) -> list[Table]:
    """Pumps that were not learned from: false alarms while healthy, delay of three faults each."""
    title = "Demo plant: 100 pumps not learned from"
    folder = context.models / NAME
    if not folder.is_dir():
        return [Table(title, COMMAND, absent=f"no bundle {NAME}")]
    scorer = Scorer(graphs(folder)["fp32"])
    rows: tuple[Row, ...] = (
        _row(f"{NAME} fp32", judged(scorer)),
        _row("windowed mean of abs(z)", judged(ZScore(rows_learned()))),
        {
            "name": "always alarms",
            "alarms": float(HEALTHY_PUMPS),
            "days": HEALTHY_PUMPS * HEALTHY_ROWS * STEP_S / 86_400,
            "found": 300.0,
            "median_s": 0.0,
            "slowest_s": 0.0,
        },
    )
    note = (
        "Simulated (`edge_agent/demo/plant.py`), in seconds of the demo, in which a second is a "
        "minute of the plant. The limit of the mean of |z| is the largest it reaches on the pumps "
        "that were learned from. Delays are of the score; the demo's alarm waits a second more."
    )
    return [Table(title, COMMAND, _COLUMNS, rows, (note,))]


class ZScore:
    """Mean of |z| over a window and all inputs, in multiples of the largest healthy one."""

    def __init__(self, rows: Floats) -> None:
        sound = rows[~np.isnan(rows).any(axis=1)]
        self._center = sound.mean(axis=0)
        self._spread = sound.std(axis=0)
        self._limit = 1.0
        breaks = np.flatnonzero(np.isnan(rows[:, 0]))
        pumps = np.split(rows, breaks)
        healthy = [self.along(pump[~np.isnan(pump[:, 0])]) for pump in pumps if len(pump) > LENGTH]
        self._limit = max(float(score.max()) for score, _ in healthy)

    def along(self, rows: Floats) -> tuple[Floats, Floats]:
        """Score [n] and shares by input [n, sensors] of every window."""
        z = np.abs((windows_of(rows) - self._center) / self._spread).mean(axis=1) / self._limit
        return z.mean(axis=1), z


def _row(name: str, found: Judged) -> Row:
    answers: list[Answer] = list(found.faults.values())
    delays = np.array([delay for answer in answers for delay in answer.delay_s])
    seen = delays[np.isfinite(delays)]
    return {
        "name": name,
        "alarms": float(found.false_alarms),
        "days": found.healthy_days,
        "found": float(len(seen)),
        "median_s": float(np.median(seen)) if len(seen) else None,
        "slowest_s": float(seen.max()) if len(seen) else None,
        "right": float(np.mean([answer.right for answer in answers])),
    }
