"""Whether probabilities mean what they say, before and after the card's calibration."""

from collections.abc import Sequence

from segbench.evaluate.definitions import Stored
from segbench.evaluate.estimates import estimate, metric
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.groups import Group, Method, groups, mains, methods, trained_of
from segbench.metrics import overlap
from segbench.rows import Row

NEEDS = ("ece", "ece_classwise", "nll", "brier")
ERRORS = {"ece": "ECE", "ece_classwise": "class-wise ECE"}
SCORES = {"nll": "NLL", "brier": "Brier"}
NOTES = (
    "before: logits as the network gives them; after: through the calibration of the model's card, which says what it "
    "was fitted on; nothing that is shown here",
    "battery16 is scored against its truth, the measured sets against their labels, whose errors count as the model's",
    "in: domains that the model was trained on, other volumes; out: the others; measured sets were never trained on",
)
MEANT = (
    "ECE: of the called class, 15 bins of equal width; class-wise: of class 1; means of volumes, then of domains",
    "NLL in nats per voxel; Brier of class 1",
)


def calibration(stored: Sequence[Stored]) -> list[Sheet]:
    """Before and after: errors of calibration, then NLL and Brier, by group; then domain by domain."""
    parts = mains(stored)
    sheets = []
    for method in methods(parts):
        own = [part for part in parts if part.run.zoo == method.zoo]
        before = Method(method.name, uncalibrated(stored, own), trained_of(own))
        shown = groups(own)
        sheets += [
            _summary(f"{method.name}: calibration error", ERRORS, method, before, shown, (*NOTES, MEANT[0])),
            _summary(f"{method.name}: likelihood and Brier score", SCORES, method, before, shown, (MEANT[1],)),
            _domains(method, before, shown),
        ]
    return sheets


def uncalibrated(stored: Sequence[Stored], parts: Sequence[Stored]) -> tuple[Row, ...]:
    """Rows of the same models and data without calibration; rows that say that they went through it do not count."""
    wanted = {(part.run.zoo, part.run.data) for part in parts}
    return tuple(
        row
        for part in stored
        if part.run.uncalibrated and not part.run.of_seed and (part.run.zoo, part.run.data) in wanted
        for row in part.own
        if not row.calibrated
    )


def _headings(names: Sequence[str], digits: int) -> tuple[Heading, ...]:
    return tuple(Heading(f"{name} {when}", digits) for name in names for when in ("before", "after"))


def _summary(
    title: str, scores: dict[str, str], after: Method, before: Method, shown: Sequence[Group], notes: tuple[str, ...]
) -> Sheet:
    lines: list[tuple[Cell, ...]] = []
    for group in shown:
        cells = [estimate(m.of(group), metric(key)) for key in scores for m in (before, after)]
        lines.append((group.name, *cells))
    columns = (Heading("tested on", words=True), *_headings(list(scores.values()), 4))
    return Sheet(title, columns, tuple(lines), notes)


def _domains(after: Method, before: Method, shown: Sequence[Group]) -> Sheet:
    """Every domain apart, those of training first."""
    keys = ERRORS | SCORES
    lines: list[tuple[Cell, ...]] = []
    parted = any(group.trained is not None for group in shown)
    for group in shown:
        if parted and group.trained is None and group.domain is None:
            continue  # all domains of a set whose parts have lines of their own
        of_group = after.of(group)
        for domain in dict.fromkeys(row.domain for row in of_group):
            pair = [[row for row in m.of(group) if row.domain == domain] for m in (before, after)]
            cells = [overlap.mean([metric(key)(row) for row in rows]) for key in keys for rows in pair]
            lines.append((domain, "in" if group.trained else "out", float(len(pair[1])), *cells))
    columns = (Heading("domain", words=True), Heading("training", words=True), Heading("volumes", count=True))
    return Sheet(f"{after.name}: domain by domain", (*columns, *_headings(list(keys.values()), 4)), tuple(lines))
