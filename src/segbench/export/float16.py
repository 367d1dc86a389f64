"""A graph whose convolutions are in float16, for runtimes that take every type from the graph.

    image f32 ─ Cast ─ f16: Conv, Relu, Add, Mul by masks, … ─ Cast ─ f32: the last convolution ─ logits f32

Inputs and outputs stay float32. So does what float16 is too coarse or too narrow for: whatever is not in `HALF`, such
as the sums of a group norm, and everything from the last convolution on, which makes the logits.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segbench.errors import EngineError

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
LARGEST = float(np.finfo(np.float16).max)
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
# what computes with values of one size, or only moves them; no sums over a volume, no exponentials, no division
HALF = CONVOLUTIONS | {
    "Add", "Sub", "Mul", "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "Pad", "Concat", "Slice", "Split",
    "Gather", "Reshape", "Expand", "Tile", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Identity", "DepthToSpace",
}  # fmt: skip


def halved(model: onnx.ModelProto, whole: bool = False) -> onnx.ModelProto:
    """The model with its convolutions, and what lies between them, in float16.

    Args:
        model: In float32, without functions or branches; not changed.
        whole: The last convolution, too: Turing cards have none in three dimensions in float32.

    Raises:
        EngineError: A weight is beyond what float16 holds.
    """
    return _Writer(onnx.shape_inference.infer_shapes(model), whole).written(model)


class _Writer:
    """Nodes one after another; a tensor is there as float32, as float16, or as both with a Cast between them."""

    def __init__(self, model: onnx.ModelProto, whole: bool) -> None:
        graph = model.graph
        self._version = next(opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"})
        self._kinds = {value.name: value.type.tensor_type.elem_type for value in _values(graph)}
        self._constants = {value.name: value for value in graph.initializer}
        self._kinds |= {name: value.data_type for name, value in self._constants.items()}
        self._wide = set() if whole else _last(graph)
        there = (*(value.name for value in graph.input), *self._constants)
        self._there: dict[tuple[str, int], str] = {(name, self._kinds[name]): name for name in there}
        self._nodes: list[onnx.NodeProto] = []
        self._halves: dict[str, onnx.TensorProto] = {}

    def written(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model again, in both types."""
        for node in model.graph.node:
            self._node(node)
        for value in model.graph.output:
            if self._kinds[value.name] == FLOAT:
                self._as(value.name, FLOAT)
        made = onnx.ModelProto()
        made.CopyFrom(model)
        del made.graph.node[:], made.graph.initializer[:], made.graph.value_info[:]
        made.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        made.graph.initializer.extend(value for name, value in self._constants.items() if name in read)
        made.graph.initializer.extend(self._halves.values())
        onnx.checker.check_model(made, full_check=True)
        return made

    def _node(self, node: onnx.NodeProto) -> None:
        """Adds a node in the type that it computes in."""
        kind = FLOAT16 if node.op_type in HALF and node.output[0] not in self._wide else FLOAT
        schema = onnx.defs.get_schema(node.op_type, self._version, node.domain)
        data = schema.outputs[0].type_str
        formal = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(node.input))]
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        for i, (name, type_str) in enumerate(zip(node.input, formal, strict=True)):
            if self._kinds.get(name) == FLOAT:
                # a parameter of another type, such as the scales of Resize, is float32 by its definition
                copied.input[i] = self._as(name, kind if type_str == data else FLOAT)
        for i, name in enumerate(node.output):
            if self._kinds.get(name) == FLOAT and kind == FLOAT16:
                copied.output[i] = self._there[name, FLOAT16] = f"{name}/f16"
            else:
                self._there[name, self._kinds.get(name, FLOAT)] = name
        self._nodes.append(copied)

    def _as(self, name: str, kind: int) -> str:
        """The name of a float tensor in that type; a Cast where it is not there yet."""
        if kind == FLOAT16 and name in self._constants:
            return self._half(name)
        if (name, kind) not in self._there:
            source = self._there[name, FLOAT if kind == FLOAT16 else FLOAT16]
            made = f"{name}/f16" if kind == FLOAT16 else name
            self._nodes.append(helper.make_node("Cast", [source], [made], name=f"{made}/cast", to=kind))
            self._there[name, kind] = made
        return self._there[name, kind]

    def _half(self, name: str) -> str:
        """A constant in float16."""
        if name not in self._halves:
            value = numpy_helper.to_array(self._constants[name])
            if np.abs(value, where=np.isfinite(value), out=np.zeros_like(value)).max(initial=0) > LARGEST:
                raise EngineError(f"no float16: {name} holds {np.abs(value).max():.3g}, beyond {LARGEST:.0f}")
            self._halves[name] = numpy_helper.from_array(value.astype(np.float16), f"{name}/f16")
        return str(self._halves[name].name)


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.input, *graph.output, *graph.value_info]


def _last(graph: onnx.GraphProto) -> set[str]:
    """What is computed from the last convolution before each output on, that convolution included."""
    makers, wide = {name: node for node in graph.node for name in node.output}, set[str]()
    left = [value.name for value in graph.output]
    while left:
        name = left.pop()
        node = makers.get(name)
        if node is None or name in wide:
            continue
        wide |= set(node.output)
        if node.op_type not in CONVOLUTIONS:
            left += node.input
    return wide
