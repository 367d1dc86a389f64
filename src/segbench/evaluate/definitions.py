"""Definitions of tables as data: which stored runs a table is made of, and how each run is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.cases import SIMULATED
from segbench.evaluate.run import ROWS, Request
from segbench.recipe import Strict, read_toml
from segbench.resources import folder
from segbench.rows import Row
from segbench.zoo import Model, find, names

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)]


RECORDS = ("tomo2seg-record",)
"""Tables of what publications record alone."""


class RunDefinition(Strict):
    """One evaluation whose rows a table reads.

    Attributes:
        name: Folder below `evaluate/results` that holds its rows.json.
        zoo: A zoo model, or a folder that training wrote, seen from the checkout.
        data: A simulated set by name, such as battery16 or battery-fib, or a manifest of `evaluate/manifests` by name.
        domain: Which domains, as for `segbench eval`.
        samples: T; 0 for the deterministic twin.
        seed: Of the masks.
        size: Edge of simulated volumes of battery16.
        precision: Of the engine.
        uncalibrated: Whether the card's calibration is left out, to compare with it.
        merge: Which class of the data each of the model's is, as for `segbench eval --merge`.
        of_seed: Whether it is a sibling: the same recipe trained from another seed.
    """

    name: Name
    zoo: str
    data: Name
    domain: str = "all"
    samples: int = Field(default=16, ge=0)
    seed: int = Field(default=0, ge=0)
    size: int = Field(default=96, ge=1)
    precision: str = "f32"
    uncalibrated: bool = False
    merge: str = ""
    of_seed: bool = False

    @property
    def measured(self) -> bool:
        """Whether its images are measured ones, which lie outside the checkout."""
        return self.data not in SIMULATED


class LineDefinition(Strict):
    """One line of a table of trained methods.

    Attributes:
        method: Of the table's study, by name.
        title: What a reader sees; the method's own where it is left out.
        printed: The line of the paper's table that stands beside it, by the paper's name.
        at: Where it stands along the axis of the table's figure.
        group: Which curve of the figure it belongs to.
    """

    method: Name
    title: str | None = None
    printed: str | None = None
    at: float | None = None
    group: str | None = None


class TableDefinition(Strict):
    """A table: what it shows, and the runs, or the trained methods, that it is made of.

    Attributes:
        title: One line.
        shows: Which function of rows makes it.
        notes: What a reader has to know of its data, a line each.
        run: The runs, in the order in which they are shown.
        study: The study of `evaluate/methods` whose methods its lines are; None for a table of runs.
        printed: The paper's table, by number, whose values stand beside ours.
        line: The methods, in the order in which they are shown.
        figure: What is drawn of them: bars, a curve along `axis`, or scores against parameters and speed.
        axis: What `at` of the lines means.
    """

    title: str
    shows: Literal[
        "calibration",
        "carry-over",
        "claims",
        "matphase",
        "matphase-claims",
        "precisions",
        "robustness",
        "sandia-accuracy",
        "sandia-viability",
        "shift",
        "tomo2seg",
        "tomo2seg-record",
        "uncertainty",
    ]
    notes: tuple[str, ...] = ()
    run: tuple[RunDefinition, ...] = ()
    study: Name | None = None
    printed: str | None = None
    line: tuple[LineDefinition, ...] = ()
    figure: Literal["bars", "curve", "scaling"] | None = None
    axis: str | None = None

    @model_validator(mode="after")
    def _either(self) -> "TableDefinition":
        if self.shows in RECORDS:
            if self.run or self.study is not None:
                raise ValueError("a table of what is recorded has no [[run]] and no study")
            return self
        if self.study is None and not self.run:
            raise ValueError("a table needs at least one [[run]]")
        if self.study is None and (self.line or self.printed):
            raise ValueError("[[line]] and printed are of a study: name it")
        if self.study is not None and (self.run or not self.line):
            raise ValueError("a table of a study has at least one [[line]] and no [[run]]")
        if (self.figure == "curve") != (self.axis is not None):
            raise ValueError("a curve, and nothing else, has an axis: say what its lines stand at")
        if self.figure == "curve" and any(line.at is None for line in self.line):
            raise ValueError("every [[line]] of a curve says where it stands: at")
        if self.study is not None and len({line.method for line in self.line}) < len(self.line):
            raise ValueError("every line needs a method of its own")
        return self

    @model_validator(mode="after")
    def _once(self) -> "TableDefinition":
        named = [run.name for run in self.run]
        if len(set(named)) < len(named):
            raise ValueError("every run needs a name of its own")
        return self


@dataclass(frozen=True)
class Stored:
    """A run with its stored rows, none where it was never made.

    Attributes:
        run: As defined.
        rows: Of the model and the baselines.
        trained_on: Domains of battery16 that the model was trained on, from its card; none where it is not here.
    """

    run: RunDefinition
    rows: tuple[Row, ...]
    trained_on: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[Row, ...]:
        """Rows of the model."""
        return tuple(row for row in self.rows if row.kind == "case")

    def of(self, baseline: str) -> tuple[Row, ...]:
        """Rows of a baseline."""
        return tuple(row for row in self.rows if row.kind == "baseline" and row.model == baseline)


def home() -> Path:
    """The folder of definitions, manifests and results."""
    return folder("evaluate")


def table_names() -> list[str]:
    """Defined tables."""
    return sorted(path.stem for path in (home() / "tables").glob("*.toml"))


def definition(name: str) -> TableDefinition:
    """The table of that name.

    Raises:
        UnknownNameError: There is none.
        InputError: Its definition is wrong.
    """
    if name not in table_names():
        raise UnknownNameError("table", name, [*table_names(), "all"])
    return read_toml(home() / "tables" / f"{name}.toml", TableDefinition)


def wanted(given: Sequence[str]) -> dict[str, TableDefinition]:
    """Tables by name, in the order asked for; "all" is all of them.

    Raises:
        InputError: Two tables define a run of one name differently.
    """
    chosen = dict.fromkeys(n for name in given for n in (table_names() if name == "all" else [name]))
    found = {name: definition(name) for name in chosen}
    runs: dict[str, RunDefinition] = {}
    for name, table in found.items():
        for run in table.run:
            if runs.setdefault(run.name, run) != run:
                raise InputError(f"{name}.toml: run {run.name!r} is defined otherwise in another table")
    return found


def results(run: RunDefinition) -> Path:
    """The folder of a run's rows."""
    return home() / "results" / run.name


