"""ONNX: for every runtime that reads it.

In float32 only. ONNX Runtime merges none of the 8-bit convolutions that `segbench.engines.quantise` writes: it would
compute them in float32, slower than float32 itself, and call it int8 (docs/decisions/int8.md).
"""

import shutil
from pathlib import Path

import onnx

from segbench.errors import InputError
from segbench.export.kinds import SECOND, graphs, second_graph, wanted
from segbench.export.lint import check
from segbench.export.profile import Profile
from segbench.export.targets import Built
from segbench.zoo import Model
from segbench.zoo.artifact import Kind, Part

KINDS: tuple[Kind, ...] = ("masked", "deterministic", "seeded", "aggregated", *SECOND)
RUNTIME = "onnxruntime"


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    if precision != "f32":
        raise InputError(f"target 'onnx' is f32: ONNX Runtime computes {precision} in float32; export to openvino")
    parts = []
    for kind, graph in graphs(model, wanted(profile, KINDS)):
        path = folder / f"{kind}.onnx"
        pinned = model.graph if kind == "masked" else second_graph(model, kind)
        if pinned is not None:
            shutil.copyfile(pinned, path)  # the very file that the card pins
        else:
            onnx.save(graph, path)
        check(path, kind, RUNTIME)
        parts.append(Part(kind=kind, runtime=RUNTIME, path=path.name, precision=precision))
    return Built(tuple(parts), {"onnx": onnx.__version__})
