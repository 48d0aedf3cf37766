"""The tasks of models, one row each: their outputs, and the meaning of these for an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sized

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_LEAST_HOURS: Final = 1e-3
_LEAST_SHARE: Final = 1e-6
_MEDIAN: Final = 1
_LIFE_QUANTILES: Final = 3
_STATISTICS: Final = 3
MAP_STRIDE: Final = 8  # pixels of a picture, along each side, to one of its map
DEVIATION: Final = "deviation"
FOLLOWED: Final = "followed"  # the graph's optional input: how far the middle has moved
HOUR: Final = "hour"  # another one: of the week, local time, if the middle has a season


class Task(StrEnum):
    """The names of the tasks in TASKS."""

    ANOMALY = "anomaly"
    CLASSIFICATION = "classification"
    REMAINING_LIFE = "remaining_life"


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The graph's outputs by role; empty if there is none.

    score, health [N]; contributions [N, contributors], summing to the score; probabilities
    [N, classes], of which the first class is the healthy one; rul [N, 3]: p10, p50, p90 in hours;
    deviation [N, 3, scalars]: of a learned baseline's statistics, in sigmas from their middle; of
    one of waveforms [N, 1, contributors]; map [N, side / 8, side / 8]: of a picture, the score of
    each place.
    """

    score: str = ""
    health: str = ""
    contributions: str = ""
    probabilities: str = ""
    rul: str = ""
    deviation: str = ""
    map: str = ""

    def named(self) -> dict[str, str]:
        """Role to tensor, of the existing outputs."""
        roles = {role.name: str(getattr(self, role.name)) for role in fields(self)}
        return {role: tensor for role, tensor in roles.items() if tensor}


@dataclass(frozen=True, slots=True)
class Outputs:
    """A model's outputs for N windows; None if it has no such output. NaN passes through.

    score [N]: the model's own; without one, the quantity that its task watches (the probability of
    any fault, or the median of the remaining life in hours). health [N] 0..1; contributions [N, C],
    summing to the score; probabilities [N, classes]; rul [N, 3] p10, p50, p90 in hours. other: by
    role, outputs of its own task only.
    """

    score: Floats
    health: Floats | None = None
    contributions: Floats | None = None
    probabilities: Floats | None = None
    rul: Floats | None = None
    other: Mapping[str, Floats] = field(default_factory=dict)

    def rows(self, start: int, stop: int) -> Outputs:
        """The outputs of some of the windows."""
        known = {role: self.of(role) for role in _OWN}
        cut = {role: array[start:stop] for role, array in known.items() if array is not None}
        return Outputs(**cut, other={role: a[start:stop] for role, a in self.other.items()})

    def of(self, role: str) -> Floats | None:
        """The output of a role."""
        return getattr(self, role) if role in _OWN else self.other.get(role)


_OWN: Final = tuple(f.name for f in fields(Outputs) if f.name != "other")


class Described(Protocol):
    """The properties that an output's shape may depend on: a manifest has them."""

    @property
    def scalars(self) -> Sized:
        """The scalar inputs."""

    @property
    def classes(self) -> Sized:
        """The fault classes, the healthy one first."""

    @property
    def side(self) -> int:
        """Pixels a side of its picture; 0 if it takes none."""

    @property
    def contributors(self) -> Sized:
        """What the columns of the contributions are; empty: the scalar inputs."""


@dataclass(frozen=True, slots=True)
class Role:
    """One possible meaning of an output.

    shape: without the batch. least: its minimum size, `missing` is the (key, message) if it is
    smaller. relative_to: the role whose mean size a variant's differences are relative to; they
    are absolute if there is no such output. by_column: each column separately. same_class: the
    largest column must be the same.
    """

    shape: Callable[[Described], tuple[int, ...]]
    least: int = 1
    missing: tuple[str, str] = ("outputs", "has no values")
    relative_to: str = ""
    by_column: bool = False
    same_class: bool = False


def _number(_: Described) -> tuple[int, ...]:
    return ()


