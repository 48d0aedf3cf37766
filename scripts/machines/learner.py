"""Learns machines with the edge_agent of the Python that runs it: a worker of `other-machines`.

Each line of stdin is a folder with `rows.npz` (rows, step_s, length, candidates); the bundle is
written there as `machine`, and one line of JSON is the answer. Every machine is learned in its own
child, whose processor time and memory are counted. Only names that all versions of edge_agent have
are used, so that another checkout's Python can run this file.
"""

from __future__ import annotations

import json
import os
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: F401 (not part of the time that learning takes)

from edge_agent.config import schema
from edge_agent.errors import ModelError
from edge_agent.learning import Recipe, learn
from edge_agent.models import InputSpec

OK, REFUSED = 0, 3
_KIB_IN_MB = 1024


def main() -> int:
    """Answer each line until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(_in_child(Path(line.strip()))), flush=True)
    return 0


def _in_child(folder: Path) -> dict[str, Any]:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _learn(folder)
        finally:
            os._exit(status)
    _, status, used = os.wait4(child, 0)
    with np.load(folder / "rows.npz") as stored:
        on_s, off_s = _delays(float(stored["step_s"]))
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss / _KIB_IN_MB,
        "on_s": on_s,
        "off_s": off_s,
    }


def _learn(folder: Path) -> int:
    with np.load(folder / "rows.npz") as stored:
        rows, step_s, length = stored["rows"], float(stored["step_s"]), int(stored["length"])
        candidates = tuple(stored["candidates"].tolist())
    inputs = tuple(InputSpec(f"input{n}") for n in range(rows.shape[1]))
    recipe = Recipe("machine", inputs, step_s=step_s, length=length)
    times = {"times_us": {"M": np.round(np.arange(len(rows)) * step_s * 1e6).astype(int)}}
    knows_time = "times_us" in signature(learn).parameters
    try:
        more = {**_rivals(candidates), **(times if knows_time else {})}
        learn({"M": rows}, recipe, now_us=0, **more).write(folder / "machine")
    except ModelError as error:
        (folder / "refused.txt").write_text(str(error))
        return REFUSED
    return OK


def _rivals(candidates: tuple[str, ...]) -> dict[str, Any]:
    """Students beside the chart or instead of it; they need torch."""
    if not candidates:
        return {}
    from edge_agent.factory import History  # noqa: PLC0415 (another version may not have it)

    return {"rivals": History(candidates, 1, "", lambda _line: None).rivals()}


def _delays(step_s: float) -> tuple[float, float]:
    """The alarm's delays of this version, in seconds."""
    rule = getattr(schema, "LearnedAlarm", schema.AlarmRule)()
    at_step = getattr(rule, "at_step", None)
    rule = at_step(step_s) if at_step else rule
    return rule.on_delay, rule.off_delay


if __name__ == "__main__":
    sys.exit(main())
