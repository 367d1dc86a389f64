"""The part of a model's graph up to its first dropout, written for single slices where that is the same.

A slice that is repeated along Z stays constant along Z in every layer of a network whose borders are replicated. So for
these the graph is written for one slice: kernels summed along Z, nothing padded, pooled or strided there. That is exact
and takes a twentieth of the operations. Any other graph stays as it is, and is given the slice repeated up to its
stride.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segbench.engines.channels import Array, attribute, constants_of
from segbench.engines.joins import depends_on, live
from segbench.engines.thin import IMAGE, MASKS

_POINTWISE = frozenset({"Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Add", "BatchNormalization", "Identity"})


@dataclass(frozen=True)
class EncoderGraph:
    """Image to the tensor that is dropped from first.

    Attributes:
        serialised: ONNX.
        output: Name of the tensor, [1, channels, ...].
        flat: Whether it takes one slice, [1, 1, 1, Y, X].
    """

    serialised: bytes
    output: str
    flat: bool


def encoder_graph(path: Path) -> EncoderGraph | None:
    """The encoder of a masked graph; None where nothing is dropped."""
    model = onnx.load(path)
    output = before_dropout(model.graph)
    if output is None:
        return None
    nodes = live(model.graph.node, output)
    constants = constants_of(model.graph)
    flat = flattened(nodes, constants)
    made = _model(model, output, *(flat or (nodes, constants)))
    return EncoderGraph(made.SerializeToString(), output, flat is not None)


def before_dropout(graph: onnx.GraphProto) -> str | None:
    """The tensor that the first dropout site is applied to."""
    image, masks = depends_on(graph.node, IMAGE), depends_on(graph.node, MASKS)
    for node in graph.node:
        features = [name for name in node.input if name in image]
        if features and masks & set(node.input):
            return next((name for name in features if name not in masks), None)
    return None


def flattened(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array]
) -> tuple[list[onnx.NodeProto], dict[str, Array]] | None:
    """Nodes and constants for one slice in place of any number of equal ones; None where that is not the same."""
    made, weights = [], dict(constants)
    for node in nodes:
        flat = onnx.NodeProto()
        flat.CopyFrom(node)
        if node.op_type == "Conv" and _open_along_z(node) and node.input[1] in constants:
            weight = constants[node.input[1]]
            flat.input[1] += "/flat"
            weights[flat.input[1]] = weight.sum(axis=2, keepdims=True, dtype=np.float64).astype(weight.dtype)
            _one_along_z(flat, "kernel_shape", "strides", "dilations")
        elif node.op_type in ("MaxPool", "AveragePool") and _open_along_z(node):
            _one_along_z(flat, "kernel_shape", "strides", "dilations")
        elif node.op_type == "Pad" and _replicates(node, constants):
            pads = constants[node.input[1]].copy()
            pads[[2, 7]] = 0
            flat.input[1] += "/flat"
            weights[flat.input[1]] = pads
        elif node.op_type not in _POINTWISE and node.op_type != "Constant":
            return None
        made.append(flat)
    return made, weights


def _open_along_z(node: onnx.NodeProto) -> bool:
    """Not padded along Z by the node itself: its first and last planes would see something else than those between."""
    pads = attribute(node, "pads")
    along = (pads[0], pads[3]) if isinstance(pads, list) and len(pads) == 6 else (0 if pads is None else 1,)
    return not any(along) and attribute(node, "auto_pad") in (None, b"NOTSET", b"VALID")


def _replicates(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    whole = len(node.input) < 4 or not node.input[3]  # no choice of axes
    known = node.input[1] in constants and len(constants[node.input[1]]) == 10
    return attribute(node, "mode") == b"edge" and whole and known


def _one_along_z(node: onnx.NodeProto, *names: str) -> None:
    for name in names:
        value = attribute(node, name)
        if isinstance(value, list):
            node.attribute.remove(next(a for a in node.attribute if a.name == name))
            node.attribute.append(helper.make_attribute(name, [1, *value[1:]]))


def _model(
    model: onnx.ModelProto, output: str, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array]
) -> onnx.ModelProto:
    kept = [node for node in nodes if node.op_type != "Constant"]
    read = {name for node in kept for name in node.input}
    weights = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items() if n in read]
    inputs = [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 1, None, None, None])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    graph = helper.make_graph(kept, "encoder", inputs, outputs, weights)
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="segbench"
    )
