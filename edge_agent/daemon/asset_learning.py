"""Learning of assets: progress, activation of finished baselines, and reports to users.

It also reports model inputs too large for float32's resolution: learning again fixes them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.learning import BaselineLearning, Training, WaveTraining
    from edge_agent.models import InputSpec, Manifest
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline

log = logging.getLogger("edge_agent.models")

EVERY_S: Final = 1.0
_CHECK_EVERY_S: Final = 5.0
_PROBE_EVERY_S: Final = 60.0
_NAMED: Final = 3  # assets in one line
_MINUTE_S: Final = 60.0
# An asset of which the step is not known yet.
_SEARCHED: Final[dict[str, Any]] = {
    "progress": 0.0,
    "rows": 0,
    "wanted_rows": None,
    "step_s": None,
    "step_found": False,
    "left_out": {},
    "failure": "",
}
_WHOLE: Final = 2.0**24  # above it float32 cannot hold all whole numbers


class AssetLearning:
    """Runs the learning of the present runtime.

    refresh: updates the models in service to the bundles on disk.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        resolution: ResolutionWatch,
        refresh: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._resolution = resolution
        self._refresh = refresh
        self._clock = clock
        self._checked_s = self._probed_s = -_PROBE_EVERY_S

    async def learn(self) -> None:
        """Learn what is ready, and periodically check what keeps assets from learning."""
        runtime, now_s = self._runtime(), self._clock.monotonic_s()
        pipeline, models = runtime.pipeline, runtime.models
        if now_s - self._checked_s >= _CHECK_EVERY_S:
            self._checked_s = now_s
            pipeline.learning.check_inputs()
            pipeline.waves.check_inputs()
            self._resolution.compare(pipeline)
        learns = pipeline.learning.learning_assets() or pipeline.waves.learning_assets()
        if learns and now_s - self._probed_s > _PROBE_EVERY_S:
            self._probed_s = now_s
            await models.probe_disk()
        await models.learn_what_is_ready()
        if runtime.pipeline is not self._runtime().pipeline:  # the learned bundle is on disk
            await self._refresh()


# -- reports -----------------------------------------------------------------------------------


def learning_faults(runtime: Runtime, monotonic_s: float) -> list[Fault]:
    """What keeps assets from learning: one fault per template, and one if none can learn."""
    pipeline, problem = runtime.pipeline, runtime.models.write_problem
    learning, waves, found = pipeline.learning, pipeline.waves, []
    if problem and (learning.learning_assets() or any(waves.learning_assets().values())):
        found.append(Fault("learning", problem, Detail("learning_failed", {"reason": problem})))
    obstacles, stopped = learning.obstacles(), waves.obstacles()
    for template, assets in learning.learning_assets().items():
        failed = [] if problem else [one for one in _open(learning, template) if one.failure]
        blocked = [asset for asset in assets if asset in obstacles]
        found += _faults_of(f"learning.{template}", failed, blocked, obstacles, monotonic_s)
    for template, wave_trainings in waves.learning_assets().items():
        broken = [] if problem else [one for one in wave_trainings if one.failure]
        blocked = [one.asset.id for one in wave_trainings if one.asset.id in stopped]
        what = f"learning.{template}.waveforms"
        found += _faults_of(what, broken, blocked, stopped, monotonic_s)
    return found


def _faults_of(
    what: str,
    failed: Sequence[Training | WaveTraining],
    blocked: list[str],
    obstacles: Mapping[str, str],
    monotonic_s: float,
) -> list[Fault]:
    """The fault of some assets that failed to learn, or that cannot continue."""
    if failed:
        wait_min = max(0.0, failed[0].retry_s - monotonic_s) / _MINUTE_S
        reason = f"{_named([one.asset.id for one in failed])}: {failed[0].failure}"
        text = f"learning failed: {reason}; the rows are kept, next try in {wait_min:.0f} min"
        return [Fault(what, text, Detail("learning_failed", {"reason": reason}))]
    if blocked:
        reason = f"{_named(blocked)} {obstacles[blocked[0]]}"
        text = f"learning is stopped: {reason}"
        return [Fault(what, text, Detail("learning_blocked", {"reason": reason}))]
    return []


def _open(learning: BaselineLearning, template: str) -> list[Training]:
    groups = [each for each in learning.values() if each.template == template]
    return [one for group in groups for one in group.trainings if not one.is_done]


