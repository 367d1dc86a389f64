"""A volume in, labels and per-voxel uncertainty out: tile by tile, with T coherent samples.

The masks of sample t are the same in every tile, so sample t is one network over the whole volume.
"""

from segbench.predict.case import Case, Times, predict_cases
from segbench.predict.memory import Predictor, predict
from segbench.predict.prediction import Asked, Prediction, passes
from segbench.predict.said import Said, probabilities, said
from segbench.predict.sampling import sample_masks, scaled, stream, tiles

__all__ = [
    "Asked",
    "Case",
    "Prediction",
    "Predictor",
    "Said",
    "Times",
    "passes",
    "predict",
    "predict_cases",
    "probabilities",
    "said",
    "sample_masks",
    "scaled",
    "stream",
    "tiles",
]
