"""Values as the publications print them; they stand beside ours and never among them."""

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


def sandia() -> Printed:
    """The study's table as committed in `evaluate/printed/sandia.json`."""
    path = folder("evaluate") / "printed" / "sandia.json"
    if not path.is_file():
        raise InputError(f"{path}: missing from this installation: install segbench again")
    return read_json(path, Printed)
