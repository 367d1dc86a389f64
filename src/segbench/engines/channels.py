"""Which channels of each tensor one sample needs: what it drops need not be computed.

A masked graph multiplies by its masks. Once these are known, a dropped channel is known to be zero, and so is whatever
is made of it element by element. Going backwards from the logits, a convolution asks only for the input channels that
are not zero, and everything else for what it is asked. What nobody asks for is never computed; nothing is approximated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from segbench.errors import EngineError

Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

# element by element, or along space only, and zero where the input is zero
_STILL_ZERO = frozenset(
    {
        *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Tanh", "Identity", "Cast", "Neg", "Abs"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Pad", "Slice"),
    }
)
_POINTWISE = frozenset({"Sigmoid", "Softplus", "HardSigmoid", "Exp", "Clip", "BatchNormalization"})
_TWO = frozenset({"Add", "Sub", "Mul"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def attribute(node: onnx.NodeProto, name: str) -> object:
    """An attribute's value, None where the node has none."""
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


class UnthinnableError(EngineError):
    """A node after the first dropout mixes channels in a way that needs the dropped ones."""


def check(node: onnx.NodeProto, constants: Mapping[str, Array]) -> None:
    """Refuses a node that dropped channels cannot be left out of.

    Raises:
        UnthinnableError: It mixes channels, or is not known.
    """
    kind, why = node.op_type, ""
    if kind in _CONVOLUTIONS:
        if node.input[1] not in constants:
            why = "a convolution whose weights are computed"
        elif attribute(node, "group") not in (None, 1) and not each_by_itself(node, constants):
            why = "a grouped convolution"
    elif kind == "Pad":
        constant = attribute(node, "mode") in (None, b"constant")
        fills = len(node.input) > 2 and node.input[2] and np.any(constants.get(node.input[2], np.ones(1)) != 0)
        why = "a border of another value than zero" if fills and constant else ""
        if _touches_channels(node, constants, 1, pads=True):
            why = "padding of channels"
    elif kind == "Slice":
        why = "a slice of channels" if _touches_channels(node, constants, 3) else ""
    elif kind == "Resize":
        why = "a resize to given sizes" if len(node.input) > 3 and node.input[3] else ""
    elif kind == "Concat":
        why = "" if attribute(node, "axis") == 1 else "a concatenation along another axis than channels"
    elif kind not in _STILL_ZERO | _POINTWISE | _TWO:
        why = f"{kind}, which may mix channels"
    if why:
        raise UnthinnableError(
            f"it cannot be thinned: after its first dropout comes {why} ({node.name or node.output[0]})"
        )


def each_by_itself(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    """Whether a node is a convolution of each channel by itself, the first half of a separable one."""
    if node.op_type not in _CONVOLUTIONS or attribute(node, "group") in (None, 1):
        return False
    count, each = constants[node.input[1]].shape[:2]
    return bool(each == 1 and attribute(node, "group") == count)


def _touches_channels(node: onnx.NodeProto, constants: Mapping[str, Array], at: int, pads: bool = False) -> bool:
    if len(node.input) <= at or node.input[at] not in constants:
        return True
    values = np.asarray(constants[node.input[at]])
    if not pads:
        return any(int(axis) in (0, 1) or int(axis) <= -4 for axis in values)
    half = len(values) // 2
    return bool(values[:2].any() or values[half : half + 2].any())


def _channelwise(value: Array, channels: int) -> Array:
    """A constant factor or summand as one number per channel; of space it must not depend."""
    if value.size == 1:
        return np.full(channels, value.reshape(-1)[0])
    if value.ndim < 2 or value.shape[-4 if value.ndim > 4 else 1] != value.size or value.size != channels:
        raise UnthinnableError(f"it cannot be thinned: a constant of shape {value.shape} meets {channels} channels")
    return value.reshape(-1)


class Channels:
    """The channels of every tensor that one sample computes.

    Args:
        nodes: Of the part that depends on the masks, in order.
        constants: Weights, and the masks of this sample with whatever is made of them alone.
        shared: Channels of the tensors that the sample reads from the shared part.
        outputs: What is wanted whole.

    Raises:
        UnthinnableError: A node needs channels that are dropped.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, Array],
        shared: Mapping[str, int],
        outputs: Sequence[str],
    ) -> None:
        self._constants = constants
        self._zero: dict[str, Bools] = {name: np.zeros(count, dtype=bool) for name, count in shared.items()}
        for node in nodes:
            check(node, constants)
            self._zero[node.output[0]] = self._forward(node)
        self._needed: dict[str, Bools] = {name: np.zeros(len(zero), dtype=bool) for name, zero in self._zero.items()}
        for name in outputs:
            self._needed[name][:] = True
        for node in reversed(nodes):
            self._backward(node)

    def of(self, name: str) -> npt.NDArray[np.int64]:
        """Numbers of the channels of a tensor that are computed."""
        return np.flatnonzero(self._needed[name]).astype(np.int64)

    def count(self, name: str) -> int:
        """How many channels the tensor has in the masked graph."""
        return len(self._zero[name])

    def operands(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that are features, not constants."""
        if node.op_type in _TWO | {"Concat"}:
            return [name for name in node.input if name not in self._constants]
        return [node.input[0]]

    def constant(self, node: onnx.NodeProto) -> Array | None:
        """The constant operand of a sum or product, a number per channel; None where both are features."""
        found = [name for name in node.input if name in self._constants]
        if node.op_type not in _TWO or not found:
            return None
        return _channelwise(self._constants[found[0]], len(self._zero[self.operands(node)[0]]))

    def _forward(self, node: onnx.NodeProto) -> Bools:
        kind = node.op_type
        zeros = [self._zero[name] for name in self.operands(node)]
        if each_by_itself(node, self._constants):
            moved = self._constants[node.input[2]] != 0 if len(node.input) > 2 else np.zeros_like(zeros[0])
            return np.asarray(zeros[0] & ~moved)
        if kind in _CONVOLUTIONS:
            return np.zeros(self._constants[node.input[1]].shape[0 if kind == "Conv" else 1], dtype=bool)
        if kind == "Concat":
            return np.concatenate(zeros)
        if kind in _POINTWISE:
            return np.zeros_like(zeros[0])
        if kind not in _TWO:
            return zeros[0].copy()
        constant = self.constant(node)
        if constant is not None:
            zeros.append(np.asarray(constant == 0))
        if len(zeros[0]) != len(zeros[1]):
            raise UnthinnableError(f"it cannot be thinned: {kind} of {len(zeros[0])} and {len(zeros[1])} channels")
        return zeros[0] | zeros[1] if kind == "Mul" else zeros[0] & zeros[1]

    def _backward(self, node: onnx.NodeProto) -> None:
        wanted = self._needed[node.output[0]]
        operands = self.operands(node)
        if node.op_type in _CONVOLUTIONS and not each_by_itself(node, self._constants):
            self._needed[operands[0]] |= ~self._zero[operands[0]]
            return
        if node.op_type == "Concat":
            ends = np.cumsum([self.count(name) for name in operands])[:-1]
            for name, part in zip(operands, np.split(wanted, ends), strict=True):
                self._needed[name] |= part
            return
        for name in operands:
            self._needed[name] |= wanted


def constants_of(graph: onnx.GraphProto) -> dict[str, Array]:
    """The initialisers and Constant nodes of a graph as arrays."""
    found: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if isinstance(value, onnx.TensorProto):
                found[node.output[0]] = numpy_helper.to_array(value)
    return found
