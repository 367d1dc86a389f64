"""Slices to leaf through: all layers of a case side by side, moved by one slider."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from segbench.evaluate.slices import CaseAbout
from segbench.report import pictures
from segbench.report.folder import Run, shown
from segbench.report.groups import Group
from segbench.report.markup import Markup, element, join, number, percent
from segbench.rows import Row
from segbench.volume import UInt8

BYTES = 10_500_000
"""Of all pictures of slices as text: with the rest a page stays below 15 MB."""
MOST = 32
"""Cases that are shown: the worst of each domain first, then others."""
TITLES = {
    "image": "image", "human": "human label", "truth": "truth", "labels": "prediction", "uncertainty": "uncertainty",
    "error": "error",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """One volume of one or several runs.

    Attributes:
        about: What its slices are.
        rows: Its row in each run that has slices of it, by the run's letter.
        layers: Arrays (N, Y, X) by name, those of a run with its letter: "labels A".
    """

    about: CaseAbout
    rows: dict[str, Row]
    layers: dict[str, UInt8]

    def accuracy(self, end: str) -> float:
        """Of the first run that shows it."""
        return next(iter(self.rows.values())).metrics.get(f"accuracy_{end}", 1.0)


@dataclass(eq=False)
class Sizes:
    """Sizes of pictures, each with a class in the page's style: an attribute of its own would not be let through."""

    known: dict[tuple[int, int, int], str] = field(default_factory=dict)

    def class_of(self, slices: int, height: int, width: int) -> str:
        """The class of pictures with so many slices of such a size."""
        return self.known.setdefault((slices, height, width), f"p{len(self.known)}")

    def style(self) -> str:
        """What the classes mean."""
        return "\n".join(
            f".{name} {{ --n: {n}; --z: {n // 2}; --h: {height}; --w: {width}; }}"
            for (n, height, width), name in self.known.items()
        )


def cases(group: Group) -> list[Case]:
    """Cases that a run kept slices of: the worst of each domain first, then others; low accuracy before high.

    Raises:
        InputError: A file of slices is damaged.
    """
    found: dict[str, Case] = {}
    for run in group.runs:
        for about, row, layers in _kept(run):
            own = {f"{name} {run.letter}": layers[name] for name in ("labels", "uncertainty")}
            known = found.get(about.data_hash)
            if known is None:
                shared = {name: array for name, array in layers.items() if name in ("image", "human", "truth")}
                found[about.data_hash] = Case(about, {run.letter: row}, shared | own)
            elif known.about.z == about.z and known.layers["image"].shape == layers["image"].shape:
                known.rows[run.letter] = row
                known.layers.update(own)
    end = group.runs[0].reference
    ordered = sorted(found.values(), key=lambda case: case.accuracy(end))
    worst: dict[str, Case] = {}
    for case in ordered:
        worst.setdefault(case.about.domain, case)
    first = list(worst.values())
    return [*first, *(case for case in ordered if case not in first)][:MOST]


def panels(group: Group, sizes: Sizes, budget: int = BYTES) -> tuple[Markup | None, str]:
    """The panels of a group, and what is to be said of how many slices they carry.

    Args:
        group: Whose runs kept slices.
        sizes: Takes the classes that the pictures need.
        budget: Bytes of text that all pictures may take.
    """
    every = cases(group)
    if not every:
        return None, ""
    most = max(len(case.about.z) for case in every)
    carried, made = most, [_pictures(group, case, most) for case in every]
    total = sum(map(_text, made))
    if total > budget:
        # of a slice fewer is a little more than its share is saved: what files begin with is small
        carried = max(1, int(most * budget / total))
        made = [_pictures(group, case, carried) for case in every]
    while len(made) > 1 and sum(map(_text, made)) > budget:
        made.pop()
    every = every[: len(made)]
    drawn = [_panel(group, case, pngs, carried, sizes) for case, pngs in zip(every, made, strict=True)]
    return join(drawn), " ".join(_said(group, len(every), carried, most))


def _said(group: Group, cases_: int, carried: int, most: int) -> Iterator[str]:
    if carried < most:
        yield f"To keep the page small, {carried} of {most} slices of a volume are carried."
    volumes = len({(row.domain, row.case) for run in group.runs for row in run.rows})
    if cases_ < volumes:
        yield f"Slices of {cases_} of {volumes} volumes: the worst of each domain first."