def rows_file(run: RunDefinition) -> Path:
    """The file of a run's rows."""
    return results(run) / ROWS


def model_of(run: RunDefinition) -> Model | None:
    """The model of a run; None where its folder is not here."""
    try:
        return find(_zoo(run))
    except UnknownNameError:
        return None


def _zoo(run: RunDefinition) -> str:
    return run.zoo if run.zoo in names() else str(home().parent / run.zoo)


def measured_root(root: Path | None) -> Path | None:
    """Where measured images lie: as given, else beside the checkout; None where they are not there."""
    beside = home().resolve().parent.parent / "shared" / "real"
    return root or (beside if beside.is_dir() else None)


def request(run: RunDefinition, root: Path | None) -> Request:
    """The evaluation that makes a run."""
    data = str(home() / "manifests" / f"{run.data}.toml") if run.measured else run.data
    return Request(
        _zoo(run), run.domain, data, root if run.measured else None, run.samples, run.seed,
        precision=run.precision, size=run.size, out=results(run), uncalibrated=run.uncalibrated, merge=run.merge,
    )  # fmt: skip


def command(run: RunDefinition) -> str:
    """What makes a run's rows, to be typed in a checkout."""
    data = f"evaluate/manifests/{run.data}.toml --root ../shared/real" if run.measured else run.data
    options = "" if run.domain == "all" else f" --domain '{run.domain}'"
    options += "" if run.size == 96 or run.measured else f" --size {run.size}"
    options += f" --seed {run.seed}" if run.seed else ""
    options += "" if run.precision == "f32" else f" --precision {run.precision}"
    options += " --uncalibrated" if run.uncalibrated else ""
    out = f"--out evaluate/results/{run.name}"
    return f"segbench eval --zoo {run.zoo} --data {data} --samples {run.samples}{options} {out}"
