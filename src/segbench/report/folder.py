"""The folder of a run: its rows, and what it kept to be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segbench.document import short
from segbench.errors import InputError
from segbench.evaluate.estimates import reference
from segbench.evaluate.kept import Slices, read_slices
from segbench.evaluate.run import ROWS
from segbench.evaluate.table import drawn
from segbench.io.message import printable
from segbench.rows import Confusion, Row, read_rows

ROWS_BYTES = 256_000_000
CLASSES = 64  # labels are uint8, and a table of more is no table
NAME = 80  # characters of a name that a page shows
COUNT = 2**53  # voxels; what is beyond is no count of ours
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Run:
    """One model on some volumes.

    Attributes:
        folder: As the user named it.
        rows: Of the model, a row a volume.
        baselines: Rows of methods without training, by name.
        slices: What was kept to be looked at, or None.
        without: Why there are none, a sentence.
        letter: What stands for it where several are shown.
    """

    folder: str
    rows: tuple[Row, ...]
    baselines: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    slices: Slices | None = None
    without: str = ""
    letter: str = "A"

    @property
    def first(self) -> Row:
        """A row for what all of them share."""
        return self.rows[0]

    @cached_property
    def reference(self) -> str:
        """What scores are against: "truth" where every volume has one, else, and of stacks of images, "human"."""
        return "truth" if all(reference(row) == "truth" for row in self.rows) else "human"

    @cached_property
    def has_truth(self) -> bool:
        """Whether there is a truth beside a human label."""
        return any(row.confusion_truth is not None for row in self.rows)

    @cached_property
    def domains(self) -> dict[str, tuple[Row, ...]]:
        """Rows by domain, in their order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.domain, []).append(row)
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: as kept, or as the scores name them."""
        if self.slices is not None and self.slices.about.facts.classes:
            return self.slices.about.facts.classes[:CLASSES]
        keys = list(dict.fromkeys(key for row in self.rows for key in row.metrics))
        for end in ("_human", "_truth"):
            names = tuple(key[3 : -len(end)] for key in keys if key.startswith("f1_") and key.endswith(end))
            if names:
                return names[:CLASSES]
        return ()

    @cached_property
    def trained_on(self) -> tuple[str, ...]:
        """Domains that the model was trained on, where that is known."""
        return () if self.slices is None else self.slices.about.facts.trained_on

    @property
    def title(self) -> str:
        """Model and how it was run, in a few words."""
        row = self.first
        return f"{shown(row.model)}, {drawn(row)}, {shown(row.engine)} {shown(row.precision)}"

    def counts(self, row: Row) -> Int64:
        """The confusion matrix of a row against the run's reference."""
        told = row.confusion_truth if self.reference == "truth" else row.confusion_human
        return np.array(told if told is not None else [], dtype=np.int64)


def read(path: Path) -> list[Run]:
    """The runs in a folder: one for each model in its rows.

    Args:
        path: What `segbench eval --out` wrote, or its rows.json.

    Raises:
        InputError: One line: no such folder, no rows of a model, or damaged ones.
    """
    folder, file = (path.parent, path) if path.suffix == ".json" else (path, path / ROWS)
    if not file.is_file():
        raise InputError(f"{printable(str(path))}: no run of segbench eval --out: it holds no {ROWS}")
    if file.stat().st_size > ROWS_BYTES:
        raise InputError(f"{printable(str(file))}: larger than {ROWS_BYTES // 10**6} MB, which no run is")
    try:
        rows = read_rows(file)
    except RecursionError as error:
        raise InputError(f"{printable(str(file))}: not rows (nested too deep)") from error
    except InputError as error:
        raise InputError(printable(str(error))) from error
    for row in rows:
        _check(file, row)
    models = list(dict.fromkeys(row.model for row in rows if row.kind == "case"))
    if not models:
        raise InputError(f"{printable(str(file))}: holds no row of a model: name a folder that segbench eval wrote")
    baselines: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == "baseline":
            baselines.setdefault(row.model, []).append(row)
    beside = {name: tuple(found) for name, found in baselines.items()}
    runs = [Run(printable(str(path)), tuple(r for r in rows if r.kind == "case" and r.model == m)) for m in models]
    kept = read_slices(folder)
    return [_with_slices(replace(run, baselines=beside), kept) for run in runs]


def shown(name: str) -> str:
    """A name out of a file, in one line and not too long."""
    return short(printable(name), NAME) or "(no name)"


def where(row: Row) -> str:
    """Domain of a row, and its case where the domain may have several."""
    return shown(row.domain) if row.case == row.domain else f"{shown(row.domain)}/{shown(row.case)}"


def _with_slices(run: Run, kept: Slices | None) -> Run:
    if kept is None:
        return replace(run, without="The run kept no slices: it was made before segbench did, or its file is missing.")
    row, facts = run.first, kept.about.facts
    own = (row.model_hash, row.samples, row.seed, row.engine, row.precision)
    if own != (facts.model_hash, facts.samples, facts.seed, facts.engine, facts.precision):
        return replace(run, without="The slices in its folder are of another run, and are not shown.")
    if not kept.about.cases:
        return replace(run, slices=kept, without="The run kept no slices.")
    return replace(run, slices=kept)


def _check(file: Path, row: Row) -> None:
    for name, value in row.metrics.items():
        if abs(value) > COUNT:
            raise InputError(f"{printable(str(file))}: {where(row)}: {shown(name)} is {value:.3g}, which is no score")
    every: Sequence[Confusion | None] = (row.confusion_truth, row.confusion_human, *row.blocks)
    for counts in every:
        if counts is None:
            continue
        square = 0 < len(counts) <= CLASSES and all(len(line) == len(counts) for line in counts)
        if not square or sum(map(sum, counts)) > COUNT:
            raise InputError(f"{printable(str(file))}: {where(row)}: its confusion matrix is no square of counts")
