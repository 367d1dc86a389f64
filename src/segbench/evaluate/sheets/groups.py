"""What the lines and columns of these tables stand for: the methods that were run, and the data they were tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

from segbench.evaluate.definitions import RunDefinition, Stored
from segbench.rows import Row


@dataclass(frozen=True)
class Group:
    """Domains of one data set that are looked at together.

    Attributes:
        name: What a reader sees, with how many domains or volumes there are.
        data: Of the runs.
        trained: Whether these are the domains that a model was trained on, or the others; None for all.
        domain: The only domain; None for those of `trained`.
    """

    name: str
    data: str
    trained: bool | None = None
    domain: str | None = None

    def rows(self, rows: Sequence[Row], trained_on: Sequence[str]) -> list[Row]:
        """The rows of this group, of a model that was trained on some domains."""
        return [row for row in rows if row.data == self.data and self._holds(row.domain, trained_on)]

    def _holds(self, domain: str, trained_on: Sequence[str]) -> bool:
        if self.domain is not None:
            return domain == self.domain
        return self.trained is None or (domain in trained_on) == self.trained


@dataclass(frozen=True)
class Method:
    """All rows of one method, over every data set that it was run on.

    Attributes:
        name: Of the model, with what tells it apart.
        rows: One per volume.
        trained_on: Domains of battery16.
        zoo: What was run, as its definition says.
    """

    name: str
    rows: tuple[Row, ...]
    trained_on: tuple[str, ...] = ()
    zoo: str = ""

    def of(self, group: Group) -> list[Row]:
        """Its rows of a group; none where it was not run on it."""
        return group.rows(self.rows, self.trained_on)


def mains(stored: Sequence[Stored], *, twins: bool = False) -> list[Stored]:
    """Runs that a table is about: of Monte-Carlo samples (or the twins), not of siblings, uncalibrated or repeated."""
    found: list[Stored] = []
    for part in stored:
        wanted = bool(part.own) and not part.run.of_seed and not part.run.uncalibrated
        first = all((part.run.zoo, part.run.data) != (other.run.zoo, other.run.data) for other in found)
        if wanted and (part.run.samples == 0) == twins and first:
            found.append(part)
    return found


def repeats(stored: Sequence[Stored], main: Stored) -> list[Stored]:
    """The same run with other masks, the run itself among them."""
    want = _but_seed(main.run)
    return [part for part in stored if part.own and _but_seed(part.run) == want]


def siblings(stored: Sequence[Stored], main: Stored) -> list[Stored]:
    """The same run of every training from another seed, the run itself among them."""
    return [main, *(part for part in stored if part.own and part.run.of_seed and part.run.data == main.run.data)]


def _but_seed(run: RunDefinition) -> RunDefinition:
    return run.model_copy(update={"name": "same", "seed": 0})


def methods(parts: Sequence[Stored]) -> list[Method]:
    """Runs of one model brought together, in their order."""
    found: dict[str, list[Stored]] = {}
    for part in parts:
        found.setdefault(part.run.zoo, []).append(part)
    return [
        Method(own[0].own[0].model, tuple(row for part in own for row in part.own), trained_of(own), zoo)
        for zoo, own in found.items()
    ]


def trained_of(parts: Sequence[Stored]) -> tuple[str, ...]:
    """Domains of battery16 that the model of these runs was trained on."""
    return next((part.trained_on for part in parts if part.trained_on), ())


def groups(parts: Sequence[Stored], *, whole: bool = True) -> list[Group]:
    """What the runs were tested on: training domains, the others and all of them; of a measured set its domains.

    Args:
        parts: Runs; how many domains and volumes there are is told from the first of each data set.
        whole: With all domains of a set together.
    """
    found: list[Group] = []
    for data in dict.fromkeys(part.run.data for part in parts):
        first = next(part for part in parts if part.run.data == data)
        domains = list(dict.fromkeys(row.domain for row in first.own))
        if first.run.measured:
            found += [Group(f"{d} ({_volumes(first, d)})", data, domain=d) for d in domains]
            continue
        trained = [domain for domain in domains if domain in first.trained_on]
        others = len(domains) - len(trained)
        if trained:
            found.append(Group(f"{data}, in ({_domains(len(trained))})", data, trained=True))
        if trained and others:
            found.append(Group(f"{data}, out ({_domains(others)})", data, trained=False))
        if not trained or (whole and others):
            found.append(Group(f"{data}, all ({_domains(len(domains))})", data))
    return found


def _domains(n: int) -> str:
    return f"{n} domains" if n > 1 else "1 domain"


def _volumes(part: Stored, domain: str) -> str:
    n = sum(row.domain == domain for row in part.own)
    return f"{n} volumes" if n > 1 else "1 volume"
