"""An ONNX model that nobody here made: inputs made up from what it declares, and sessions of ONNX Runtime."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from segbench.errors import EngineError, InputError
from segbench.hardware import cores
from segbench.zoo.reference import Array

TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}  # fmt: skip
EDGES = {5: 32, 4: 64, 3: 64}  # of open axes by rank; networks halve them some times
FEW = 2
IMAGES = ("image", "input", "x")


@dataclass(frozen=True)
class Port:
    """An input.

    Attributes:
        name: Its name.
        shape: As it is fed.
        kind: Of its numbers: "f", "i", "u" or "b", as NumPy calls them.
        dtype: Of its numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    dtype: Any


def read(path: Path) -> onnx.ModelProto:
    """The model in a file.

    Raises:
        InputError: There is none.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: give an ONNX model")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises what it likes
        raise InputError(f"{path}: no ONNX model ({_line(error)})") from error
    if not model.graph.node:
        raise InputError(f"{path}: no ONNX model, or one without a node")
    return model


def session(path: Path, *, optimised: bool = True, save: Path | None = None) -> Any:  # noqa: ANN401
    """ONNX Runtime's session with default settings, or with all optimisation off.

    Args:
        path: The model.
        optimised: As it is by default.
        save: Where to write the graph that is really run.

    Raises:
        EngineError: ONNX Runtime is not installed.
        InputError: It refuses the model.
    """
    try:
        import onnxruntime as ort
    except ModuleNotFoundError as error:
        raise EngineError("this needs ONNX Runtime: pip install 'segbench[cpu]'") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save is not None:
        options.optimized_model_filepath = str(save)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises what it likes
        raise InputError(f"{path}: ONNX Runtime refuses it: {_line(error)}") from error


def ports(loaded: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[Port]:  # noqa: ANN401
    """The inputs, the image first, with sizes for open axes.

    Raises:
        InputError: A shape names no input or does not fit, or an input is of a type that cannot be made up.
    """
    declared = {value.name: value for value in loaded.get_inputs()}
    for name, shape in shapes.items():
        if name not in declared:
            raise InputError(f"--shape {name}: the model has no such input; it has {', '.join(declared)}")
        if len(shape) != len(declared[name].shape):
            raise InputError(f"--shape {name}: give {len(declared[name].shape)} numbers, {declared[name].shape}")
    known: dict[str, int] = {}
    found = []
    for value in _image_first(list(declared.values())):
        if value.type not in TYPES:
            raise InputError(f"input {value.name!r} is a {value.type}: such an input cannot be made up")
        shape = shapes.get(value.name) or _shape(value.shape, known)
        known |= {axis: size for axis, size in zip(value.shape, shape, strict=True) if isinstance(axis, str)}
        dtype = np.dtype(TYPES[value.type])
        found.append(Port(value.name, tuple(shape), dtype.kind, dtype))
    if not found:
        raise InputError("the model has no input")
    return found


def _image_first(values: list[Any]) -> list[Any]:
    """The one of an image's usual name, else the first that looks like one."""
    wide = [v for v in values if len(v.shape) >= 3 and "float" in v.type]
    named = [v for v in wide if v.name.lower() in IMAGES]
    first = (named or wide or values)[:1]
    return first + [v for v in values if v not in first]


def _shape(declared: list[Any], known: Mapping[str, int]) -> tuple[int, ...]:
    rank = len(declared)
    sizes = []
    for axis, size in enumerate(declared):
        if isinstance(size, int) and size > 0:
            sizes.append(size)
        elif isinstance(size, str) and size in known:
            sizes.append(known[size])
        else:
            sizes.append(FEW if rank < 3 else 1 if axis < 2 else EDGES.get(rank, EDGES[5]))
    return tuple(sizes)


def made_up(port: Port, generator: np.random.Generator, *, mask: bool = False) -> Array:
    """Random numbers for an input: an image's are normal, a mask's are 0 and 2, whole ones small; a switch is on."""
    if port.kind == "b":
        return np.ones(port.shape, dtype=bool)
    if port.kind in "iu":
        return generator.integers(0, 8, port.shape).astype(port.dtype)
    if mask:
        return (2 * generator.integers(0, 2, port.shape)).astype(port.dtype)
    return generator.standard_normal(port.shape).astype(port.dtype)


def outputs(loaded: Any, inputs: Mapping[str, Array], path: Path) -> list[Array]:  # noqa: ANN401
    """One run.

    Raises:
        InputError: The model does not take what was made up.
    """
    try:
        return [np.asarray(output) for output in loaded.run(None, dict(inputs))]
    except Exception as error:  # ONNX Runtime raises what it likes
        given = "; ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        raise InputError(
            f"{path}: does not run on {given} ({_line(error)}): give shapes that it takes, as in --shape NAME=1,1,64,64"
        ) from error


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
