"""The page: one HTML file in which everything is drawn already; its script sorts tables and moves sliders."""

from collections.abc import Sequence

from segbench import __version__
from segbench.document import base_style, fill, policy, resource
from segbench.document.colours import LABELS, label_colours
from segbench.evaluate.cases import BATTERY16
from segbench.evaluate.table import drawn
from segbench.io.message import printable
from segbench.report import (
    beside,
    bounds,
    confusion,
    curves,
    follows,
    lead,
    panels,
    pictures,
    places,
    provenance,
    tables,
    trust,
    viability,
)
from segbench.report.folder import Run, shown
from segbench.report.groups import Group
from segbench.report.markup import DASH, Child, Markup, element, escape, join

PACKAGE = "segbench.report"
KEYS = ("accuracy_truth", "accuracy_human", "ece", "error_auroc_entropy", "entropy")
"""Metrics that are compared domain by domain."""


def page(groups: Sequence[Group]) -> str:
    """The whole file as text.

    Raises:
        InputError: Slices of a run are damaged.
    """
    sizes = panels.Sizes()
    body = [_header(groups)]
    sections = [_group(group, n, len(groups), sizes) for n, group in enumerate(groups)]
    foot = element("footer", element("p", f"Made by segbench report {__version__}. This page loads nothing."))
    body += [element("main", *sections, id="main"), foot]
    style = "\n".join([base_style(), resource(PACKAGE, "page.css"), sizes.style(), _swatches()])
    script = resource(PACKAGE, "page.js")
    parts = {
        "title": escape(f"{_title(groups)} - segbench report"),
        "policy": policy(script, style, images=True),
        "style": style,
        "script": script,
        "body": join(body, "\n"),
    }
    return fill(resource(PACKAGE, "page.html"), parts)


def _title(groups: Sequence[Group]) -> str:
    models = list(dict.fromkeys(shown(run.first.model) for group in groups for run in group.runs))
    data = list(dict.fromkeys(group.name for group in groups))
    return f"{', '.join(models[:4])} on {', '.join(data[:4])}"


def _header(groups: Sequence[Group]) -> Markup:
    runs = [run for group in groups for run in group.runs]
    facts = []
    for run in runs:
        row = run.first
        words = f"{shown(row.model)} on {shown(row.data)}: {drawn(row)}; {shown(row.engine)} {shown(row.precision)} on "
        words += f"{shown(row.device)}; made {shown(max(r.made for r in run.rows))[:16].replace('T', ' ')} UTC"
        facts.append(element("li", element("b", run.letter), " ", words) if len(runs) > 1 else element("li", words))
    lines = [element("h1", _title(groups)), element("ul", *facts, class_="runs")]
    if len(groups) > 1:
        lines.append(element("p", f"These runs are of {len(groups)} sets of volumes: each stands by itself."))
    return element("header", *lines)


