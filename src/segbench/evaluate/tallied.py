"""Scores and curves of a tally by the names that rows have for them; `against` is "truth" or "human".

Of more than two classes there is no ranking of the probability, and a class-wise diagram for each.
"""

import math
from collections.abc import Sequence

from segbench.metrics.overlap import accuracy
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Diagram, Judged, Reliability
from segbench.metrics.sparsification import aurc, ause, curve
from segbench.metrics.uncertainty import MEASURES
from segbench.tally import Region, Tally

Scores = dict[str, float]
Curves = dict[str, tuple[float, ...]]


def scores(tally: Tally, against: str) -> Scores:
    """Of the probability, of each measure of uncertainty, and of the boundary band beside the interior."""
    whole = tally.whole
    found = of_probability(whole.reliability, whole.ranking, against)
    found[f"ece_classwise_{against}"] = whole.reliability.ece_classwise
    for number, name in enumerate(MEASURES):
        found |= _of_measure(tally, whole, number, f"{name}_{against}")
        found[f"{name}_band_{against}"] = float(tally.band.means[number])
        found[f"{name}_interior_{against}"] = float(tally.interior.means[number])
    for name, region in (("band", tally.band), ("interior", tally.interior)):
        found |= _of_region(region, whole, f"{name}_{against}")
    return found


def of_probability(reliability: Judged, ranking: Histogram, against: str) -> Scores:
    """Whether it ranks the voxels, and whether it means what it says."""
    ranked = {f"auc_{against}": ranking.auc()} if isinstance(reliability, Reliability) else {}
    return ranked | {
        f"nll_{against}": reliability.mean_nll,
        f"brier_{against}": reliability.mean_brier,
        f"ece_{against}": reliability.ece,
    }


def curves(tally: Tally, against: str, classes: Sequence[str] = ()) -> Curves:
    """Reliability diagrams, and sparsification curves of each measure and of the oracle.

    Args:
        tally: Of a volume.
        against: Which reference it is of.
        classes: Names of the classes, where they are more than two.
    """
    whole = tally.whole
    found = _diagram(whole.reliability.top_label, ("count", "confidence", "right"), "reliability", against)
    names = ("count", "probability", "present")
    single = whole.reliability.class_wise
    endings = [against] if len(single) == 1 else [f"{name}_{against}" for name in classes]
    for diagram, ending in zip(single, endings, strict=True):
        found |= _diagram(diagram, names, "classwise", ending)
    for name, errors in zip(MEASURES, whole.errors, strict=True):
        _, rest, oracle = curve(errors)
        found[f"sparsification_{name}_{against}"] = tuple(rest.tolist())
        found[f"sparsification_oracle_{against}"] = tuple(oracle.tolist())  # the same for each
    return found


def _of_measure(tally: Tally, whole: Region, number: int, ending: str) -> Scores:
    errors, patches = whole.errors[number], tally.patches[number]
    return {
        f"error_auroc_{ending}": errors.auc(),
        f"error_ap_{ending}": errors.average_precision(),
        f"ause_{ending}": ause(errors),
        f"aurc_{ending}": aurc(errors),
        f"pavpu_{ending}": patches.pavpu,
        f"p_accurate_certain_{ending}": patches.accurate_if_certain,
        f"p_uncertain_inaccurate_{ending}": patches.uncertain_if_inaccurate,
    }


def _of_region(region: Region, whole: Region, ending: str) -> Scores:
    voxels, counts = region.reliability.voxels, region.reliability.confusion
    return {
        f"share_{ending}": voxels / whole.reliability.voxels if whole.reliability.voxels else math.nan,
        f"accuracy_{ending}": accuracy(counts),
        f"ece_{ending}": region.reliability.ece,
        f"error_auroc_entropy_{ending}": region.errors[MEASURES.index("entropy")].auc(),
    }


def _diagram(diagram: Diagram, names: tuple[str, str, str], prefix: str, against: str) -> Curves:
    columns = (diagram.count, diagram.probability, diagram.frequency)
    named = zip(names, columns, strict=True)
    return {f"{prefix}_{name}_{against}": tuple(float(v) for v in values) for name, values in named}
