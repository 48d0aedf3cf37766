"""Training on the gateway: the bundle of some assets, its name and its time."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.learning.fit import Recipe
from edge_agent.learning.fit_child import run_recipe
from edge_agent.learning.labelled_rows import LABELLED
from edge_agent.models import (
    LEFT_OUT,
    InputSpec,
    learned_prefix,
    local_zone,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.learning.collection import Learning
    from edge_agent.learning.progress import TrainingSet
    from edge_agent.models import Manifest

TIME_SCALE: Final = "step"  # key in the manifest's `training`: the step, and if it was found
_LONGEST: Final = 512  # rows of a window, if a cycle needs them and no length is told
_PROBE_BYTES: Final = 1 << 20


def learned_name(template: str, assets: Iterable[str]) -> str:
    """The name of the bundle that is learned for these assets; a hash of them, so it is stable."""
    digest = hashlib.sha256("\n".join(sorted(assets)).encode()).hexdigest()
    return f"{learned_prefix(template)}{digest[:8]}"


@dataclass(frozen=True, slots=True)
class TrainedBaseline:
    """The result of learning: the bundle, and the assets that were refused, with the reason.

    left_out: by asset, the inputs that did not deliver, with the reason.
    """

    name: str
    manifest: Manifest
    refused: dict[str, str]
    left_out: dict[str, dict[str, str]]


async def train_baseline(
    config: Config, learning: Learning, training: TrainingSet, now_us: int
) -> TrainedBaseline:
    """Learn one bundle for the assets of a training set into `models_dir`.

    An existing bundle of that name is moved to the shelf.
    """
    recipe = recipe_of(learning, training)
    manifest, refused = await run_recipe(
        training.rows, recipe, config.models_dir, now_us, times_us=training.times_us
    )
    return TrainedBaseline(recipe.name, manifest, refused, training.left_out)


def recipe_of(learning: Learning, training: TrainingSet) -> Recipe:
    """The parameters of learning for a training set, by the config and the time scale."""
    signals = learning.assets[0].signals
    inputs = [
        InputSpec(
            name=one,
            unit=signals[one].config.unit,
            valid=signals[one].config.valid,
            resample=signals[one].config.resample,
        )
        for one in training.inputs
    ]
    return Recipe(
        learned_name(learning.template, training.rows),
        tuple(inputs),
        zone=local_zone(),
        step_s=learning.scale.step_s,
        length=training.length,
        false_alarms_per_day=learning.config.false_alarms_per_day,
        provisional_s=training.provisional_s,
        training=(
            *left_out_entry(training.left_out),
            (TIME_SCALE, learning.scale.text),
            *(((LABELLED, training.labelled),) if training.labelled else ()),
        ),
        **_conditions(learning, training.inputs),
    )


def _conditions(learning: Learning, inputs: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a Recipe for conditions and cycle; a start that is left out tells no cycle."""
    config, cycle = learning.config, learning.config.cycle
    found: dict[str, Any] = {"modes": tuple(name in config.mode for name in inputs)}
    if config.length is None and config.step is None:
        found["longest"] = _LONGEST
    if cycle is not None and cycle.start in inputs:
        found["start"] = inputs.index(cycle.start)
    elif cycle is not None and not cycle.start:
        found["period"] = cycle.period_s / learning.scale.step_s
    return found


def left_out_entry(left_out: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """The manifest's entry for inputs that were left out; they are the same for all assets."""
    reasons: dict[str, set[str]] = {}
    for out in left_out.values():
        for name, reason in out.items():
            reasons.setdefault(name, set()).add(reason)
    said = [f"{name} ({' / '.join(sorted(why))})" for name, why in sorted(reasons.items())]
    return ((LEFT_OUT, ", ".join(said)),) if said else ()


def write_problem(models_dir: Path) -> str:
    """Why `models_dir` is not writable; empty if it is. Blocking."""
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=models_dir) as file:
            file.write(b"\0" * _PROBE_BYTES)
            file.flush()
    except OSError as error:
        return f"models_dir {models_dir} cannot be written: {error.strerror}"
    return ""
