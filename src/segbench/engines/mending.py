"""What OpenVINO gets wrong in a graph that is right, written in another way; no value changes.

Measured with 2026.4.1 on processors; `tests/test_targets.py` shows that both are still needed.
- Means along one axis after the other become one mean along all, summed number by number in float32: of a million
  voxels, many of them equal, three digits are left (group norm; errors of the logits of 4e-3). A change of sign between
  two of them keeps them apart.
- With open shapes, a convolution is merged with the sum that adds what ran once for all samples to each of T, on either
  side; then there is, without a word, no output at all, or a crash. Poolings of 1 x 1 x 1 between keep them apart.
"""

from collections.abc import Sequence

import onnx
from onnx import helper

from segbench.engines.joins import Shapes, depends_on
from segbench.engines.thin import IMAGE

_SUMS = frozenset({"Add", "Sub", "Mul"})
Nodes = list[onnx.NodeProto]


def mended(model: onnx.ModelProto, open_shapes: bool = True) -> onnx.ModelProto:
    """The model as OpenVINO computes it rightly.

    Args:
        model: Not changed.
        open_shapes: Whether it is to be compiled with sizes or samples left open.
    """
    made = onnx.ModelProto()
    made.CopyFrom(onnx.shape_inference.infer_shapes(model) if open_shapes else model)
    nodes = _means_apart([onnx.NodeProto.FromString(node.SerializeToString()) for node in made.graph.node])
    if open_shapes:
        nodes = _samples_apart(nodes, Shapes(made.graph))
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(nodes)
    return made


def _means_apart(nodes: Sequence[onnx.NodeProto]) -> Nodes:
    """Every second mean of a chain is minus the mean of minus its input."""
    depth: dict[str, int] = {}
    made: Nodes = []
    for node in nodes:
        if node.op_type != "ReduceMean":
            made.append(node)
            continue
        name = node.output[0]
        depth[name] = depth.get(node.input[0], -1) + 1
        if depth[name] % 2 == 0:
            made.append(node)
            continue
        made.append(helper.make_node("Neg", [node.input[0]], [f"{name}/minus"], name=f"{name}/minus"))
        node.input[0], node.output[0] = f"{name}/minus", f"{name}/mean"
        made += [node, helper.make_node("Neg", [f"{name}/mean"], [name], name=f"{name}/plus")]
    return made


def _samples_apart(nodes: Sequence[onnx.NodeProto], shapes: Shapes) -> Nodes:
    """A pooling of nothing behind both features of a sum that takes one of them for all samples."""
    features, made = depends_on(nodes, IMAGE), []
    for node in nodes:
        sizes = [shapes.of(name) for name in node.input]
        inputs = [i for i, name in enumerate(node.input) if name in features]
        summed = node.op_type in _SUMS and all(len(size) in (4, 5) for size in sizes)
        if summed and any(size[0] != 1 for size in sizes) and any(sizes[i][0] == 1 for i in inputs):
            for i in inputs:
                kept, edges = f"{node.output[0]}/apart/{i}", [1] * (len(sizes[i]) - 2)
                made.append(helper.make_node("MaxPool", [node.input[i]], [kept], name=kept, kernel_shape=edges))
                node.input[i] = kept
        made.append(node)
    return made
