"""A volume in, labels and per-voxel uncertainty out: tile by tile, with T coherent samples.

The masks of sample t are the same in every tile, so sample t is one network over the whole volume.
"""

from segbench.predict.memory import Prediction, Predictor, predict
from segbench.predict.said import Said, calibrated, said, sigmoid
from segbench.predict.sampling import sample_masks, scaled, stream, tiles

__all__ = [
    "Prediction",
    "Predictor",
    "Said",
    "calibrated",
    "predict",
    "said",
    "sample_masks",
    "scaled",
    "sigmoid",
    "stream",
    "tiles",
]
