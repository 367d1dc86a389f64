"""Rewrites of a masked graph before it is thinned, each exact: what the samples share is made visible.

A convolution of concat[sample's features, skip] is the sum of two convolutions, and the skip's is the same for all
samples. What is expanded to the number of samples is, for one sample, itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from segbench.engines.channels import Array


class Shapes:
    """Known dimensions of a graph's tensors: numbers, names of open ones, or None."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        values = (*graph.value_info, *graph.input, *graph.output)
        self._known = {
            value.name: [d.dim_value or d.dim_param or None for d in value.type.tensor_type.shape.dim]
            for value in values
        }
        self._known |= {i.name: list(i.dims) for i in graph.initializer}

    def of(self, name: str) -> list[int | str | None]:
        """Dimensions of a tensor, none where nothing is known."""
        return self._known.get(name, [])

    def width(self, name: str) -> int | None:
        """Channels of a tensor [N, C, ...]."""
        shape = self.of(name)
        return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None


def depends_on(nodes: Sequence[onnx.NodeProto], name: str) -> set[str]:
    """Every tensor that is made from the one of this name, itself included."""
    found = {name}
    for node in nodes:
        if found & set(node.input):
            found.update(node.output)
    return found


def without_expands(nodes: Sequence[onnx.NodeProto], shapes: Shapes, sampled: set[str]) -> list[onnx.NodeProto]:
    """Expands of one shared tensor to the number of samples become the tensor itself."""
    kept = []
    for node in nodes:
        before, after = shapes.of(node.input[0]) if node.input else [], shapes.of(node.output[0])
        only_samples = bool(before) and before[0] == 1 and before[1:] == after[1:] and None not in before
        if node.op_type == "Expand" and node.input[0] not in sampled and only_samples:
            kept.append(helper.make_node("Identity", [node.input[0]], list(node.output), name=node.name))
        else:
            kept.append(node)
    return kept


def live(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that `output` needs, in their order."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def split_joins(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], shapes: Shapes, sampled: set[str]
) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Convolutions of a concatenation of shared and sampled tensors, as sums; and the halved weights."""
    made = {name: node for node in nodes for name in node.output}
    weights: dict[str, Array] = {}
    kept: list[onnx.NodeProto] = []
    for node in nodes:
        joined = made.get(node.input[0]) if node.op_type == "Conv" else None
        pad = joined if joined is not None and joined.op_type == "Pad" else None
        if pad is not None:
            joined = made.get(pad.input[0])
        split = _split(joined, shapes, sampled) if joined is not None and node.input[1] in constants else None
        if split is None:
            kept.append(node)
            continue
        kept += _halves(node, pad, split, constants[node.input[1]], weights)
    return kept, weights


def _split(joined: onnx.NodeProto, shapes: Shapes, sampled: set[str]) -> list[tuple[str, list[str], list[int]]] | None:
    """("shared" or "sampled", its tensors, their channels in the concatenation); None: there is nothing to split."""
    axis = next((a.i for a in joined.attribute if a.name == "axis"), None)
    if joined.op_type != "Concat" or axis != 1:
        return None
    first = 0
    parts: dict[str, tuple[list[str], list[int]]] = {"shared": ([], []), "sampled": ([], [])}
    for name in joined.input:
        width = shapes.width(name)
        if width is None:
            return None
        names, channels = parts["sampled" if name in sampled else "shared"]
        names.append(name)
        channels.extend(range(first, first + width))
        first += width
    if not all(names for names, _ in parts.values()):
        return None
    return [(kind, names, channels) for kind, (names, channels) in parts.items()]


def _halves(
    node: onnx.NodeProto,
    pad: onnx.NodeProto | None,
    split: list[tuple[str, list[str], list[int]]],
    weight: Array,
    weights: dict[str, Array],
) -> Iterator[onnx.NodeProto]:
    out = node.output[0]
    for kind, names, channels in split:
        tensor = names[0]
        if len(names) > 1:
            tensor = f"{out}/{kind}/joined"
            yield helper.make_node("Concat", names, [tensor], axis=1, name=tensor)
        if pad is not None:
            padded = onnx.NodeProto()
            padded.CopyFrom(pad)
            padded.input[0], padded.output[0], padded.name = tensor, f"{out}/{kind}/pad", f"{out}/{kind}/pad"
            tensor = padded.output[0]
            yield padded
        weights[f"{out}/{kind}/weight"] = np.ascontiguousarray(weight[:, channels])
        half = onnx.NodeProto()
        half.CopyFrom(node)
        bias = list(node.input[2:]) if kind == "shared" else []  # added once
        del half.input[:]
        half.input.extend([tensor, f"{out}/{kind}/weight", *bias])
        half.output[0], half.name = f"{out}/{kind}", f"{out}/{kind}"
        yield half
    yield helper.make_node("Add", [f"{out}/sampled", f"{out}/shared"], [out], name=out)


def prepared(masked: onnx.ModelProto, masks: str, logits: str) -> onnx.ModelProto:
    """The graph with what the samples share made visible, and with shapes inferred.

    Args:
        masked: The masked graph.
        masks: Name of the input that tells samples apart.
        logits: Name of the output.
    """
    model = onnx.shape_inference.infer_shapes(masked)
    graph, shapes = model.graph, Shapes(model.graph)
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = without_expands(graph.node, shapes, depends_on(graph.node, masks))
    nodes = live(nodes, logits)
    nodes, weights = split_joins(nodes, constants, shapes, depends_on(nodes, masks))
    nodes = live(nodes, logits)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return onnx.shape_inference.infer_shapes(model)
