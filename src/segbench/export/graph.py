"""The ONNX graph of a stochastic network: inputs `image` and `masks`, output `logits`.

Dropout stays alive because it is data: the graph multiplies by its input. Nothing in it draws random numbers, and
nothing that a runtime could delete, freeze or redraw; `check` refuses a graph that holds such a node.
"""

import logging
import warnings
from pathlib import Path

import onnx
import torch

from segbench.errors import EngineError
from segbench.masks import ones
from segbench.nets.network import Network

OPSET = 18
RANDOM = frozenset(
    {
        "Dropout",
        "Bernoulli",
        "RandomUniform",
        "RandomUniformLike",
        "RandomNormal",
        "RandomNormalLike",
        "Multinomial",
    }
)


def export(network: Network, path: Path) -> None:
    """Writes the folded network as one ONNX file with open sizes: T samples, edges in multiples of the strides."""
    folded = network.eval().folded()
    edges = [4 * stride for stride in network.stride]
    masks = torch.from_numpy(ones(network.sites)).repeat(2, 1)
    dim = torch.export.Dim
    spatial = {axis: stride * dim(name) for axis, stride, name in zip((2, 3, 4), network.stride, "zyx", strict=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's own exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            folded,
            (torch.zeros(1, 1, *edges), masks),
            dynamo=True,
            verbose=False,
            input_names=["image", "masks"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes={"image": spatial, "masks": {0: dim("samples")}},
        )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(path)
    _forget(model)
    onnx.save(model, path)
    check(path)


def _forget(model: onnx.ModelProto) -> None:
    """Removes the exporter's notes: they hold paths of this machine, and would change the file's hash with them."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def check(path: Path) -> None:
    """Checks a graph with the ONNX checker and for nodes that draw random numbers.

    Raises:
        EngineError: The graph is not valid, or its dropout would not be data.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker raises what it likes
        raise EngineError(f"{path}: not a valid ONNX graph ({str(error).splitlines()[0]})") from error
    found = sorted(RANDOM & {node.op_type for node in _nodes(model.graph)})
    found += sorted(RANDOM & {node.op_type for function in model.functions for node in function.node})
    if found:
        raise EngineError(f"{path}: holds {', '.join(found)}: its dropout would be redrawn, frozen or deleted")
    inputs = [value.name for value in model.graph.input]
    if inputs != ["image", "masks"]:
        raise EngineError(f"{path}: its inputs are {inputs}, not ['image', 'masks']")


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All nodes of a graph, those of its branches and loops too."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                nodes += _nodes(inner)
    return nodes