def _kept(run: Run) -> Iterator[tuple[CaseAbout, Row, dict[str, UInt8]]]:
    if run.slices is None:
        return
    rows = {(row.domain, row.case, row.data_hash): row for row in run.rows}
    taken = 0
    for number_, about in enumerate(run.slices.about.cases):
        row = rows.get((about.domain, about.case, about.data_hash))
        if row is not None and taken < 4 * MOST:
            taken += 1
            yield about, row, run.slices.layers(number_)


def _chosen(case: Case, carried: int) -> list[int]:
    """Which of its slices are carried: all, or as many, evenly spaced."""
    there = len(case.about.z)
    n = min(carried, there)
    return [int((i + 0.5) * there / n) for i in range(n)]


def _pictures(group: Group, case: Case, carried: int) -> dict[str, bytes]:
    at = _chosen(case, carried)
    layers = {name: array[at] for name, array in case.layers.items()}
    run = group.runs[0]
    reference = layers.get("truth", layers["human"]) if run.reference == "truth" else layers["human"]
    made: dict[str, bytes] = {}
    for name in ("image", "human", "truth"):
        if name in layers:
            made[name] = pictures.column(*(pictures.grey if name == "image" else pictures.classes)(layers[name]))
    for letter in case.rows:
        labels = layers[f"labels {letter}"]
        made[f"labels {letter}"] = pictures.column(*pictures.classes(labels))
        made[f"uncertainty {letter}"] = pictures.column(*pictures.uncertainty(layers[f"uncertainty {letter}"]))
        made[f"error {letter}"] = pictures.column(*pictures.error(layers["image"], reference, labels, len(run.classes)))
    return made


def _text(pngs: dict[str, bytes]) -> int:
    return sum(4 * len(png) // 3 for png in pngs.values())


def _panel(group: Group, case: Case, pngs: dict[str, bytes], carried: int, sizes: Sizes) -> Markup:
    at = _chosen(case, carried)
    planes = [case.about.z[i] for i in at]
    _, height, width = case.layers["image"].shape
    name = shown(case.about.domain)
    if case.about.case != case.about.domain:
        name = f"{name}/{shown(case.about.case)}"
    several = len(group.runs) > 1
    layers = []
    for key, png in pngs.items():
        kind, _, letter = key.partition(" ")
        title = TITLES[kind] + (f" {letter}" if letter and several else "")
        alt = f"{name}: {title}, slice z {planes[len(planes) // 2]} of 0 to {case.about.shape[0] - 1} at first"
        drawn = pictures.picture(png, alt, width, height * len(planes))
        frame = element("div", drawn, class_="frame")
        layers.append(element("figure", frame, element("figcaption", title), class_=f"layer l-{kind}"))
    slider = _slider(name, planes, case.about.shape[0]) if len(planes) > 1 else None
    first = element("p", f"z {planes[len(planes) // 2]}", class_="nojs")
    return element(
        "section", element("h4", name, " ", element("small", _scores(group, case))), slider, first,
        element("div", *layers, class_="layers"), class_=f"case {sizes.class_of(len(planes), height, width)}",
        aria_label=f"Slices of {name}",
    )  # fmt: skip


def _slider(name: str, planes: Sequence[int], depth: int) -> Markup:
    middle = len(planes) // 2
    slider = element(
        "input", type="range", min=0, max=len(planes) - 1, step=1, value=middle, aria_label=f"Slice of {name} along z",
        aria_valuetext=f"z {planes[middle]}", data_z=" ".join(map(str, planes)),
    )  # fmt: skip
    return element("div", slider, element("output", f"z {planes[middle]} of 0 to {depth - 1}"), class_="slide js")


def _scores(group: Group, case: Case) -> str:
    end = group.runs[0].reference
    words = []
    for letter, row in case.rows.items():
        accuracy = row.metrics.get(f"accuracy_{end}")
        if accuracy is not None:
            words.append(f"{letter + ': ' if len(group.runs) > 1 else ''}accuracy {percent(accuracy)}")
    step = f", a pixel is {case.about.step} voxels" if case.about.step > 1 else ""
    entropy = next(iter(case.rows.values())).metrics.get("entropy")
    mean = f", mean entropy {number(entropy)} nat" if entropy is not None else ""
    return f"{', '.join(words)}{mean}{step}"
