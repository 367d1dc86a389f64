"""What the public record of tomo2seg holds: 19 reports with their counts, and two models with scores alone."""

from functools import cached_property

from segbench.errors import InputError
from segbench.evaluate.printed import printed_file
from segbench.metrics.counts import Int64, from_margins
from segbench.recipe import Strict, read_json

COMPOSITE = "PA66GF30.v1"
"""The volume of 18 of the reports."""
SCORES = 4
"""Recorded Jaccard scores of a model: of three classes, and their mean."""


class Report(Strict):
    """One report of a test run, as recorded; an empty cell is None.

    Attributes:
        volume: Which scan.
        set: Which part of it.
        model: The record's name of the model.
        runid: Of the run.
        commit: Of the repository.
        voxels: That were looked at.
        classes: By name, values of `Record.class_columns`.
        macro: Means over classes, of `Record.mean_columns`.
        micro: Of all voxels, likewise.
    """

    volume: str
    set: str
    model: str
    runid: str
    commit: str
    voxels: int
    classes: dict[str, tuple[float | None, ...]]
    macro: tuple[float | None, ...]
    micro: tuple[float | None, ...]

    @cached_property
    def matrix(self) -> Int64:
        """A confusion matrix (K, K) with the report's counts: every score of `metrics.overlap` follows from it."""
        counts = [[int(value or 0) for value in values[:3]] for values in self.classes.values()]
        hits, false, missed = zip(*counts, strict=True)
        return from_margins(hits, missed, false)


class Scored(Strict):
    """A model of which the record holds Jaccard scores alone.

    Attributes:
        model: The record's name of it.
        alias: What it is called in the publication.
        parameters: Of its network.
        commit: Of the repository.
        jaccard: Of matrix, fibre and porosity, and their mean.
    """

    model: str
    alias: str
    parameters: int
    commit: str
    jaccard: tuple[float, float, float, float]


class Record(Strict):
    """All of it; see `evaluate/printed/tomo2seg.json`."""

    source: str
    class_columns: tuple[str, ...]
    mean_columns: tuple[str, ...]
    reports: tuple[Report, ...]
    scored_columns: tuple[str, ...]
    scored: tuple[Scored, ...]

    def mean(self, report: Report, column: str) -> float | None:
        """A recorded mean over a report's classes."""
        return report.macro[self.mean_columns.index(column)]

    def jaccard(self, name: str | None) -> tuple[float | None, ...]:
        """Recorded Jaccard of the three classes and their mean, by the name of a model or a run; None where not asked.

        Raises:
            InputError: The record has none of that name, or several.
        """
        if name is None:
            return (None,) * SCORES
        found: list[tuple[float | None, ...]] = [one.jaccard for one in self.scored if one.model == name]
        column = self.class_columns.index("jaccard")
        for report in self.reports:
            if name in (report.model, report.runid):
                each = [values[column] for values in report.classes.values()]
                found.append((*each, self.mean(report, "jaccard")))
        if len(set(found)) != 1 or len(found[0]) != SCORES:
            raise InputError(f"the record of tomo2seg has {len(found)} models or runs {name!r}: mend the definition")
        return found[0]


def tomo2seg() -> Record:
    """The record as committed in `evaluate/printed/tomo2seg.json`."""
    return read_json(printed_file("tomo2seg.json"), Record)


def of_majority(matrix: Int64) -> float:
    """Accuracy of the most frequent class throughout."""
    true = matrix.sum(axis=1)
    return float(true.max() / true.sum())
