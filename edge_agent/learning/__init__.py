"""Learning of baselines from healthy data on the gateway."""

from edge_agent.learning.baselines import BaselineLearning
from edge_agent.learning.collection import Learning
from edge_agent.learning.fit import LearnedBundle, Recipe, learn
from edge_agent.learning.fit_child import learn_in_child
from edge_agent.learning.progress import Training, TrainingSet
from edge_agent.learning.training import (
    TIME_SCALE,
    TrainedBaseline,
    train_baseline,
    write_problem,
)
from edge_agent.learning.waveform_baselines import WaveBaselines
from edge_agent.learning.waveform_collection import WaveLearning
from edge_agent.learning.waveform_progress import WaveTraining, WaveTrainingSet
from edge_agent.learning.waveform_training import train_waves

__all__ = [
    "TIME_SCALE",
    "BaselineLearning",
    "LearnedBundle",
    "Learning",
    "Recipe",
    "TrainedBaseline",
    "Training",
    "TrainingSet",
    "WaveBaselines",
    "WaveLearning",
    "WaveTraining",
    "WaveTrainingSet",
    "learn",
    "learn_in_child",
    "train_baseline",
    "train_waves",
    "write_problem",
]
