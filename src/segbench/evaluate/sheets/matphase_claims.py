"""What the MatPhase paper claims, each put as a number with a stated criterion, from the rows of a study."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segbench.evaluate.estimates import Estimate
from segbench.evaluate.images import OfImage, differences, over
from segbench.evaluate.measured import Collection, Measured
from segbench.evaluate.printed import PrintedStudy
from segbench.evaluate.sheet import Heading, Sheet
from segbench.evaluate.sheets.matphase import Line, caption
from segbench.metrics import overlap
from segbench.rows import Row

BASELINES = (
    "deeplabv3", "manet", "fcn", "segnet", "unet", "unetplusplus", "mcd-unet", "local-unet", "resnet-18",
    "adapted-lcgar",
)  # fmt: skip
DOMAIN = "clean"
CERTAIN = 0.1
"""Share of the errors among the less uncertain half of the pixels from which A1 has failed."""
SMALLER = 0.75
"""How often the largest logit of a wrong pixel has to be the smaller one for A2."""
NO_FIGURE = "no figure"
HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "not shown", "not measured yet"
COLUMNS = tuple(Heading(text, words=True) for text in ("claim", "holds if", "the paper", "measured", "holds"))
ABOVE = "the 95 % interval of the difference in mIoU lies above 0"


@dataclass(frozen=True)
class Judged:
    """A claim with its criterion, what the paper prints, what was measured, and the verdict."""

    claim: str
    criterion: str
    paper: str
    measured: str = "-"
    verdict: str = MISSING


def claims(found: Collection, printed: PrintedStudy) -> list[Sheet]:
    """A line for every claim; "not shown" where an interval holds 0."""
    judged = [
        _against(found, "ugsm", "hierarchical curriculum learning beats its global model", _gain(printed, "1", "UGSM")),
        _against(found, "ugsm-longer", "so it does where the global model is given MatPhase's whole budget"),
        *_average(found, printed),
        _smaller(found),
        *_assumptions(found),
        _where(found),
        _against(found, "matphase-no-usi", "the order of HCL-USI matters: better than a random one",
                 _gain(printed, "1", "MatPhase w/o HCL-USI")),
        _against(found, "matphase-reversed", "better than the most uncertain pixels first"),
        _against(found, "only-image", "what the global model knows matters: better than the image alone",
                 _gain(printed, "2", "Only-Image")),
        _against(found, "image-classes", "its logits matter beside its classes", _gain(printed, "2", "Image+UGSM-Y")),
        _against(found, "image-logits", "its classes matter beside its logits", _gain(printed, "2", "Image+UGSM-Emb")),
    ]  # fmt: skip
    names = dict.fromkeys(key.method for key in found.found)
    shown = [Line(found.study.named(name).title, found.of(name), None) for name in names]
    notes = (
        *caption([line for line in shown if line.measured], found, "clean"),
        "differences are of trainings of one seed on the same images; MatPhase's variants share UGSM's network",
        "in brackets: 95 % interval, of Student's t over trainings where there are three, else of the bootstrap over "
        'images of one training, which says nothing of other trainings; "not shown": it holds 0',
    )
    lines = tuple((one.claim, one.criterion, one.paper, one.measured, one.verdict) for one in judged)
    return [Sheet("The paper's claims on battery-fib, clean split", COLUMNS, lines, notes)]


def paired(found: Collection, new: str, old: str, score: OfImage) -> Estimate | None:
    """By how much a method scores higher than another, over the seeds that both have; None where there are none."""
    pairs = _pairs(found, new, old)
    if not pairs:
        return None
    return over(differences([a for a, _ in pairs], [b for _, b in pairs], score))


def said(difference: Estimate) -> str:
    """Such as "+0.012 [0.004, 0.020], 3 trainings"."""
    interval = difference.interval
    ends = "" if math.isnan(interval.low) else f" [{interval.low:+.4f}, {interval.high:+.4f}]"
    unit = f"{difference.drawn}s" if interval.n != 1 else difference.drawn
    return f"{interval.value:+.4f}{ends}, {interval.n} {unit}"


def verdict(difference: Estimate) -> str:
    """Whether its interval lies above 0, below, or on both sides."""
    interval = difference.interval
    if math.isnan(interval.low):
        return OPEN
    return HOLDS if interval.low > 0 else FAILS if interval.high < 0 else OPEN


def _pairs(found: Collection, new: str, old: str) -> list[tuple[Row, Row]]:
    others = {one.key.seed: one for one in found.of(old)}
    rows = [(one.of(DOMAIN), others[one.key.seed].of(DOMAIN)) for one in found.of(new) if one.key.seed in others]
    return [(a, b) for a, b in rows if a is not None and b is not None]


def _gain(printed: PrintedStudy, table: str, method: str) -> str:
    new, old = printed.of(table, "MatPhase"), printed.of(table, method)
    assert new is not None
    assert old is not None
    return f"{new.miou - old.miou:+.3f}"


def _against(found: Collection, old: str, claim: str, paper: str = NO_FIGURE) -> Judged:
    """MatPhase against another method in mIoU."""
    title = f"{claim}: MatPhase less {found.study.named(old).title}"
    difference = paired(found, "matphase", old, overlap.miou)
    if difference is None:
        return Judged(title, ABOVE, paper)
    return Judged(title, ABOVE, paper, said(difference), verdict(difference))


def _average(found: Collection, printed: PrintedStudy) -> list[Judged]:
    """The mean gain over the ten baselines, image by image, of the first seed that each has with it."""
    made = []
    for name, score in (("mIoU", overlap.miou), ("fIoU", overlap.fiou)):
        claim = f"above the ten baselines on average in {name}"
        lines = [line for line in printed.tables["3"] if line.method != "MatPhase"]
        own = printed.of("3", "MatPhase")
        assert own is not None
        shown = overlap.mean([getattr(own, name.lower()) - getattr(line, name.lower()) for line in lines])
        paper = f"{printed.gains[name.lower()]}; {shown:+.3f} by its table 3"
        criterion = f"the 95 % interval of the mean difference in {name} over all ten lies above 0"
        pairs = [_pairs(found, "matphase", old)[:1] for old in BASELINES]
        if not all(pairs):
            made.append(Judged(claim, criterion, paper))
            continue
        each = [differences([a], [b], score)[0] for ((a, b),) in pairs]
        mean = over([[overlap.mean(values) for values in zip(*each, strict=True)]])
        made.append(Judged(claim, criterion, paper, said(mean), verdict(mean)))
    return made


def _band(measured: Measured, region: str = "band") -> float:
    row = measured.of(DOMAIN)
    return math.nan if row is None else row.metrics.get(f"accuracy_{region}_human", math.nan)


def _smaller(found: Collection) -> Judged:
    """The boundary band, against every baseline that is no larger."""
    claim = "smoother at phase boundaries: above every baseline of equal or smaller size in the boundary band"
    criterion = "a higher mean accuracy in the band than every one of them"
    own = found.of("matphase")
    others = [name for name in BASELINES if found.of(name)]
    if not own or len(others) < len(BASELINES):
        return Judged(claim, criterion, NO_FIGURE)
    size, mine = own[0].trained.parameters, overlap.mean([_band(one) for one in own])
    beside = {
        found.study.named(name).title: overlap.mean([_band(one) for one in found.of(name)])
        for name in others
        if found.of(name)[0].trained.parameters <= size
    }
    better = [f"{title} {value:.4f}" for title, value in beside.items() if not mine > value]
    text = f"MatPhase {mine:.4f}, above {len(beside) - len(better)} of {len(beside)}"
    text += f"; not above {', '.join(better)}" if better else ""
    return Judged(claim, criterion, NO_FIGURE, text, FAILS if better or not beside else HOLDS)


def _assumptions(found: Collection) -> list[Judged]:
    """A1 and A2, as means over the trainings of UGSM."""
    first = Judged(
        "A1 fails: high uncertainty does not find all errors",
        f"at least {CERTAIN:.0%} of UGSM's errors are among the half of the pixels that is least uncertain",
        "shown on one image",
    )
    second = Judged(
        "A2: wrong pixels have small logits of similar size",
        f"the largest logit of a wrong pixel is smaller than that of a right one in at least {SMALLER:.0%} of pairs, "
        "and its standard deviation is below that of right pixels",
        "shown on one image",
    )
    there = [one.findings for one in found.of("ugsm") if one.findings is not None and one.findings.errors]
    if not there:
        return [first, second]

    half = overlap.mean([one.certain_errors() for one in there])
    below = _mean([one.below_mean for one in there])
    smaller = _mean([one.smaller for one in there])
    sizes = [_mean(values) for values in zip(*(
        (one.wrong.mean, one.wrong.deviation, one.right.mean, one.right.deviation) for one in there
    ), strict=True)]  # fmt: skip
    n = f"{len(there)} training{'s' if len(there) > 1 else ''}"
    text = f"{half:.1%} in that half, {below:.1%} below the mean uncertainty, {n}"
    logits = (
        f"smaller in {smaller:.1%}; {sizes[0]:.2f} +- {sizes[1]:.2f} where wrong, {sizes[2]:.2f} +- {sizes[3]:.2f} "
    )
    similar = smaller >= SMALLER and sizes[1] < sizes[3]
    return [
        Judged(first.claim, first.criterion, first.paper, text, HOLDS if half >= CERTAIN else FAILS),
        Judged(second.claim, second.criterion, second.paper, f"{logits}where right, {n}", HOLDS if similar else FAILS),
    ]


def _mean(values: Sequence[float | None]) -> float:
    return overlap.mean([math.nan if value is None else value for value in values])


def _where(found: Collection) -> Judged:
    """Whether the gain over UGSM is in the boundary band."""
    claim = "the gain over UGSM is at phase boundaries"
    criterion = "accuracy rises more within 2 pixels of a boundary than elsewhere"
    new, old = ({one.key.seed: one for one in found.of(name)} for name in ("matphase", "ugsm"))
    gains = [
        overlap.mean([_band(new[seed], region) - _band(old[seed], region) for seed in new if seed in old])
        for region in ("band", "interior")
    ]
    if any(math.isnan(gain) for gain in gains):
        return Judged(claim, criterion, NO_FIGURE)
    text = f"{gains[0]:+.4f} in the band, {gains[1]:+.4f} elsewhere"
    return Judged(claim, criterion, NO_FIGURE, text, HOLDS if gains[0] > gains[1] else FAILS)
