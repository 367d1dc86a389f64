"""The tables 1, 2, 3 and 5 of the MatPhase paper on battery-fib: printed values beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from segbench.evaluate.definitions import TableDefinition
from segbench.evaluate.estimates import of_trainings
from segbench.evaluate.images import TRAININGS, averaged, ends, f1_of
from segbench.evaluate.measured import Collection, Measured
from segbench.evaluate.methods import SplitName
from segbench.evaluate.printed import PrintedMethod, PrintedStudy
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.metrics import overlap
from segbench.rows import Row

NAN = float("nan")
CLASSES = ("pore", "carbon", "nickel")
DOMAIN: dict[SplitName, str] = {"clean": "clean", "paper": "paper"}
OTHERS = ("specimen-2", "low-dose")
SPLITS: dict[SplitName, str] = {
    "clean": "clean split: test slices lie deeper than all training slices, with slices left out between",
    "paper": "the paper's split: 40 of 50 test images are of slices that are not trained on, but their neighbours are, "
    "and the other 10 are copies of training slices: compare with the paper, not with the clean split",
}
MEANT = (
    "against the cleaned labels, as in the paper; every score is of one image by itself, then averaged over the test "
    "images, an absent class being left out; the paper says so of F1 alone; IoU is that of Long et al. 2015",
    "test images are neighbouring slices, so that an interval over them is narrower than one over specimens would be",
    "the paper's values, in italics, are of measured slices that are not here",
)
ENDS = (
    "best 5, lowest 5: accuracy of the five best and lowest test images in per cent, each training by itself; +-: "
    "their sample standard deviation in percentage points; the paper's mixes per cent and fractions and is as printed",
    "band: accuracy within 2 pixels of a phase boundary of the label; doubted: share of pixels that the local network "
    "decides; parameters: of all networks of a method",
)


@dataclass(frozen=True)
class Line:
    """A method of a table: what it is called, what was measured of it, what the paper prints."""

    title: str
    measured: tuple[Measured, ...]
    printed: PrintedMethod | None
    why_not: str | None = None

    @property
    def name(self) -> str:
        """What a reader sees, with what went wrong."""
        if self.measured:
            return self.title
        return f"{self.title} (failed: {self.why_not})" if self.why_not else f"{self.title} (not measured)"

    def rows(self, domain: str) -> list[Row]:
        """One row for each training."""
        return [row for one in self.measured if (row := one.of(domain)) is not None]


def matphase(table: TableDefinition, found: Collection, printed: PrintedStudy) -> list[Sheet]:
    """Scores and ends on the clean split, the other domains, then the paper's split for what was trained on it."""
    main = lines(table, found, "clean", printed)
    sheets = [*_split(main, found, "clean")]
    if any(line.rows(domain) for line in main for domain in OTHERS):
        sheets.append(_others(main))
    again = lines(table, found, "paper", printed)
    if any(line.measured for line in again):
        sheets += _split([line for line in again if line.measured], found, "paper")
    return sheets


def lines(table: TableDefinition, found: Collection, split: SplitName, printed: PrintedStudy) -> list[Line]:
    """The lines of a table, measured or not."""
    made = []
    for line in table.line:
        title = line.title or found.study.named(line.method).title
        beside = printed.of(table.printed, line.printed)
        made.append(Line(title, found.of(line.method, split), beside, found.why_not(line.method, split)))
    return made


def caption(shown: Sequence[Line], found: Collection, split: SplitName) -> tuple[str, ...]:
    """Scale, budget, device, seeds and split: what a number cannot be read without."""
    measured = [one for line in shown for one in line.measured]
    said = [SPLITS[split]]
    if not measured:
        return ("not measured yet", *said)
    scale = found.study.scale_named(found.scale)
    budget = "the budget of the paper's epochs and batches"
    if scale.budget_s is not None and scale.later_s is not None:
        budget = (
            f"at most {scale.budget_s:g} s of processor time for every network, and {scale.later_s:g} s for all that "
            "comes after a first network"
        )
        for line in shown:
            if line.measured and (times := found.study.named(line.measured[0].key.method).budgets) != 1:
                budget += f"; {line.title}: {times:g} times that"
    devices = ", ".join(sorted({one.trained.device for one in measured}))
    samples = ", ".join(str(t) for t in sorted({row.samples for one in measured for row in one.rows}))
    seeds = "; ".join(
        f"{line.title}: {', '.join(str(one.key.seed) for one in line.measured)}" for line in shown if line.measured
    )
    said.insert(0, f"scale {found.scale}: {budget}; trained on {devices}; T = {samples}")
    said.append(f"seeds: {seeds}; intervals are over trainings where there are {TRAININGS}, else over the test images")
    if not scale.stored:
        said.insert(0, "this scale only proves that everything runs: its numbers mean nothing")
    return tuple(said)


