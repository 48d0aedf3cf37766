"""The Skoltech Anomaly Benchmark: the daemon's learner and the published detectors."""

from __future__ import annotations

import importlib
from typing import Any, Final

from scripts.model_bench import published
from scripts.model_bench.context import Context, no_recordings
from scripts.model_bench.table import Column, Row, Table

COMMAND: Final = "scripts/benchmark-models --only skab"
_COLUMNS: Final = (
    Column("f1", "F1", 3),
    Column("far", "FAR %", 1),
    Column("mar", "MAR %", 1),
    Column("pre_fault_far", "FAR before the fault %", 1),
    Column("nab", "NAB", 1),
    Column("delay_s", "delay s", 0),
    Column("undetected", "silent", 0),
)
_ALL: Final = "all 34"


def skab(context: Context) -> list[Table]:
    """One table for each part of the recordings; the published rows cover all 34."""
    folder = context.folder("skab")
    if folder is None:
        return [Table("SKAB", COMMAND, absent=no_recordings("skab"))]
    try:
        found = importlib.import_module("scripts.skab_eval.evaluate").evaluate(folder)
    except ModuleNotFoundError as error:
        return [Table("SKAB", COMMAND, absent=str(error))]
    parts = list(next(iter(found["rows"].values())))
    return [_part(found, part) for part in parts]


def _part(found: dict[str, Any], part: str) -> Table:
    rows: list[Row] = [{"name": name, **parts[part]} for name, parts in found["rows"].items()]
    notes = [str(found["protocol"])] if part == _ALL else []
    if part == _ALL:
        rows += published.SKAB
        notes.append(
            "The published autoencoders flag a point only after seeing what follows it; ours and "
            "the two simple detectors never look ahead. Nothing trained on these data is shipped."
        )
        notes += [f"Tried, and kept out: {each}" for each in found.get("tried") or ()]
    return Table(f"SKAB, {part}", COMMAND, _COLUMNS, tuple(rows), tuple(notes))
