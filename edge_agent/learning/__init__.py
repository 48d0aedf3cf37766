"""Learning of baselines from healthy data on the gateway."""

from edge_agent.learning.baselines import BaselineLearning
from edge_agent.learning.choice import Rivals
from edge_agent.learning.collection import Learning
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.labelled_rows import LABELLED, with_labels
from edge_agent.learning.learned_bundle import LearnedBundle
from edge_agent.learning.networks import (
    Network,
    Student,
    features,
    lasting_response,
    least_rows,
    linear_map,
    sees_others,
    sees_past,
    taps_for,
    unexplained,
)
from edge_agent.learning.progress import Training, TrainingSet
from edge_agent.learning.training import (
    TIME_SCALE,
    TrainedBaseline,
    recipe_of,
    train_baseline,
    write_problem,
)
from edge_agent.learning.waveform_baselines import WaveBaselines
from edge_agent.learning.waveform_collection import WaveLearning
from edge_agent.learning.waveform_progress import WaveTraining, WaveTrainingSet
from edge_agent.learning.waveform_training import train_waves

__all__ = [
    "LABELLED",
    "TIME_SCALE",
    "BaselineLearning",
    "LearnedBundle",
    "Learning",
    "Network",
    "Recipe",
    "Rivals",
    "Student",
    "TrainedBaseline",
    "Training",
    "TrainingSet",
    "WaveBaselines",
    "WaveLearning",
    "WaveTraining",
    "WaveTrainingSet",
    "features",
    "lasting_response",
    "learn",
    "least_rows",
    "linear_map",
    "recipe_of",
    "sees_others",
    "sees_past",
    "taps_for",
    "train_baseline",
    "train_waves",
    "unexplained",
    "with_labels",
    "write_problem",
]