def _split(shown: Sequence[Line], found: Collection, split: SplitName) -> list[Sheet]:
    domain, title = DOMAIN[split], "clean split" if split == "clean" else "the paper's split"
    said = caption(shown, found, split)
    return [
        _scores(shown, domain, f"F1 and IoU, {title}", (*said, *MEANT)),
        _accuracy(shown, domain, f"Accuracy, {title}", (*said, *ENDS)),
    ]


def _scores(shown: Sequence[Line], domain: str, title: str, notes: tuple[str, ...]) -> Sheet:
    named = {f"F1 {name}": f1_of(number) for number, name in enumerate(CLASSES)}
    named |= {"mIoU": overlap.miou, "fIoU": overlap.fiou}
    columns = [Heading("method", words=True), Heading("n", 0)]
    for name in named:
        columns += [Heading(name), Heading(f"{name}, paper", printed=True)]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows, cells = line.rows(domain), list[Cell]()
        for score, value in zip(named.values(), _printed(line.printed), strict=True):
            cells += [averaged(rows, score), value]
        body.append((line.name, float(len(rows)), *cells))
    return Sheet(title, tuple(columns), tuple(body), (*notes, "n: trainings"))


def _printed(line: PrintedMethod | None) -> list[float | None]:
    if line is None:
        return [None] * (len(CLASSES) + 2)
    return [*(line.f1[name] for name in CLASSES), line.miou, line.fiou]


def _accuracy(shown: Sequence[Line], domain: str, title: str, notes: tuple[str, ...]) -> Sheet:
    columns = [Heading("method", words=True), Heading("accuracy"), Heading("band")]
    for name in ("best 5", "lowest 5"):
        columns += [Heading(name, 2), Heading(f"{name}, +-", 2)]
        columns += [Heading(f"{name}, paper", 2, printed=True), Heading(f"{name}, +-, paper", 4, printed=True)]
    columns += [Heading("doubted"), Heading("parameters", 0)]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows, beside = line.rows(domain), line.printed
        found = [ends(row) for row in rows]
        best = (beside.best, beside.best_deviation) if beside else (None, None)
        lowest = (beside.lowest, beside.lowest_deviation) if beside else (None, None)
        body.append(
            (
                line.name,
                averaged(rows, overlap.accuracy),
                _over([row.metrics.get("accuracy_band_human", NAN) for row in rows]),
                _over([one.best for one in found]),
                overlap.mean([one.best_deviation for one in found]),
                *best,
                _over([one.lowest for one in found]),
                overlap.mean([one.lowest_deviation for one in found]),
                *lowest,
                overlap.mean([row.metrics.get("doubted", NAN) for row in rows]) if _doubts(rows) else None,
                float(line.measured[0].trained.parameters) if line.measured else NAN,
            )
        )
    return Sheet(title, tuple(columns), tuple(body), notes)


def _doubts(rows: Sequence[Row]) -> bool:
    return any("doubted" in row.metrics for row in rows)


def _over(values: Sequence[float]) -> Cell:
    """A score of whole trainings: an interval where there are enough of them, else their mean alone."""
    return of_trainings(values) if len(values) >= TRAININGS else overlap.mean(values)


def _others(shown: Sequence[Line]) -> Sheet:
    domains = ("clean", *OTHERS)
    columns = [Heading("method", words=True)]
    columns += [Heading(f"{name} {domain}") for name in ("mIoU", "band") for domain in domains]
    body: list[tuple[Cell, ...]] = []
    for line in shown:
        rows = [line.rows(domain) for domain in domains]
        bands = [_over([row.metrics.get("accuracy_band_human", NAN) for row in some]) for some in rows]
        body.append((line.name, *(averaged(some, overlap.miou) for some in rows), *bands))
    notes = (
        "specimen-2: another specimen; low-dose: the first one scanned with less dose; nothing is trained on either",
        "band: accuracy within 2 pixels of a phase boundary of the label",
    )
    return Sheet("On other data than it was trained for", tuple(columns), tuple(body), notes)
