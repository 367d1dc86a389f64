"""The public record of tomo2seg by itself: its 19 reports, every score computed again from their counts."""

from collections.abc import Sequence

from segbench.evaluate.recorded import COMPOSITE, Record, Report, Scored, of_majority
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.metrics import overlap
from segbench.metrics.counts import Int64

DERIVED = (
    "computed from the recorded counts of true and false positives and false negatives, exactly; in italics: as "
    "recorded",
    "scores are pooled over voxels; macro: mean over classes, a class without a value being left out",
    "majority: accuracy of the most frequent class throughout",
    "nothing here was trained or measured by segbench",
)


def record(found: Record) -> list[Sheet]:
    """The reports of the composite, those of other scans, and models with scores alone."""
    volumes = dict.fromkeys(report.volume for report in found.reports)
    sheets = []
    for volume in volumes:
        some = [report for report in found.reports if report.volume == volume]
        name = "the composite" if volume == COMPOSITE else volume
        sheets += [_jaccard(found, some, name), _others(some, name), _volumes(some, name)]
    return [*sheets, _scored(found.scored)]


def _jaccard(found: Record, some: Sequence[Report], name: str) -> Sheet:
    classes = list(some[0].classes)
    columns = [Heading("model", words=True), Heading("run", words=True)]
    columns += [Heading(f"Jaccard {one}", 4) for one in classes]
    columns += [Heading("macro", 4), Heading("macro, recorded", 4, printed=True)]
    columns += [Heading("fIoU", 4), Heading("accuracy", 4), Heading("accuracy, recorded", 4, printed=True)]
    columns += [Heading("majority", 4)]
    body: list[tuple[Cell, ...]] = []
    for one in some:
        each = overlap.iou(one.matrix).tolist()
        recorded = found.mean(one, "jaccard"), one.micro[0]
        body.append(
            (one.model, one.runid, *each, overlap.miou(one.matrix), recorded[0], overlap.fiou(one.matrix),
             overlap.accuracy(one.matrix), recorded[1], of_majority(one.matrix))
        )  # fmt: skip
    notes = (f"{len(some)} reports over {some[0].voxels} voxels each; {found.source}", *DERIVED)
    return Sheet(f"Jaccard and accuracy, {name}", tuple(columns), tuple(body), notes)


def _others(some: Sequence[Report], name: str) -> Sheet:
    classes = list(some[0].classes)
    named = {"F1": overlap.f1, "precision": overlap.precision, "recall": overlap.recall}
    columns = [Heading("model", words=True), Heading("run", words=True)]
    columns += [Heading(f"{score} {one}", 4) for score in named for one in (*classes, "macro")]
    body: list[tuple[Cell, ...]] = []
    for one in some:
        values = [score(one.matrix) for score in named.values()]
        body.append((one.model, one.runid, *(v for each in values for v in (*each.tolist(), overlap.mean(each)))))
    return Sheet(f"F1, precision and recall, {name}", tuple(columns), tuple(body), DERIVED[:2])


def _volumes(some: Sequence[Report], name: str) -> Sheet:
    classes = list(some[0].classes)
    columns = [Heading("model", words=True), Heading("run", words=True)]
    columns += [Heading(f"{which} {one}", 5) for one in classes for which in ("true", "found")]
    body: list[tuple[Cell, ...]] = []
    for one in some:
        true, found = fractions(one.matrix)
        body.append((one.model, one.runid, *(v for pair in zip(true, found, strict=True) for v in pair)))
    return Sheet(f"Volume fractions, {name}", tuple(columns), tuple(body), DERIVED[:1])


def _scored(some: Sequence[Scored]) -> Sheet:
    columns = [Heading("model", words=True), Heading("called", words=True), Heading("parameters", 0, printed=True)]
    columns += [Heading(f"Jaccard {one}, recorded", 4, printed=True) for one in ("matrix", "fibre", "porosity")]
    columns += [Heading("macro, recorded", 4, printed=True)]
    body = tuple((one.model, one.alias, float(one.parameters), *one.jaccard) for one in some)
    notes = ("recorded without counts, so that nothing can be computed again",)
    return Sheet("Models with scores alone", tuple(columns), body, notes)


def fractions(matrix: Int64) -> tuple[list[float], list[float]]:
    """Share of each class in the truth and in the prediction."""
    total = matrix.sum()
    return (matrix.sum(axis=1) / total).tolist(), (matrix.sum(axis=0) / total).tolist()
