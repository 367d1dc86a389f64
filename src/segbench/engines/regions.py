"""Which box of each tensor the wanted voxels need: a tile's halo is read whole, but not computed to the end.

    image     |------------------------------|      halo | core | halo
    encoder   |------------------------------|      all of it reaches the core by way of the coarse levels
    decoder        |--------------------|           a voxel or two less with every convolution
    logits            |--------------|              the core

Boxes are followed backwards from the wanted one through every node; then the graph is written again with just these
boxes, so that padding falls away where there are voxels to read. A node of unknown reach gets all of its input. Nothing
is approximated: each voxel is made of the same numbers as before.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor

import numpy as np
import onnx

from segbench.engines.channels import Array, attribute, constants_of
from segbench.errors import EngineError

Edges = tuple[int, ...]
Region = tuple[tuple[int, int], ...]
"""From where to where along each axis of space, in voxels of the whole tensor."""

_POINTWISE = frozenset(
    {
        *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Tanh", "Identity", "Cast", "Neg", "Abs", "Sigmoid", "Softplus"),
        *("HardSigmoid", "Exp", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Concat", "Gather"),
    }
)
WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool"})


def whole(edges: Sequence[int]) -> Region:
    """All of a tensor."""
    return tuple((0, edge) for edge in edges)


def union(regions: Sequence[Region]) -> Region:
    """The smallest box that holds them all."""
    return tuple((min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*regions, strict=True))


class Regions:
    """The boxes of a graph's tensors that `wanted` needs.

    Args:
        model: An ONNX graph of tensors [N, C, ...].
        inputs: Shapes of its inputs.
        wanted: A box of each output.

    Attributes:
        model: The graph, its inputs and all that follows from them sized.
        constants: Its constants by name.
        wanted: The box of each output.
    """

    def __init__(self, model: bytes, inputs: Mapping[str, Sequence[int]], wanted: Mapping[str, Region]) -> None:
        self.model = _sized(onnx.load_from_string(model), inputs)
        graph = self.model.graph
        self.constants = constants_of(graph)
        self._edges = _edges(graph)
        self.wanted = dict(wanted)
        self._needed: dict[str, Region] = {}
        for output in graph.output:
            self._ask(output.name, wanted[output.name])
        for node in reversed(graph.node):
            self._backward(node)

    def edges(self, name: str) -> Edges:
        """Voxels of a whole tensor along the axes of space."""
        return self._edges.get(name, ())

    def of(self, name: str) -> Region:
        """The box of a tensor that is needed."""
        return self._needed[name]

    def features(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that are tensors of voxels."""
        return [name for name in node.input if name and name not in self.constants]

    def opaque(self, node: onnx.NodeProto) -> bool:
        """Whether nothing is known of what a voxel of the output is made of."""
        edges = [self._edges.get(name) for name in (*self.features(node), *node.output)]
        if any(e is None for e in edges) or len(node.output) != 1:
            return True
        if node.op_type in _POINTWISE:
            flat = all(
                all(n == 1 for n in self.constants[name].shape[2:])
                for name in node.input
                if name in self.constants and node.op_type in ("Add", "Sub", "Mul")
            )
            along = attribute(node, "axis") == 1 or node.op_type not in ("Concat", "Gather")
            return not (along and flat and len(set(edges)) == 1)
        if node.op_type == "Pad":
            return not _plain_pad(node, self.constants)
        if node.op_type == "Slice":
            return starts_of(node, self.constants, edges[0] or ()) is None
        return node.op_type not in WINDOWS or not _plain(node, self.constants)

    def source(self, node: onnx.NodeProto) -> Region:
        """The box of its input that the needed box of a node's output is made of."""
        name, wanted = self.features(node)[0], self._needed[node.output[0]]
        if self.opaque(node):
            return whole(self.edges(name))
        if node.op_type in _POINTWISE:
            return wanted
        edges, reaches = self.edges(name), []
        starts = starts_of(node, self.constants, edges) if node.op_type == "Slice" else None
        for axis, (low, high) in enumerate(wanted):
            if starts is not None:
                reaches.append((low + starts[axis], high + starts[axis]))
                continue
            if node.op_type == "Pad":
                before = pads_of(node, self.constants)[0][axis]
                reaches.append((low - before, high - before))
                continue
            kernel, stride, dilation, before = window(node, self.constants, axis)
            if node.op_type == "ConvTranspose":
                reaches.append((ceil((low + before - kernel + 1) / stride), floor((high - 1 + before) / stride) + 1))
            else:
                reaches.append((low * stride - before, (high - 1) * stride - before + (kernel - 1) * dilation + 1))
        return tuple((max(a, 0), min(b, edge)) for (a, b), edge in zip(reaches, edges, strict=True))

    def _backward(self, node: onnx.NodeProto) -> None:
        if not any(name in self._needed for name in node.output):
            return
        if self.opaque(node):
            for name in node.output:
                self._needed[name] = whole(self.edges(name))
            for name in self.features(node):
                self._ask(name, whole(self.edges(name)))
            return
        for name in self.features(node):
            self._ask(name, self.source(node))

    def _ask(self, name: str, region: Region) -> None:
        self._needed[name] = union([self._needed.get(name, region), region])


