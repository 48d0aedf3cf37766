"""Pictures of cameras: through their process into the pipeline, and into alarms and the page.

A picture waits in `PictureQueue`, is decoded and judged in the process, and its answer enters the
intake like any value: a camera is a signal of its asset. So quality, staleness, scores, alarms,
versions and shadows are those of all inputs. What only pictures have is in `picture_alarms` (boxes,
so many of the last pictures) and `picture_disk` (thumbnails).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.alarms import model_alarm_id
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.daemon.camera_learning import CameraLearning
from edge_agent.daemon.camera_states import CameraStates
from edge_agent.daemon.picture_alarms import PictureAlarms
from edge_agent.daemon.picture_disk import PictureDisk
from edge_agent.daemon.picture_queue import PictureQueue
from edge_agent.daemon.picture_views import rate_hz, seen_of
from edge_agent.models import PictureManifest
from edge_agent.models.runtime.picture_child import PictureQuestion
from edge_agent.models.runtime.picture_decode import PictureLimits
from edge_agent.models.runtime.picture_engine import PictureAnswer, PictureEngines
from edge_agent.models.runtime.picture_process import PictureProcess
from edge_agent.signals import Look
from edge_agent.store import PictureFolder
from edge_agent.values import BAD, SEVERITY_SHIFT, TensorBlock, columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config, PlantCamera
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.picture_views import SeenPicture
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.models import Model
    from edge_agent.models.runtime.picture_process import Inspected
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantSignal
    from edge_agent.signals import EncodedPicture

WITH_DATA: Final = 3  # pictures of a camera that are kept as they came, in memory
_DAY_US: Final = 86_400 * US_PER_S
_BAD: Final = BAD >> SEVERITY_SHIFT


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

    engines: opens the models of pictures, for the registry. alarms: what the pipeline asks about
    pictures. process, folder: their calls block, so each has a thread.
    """

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
        self.states = CameraStates(runtime)
        self._disk = PictureDisk(folder, clock)
        self.alarms = PictureAlarms(self.states, self._disk, self.learning)
        self._boundary = boundary
        self._metrics = metrics
        self._clock = clock
        self._queue = PictureQueue()
        self._inspecting = ThreadPoolExecutor(1, thread_name_prefix="pictures")

    # -- in -----------------------------------------------------------------------------------

    def accept(self, picture: EncodedPicture) -> None:
        """Take a picture from its source; the oldest of its camera is dropped if too many wait."""
        state = self.states.of(picture.camera)
        state.pictures += 1
        state.arrived_s.append(self._clock.monotonic_s())
        self._metrics.pictures.labels(picture.camera, "received").inc()
        for camera, count in self._queue.put(picture).items():
            self.states.of(camera).dropped += count
            self._metrics.pictures.labels(camera, "dropped").inc(count)

    async def run(self) -> None:
        """Inspect the pictures that wait, one after the other, for ever."""
        while True:
            picture = await self._queue.take()
            await self._boundary.guard("pictures", self.inspect(picture))

    async def inspect(self, picture: EncodedPicture) -> None:
        """Let the process decode and judge a picture; its answer goes into the intake."""
        found = self.states.place(picture.camera)
        if found is None:
            return  # its asset is another gateway's, or the config has changed
        camera, signal = found
        begin_s = self._clock.monotonic_s()
        models = self.states.models(camera)
        answer = await self._ask(picture, camera, models)
        now = self.states.models(camera)
        if now and now[0].sha256 not in answer.outputs and not (answer.faults or answer.error):
            # Another version is active since, or it failed: ask the one that may replace it, too.
            standby = self._runtime().pipeline.deployments.standby(str(now[0].manifest.name))
            if standby is not None or now != models:
                more = () if standby is None else (standby,)
                answer = await self._ask(picture, camera, (*now, *more), answer.errors)
        self._metrics.picture_seconds.labels(picture.camera).observe(
            self._clock.monotonic_s() - begin_s
        )
        self._pass_on(picture, signal, answer, now)

    async def _ask(
        self,
        picture: EncodedPicture,
        camera: PlantCamera,
        models: Sequence[Model],
        errors: Mapping[str, str] = MappingProxyType({}),
    ) -> Inspected:
        """Ask all models but those that have failed with this picture: one may hang again."""
        asked = dict.fromkeys(one.sha256 for one in models if one.sha256 not in errors)
        question = PictureQuestion(
            picture.camera,
            camera.view,
            limits=PictureLimits(camera.max_bytes, camera.max_pixels),
            **_seen_by(models),
            models=tuple(asked),
        )
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(
            self._inspecting, self._process.inspect, picture, question
        )
        return replace(answer, errors={**errors, **answer.errors})

    def _pass_on(
        self,
        picture: EncodedPicture,
        signal: PlantSignal,
        answer: Inspected,
        models: Sequence[Model],
    ) -> None:
        """Put the answer into the intake, as a score or as a value of bad quality."""
        state, intake = self.states.of(picture.camera), self._runtime().intake
        at_us = picture.at_ns // 1000
        seen = seen_of(picture, signal, answer, models[0] if models else None)
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
            self._disk.write(self.learning.add, picture, camera)

    # -- out (`service.CameraProvider`) ----------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """The cameras of this gateway, as the API shows them."""
        return [self._row(name, *place) for name, place in self.states.places()]

    def _row(self, name: str, camera: PlantCamera, signal: PlantSignal) -> dict[str, Any]:
        state, watch = self.states.of(name), self._runtime().pipeline.watch
        models, last = self.states.models(camera), state.seen[-1] if state.seen else None
        at_us = int(watch.time_us[signal.index])
        is_seen = not watch.unseen()[signal.index]
        return {
            "camera": name,
            "asset": camera.asset,
            "alarm_id": model_alarm_id(camera.asset, name),
            "last_ms": at_us // US_PER_MS if is_seen else None,
            "rate_hz": rate_hz(state.arrived_s, self._clock.monotonic_s()),
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

    async def pictures(self, name: str, count: int) -> list[dict[str, Any]] | None:
        """The newest pictures of a camera, those of alarms also from before a restart."""
        if self.states.place(name) is None:
            return None
        recent = [one.facts() for one in reversed(self.states.of(name).seen)]
        known = {row["id"] for row in recent}
        kept = await self._disk.newest(name, count)
        rows = recent + [row for row in kept if row["id"] not in known]
        rows.sort(key=lambda row: -row["at_ms"])
        return rows[:count]

    async def thumbnail(self, picture_id: str) -> bytes | None:
        """The JPEG of a picture; None if it is not kept."""
        seen = self.states.in_memory(picture_id)
        if seen is not None:
            return seen.thumbnail
        return await self._disk.thumbnail(picture_id)

    async def stop(self) -> None:
        """End the process and the threads; safe when repeated."""
        await asyncio.to_thread(self._process.stop)
        self._inspecting.shutdown(wait=False, cancel_futures=True)
        await self._disk.stop()


def _seen_by(models: Sequence[Model]) -> dict[str, Any]:
    """What the active version says of its pictures: their side, and how they should look."""
    manifest = models[0].manifest if models else None
    if not isinstance(manifest, PictureManifest):
        return {}
    look = Look(**manifest.look) if manifest.look else None
    return {"size": manifest.side, "reference": look}
