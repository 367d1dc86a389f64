"""OpenVINO's IR, for processors, in float32, bf16 and int8.

A bf16 IR holds the numbers of the float32 one: OpenVINO rounds while it compiles, and what it rounds to is a setting,
`INFERENCE_PRECISION_HINT`. Where it is not set, a processor with bf16 instructions computes a float32 IR in bf16. So
each IR states the setting that it was made and verified for under `rt_info`, `segbench`; whoever runs it has to set it.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from segbench.errors import EngineError, InputError
from segbench.export import ir
from segbench.export.kinds import SECOND, graphs, precision_of, wanted
from segbench.export.lint import check
from segbench.export.profile import Profile
from segbench.export.targets import Built
from segbench.zoo import Model
from segbench.zoo.artifact import Kind, Part

KINDS: tuple[Kind, ...] = ("masked", "deterministic", "seeded", *SECOND)
RUNTIME = "openvino"
# what int8 leaves in float32 stays so: its error is its own, and bf16 would reorder more than it gains
HINTS = {"f32": "f32", "bf16": "bf16", "int8": "f32"}
"""INFERENCE_PRECISION_HINT of each precision."""


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    if precision not in HINTS:
        raise InputError(f"target 'openvino' has no precision {precision!r}; it has {', '.join(HINTS)}")
    try:
        tools = {"openvino": version("openvino")}
    except PackageNotFoundError as error:
        raise EngineError("target 'openvino' needs the package openvino: pip install 'segbench[cpu]'") from error
    parts = []
    for kind, graph in graphs(model, wanted(profile, KINDS), rounded=precision == "int8"):
        path, computed = folder / f"{kind}.xml", precision_of(kind, precision)
        notes = {
            "model": f"{model.card.name} {model.card.version}",
            "kind": kind,
            "precision": computed,
            "inference_precision_hint": HINTS[computed],
        }
        ir.write(graph, path, notes)
        check(path, kind, RUNTIME)
        parts.append(Part(kind=kind, runtime=RUNTIME, path=path.name, precision=computed))
    return Built(tuple(parts), tools)
