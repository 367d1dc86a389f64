"""The worst places: squares of slices from which a person learns most, by three rules."""

from collections.abc import Sequence

from segbench.evaluate.patches import EDGE, RULES, Patch, Rule
from segbench.evaluate.slices import MARGIN
from segbench.report import pictures
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, element, number, percent

EACH = 8
"""Squares that are shown by each rule."""
OF_ONE = 2
"""Of one volume at most: the next one teaches more."""
RANKED = {"sure": "wrong and sure", "unsure": "right and unsure"}
HEADINGS: dict[Rule, str] = {"wrong": "Most wrong", "sure": "Wrong and sure of it", "unsure": "Right and unsure"}


def chosen(run: Run, rule: Rule) -> list[tuple[int, int, Patch]]:
    """The squares that rank highest by a rule: (case, number of its square, square)."""
    if run.slices is None:
        return []
    every = [
        (number_, at, patch)
        for number_, case in enumerate(run.slices.about.cases)
        for at, patch in enumerate(case.patches)
        if patch.rule == rule
    ]
    taken: dict[int, int] = {}
    found = []
    for one in sorted(every, key=lambda found: -found[2].score):
        taken[one[0]] = taken.get(one[0], 0) + 1
        if taken[one[0]] <= OF_ONE:
            found.append(one)
    return found[:EACH]


def places(runs: Sequence[Run]) -> Markup | None:
    """Squares of every run, by every rule; None where no run kept any."""
    made: list[Markup] = []
    for run in runs:
        parts = [_by_rule(run, rule) for rule in RULES if chosen(run, rule)]
        if not parts:
            continue
        if len(runs) > 1:
            title = element("summary", f"{run.letter}: {run.title}")
            made.append(element("details", title, *parts, open=not made))
        else:
            made += parts
    return element("div", *made) if made else None


def _by_rule(run: Run, rule: Rule) -> Markup:
    squares = [_square(run, *one) for one in chosen(run, rule)]
    words = (
        f"Ranked by {RULES[rule]}, over squares of {EDGE} voxels, shown with {MARGIN} around; at most {OF_ONE} of a "
    )
    words += f"volume, none twice within {EDGE} slices. Uncertainty is entropy over its largest value."
    grid = element("div", *squares, class_="places")
    return element("section", element("h4", HEADINGS[rule]), element("p", words, class_="note"), grid)


def _square(run: Run, number_: int, at: int, patch: Patch) -> Markup:
    assert run.slices is not None
    case = run.slices.about.cases[number_]
    image, reference, labels, unsure = run.slices.patch(number_, at)
    parts = [
        pictures.grey(image), pictures.classes(reference), pictures.classes(labels),
        pictures.error(image, reference, labels, len(run.classes)), pictures.uncertainty(unsure),
    ]  # fmt: skip
    name = shown(case.domain) if case.case == case.domain else f"{shown(case.domain)}/{shown(case.case)}"
    said = f"{percent(patch.error, 0)} wrong, uncertainty {number(patch.uncertainty, 2)}"
    if patch.rule in RANKED:
        said = f"{percent(patch.score, 0)} {RANKED[patch.rule]}; {said}"
    alt = (
        f"{name}, slice z {patch.z}, row {patch.y}, column {patch.x}: image, reference, prediction, error, uncertainty"
    )
    height, width = image.shape
    drawn = pictures.picture(pictures.strip(parts), alt, 5 * width + 8, height)
    heads = element(
        "div", *(element("span", word) for word in ("image", "ref.", "pred.", "error", "unc.")), class_="heads"
    )
    where = element("small", f"z {patch.z}, y {patch.y}, x {patch.x}")
    return element("figure", heads, drawn, element("figcaption", element("b", name), " ", where, element("br"), said))
