"""Remaining life of turbofan engines (C-MAPSS FD001): trained again, and as shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.factory.judge import outputs_of
from edge_agent.models import load_manifest
from scripts.model_bench import published
from scripts.model_bench.context import Context, no_recordings, trained_anew
from scripts.model_bench.shipped import graphs, life_figures, test_set
from scripts.model_bench.table import Column, Row, Table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COMMAND: Final = "scripts/benchmark-models --only turbofan"
BUNDLE: Final = "turbofan-life"
CAP: Final = 125.0
_WINDOW: Final = 30
_RIDGE: Final = 1.0
_COLUMNS: Final = (
    Column("rmse_capped", "RMSE, truth capped at 125"),
    Column("score_capped", "score", 0),
    Column("rmse", "RMSE, uncapped"),
    Column("score", "score", 0),
    Column("parameters", "parameters", 0),
    Column("bytes", "bytes", 0),
    Column("p50_ms_1", "p50 ms, batch 1", 4),
)
_INTERVAL: Final = (
    Column("coverage_capped", "coverage %, truth capped", 1, 100),
    Column("coverage", "coverage %", 1, 100),
    Column("width", "mean width, cycles", 1),
)


def turbofan(context: Context) -> list[Table]:
    """Error and interval, of new training and of the shipped files."""
    folder = context.folder("cmapss")
    if folder is None:
        return [Table("FD001", COMMAND, absent=no_recordings("cmapss"))]
    baselines = tuple(_baselines(folder))
    return [*_trained(context, baselines), *_shipped(context, baselines)]


# -- trained again ----------------------------------------------------------------------------


def _trained(context: Context, baselines: tuple[Row, ...]) -> list[Table]:
    title = "FD001, trained anew: error on the 100 test engines"
    found = trained_anew(context, "edge_agent.factory.turbofan.recipe")
    if isinstance(found, str):
        return [Table(title, COMMAND, absent=found)]
    rows = [{"name": name, **row} for name, row in found["rows"].items()]
    errors = tuple(row for row in rows if "rmse" in row or "rmse_capped" in row)
    intervals = tuple(row for row in rows if "coverage" in row or "coverage_capped" in row)
    seeds = f"{len(context.seeds)} seeds, mean (least to most). "
    notes = (seeds + str(found["protocol"]), *_tried(found))
    more = {"seeds": list(context.seeds)}
    named = {str(row["name"]) for row in errors}
    ours = (*(row for row in baselines if row["name"] not in named), *errors)
    table = Table(title, COMMAND, _COLUMNS, (*ours, *published.TURBOFAN), notes, extra=more)
    said = (f"{seeds}Nominal: 80 %.",)
    return [table, Table("FD001: 80 % interval", COMMAND, _INTERVAL, intervals, said, extra=more)]


def _tried(found: dict[str, Any]) -> tuple[str, ...]:
    tried = found.get("tried") or ()
    return (f"Tried, and kept out: {'; '.join(tried)}.",) if tried else ()


# -- as shipped -------------------------------------------------------------------------------


def _shipped(context: Context, baselines: tuple[Row, ...]) -> list[Table]:
    title = "FD001, the shipped files on the 100 test engines"
    folder = context.models / BUNDLE
    real = test_set(context, BUNDLE)
    if not folder.is_dir() or isinstance(real, str):
        reason = f"no bundle {BUNDLE}" if not folder.is_dir() else str(real)
        return [Table(title, COMMAND, absent=reason)]
    manifest = load_manifest(folder)
    truth = np.asarray(real["truth"], float)
    rows: list[Row] = []
    for variant, raw in graphs(folder).items():
        rul = outputs_of(raw, manifest, real["inputs"])["rul"] / real["hours_per_cycle"]
        figures = life_figures(rul, truth)
        rows.append({"name": f"{BUNDLE} {variant}", "bytes": len(raw), **figures})
    columns = (*_COLUMNS[:4], _COLUMNS[5], *_INTERVAL)
    note = f"{real['what']} The interval is the graph's own, before the daemon adapts it."
    return [Table(title, COMMAND, columns, (*baselines, *rows), (note,))]


# -- baselines --------------------------------------------------------------------------------


def _baselines(folder: Path) -> list[Row]:
    """A constant, and ridge on the mean, the last value and the slope of 30 cycles."""
    engines = _engines(folder / "train_FD001.txt")
    x, y = [], []
    for rows in engines:
        for end in range(_WINDOW, len(rows) + 1, 5):
            x.append(_features(rows[:end]))
            y.append(min(CAP, float(len(rows) - end)))
    truth = np.loadtxt(folder / "RUL_FD001.txt")
    judged = np.stack([_features(rows) for rows in _engines(folder / "test_FD001.txt")])
    told = _ridge(np.stack(x), np.asarray(y), judged)
    constant = np.full(len(truth), float(np.mean(y)))
    return [
        {"name": name, **_errors(value, truth)}
        for name, value in (("constant predictor", constant), ("ridge", told))
    ]


def _errors(told: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    found = life_figures(np.repeat(told[:, None], 3, axis=1).astype(np.float32), truth)
    return {key: found[key] for key in ("rmse_capped", "score_capped", "rmse", "score")}


def _engines(file: Path) -> list[NDArray[np.float64]]:
    """Rows of sensors by engine: columns as in readme.txt."""
    table = np.loadtxt(file)
    return [table[table[:, 0] == unit, 5:] for unit in np.unique(table[:, 0])]


def _features(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    window = rows[-_WINDOW:]
    steps = np.arange(len(window)) - (len(window) - 1) / 2
    slope = steps @ window / (steps @ steps)
    return np.concatenate([window.mean(axis=0), window[-1], slope])


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], judged: NDArray[np.float64]
) -> NDArray[np.float64]:
    center, spread = x.mean(axis=0), x.std(axis=0)
    used = spread > 1e-9  # noqa: PLR2004 (a sensor that never moves)
    z = (x[:, used] - center[used]) / spread[used]
    weights = np.linalg.solve(z.T @ z + _RIDGE * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    told = (judged[:, used] - center[used]) / spread[used] @ weights + y.mean()
    return np.asarray(np.clip(told, 0, CAP))
