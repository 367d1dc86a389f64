"""Whether a benchmark is slower than another: a pure function of rows, contender by contender, as ratios of medians."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.bench.row import FORMAT, BenchRow, read_rows
from segbench.bench.run import ROWS
from segbench.bench.summary import median
from segbench.errors import InputError
from segbench.evaluate.compare_lines import Comparison
from segbench.evaluate.compare_noise import FEWEST, Noise
from segbench.evaluate.compare_scores import MEDIAN, allowed
from segbench.evaluate.compare_speed import of_logarithms, ratio
from segbench.evaluate.releases import kind_of

OURS = ("segbench", "engine", "dense")  # peers and plain convolutions say what the machine did, not what segbench did
QUARTILES = 1.349  # what lies between those of a normal distribution, in standard deviations
Key = tuple[str, str, str, bool]


@dataclass(frozen=True)
class Bench:
    """Rows of one `segbench bench --out`; `name` is what the user wrote."""

    name: str
    rows: tuple[BenchRow, ...]

    @property
    def own(self) -> dict[Key, BenchRow]:
        """What is compared, by what it is."""
        return {(r.kind, r.engine, r.precision, r.thin): r for r in self.rows if r.kind in OURS}


def is_bench(given: str) -> bool:
    """Whether that is a benchmark's folder or its bench.json."""
    path = Path(given)
    if path.is_dir():
        return (path / ROWS).is_file()
    return path.is_file() and kind_of(path) == FORMAT


def read_bench(given: str) -> Bench:
    """A benchmark's rows.

    Raises:
        InputError: It is none, or it is broken.
    """
    if not is_bench(given):
        raise InputError(f"{given}: no benchmark; a benchmark is compared with benchmarks, a run with runs")
    path = Path(given)
    return Bench(given, read_rows(path / ROWS if path.is_dir() else path))


def compare(base: Bench, new: Bench, repeats: Sequence[Bench] = (), allow: Sequence[str] = ()) -> Comparison:
    """Compares the medians of NEW with those of BASE.

    Noise is what repeats of BASE differ by. Without repeats it is what rounds within a run differ by, which is less:
    from their quartiles, since single rounds are slow for reasons of the machine. The variance of a median of n is
    pi / 2 times that of their mean, for normal noise.

    Raises:
        InputError: Nothing in common, other machines, or other work.
    """
    old, now = base.own, new.own
    keys = [key for key in old if key in now]
    if not keys:
        raise InputError(f"{base.name} and {new.name} have no contender of segbench in common")
    if 0 < len(repeats) < FEWEST:
        raise InputError(f"one --repeat says next to nothing of the noise: give at least {FEWEST}, better eight")
    for key in keys:
        for name, one in ((new.name, now[key]), *((r.name, r.own.get(key)) for r in repeats)):
            _same_work(base.name, old[key], name, one)
    permitted = allowed(allow, (MEDIAN,))
    lines = []
    for key in keys:
        if repeats:
            chance = of_logarithms([math.log(median(run.own[key])) for run in (base, *repeats)])
        else:
            chance = _of_rounds(old[key], now[key])
        where = " ".join(str(part) for part in key[:3])
        lines.append(ratio(MEDIAN, where, median(old[key]), median(now[key]), chance, len(keys), permitted.of(MEDIAN)))
    how = f"limits from {len(repeats) + 1} runs of BASE" if repeats else "limits from the rounds within each run"
    over = "one contender" if len(keys) == 1 else f"{len(keys)} contenders"
    return Comparison(base.name, new.name, how, len(keys), over, tuple(lines), _notes(base, new, repeats, keys))


def _same_work(base: str, one: BenchRow, name: str, other: BenchRow | None) -> None:
    if other is None:
        raise InputError(f"{name}: does not time {one.kind} in {one.precision} with {one.engine}, as {base} does")
    if (one.device, one.threads) != (other.device, other.threads):
        raise InputError(
            f"{name} ran on {other.device} with {other.threads} threads, {base} on {one.device} with {one.threads}: "
            "times of different machines are not compared"
        )
    for what in ("samples", "size", "voxels"):
        if getattr(one, what) != getattr(other, what):
            raise InputError(
                f"{name}: {what} {getattr(other, what)}, {base} has {getattr(one, what)}: not the same work"
            )


def _of_rounds(one: BenchRow, other: BenchRow) -> Noise:
    variance, freedom = 0.0, -2.0
    for row in (one, other):
        if len(row.seconds) < 2:
            return of_logarithms(())
        low, high = np.percentile(np.log(row.seconds), [25, 75])
        variance += ((high - low) / QUARTILES) ** 2 / len(row.seconds)
        freedom += len(row.seconds)
    return Noise(math.sqrt(math.pi / 2 * variance), freedom)


def _notes(base: Bench, new: Bench, repeats: Sequence[Bench], keys: Sequence[Key]) -> tuple[str, ...]:
    said = []
    if not repeats:
        said.append(
            "no repeats of BASE: rounds within a run do not see how runs differ from each other; give --repeat RUN"
        )
    a, b = base.own[keys[0]], new.own[keys[0]]
    if a.model_hash != b.model_hash:
        said.append(f"the artifact differs: {a.model} {a.model_hash[:12]}, {b.model} {b.model_hash[:12]}")
    peaks = [next((row for row in run.rows if row.kind == "peak"), None) for run in (base, new)]
    if peaks[0] and peaks[1]:
        said.append(f"plain convolutions took {median(peaks[1]) / median(peaks[0]):.3f} times BASE's time")
    missing = [" ".join(map(str, key[:3])) for key in base.own if key not in new.own]
    return (*said, *([f"not in {new.name}, so not compared: {', '.join(missing)}"] if missing else []))
