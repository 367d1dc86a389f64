"""The deterministic twin: the masked graph with all-ones masks folded in, so that its one input is the image.

Made by surgery, not by another export: whoever has the masked graph has the twin, without PyTorch, whatever else was
done to the graph. What depends on the masks alone is computed once; multiplications by one fall away.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segbench.engines.channels import Array, constants_of
from segbench.engines.joins import Shapes, depends_on, live, without_expands
from segbench.engines.thin import IMAGE, LOGITS, MASKS
from segbench.export.seeded import finished
from segbench.masks import Site, ones

ABOUT = "Deterministic twin: every channel kept. A stochastic model's twin has scores of its own."


def twin(masked: onnx.ModelProto, sites: Sequence[Site]) -> onnx.ModelProto:
    """The graph of kind "deterministic": see `segbench.zoo.artifact.Part`.

    Args:
        masked: The masked graph, rounded or not; not changed.
        sites: Of its dropout; there may be none.
    """
    made = onnx.shape_inference.infer_shapes(masked)
    graph, shapes = made.graph, Shapes(made.graph)
    folded = _folded(masked, sites)
    nodes = without_expands(graph.node, shapes, depends_on(graph.node, MASKS))
    nodes = _without_ones(live(nodes, LOGITS), constants_of(graph) | folded, shapes)
    nodes = live([node for node in nodes if not set(node.output) <= set(folded)], LOGITS)
    read = {name for node in nodes for name in node.input}
    weights = [value for value in graph.initializer if value.name in read]
    weights += [numpy_helper.from_array(value, name) for name, value in folded.items() if name in read]
    image = [value for value in graph.input if value.name == IMAGE]
    del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    graph.input.extend(image)
    for value in graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return finished(made, ABOUT)


def _folded(masked: onnx.ModelProto, sites: Sequence[Site]) -> dict[str, Array]:
    """What is made of the masks and of no image, for all-ones masks [1, channels]."""
    graph = masked.graph
    image, masks, constants = depends_on(graph.node, IMAGE), depends_on(graph.node, MASKS), constants_of(graph)
    wanted = [name for node in graph.node for name in node.output if name in masks - image]
    needed, nodes = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output) and node.output[0] not in constants:
            needed.update(node.input)
            nodes.insert(0, node)
    inputs = [value for value in graph.input if value.name == MASKS]
    if not wanted:
        return {MASKS: ones(sites)}
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    read = {name for node in nodes for name in node.input}
    known = [numpy_helper.from_array(constants[name], name) for name in sorted(read & set(constants))]
    part = helper.make_graph(nodes, "masks", inputs, outputs, known)
    model = helper.make_model(part, opset_imports=masked.opset_import, ir_version=masked.ir_version)
    found = ReferenceEvaluator(model).run(wanted, {MASKS: ones(sites)})
    return {MASKS: ones(sites), **dict(zip(wanted, found, strict=True))}


def _without_ones(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], shapes: Shapes
) -> list[onnx.NodeProto]:
    """The nodes without products that change neither values nor shape; their readers read the factor."""
    same: dict[str, str] = {}
    kept = []
    for node in nodes:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        del copied.input[:]
        copied.input.extend(same.get(name, name) for name in node.input)
        factor = _only_factor(copied, constants, shapes) if LOGITS not in node.output else None
        if factor is None:
            kept.append(copied)
        else:
            same[node.output[0]] = factor
    return kept


def _only_factor(node: onnx.NodeProto, constants: dict[str, Array], shapes: Shapes) -> str | None:
    """What a node passes on unchanged; None where it does something."""
    if node.op_type == "Identity":
        return node.input[0]
    if node.op_type != "Mul":
        return None
    for factor, value in (node.input, node.input[::-1]):
        one = constants.get(value)
        if one is None or not np.all(one == 1) or factor in constants:
            continue
        before = shapes.of(factor)
        widths = [1] * (len(before) - one.ndim) + list(one.shape)
        if len(widths) == len(before) and all(b in (1, a) for a, b in zip(before, widths, strict=True)):
            return factor
    return None
