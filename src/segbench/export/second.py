"""The ONNX graphs of a cascade's second stage: the doubt classifier, and the local network.

`CascadeCard` and `FilesCard` say what goes in and comes out. Nothing in them is random: dropout is off, batch norm is
in evaluation, and an exporter folds it or not.
"""

import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor

from segbench.export.graph import OPSET, forget
from segbench.nets.doubt import Doubt
from segbench.nets.local import Local

Axes = dict[int, object]
SOME = 3  # pixels or images of the example; neither 0 nor 1, which the exporter would take for fixed


def export_doubt(network: Doubt, path: Path) -> None:
    """Writes `features` [N, K + 1] to `logits` [N, 1], N open."""
    example = torch.zeros(SOME, len(network.mean))
    _export(network, {"features": example}, {"features": {0: torch.export.Dim("n")}}, path)


def export_local(network: Local, classes: int, path: Path) -> None:
    """Writes `patches`, `context` to `logits`, N open; or `image` to `logits`, Z, Y and X open."""
    dim = torch.export.Dim
    if network.kind == "patch":
        inputs = {
            "patches": torch.zeros(SOME, 1 + classes, network.edge, network.edge),
            "context": torch.zeros(SOME, classes),
        }
        n = dim("n")
        _export(network, inputs, {"patches": {0: n}, "context": {0: n}}, path)
        return
    axes: Axes = {0: dim("z"), 2: dim("y", min=8), 3: dim("x", min=8)}
    _export(network, {"image": torch.zeros(SOME, 1 + classes, 37, 43)}, {"image": axes}, path)


def _export(network: torch.nn.Module, inputs: dict[str, Tensor], axes: dict[str, Axes], path: Path) -> None:
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's own exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes=axes,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(path)
    forget(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
