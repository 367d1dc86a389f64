"""Runs on the same volumes stand side by side; runs on other data stand apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

from segbench.report.folder import Run, shown

Case = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that may be compared: the same data, and the same bytes in every volume that two of them share.

    Attributes:
        runs: The first is what the others are compared with.
        notes: What a reader has to know of how they were put together.
    """

    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the data."""
        return shown(self.runs[0].first.data)

    @property
    def domains(self) -> list[str]:
        """Of all runs, in the order of the first."""
        return list(dict.fromkeys(domain for run in self.runs for domain in run.domains))


def group(runs: Sequence[Run]) -> list[Group]:
    """Puts runs together, in their order. Each gets a letter of its own."""
    lettered = [replace(run, letter=_letter(n)) for n, run in enumerate(runs)]
    found: list[list[Run]] = []
    for run in lettered:
        for members in found:
            if all(_same(run, member) for member in members):
                members.append(run)
                break
        else:
            found.append([run])
    return [Group(tuple(members), tuple(_notes(members))) for members in found]


def _letter(n: int) -> str:
    return ascii_uppercase[n] if n < 26 else f"R{n + 1}"


def _cases(run: Run) -> dict[Case, str]:
    return {(row.domain, row.case): row.data_hash for row in run.rows}


def _same(a: Run, b: Run) -> bool:
    """Whether two runs share data, classes, reference and at least one volume, and no volume differs."""
    if (a.first.data, len(a.classes), a.reference) != (b.first.data, len(b.classes), b.reference):
        return False
    first, second = _cases(a), _cases(b)
    common = first.keys() & second.keys()
    return bool(common) and all(first[case] == second[case] for case in common)


def _notes(members: Sequence[Run]) -> list[str]:
    if len(members) < 2:
        return []
    cases = [set(_cases(run)) for run in members]
    shared = set.intersection(*cases)
    if all(len(each) == len(shared) for each in cases):
        return []
    return [
        f"The runs share {len(shared)} of {len(set.union(*cases))} volumes; differences are over the domains that "
        "both have."
    ]
