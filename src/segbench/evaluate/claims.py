"""The Sandia study's claims, each judged by a stated criterion from the rows of a model and of its twin."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.evaluate.definitions import Stored
from segbench.evaluate.printed import Printed
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.table import Values, per_domain, viability_gap

FALL = 0.01
"""By how much an accuracy has to be lower to have fallen."""

RATIO, AUROC = 1.1, 0.75
"""From where an uncertainty is higher out of domain: its mean against that in domain, and how well it tells domains."""

HARDEST = 5
"""How many domains with the lowest accuracy against the human label are looked at."""

WINS, CORRELATION = 14 / 16, -0.9
"""Share of viability wins, and the correlation of accuracy and viability gap, from which the claim holds."""

STUDY_TRAINED = ("Litarion", "Electrode_IV_1")
"""The study's training domains."""

MEASURES = {"entropy": "entropy", "spread": "P70-P30", "mutual_information": "mutual information"}


@dataclass(frozen=True)
class Evidence:
    """What claims about one model are judged from.

    Attributes:
        model: Its name.
        sampled: Mean of every metric by domain, of Monte-Carlo samples.
        twin: The same without dropout; empty where it was not evaluated.
        trained_on: Domains among them that the model was trained on.
    """

    model: str
    sampled: dict[str, Values]
    twin: dict[str, Values]
    trained_on: tuple[str, ...]

    def means(self, key: str, lines: dict[str, Values] | None = None) -> tuple[float, float]:
        """Mean of a metric over the training domains and over the others; NaN where there are none."""
        inside, outside = self.split(key, self.sampled if lines is None else lines)
        return _mean(inside), _mean(outside)

    def split(self, key: str, lines: dict[str, Values]) -> tuple[list[float], list[float]]:
        """Values of a metric in the training domains, and in the others."""
        inside = [values.get(key, math.nan) for name, values in lines.items() if name in self.trained_on]
        return inside, [values.get(key, math.nan) for name, values in lines.items() if name not in self.trained_on]


@dataclass(frozen=True)
class Judged:
    """A model's figure for a claim in words, and whether the claim holds; None where it cannot be judged."""

    figure: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return "undefined" if self.holds is None else "holds" if self.holds else "does not hold"


def falls_while_viability_does_not(e: Evidence) -> Judged:
    """Claim (a)."""
    inside, outside = e.means("accuracy_human")
    (_, model), (_, human) = e.means("viability"), e.means("viability_of_human")
    figure = f"accuracy {inside:.3f} in, {outside:.3f} out; viability out {model:.2f}, human {human:.2f}"
    return _judged(figure, [inside, outside, model, human], inside - outside >= FALL and model >= human)


def beats_the_human_where_worst(e: Evidence) -> Judged:
    """Claim (b)."""
    there = {n: v for n, v in e.sampled.items() if not math.isnan(v.get("accuracy_human", math.nan))}
    hardest = sorted(there, key=lambda name: there[name]["accuracy_human"])[:HARDEST]
    pairs = [
        (there[n].get("accuracy_truth", math.nan), there[n].get("human_accuracy_truth", math.nan)) for n in hardest
    ]
    better = sum(model > human for model, human in pairs)
    model, human = (_mean([pair[side] for pair in pairs]) for side in (0, 1))
    figure = f"better in {better} of {len(pairs)}; mean {model:.3f}, human {human:.3f}"
    return _judged(figure, [model, human], better == len(pairs))


def rises_out_of_domain(e: Evidence, key: str, lines: dict[str, Values] | None = None) -> Judged:
    """Claim (c), for one measure of uncertainty."""
    lines = e.sampled if lines is None else lines
    inside, outside = e.means(key, lines)
    area = auroc(*e.split(key, lines))
    ratio = outside / inside if inside > 0 else math.nan
    figure = f"{inside:.4f} in, {outside:.4f} out: ratio {ratio:.2f}, AUROC {area:.2f}"
    return _judged(figure, [ratio, area], ratio >= RATIO and area >= AUROC)


def softmax_does_not_show_it(e: Evidence) -> Judged:
    """Claim (d)."""
    if not e.twin:
        return Judged("no rows without dropout", None)
    alone = rises_out_of_domain(e, "entropy", e.twin)
    sampled = {name: rises_out_of_domain(e, key) for key, name in MEASURES.items()}
    rising = [name for name, judged in sampled.items() if judged.holds]
    figure = f"softmax: {alone.figure}; Monte-Carlo shows it by {', '.join(rising) or 'none of its measures'}"
    if alone.holds is None or any(judged.holds is None for judged in sampled.values()):
        return Judged(figure, None)
    return Judged(figure, not alone.holds and bool(rising))


def wins_in_viability(e: Evidence) -> Judged:
    """Claim (e)."""
    wins, count, _ = _gap(e)
    return Judged(f"{wins} of {count}", wins >= WINS * count if count else None)


def gap_grows_as_accuracy_falls(e: Evidence) -> Judged:
    """Claim (f)."""
    _, count, r = _gap(e)
    return _judged(f"{r:.3f}", [r if count > 2 else math.nan], r <= CORRELATION)  # two points are always on a line


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """How often a value of `outside` is above one of `inside`, ties counted half; NaN where a side is empty."""
    pairs = [(out > value) + 0.5 * (out == value) for out in outside for value in inside]
    undefined = any(math.isnan(value) for value in (*inside, *outside))
    return float(np.mean(pairs)) if pairs and not undefined else math.nan


