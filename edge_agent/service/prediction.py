"""What the models say of a recording that a client sent; it is `replay`, for one asset.

The recording passes through the daemon's pipeline with a fresh state: windows, quality, models,
contributions and alarms are those that `edge-agent replay` finds in the same file. The pipeline is
handed in (`ReplayLoader`), because it is the daemon's.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.alarms import detail_json, transition_json
from edge_agent.clock import US_PER_MS
from edge_agent.config.schema import Kind
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.models import Task, VerifiedBundles
from edge_agent.service.prediction_table import TableError, as_keys, table_error, write_recording
from edge_agent.serving import fault_of, observation
from edge_agent.sources.replay import Playback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.pipeline import Step
    from edge_agent.plant import Plant
    from edge_agent.service.predict_api import SentTable
    from edge_agent.serving import Deployment, Scored
    from edge_agent.sources.replay import Finding
    from edge_agent.values import Columns, TensorBlock

NORMAL: Final = "normal"
MOST_WINDOWS: Final = 20_000  # in an answer: the newest
_MOST_TRANSITIONS: Final = 5_000
# What is predicted over the limit, if neither the model nor the config names the fault.
_FAULTS: Final[dict[str, str]] = {Task.ANOMALY: "anomaly", Task.REMAINING_LIFE: "end_of_life"}
_DISORDER: Final = frozenset({"earlier_time", "out_of_order"})
_HOUR_S: Final = 3600.0


class Replay(Protocol):
    """A pipeline with a fresh state and its models; `edge_agent.daemon.Replay` is one.

    scored: the windows of the last step.
    """

    scored: Sequence[Scored]

    @property
    def plant(self) -> Plant:
        """The assets of the config."""

    @property
    def deployments(self) -> Iterable[Deployment]:
        """The models that score them."""

    @property
    def without(self) -> Mapping[str, str]:
        """By asset, why no model scores it."""

    def walk(self, readings: Iterable[Columns | TensorBlock]) -> Iterator[Step]:
        """Process values and blocks in the order of time."""

    def close(self) -> None:
        """Close the models."""


class ReplayLoader(Protocol):
    """Loads and activates the models of a config; a process finds it by its name (pickle)."""

    async def __call__(self, config: Config, /, *, verified: VerifiedBundles, asset: str) -> Replay:
        """The models of `asset` alone; verified: bundles that need not be tried again."""


# The answer ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Collected:
    """What the walk through a recording has found so far."""

    windows: Counter[Deployment] = field(default_factory=Counter)
    last: dict[Deployment, tuple[Scored, int]] = field(default_factory=dict)
    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_WINDOWS))
    transitions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scored: Sequence[Scored], *, with_windows: bool) -> None:
        for one in scored:
            if not len(one.row):
                continue
            self.windows[one.deployment] += len(one.row)
            self.last[one.deployment] = one, int(np.argmax(one.end_us))
            if with_windows:
                self.rows.extend(_rows_of(one))


async def predict(
    table: SentTable, config: Config, load: ReplayLoader, verified: bytes = b""
) -> dict[str, Any]:
    """The answer to `POST /api/predict` for a config of one asset; see docs/client.md.

    verified: `VerifiedBundles.as_bytes` of the daemon. Raises TableError for data that do not fit,
    and ModelError if no model scores the asset.
    """
    known = VerifiedBundles()
    if verified:
        known.restore(verified)
    replay = await load(config, verified=known, asset=table.asset)
    try:
        with tempfile.TemporaryDirectory(prefix="edge-agent-predict-") as folder:
            return _answer(replay, table, Path(folder))
    finally:
        replay.close()


def _answer(replay: Replay, table: SentTable, folder: Path) -> dict[str, Any]:
    deployments = [one for one in replay.deployments if one.assets]
    if not deployments:
        why = replay.without.get(table.asset, "no model is configured")
        raise ModelError(f"no model scores {table.asset}: {why}", hint="GET /api/models says more")
    try:
        recording = _open(replay, table, deployments, folder / "table.csv")
        found = _Collected()
        for step in replay.walk(recording.readings()):
            found.add(replay.scored, with_windows=table.with_windows)
            found.transitions += map(transition_json, step.transitions)
    except (TableError, ModelError):
        raise
    except EdgeAgentError as error:
        raise table_error(error, folder) from error
    _check(recording)
    unjudged = {
        one.title: _why_not(recording, one) for one in deployments if not found.windows[one]
    }
    if not found.windows:
        raise next(iter(unjudged.values()))
    return _shown(found, recording, unjudged, table)


def _open(
    replay: Replay, table: SentTable, deployments: Sequence[Deployment], path: Path
) -> Playback:
    (asset,) = replay.plant.assets.values()
    names = [name for name, one in asset.signals.items() if one.config.kind is Kind.SCALAR]
    config = write_recording(table, path, names, _step_s(deployments))
    return Playback(config, replay.plant, quiet=True)


def _step_s(deployments: Sequence[Deployment]) -> float | None:
    """Seconds between two rows without times, the models' own step; None: times are needed."""
    manifests = [one.model.manifest for one in deployments]
    steps = {one.window.step_s for one in manifests if one.scalars and one.window.step_s}
    if len(steps) > 1 or any(one.season_zone for one in manifests):
        return None
    default_s = _HOUR_S if any(one.task == Task.REMAINING_LIFE for one in manifests) else 1.0
    return next(iter(steps), default_s)


