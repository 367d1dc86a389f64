"""Which rows of two runs are compared with which, and what is left to chance between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from segbench.errors import InputError
from segbench.evaluate.compare_noise import FEWEST
from segbench.rows import Row

WEIGHTS = "weights"

Key = tuple[str, str, str]
"""Data set, domain, case."""


@dataclass(frozen=True)
class Run:
    """Rows of one evaluation.

    Attributes:
        name: As the user wrote it.
        rows: Of the model, and of baselines, which are not compared.
        repeats: Further runs of the same, as a release keeps them.
    """

    name: str
    rows: tuple[Row, ...]
    repeats: tuple[tuple[Row, ...], ...] = ()

    @property
    def own(self) -> dict[Key, Row]:
        """Rows of the model.

        Raises:
            InputError: There are none, a case comes twice, or they are of several runs.
        """
        rows = [row for row in self.rows if row.kind == "case"]
        if not rows:
            raise InputError(f"{self.name}: no rows of a model to compare")
        made = {(row.model_hash, row.samples, row.seed, row.precision) for row in rows}
        if len(made) > 1:
            raise InputError(f"{self.name}: rows of several runs (other models, seeds or precisions): name one run")
        found = {(row.data, row.domain, row.case): row for row in rows}
        if len(found) < len(rows):
            raise InputError(f"{self.name}: a case stands in it twice")
        return found


@dataclass(frozen=True)
class Matched:
    """Rows of the cases that both runs have, in one order.

    Attributes:
        base: Of BASE.
        new: Of NEW.
        repeats: Of each repeat of BASE.
        differs: What differs, in words; "" where NEW is the same network with the same masks.
        weight: Variance of the difference in units of the variance of one run.
        notes: What a reader has to know.
    """

    base: tuple[Row, ...]
    new: tuple[Row, ...]
    repeats: tuple[tuple[Row, ...], ...]
    differs: str
    weight: float
    notes: tuple[str, ...]

    @property
    def paired(self) -> bool:
        """Whether nothing is left to chance."""
        return not self.differs

    @property
    def same_masks(self) -> bool:
        """Whether weights differ, and the masks that they are run with do not."""
        return self.differs == WEIGHTS

    @property
    def over(self) -> str:
        """How many domains."""
        count = len({row.domain for row in self.base})
        return "one domain" if count == 1 else f"{count} domains"


def match(base: Run, new: Run, repeats: Sequence[Run] = ()) -> Matched:
    """Pairs the cases of two runs.

    Raises:
        InputError: No case in common, other data, or repeats that are none.
    """
    old, now = base.own, new.own
    keys = [key for key in old if key in now]
    if not keys:
        there, here = (", ".join(dict.fromkeys(f"{k[1]} of {k[0]}" for k in found)) for found in (old, now))
        raise InputError(f"no domain in common: {base.name} has {there}; {new.name} has {here}")
    _same_data(base.name, old, new.name, now, keys)
    given = [_covering(base, run, old, keys) for run in repeats]
    stored = [rows for rows in (_stored(base, rows, old, keys) for rows in base.repeats) if rows]
    first = tuple(old[key] for key in keys)
    rows = tuple(now[key] for key in keys)
    twin = next((one for one in (first, *given, *stored) if _masks(one) == _masks(rows)), None)
    notes = (*_about(twin or first, rows), *_left_out(base.name, old, new.name, now))
    if twin is not None:
        seeds = (f"NEW is compared with the run of BASE of its own seed, {twin[0].seed}",) if twin is not first else ()
        others = tuple(one for one in (first, *given, *stored) if one is not twin)
        return Matched(twin, rows, others, "", 2.0, (*seeds, *notes))
    _check(base, first, rows, repeats, given)
    runs = (*given, *stored)
    if len(runs) < FEWEST:
        runs = ()
        notes = (*_unrepeated(first, rows), *notes)
    return Matched(first, rows, runs, _differs(first, rows), _weight(first, rows), notes)


def _masks(rows: Sequence[Row]) -> tuple[str | None, int, int | None]:
    return rows[0].model_hash, rows[0].samples, rows[0].seed if rows[0].samples else None


def _same_data(base: str, old: dict[Key, Row], new: str, now: dict[Key, Row], keys: Sequence[Key]) -> None:
    other = [key for key in keys if old[key].data_hash != now[key].data_hash]
    if other:
        named = ", ".join("/".join(dict.fromkeys(key[1:])) for key in other[:3]) + (", ..." if len(other) > 3 else "")
        raise InputError(
            f"{new} was measured on other data than {base}: the hashes of {named} differ ({len(other)} of {len(keys)} "
            "volumes); evaluate with the same volumes, size and labels"
        )


def _covering(base: Run, run: Run, old: dict[Key, Row], keys: Sequence[Key]) -> tuple[Row, ...]:
    """A repeat that the user named."""
    own = run.own
    lacking = [key for key in keys if key not in own]
    if lacking:
        raise InputError(f"--repeat {run.name}: has no rows of {lacking[0][1]}; repeat the whole run")
    _same_data(base.name, old, run.name, own, keys)
    return tuple(own[key] for key in keys)


def _stored(base: Run, rows: tuple[Row, ...], old: dict[Key, Row], keys: Sequence[Key]) -> tuple[Row, ...]:
    """A repeat that a release keeps; nothing where it was made on other volumes."""
    own = Run(base.name, rows).own
    if any(key not in own or own[key].data_hash != old[key].data_hash for key in keys):
        return ()
    return tuple(own[key] for key in keys)


def _check(
    base: Run, first: tuple[Row, ...], rows: tuple[Row, ...], repeats: Sequence[Run], given: Sequence[tuple[Row, ...]]
) -> None:
    """Whether the repeats that the user named are some."""
    seen = {_masks(first): base.name}
    for run, one in zip(repeats, given, strict=True):
        if one[0].samples != first[0].samples:
            raise InputError(f"--repeat {run.name}: T = {one[0].samples}, {base.name} has T = {first[0].samples}")
        if _masks(one) in seen:
            raise InputError(
                f"--repeat {run.name}: the same model and masks as {seen[_masks(one)]}: that repeats nothing"
            )
        seen[_masks(one)] = run.name
    siblings = {one[0].model_hash != first[0].model_hash for one in given}
    if len(siblings) > 1:
        raise InputError("--repeat: some are of BASE's weights, some of others: give either other seeds or siblings")
    if True in siblings and rows[0].model_hash == first[0].model_hash:
        raise InputError("--repeat: of other weights, while BASE and NEW have the same: repeat BASE with other seeds")
    if len(given) + len(base.repeats) < FEWEST and given:
        raise InputError(f"one --repeat says next to nothing of the noise: give at least {FEWEST}, better eight")


def _weight(first: Sequence[Row], rows: Sequence[Row]) -> float:
    """The variance that masks cause goes with 1 / T; what has none, T = 0, is taken to be as noisy as BASE."""
    old, now = first[0].samples, rows[0].samples
    return 1 + (max(1.0, old / now) if now else 1.0)


def _differs(first: Sequence[Row], rows: Sequence[Row]) -> str:
    a, b = first[0], rows[0]
    said = [WEIGHTS] if a.model_hash != b.model_hash else []
    said += [f"seed ({a.seed}, {b.seed})"] if a.seed != b.seed else []
    said += [f"samples (T = {a.samples}, {b.samples})"] if a.samples != b.samples else []
    return " and ".join(said)


def _unrepeated(first: Sequence[Row], rows: Sequence[Row]) -> tuple[str, ...]:
    repeat = f"give --repeat RUN at least {FEWEST} times, better eight"
    if _differs(first, rows) == WEIGHTS:
        return (f"no repeats of BASE: what other masks or trainings would change is no part of the limits; {repeat}",)
    said = (
        "no repeats of BASE: limits are what two volumes of one kind differ by, so that only gross losses are found; "
        f"{repeat}",
    )
    if first[0].model_hash == rows[0].model_hash and first[0].samples == rows[0].samples:
        return (f"the model is the same: with --seed {first[0].seed} NEW would be compared exactly", *said)
    return said


def _about(first: Sequence[Row], rows: Sequence[Row]) -> tuple[str, ...]:
    """What differs in the artifact and in what ran it."""
    a, b = first[0], rows[0]
    said = []
    if a.model_hash != b.model_hash:
        said.append(
            f"the artifact differs: {a.model} {_short(a)}, {b.model} {_short(b)} (sha256 of card, weights and graph)"
        )
    for what, old, now in (
        ("engine", _engine(a), _engine(b)), ("precision", a.precision, b.precision), ("device", a.device, b.device),
        ("segbench", a.segbench, b.segbench), ("T", a.samples, b.samples), ("inverted", a.inverted, b.inverted),
        ("calibrated", a.calibrated, b.calibrated), ("merge", a.merge or "none", b.merge or "none"),
    ):  # fmt: skip
        if old != now:
            said.append(f"{what} differs: {old}, {now}")
    return tuple(said)


def _short(row: Row) -> str:
    return (row.model_hash or "")[:12]


def _engine(row: Row) -> str:
    return f"{row.engine} {row.versions.get(row.engine, '')}".strip()


def _left_out(base: str, old: dict[Key, Row], new: str, now: dict[Key, Row]) -> list[str]:
    said = []
    for here, there, name in ((old, now, new), (now, old, base)):
        missing = list(dict.fromkeys(key[1] for key in here if key not in there))
        if missing:
            said.append(f"not in {name}, so not compared: {', '.join(missing)}")
    return said
