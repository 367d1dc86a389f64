"""Floating-point operations of an ONNX graph, counted from its convolutions; a multiply-add is two."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segbench.errors import EngineError

Shape = tuple[int, ...]
Array = npt.NDArray[np.generic]
SMALL = 64  # elements: shapes are computed with so few, features are not


def convolution_flops(graph: Path | bytes, inputs: Mapping[str, Shape]) -> int:
    """Operations of all Conv and ConvTranspose nodes for inputs of these shapes.

    What a convolution multiplies with its own zero padding counts, as usual; what a transposed convolution computes
    and crops does not.

    Raises:
        EngineError: A convolution's shape does not follow from the graph.
    """
    model = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph)
    shapes = _shapes(model, inputs)
    total = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        known = [shapes.get(name) for name in (node.input[0], node.input[1], node.output[0])]
        if any(shape is None or 0 in shape for shape in known):
            raise EngineError(f"the operations of {node.name or node.output[0]} cannot be counted: its shape is open")
        total += 2 * (_forward if node.op_type == "Conv" else _transposed)(node, *(shape or () for shape in known))
    return total


def _forward(node: onnx.NodeProto, image: Shape, weight: Shape, out: Shape) -> int:
    """Multiply-adds: every weight [O, I / group, ...] once for every voxel of the result."""
    return out[0] * math.prod(out[2:]) * math.prod(weight)


def _transposed(node: onnx.NodeProto, image: Shape, weight: Shape, out: Shape) -> int:
    """Multiply-adds: every weight [I, O / group, ...] once for every input voxel that it carries into the result."""
    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if settings.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise EngineError(f"the operations of {node.name or node.output[0]} cannot be counted: it pads as it likes")
    axes = len(image) - 2
    strides, dilations = (settings.get(name, [1] * axes) for name in ("strides", "dilations"))
    pads = settings.get("pads", [0] * 2 * axes)
    pairs = 1
    for axis in range(axes):
        at = np.arange(image[2 + axis])[:, None] * strides[axis] - pads[axis]
        at = at + np.arange(weight[2 + axis]) * dilations[axis]
        pairs *= int(np.count_nonzero((at >= 0) & (at < out[2 + axis])))
    return image[0] * weight[0] * weight[1] * pairs


def _shapes(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shape of every tensor, 0 for an edge that stays open; `model` is changed."""
    graph = model.graph
    for value in graph.input:
        for dim, length in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False):
            dim.dim_value = length
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    while True:
        del graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        shapes = {name: value.shape for name, value in constants.items()}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            if value.type.tensor_type.HasField("shape"):
                shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if not _fold(model, shapes, constants):
            return shapes


def _fold(model: onnx.ModelProto, shapes: Mapping[str, Shape], constants: dict[str, Array]) -> bool:
    """Computes what depends on shapes alone, which shape inference does not always; whether anything was left to do."""
    graph, rest, before = model.graph, [], len(constants)
    for node in graph.node:
        found = _folded(model, node, shapes, constants)
        if found is None:
            rest.append(node)
            continue
        constants[node.output[0]] = found
        graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
    del graph.node[:]
    graph.node.extend(rest)
    return len(constants) > before


def _folded(
    model: onnx.ModelProto, node: onnx.NodeProto, shapes: Mapping[str, Shape], constants: Mapping[str, Array]
) -> Array | None:
    """What a node yields if it is a known shape or made of few known numbers; else None."""
    given: dict[str, Array] = {}
    if node.op_type == "Shape" and 0 not in shapes.get(node.input[0], (0,)):
        given[node.input[0]] = np.broadcast_to(np.float32(0), shapes[node.input[0]])
    elif node.input and all(name in constants and constants[name].size <= SMALL for name in node.input if name):
        given = {name: constants[name] for name in node.input if name}
    else:
        return None
    values = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in given.items()
    ]
    result = helper.make_empty_tensor_value_info(node.output[0])
    alone = helper.make_graph([node], "alone", values, [result])
    opsets = model.opset_import
    evaluator = ReferenceEvaluator(helper.make_model(alone, opset_imports=opsets, ir_version=model.ir_version))
    return np.asarray(evaluator.run(None, given)[0])