def _check(recording: Playback) -> None:
    """TableError for what `replay` only notes: other units, and times that go back."""
    for column, unit in recording.report.other_units.items():
        what = f"column {column!r} has another unit than its signal, which is in {unit}"
        raise TableError(what, column=column, hint=f"convert it to {unit}, or name it without unit")
    for one in recording.report.findings():
        if one.cause in _DISORDER:
            raise _noted("times are not in order", one, "sort the rows")
    if not recording.n_values:
        for one in recording.report.refused():
            raise _noted("no value can be used", one, one.mend)


def _noted(what: str, finding: Finding, hint: str) -> TableError:
    text = str(finding).removesuffix(f" ({finding.mend})")
    return TableError(f"{what}: {text}", column=finding.column, hint=as_keys(hint))


def _why_not(recording: Playback, deployment: Deployment) -> TableError:
    """Why a model scored no window."""
    causes = recording.causes()
    specs = (*deployment.scalars, *deployment.own_tensors)
    pairs = zip(specs, deployment.signals[0], strict=True)
    lacking = {
        spec.name: causes[signal.index] if spec.kind == Kind.SCALAR else "a table has no waveforms"
        for spec, signal in pairs
        if signal is not None and (signal.index in causes or spec.kind != Kind.SCALAR)
    }
    if lacking:
        what = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        hint = f"model {deployment.title} needs {', '.join(spec.name for spec in specs)}"
        return TableError(f"inputs without values: {what}", column=next(iter(lacking)), hint=hint)
    rows, needed = deployment.windows.filled(0) if deployment.windows else (0, 0)
    step_s = deployment.model.manifest.window.step_s
    if rows < needed:
        every = f" of {step_s:g} s" if step_s else ""
        text = f"too short: {rows} rows{every}, and a window needs {needed}"
        return TableError(text, hint=f"send at least {needed} rows{every}, and no gaps")
    least = deployment.use.min_coverage
    text = f"no window has enough good values: {least:.0%} of each input, and the last one"
    noted = "; ".join(map(str, recording.report.findings()[:3]))
    return TableError(text, hint=noted or f"are the rows {step_s:g} s apart, without gaps?")


def _shown(
    found: _Collected, recording: Playback, unjudged: dict[str, TableError], table: SentTable
) -> dict[str, Any]:
    """The answer; its first level is the model with the worst result, as on the status page."""
    judged = {one: _finding(*last) for one, last in found.last.items()}
    worst = max(judged, key=lambda one: _order(judged[one]))
    lives = [one["rul_h"] for one in judged.values() if one["rul_h"]]
    models = [{**judged[one], "windows": found.windows[one]} for one in judged]
    report = recording.report
    return {
        **judged[worst],
        "asset": "" if table.model else table.asset,
        "rul_h": judged[worst]["rul_h"] or (lives[0] if lives else None),
        "models": models,
        "unjudged": {name: str(error) for name, error in unjudged.items()},
        "alarms": found.transitions[-_MOST_TRANSITIONS:],
        "windows": list(found.rows) if table.with_windows else None,
        "recording": {
            "rows": recording.n_rows,
            "values": recording.n_values,
            "read_as": report.read_as,
            "columns": [{**one.as_dict(), "file": one.path.name} for one in report.findings()],
            "unused": report.unused,
            "without_column": recording.without_column(),
        },
    }


def _order(finding: dict[str, Any]) -> float:
    return -np.inf if finding["level"] is None else float(finding["level"])


def _finding(scored: Scored, i: int) -> dict[str, Any]:
    """What a model says of a window: as in an alert, and what it predicts."""
    deployment = scored.deployment
    view = detail_json(observation(scored, i, replayed=True).detail)
    prediction, probability = _predicted(scored, i)
    view |= {"prediction": prediction, "probability": probability}
    view |= {"limit": scored.limit * float(deployment.margin[scored.row[i]])}
    view |= {"level": _number(scored.level[i]), "health": _number(scored.health[i])}
    view |= {"task": deployment.model.manifest.task, "use": deployment.title}
    return view


def _predicted(scored: Scored, i: int) -> tuple[str | None, float | None]:
    """`normal` or the fault, and its probability if the model has one; None: it gave no number."""
    deployment, level = scored.deployment, scored.level[i]
    if np.isnan(level):
        return None, None
    chances = scored.outputs.probabilities
    if level < 1.0:
        return NORMAL, None if chances is None else _number(chances[i, 0])
    uncertain = bool(scored.is_uncertain[i])
    fault, probability = fault_of(scored, i, is_uncertain=uncertain)
    task = deployment.model.manifest.task
    return fault or _FAULTS.get(task, "fault"), _number(probability)


def _rows_of(scored: Scored) -> Iterator[dict[str, Any]]:
    """All windows, in short."""
    rul = scored.outputs.rul
    for i in range(len(scored.row)):
        prediction, probability = _predicted(scored, i)
        yield {
            "use": scored.deployment.title,
            "start_ms": int(scored.start_us[i]) // US_PER_MS,
            "end_ms": int(scored.end_us[i]) // US_PER_MS,
            "coverage": _number(scored.coverage[i]),
            "prediction": prediction,
            "probability": probability,
            "score": _number(scored.outputs.score[i]),
            "level": _number(scored.level[i]),
            "health": _number(scored.health[i]),
            "rul_h": None if rul is None else _number(rul[i, 1]),
        }


def _number(value: float | np.floating[Any] | None) -> float | None:
    """The seven digits that a float32 has; None if it is not finite."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.7g}")
