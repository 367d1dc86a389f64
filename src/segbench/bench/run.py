"""One benchmark from a request to rows, tables and a folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segbench.bench import chart
from segbench.bench.contenders import Contender, build
from segbench.bench.memory import peak_mib
from segbench.bench.row import Agreement, BenchRow, provenance, write_rows
from segbench.bench.scene import Key, Request, Scene
from segbench.bench.sheet import foot, sheets
from segbench.bench.summary import compare
from segbench.bench.timing import Progress, Steps, interleaved
from segbench.evaluate.sheet import Sheet, comma_separated, page
from segbench.io import write_bytes

ROWS, PAGE, TABLE, CHART = "bench.json", "bench.md", "bench.csv", "bench.png"


@dataclass(frozen=True)
class Result:
    """Rows, the tables made from them, where they come from, and what the engine could not do."""

    rows: tuple[BenchRow, ...]
    sheets: tuple[Sheet, ...]
    foot: tuple[str, ...]
    remark: str


def run(
    request: Request, progress: Progress | None = None, memory: Callable[[Request, Key], float] = peak_mib
) -> Result:
    """Benchmarks and, where a folder is named, writes the results into it.

    Args:
        request: What to benchmark.
        progress: Called with (runs done, runs, what is run).
        memory: Measures a contender's peak memory in MiB.

    Raises:
        SegbenchError: The request cannot be met; said before anything is measured.
    """
    scene = Scene(request)
    keys = scene.keys
    steps = Steps(progress, sum(2 - (kind == "peak") + request.repeats for kind, _ in keys))
    peaks: dict[Key, float] = {}
    for key in keys:
        if key[0] != "peak":
            steps(f"memory: {' '.join(key)}")
            peaks[key] = memory(request, key)
    contenders = {key: build(scene, key) for key in keys}
    first = {}
    for key, contender in contenders.items():
        steps(f"warm-up: {' '.join(key)}")
        first[key] = contender.run()
    agreements = _agreements(scene, contenders)
    runs = {key: contender.run for key, contender in contenders.items()}
    seconds = interleaved(runs, request.repeats, lambda key: steps(" ".join(key)))
    shared = provenance() | {"model": scene.model.card.name, "model_hash": scene.model.hash}
    shared |= {"size": request.size, "seed": request.seed}
    rows = tuple(
        BenchRow.model_validate(
            contenders[key].facts.model_dump()
            | shared
            | {"seconds": seconds[key], "first_s": first[key]}
            | {"peak_mib": peaks.get(key), "agreement": agreements.get(key)}
        )
        for key in keys
    )
    result = Result(rows, tuple(sheets(rows)), tuple(foot(rows)), scene.engine(request.precisions[0]).note)
    if request.out is not None:
        write(request.out, result)
    return result


def _agreements(scene: Scene, contenders: dict[Key, Contender]) -> dict[Key, Agreement]:
    """How warm contenders agree with MONAI over PyTorch, whose warm-up left its mean."""
    reference = next((one.passes for key, one in contenders.items() if key[0] == "monai-torch"), None)
    if reference is None:
        return {}
    from segbench.bench import monai

    found = {}
    for key, contender in contenders.items():
        if key[0] == "segbench":
            mean = monai.mean_of(scene.engine(key[1]).bind(scene.masks), scene.image, scene.model.card)
        elif key[0] == "monai-engine" and contender.passes is not None:
            mean = contender.passes.mean
        else:
            continue
        found[key] = compare(mean, reference.mean, reference.squares, len(scene.masks))
    return found


def write(out: Path, result: Result) -> None:
    """Rows, page, table and chart, each whole or not at all."""
    first: BenchRow = result.rows[0]
    write_rows(out / ROWS, result.rows)
    chart.draw(result.rows, out / CHART)
    write_bytes(out / TABLE, comma_separated(result.sheets))
    heading = f"Speed of {first.model}"
    write_bytes(out / PAGE, page(heading, result.sheets, result.foot, CHART))
