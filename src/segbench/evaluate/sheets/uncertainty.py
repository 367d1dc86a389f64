"""Whether uncertainty finds the errors and rises out of domain: measures of Monte-Carlo samples, and softmax alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segbench.evaluate.claims import auroc
from segbench.evaluate.definitions import Stored
from segbench.evaluate.estimates import Score, estimate, metric
from segbench.evaluate.sheet import Cell, Heading, Sheet
from segbench.evaluate.sheets.groups import Group, Method, groups, mains, methods
from segbench.metrics import overlap
from segbench.rows import Row

MEASURES = {
    "entropy": "entropy",
    "mutual_information": "mutual information",
    "spread": "P70-P30",
    "deviation": "standard deviation",
}
ALONE = "softmax alone, entropy"
NEEDS = (
    *(f"{score}_{m}" for score in ("error_auroc", "error_ap", "ause", "aurc", "pavpu") for m in MEASURES),
    *(f"{m}_{region}" for m in MEASURES for region in ("band", "interior")),
    "accuracy_band",
)
SCORES = {
    "error_auroc": ("AUROC of the errors", "how often a wrong voxel is more uncertain than a right one; 0.5 is chance"),
    "error_ap": ("Average precision of the errors", "chance is the share of errors: compare within a column only"),
    "ause": (
        "AUSE",
        "area between sparsification curve and oracle, over the error rate; 0 is the oracle, lower is better",
    ),
    "aurc": ("AURC", "mean error of what is left, over all shares left; lower is better, and the error rate is in it"),
    "pavpu": ("PAvPU", "share of patches that are accurate and certain, or inaccurate and uncertain"),
}
REGIONS = (("share", "share"), ("accuracy", "accuracy"), ("ece", "ECE"), ("error_auroc_entropy", "AUROC entropy"))


@dataclass(frozen=True)
class Line:
    """One measure of one model: whose rows, and the measure's name in them."""

    model: Method
    measure: str
    name: str
    alone: bool = False

    @property
    def text(self) -> str:
        """What a reader sees."""
        return f"{self.model.name}, {self.name}"


def uncertainty(stored: Sequence[Stored]) -> list[Sheet]:
    """Scores of every measure by group, against softmax alone, in and out of domain, at boundaries and off them."""
    parts = mains(stored)
    shown = groups(parts)
    twins = {method.zoo: method for method in methods(mains(stored, twins=True))}
    found = methods(parts)
    if not found:
        return []
    lines = []
    for model in found:
        lines += [Line(model, key, name) for key, name in MEASURES.items()]
        if model.zoo in twins:
            lines.append(Line(twins[model.zoo], "entropy", ALONE, alone=True))
    sheets = [_scores(lines, shown, key, title, note) for key, (title, note) in SCORES.items()]
    gains = [(line, twins[line.model.zoo]) for line in lines if not line.alone and line.model.zoo in twins]
    if gains:
        sheets.append(_gains(gains, shown))
    return [*sheets, _rising(lines, shown), _boundary(found, shown), _means(found, shown)]


def _scores(lines: Sequence[Line], shown: Sequence[Group], key: str, title: str, note: str) -> Sheet:
    body: list[tuple[Cell, ...]] = [
        (line.text, *(estimate(line.model.of(group), metric(f"{key}_{line.measure}")) for group in shown))
        for line in lines
    ]
    columns = (Heading("uncertainty", words=True), *(Heading(group.name) for group in shown))
    reference = "errors against the truth of battery16, and against the labels of the measured sets"
    return Sheet(title, columns, tuple(body), (note, reference))


