"""A look at an exported graph without running it: nothing random, nothing that its runtime lacks, ends as promised.

For ONNX files and for OpenVINO's IR; an engine cannot be looked into, only run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from segbench.errors import EngineError, InputError, UnknownNameError
from segbench.export import ir
from segbench.export.ir import Port
from segbench.export.operators import RANDOM, TAKES, Takes
from segbench.zoo.artifact import Kind

SUFFIXES = (".onnx", ".xml")

_OPEN, _SOME, _EACH = "open", "some", "1 or open"
_Promise = tuple[Literal["float32", "int32"], tuple[int | str, ...]]
_IMAGE: _Promise = ("float32", (1, 1, _OPEN, _OPEN, _OPEN))
_MASKS: _Promise = ("float32", (_OPEN, _SOME))
_LOGITS: _Promise = ("float32", (_OPEN, _SOME, _OPEN, _OPEN, _OPEN))
_WIDE: _Promise = ("float32", (1, _SOME, _OPEN, _OPEN, _OPEN))
_ROWS: _Promise = ("float32", (_OPEN, _SOME))
_SLICES: _Promise = ("float32", (_OPEN, _SOME, _OPEN, _OPEN))
_DRAW: dict[str, _Promise] = {"image": _IMAGE, "seed": ("int32", (1,)), "samples": ("int32", (_OPEN,))}
PROMISED: Mapping[Kind, tuple[Mapping[str, _Promise], Mapping[str, _Promise]]] = {
    "masked": ({"image": _IMAGE, "masks": _MASKS}, {"logits": _LOGITS}),
    # Triton batches images, and gives it an open number of them
    "deterministic": ({"image": ("float32", (_EACH, *_IMAGE[1][1:]))}, {"logits": ("float32", (_EACH, *_WIDE[1][1:]))}),
    "seeded": (_DRAW, {"logits": _LOGITS, "masks": _MASKS}),
    "aggregated": (_DRAW, {"mean": _WIDE, "entropy": _IMAGE, "mutual_information": _IMAGE, "masks": _MASKS}),
    "doubt": ({"features": _ROWS}, {"logits": ("float32", (_OPEN, 1))}),
    "patch": ({"patches": ("float32", (_OPEN, _SOME, _SOME, _SOME)), "context": _ROWS}, {"logits": _ROWS}),
    "dense": ({"image": _SLICES}, {"logits": _SLICES}),
}
"""Inputs and outputs of each kind, as `segbench.zoo.artifact.Part` has them."""


def lint(path: Path, kind: Kind, runtime: str) -> list[str]:
    """What is wrong with a graph, a line each; nothing where all is well.

    Args:
        path: An ONNX file or the .xml of an IR.
        kind: What it promises to be.
        runtime: What is to run it.

    Raises:
        EngineError: It is neither, so nothing can be said.
        UnknownNameError: There is no table of what that runtime takes.
    """
    if runtime not in TAKES:
        raise UnknownNameError("runtime", runtime, TAKES)
    if path.suffix not in SUFFIXES:
        raise EngineError(f"{path}: neither ONNX nor IR: it cannot be looked into, only run")
    return _lint_ir(path, kind) if path.suffix == ".xml" else _lint_onnx(path, kind, TAKES[runtime])


def check(path: Path, kind: Kind = "masked", runtime: str = "onnxruntime") -> None:
    """Refuses a graph with findings.

    Raises:
        EngineError: Names the first one.
    """
    if found := lint(path, kind, runtime):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise EngineError(f"{path}: {found[0]}{more}")


def _lint_onnx(path: Path, kind: Kind, takes: Takes) -> list[str]:
    try:
        model = onnx.load(path)
    except Exception as error:  # whatever protobuf raises
        return [f"not a valid ONNX graph ({_line(error)})"]
    nodes = list(_nodes(model))
    found = _random([node.op_type for node in nodes])
    found += [
        f"{node.name or node.op_type} is in training mode"
        for node in nodes
        if any(a.name == "training_mode" and a.i for a in node.attribute) and node.op_type not in RANDOM
    ]
    found += _untaken(model, nodes, takes)
    inputs, outputs = _ports(model.graph.input), _ports(model.graph.output)
    found += _unpromised(inputs, outputs, kind)
    ends = {port.name for port in outputs}
    found += _dead(inputs, {port.name: ends & _made_of(model.graph, port.name) for port in inputs})
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # the checker raises what it likes
        found.append(f"not a valid ONNX graph ({_line(error)})")
    return found


def _lint_ir(path: Path, kind: Kind) -> list[str]:
    try:
        read = ir.read(path)
    except InputError as error:
        return [str(error)]
    found = _random(read.operations)
    found += [f"holds {name}, which is none of OpenVINO's operations for inference" for name in read.unknown]
    return found + _unpromised(read.inputs, read.outputs, kind) + _dead(read.inputs, read.reached)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _random(operators: Sequence[str]) -> list[str]:
    names = sorted(RANDOM & set(operators))
    return [f"holds {', '.join(names)}: its dropout would be redrawn, frozen or deleted"] if names else []


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches, loops and functions too."""
    left = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while left:
        node = left.pop(0)
        yield node
        left += [inner for attribute in node.attribute for g in _graphs(attribute) for inner in g.node]


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _untaken(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], takes: Takes) -> list[str]:
    """Operators, opsets and zero points that the runtime lacks."""
    own = {(function.domain, function.name) for function in model.functions}
    kinds = {(node.domain if node.domain != "ai.onnx" else "", node.op_type) for node in nodes} - own
    strange = sorted(f"{domain}:{name}" if domain else name for domain, name in kinds if domain)
    strange += sorted(name for domain, name in kinds if not domain and name not in takes.operators | RANDOM)
    found = [f"holds {name}, which is not in the table of what its runtime takes" for name in strange]
    stated = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    low, high = takes.opsets
    if not stated:
        found.append("states no opset")
    elif not low <= stated[0] <= high:
        found.append(f"opset {stated[0]}, where its runtime takes {low} to {high}")
    if not takes.zero_points:
        zero = {value.name: np.any(numpy_helper.to_array(value)) for value in model.graph.initializer}
        moved = [n for n in nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear") and len(n.input) > 2]
        names = [node.name or node.output[0] for node in moved if zero.get(node.input[2], True)]
        found += [f"{len(names)} zero points other than 0, such as that of {names[0]}"] if names else []
    return found


def _ports(values: Sequence[onnx.ValueInfoProto]) -> list[Port]:
    ports = []
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else "of no type"
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
        names = {TensorProto.FLOAT: "float32", TensorProto.INT32: "int32"}
        ports.append(Port(value.name, names.get(tensor.elem_type, kind.lower()), shape))
    return ports


def _unpromised(inputs: Sequence[Port], outputs: Sequence[Port], kind: Kind) -> list[str]:
    """Where names, types or shapes are not those of the kind."""
    found = []
    for what, ports, promised in zip(("inputs", "outputs"), (inputs, outputs), PROMISED[kind], strict=True):
        names = [port.name for port in ports]
        if sorted(names) != sorted(promised):
            found.append(f"its {what} are {names}, not {list(promised)}")
        for port in (port for port in ports if port.name in promised):
            dtype, shape = promised[port.name]
            fits = len(shape) == len(port.shape) and all(map(_fits, port.shape, shape))
            if port.dtype != dtype or not fits:
                is_, should = (f"{d} [{_sizes(s)}]" for d, s in ((port.dtype, port.shape), (dtype, shape)))
                found.append(f"{port.name} is {is_}, not {should}")
    return found


def _fits(there: int | None, promised: int | str) -> bool:
    if promised == _EACH:
        return there in (1, None)
    if promised == _OPEN:
        return there is None
    return there is not None and promised in (there, _SOME)


def _sizes(shape: Sequence[int | str | None]) -> str:
    return ", ".join(_OPEN if size is None else str(size) for size in shape)


def _dead(inputs: Sequence[Port], reached: Mapping[str, Iterable[str]]) -> list[str]:
    """Inputs that decide nothing: dropout that was frozen on the way."""
    empty = {port.name for port in inputs if 0 in port.shape}  # the masks of a model without dropout
    dead = [port.name for port in inputs if port.name not in empty and not set(reached[port.name]) - {"masks"}]
    return [f"{name} decides nothing: no output depends on it" for name in dead]


def _made_of(graph: onnx.GraphProto, name: str) -> set[str]:
    found = {name}
    for node in graph.node:
        if found & _reads(node):
            found.update(node.output)
    return found


def _reads(node: onnx.NodeProto) -> set[str]:
    inner = [n for attribute in node.attribute for g in _graphs(attribute) for n in g.node]
    return set(node.input).union(*(_reads(n) for n in inner))
