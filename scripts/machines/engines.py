"""Turbofan engines, each learned separately: the part of `scripts/other-machines` on FD001.

Every engine that ran for 200 cycles or more is learned from its first 128 rows (one per cycle) in
windows of 16, and judged until it fails. Nothing was chosen by the results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.learning import Recipe, learn
from edge_agent.models import InputSpec, model_of_graph

if TYPE_CHECKING:
    from pathlib import Path

LEARN, LENGTH, SHORTEST = 128, 16, 200
EARLY = 125  # cycles before the failure; before, an engine is healthy by the usual convention
FIRST_SENSOR = 5
CPU = ("CPUExecutionProvider",)
A_TENTH_OF_A_DAY_S = 8640.0  # a cycle is a flight; ten a day are many


def evaluate_engines(file: Path) -> dict[str, Any]:
    """Results for the engines in NASA's file train_FD001.txt.

    engines; missed: no alarm before the failure; early: the first one more than EARLY cycles before
    it; cycles_left: at the first alarm, quartiles.
    """
    table = np.loadtxt(file)
    moving = [c for c in range(FIRST_SENSOR, table.shape[1]) if table[:, c].std() > 0]
    lives = [table[table[:, 0] == unit][:, moving] for unit in np.unique(table[:, 0])]
    lives = [life.astype(np.float32) for life in lives if len(life) >= SHORTEST]
    left = [_left_at_alarm(life) for life in lives]
    seen = [cycles for cycles in left if cycles is not None]
    return {
        "engines": len(lives),
        "missed": len(left) - len(seen),
        "early": sum(cycles > EARLY for cycles in seen),
        "cycles_left": [float(q) for q in np.quantile(seen, [0.25, 0.5, 0.75])],
    }


def _left_at_alarm(life: np.ndarray) -> int | None:
    inputs = tuple(InputSpec(f"sensor{n}") for n in range(life.shape[1]))
    recipe = Recipe("engine", inputs, step_s=A_TENTH_OF_A_DAY_S, length=LENGTH)
    learned = learn({"E": life[:LEARN]}, recipe, now_us=0)
    model = model_of_graph(learned.manifest, learned.onnx_bytes)
    x = np.lib.stride_tricks.sliding_window_view(life, LENGTH, axis=0).transpose(0, 2, 1)
    x = learned.manifest.as_read(np.ascontiguousarray(x[LEARN - LENGTH + 1 :]))
    over = np.flatnonzero(model.infer({"x": x, "unit": np.zeros(len(x), np.int64)}).score >= 1.0)
    return None if not len(over) else len(life) - (LEARN + int(over[0])) - 1