ROLES: Final[Mapping[str, Role]] = {
    "score": Role(_number, relative_to="score"),
    "health": Role(_number),
    "contributions": Role(
        lambda manifest: (len(manifest.contributors) or len(manifest.scalars),),
        missing=("outputs.contributions", "without scalar inputs there are no shares"),
        relative_to="score",
    ),
    "probabilities": Role(
        lambda manifest: (len(manifest.classes),),
        least=2,
        missing=("classes", "two or more, the healthy one first"),
        same_class=True,
    ),
    "rul": Role(lambda _: (_LIFE_QUANTILES,), relative_to="rul", by_column=True),
    DEVIATION: Role(
        lambda manifest: (
            (1, len(manifest.contributors))
            if manifest.contributors
            else (_STATISTICS, len(manifest.scalars))
        )
    ),
    "map": Role(
        lambda manifest: (manifest.side // MAP_STRIDE,) * 2,
        missing=("outputs.map", "only models of pictures have one"),
        relative_to="score",
    ),
}


def level_above(watched: NDArray[Any], limit: float) -> NDArray[Any]:
    """The level of a quantity that is alarming when it is high: 1 at the limit."""
    return np.asarray(watched / limit)


def level_below(watched: NDArray[Any], limit: float) -> NDArray[Any]:
    """The level of hours, which are alarming when they are few: 1 at the limit."""
    return np.asarray(limit / np.maximum(watched, _LEAST_HOURS))


def health_of_level(_: Outputs, level: Floats) -> Floats:
    """1/2 at the limit and never 0, since a score has no maximum."""
    return np.reciprocal(1.0 + np.maximum(level, 0.0)).astype(np.float32)


def health_of_probability(outputs: Outputs, level: Floats) -> Floats:
    """1/2 at the limit, 0 if the fault is certain."""
    if outputs.probabilities is None:
        return health_of_level(outputs, level)
    sound = np.clip(outputs.probabilities[:, 0], 0.0, 1.0)
    limit = np.divide(1.0 - sound, level, out=np.ones_like(level), where=level > 0)
    over = 0.5 * sound / np.maximum(1.0 - limit, _LEAST_SHARE)
    return np.where(level < 1.0, 1.0 - 0.5 * level, over).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task.

    stage: the block of ISO 13374 whose alarms it raises, as in alert.schema.json. message_key: of
    alarms/texts.yaml. needs: the required role. watched: of that output [N, ..], the quantity [N]
    that is compared with the threshold. falls: True if it is alarming when it is low. has_domain:
    True if its answer means nothing for inputs outside of the training data. level: watched and
    limit to the alarm level, >= 1 is over it. health: 0..1 from outputs and level, of models
    without a health of their own. roles: the possible roles of its models' outputs.
    """

    stage: str
    message_key: str
    needs: str
    watched: Callable[[NDArray[Any]], NDArray[Any]]
    falls: bool = False
    has_domain: bool = False
    level: Callable[[NDArray[Any], float], NDArray[Any]] = level_above
    health: Callable[[Outputs, Floats], Floats] = health_of_level
    roles: Mapping[str, Role] = field(default_factory=lambda: ROLES)

    def problems(
        self, name: str, manifest: Described, outputs: OutputNames
    ) -> Iterator[tuple[str, str]]:
        """Missing or unsupported parts of a manifest for this task, as (key, message)."""
        named = outputs.named()
        if self.needs not in named:
            yield f"outputs.{self.needs}", f"missing: task {name} needs it"
        for role in named:
            if role not in self.roles:
                yield f"outputs.{role}", f"task {name} has no such output"
            elif prod(self.roles[role].shape(manifest)) < self.roles[role].least:
                yield self.roles[role].missing

    def outputs_of(self, by_role: Mapping[str, Floats]) -> Outputs:
        """The outputs of a run; without a score of its own, the score is the watched quantity."""
        known = {role: array for role, array in by_role.items() if role in _OWN}
        if "score" not in known:
            known["score"] = self.watched(by_role[self.needs])
        return Outputs(**known, other={r: a for r, a in by_role.items() if r not in known})

    def levels(self, outputs: Outputs, limit: float) -> Floats:
        """The watched quantity divided by its limit, [N]."""
        needed = outputs.of(self.needs)
        watched = outputs.score if needed is None else self.watched(needed)
        return self.level(watched, limit).astype(np.float32)

    def healths(self, outputs: Outputs, level: Floats) -> Floats:
        """The model's own health index 0..1, or one that is 1/2 at the limit, [N]."""
        return self.health(outputs, level) if outputs.health is None else outputs.health


TASKS: Final[Mapping[str, TaskRow]] = {
    Task.ANOMALY: TaskRow("state_detection", "anomaly", "score", watched=lambda score: score),
    Task.CLASSIFICATION: TaskRow(
        "health_assessment",
        "fault",
        "probabilities",
        watched=lambda probabilities: 1.0 - probabilities[:, 0],
        has_domain=True,
        health=health_of_probability,
    ),
    Task.REMAINING_LIFE: TaskRow(
        "prognostics_assessment",
        "remaining_life",
        "rul",
        watched=lambda hours: hours[:, _MEDIAN],
        falls=True,
        has_domain=True,
        level=level_below,
    ),
}