def _named(assets: list[str]) -> str:
    more = len(assets) - _NAMED
    return ", ".join(assets[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def learning_rows(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The progress of each asset, as the API shows it."""
    learning, obstacles = pipeline.learning, pipeline.learning.obstacles()
    found: list[dict[str, Any]] = [
        {
            "asset": one.asset.id,
            "progress": round(min(1.0, rows / group.wanted_rows), 3),
            "rows": rows,
            "wanted_rows": group.wanted_rows,
            "step_s": group.scale.step_s,
            "step_found": group.scale.is_found,
            "left_out": group.left_out(one),
            "failure": one.failure,
        }
        for group in learning.values()
        for one in group.trainings
        if not one.is_done
        for rows in (one.choice.complete(),)
    ]
    found += [{"asset": search.asset.id, **_SEARCHED} for search in learning.searches]
    rows = [{**row, "obstacle": obstacles.get(row["asset"], "")} for row in found]
    of_cameras = [] if pipeline.pictures is None else pipeline.pictures.learning_rows()
    return [*rows, *_wave_rows(pipeline), *of_cameras]


def _wave_rows(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The progress of waveforms: rows are windows, which come every `step_s`."""
    obstacles = pipeline.waves.obstacles()
    return [
        {
            "asset": one.asset.id,
            "progress": round(min(1.0, one.n / wanted), 3),
            "rows": one.n,
            "wanted_rows": wanted,
            "step_s": one.spacing_s,
            "step_found": True,
            "left_out": group.left_out(one),
            "failure": one.failure,
            "obstacle": obstacles.get(one.asset.id, ""),
        }
        for group in pipeline.waves.values()
        for one in group.trainings
        if not one.is_done
        for wanted in (group.wanted(one),)
    ]


def export_learning(runtime: Runtime, metrics: Metrics) -> None:
    """Update the gauges of learning; those of assets that do not learn are removed."""
    gauges = metrics.learning_progress, metrics.learning_stopped, metrics.learning_step_seconds
    for gauge in (*gauges, metrics.baseline_provisional_seconds):
        gauge.clear()
    for row in learning_rows(runtime.pipeline):
        metrics.learning_progress.labels(row["asset"]).set(row["progress"])
        stopped = bool(row["obstacle"] or row["failure"])
        metrics.learning_stopped.labels(row["asset"]).set(stopped)
        if row["step_s"] is not None:
            metrics.learning_step_seconds.labels(row["asset"]).set(row["step_s"])
    for asset, seconds in runtime.pipeline.deployments.baselines.provisional().items():
        metrics.baseline_provisional_seconds.labels(asset).set(seconds)


def notes(runtime: Runtime, unresolved: Mapping[str, str]) -> dict[str, str]:
    """By asset, notes on its models and its learning.

    unresolved: by asset, the note on inputs that its models cannot resolve.
    """
    pipeline, models = runtime.pipeline, runtime.models
    found = {asset: [why] for asset, why in models.without.items() if why != "learning"}
    for asset, seconds in pipeline.deployments.baselines.provisional().items():
        minutes = seconds / _MINUTE_S
        found.setdefault(asset, []).append(f"provisional baseline from {minutes:.0f} min of data")
    for row in learning_rows(pipeline):
        found.setdefault(row["asset"], []).append(_progress_text(row))
    for asset, (rows, length) in pipeline.deployments.reports.first_windows().items():
        found.setdefault(asset, []).append(f"warming {rows}/{length} rows")
    for asset, text in (*unresolved.items(), *pipeline.deployments.reports.unjudged().items()):
        found.setdefault(asset, []).append(text)
    for asset, names in pipeline.deployments.baselines.left_out().items():
        found.setdefault(asset, []).append(f"learned without {names}")
    return {asset: "; ".join(parts) for asset, parts in found.items()}


def _progress_text(row: dict[str, Any]) -> str:
    text = f"learning {100 * row['progress']:.0f} %"
    if row["step_s"] is None:
        text += ", finds its step"
    if row["obstacle"]:
        text += f", stands still {row['obstacle']}"
    if row["left_out"]:
        text += ", without " + ", ".join(f"{n} ({why})" for n, why in row["left_out"].items())
    return text + (f", failed: {row['failure']}" if row["failure"] else "")


# -- inputs that float32 cannot resolve --------------------------------------------------------


def unresolved_inputs(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """By asset, the inputs of its models that are too large for float32, with their values."""
    found: dict[str, dict[str, float]] = {}
    for deployment in pipeline.deployments:
        names = [
            s.name for s in deployment.scalars if _reads_large_values(deployment.model.manifest, s)
        ]
        for asset in deployment.assets if names else ():
            for name in names:
                signal = deployment.signal_of(asset, name)
                value = np.nan if signal is None else float(pipeline.watch.value[signal.index])
                if abs(value) > _WHOLE:
                    found.setdefault(asset.id, {})[name] = value
    return found


def _reads_large_values(manifest: Manifest, spec: InputSpec) -> bool:
    """True if the model gets large values unchanged; learning adds an offset if needed."""
    if spec.offset or spec.counter:
        return False
    if "held_out_asset_days" not in manifest.calibration:
        return True
    return spec.name in manifest.calibration.get("judged_by_their_rate", "").split(", ")


class ResolutionWatch:
    """Reports once for each asset and input that a model cannot resolve it."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._reported: set[tuple[str, str]] = set()

    def compare(self, pipeline: Pipeline) -> None:
        """Check the present values of all inputs."""
        self.found = unresolved_inputs(pipeline)
        for asset, name, value in self._newly_found():
            step = float(np.spacing(np.float32(abs(value))))
            extra = {"asset": asset, "input": name, "value": value, "resolution": step}
            log.warning("float32 is too coarse for an input, give it an offset", extra=extra)

    def _newly_found(self) -> Iterator[tuple[str, str, float]]:
        for asset, inputs in self.found.items():
            for name, value in inputs.items():
                if (asset, name) not in self._reported:
                    self._reported.add((asset, name))
                    yield asset, name, value

    def notes(self) -> dict[str, str]:
        """By asset, the note for the page."""
        text = "too large for float32 (give the model's input an offset, or learn again)"
        return {asset: f"{', '.join(inputs)} {text}" for asset, inputs in self.found.items()}
