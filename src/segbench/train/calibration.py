"""Calibration on the validation volumes: a scale and a shift of all logits, so that 0.5 means as likely as not."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from segbench.data.pool import Sample
from segbench.nets.network import Network
from segbench.train.loop import validation_logits
from segbench.train.recipe import Recipe
from segbench.zoo.card import CalibrationCard

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


def calibrate(network: Network, samples: Sequence[Sample], recipe: Recipe, on: str) -> CalibrationCard:
    """Calibrates a trained network of two classes; `on` says in words on what."""
    said: list[Floats] = []
    labels: list[Floats] = []
    for sample, volume in validation_logits(network, samples, recipe):
        said.append(volume[:, 0].reshape(len(volume), -1)[:, ::EVERY].astype(np.float64))
        labels.append(sample.label.reshape(-1)[::EVERY].astype(np.float64))
    logits: Floats = np.concatenate(said, axis=1)
    label: Floats = np.concatenate(labels)
    scale, shift = fit(logits, label)
    return CalibrationCard(
        scale=scale,
        shift=shift,
        on=on,
        nll_before=nll(_mean(logits, 1.0, 0.0), label),
        nll_after=nll(_mean(logits, scale, shift), label),
    )


def _mean(logits: Floats, scale: float, shift: float) -> Floats:
    return np.asarray((0.5 * (np.tanh(0.5 * (scale * logits + shift)) + 1)).mean(axis=0))
