"""A baseline from a plant's own history: networks compete with the forms of the learned chart.

Everything but the networks is the gateway's own learning (`edge_agent.learning`): what is read,
the quarters of time held out, the injected faults, the limits, the graph. A network that detects
clearly more becomes the form of its asset; on a tie the chart stays. The bundle becomes the shadow
of the active baseline, and raises no alarm before it is activated.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ModelError
from edge_agent.learning import Rivals, TrainedBaseline, learn, least_rows, recipe_of
from edge_agent.models import (
    LEARNED,
    ModelRepository,
    learned_version,
    load_manifest,
    try_bundle,
)
from edge_agent.ops.owner import as_owner_of, scratch_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.learning import LearnedBundle, Learning, Student, TrainingSet

HISTORY: Final = "history"
CHART: Final = "chart"
# Candidate to the function of `history_students` that makes it.
STUDENTS: Final = {"mixer": "mixer", "forecaster": "forecaster"}
CANDIDATES: Final = (CHART, *STUDENTS)


@dataclass(frozen=True, slots=True)
class History:
    """A training from history.

    candidates: of CANDIDATES; without the chart, the best of the others is chosen whatever it
    detects. command: for the card; report(line): called for every asset set and training.
    """

    candidates: tuple[str, ...]
    seed: int
    command: str
    report: Callable[[str], None]

    async def train_baseline(
        self, config: Config, learning: Learning, training: TrainingSet, now_us: int
    ) -> TrainedBaseline:
        """Train for the assets of a training set, and put the bundle on the shelf."""
        recipe = recipe_of(learning, training)
        needed = least_rows(len(training.inputs), recipe.length)
        for asset, rows in training.rows.items():
            few = f", a network needs {needed}" if len(rows) < needed else ""
            self.report(f"{asset}: {len(rows)} rows of {len(training.inputs)} inputs{few}")
        for other, units in _shared(config.models_dir, recipe.name, training.rows).items():
            more = f"the active {other} is of {units}: train the same assets to shadow it"
            self.report(f"{', '.join(training.rows)}: {more}")
        bundle = learn(
            training.rows,
            recipe,
            now_us=now_us,
            times_us=training.times_us,
            rivals=self.rivals(),
        )
        bundle = self._described(bundle, now_us)
        _install(bundle, config.models_dir)
        return TrainedBaseline(recipe.name, bundle.manifest, bundle.refused, training.left_out)

    def rivals(self) -> Rivals:
        """The students of the candidates."""
        if not set(self.candidates) & set(STUDENTS):
            return Rivals()
        makers = importlib.import_module("edge_agent.factory.history_students")  # it needs torch
        report = _Counted(self.report)
        students: list[Student] = [
            getattr(makers, function)(self.seed, report)
            for name, function in STUDENTS.items()
            if name in self.candidates
        ]
        return Rivals(tuple(students), alone=CHART not in self.candidates)

    def _described(self, bundle: LearnedBundle, now_us: int) -> LearnedBundle:
        """The bundle with its command; its version differs from one that `learn` makes now."""
        training = {**bundle.manifest.training, "command": self.command, "seed": str(self.seed)}
        training["candidates"] = ", ".join(self.candidates)
        version = learned_version(now_us, bundle.onnx_bytes, repr(training).encode())
        manifest = replace(bundle.manifest, training=training, version=version)
        return replace(bundle, manifest=manifest)


class _Counted:
    """Reports each training with its number and the time since the first."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._begin_s = monotonic()
        self._trainings = 0

    def __call__(self, name: str) -> None:
        self._trainings += 1
        passed_s = monotonic() - self._begin_s
        self._report(f"training {self._trainings}, after {passed_s:.0f} s: {name}")


def _shared(models_dir: Path, name: str, assets: Collection[str]) -> dict[str, str]:
    """Other active baselines of these assets, with all their assets; none if `name` is active."""
    repository = ModelRepository(models_dir)
    active = {each: repository.active(each) for each in repository.names()}
    if active.get(name):
        return {}
    units = {
        each: load_manifest(repository.folder(each, version)).units
        for each, version in active.items()
        if version and each.startswith(LEARNED)
    }
    return {each: ", ".join(of) for each, of in units.items() if set(of) & set(assets)}


def _install(bundle: LearnedBundle, models_dir: Path) -> None:
    """Verify a bundle and put it on the shelf; ModelError if it is refused."""
    with scratch_for(models_dir, ".train-") as scratch:
        folder = scratch / bundle.manifest.name
        bundle.write(folder)
        problems, _ = try_bundle(folder)
        if problems:
            raise ModelError(str(problems[0]), where=bundle.manifest.name)
        with as_owner_of(models_dir, folder):
            ModelRepository(models_dir).install(folder)


def start_shadow(models_dir: Path, trained: TrainedBaseline) -> str | None:
    """Let a trained version shadow the active one; the active version, None if there is none."""
    repository = ModelRepository(models_dir)
    active = repository.active(trained.name)
    if active is not None:
        with as_owner_of(models_dir):
            repository.set_shadow(trained.name, trained.manifest.version)
    return active
