"""Models of pictures: the packaged backbone, and learning from good pictures."""

from edge_agent.learning.pictures.learning import (
    FALSE_ALARMS,
    LearnedPictures,
    PictureRecipe,
    learn_pictures,
)

# backbone and graph are not imported here: they need the package `onnx`, which the daemon never
# loads.
__all__ = [
    "FALSE_ALARMS",
    "LearnedPictures",
    "PictureRecipe",
    "backbone",
    "graph",
    "learn_pictures",
]
