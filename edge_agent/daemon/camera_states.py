"""What is known of each camera while the service runs, and where its pictures belong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.config.schema import PlantCamera
    from edge_agent.daemon.picture_views import SeenPicture
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.models import Model
    from edge_agent.plant import PlantSignal

RECENT: Final = 24  # pictures of a camera that the page shows, in memory
_RATE_PICTURES: Final = 16
_SCORES: Final = 100


class CameraPlace(NamedTuple):
    """The config of a camera, and its signal in the plant."""

    camera: PlantCamera
    signal: PlantSignal


@dataclass(slots=True)
class CameraState:
    """What is known of a camera while the service runs.

    seen: the newest pictures of all; scores: time and score of the newest ones that were judged;
    arrived_s: when the newest ones came.
    """

    seen: deque[SeenPicture] = field(default_factory=lambda: deque(maxlen=RECENT))
    scores: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_SCORES))
    arrived_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_PICTURES))
    faults: tuple[str, ...] = ()
    error: str = ""
    pictures: int = 0
    inspected: int = 0
    dropped: int = 0
    refused: int = 0


class CameraStates:
    """The cameras of the present runtime, and the state of each, which outlives a reload."""

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        self._states: dict[str, CameraState] = {}

    def of(self, name: str) -> CameraState:
        """The state of a camera."""
        return self._states.setdefault(name, CameraState())

    def place(self, name: str) -> CameraPlace | None:
        """The config of a camera and its signal; None if it has no asset here."""
        runtime = self._runtime()
        camera = runtime.config.cameras.get(name)  # type: ignore[call-overload]
        asset = None if camera is None else runtime.plant.assets.get(camera.asset)
        if camera is None or asset is None or name not in asset.cameras:
            return None
        return CameraPlace(camera, asset.signals[name])

    def places(self) -> Iterator[tuple[str, CameraPlace]]:
        """The cameras whose asset is here, by name."""
        for name in self._runtime().config.cameras:
            place = self.place(name)
            if place is not None:
                yield str(name), place

    def models(self, camera: PlantCamera) -> list[Model]:
        """The versions that judge the pictures of a camera, the active one first."""
        return self._runtime().pipeline.deployments.judging(camera.judged_by)

    def in_memory(self, picture_id: str) -> SeenPicture | None:
        """A picture by its id; None if it is no longer in memory."""
        state = self._states.get(picture_id.rpartition("-")[0])
        if state is None:
            return None
        return next((one for one in state.seen if one.picture_id == picture_id), None)
