"""Training of waveforms on the gateway: the bundle of some assets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.learning.fit_child import run_recipe
from edge_agent.learning.time_scale import duration_text
from edge_agent.learning.training import (
    TIME_SCALE,
    TrainedBaseline,
    learned_name,
    left_out_entry,
)

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.learning.waveform_collection import WaveLearning
    from edge_agent.learning.waveform_progress import WaveTrainingSet

_SALT: Final = "waveforms"  # the name differs from that of the same assets' other bundle


async def train_waves(
    config: Config, learning: WaveLearning, training: WaveTrainingSet, now_us: int
) -> TrainedBaseline:
    """Learn one bundle for the assets of a training set into `models_dir`.

    An existing bundle of that name is moved to the shelf.
    """
    name = learned_name(learning.template, [_SALT, *training.rows])
    step = f"{duration_text(training.step_s)}, found from the data"
    recipe = replace(
        training.recipe,
        name=name,
        step_s=training.step_s,
        spacing_s=training.spacing_s,
        false_alarms_per_day=learning.config.false_alarms_per_day,
        training=(*left_out_entry(training.left_out), (TIME_SCALE, step)),
        provisional_s=training.provisional_s,
    )
    manifest, refused = await run_recipe(training.rows, recipe, config.models_dir, now_us)
    return TrainedBaseline(name, manifest, refused, training.left_out)
