"""What rows say: medians, quartiles, rates, ratios and shares, all pure functions. Undefined is NaN."""

import math
from collections.abc import Sequence

import numpy as np

from segbench.bench.row import Agreement, BenchRow, Kind
from segbench.volume import Float32

BASELINES: tuple[Kind, ...] = ("monai-torch", "onnxruntime")
ROUNDING = 1e-6  # of a probability in float32: where samples do not differ at all, this much is no difference
PEERS: tuple[Kind, ...] = ("monai-torch", "monai-engine", "onnxruntime")


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, linear between order statistics."""
    low, middle, high = np.percentile(np.asarray(seconds, dtype=np.float64), [25, 50, 75])
    return float(low), float(middle), float(high)


def median(row: BenchRow) -> float:
    """Median seconds of the repeats."""
    return quartiles(row.seconds)[1]


def find(rows: Sequence[BenchRow], kind: Kind, precision: str) -> BenchRow | None:
    """The contender of that kind and precision."""
    return next((row for row in rows if row.kind == kind and row.precision == precision), None)


def baseline(rows: Sequence[BenchRow]) -> BenchRow | None:
    """What a user would pick instead: MONAI with PyTorch, else T runs in ONNX Runtime; None where neither was run."""
    return next((row for kind in BASELINES for row in rows if row.kind == kind), None)


def ratio(slow: BenchRow | None, fast: BenchRow | None) -> float:
    """How many times as fast `fast` is, by medians."""
    return math.nan if slow is None or fast is None else median(slow) / median(fast)


def voxels_per_s(row: BenchRow) -> float:
    """Useful voxels a second, the halo's time included."""
    return row.voxels / median(row)


def voxel_samples_per_s(row: BenchRow) -> float:
    """The same times T; the deterministic twin is one sample."""
    return voxels_per_s(row) * max(1, row.samples)


def dense_passes(row: BenchRow, rows: Sequence[BenchRow]) -> float:
    """Its time in passes of the deterministic twin over the volume, with the engine and in the row's precision."""
    return ratio(row, find(rows, "dense", row.precision))


def overhead(rows: Sequence[BenchRow], precision: str) -> float:
    """What reading, normalising and aggregating add to the bare engine's time, as a share of it."""
    alone = find(rows, "engine", precision) or find(rows, "dense", precision)  # which are one where T = 0
    return ratio(find(rows, "segbench", precision), alone) - 1


def flops_per_s(row: BenchRow | None) -> float:
    """Operations a second of one dense pass or of plain convolutions."""
    return math.nan if row is None else row.flops / median(row)


def peak_share(rows: Sequence[BenchRow], precision: str) -> float:
    """The dense pass's operations a second as a share of those of plain convolutions."""
    dense, peak = find(rows, "dense", precision), find(rows, "peak", precision)
    return flops_per_s(dense) / flops_per_s(peak)


def read_per_useful(row: BenchRow) -> float:
    """Voxels that the network sees for each useful voxel: halo, overlap and what is padded up."""
    return row.windows * math.prod(row.window) / row.voxels


def compare(mean: Float32, reference: Float32, squares: Float32, samples: int) -> Agreement:
    """Compares a mean probability with a reference's.

    Args:
        mean: Mean probabilities, of class 1 or of several classes.
        reference: The reference's, same shape.
        squares: Sum over the reference's samples of their squared deviations from `reference`, same shape.
        samples: How many there are.
    """
    apart = np.abs(mean.astype(np.float64) - reference)
    error = within = None
    if samples > 1:
        variance = squares.astype(np.float64) / (samples - 1) / samples
        error, within = math.sqrt(variance.mean()), float(np.mean(apart <= np.maximum(np.sqrt(variance), ROUNDING)))
    return Agreement(
        largest=float(apart.max()), rms=math.sqrt(np.square(apart).mean()), standard_error=error, within=within
    )
