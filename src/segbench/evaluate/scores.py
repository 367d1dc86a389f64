"""Scores of one labelled volume, by name."""

import numpy as np

from segbench.evaluate import tallied
from segbench.evaluate.blocks import written
from segbench.evaluate.cases import Labelled
from segbench.evaluate.tallied import Curves, Scores
from segbench.metrics import overlap
from segbench.metrics.counts import confusion
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Reliability
from segbench.metrics.viability import separability, viability
from segbench.predict import Prediction
from segbench.rows import Confusion
from segbench.tally import Maps, tally
from segbench.volume import Float32, UInt8

THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(1, 20))
"""Where `of_thresholds` counts: a threshold chosen on some volumes is tried on others without predicting again."""


def agreement(
    reference: UInt8, labels: UInt8, probability: Float32 | None, classes: tuple[str, ...], against: str
) -> tuple[Scores, Confusion]:
    """Scores against one reference, each name ending in `against`, and the confusion matrix they come from."""
    counts = confusion(reference, labels, len(classes))
    scores = {
        f"accuracy_{against}": overlap.accuracy(counts),
        f"miou_{against}": overlap.miou(counts),
        f"fiou_{against}": overlap.fiou(counts),
    }
    for index, name in enumerate(classes):
        scores[f"f1_{name}_{against}"] = float(overlap.f1(counts)[index])
        scores[f"precision_{name}_{against}"] = float(overlap.precision(counts)[index])
        scores[f"recall_{name}_{against}"] = float(overlap.recall(counts)[index])
    if probability is not None and len(classes) == 2:
        said, there = np.clip(probability, 0, 1), reference == 1
        scores |= tallied.of_probability(Reliability().add(said, there), Histogram().add(said, there), against)
    return scores, written(counts)


def score(
    case: Labelled, labels: UInt8, probability: Float32 | None, classes: tuple[str, ...]
) -> tuple[Scores, Confusion | None, Confusion]:
    """All scores of some labels of a case; confusion against the truth (if there is one) and the human label."""
    scores, human = agreement(case.human, labels, probability, classes, "human")
    truth = None
    if case.truth is not None:
        more, truth = agreement(case.truth, labels, probability, classes, "truth")
        scores |= more
    if len(classes) == 2:
        scores["viability"] = viability(case.image.data, labels)
        scores["separability"] = separability(case.image.data, labels)
    return scores, truth, human


def of_tally(
    case: Labelled, prediction: Prediction, threshold: float, classes: tuple[str, ...]
) -> tuple[Scores, Curves]:
    """What a model's probabilities and uncertainty are worth, against each reference, and the curves.

    Args:
        case: Labels from 0.
        prediction: Of its image.
        threshold: Above which a model of two classes calls class 1.
        classes: Names of the classes.
    """
    p = prediction
    maps = Maps(
        p.probability if p.probabilities is None else p.probabilities, p.entropy, p.mutual, p.spread, p.deviation
    )
    labels = None if p.probabilities is None else p.labels
    scores: Scores = {}
    curves: Curves = {}
    for against, reference in (("human", case.human), ("truth", case.truth)):
        if reference is not None:
            sums = tally(maps, reference, threshold, labels=labels, stack=case.stack)
            scores |= tallied.scores(sums, against)
            curves |= tallied.curves(sums, against, classes)
    return scores, curves


def of_references(case: Labelled, classes: tuple[str, ...]) -> Scores:
    """What the references themselves score: viability, separability and share of class 1; human against truth.

    Of more than two classes the share of each.
    """
    scores: Scores = {}
    for name, reference in (("human", case.human), ("truth", case.truth)):
        if reference is None:
            continue
        if len(classes) > 2:
            scores |= {f"share_of_{c}_{name}": share for c, share in _shares(reference, classes).items()}
            continue
        scores[f"viability_of_{name}"] = viability(case.image.data, reference)
        scores[f"separability_of_{name}"] = separability(case.image.data, reference)
        scores[f"share_of_{name}"] = float(np.count_nonzero(reference == 1) / reference.size)
    if case.truth is not None:
        scores["human_accuracy_truth"] = float(np.count_nonzero(case.human == case.truth) / case.truth.size)
    return scores


def of_thresholds(case: Labelled, prediction: Prediction) -> Scores:
    """Voxels that are class 1 by prediction and reference, and by prediction alone, at each of `THRESHOLDS`.

    Counts and no ratios, so that they can be pooled over volumes; the reference is the case's.
    """
    against, reference = case.against, case.reference
    # the number of thresholds that lie below the probability says at which of them the voxel is class 1
    passed = np.searchsorted(np.array(THRESHOLDS, dtype=np.float32), prediction.probability.ravel(), side="left")
    solid = reference.ravel() == 1
    scores: Scores = {}
    for name, chosen in (("tp", solid), ("fp", ~solid)):
        counts = np.bincount(passed[chosen], minlength=len(THRESHOLDS) + 1)
        above = counts[::-1].cumsum()[::-1][1:]
        scores |= {count_key(name, at, against): float(n) for at, n in zip(THRESHOLDS, above, strict=True)}
    return scores


def count_key(name: str, threshold: float, against: str) -> str:
    """Name of a count of `of_thresholds`, such as "tp_at_0.50_human"."""
    return f"{name}_at_{threshold:.2f}_{against}"


def of_uncertainty(prediction: Prediction, classes: tuple[str, ...]) -> Scores:
    """Means over the volume: entropy and mutual information in nats, the study's percentile range, the deviation.

    And what is called: the share of class 1, or of each of more than two classes; of voxels that a second network had.
    """
    scores = {
        "entropy": float(prediction.entropy.mean(dtype=np.float64)),
        "mutual_information": float(prediction.mutual.mean(dtype=np.float64)),
        "spread": float(prediction.spread.mean(dtype=np.float64)),
        "deviation": float(prediction.deviation.mean(dtype=np.float64)),
    }
    if len(classes) > 2:
        scores |= {f"share_{c}": share for c, share in _shares(prediction.labels, classes).items()}
    else:
        scores["share"] = float(np.count_nonzero(prediction.labels == 1) / prediction.labels.size)
    if prediction.doubted is not None:
        scores["doubted"] = float(np.count_nonzero(prediction.doubted) / prediction.doubted.size)
    return scores


def _shares(labels: UInt8, classes: tuple[str, ...]) -> Scores:
    """Share of each class by its name."""
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    return {name: float(count / labels.size) for name, count in zip(classes, counts, strict=True)}
