"""tomo2seg's tables on fibre-composite: scores pooled over voxels, recorded values beside ours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segbench.evaluate.definitions import LineDefinition, TableDefinition
from segbench.evaluate.estimates import Pooled, counts, estimate, of_trainings
from segbench.evaluate.images import TRAININGS
from segbench.evaluate.measured import Collection, Measured
from segbench.evaluate.priors import expected_uniform
from segbench.evaluate.recorded import Record
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.tomo2seg_record import fractions
from segbench.metrics import overlap
from segbench.metrics.counts import Int64
from segbench.rows import Row

CLASSES = ("matrix", "fibre", "porosity")
NAN = float("nan")
MEANT = (
    "against the truth; scores are of all voxels of the test layers together; macro: mean over the three classes",
    "recorded, in italics: the public record of tomo2seg, of a measured volume that is not here; such models had no "
    "dropout when they were tested",
)
EachClass = Callable[[Int64], "overlap.Float64"]


@dataclass(frozen=True)
class Line:
    """A method of a table and what was measured of it."""

    definition: LineDefinition
    title: str
    measured: tuple[Measured, ...]
    why_not: str | None = None

    @property
    def name(self) -> str:
        """What a reader sees, with what went wrong."""
        if self.measured:
            return self.title
        return f"{self.title} (failed: {self.why_not})" if self.why_not else f"{self.title} (not measured)"

    @property
    def trained(self) -> bool:
        """Whether there is a network."""
        return any(one.rows[0].kind == "case" for one in self.measured)

    def rows(self, domain: str) -> list[Row]:
        """One row for each training."""
        return [row for one in self.measured if (row := one.of(domain)) is not None]


def tomo2seg(table: TableDefinition, found: Collection, record: Record) -> list[Sheet]:
    """Jaccard, F1 with precision and recall, volume fractions, confusion, speed; then the other domains."""
    shown = lines(table, found)
    domains = list(dict.fromkeys(row.domain for line in shown for one in line.measured for row in one.rows))
    main = domains[0] if domains else ""
    notes = (*caption(shown, found), *MEANT)
    sheets = [_jaccard(shown, main, record, notes)]
    if not main:
        return sheets
    sheets += [_others(shown, main), _volumes(shown, main), _confusion(shown, main)]
    if any(one.speed for line in shown for one in line.measured):
        sheets.append(_speed(shown))
    return sheets + [_elsewhere(shown, domains[1:])] * (len(domains) > 1)


def lines(table: TableDefinition, found: Collection) -> list[Line]:
    """The lines of a table, measured or not."""
    return [
        Line(
            line, line.title or found.study.named(line.method).title, found.of(line.method), found.why_not(line.method)
        )
        for line in table.line
    ]


def caption(shown: Sequence[Line], found: Collection) -> tuple[str, ...]:
    """Scale, budget, device, seeds: what a number cannot be read without."""
    measured = [one for line in shown if line.trained for one in line.measured]
    if not any(line.measured for line in shown):
        return ("not measured yet",)
    scale = found.study.scale_named(found.scale)
    budget = "the steps of the recipes"
    if scale.budget_s is not None:
        budget = f"at most {scale.budget_s:g} s of processor time for every network"
    devices = ", ".join(sorted({one.trained.device for one in measured})) or "nothing"
    samples = ", ".join(str(t) for t in sorted({row.samples for one in measured for row in one.rows})) or "none"
    seeds = "; ".join(
        f"{line.title}: {', '.join(str(one.key.seed) for one in line.measured)}" for line in shown if line.measured
    )
    part = "" if scale.layers is None else f"; the first {scale.layers} test layers"
    said = [
        f"scale {found.scale}: {budget}; trained on {devices}; T = {samples}{part}",
        f"seeds: {seeds}; intervals are over trainings where there are {TRAININGS}, else over blocks of the test "
        "layers of one training",
    ]
    if not scale.stored:
        said.insert(0, "this scale only proves that everything runs: its numbers mean nothing")
    return tuple(said)


def pooled(rows: Sequence[Row], score: Pooled) -> Cell:
    """A score of a method's trainings on one domain; of two trainings their mean alone."""
    if len(rows) >= TRAININGS:
        return of_trainings([score(counts(row)) for row in rows])
    if len(rows) == 1:
        return estimate(rows, lambda row: score(counts(row)), score)
    return overlap.mean([score(counts(row)) for row in rows])


def of_class(score: EachClass, number: int) -> Pooled:
    """A score of one class."""
    return lambda matrix: float(score(matrix)[number])


def of_all(score: EachClass) -> Pooled:
    """Its mean over the classes that have it."""
    return lambda matrix: overlap.mean(score(matrix))


