"""Domain shift: trained on, in lines, tested on, in columns; and what moves with another training or other masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segbench.evaluate.carry_over import Spread, spread
from segbench.evaluate.definitions import Stored
from segbench.evaluate.estimates import Pooled, Score, estimate, f1_of_class_1, metric, of_counts
from segbench.evaluate.eval import FOREST, OTSU
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.groups import Group, Method, groups, mains, methods, repeats, siblings, trained_of
from segbench.metrics import overlap

NEEDS = ("blocks",)


@dataclass(frozen=True)
class Scored:
    """A score by name: of a volume, and of blocks of it where they have it."""

    name: str
    of: Score
    pooled: Pooled | None = None


SCORES = (
    Scored("accuracy", of_counts(overlap.accuracy), overlap.accuracy),
    Scored("mean IoU", of_counts(overlap.miou), overlap.miou),
    Scored("F1 of class 1", of_counts(f1_of_class_1), f1_of_class_1),
    Scored("ECE", metric("ece")),
)
NOTES = (
    "battery16 is scored against its truth, measured sets against their labels; battery16 in: the domains that the "
    "model was trained on, in other volumes; out: the others",
    "a score is of each volume, then the mean over a domain's volumes, then over domains",
    "Otsu is trained on nothing; the forest saw one labelled slice of the same volume, or of another volume of its "
    "domain, so its columns are no shift",
    "what else a model was trained on than these domains, such as randomised simulated volumes, stands in its card",
)


def shift(stored: Sequence[Stored]) -> list[Sheet]:
    """One sheet per score, then what moves with another training or with other masks."""
    parts = mains(stored)
    if not parts:
        return []
    shown = groups(parts, whole=False)
    lines = [(method, _taught(method)) for method in _models(stored, parts)]
    lines += _baselines(parts)
    sheets = [_matrix(score, lines, shown) for score in SCORES]
    moving = _moving(stored, parts)
    return [*sheets, moving] if moving.lines else sheets


def _models(stored: Sequence[Stored], parts: Sequence[Stored]) -> list[Method]:
    """Each model, then its siblings: trainings of the same recipe from other seeds."""
    found = []
    for method in methods(parts):
        own = [part for part in parts if part.run.zoo == method.zoo]
        found.append(method)
        # a sibling's card is not in the zoo, so what its recipe was trained on is told by the released model's
        of_seed = [s for part in own for s in siblings(stored, part) if s.run.of_seed and s.own[0].model == method.name]
        found += [
            Method(_sibling(other, of_seed), other.rows, trained_of(own), other.zoo) for other in methods(of_seed)
        ]
    return found


def _sibling(method: Method, of_seed: Sequence[Stored]) -> str:
    """Name of a sibling: its run's, without the data."""
    run = next(part.run for part in of_seed if part.run.zoo == method.zoo)
    return f"{run.name.removesuffix(f'-{run.data}')} (sibling)"


def _taught(method: Method) -> str:
    return ", ".join(method.trained_on) or "unknown"


def _baselines(parts: Sequence[Stored]) -> list[tuple[Method, str]]:
    """Otsu and the forest, as the first run of each data set has them."""
    first = {part.run.data: part for part in reversed(parts)}
    trained = trained_of(parts)
    found = []
    for name, shown, taught in ((OTSU, "Otsu", "nothing"), (FOREST, "forest", "one slice")):
        rows = tuple(row for part in first.values() for row in part.of(name))
        if rows:
            found.append((Method(shown, rows, trained), taught))
    return found


def _matrix(score: Scored, lines: Sequence[tuple[Method, str]], shown: Sequence[Group]) -> Sheet:
    body: list[tuple[Cell, ...]] = [
        (method.name, taught, *(estimate(method.of(group), score.of, score.pooled) for group in shown))
        for method, taught in lines
    ]
    columns = (Heading("method", words=True), Heading("trained on", words=True), *(Heading(g.name) for g in shown))
    return Sheet(f"{score.name[0].upper()}{score.name[1:]}", columns, tuple(body), NOTES if score is SCORES[0] else ())


COLUMNS = (
    Heading("tested on", words=True),
    Heading("score", words=True),
    Heading("trainings n", 0),
    Heading("sd", 4),
    Heading("min"),
    Heading("max"),
    Heading("masks n", 0),
    Heading("sd of masks", 4),
    Heading("min of masks"),
    Heading("max of masks"),
)
MOVING = (
    "trainings: one recipe from n seeds, the released model among them; masks: the released model, n seeds of masks",
    "sd: sample standard deviation (n - 1) of the score of the whole column; no part of the intervals above",
)


def _moving(stored: Sequence[Stored], parts: Sequence[Stored]) -> Sheet:
    """Spread of every score over trainings and over masks, which no interval above has in it."""
    body: list[tuple[Cell, ...]] = []
    for group in groups(parts, whole=False):
        main = next(part for part in parts if part.run.data == group.data)
        others = [s for s in siblings(stored, main) if s.own[0].model == main.own[0].model]
        for score in SCORES:
            value = _value(group, score, main.trained_on)
            trainings = spread([value(part) for part in others])
            masks = spread([value(part) for part in repeats(stored, main)])
            if max(trainings.n, masks.n) > 1:
                body.append((group.name, score.name, *_cells(trainings), *_cells(masks)))
    return Sheet("What moves with another training, and with other masks", COLUMNS, tuple(body), MOVING)


def _value(group: Group, score: Scored, trained_on: Sequence[str]) -> Callable[[Stored], float]:
    return lambda part: estimate(group.rows(part.own, trained_on), score.of).interval.value


def _cells(found: Spread) -> tuple[Cell, ...]:
    return float(found.n), found.deviation, found.least, found.most
