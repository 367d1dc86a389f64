"""The study's table 0.1, accuracy by domain against the human label: the printed values, and ours beside them."""

from collections.abc import Sequence

from segbench.evaluate.definitions import Stored
from segbench.evaluate.estimates import Estimate, Score, estimate
from segbench.evaluate.printed import Printed
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.groups import Method, mains, methods
from segbench.metrics import overlap
from segbench.metrics.intervals import of_mean
from segbench.rows import Row

NAN = float("nan")
TRAINED = "*"


def sandia_accuracy(stored: Sequence[Stored], printed: Printed) -> list[Sheet]:
    """T0.1 in the order of the paper, then the same against the truth, which the study does not have."""
    found = methods(mains(stored))
    if not found:
        return []
    sheets = [_human(found, printed)]
    if any(row.confusion_truth is not None for method in found for row in method.rows):
        sheets.append(_truth(found, printed))
    return sheets


def of(method: Method, domain: str, score: Score) -> float:
    """Mean of a score over the volumes of one domain; NaN where there are none."""
    return overlap.mean([score(row) for row in method.rows if row.domain == domain])


def marked(domain: str, found: Sequence[Method]) -> str:
    """A domain's name, with an asterisk where a model was trained on other volumes of it."""
    return domain + TRAINED * any(domain in method.trained_on for method in found)


def mean_over(method: Method, domains: Sequence[str], score: Score) -> Estimate:
    """Mean of a score over domains."""
    return Estimate(of_mean([of(method, domain, score) for domain in domains]), "domain")


def notes(found: Sequence[Method], printed: Printed) -> tuple[str, ...]:
    """What both tables of the study have to say of our values."""
    trained = [f"{method.name} on {', '.join(method.trained_on)}" for method in found if method.trained_on]
    lacking = [
        f"{method.name} has no rows of {', '.join(gone)}: nan"
        for method in found
        if (gone := [line.domain for line in printed.domains if all(r.domain != line.domain for r in method.rows)])
    ]
    taught = f"{TRAINED} a domain that a model was trained on, in other volumes: {'; '.join(trained)}"
    return (
        "in the order of the paper; its values, in italics, are of measured scans that are not here",
        "ours are of battery16, simulated scans of the same names, whose human-like labels were made to agree with the "
        "truth as the study printed: that accuracy falls in the printed order is built in, how far it falls is not",
        *([taught] if trained else []),
        *lacking,
    )


def _human(found: Sequence[Method], printed: Printed) -> Sheet:
    def score(row: Row) -> float:
        return row.metrics.get("accuracy_human", NAN)

    columns = (Heading("domain", words=True), Heading("the study", printed=True), *(Heading(m.name) for m in found))
    names = [line.domain for line in printed.domains]
    lines: list[tuple[Cell, ...]] = [
        (marked(line.domain, found), line.accuracy, *(of(m, line.domain, score) for m in found))
        for line in printed.domains
    ]
    lines.append(("mean", printed.mean.accuracy, *(mean_over(m, names, score) for m in found)))
    trained = [name for name in names if any(name in m.trained_on for m in found)]
    if trained:
        others = [name for name in names if name not in trained]
        lines.append((f"mean of {len(trained)}{TRAINED}", None, *(mean_over(m, trained, score) for m in found)))
        lines.append((f"mean of {len(others)} others", None, *(mean_over(m, others, score) for m in found)))
    more = "a domain has no interval here: it is one volume, and the rows' blocks are against the truth, not the label"
    return Sheet("T0.1: accuracy against the human label", columns, tuple(lines), (*notes(found, printed), more))


def _truth(found: Sequence[Method], printed: Printed) -> Sheet:
    def human(row: Row) -> float:
        return row.metrics.get("human_accuracy_truth", NAN)

    def score(row: Row) -> float:
        return row.metrics.get("accuracy_truth", NAN)

    columns = (Heading("domain", words=True), Heading("human-like label"), *(Heading(m.name) for m in found))
    names = [line.domain for line in printed.domains]
    lines: list[tuple[Cell, ...]] = []
    for name in names:
        own = [estimate([row for row in m.rows if row.domain == name], score, overlap.accuracy) for m in found]
        lines.append((marked(name, found), of(found[0], name, human), *own))
    means = [mean_over(m, names, score) for m in found]
    lines.append(("mean", mean_over(found[0], names, human), *means))
    note = "the study has no truth, so it prints nothing of this"
    return Sheet("The same models against the truth", columns, tuple(lines), (note,))
