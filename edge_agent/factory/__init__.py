"""The factory: from raw recordings to a small model bundle, one command per model.

    edge-agent train turbofan-life --data recordings --output models

Stages, in this order; each keeps its result in the work folder and is skipped if none of its inputs
(data, settings, seed, code) has changed, so that a killed run continues:

| stage | does | by |
| --- | --- | --- |
| data | reads recordings into windows, split by unit or time, never by window | `data` |
| teacher | learns without a limit on size; answers rows and mix-up queries | `teacher` |
| distill | teaches the student the teacher's answers and the truth | `student`, `loss` |
| prune | removes whole neurons and channels, then teaches again | here |
| export | calibrates on `valid`, then optimum writes the ONNX graph | `finish` |
| quantize | int8 by optimum's ORTQuantizer, one graph for each preset | here |
| judge | runs every graph in ONNX Runtime: figures, parity, latency | `metrics` |
| bundle | graphs, golden rows, healthy histograms, checksums, card, pictures | here |

To add a model, write one module with one function `recipe() -> Recipe` (`recipe.py` defines what a
recipe contains) and name it in RECIPES.

Rules for valid figures; the first is enforced:
- No group (unit, engine, recording, block of time) is in two splits.
- `train` alone teaches teacher, student and scaling. Nothing is chosen by `valid`, not even the
  number of epochs: it calibrates thresholds and intervals. only `judge` uses `test`.
- The input at run time is a raw window: scaling and features are part of the graph.

It needs the extra `compress`, and only `edge-agent train` imports it. `training`, `recipe`,
`split`, `stages` and `recordings.csv_files` work without the extra.
"""

from __future__ import annotations

from edge_agent.factory.history import CANDIDATES, HISTORY, History, start_shadow
from edge_agent.factory.training import DEMO_PUMP, RECIPES, Job, missing_packages, train

__all__ = [
    "CANDIDATES",
    "DEMO_PUMP",
    "HISTORY",
    "RECIPES",
    "History",
    "Job",
    "missing_packages",
    "start_shadow",
    "train",
]
