"""The learner's defaults on simulated machines that were not used to choose them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.machines.detectors import LEARNED, MEAN_Z
from scripts.machines.evaluate import evaluate
from scripts.model_bench.table import Column, Row, Table

if TYPE_CHECKING:
    from scripts.model_bench.context import Context

COMMAND: Final = "scripts/benchmark-models --only machines"
SEEDS: Final = (21, 22, 23)
_COLUMNS: Final = (
    Column("days", "healthy days", 2),
    Column("far", "FAR %", 2),
    Column("raises_per_day", "alarms a day", 2),
    Column("found", "faults found %", 0),
    Column("delay", "delay, rows", 0),
    Column("simple_far", "mean of abs(z): FAR %", 2),
    Column("simple_found", "mean of abs(z): found %", 0),
)


def machines(_context: Context) -> list[Table]:
    """Tables by machine and by kind of fault; alarms as an operator sees them."""
    found = evaluate(SEEDS)
    learned, simple = (found["machines"][name] for name in (LEARNED, MEAN_Z))
    rows: list[Row] = [
        {
            "name": name,
            **row,
            "simple_far": simple[name]["far"],
            "simple_found": simple[name]["found"],
        }
        for name, row in learned.items()
    ]
    mean = {"name": "mean", "far": found["mean"][LEARNED]["far"]}
    mean |= {"found": found["mean"][LEARNED]["found"], "simple_far": found["mean"][MEAN_Z]["far"]}
    rows.append(mean | {"simple_found": found["mean"][MEAN_Z]["found"]})
    note = (
        f"Simulated (`scripts/machines/`), seeds {', '.join(map(str, SEEDS))}; the defaults "
        "were chosen with seeds 1 and 2. Each machine is learned, then judged on the healthy time "
        "that follows and on eight kinds of fault of one input. An alarm that never ends has a FAR "
        "of 100 % and finds all."
    )
    kinds = tuple(Column(kind, kind, 0) for kind in found["kinds"][LEARNED])
    by_kind = tuple({"name": name, **shares} for name, shares in found["kinds"].items())
    return [
        Table("Other machines, simulated", COMMAND, _COLUMNS, tuple(rows), (note,)),
        Table("Other machines: faults found %, by kind", COMMAND, kinds, by_kind),
    ]
