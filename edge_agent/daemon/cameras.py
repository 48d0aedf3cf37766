"""Pictures of cameras: through their process into the pipeline, and into alarms and the page.

A picture waits in `PictureQueue`, is decoded and judged in the process, and its answer enters the
intake like any value: a camera is a signal of its asset. So quality, staleness, scores, alarms,
versions and shadows are those of all inputs; here is what only pictures have: boxes, thumbnails,
so many of the last pictures.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from edge_agent.alarms import model_alarm_id, quality_alarm_id
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.daemon.camera_learning import CameraLearning
from edge_agent.daemon.picture_queue import PictureQueue
from edge_agent.daemon.picture_views import SeenPicture, contributors_of, info_of
from edge_agent.labelled import LabelledPicture
from edge_agent.messages import Observation, TransitionKind
from edge_agent.models import PictureManifest
from edge_agent.models.runtime.picture_child import PictureQuestion
from edge_agent.models.runtime.picture_decode import PictureLimits
from edge_agent.models.runtime.picture_engine import PictureAnswer, PictureEngines
from edge_agent.models.runtime.picture_process import PictureProcess
from edge_agent.signals import FAULTS, Look
from edge_agent.store import KeptPicture, PictureFolder
from edge_agent.values import BAD, SEVERITY_SHIFT, TensorBlock, columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config, PictureAlarm, PlantCamera
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.labelled_writer import LabelledWriter
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.detection import Pause
    from edge_agent.messages import PictureInfo, Transition
    from edge_agent.models import Model
    from edge_agent.models.runtime.picture_process import Inspected
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantSignal
    from edge_agent.signals import EncodedPicture

T = TypeVar("T")

log = logging.getLogger("edge_agent.daemon")

WITH_DATA: Final = 3  # pictures of a camera that are kept as they came, in memory
RECENT: Final = 24  # pictures of a camera that the page shows, in memory
_UNJUDGED_LEVEL: Final = 0.99  # of a score over its limit that is not yet one of enough
_RATE_PICTURES: Final = 16
_DAY_US: Final = 86_400 * US_PER_S
_BAD: Final = BAD >> SEVERITY_SHIFT
_SHOWN: Final = frozenset({TransitionKind.RAISE, TransitionKind.UPDATE})


@dataclass(slots=True)
class _CameraState:
    """What is known of a camera while the service runs.

    levels: time and score of the newest pictures that were judged; seen: the newest ones of all.
    """

    seen: deque[SeenPicture] = field(default_factory=lambda: deque(maxlen=RECENT))
    scores: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=100))
    arrived_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_PICTURES))
    faults: tuple[str, ...] = ()
    error: str = ""
    pictures: int = 0
    inspected: int = 0
    dropped: int = 0
    refused: int = 0


def cameras_of(
    config: Config,
    runtime: Callable[[], Runtime],
    boundary: ErrorBoundary,
    metrics: Metrics,
    clock: Clock,
) -> Cameras:
    """The cameras of a config."""
    kept, store = config.pictures, config.store.path
    folder = PictureFolder(
        kept.folder or store.with_name(f"{store.name}.pictures"),
        kept.max_pictures,
        kept.max_bytes,
        round(kept.days * _DAY_US),
    )
    return Cameras(runtime, PictureProcess(), folder, boundary, metrics, clock)


class Cameras:
    """All cameras of the service.

    engines: opens the models of pictures, for the registry. labelled: takes the pictures of alarms
    for the labelled set. process, folder: their calls block, so each has a thread.
    """

    labelled: LabelledWriter | None = None
    on_judged: Callable[[SeenPicture], None] | None = None  # joins pictures with parts

    def __init__(  # noqa: PLR0913, PLR0917 (the parts of the daemon that pictures pass)
        self,
        runtime: Callable[[], Runtime],
        process: PictureProcess,
        folder: PictureFolder,
        boundary: ErrorBoundary,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._process = process
        self.engines = PictureEngines(process)
        self.learning = CameraLearning(lambda: runtime().config, folder.folder / "learning", clock)
        self._folder = folder
        self._boundary = boundary
        self._metrics = metrics
        self._clock = clock
        self._queue = PictureQueue()
        self._states: dict[str, _CameraState] = {}
        self._inspecting = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")

    # -- in -----------------------------------------------------------------------------------

    def accept(self, picture: EncodedPicture) -> None:
        """Take a picture from its source; the oldest of its camera is dropped if too many wait."""
        state = self._state(picture.camera)
        state.pictures += 1
        state.arrived_s.append(self._clock.monotonic_s())
        self._metrics.pictures.labels(picture.camera, "received").inc()
        for camera, count in self._queue.put(picture).items():
            self._state(camera).dropped += count
            self._metrics.pictures.labels(camera, "dropped").inc(count)

    async def run(self) -> None:
        """Inspect the pictures that wait, one after the other, for ever."""
        while True:
            picture = await self._queue.take()
            await self._boundary.guard("pictures", self.inspect(picture))

    async def inspect(self, picture: EncodedPicture) -> None:
        """Let the process decode and judge a picture; its answer goes into the intake."""
        found = self._place(picture.camera)
        if found is None:
            return  # its asset is another gateway's, or the config has changed
        camera, signal = found
        begin_s = self._clock.monotonic_s()
        models = self._models(camera)
        answer = await self._ask(picture, camera, models)
        now = self._models(camera)
        if now and now[0].sha256 not in answer.outputs and not (answer.faults or answer.error):
            # Another version is active since, or it failed: ask the one that may replace it, too.
            standby = self._runtime().pipeline.deployments.standby(str(now[0].manifest.name))
            if standby is not None or now != models:
                more = () if standby is None else (standby,)
                answer = await self._ask(picture, camera, (*now, *more))
        self._metrics.picture_seconds.labels(picture.camera).observe(
            self._clock.monotonic_s() - begin_s
        )
        self._pass_on(picture, signal, answer, now)

    async def _ask(
        self, picture: EncodedPicture, camera: PlantCamera, models: Sequence[Model]
    ) -> Inspected:
        question = PictureQuestion(
            picture.camera,
            camera.view,
            limits=PictureLimits(camera.max_bytes, camera.max_pixels),
            **_seen_by(models),
            models=tuple(dict.fromkeys(one.sha256 for one in models)),
        )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._inspecting, self._process.inspect, picture, question
        )

    def _models(self, camera: PlantCamera) -> list[Model]:
        """The versions that judge the pictures of a camera, the active one first."""
        return self._runtime().pipeline.deployments.judging(camera.judged_by)

    def _place(self, name: str) -> tuple[PlantCamera, PlantSignal] | None:
        """The config of a camera and its signal; None if it has no asset here."""
        runtime = self._runtime()
        camera = runtime.config.cameras.get(name)  # type: ignore[call-overload]
        asset = None if camera is None else runtime.plant.assets.get(camera.asset)
        if camera is None or asset is None or name not in asset.cameras:
            return None
        return camera, asset.signals[name]

    def _pass_on(
        self,
        picture: EncodedPicture,
        signal: PlantSignal,
        answer: Inspected,
        models: Sequence[Model],
    ) -> None:
        """Put the answer into the intake, as a score or as a value of bad quality."""
        state, intake = self._state(picture.camera), self._runtime().intake
        at_us = picture.at_ns // 1000
        seen = _seen(picture, signal, answer, models[0] if models else None)
        state.faults, state.error = answer.faults, answer.error
        if seen.thumbnail:
            if len(state.seen) >= WITH_DATA:
                state.seen[-WITH_DATA].data = b""
            state.seen.append(seen)
        if answer.status >> SEVERITY_SHIFT >= _BAD:
            state.refused += 1
            self._metrics.pictures.labels(picture.camera, answer.reason or "not_judged").inc()
            intake.append(columns([signal.index], [at_us], [np.nan], answer.status))
            return
        state.inspected += 1
        self._metrics.pictures.labels(picture.camera, "inspected").inc()
        if not models:
            self._collect(picture)
            intake.append(columns([signal.index], [at_us], [0.0], answer.status))
            return
        score = np.nan if seen.score is None else seen.score
        if seen.score is not None:
            state.scores.append((at_us, seen.score))
            if self.on_judged is not None:
                self.on_judged(seen)
        number = self.engines.answers.add(PictureAnswer(answer.outputs, answer.errors))
        samples = np.array([number, score if np.isfinite(score) else 0.0], np.float32)
        intake.append_block(
            TensorBlock(signal.index, at_us, 0.0, samples, answer.status, "picture")
        )

    def _collect(self, picture: EncodedPicture) -> None:
        """Keep a good picture to learn from."""
        camera = self._runtime().config.cameras[picture.camera]  # type: ignore[index]
        if self.learning.wants(picture.camera, camera, picture.at_ns // 1000):
            self._writing.submit(self._guarded, self.learning.add, picture, camera)

    def _guarded(self, write: Callable[..., object], *args: object) -> None:
        """Write on the thread; a failure is logged."""
        try:
            write(*args)
        except OSError as error:
            extra = {"folder": str(self._folder.folder), "reason": str(error)}
            log.warning("picture not kept", extra=extra)

    def _state(self, name: str) -> _CameraState:
        return self._states.setdefault(name, _CameraState())

    # -- alarms (`pipeline.PictureWatch`) --------------------------------------------------------

    def describe(self, found: list[Observation | Pause]) -> list[Observation | Pause]:
        """The same observations; those of cameras with boxes, and of enough pictures."""
        cameras = self._alarm_ids()
        return [
            self._described(one, *cameras[one.alarm_id])
            if isinstance(one, Observation) and one.alarm_id in cameras
            else one
            for one in found
        ]

    def _alarm_ids(self) -> dict[str, tuple[str, bool]]:
        """By alarm id, its camera, and if it is that of its quality."""
        found: dict[str, tuple[str, bool]] = {}
        for name in self._runtime().config.cameras:
            place = self._place(name)
            if place is not None:
                found[model_alarm_id(place[0].asset, name)] = (name, False)
                found[quality_alarm_id(place[1])] = (name, True)
        return found

    def _described(self, one: Observation, camera: str, of_quality: bool) -> Observation:  # noqa: FBT001 (a column)
        if of_quality:
            return self._with_fault(one, camera)
        window = one.detail.window
        state, rule = self._state(camera), self._runtime().config.cameras[camera].alarm  # type: ignore[index]
        seen = None
        if window is not None:
            seen = next((s for s in reversed(state.seen) if s.at_us == window.end_us), None)
        level = _level_of_several(one, state.scores, rule.over, rule.of)
        if seen is None:
            return replace(one, level=level)
        seen.limit = float(one.detail.message_args.get("limit") or seen.limit or 0.0)
        view, regions = self._runtime().config.cameras[camera].view, seen.regions()  # type: ignore[index]
        picture = info_of(seen, regions, view)
        contributors = contributors_of(seen, regions, picture) or one.detail.contributors
        key, args = one.detail.message_key, one.detail.message_args
        if key == "anomaly":
            key, args = (
                "anomaly_picture",
                {**args, **_said(camera, picture, state.scores, rule, seen)},
            )
        detail = replace(
            one.detail,
            message_key=key,
            message_args=args,
            picture=picture,
            contributors=contributors,
        )
        return replace(one, level=level, detail=detail)

    def _with_fault(self, one: Observation, camera: str) -> Observation:
        """Say what is wrong with the pictures of a camera in its quality alarm."""
        state, detail = self._state(camera), one.detail
        if detail.message_key not in {"sensor_bad", "sensor_out_of_range"} or one.level < 1.0:
            return one
        reason = FAULTS[state.faults[0]].text if state.faults else state.error
        if not reason:
            return one
        key = f"camera_{state.faults[0]}" if state.faults else "camera_unreadable"
        args = {**detail.message_args, "reason": reason}
        return replace(
            one, detail=replace(detail, message_key=key, message_args=args, failure_mode=key)
        )

    def follow_transitions(self, transitions: Sequence[Transition]) -> None:
        """Keep the pictures of alarms that are announced, on the disk."""
        for one in transitions:
            detail = one.alarm.detail
            if one.kind in _SHOWN and detail is not None and detail.picture is not None:
                seen = self._in_memory(detail.picture.picture_id)
                if seen is not None:
                    self._keep(one, seen)

    def _keep(self, one: Transition, seen: SeenPicture) -> None:
        if not seen.is_kept:
            seen.is_kept = True
            self._writing.submit(self._guarded, self._write, seen)
        if one.kind is TransitionKind.RAISE and self.labelled is not None and seen.data:
            alarm = one.alarm
            self.labelled.keep(LabelledPicture(alarm.alarm_id, alarm.asset, one.at_us, seen.data))

    def _write(self, seen: SeenPicture) -> None:
        kept = KeptPicture(seen.picture_id, seen.at_us, seen.thumbnail, seen.facts())
        self._folder.add(kept, self._clock.now_us())

    # -- out (`service.CameraProvider`) ----------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """The cameras of this gateway, as the API shows them."""
        found = []
        for name in self._runtime().config.cameras:
            place = self._place(name)
            if place is not None:
                found.append(self._row(str(name), *place))
        return found

    def _row(self, name: str, camera: PlantCamera, signal: PlantSignal) -> dict[str, Any]:
        state, watch = self._state(name), self._runtime().pipeline.watch
        models, last = self._models(camera), state.seen[-1] if state.seen else None
        at_us = int(watch.time_us[signal.index])
        is_seen = not watch.unseen()[signal.index]
        return {
            "camera": name,
            "asset": camera.asset,
            "alarm_id": model_alarm_id(camera.asset, name),
            "last_ms": at_us // US_PER_MS if is_seen else None,
            "rate_hz": _rate_hz(state.arrived_s, self._clock.monotonic_s()),
            "quality": watch.quality_of(signal.index) if is_seen else "no_data",
            "faults": list(state.faults),
            "error": state.error,
            "score": None if last is None else last.score,
            "limit": None if last is None else last.limit,
            "learning": None if models else self.learning.row(name, camera),
            "model": str(models[0].manifest.name) if models else None,
            "version": str(models[0].manifest.version) if models else None,
            "pictures": state.pictures,
            "inspected": state.inspected,
            "dropped": state.dropped,
            "refused": state.refused,
        }

    def learning_rows(self) -> list[dict[str, Any]]:
        """The progress of the cameras that learn, as that of assets."""
        return [row["learning"] for row in self.rows() if row["learning"] is not None]

    async def pictures(self, name: str, count: int) -> list[dict[str, Any]] | None:
        """The newest pictures of a camera, those of alarms also from before a restart."""
        if self._place(name) is None:
            return None
        recent = [one.facts() for one in reversed(self._state(name).seen)]
        known = {row["id"] for row in recent}
        kept = await self._on_disk(lambda: self._kept_facts(name, count))
        rows = recent + [row for row in kept or () if row["id"] not in known]
        rows.sort(key=lambda row: -row["at_ms"])
        return rows[:count]

    def _kept_facts(self, name: str, count: int) -> list[dict[str, Any]]:
        ids = self._folder.newest(f"{name}-", count)
        return [facts for one in ids if (facts := self._folder.facts(one)) is not None]

    async def thumbnail(self, picture_id: str) -> bytes | None:
        """The JPEG of a picture; None if it is not kept."""
        seen = self._in_memory(picture_id)
        if seen is not None:
            return seen.thumbnail
        return await self._on_disk(lambda: self._folder.thumbnail(picture_id))

    async def _on_disk(self, work: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writing, work)
        except OSError as error:
            log.warning("pictures not read", extra={"reason": str(error)})
            return None

    def _in_memory(self, picture_id: str) -> SeenPicture | None:
        state = self._states.get(picture_id.rpartition("-")[0])
        if state is None:
            return None
        return next((one for one in state.seen if one.picture_id == picture_id), None)

    async def stop(self) -> None:
        """End the process and the threads; safe when repeated."""
        await asyncio.to_thread(self._process.stop)
        self._inspecting.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._writing.shutdown)


def _seen_by(models: Sequence[Model]) -> dict[str, Any]:
    """What the active version says of its pictures: their side, and how they should look."""
    manifest = models[0].manifest if models else None
    if not isinstance(manifest, PictureManifest):
        return {}
    look = Look(**manifest.look) if manifest.look else None
    return {"size": manifest.side, "reference": look}


def _seen(
    picture: EncodedPicture, signal: PlantSignal, answer: Inspected, model: Model | None
) -> SeenPicture:
    at_us = picture.at_ns // 1000
    seen = SeenPicture(
        f"{picture.camera}-{at_us:x}{secrets.token_hex(3)}",
        picture.camera,
        signal.asset.id,
        at_us,
        answer.width,
        answer.height,
        answer.thumbnail,
        picture.part,
        picture.data,
        faults=answer.faults,
    )
    outputs = None if model is None else answer.outputs.get(model.sha256)
    if model is None or outputs is None:
        return seen
    named = model.manifest.outputs.named()
    by_role = {role: outputs[tensor][None] for role, tensor in named.items()}
    seen.score = float(model.manifest.task_row.outputs_of(by_role).score[0])  # type: ignore[arg-type]
    seen.limit = float(model.manifest.threshold)
    seen.heat = None if "map" not in named else np.asarray(outputs[named["map"]], np.float32)
    if "probabilities" in named:
        shares = outputs[named["probabilities"]].tolist()
        seen.classes = dict(zip(model.manifest.classes, shares, strict=False))
    return seen


def _said(
    camera: str,
    picture: PictureInfo,
    scores: deque[tuple[int, float]],
    rule: PictureAlarm,
    seen: SeenPicture,
) -> dict[str, Any]:
    """The values for the text of a camera's alarm."""
    limit = seen.limit or 0.0
    last = [score for at_us, score in scores if at_us <= seen.at_us][-rule.of :]
    several = {"over": sum(one >= limit for one in last), "of": len(last)} if rule.of > 1 else {}
    place = {"place": f"{picture.boxes[0].x}, {picture.boxes[0].y}"} if picture.boxes else {}
    return {"camera": camera, **place, **several}


def _level_of_several(
    one: Observation, scores: deque[tuple[int, float]], over: int, of: int
) -> float:
    """The level that so many of the last pictures reach.

    A picture over the limit alone stays below it: `over` of the last `of` must be over.
    """
    last = [score for at_us, score in scores if at_us <= one.at_us][-of:]
    if over == 1 and of == 1:
        return one.level
    if not last or last[-1] <= 0:
        return one.level
    if len(last) < over:
        return min(one.level, _UNJUDGED_LEVEL)
    return one.level * sorted(last)[-over] / last[-1]


def _rate_hz(arrived_s: Sequence[float], now_s: float) -> float | None:
    """Pictures a second lately; None if too few came."""
    if len(arrived_s) < 2:  # noqa: PLR2004 (an interval)
        return None
    span_s = max(arrived_s[-1] - arrived_s[0], 1e-3)
    mean_s = span_s / (len(arrived_s) - 1)
    silent_s = now_s - arrived_s[-1]
    return round(1.0 / max(mean_s, silent_s), 3)
