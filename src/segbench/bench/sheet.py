"""The tables of a benchmark, pure functions of its rows."""

import math
from collections.abc import Sequence

from segbench.bench import summary
from segbench.bench.row import BenchRow
from segbench.evaluate.sheet import Cell, Heading, Sheet

NAMES = {
    "segbench": "segbench",
    "engine": "engine alone",
    "dense": "one dense pass",
    "onnxruntime": "onnxruntime, T runs",
    "monai-torch": "MONAI, torch eager",
    "monai-engine": "MONAI, {engine} graph",
    "peak": "plain convolutions",
}
MEGA, GIGA = 1e6, 1e9


def name(row: BenchRow) -> str:
    """What a contender is called."""
    return NAMES[row.kind].format(engine=row.engine)


def sheets(rows: Sequence[BenchRow]) -> list[Sheet]:
    """Speed, ratios, the engine, and agreement where MONAI was asked for."""
    made = [_speed(rows), _engine(rows)]
    if any(row.kind in summary.PEERS for row in rows):
        made.insert(1, _ratios(rows))
    if any(row.agreement is not None for row in rows):
        made.append(_agreement(rows))
    return made


def _speed(rows: Sequence[BenchRow]) -> Sheet:
    first, slowest = rows[0], summary.baseline(rows)
    columns = [  # short: eleven of them fit a terminal
        *(Heading("contender", words=True), Heading("precision", words=True)),
        *(Heading("seconds"), Heading("25 %"), Heading("75 %"), Heading("Mvoxel/s", 2), Heading("x T", 2)),
        *(Heading("passes", 2), *((Heading("ratio", 2),) if slowest else ())),
        *(Heading("first", 1), Heading("MiB", 0)),
    ]
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        if row.kind == "peak":
            continue
        low, middle, high = summary.quartiles(row.seconds)
        rates = (summary.voxels_per_s(row) / MEGA, summary.voxel_samples_per_s(row) / MEGA)
        # one pass is not what T samples are to be compared with
        against = () if slowest is None else (None if row.kind == "dense" else summary.ratio(slowest, row),)
        memory = (row.first_s, row.peak_mib)
        passes = summary.dense_passes(row, rows)
        lines.append((name(row), row.precision, middle, low, high, *rates, passes, *against, *memory))
    notes = [
        f"seconds: median of {len(first.seconds)} rounds after a warm-up, in each of which every contender runs once, "
        "another one first each time; 25 %, 75 %: quartiles",
        "Mvoxel/s: useful voxels only, the time of halo or overlap included; x T: the same times the samples",
        f"passes: the median in passes of the deterministic twin over the same tiles, {first.engine}, in the row's "
        "precision: one sample, nothing left out",
        "first: seconds of the warm-up, with compiling; MiB: peak resident memory of a process that runs the contender "
        "alone, Python and libraries included",
    ]
    if slowest is not None:
        notes += [
            f"ratio: how many times as fast as {name(slowest)}, by medians",
            "the peers start from the normalised volume and keep a mean, MONAI a variance too; segbench's time holds "
            "checks, normalisation, entropy, mutual information, spread and labels",
        ]
    title = f"{first.model}, {first.size}^3 voxels, {sampled(first)}, {threads(first)}"
    return Sheet(title, tuple(columns), tuple(lines), tuple(notes))


def _ratios(rows: Sequence[BenchRow]) -> Sheet:
    """A line per peer, a column per precision of segbench: one ratio of medians each."""
    mine = [row for row in rows if row.kind == "segbench"]
    headings = (Heading(f"segbench {row.precision}", 2) for row in mine)
    columns = (Heading("times as fast as", words=True), Heading("precision", words=True), *headings)
    lines: list[tuple[Cell, ...]] = []
    for kind in summary.PEERS:
        for peer in rows:
            if peer.kind == kind:
                lines.append((name(peer), peer.precision, *(summary.ratio(peer, row) for row in mine)))
    note = (
        "ratios of medians of this run; same weights, same masks; the peers run the network with its batch norms folded"
    )
    return Sheet("Against the peers", columns, tuple(lines), (note,))