def _gains(pairs: Sequence[tuple[Line, Method]], shown: Sequence[Group]) -> Sheet:
    """What Monte-Carlo samples add to softmax alone, volume by volume."""
    body: list[tuple[Cell, ...]] = []
    for line, twin in pairs:
        score = gain(line.measure, twin.rows)
        body.append((line.text, *(estimate(line.model.of(group), score) for group in shown)))
    columns = (Heading("uncertainty", words=True), *(Heading(group.name) for group in shown))
    notes = (
        "AUROC of the samples' measure for the samples' errors, less that of the entropy of one pass without dropout "
        "for its own errors, of the same volume: above 0 Monte-Carlo dropout finds errors better",
    )
    return Sheet("AUROC of the errors: Monte-Carlo less softmax alone", columns, tuple(body), notes)


def gain(measure: str, twin: Sequence[Row]) -> Score:
    """Of a volume: the error AUROC of a measure, less that of the twin's entropy in the same volume."""
    alone = {(row.data, row.domain, row.case): metric("error_auroc_entropy")(row) for row in twin}

    def score(row: Row) -> float:
        without = alone.get((row.data, row.domain, row.case), math.nan)
        return metric(f"error_auroc_{measure}")(row) - without

    return score


def _rising(lines: Sequence[Line], shown: Sequence[Group]) -> Sheet:
    """Mean uncertainty in and out of domain."""
    inside = [group for group in shown if group.trained is True][:1]
    outside = [group for group in shown if group.trained is False][:1]
    others = [group for group in shown if group.domain is not None]
    body: list[tuple[Cell, ...]] = []
    for line in lines:
        score = metric(line.measure)
        cells: list[Cell] = []
        if inside and outside:
            near, far = (line.model.of(side[0]) for side in (inside, outside))
            low, high = estimate(near, score), estimate(far, score)
            ratio = high.interval.value / low.interval.value if low.interval.value > 0 else math.nan
            cells = [low, high, ratio, auroc([score(row) for row in near], [score(row) for row in far])]
        cells += [estimate(line.model.of(group), score) for group in others]
        body.append((line.text, *cells))
    columns = [Heading("mean of the volume", words=True)]
    if inside and outside:
        columns += [Heading(side[0].name, 4) for side in (inside, outside)]
        columns += [Heading("out / in", 2), Heading("AUROC", 2)]
    columns += [Heading(group.name, 4) for group in others]
    notes = (
        "in: domains that the model was trained on, other volumes; out: the others; entropies in nats",
        "AUROC here: how often a volume out of domain has more of it than one in domain; 0.5 is chance",
        "two training domains are few: whether it rises is told by the AUROC and both means together",
    )
    return Sheet("Whether it rises out of domain", tuple(columns), tuple(body), notes)


def _boundary(found: Sequence[Method], shown: Sequence[Group]) -> Sheet:
    columns = [Heading("tested on", words=True)]
    columns += [Heading(f"{name}, {region}") for _, name in REGIONS for region in ("band", "interior")]
    body: list[tuple[Cell, ...]] = []
    for model in found:
        for group in shown:
            cells = [
                estimate(model.of(group), metric(_in_region(key, region)))
                for key, _ in REGIONS
                for region in ("band", "interior")
            ]
            body.append((f"{model.name}, {group.name}", *cells))
    notes = ("band: within 2 voxels of a phase boundary of the reference; interior: the rest",)
    return Sheet("At phase boundaries and off them", tuple(columns), tuple(body), notes)


def _means(found: Sequence[Method], shown: Sequence[Group]) -> Sheet:
    columns = [Heading("mean of the voxels", words=True)]
    columns += [Heading(f"{name}, {region}", 4) for name in MEASURES.values() for region in ("band", "interior")]
    body: list[tuple[Cell, ...]] = []
    for model in found:
        for group in shown:
            rows = model.of(group)
            cells = [
                overlap.mean([metric(_in_region(key, region))(row) for row in rows])
                for key in MEASURES
                for region in ("band", "interior")
            ]
            body.append((f"{model.name}, {group.name}", *cells))
    notes = ("means over volumes",)
    return Sheet("Uncertainty at phase boundaries and off them", tuple(columns), tuple(body), notes)


def _in_region(key: str, region: str) -> str:
    return f"{key}_{region}"
