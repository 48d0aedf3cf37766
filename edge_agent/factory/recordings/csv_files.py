"""A user's own recordings: the YAML that describes them, and their rows on the model's grid."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import numpy as np

from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Between, Name
from edge_agent.errors import UsageError
from edge_agent.models import InputSpec, Manifest, OutputNames, Task, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.calibrate import Finish
    from edge_agent.factory.losses import Loss
    from edge_agent.factory.recipe import Answer, Arrays, Context, Samples, Splits

    Truth = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]

TENSOR: Final = "x"
_TIMES: Final = ("time", "timestamp", "datetime", "date", "ts")
_SEPARATORS: Final = ";\t,"
_MOST_HELD_OUT: Final = 0.7
_LEAST_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of recordings for calibration and for judging; the rest is for training."""

    valid: Annotated[float, Between(0.05, 0.6)] = 0.2
    test: Annotated[float, Between(0.05, 0.6)] = 0.2


@dataclass(frozen=True, slots=True)
class Teaching:
    """See `Training` of this package."""

    epochs: Annotated[int, Between(1, 10_000)] = 60
    batch: Annotated[int, Between(1, 65_536)] = 256
    learning_rate: Annotated[float, Between(1e-6, 1)] = 2e-3
    mix_up: Annotated[float, Between(0, 10)] = 1.0
    prune: Annotated[float, Between(0, 0.9)] = 0.3
    prune_epochs: Annotated[int, Between(1, 10_000)] = 30
    hidden: tuple[int, ...] = (48, 24)
    hard_share: Annotated[float, Between(0, 1)] = 0.3


@dataclass(frozen=True, slots=True)
class Recordings:
    """A recipe in YAML.

    files: a pattern below the YAML's folder; each file is one unit, and no unit is in two splits.
    time: the column of times (seconds since the epoch, or ISO 8601), found by its usual names.
    classification: `label` names the column with the class, `healthy` its value of health.
    remaining_life: each file ends with the failure; `cap_h` is the longest life that is predicted.
    threshold: hours left at which an alarm is raised (remaining_life).
    """

    name: Name
    task: Task
    files: str
    inputs: tuple[InputSpec, ...]
    window: WindowSpec = field(default_factory=WindowSpec)
    time: str = ""
    label: str = ""
    healthy: str = "healthy"
    cap_h: Annotated[float, Between(0, 1e6)] = 0.0
    threshold: Annotated[float, Between(0, 1e6)] = 0.0
    false_alarms_per_day: Annotated[float, Between(0, 1e6)] = 0.1
    shares: Shares = field(default_factory=Shares)
    training: Teaching = field(default_factory=Teaching)
    card: dict[str, str] = field(default_factory=dict)
    version: str = "1.0"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if not self.inputs:
            yield "inputs", "a model needs at least one input"
        if not self.window.step_s:
            yield "window.step_s", "recordings need a grid: give the seconds between two rows"
        if self.task is Task.ANOMALY:
            yield "task", "learn it on the box: edge-agent learn"
        if self.task is Task.CLASSIFICATION and not self.label:
            yield "label", "missing: which column holds the class"
        if self.task is Task.REMAINING_LIFE:
            for key in ("cap_h", "threshold"):
                if not getattr(self, key):
                    yield key, "missing: hours"
        if self.shares.valid + self.shares.test > _MOST_HELD_OUT:
            yield "shares", f"valid and test together are more than {_MOST_HELD_OUT}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One file on the grid: rows [T, C], oldest first, and the label of each row, if any [T]."""

    file: Path
    rows: NDArray[np.float32]
    labels: tuple[str, ...]


class Parts(NamedTuple):
    """The parts that differ between tasks; see `factory.Recipe`.

    truth(recording, ends): target [n, K], anomalous [n], and the mask of usable windows [n].
    outputs: of the student.
    """

    manifest: Manifest
    truth: Callable[[Recorded, NDArray[np.int64]], Truth]
    teacher: Callable[[Splits, Context], Answer]
    as_outputs: Callable[[NDArray[np.float32]], Arrays]
    loss: Loss
    finish: Finish
    metrics: Callable[[Arrays, Samples], dict[str, float]]
    outputs: int


def manifest_of(
    spec: Recordings,
    outputs: OutputNames,
    *,
    threshold: float,
    teacher: dict[str, str],
    classes: tuple[str, ...],
) -> Manifest:
    """A recipe's manifest before training."""
    return Manifest(
        name=spec.name,
        version=Name(spec.version),
        task=spec.task,
        inputs=spec.inputs,
        outputs=outputs,
        window=replace(spec.window, tensor=TENSOR),
        threshold=threshold,
        classes=classes,
        teacher=teacher,
    )


def load_recipe(path: Path) -> Recordings:
    """Read the YAML; ConfigError lists all its problems."""
    try:
        return parse_struct(path.read_text(encoding="utf-8"), path, Recordings)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path)) from error


def read_recordings(spec: Recordings, folder: Path) -> list[Recorded]:
    """All files of a recipe, in the order of their names; UsageError names a wrong one."""
    found = [_read(file, spec) for file in sorted(folder.glob(spec.files))]
    for one in found:
        empty = np.flatnonzero(np.isnan(one.rows).any(axis=0)).tolist()
        if empty:
            name = spec.inputs[empty[0]].name
            raise UsageError(
                f"no value of {name} at the start of the recording", where=str(one.file)
            )
    return found


def _read(file: Path, spec: Recordings) -> Recorded:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        first = stream.readline()
        stream.seek(0)
        separator = max(_SEPARATORS, key=first.count)
        head, *body = list(csv.reader(stream, delimiter=separator)) or [[]]
    if not body:
        raise UsageError("no rows", where=str(file))
    columns = {name.strip(): index for index, name in enumerate(head)}
    time = spec.time or next((n for n in columns if n.lower() in _TIMES), "")
    wanted = [time or "time", *(i.name for i in spec.inputs), *([spec.label] if spec.label else [])]
    missing = [name for name in wanted if name not in columns]
    if missing:
        hint = f"it has {', '.join(columns)}"
        raise UsageError(f"no column {', '.join(missing)}", where=str(file), hint=hint)
    try:
        times = np.array([_seconds(row[columns[time]]) for row in body])
        values = np.array([[_number(row[columns[i.name]]) for i in spec.inputs] for row in body])
    except (ValueError, IndexError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from error
    labels = [row[columns[spec.label]].strip() for row in body] if spec.label else []
    if len(times) < _LEAST_ROWS or (np.diff(times) < 0).any():
        raise UsageError(
            "fewer than two rows, or times that are not in ascending order", where=str(file)
        )
    return _on_grid(file, times, values, labels, spec.window.step_s)


def _on_grid(
    file: Path,
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    labels: list[str],
    step: float,
) -> Recorded:
    """The newest value up to each grid step, as in the daemon; gaps hold the last value."""
    grid = np.arange(np.ceil(times[0] / step), np.floor(times[-1] / step + 1e-6) + 1) * step
    newest = np.searchsorted(times, grid + step * 1e-6, side="right") - 1
    rows = _held(values)[newest].astype(np.float32)
    return Recorded(file, rows, tuple(labels[i] for i in newest if labels))


def _held(values: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(index, axis=0), axis=0)


def _seconds(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        moment = datetime.fromisoformat(cell.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else float("nan")
