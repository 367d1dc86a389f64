"""Calibration on the validation volumes: a scale and a shift of all logits, so that 0.5 means as likely as not."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from segbench.data.manifest import UNLABELLED
from segbench.data.pool import Sample
from segbench.nets.network import Network
from segbench.train.loop import validation_logits
from segbench.train.recipe import Recipe
from segbench.zoo.findings import CalibrationCard

EVERY = 29  # one voxel in so many decides; odd, so that it meets every column of a volume
BOUNDS = ((np.log(0.1), np.log(10.0)), (-5.0, 5.0))
Floats = npt.NDArray[np.float64]


def nll(probability: Floats, label: Floats) -> float:
    """Mean negative log-likelihood in nats."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return float(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p)))


def fit(logits: Floats, label: Floats) -> tuple[float, float]:
    """(scale, shift) that minimise the likelihood loss of mean_t sigmoid(scale * logit_t + shift).

    Platt scaling of every sample's logits [T, N], fitted on the mean of the samples, which is what is reported.
    """

    def cost(parameters: Floats) -> float:
        return nll(_mean(logits, float(np.exp(parameters[0])), float(parameters[1])), label)

    # within bounds: a network that has learned nothing would else be calibrated to a constant
    found = minimize(cost, np.zeros(2), method="Nelder-Mead", bounds=BOUNDS, options={"xatol": 1e-3, "fatol": 1e-6})
    return float(np.exp(found.x[0])), float(found.x[1])


def calibrate(network: Network, samples: Sequence[Sample], recipe: Recipe, on: str) -> CalibrationCard | None:
    """Calibrates a trained network of two classes; `on` says in words on what. None: only one class is there."""
    said: list[Floats] = []
    labels: list[Floats] = []
    for sample, volume in validation_logits(network, samples, recipe):
        label = sample.label.reshape(-1)
        known = np.flatnonzero(label != UNLABELLED)
        known = known[::EVERY] if len(known) == len(label) else known  # few labels are all needed
        said.append(volume[:, 0].reshape(len(volume), -1)[:, known].astype(np.float64))
        labels.append(label[known].astype(np.float64))
    logits: Floats = np.concatenate(said, axis=1)
    known_label: Floats = np.concatenate(labels)
    if known_label.min() == known_label.max():
        return None  # the fit would be that all is this class
    scale, shift = fit(logits, known_label)
    return CalibrationCard(
        scale=scale,
        shift=shift,
        on=on,
        nll_before=nll(_mean(logits, 1.0, 0.0), known_label),
        nll_after=nll(_mean(logits, scale, shift), known_label),
    )


def _mean(logits: Floats, scale: float, shift: float) -> Floats:
    return np.asarray((0.5 * (np.tanh(0.5 * (scale * logits + shift)) + 1)).mean(axis=0))
