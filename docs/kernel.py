"""What a compiled kernel of our own could bring: operations, seconds and share of the peak of each part of T samples.

    python docs/kernel.py [--zoo vnet-battery] [--threads 4] [--precision f32]

The bound is what there would be if every convolution ran at the measured peak of plain ones and nothing else took time.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from segbench import zoo
from segbench.bench.flops import convolution_flops
from segbench.bench.peak import IMAGE as PEAK_IMAGE
from segbench.bench.peak import RESULT, plain_convolutions
from segbench.bench.peak import shape as peak_shape
from segbench.bench.work import flops, halo_cost, pieces
from segbench.engines.cropping import Piece
from segbench.engines.openvino import OpenVino
from segbench.engines.thin import IMAGE
from segbench.masks import masks

ROUNDS = 7


def seconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median time of a call, after a warm-up."""
    run()
    times = []
    for _ in range(rounds):
        begun = perf_counter()
        run()
        times.append(perf_counter() - begun)
    return median(times)


def kinds(engine: OpenVino, piece: Piece) -> Counter[str]:
    """Milliseconds by kind of node, as OpenVINO counts them for one graph on one thread."""
    ready = engine._core.read_model(piece.graph)
    ready.reshape({name: list(shape) for name, shape in piece.inputs.items()})
    compiled = engine._core.compile_model(ready, "CPU", {
        "PERF_COUNT": True, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32" if engine.precision == "int8" else engine.precision,
    })  # fmt: skip
    request, drawn = compiled.create_infer_request(), np.random.default_rng(0)
    inputs = {name: drawn.standard_normal(shape).astype(np.float32) for name, shape in piece.inputs.items()}
    for _ in range(2):
        request.infer(inputs)
    spent: Counter[str] = Counter()
    for entry in request.profiling_info:
        spent[entry.node_type] += entry.real_time.total_seconds() * 1e3
    return spent


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", default="vnet-battery")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--samples", type=int, default=16)
    asked = parser.parse_args()
    model = zoo.find(asked.zoo)
    engine = OpenVino(model, asked.precision, asked.threads, "cpu", True)
    need = model.card.input
    edges = tuple(core + 2 * halo for core, halo in zip(need.core, need.halo, strict=True))
    shape = (1, 1, *edges)
    z, y, x = (slice(halo, edge - halo) for halo, edge in zip(need.halo, edges, strict=True))
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    peak_run = engine.load(plain_convolutions(), {PEAK_IMAGE: peak_shape()}, [RESULT], asked.threads)
    plain = convolution_flops(plain_convolutions(), {PEAK_IMAGE: peak_shape()})
    field = np.random.default_rng(1).standard_normal(peak_shape()).astype(np.float32)
    peak = plain / seconds(lambda: peak_run({PEAK_IMAGE: field}))
    shared, samples = pieces(model, asked.samples, need.core, need.halo, asked.threads)
    shared_flops, thin_flops = flops(shared), sum(flops(piece) for piece in samples)
    ready = engine.load(shared.graph, shared.inputs, shared.outputs, asked.threads)
    shared_s = seconds(lambda: ready({IMAGE: image}))
    bound = engine.bind(masks(model.card.dropout, 0, range(asked.samples)))
    total_s = seconds(lambda: bound(image, (z, y, x)))
    say = sys.stdout.write
    say(f"{asked.zoo}, tile {edges}, core {need.core}, T = {asked.samples}, ")
    say(f"{engine.precision}, {engine.threads} threads\n")
    say(f"peak of plain convolutions: {peak / 1e9:.0f} GFLOP/s\n")
    rows = (("shared", shared_flops, shared_s), ("samples", thin_flops, total_s - shared_s))
    for name, count, took in (*rows, ("all", shared_flops + thin_flops, total_s)):
        share = count / took / peak
        say(f"{name}: {count / 1e9:.1f} GFLOP in {took * 1e3:.0f} ms, {100 * share:.0f} % of the peak; at the peak ")
        say(f"{count / peak * 1e3:.0f} ms\n")
    say(f"operations for a useful voxel: {halo_cost(model, asked.samples):.2f} times those without halo\n")
    for name, piece in (("shared", shared), ("samples", samples[0])):
        spent = kinds(engine, piece)
        every = sum(spent.values())
        parts_ = ", ".join(f"{kind} {100 * ms / every:.0f} %" for kind, ms in spent.most_common(7))
        say(f"where time goes, {name}: {parts_}\n")


if __name__ == "__main__":
    main()
