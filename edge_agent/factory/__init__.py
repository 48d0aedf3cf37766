"""The factory: from raw recordings to a small model bundle, one command a model.

    edge-agent train turbofan-life --data recordings --output models

Stages, in this order; each keeps its result in the work folder and is skipped if nothing that goes
into it has changed (data, settings, seed, code), so that a run that was killed goes on:

| stage | does | by |
| --- | --- | --- |
| data | reads recordings into windows, split by unit or time, never by window | `data` |
| teacher | learns without a limit on size; answers rows and mix-up queries | `teacher` |
| distill | teaches the student what the teacher answers and what is true | `student`, `loss` |
| prune | takes whole neurons and channels out, then teaches again | here |
| export | calibrates on `valid`, then optimum writes the ONNX graph | `finish` |
| quantize | int8 by optimum's ORTQuantizer, one graph for each preset | here |
| judge | runs every graph in ONNX Runtime: figures, parity, latency | `metrics` |
| bundle | graphs, golden rows, healthy histograms, checksums, card, pictures | here |

To add a model, write one module with one function `recipe() -> Recipe` (`recipe.py` says what a
recipe holds) and name it in RECIPES.

Rules that keep its figures honest, of which the first is enforced:
- No group (unit, engine, recording, block of time) is in two splits.
- `train` alone teaches teacher, student and scaling. Nothing is chosen by `valid`, not even the
  number of epochs: it calibrates thresholds and intervals. `test` is looked at by `judge` alone.
- What goes in at run time is what a window holds: scaling and features live in the graph.

It needs the extra `compress`, and nothing but `edge-agent train` imports it. `training`, `recipe`,
`split`, `stages` and `recordings.csv_files` do without the extra.
"""

from __future__ import annotations

from edge_agent.factory.training import DEMO_PUMP, RECIPES, Job, missing_packages, train

__all__ = ["DEMO_PUMP", "RECIPES", "Job", "missing_packages", "train"]
