"""Bearing faults (CWRU): trained again with one fault size left out, and as shipped."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.factory.judge import outputs_of
from edge_agent.models import load_manifest
from scripts.model_bench.context import Context, no_recordings, trained_anew
from scripts.model_bench.shipped import graphs, test_set
from scripts.model_bench.table import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMAND: Final = "scripts/benchmark-models --only bearing"
BUNDLE: Final = "bearing-fault"
_SIZES: Final = {"accuracy_007": 7, "accuracy_014": 14, "accuracy_021": 21, "accuracy_028": 28}
_COLUMNS: Final = (
    Column("accuracy_007", "7 mil left out %", 1, 100),
    Column("accuracy_014", "14 mil left out %", 1, 100),
    Column("accuracy_021", "21 mil left out %", 1, 100),
    Column("accuracy_028", "28 mil left out %", 1, 100),
    Column("accuracy_load", "one load left out %", 1, 100),
    Column("accuracy_random", "random windows (leaky) %", 1, 100),
    Column("parameters", "parameters", 0),
    Column("bytes", "bytes", 0),
    Column("p50_ms_1", "p50 ms, batch 1", 4),
)


def bearing(context: Context) -> list[Table]:
    """Accuracy by the part left out, and the shipped files if they can be judged."""
    if context.folder("cwru") is None:
        return [Table("CWRU", COMMAND, absent=no_recordings("cwru"))]
    return [_trained(context), _shipped(context)]


_NOTE: Final = (
    "Only a fault size that was left out says something: windows of one recording are alike, and "
    "so are the loads. Published figures of 99 % and more are of such splits; there is no row to "
    "set beside this one."
)


def _trained(context: Context) -> Table:
    title = "CWRU, trained anew: accuracy on what was left out"
    found = trained_anew(context, "edge_agent.factory.bearing.recipe")
    if isinstance(found, str):
        return Table(title, COMMAND, absent=found)
    rows = (
        *({"name": name, **row} for name, row in found["rows"].items()),
        _majority(context),
    )
    columns = tuple(c for c in _COLUMNS if any(c.key in row for row in rows))
    notes = (
        f"{len(context.seeds)} seeds, mean (least to most). {found['protocol']}",
        _NOTE,
        *(f"Tried, and kept out: {each}" for each in found.get("tried") or ()),
    )
    return Table(title, COMMAND, columns, rows, notes, extra={"seeds": list(context.seeds)})


def _majority(context: Context) -> Row:
    """The most frequent class of the training rows, predicted for all that is left out."""
    windows = importlib.import_module("edge_agent.factory.bearing.data").read_windows(context.data)
    found: dict[str, float | str] = {"name": "majority class (of the faulty windows left out)"}
    for key, size in _SIZES.items():
        left_out = windows.size == size
        usual = np.bincount(windows.label[~left_out]).argmax()
        found[key] = float((windows.label[left_out] == usual).mean())
    return found


def _shipped(context: Context) -> Table:
    title = "CWRU, the shipped files"
    folder = context.models / BUNDLE
    real = test_set(context, BUNDLE)
    if not folder.is_dir() or isinstance(real, str):
        reason = f"no bundle {BUNDLE}" if not folder.is_dir() else str(real)
        return Table(title, COMMAND, absent=reason)
    if not real["held_out"]:
        reason = "the shipped weights have seen all recordings; the table above is the test"
        return Table(title, COMMAND, absent=reason)
    return Table(title, COMMAND, _ACCURACY, tuple(_rows(folder, real)), (str(real["what"]),))


_ACCURACY: Final = (
    Column("accuracy", "accuracy %", 1, 100),
    Column("rows", "windows", 0),
    Column("bytes", "bytes", 0),
)


def _rows(folder: Path, real: Mapping[str, Any]) -> list[Row]:
    manifest = load_manifest(folder)
    truth = np.asarray(real["truth"])
    usual = int(np.bincount(truth).argmax())
    rows: list[Row] = [{"name": "majority class", "accuracy": float((truth == usual).mean())}]
    for variant, raw in graphs(folder).items():
        told = outputs_of(raw, manifest, real["inputs"])["probabilities"].argmax(axis=1)
        figures = {"accuracy": float((told == truth).mean()), "rows": len(truth)}
        rows.append({"name": f"{BUNDLE} {variant}", "bytes": len(raw), **figures})
    return rows