@dataclass(frozen=True)
class Claim:
    """A claim in words, when it holds, what the study prints of it, and how it is judged."""

    text: str
    criterion: str
    study: Callable[[Printed], str]
    judge: Callable[[Evidence], Judged]


def _rising(key: str, name: str) -> Claim:
    return Claim(
        f"(c) {name} is higher out of domain",
        f"mean out at least {RATIO} times that in, and AUROC over domains at least {AUROC}",
        lambda _: "no figure",
        lambda e: rises_out_of_domain(e, key),
    )


def _study_fall(printed: Printed) -> str:
    inside = [line.accuracy for line in printed.domains if line.domain in STUDY_TRAINED]
    out = [line for line in printed.domains if line.domain not in STUDY_TRAINED]
    model, human = _mean([line.ml_viability for line in out]), _mean([line.human_viability for line in out])
    accuracy = f"accuracy {_mean(inside):.3f} in, {_mean([line.accuracy for line in out]):.3f} out"
    return f"{accuracy}; viability out {model:.2f}, human {human:.2f}"


def _study_hardest(printed: Printed) -> str:
    hardest = sorted(printed.domains, key=lambda line: line.accuracy)[:HARDEST]
    better = sum(line.ml_viability > line.human_viability for line in hardest)
    return f"no truth; more viable in {better} of {len(hardest)}"


CLAIMS = (
    Claim(
        "(a) accuracy against human labels falls out of domain, viability does not fall below the human label's",
        f"accuracy lower by at least {FALL}, and the model's mean viability out of domain at least the human label's",
        _study_fall,
        falls_while_viability_does_not,
    ),
    Claim(
        f"(b) the model beats the human label where accuracy against it is lowest ({HARDEST} domains)",
        "against the truth more accurate than the human label in every one of them",
        _study_hardest,
        beats_the_human_where_worst,
    ),
    *(_rising(key, name) for key, name in MEASURES.items()),
    Claim(
        "(d) softmax alone does not show it",
        "the entropy of one pass without dropout misses the criterion of (c), a Monte-Carlo measure meets it",
        lambda _: "no figure",
        softmax_does_not_show_it,
    ),
    Claim(
        "(e) the model's viability is above the human label's in 14 of 16 domains",
        "in at least 14 of 16",
        lambda printed: f"{printed.wins} of {len(printed.domains)}",
        wins_in_viability,
    ),
    Claim(
        "(f) the lower the accuracy against the human label, the larger the viability gap",
        f"Pearson's r at most {CORRELATION}",
        lambda printed: f"{printed.correlation:.3f}",
        gap_grows_as_accuracy_falls,
    ),
)


def claims(stored: Sequence[Stored], printed: Printed) -> list[Sheet]:
    """One line per claim: criterion, the study's figure, then figure and verdict of each model."""
    found = evidence(stored)
    if not found:
        return []
    columns = [Heading("claim", words=True), Heading("holds if", words=True)]
    columns.append(Heading("the study", printed=True, words=True))
    for e in found:
        columns += [Heading(e.model, words=True), Heading("holds", words=True)]
    lines: list[tuple[Cell, ...]] = []
    for claim in CLAIMS:
        judged = [claim.judge(e) for e in found]
        cells = [cell for one in judged for cell in (one.figure, one.verdict)]
        lines.append((claim.text, claim.criterion, claim.study(printed), *cells))
    notes = [f"{e.model}: in domain are {', '.join(e.trained_on) or 'unknown domains'}" for e in found]
    notes.append(
        "means are over domains; AUROC: how often a domain out of training has more than one in it; 0.5 is chance"
    )
    notes.append(
        "the study's scans are measured ones of the same names; battery16 is simulated: figures are not comparable"
    )
    return [Sheet("The study's claims on battery16", tuple(columns), tuple(lines), tuple(notes))]


def evidence(stored: Sequence[Stored]) -> list[Evidence]:
    """Runs of the same model brought together, in their order; a model needs rows of Monte-Carlo samples."""
    found = []
    for part in (part for part in stored if part.run.samples > 0 and part.own):
        twins = [other for other in stored if other.run.zoo == part.run.zoo and other.run.samples == 0 and other.own]
        lines = per_domain(part.own, part.own[0].model)
        trained = tuple(name for name in lines if name in part.trained_on)
        alone = per_domain(twins[0].own, twins[0].own[0].model) if twins else {}
        found.append(Evidence(part.own[0].model, lines, alone, trained))
    return found


def _gap(e: Evidence) -> tuple[int, int, float]:
    return viability_gap(list(e.sampled.values()))


def _judged(figure: str, needs: Sequence[float], holds: bool) -> Judged:
    return Judged(figure, None if any(math.isnan(value) for value in needs) else bool(holds))


def _mean(values: Sequence[float]) -> float:
    """Mean; NaN where there are none, or one is undefined: a claim is not judged by the rest."""
    return float(np.mean(values)) if len(values) else math.nan
