"""Alarms of cameras: what is seen on a picture, and how many of the last ones must be over.

The observation of a picture is that of any score; here it gets its boxes, its text and its level.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import model_alarm_id, quality_alarm_id
from edge_agent.daemon.picture_views import contributors_of, info_of
from edge_agent.labelled import LabelledPicture
from edge_agent.messages import Observation, TransitionKind
from edge_agent.signals import FAULTS

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from edge_agent.config.schema import PictureAlarm, PlantCamera
    from edge_agent.daemon.camera_learning import CameraLearning
    from edge_agent.daemon.camera_states import CameraState, CameraStates
    from edge_agent.daemon.labelled_writer import LabelledWriter
    from edge_agent.daemon.picture_disk import PictureDisk
    from edge_agent.daemon.picture_views import SeenPicture
    from edge_agent.detection import Pause
    from edge_agent.messages import Detail, PictureInfo, Transition

_UNJUDGED_LEVEL: Final = 0.99  # of a score over its limit that is not yet one of enough
_SHOWN: Final = frozenset({TransitionKind.RAISE, TransitionKind.UPDATE})
_QUALITY: Final = frozenset({"sensor_bad", "sensor_out_of_range"})  # messages of bad quality


class PictureAlarms:
    """What the pipeline asks about pictures (`pipeline.PictureWatch`).

    labelled: takes the pictures of alarms for the labelled set.
    """

    labelled: LabelledWriter | None = None

    def __init__(self, states: CameraStates, disk: PictureDisk, learning: CameraLearning) -> None:
        self._states = states
        self._disk = disk
        self._learning = learning

    def describe(self, found: list[Observation | Pause]) -> list[Observation | Pause]:
        """The same observations; those of cameras with boxes, and of enough pictures."""
        rules: dict[str, Callable[[Observation], Observation]] = {}  # by alarm id
        for name, (camera, signal) in self._states.places():
            state = self._states.of(name)
            rules[model_alarm_id(camera.asset, name)] = partial(
                _with_picture, camera=camera, state=state
            )
            rules[quality_alarm_id(signal)] = partial(_with_fault, state=state)
        return [
            rules[one.alarm_id](one)
            if isinstance(one, Observation) and one.alarm_id in rules
            else one
            for one in found
        ]

    def follow_transitions(self, transitions: Sequence[Transition]) -> None:
        """Keep the pictures of alarms that are announced, on the disk."""
        for one in transitions:
            detail = one.alarm.detail
            if one.kind in _SHOWN and detail is not None and detail.picture is not None:
                seen = self._states.in_memory(detail.picture.picture_id)
                if seen is not None:
                    self._keep(one, seen)

    def _keep(self, one: Transition, seen: SeenPicture) -> None:
        self._disk.keep(seen)
        if one.kind is TransitionKind.RAISE and self.labelled is not None and seen.data:
            alarm = one.alarm
            self.labelled.keep(LabelledPicture(alarm.alarm_id, alarm.asset, one.at_us, seen.data))

    def learning_rows(self) -> list[dict[str, Any]]:
        """The progress of the cameras that learn, as that of assets."""
        rows = (
            self._learning.row(name, camera)
            for name, (camera, _) in self._states.places()
            if not self._states.models(camera)
        )
        return [row for row in rows if row is not None]


def _with_picture(one: Observation, camera: PlantCamera, state: CameraState) -> Observation:
    """The level of enough pictures; and boxes, if the picture is still known."""
    level = _level_of_several(one, state.scores, camera.alarm)
    window, seen = one.detail.window, None
    if window is not None:
        seen = next((s for s in reversed(state.seen) if s.at_us == window.end_us), None)
    if seen is None:
        return replace(one, level=level)
    return replace(one, level=level, detail=_with_boxes(one.detail, seen, camera, state))


def _with_boxes(
    detail: Detail, seen: SeenPicture, camera: PlantCamera, state: CameraState
) -> Detail:
    seen.limit = float(detail.message_args.get("limit") or seen.limit or 0.0)
    regions = seen.regions()
    picture = info_of(seen, regions, camera.view)
    key, args = detail.message_key, detail.message_args
    if key == "anomaly":
        key = "anomaly_picture"
        args = {**args, **_said(seen, picture, state.scores, camera.alarm)}
    return replace(
        detail,
        message_key=key,
        message_args=args,
        picture=picture,
        contributors=contributors_of(seen, regions, picture) or detail.contributors,
    )


def _said(
    seen: SeenPicture,
    picture: PictureInfo,
    scores: deque[tuple[int, float]],
    rule: PictureAlarm,
) -> dict[str, Any]:
    """The values for the text of a camera's alarm."""
    limit = seen.limit or 0.0
    last = [score for at_us, score in scores if at_us <= seen.at_us][-rule.of :]
    several = {"over": sum(one >= limit for one in last), "of": len(last)} if rule.of > 1 else {}
    place = {"place": f"{picture.boxes[0].x}, {picture.boxes[0].y}"} if picture.boxes else {}
    return {"camera": seen.camera, **place, **several}


def _level_of_several(
    one: Observation, scores: deque[tuple[int, float]], rule: PictureAlarm
) -> float:
    """The level that so many of the last pictures reach.

    A picture over the limit alone stays below it: `over` of the last `of` must be over.
    """
    last = [score for at_us, score in scores if at_us <= one.at_us][-rule.of :]
    if rule.over == 1 and rule.of == 1:
        return one.level
    if not last or last[-1] <= 0:
        return one.level
    if len(last) < rule.over:
        return min(one.level, _UNJUDGED_LEVEL)
    return one.level * sorted(last)[-rule.over] / last[-1]


def _with_fault(one: Observation, state: CameraState) -> Observation:
    """Say what is wrong with the pictures of a camera in its quality alarm."""
    detail = one.detail
    if detail.message_key not in _QUALITY or one.level < 1.0:
        return one
    reason = FAULTS[state.faults[0]].text if state.faults else state.error
    if not reason:
        return one
    key = f"camera_{state.faults[0]}" if state.faults else "camera_unreadable"
    args = {**detail.message_args, "reason": reason}
    return replace(
        one, detail=replace(detail, message_key=key, message_args=args, failure_mode=key)
    )
