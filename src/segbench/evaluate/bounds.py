"""Whether what bounds a share holds: the samples' interval, the card's conformal one, and both masks.

Names of scores, those of the last six only where the card has a conformal fit:

- `share_samples_low`, `share_samples_high`: percentiles 5 and 95 of the samples' shares of class 1.
- `share_low`, `share_high`: the conformal interval of that share; NaN with fewer samples than it was fitted for.
- `share_covered`: 1 where that interval holds the truth's share, else 0; NaN without truth or interval.
- `share_sure`, `share_possible`: of voxels that surely, and that possibly are class 1.
- `miss_rate_REF`: share of class 1 of the reference that is not even possible; NaN where it has none.
- `intrusion_rate_REF`: share of class 0 of the reference that is surely class 1; NaN where it has none.
"""

import math

import numpy as np

from segbench.evaluate.cases import Labelled
from segbench.evaluate.tallied import Scores
from segbench.metrics.conformal import of_samples
from segbench.predict import Prediction
from segbench.predict.bounds import Bool, possible, share_interval, sure
from segbench.zoo.findings import ConformalCard

SAID = (
    "the conformal interval and both masks promise something of scans like the blocks that the card names, and nothing "
    "of others; missed: of class 1 by what it possibly is; taken in: of class 0 by what surely is class 1"
)


def headings(against: str) -> list[tuple[str, str]]:
    """Scores of a table with their headings, against "truth" or "human"."""
    return [
        (f"share_of_{against}", "share truth" if against == "truth" else "share label"),
        ("share", "share model"),
        ("share_samples_low", "samples 5 %"),
        ("share_samples_high", "samples 95 %"),
        ("share_low", "conf. low"),
        ("share_high", "conf. high"),
        *([("share_covered", "covers truth")] if against == "truth" else []),
        ("share_sure", "surely"),
        ("share_possible", "possibly"),
        (f"miss_rate_{against}", "missed"),
        (f"intrusion_rate_{against}", "taken in"),
    ]


def of_bounds(case: Labelled, prediction: Prediction, fitted: ConformalCard | None) -> Scores:
    """The scores above, of one volume; REF is "truth" where there is one, else "human"."""
    low, high = of_samples(prediction.shares)
    scores = {"share_samples_low": low, "share_samples_high": high}
    if fitted is None:
        return scores
    against, reference = case.against, case.reference
    low, high = share_interval(fitted, prediction.shares)
    covered = math.nan
    if case.truth is not None and not math.isnan(low):
        covered = float(low <= np.count_nonzero(case.truth == 1) / case.truth.size <= high)
    scores |= {"share_low": low, "share_high": high, "share_covered": covered}
    names = ("share_sure", "share_possible", f"miss_rate_{against}", f"intrusion_rate_{against}")
    if math.isnan(low):
        return scores | dict.fromkeys(names, math.nan)
    inner, outer = sure(fitted, prediction.probability), possible(fitted, prediction.probability)
    there = reference == 1
    values = (float(inner.mean()), float(outer.mean()), _share(~outer, there), _share(inner, ~there))
    return scores | dict(zip(names, values, strict=True))


def _share(of: Bool, among: Bool) -> float:
    """Share of `among` that is also `of`; NaN where there is none."""
    voxels = np.count_nonzero(among)
    return float(np.count_nonzero(of & among) / voxels) if voxels else math.nan