def _engine(rows: Sequence[BenchRow]) -> Sheet:
    columns = (
        Heading("engine", words=True),
        Heading("precision", words=True),
        Heading("pipeline overhead (%)", 1),
        Heading("dense pass (GFLOP)", 0),
        Heading("dense pass (GFLOP/s)", 0),
        Heading("peak (GFLOP/s)", 0),
        Heading("share of peak (%)", 1),
        Heading("read per useful voxel", 2),
    )
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        if row.kind != "dense":
            continue
        peak = summary.find(rows, "peak", row.precision)
        extra = 100 * summary.overhead(rows, row.precision)
        speeds = (summary.flops_per_s(row) / GIGA, summary.flops_per_s(peak) / GIGA)
        share = 100 * summary.peak_share(rows, row.precision)
        ends = (share, summary.read_per_useful(row))
        lines.append((row.engine, row.precision, extra, row.flops / GIGA, *speeds, *ends))
    return Sheet("The engine", columns, tuple(lines), tuple(_engine_notes(rows)))


def _engine_notes(rows: Sequence[BenchRow]) -> list[str]:
    dense = next(row for row in rows if row.kind == "dense")
    peak = next((row for row in rows if row.kind == "peak"), None)
    monai = next((row for row in rows if row.overlap is not None), None)
    core, halo = (" x ".join(map(str, edges or ())) for edges in (dense.core, dense.halo))
    tiles = f"{dense.windows} tile{'s' if dense.windows > 1 else ''} of {' x '.join(map(str, dense.window))}"
    notes = [
        "pipeline overhead: segbench over the engine alone, less one; operations are counted from the graph's "
        "convolutions, a multiply-add as two",
        f"{tiles} voxels: core {core}, halo {halo}; where the core does not divide the volume, what is read past its "
        "faces counts as read"
        + (f"; MONAI reads {summary.read_per_useful(monai):.2f} voxels per useful voxel" if monai else ""),
    ]
    if peak is not None:
        edges = " x ".join(map(str, peak.window))
        notes.append(f"peak: plain convolutions in a row over {edges} voxels, same runtime, threads and precision")
    else:
        notes.append(f"the peak is not measured: {dense.engine} runs no ONNX graphs")
    ours = next(row for row in rows if row.kind == "segbench")
    if ours.samples and not ours.thin:
        notes.append("not thinned: every sample runs the full width")
    return notes


def _agreement(rows: Sequence[BenchRow]) -> Sheet:
    columns = (
        Heading("mean probability of", words=True),
        Heading("precision", words=True),
        Heading("largest (1e-6)", 2),
        Heading("rms (1e-6)", 2),
        Heading("standard error (1e-6)", 0),
        Heading("voxels within (%)", 2),
    )
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        found = row.agreement
        if found is None:
            continue
        error = math.nan if found.standard_error is None else MEGA * found.standard_error
        within = math.nan if found.within is None else 100 * found.within
        lines.append((name(row), row.precision, MEGA * found.largest, MEGA * found.rms, error, within))
    notes = (
        "absolute difference from MONAI, torch eager f32: same weights, same masks, calibrated, MONAI's tiling on both "
        "sides; largest and root mean square over all voxels",
        "standard error: Monte-Carlo, of the mean of T samples, root mean square over the voxels; within: voxels that "
        "are not further apart than the standard error there, or than rounding (1e-6)",
    )
    return Sheet("Agreement with MONAI", columns, tuple(lines), notes)


def sampled(row: BenchRow) -> str:
    """How many samples, in words."""
    return f"T = {row.samples}" if row.samples else "one pass without dropout"


def threads(row: BenchRow) -> str:
    """In words."""
    return f"{row.threads} threads" if row.threads != 1 else "1 thread"


def foot(rows: Sequence[BenchRow]) -> list[str]:
    """Where the rows come from, a sentence each."""
    row = rows[0]
    shown = ("openvino", "onnxruntime", "torch", "monai", "numpy", "python")
    versions = ", ".join(f"{package} {row.versions[package]}" for package in shown if package in row.versions)
    return [
        "the volume is synthetic (a gyroid with noise): the time that a network takes does not depend on what it sees",
        f"{row.device}, {threads(row)}; {versions}",
        f"segbench {row.segbench}, commit {(row.git or 'unknown')[:12]}, masks of seed {row.seed}, {row.made}",
    ]
