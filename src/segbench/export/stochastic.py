"""What in an ONNX file, of whoever made it, would make two runs differ: random nodes, masks fed in, masks frozen in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from segbench.zoo.reference import Array

DRAWS = frozenset(
    {"Bernoulli", "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Multinomial"}
)
# these hand on what they are given, in another shape, type or scale
HAND_ON = frozenset(
    {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Expand", "Slice", "Gather", "Split", "Concat", "Cast",
     "Identity", "Tile"}
)  # fmt: skip
SCALES = HAND_ON | {"Div", "Mul"}


@dataclass(frozen=True)
class Draw:
    """A node that draws random numbers, or would in training.

    Attributes:
        op: Its operator.
        live: Whether it draws where nothing is optimised away.
        said: In words.
    """

    op: str
    live: bool
    said: str


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches, loops and functions too."""
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: object) -> Iterator[onnx.NodeProto]:
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner.node)


def draws(model: onnx.ModelProto) -> list[Draw]:
    """The nodes that draw, in the order of the file."""
    constants = constants_of(model)
    found = []
    for node in nodes_of(model):
        if node.op_type in DRAWS:
            found.append(Draw(node.op_type, True, node.op_type))
        elif node.op_type == "Dropout":
            found.append(_dropout(node, constants))
    return found


def _dropout(node: onnx.NodeProto, constants: Mapping[str, Array]) -> Draw:
    """Since opset 12 ratio and training_mode are inputs; before, a ratio alone, of no effect in inference."""
    given = [*node.input, "", ""]
    ratio = 0.5 if not given[1] else _scalar(constants.get(given[1]))
    training = False if not given[2] else _scalar(constants.get(given[2]))
    mode = "as an input says" if training is None else "in training mode" if training else "in inference mode"
    live = bool(training is None or training) and ratio != 0
    return Draw("Dropout", live, f"Dropout {mode}, ratio {'given' if ratio is None else f'{ratio:g}'}")


def _scalar(value: Array | None) -> float | None:
    return None if value is None or value.size != 1 else float(value.reshape(-1)[0])


def constants_of(model: onnx.ModelProto) -> dict[str, Array]:
    """Initializers and what Constant nodes hold, by name."""
    found = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    for node in nodes_of(model):
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
                elif attribute.name in ("value_float", "value_int"):
                    found[node.output[0]] = np.array(onnx.helper.get_attribute_value(attribute))
    return found


def frozen(model: onnx.ModelProto) -> list[str]:
    """Multiplications by a constant of zeros and one other value: what a mask looks like that was drawn at export."""
    constants = constants_of(model)
    makers = {name: node for node in nodes_of(model) for name in node.output}
    found = []
    for node in nodes_of(model):
        if node.op_type == "Mul":
            masks = [mask for name in node.input if (mask := _constant(name, constants, makers)) is not None]
            found += [_said(mask) for mask in masks if len(masks) == 1 and _two_valued(mask)]
    return found


def _constant(name: str, constants: Mapping[str, Array], makers: Mapping[str, onnx.NodeProto]) -> Array | None:
    """A constant, through nodes that leave zeros zeros; what is multiplied by a scalar is that constant scaled."""
    while name not in constants:
        node = makers.get(name)
        if node is None or node.op_type not in SCALES:
            return None
        large = [each for each in node.input if each not in constants or constants[each].size > 1]
        name = large[0] if node.op_type in ("Div", "Mul") and large else node.input[0]
    return constants[name]


def _two_valued(mask: Array) -> bool:
    return (
        mask.size > 1 and mask.dtype.kind in "fiub" and not mask.all() and len(np.unique(mask)) == 2 and mask.max() > 0
    )


def _said(mask: Array) -> str:
    return f"{np.count_nonzero(mask == 0)} of {mask.size} factors are 0 for ever, the others {mask.max():g}"


def mask_inputs(model: onnx.ModelProto) -> set[str]:
    """Inputs that are multiplied in as they are, but for shape and type: what a fed mask looks like."""
    found = set()
    for value in model.graph.input:
        reached = {value.name}
        for node in model.graph.node:
            if reached & set(node.input):
                if node.op_type == "Mul":
                    found.add(value.name)
                elif node.op_type in HAND_ON:
                    reached |= set(node.output)
    return found
