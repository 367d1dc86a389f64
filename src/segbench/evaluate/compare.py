"""Whether a run is worse than another: a pure function of rows.

Two runs of one network with the same masks are compared case by case with what their precision may cost, since nothing
in them is left to chance. Where weights or masks differ, they are compared domain by domain with the noise of BASE.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from segbench.errors import InputError
from segbench.evaluate.compare_lines import MEAN, Comparison, Judge, Line
from segbench.evaluate.compare_match import Matched, Run, match
from segbench.evaluate.compare_noise import FEWEST, Noise, mean_of, of_blocks, of_repeats
from segbench.evaluate.compare_scores import BETTER, Tolerances, Values, allowed, by_case, by_domain, family
from segbench.evaluate.compare_speed import of_runs
from segbench.metrics.overlap import mean
from segbench.rows import Row

Chances = Callable[[str, str], Noise | None]
"""Noise of a score (by name) in a domain, or on the mean; None where nothing is left to chance."""


def compare(
    base: Run,
    new: Run,
    costs: Tolerances,
    repeats: Sequence[Run] = (),
    allow: Sequence[str] = (),
    speed: bool = False,
) -> Comparison:
    """Compares NEW with BASE.

    Args:
        base: What is known to be good.
        new: What is asked about.
        costs: What precisions may cost.
        repeats: Further runs of BASE with other masks, or of its siblings.
        allow: "METRIC=VALUE": what a score may get worse by, in place of its limit.
        speed: Whether wall time is compared too.

    Raises:
        InputError: There is nothing to compare: other volumes, no common ones, no common scores, no measure of noise.
    """
    found = match(base, new, repeats)
    old, now = _scores(found.base, found.paired), _scores(found.new, found.paired)
    names = [name for name in old if name in now]
    if not names:
        raise InputError(f"{base.name} and {new.name} have no score in common that is compared")
    chances = _chances(found, names)
    judged = [(n, d) for n in names if BETTER[family(n) or ""] for d in old[n]]
    count = sum(not math.isnan(chance.deviation) if (chance := chances(*one)) else 1 for one in judged)
    permitted = allowed(allow, names)
    floor = costs.of({row.precision for row in (*found.base, *found.new)})
    judge = Judge(floor, permitted, count, found.new[0].samples, found.paired)
    lines = [_line(judge, name, where, old[name], now[name], chances) for name in names for where in old[name]]
    if all(line.verdict == "unmeasured" for line in lines):
        raise InputError(
            f"{new.name} differs from {base.name} in {found.differs}, and nothing measures what chance does: give "
            f"--repeat RUN at least {FEWEST} times, further runs of BASE with other seeds"
        )
    timed, said = of_runs(found, permitted) if speed else ((), ())
    notes = (*found.notes, *_uncommon(base.name, old, new.name, now), *_unmeasured(lines), *said)
    return Comparison(base.name, new.name, _how(found), count, found.over, (*lines, *timed), notes)


def _scores(rows: Sequence[Row], paired: bool) -> Values:
    """Scores by name, then by case or domain; the mean over the domains last where there are several."""
    domains = by_domain(rows)
    found = by_case(rows) if paired else domains
    for name, values in domains.items():
        if len(values) > 1:
            found[name] = found[name] | {MEAN: mean(list(values.values()))}
    return found


def _line(
    judge: Judge, name: str, where: str, old: Mapping[str, float], now: Mapping[str, float], chances: Chances
) -> Line:
    return judge.line(name, where, old[where], now.get(where, math.nan), chances(name, where))


def _chances(found: Matched, names: Sequence[str]) -> Chances:
    if found.paired:
        return lambda name, where: None
    runs = [by_domain(rows) for rows in (found.base, *found.repeats)]
    classes = [name[len("f1_") :].rsplit("_", 1)[0] for name in runs[0] if name.startswith("f1_")]
    made: dict[tuple[str, str], Noise] = {}
    for name in names:
        domains = list(runs[0][name])
        if found.repeats:
            values = [[run.get(name, {}).get(domain, math.nan) for domain in domains] for run in runs]
            each, together = of_repeats(np.array(values), found.weight)
        else:
            each = [
                of_blocks(_of(found.base, d), _of(found.new, d), name, classes, paired=found.same_masks)
                for d in domains
            ]
            together = mean_of(each)
        made |= {(name, domain): noise for domain, noise in zip(domains, each, strict=True)} | {(name, MEAN): together}
    return lambda name, where: made[name, where]


def _of(rows: Sequence[Row], domain: str) -> list[Row]:
    return [row for row in rows if row.domain == domain]


def _how(found: Matched) -> str:
    if found.paired:
        precisions = " and ".join(dict.fromkeys(row.precision for row in (found.base[0], found.new[0])))
        return f"the same network with the same masks, volume by volume; limits are what {precisions} may cost"
    blocks = "from how the blocks of each volume differ" if found.same_masks else "from the blocks of each volume"
    source = f"from {len(found.repeats) + 1} runs of BASE" if found.repeats else blocks
    return f"other {found.differs}; limits {source}, for all comparisons together"


def _uncommon(base: str, old: Values, new: str, now: Values) -> list[str]:
    found = []
    for here, there, name in ((old, now, new), (now, old, base)):
        missing = [score for score in here if score not in there]
        if missing:
            found.append(f"scores that {name} does not have: {', '.join(missing)}")
    return found


def _unmeasured(lines: Sequence[Line]) -> list[str]:
    names = dict.fromkeys(line.metric for line in lines if line.verdict == "unmeasured")
    return [f"not judged, since nothing measures their noise: {', '.join(names)}"] if names else []
