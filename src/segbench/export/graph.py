"""The ONNX graph of a stochastic network: inputs `image` and `masks`, output `logits`.

Dropout stays alive because it is data: the graph multiplies by its input. Nothing in it draws random numbers, and
nothing that a runtime could delete, freeze or redraw; `segbench.export.lint` refuses a graph that holds such a node.
"""

import logging
import warnings
from pathlib import Path

import onnx
import torch

from segbench.export.lint import check
from segbench.masks import ones
from segbench.nets.network import Network

OPSET = 18


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
    forget(model)
    onnx.save(model, path)
    check(path)


def forget(model: onnx.ModelProto) -> None:
    """Removes the exporter's notes: they hold paths of this machine, and would change the file's hash with them."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
