"""Which scores the tables of one evaluation have as columns, under which headings."""

from collections.abc import Sequence
from dataclasses import dataclass

MEASURED = (("entropy", "entropy"), ("mutual_information", "mutual info."), ("spread", "P70-P30"))
TRUST = (
    "error AUROC: how often a wrong voxel is more uncertain than a right one, by chance 0.5; AUSE: 0 where uncertainty "
    "finds errors as an oracle does; foreign score: share of the model's training scans that are nearer to the usual "
    "one, a warning stands below where it is above the card's threshold"
)


@dataclass(frozen=True)
class Column:
    """A column: key of its values, heading, digits, and whether its values come from the paper."""

    key: str
    heading: str
    digits: int = 3
    printed: bool = False


def agreement(classes: Sequence[str], against: str, printed: bool, has_truth: bool) -> list[Column]:
    """Agreement with label and truth, beside baselines; `printed`: with the study's accuracy."""
    label = "human label" if has_truth else "label"
    columns = [Column("accuracy_human", f"accuracy {label}")]
    if printed:
        columns.append(Column("printed_accuracy", "printed", printed=True))
    if has_truth:
        columns.append(Column("accuracy_truth", "accuracy truth"))
    columns.append(Column(f"miou_{against}", "mIoU"))
    if has_truth and against == "human":
        columns.append(Column("miou_truth", "mIoU truth"))
    columns.append(Column(f"fiou_{against}", "fIoU"))
    columns += [Column(f"f1_{name}_{against}", f"F1 {name}") for name in classes]
    if len(classes) == 2:
        columns.append(Column(f"auc_{against}", "AUC"))
    else:
        columns.append(Column(f"accuracy_band_{against}", "accuracy boundary"))
    return [
        *columns,
        Column(f"forest_accuracy_{against}", "forest"),
        Column(f"otsu_accuracy_{against}", "Otsu"),
    ]


def viability(has_truth: bool, printed: bool) -> list[Column]:
    """Separation of grey values, and means of uncertainty; `printed`: with the study's viability."""
    columns = [Column("viability_of_human", "viability human" if has_truth else "viability label", 2)]
    if printed:
        columns.append(Column("printed_human_viability", "printed", 2, printed=True))
    columns.append(Column("viability", "viability model", 2))
    if printed:
        columns.append(Column("printed_ml_viability", "printed", 2, printed=True))
    if has_truth:
        columns.append(Column("viability_of_truth", "viability truth", 2))
    return [
        *columns,
        Column("separability", "p(1-p)v²"),
        Column("entropy", "entropy (nat)"),
        Column("mutual_information", "mutual info. (nat)", 4),
        Column("spread", "P70-P30", 4),
    ]


def shares(classes: Sequence[str], against: str) -> list[Column]:
    """Of more than two classes: how much of each there is, and means of uncertainty."""
    reference = "truth" if against == "truth" else "label"
    columns = []
    for name in classes:
        columns += [
            Column(f"share_of_{name}_{against}", f"{name} {reference}"),
            Column(f"share_{name}", f"{name} model"),
        ]
    return [
        *columns,
        Column("entropy", "entropy (nat)"),
        Column("mutual_information", "mutual info. (nat)", 4),
        Column("spread", "P70-P30", 4),
        Column("doubted", "second network"),
    ]


def trust(against: str) -> list[Column]:
    """Calibration, uncertainty against error, and foreign input, against "truth" or "human"."""
    return [
        Column(f"nll_{against}", "NLL"),
        Column(f"brier_{against}", "Brier"),
        Column(f"ece_{against}", "ECE"),
        Column(f"ece_classwise_{against}", "class-wise ECE"),
        *(Column(f"error_auroc_{name}_{against}", f"error AUROC, {words}") for name, words in MEASURED),
        Column(f"ause_entropy_{against}", "AUSE, entropy"),
        Column("foreign", "foreign score", 4),
        Column("foreign_tiles", "foreign tiles"),
    ]
