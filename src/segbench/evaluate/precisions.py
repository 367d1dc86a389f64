"""What a lower precision of the convolutions costs in accuracy and calibration, and what it saves."""

import math
from collections.abc import Sequence

from segbench.evaluate.definitions import Stored
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.metrics import overlap

SCORES = {
    "accuracy": "accuracy_truth",
    "mIoU": "miou_truth",
    "AUC": "auc_truth",
    "NLL": "nll_truth",
    "Brier": "brier_truth",
    "ECE": "ece_truth",
    "entropy": "entropy",
    "mutual information": "mutual_information",
}


def precisions(stored: Sequence[Stored]) -> list[Sheet]:
    """A line for each run: means over the domains against the truth, and the seconds of all predictions."""
    if not stored:
        return []
    columns = (
        Heading("precision", words=True),
        *(Heading(name, digits=4) for name in SCORES),
        Heading("seconds", digits=0),
    )
    notes = (
        "means over the domains, against the truth; NLL and entropies in nats, ECE of the called class in bins",
        "seconds: of all predictions together, with reading and aggregation; `segbench bench` compares speeds",
    )
    lines: list[tuple[Cell, ...]] = []
    for part in stored:
        means = [overlap.mean([row.metrics.get(key, math.nan) for row in part.own]) for key in SCORES.values()]
        lines.append((part.own[0].precision, *means, sum(row.wall_s for row in part.own)))
    return [Sheet("Precisions of the convolutions", columns, tuple(lines), notes)]
