"""OpenVINO on the processor: compiled for each shape that it meets, as the engine does it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from segbench.export.runners import NotHereError, Run
from segbench.hardware import cores
from segbench.zoo.artifact import Part
from segbench.zoo.reference import Array

# what the convolutions compute in; int8 is in the graph, and the rest of it stays float32
HINTS = {"f32": "f32", "bf16": "bf16", "f16": "f16", "int8": "f32"}
NEEDS = {"bf16": "BF16", "int8": "INT8", "f16": "FP16"}


def load(folder: Path, part: Part, device: str) -> Run:
    """See `Load`."""
    if find_spec("openvino") is None:
        raise NotHereError("OpenVINO is not installed: pip install 'segbench[cpu]'")
    if device != "cpu":
        raise NotHereError("OpenVINO runs on the processor: leave --device out")
    import openvino as ov

    core = ov.Core()
    need = NEEDS.get(part.precision)
    if need and need not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise NotHereError(f"this processor has no {part.precision} instructions")
    settings = {"INFERENCE_PRECISION_HINT": HINTS[part.precision], "INFERENCE_NUM_THREADS": cores()}
    model = core.read_model(folder / part.path)
    names = [output.any_name for output in model.outputs]
    known = {value.any_name for value in model.inputs}
    compiled: dict[tuple[object, ...], object] = {}

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        inputs = {name: array for name, array in inputs.items() if name in known}
        key = tuple((name, array.shape) for name, array in inputs.items())
        if key not in compiled:
            compiled.clear()
            # with open shapes it merges sums whose sizes differ
            model.reshape({name: list(array.shape) for name, array in inputs.items()})
            compiled[key] = core.compile_model(model, "CPU", settings).create_infer_request()
        done = compiled[key].infer(dict(inputs), share_inputs=False)  # type: ignore[attr-defined]
        return {name: np.array(done[name]) for name in names}

    return run