def _group(group: Group, n: int, groups: int, sizes: panels.Sizes) -> Markup:
    shown_slices, said = panels.panels(group, sizes, panels.BYTES // groups)
    several = len(group.runs) > 1
    wanted: list[tuple[str, Markup | None]] = [
        ("Summary", _summary(group)),
        ("Side by side", _beside(group) if several else None),
        ("Domains", _each(group.runs, [tables.domains(run) for run in group.runs], _domain_note(group))),
        ("Slices", _slices(group, shown_slices, said)),
        ("Worst places", places.places(group.runs)),
        ("Calibration", _calibration(group)),
        ("Uncertainty", _uncertainty(group)),
        ("Phase fraction", _each(group.runs, [bounds.bounds(run) for run in group.runs])),
        ("Viability", viability.plot(group.runs)),
        ("Confusion", _each(group.runs, [confusion.confusion(run) for run in group.runs])),
        ("Provenance", _each(group.runs, [provenance.provenance(run) for run in group.runs])),
    ]
    there = [(title, made) for title, made in wanted if made]
    links = [element("a", title, href=f"#{_anchor(title, n)}") for title, _ in there]
    inside: list[Child] = []
    if groups > 1:
        letters = ", ".join(run.letter for run in group.runs)
        inside.append(element("h2", f"{letters}: {group.name}", class_="group"))
    inside.append(element("nav", *links, aria_label=f"Sections, {group.name}"))
    for title, made in there:
        inside.append(element("section", element("h3", title), made, id=_anchor(title, n), class_="part"))
    return element("article", *inside, aria_label=f"{group.name}, {', '.join(run.letter for run in group.runs)}")


def _anchor(title: str, n: int) -> str:
    return f"{title.lower().replace(' ', '-')}-{n}"


def _summary(group: Group) -> Markup:
    parts: list[Child] = []
    note = next((r.slices.about.facts.note for r in group.runs if r.slices and r.slices.about.facts.note), "")
    if not note and group.runs[0].first.data == BATTERY16:
        note = "simulated stand-ins named after the domains of the Sandia study; not measured data"
    if note:
        parts.append(element("p", element("b", "Data: "), shown(printable(note)) if len(note) < 60 else _long(note)))
    for run in group.runs:
        if len(group.runs) > 1:
            parts.append(element("h4", f"{run.letter}: {run.title}"))
        parts += [
            lead.tiles(run),
            lead.list_of(lead.warnings(run), "warnings"),
            lead.list_of(lead.sentences(run), "said"),
        ]
    parts.append(lead.list_of(list(group.notes), "said"))
    return join(parts)


def _long(note: str) -> str:
    return printable(note)[:800]


def _beside(group: Group) -> Markup:
    base = group.runs[0]
    known = {column.key: column for run in group.runs for column in tables.columns(run)}
    keys = [key for key in (*KEYS, *(f"{key}_{base.reference}" for key in KEYS)) if key in known]
    single = [
        element("details", element("summary", f"{known[key].heading}, by domain"), beside.by_domain(group, known[key]),
                open=not n)
        for n, key in enumerate(keys)
    ]  # fmt: skip
    note = (
        f"Differences are from {base.letter}, over the domains that both have, paired; their interval is drawn over "
        f'domains. "better" and "worse" stand where it leaves out 0 and there are {beside.FEWEST} domains or more.'
    )
    return join([element("p", note, class_="note"), beside.beside(group), *single])


def _each(runs: Sequence[Run], made: Sequence[Markup | None], note: Markup | None = None) -> Markup | None:
    """The same of every run: the first open, the others to be opened."""
    there = [(run, one) for run, one in zip(runs, made, strict=True) if one]
    if not there:
        return None
    if len(runs) == 1:
        return join([note, there[0][1]])
    boxes = [
        element("details", element("summary", f"{run.letter}: {run.title}"), one, open=not n)
        for n, (run, one) in enumerate(there)
    ]
    return join([note, *boxes])


def _domain_note(group: Group) -> Markup:
    end = "truth" if group.runs[0].reference == "truth" else "label"
    words = (
        f"Scores are against the {end} unless a heading says otherwise; volumes of a domain are averaged. "
        '"accuracy within": a thin mark for each block of the volume or slice of the stack, or each volume; the thick '
        'one for the domain. "undefined" is a score without a meaning, such as F1 of a class that is nowhere; '
        f"{DASH} was not measured."
    )
    starred = any(domain in run.trained_on for run in group.runs for domain in run.domains)
    more = " * marks domains that the model was trained on (other volumes of them)." if starred else ""
    return element("p", words + more, element("span", " Press a heading to sort.", class_="js"), class_="note")


def _slices(group: Group, made: Markup | None, said: str) -> Markup:
    without = list(dict.fromkeys(_whose(group, run) for run in group.runs if run.without))
    words = element("p", " ".join([*without, said]), class_="note") if without or said else None
    if made is None:
        return join([words])
    has_truth = any(run.has_truth for run in group.runs)
    kinds = [kind for kind in panels.TITLES if kind != "truth" or has_truth]
    boxes = [
        element("label", element("input", type="checkbox", checked=True, value=kind), panels.TITLES[kind])
        for kind in kinds
    ]
    together = element("label", element("input", type="checkbox", class_="together"), "move all volumes together")
    choice = element("fieldset", element("legend", "Layers"), *boxes, together, class_="choice js")
    return join([words, choice, _key(group), element("div", made, class_="cases")])


def _whose(group: Group, run: Run) -> str:
    return f"{run.letter}: {run.without}" if len(group.runs) > 1 else run.without


def _key(group: Group) -> Markup:
    run = group.runs[0]
    names = [shown(name) for name in run.classes[:8]]
    entries = [(f"k{n}", name) for n, name in enumerate(names)]
    if len(names) > 2:
        entries += [(f"e{n}", f"error: is {name}") for n, name in enumerate(names)]
    else:
        name = names[1] if len(names) == 2 else "class 1"
        entries += [("missed", f"error: {name} missed"), ("invented", f"error: {name} invented")]
    made = [element("li", element("span", class_=f"swatch {class_}"), words) for class_, words in entries]
    classes = max(2, len(names))
    made.append(element("li", element("span", class_="ramp"), f"uncertainty: entropy from 0 to ln {classes}"))
    return element("ul", *made, class_="legend")


def _swatches() -> str:
    colours = {f"k{n}": colour for n, colour in enumerate(label_colours(8))}
    colours |= {f"e{n}": colour for n, colour in enumerate(LABELS)}
    colours |= {"missed": pictures.MISSED, "invented": pictures.INVENTED}
    lines = [f".{name} {{ background: rgb({', '.join(map(str, colour))}); }}" for name, colour in colours.items()]
    stops = ", ".join(f"rgb({r}, {g}, {b})" for r, g, b in pictures.heat()[::9])
    return "\n".join([*lines, f".ramp {{ background: linear-gradient(to right, {stops}); }}"])


def _calibration(group: Group) -> Markup | None:
    parts = [curves.calibration(group.runs), _each(group.runs, [trust.calibration(run) for run in group.runs])]
    there = [part for part in parts if part]
    return join(there) if there else None


def _uncertainty(group: Group) -> Markup | None:
    measures = _each(group.runs, [trust.uncertainty(run) for run in group.runs])
    regions = _each(group.runs, [trust.regions(run) for run in group.runs])
    figures = [made for made in (curves.errors(group.runs), follows.follows(group.runs)) if made]
    if not (measures or regions or figures):
        return None
    drawn_ = element("div", *figures, class_="figures")
    words = (
        "Error AUROC: the chance that a wrong voxel is more uncertain than a right one. Sparsification: the error "
        "among what is left as the most uncertain voxels are taken away; the oracle takes the errors away first; AUSE "
        "is the area between the two over the error of all voxels. PAvPU: the share of patches that are accurate and "
        "certain or inaccurate and uncertain."
    )
    return join([element("p", words, class_="note"), drawn_, measures, regions])