def output_shapes(model: bytes, inputs: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's outputs.

    Raises:
        EngineError: They do not follow from those of its inputs.
    """
    graph = _sized(onnx.load_from_string(model), inputs).graph
    shapes = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in graph.output}
    for name in (name for name, shape in shapes.items() if 0 in shape):
        raise EngineError(f"the shape of {name!r} is not known before it is computed: use --no-thin")
    return shapes


def window(node: onnx.NodeProto, constants: Mapping[str, Array], axis: int) -> tuple[int, int, int, int]:
    """Kernel, stride, dilation and leading pad of a convolution or pooling along an axis of space."""
    weight = constants.get(node.input[1]) if len(node.input) > 1 else None
    kernel = _numbers(node, "kernel_shape") or list(weight.shape[2:] if weight is not None else ())
    stride, dilation, before = (
        found[axis] if (found := _numbers(node, name)) else default
        for name, default in (("strides", 1), ("dilations", 1), ("pads", 0))
    )
    return kernel[axis], stride, dilation, before


def _numbers(node: onnx.NodeProto, name: str) -> list[int]:
    """An attribute of several whole numbers, empty where the node has none."""
    return next((list(a.ints) for a in node.attribute if a.name == name), [])


def pads_of(node: onnx.NodeProto, constants: Mapping[str, Array]) -> tuple[list[int], list[int]]:
    """Leading and trailing pads of a Pad along the axes of space."""
    pads = [int(p) for p in constants[node.input[1]]]
    half = len(pads) // 2
    return pads[2:half], pads[half + 2 :]


def starts_of(node: onnx.NodeProto, constants: Mapping[str, Array], edges: Sequence[int]) -> list[int] | None:
    """Where a Slice begins along each axis of space; None where that is not known, or it steps or cuts channels."""
    if any(name not in constants for name in node.input[1:] if name) or len(node.input) < 4:
        return None
    starts, axes = (constants[node.input[at]] for at in (1, 3))
    steps = constants[node.input[4]] if len(node.input) > 4 and node.input[4] else np.ones(1)
    first = [0] * len(edges)
    for start, axis in zip(starts, axes, strict=True):
        at = int(axis) - 2 if axis >= 0 else int(axis) + len(edges)
        if not 0 <= at < len(edges) or (steps != 1).any():
            return None
        first[at] = min(max(int(start) + (edges[at] if start < 0 else 0), 0), edges[at])
    return first


def _plain_pad(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    if attribute(node, "mode") not in (None, b"constant", b"edge") or len(node.input) > 3:
        return False
    pads = constants.get(node.input[1]) if len(node.input) > 1 else None
    if pads is None or (pads < 0).any():
        return False
    half = len(pads) // 2
    return not pads[[0, 1, half, half + 1]].any() and int(pads.max()) <= 1


def _plain(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    if attribute(node, "auto_pad") not in (None, b"NOTSET") or attribute(node, "ceil_mode"):
        return False
    if node.op_type == "MaxPool":
        return not any(_numbers(node, "pads"))
    if node.op_type == "ConvTranspose" and (_numbers(node, "output_shape") or set(_numbers(node, "dilations")) - {1}):
        return False
    return node.input[1] in constants


def _sized(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, length in zip(dims, inputs[value.name], strict=True):
            dim.dim_value = length
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _edges(graph: onnx.GraphProto) -> dict[str, Edges]:
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 2 and all(d.dim_value for d in dims[2:]):
            found[value.name] = tuple(d.dim_value for d in dims[2:])
    return found