def _jaccard(shown: Sequence[Line], domain: str, record: Record, notes: tuple[str, ...]) -> Sheet:
    named = {f"Jaccard {name}": of_class(overlap.iou, number) for number, name in enumerate(CLASSES)}
    named |= {"macro": overlap.miou}
    columns = [Heading("method", words=True), Heading("n", 0)]
    for name in named:
        columns += [Heading(name, 4), Heading(f"{name}, recorded", 4, printed=True)]
    columns += [Heading("fIoU", 4), Heading("accuracy", 4), Heading("parameters", 0)]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows, cells = line.rows(domain), list[Cell]()
        for score, value in zip(named.values(), record.jaccard(line.definition.printed), strict=True):
            cells += [pooled(rows, score), value]
        size = float(line.measured[0].trained.parameters) if line.trained else None if line.measured else NAN
        cells += [pooled(rows, overlap.fiou), pooled(rows, overlap.accuracy), size]
        body.append((line.name, float(len(rows)), *cells))
    body += _expected(shown, domain, list(named.values()))
    return Sheet(
        "Jaccard",
        tuple(columns),
        tuple(body),
        (*notes, "n: trainings; where there are several, a dot for each in the figure"),
    )


def _expected(shown: Sequence[Line], domain: str, named: Sequence[Pooled]) -> list[tuple[Cell, ...]]:
    """What dice have to expect, in closed form, beside a line in which they were cast."""
    rows = [row for line in shown for row in line.rows(domain) if (row.kind, row.model) == ("baseline", "uniform")]
    if not rows:
        return []
    matrix = expected_uniform(counts(rows[0]))
    cells = [cell for score in named for cell in (score(matrix), None)]
    return [("uniform, expected", 0.0, *cells, overlap.fiou(matrix), overlap.accuracy(matrix), None)]


def _others(shown: Sequence[Line], domain: str) -> Sheet:
    named: dict[str, EachClass] = {"F1": overlap.f1, "precision": overlap.precision, "recall": overlap.recall}
    columns = [Heading("method", words=True)]
    columns += [Heading(f"{score} {one}", 4) for score in named for one in (*CLASSES, "macro")]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows, cells = line.rows(domain), list[Cell]()
        for score in named.values():
            cells += [pooled(rows, of_class(score, number)) for number in range(len(CLASSES))]
            cells.append(pooled(rows, of_all(score)))
        body.append((line.name, *cells))
    return Sheet("F1, precision and recall", tuple(columns), tuple(body), MEANT[:1])


def _volumes(shown: Sequence[Line], domain: str) -> Sheet:
    columns = [Heading("method", words=True)]
    columns += [Heading(f"{which} {one}", 5) for one in CLASSES for which in ("true", "found")]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows, cells = line.rows(domain), list[Cell]()
        for number in range(len(CLASSES)):
            cells.append(overlap.mean([fractions(counts(row))[0][number] for row in rows]))
            cells.append(pooled(rows, lambda matrix, at=number: fractions(matrix)[1][at]))  # type: ignore[misc]
        body.append((line.name, *cells))
    return Sheet("Volume fractions", tuple(columns), tuple(body), ("shares of all voxels of the test layers",))


def _confusion(shown: Sequence[Line], domain: str) -> Sheet:
    columns = [Heading("method", words=True), Heading("seed", 0), Heading("true class", words=True)]
    columns += [Heading(f"found {name}", 0) for name in CLASSES]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        for one in line.measured:
            row = one.of(domain)
            for name, values in zip(CLASSES, counts(row).tolist() if row else [], strict=bool(row)):
                body.append((line.title, float(one.key.seed), name, *(float(value) for value in values)))
    return Sheet("Confusion", tuple(columns), tuple(body), ("voxels of the test layers",))


def _speed(shown: Sequence[Line]) -> Sheet:
    columns = (
        Heading("method", words=True), Heading("parameters", 0), Heading("Mvoxel a second, one pass", 4),
        Heading("Mvoxel a second, T samples", 4), Heading("T", 0), Heading("dense passes that T samples cost", 2),
    )  # fmt: skip
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        some = [one.speed for one in line.measured if one.speed is not None]
        if some:
            body.append(
                (line.title, float(line.measured[0].trained.parameters), overlap.mean([one.single for one in some]),
                 overlap.mean([one.sampled for one in some]), float(some[0].samples),
                 overlap.mean([one.single / one.sampled for one in some]))
            )  # fmt: skip
    notes = (
        "useful voxels by seconds of processor time, normalisation, tiles and their halo included; one thread, beside "
        "other work, so that a machine that has nothing else to do is somewhat faster",
    )
    return Sheet("Speed", columns, tuple(body), notes)


def _elsewhere(shown: Sequence[Line], domains: Sequence[str]) -> Sheet:
    named = {f"Jaccard {name}": of_class(overlap.iou, number) for number, name in enumerate(CLASSES)}
    named |= {"macro": overlap.miou}
    columns = [Heading("method", words=True)]
    columns += [Heading(f"{name}, {domain}", 4) for domain in domains for name in named]
    body: list[tuple[Cell, ...]] = [
        (line.name, *(pooled(line.rows(domain), score) for domain in domains for score in named.values()))
        for line in shown
    ]
    notes = ("nothing is trained on these volumes; Otsu alone takes its thresholds from them",)
    return Sheet("On other volumes than the one trained on", tuple(columns), tuple(body), notes)
