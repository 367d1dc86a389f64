"""Values as the publications print them; they stand beside ours and never among them."""

from pathlib import Path

from segbench.errors import InputError
from segbench.metrics.correlation import pearson
from segbench.recipe import Strict, read_json
from segbench.resources import folder


class PrintedDomain(Strict):
    """One line of the Sandia study's table 0.2."""

    domain: str
    accuracy: float
    human_viability: float
    ml_viability: float


class PrintedMean(Strict):
    """The table's mean row."""

    accuracy: float
    human_viability: float
    ml_viability: float


class Printed(Strict):
    """The Sandia study's table as printed, and what follows from it."""

    source: str
    task: str
    viability_definition: str
    domains: tuple[PrintedDomain, ...]
    mean: PrintedMean

    @property
    def wins(self) -> int:
        """Domains in which the model's viability is above the human label's."""
        return sum(line.ml_viability > line.human_viability for line in self.domains)

    @property
    def correlation(self) -> float:
        """Pearson's r of accuracy and viability gap, derived from the printed lines."""
        gaps = [line.ml_viability - line.human_viability for line in self.domains]
        return pearson([line.accuracy for line in self.domains], gaps)

    def of(self, domain: str) -> dict[str, float]:
        """The printed values of a domain, by column; nothing for a domain that the study does not have."""
        for line in self.domains:
            if line.domain == domain:
                return {
                    "printed_accuracy": line.accuracy,
                    "printed_human_viability": line.human_viability,
                    "printed_ml_viability": line.ml_viability,
                }
        return {}


class PrintedMethod(Strict):
    """One line of a table of the MatPhase paper, as printed.

    Attributes:
        method: As the paper calls it.
        f1: By class.
        best: Mean accuracy of the best five test images in per cent.
        best_deviation: As printed; per cent and fractions are mixed.
        lowest: Likewise of the lowest five.
        lowest_deviation: Likewise.
        miou: Mean IoU.
        fiou: IoU weighted by frequency.
    """

    method: str
    f1: dict[str, float]
    best: float
    best_deviation: float
    lowest: float
    lowest_deviation: float
    miou: float
    fiou: float


class PrintedStudy(Strict):
    """The tables of the MatPhase paper by number, and its mean gains over the baselines, as it words them, by score."""

    source: str
    definitions: str
    gains: dict[str, str]
    tables: dict[str, tuple[PrintedMethod, ...]]

    def of(self, table: str | None, method: str | None) -> PrintedMethod | None:
        """A line; None where no table or method is asked for.

        Raises:
            InputError: The paper has no such line.
        """
        if table is None or method is None:
            return None
        found = [line for line in self.tables.get(table, ()) if line.method == method]
        if not found:
            raise InputError(f"the paper's table {table!r} has no line {method!r}: mend the definition of the table")
        return found[0]


def matphase() -> PrintedStudy:
    """The paper's tables as committed in `evaluate/printed/matphase.json`."""
    return read_json(printed_file("matphase.json"), PrintedStudy)


def sandia() -> Printed:
    """The study's table as committed in `evaluate/printed/sandia.json`."""
    return read_json(printed_file("sandia.json"), Printed)


def printed_file(name: str) -> Path:
    """A file of `evaluate/printed`.

    Raises:
        InputError: It is missing.
    """
    path = folder("evaluate") / "printed" / name
    if not path.is_file():
        raise InputError(f"{path}: missing from this installation: install segbench again")
    return path
