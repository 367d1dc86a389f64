"""A graph in 8-bit integers: what is rounded where, in any graph that an engine is about to load.

    features ─ Relu ─ Q ─ DQ ─ Pad ─┐
               int8 weights ── DQ ──┴─ Conv ─ float32 from here on

Q and DQ are QuantizeLinear and DequantizeLinear. What a convolution reads becomes uint8, with one scale and zero point
from the range that was measured once for that tensor of the masked graph; weights become int8, with a scale for each
output channel. A runtime that knows this form computes the convolution in integers. Sums, residuals and biases stay
float32, so nothing is rounded twice. Masked, shared and thin graphs are rounded at the same tensors and ranges.
"""

import re
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from segbench.engines.channels import Array, constants_of
from segbench.engines.thin import IMAGE, LOGITS
from segbench.errors import EngineError
from segbench.recipe import Strict, read_json
from segbench.zoo import Model

Range = tuple[float, float]

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
# these move or choose values and leave them as they are: rounding first gives the same, on a quarter of the bytes
_MOVES = frozenset({"Pad", "MaxPool", "Gather", "Slice"})
UINT8, INT8 = 255, 127


class Ranges(Strict):
    """The file `ranges.json` of a model.

    Attributes:
        on: In words, what they were measured on; never what is reported.
        tensors: From where to where each is rounded, by its name in the masked graph; what lies outside is clipped.
    """

    on: str
    tensors: dict[str, Range]


def ranges_of(model: Model) -> dict[str, Range]:
    """The activation ranges of a model.

    Raises:
        EngineError: It has none.
    """
    if model.ranges is None:
        raise EngineError(
            f"model {model.card.name!r} has no activation ranges, so no int8; make them with "
            f"`segbench zoo ranges {model.path}`"
        )
    return read_json(model.ranges, Ranges).tensors


def rounded(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """What int8 rounds: for the output of each such convolution the tensors from its input back to the rounded one.

    The first convolution, of the image, and the last, which makes the logits, cost little and stay float32.
    """
    makers, constants, found = _makers(graph), constants_of(graph), {}
    for node in graph.node:
        if node.op_type not in _CONVOLUTIONS or node.input[1] not in constants or base(node.output[0]) == LOGITS:
            continue
        way = [node.input[0]]
        while way[-1] in makers and _moves(makers[way[-1]], constants):
            way.append(makers[way[-1]].input[0])
        if way[-1] != IMAGE:
            found[node.output[0]] = way
    return found


def measured(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Whose ranges the rounded tensors need: their own, or of a concatenation those of its parts.

    Thinning takes concatenations apart; so the parts are the same tensors in a masked graph and in a thin one.
    """
    makers, constants, found = _makers(graph), constants_of(graph), {}
    for root in {way[-1]: None for way in rounded(graph).values()}:
        left, parts = [root], []
        while left:
            node = makers.get(name := left.pop())
            if node is not None and node.op_type == "Concat":
                left += node.input
            elif node is not None and _moves(node, constants):
                left.append(node.input[0])
            else:
                parts.append(name)
        found[root] = parts
    return found


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def _moves(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    fill = node.input[2] if node.op_type == "Pad" and len(node.input) > 2 else ""
    return node.op_type in _MOVES and not (fill and np.any(constants.get(fill, np.ones(1))))


def base(name: str) -> str:
    """A tensor's name in the masked graph: thin graphs append the sample's number, and those of what they pick."""
    return re.sub(r"(/\d+)+$", "", name)


def quantised(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """The model with its convolutions rounded to 8 bits.

    Args:
        model: A masked, shared or thin graph in float32; not changed.
        ranges: Of the tensors of the masked graph.

    Raises:
        EngineError: A convolution's input has no range: they are those of another graph.
    """
    ways, parts = rounded(model.graph), measured(model.graph)
    missing = sorted({base(part) for each in parts.values() for part in each} - set(ranges))
    if missing:
        raise EngineError(f"no activation range of {missing[0]}: the ranges were measured on another graph")
    known = {root: [ranges[base(part)] for part in each] for root, each in parts.items()}
    spans = {root: (min(low for low, _ in each), max(high for _, high in each)) for root, each in known.items()}
    writer = _Writer(constants_of(model.graph), spans)
    readers = set(ways) | {name for way in ways.values() for name in way[:-1]}
    for value in model.graph.input:
        writer.round(value.name)
    for node in model.graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        if node.output[0] in readers and node.input[0] in spans:
            copied.input[0] = node.input[0] + "/real"
        if node.output[0] in ways:
            copied.input[1] = writer.weight(node.input[1], 0 if node.op_type == "Conv" else 1)
        writer.nodes.append(copied)
        for name in node.output:
            writer.round(name)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.initializer[:]
    made.graph.node.extend(writer.nodes)
    read = {name for node in writer.nodes for name in node.input}
    made.graph.initializer.extend(value for value in model.graph.initializer if value.name in read)
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in writer.constants.items())
    return made


class _Writer:
    """The nodes of a rounded graph and the constants that they bring."""

    def __init__(self, weights: Mapping[str, Array], ranges: Mapping[str, Range]) -> None:
        self._weights, self._ranges = weights, ranges
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def round(self, name: str) -> None:
        """Adds Q and DQ after a tensor, if it is one that is rounded."""
        if name not in self._ranges:
            return
        low, high = (min(self._ranges[name][0], 0.0), max(self._ranges[name][1], 0.0))  # 0 is exact: borders, masks
        scale = np.float32((high - low) / UINT8 or 1.0)
        constants = self._constant(name, scale, np.uint8(np.rint(-low / scale)))
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, *constants], [f"{name}/uint8"], name=f"{name}/q"),
            helper.make_node("DequantizeLinear", [f"{name}/uint8", *constants], [f"{name}/real"], name=f"{name}/dq"),
        ]

    def weight(self, name: str, axis: int) -> str:
        """The name of a rounded weight; `axis` is that of its output channels."""
        if f"{name}/int8" not in self.constants:
            value = self._weights[name].astype(np.float64)
            others = tuple(i for i in range(value.ndim) if i != axis)
            scale = np.abs(value).max(axis=others, keepdims=True) / INT8
            scale[scale == 0] = 1.0
            self.constants[f"{name}/int8"] = np.rint(value / scale).astype(np.int8)
            constants = self._constant(name, scale.reshape(-1).astype(np.float32), np.zeros(scale.size, np.int8))
            inputs = [f"{name}/int8", *constants]
            self.nodes.append(
                helper.make_node("DequantizeLinear", inputs, [f"{name}/real"], axis=axis, name=f"{name}/dq")
            )
        return f"{name}/real"

    def _constant(self, name: str, scale: Array | np.float32, zero: Array | np.uint8) -> list[str]:
        self.constants |= {f"{name}/scale": np.asarray(scale), f"{name}/zero": np.asarray(zero)}
        return [f"{name}/scale", f"{name}/zero"]
