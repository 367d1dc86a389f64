"""Self-contained graphs: from (seed, sample) to masks and logits, or to what the samples say together.

    seed, samples ─ drawing ─ masks ─┐
                              image ─┴─ masked graph ─ logits ─ aggregation ─ mean, entropy, mutual information

For whoever cannot bring masks: the graph makes just those of `segbench.masks`, on every runtime. Its seed is from 0 to
2³¹ - 1 and its samples are from 0 to 2039² - 1, as there; a sample outside has masks of NaN.
"""

from collections.abc import Sequence, Set

import numpy as np
import onnx
from onnx import TensorProto, helper

import segbench
from segbench.engines.thin import IMAGE, LOGITS, MASKS
from segbench.errors import EngineError
from segbench.export.drawing import draw
from segbench.export.nodes import Nodes
from segbench.masks import SAMPLES, SEEDS, Site
from segbench.metrics.uncertainty import TINY
from segbench.zoo.card import Card

SEED, SAMPLE = "seed", "samples"
MEAN, ENTROPY, MUTUAL = "mean", "entropy", "mutual_information"
ABOUT = (
    f"Monte-Carlo dropout that draws its own masks. seed: one number from 0 to {SEEDS - 1}; samples: numbers from 0 to "
    f"{SAMPLES - 1}. Sample t is the same network for every image. Outside these ranges its row of masks is NaN."
)


def seeded(masked: onnx.ModelProto, sites: Sequence[Site]) -> onnx.ModelProto:
    """The graph of kind "seeded": see `segbench.zoo.artifact.Part`.

    Args:
        masked: The masked graph, rounded or not; not changed.
        sites: Of its dropout.

    Raises:
        EngineError: The model has no dropout, so no samples.
    """
    if not sites:
        raise EngineError("a model without dropout has no samples to draw; it has a masked and a deterministic graph")
    add = Nodes("draw")
    draw(add, sites, SEED, SAMPLE, MASKS)
    made = onnx.ModelProto()
    made.CopyFrom(masked)
    graph = made.graph
    _give_way(graph, {SEED, SAMPLE, MEAN, ENTROPY, MUTUAL})
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*add.nodes, *nodes])
    graph.initializer.extend(add.constants)
    (masks,) = (value for value in masked.graph.input if value.name == MASKS)
    (image,) = (value for value in masked.graph.input if value.name == IMAGE)
    count = masks.type.tensor_type.shape.dim[0].dim_param or "samples"
    del graph.input[:]
    graph.input.extend(
        [
            image,
            helper.make_tensor_value_info(SEED, TensorProto.INT32, [1]),
            helper.make_tensor_value_info(SAMPLE, TensorProto.INT32, [count]),
        ]
    )
    graph.output.append(masks)
    return finished(made, ABOUT)


def _give_way(graph: onnx.GraphProto, names: Set[str]) -> None:
    """Renames tensors of the network that bear the name of an input or output to come."""
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [f"network/{name}" if name in names else name for name in tensors]
    for value in graph.initializer:
        value.name = f"network/{value.name}" if value.name in names else value.name


def aggregated(masked: onnx.ModelProto, card: Card) -> onnx.ModelProto:
    """The graph of kind "aggregated": what `segbench.metrics.uncertainty` computes of calibrated samples.

    Args:
        masked: The masked graph; not changed.
        card: Of its model: dropout, calibration and activation.

    Raises:
        EngineError: The model has no dropout.
    """
    made = seeded(masked, card.dropout)
    graph, add = made.graph, Nodes("say")
    (logits,) = (value for value in graph.output if value.name == LOGITS)
    (masks,) = (value for value in graph.output if value.name == MASKS)
    classes, *space = [dim.dim_value or dim.dim_param for dim in logits.type.tensor_type.shape.dim][1:]
    _aggregate(add, card)
    graph.node.extend(add.nodes)
    graph.initializer.extend(add.constants)
    del graph.output[:]
    for name, width in ((MEAN, classes), (ENTROPY, 1), (MUTUAL, 1)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width, *space]))
    graph.output.append(masks)
    return finished(made, f"{ABOUT} Mean probability, its entropy and the mutual information in nats.")


def _aggregate(add: Nodes, card: Card) -> None:
    def number(value: float) -> str:
        return add.constant(value, np.float32)

    def surprise(probability: str) -> str:
        """-p ln p, and 0 at p = 0."""
        return add("Mul", add("Neg", probability), add("Log", add("Max", probability, number(float(TINY)))))

    def entropy(probability: str, output: str | None = None) -> str:
        """[N, 1, Z, Y, X] of [N, K, Z, Y, X]."""
        each = surprise(probability)
        if card.activation == "softmax":
            return add("ReduceSum", each, add.constant([1], np.int64), keepdims=1, output=output)
        return add("Add", each, surprise(add("Sub", number(1), probability)), output=output)

    def mean(value: str, output: str | None = None) -> str:
        return add("ReduceMean", value, add.constant([0], np.int64), keepdims=1, output=output)

    logits = LOGITS
    if card.calibration is not None:
        logits = add("Mul", logits, number(card.calibration.scale))
        logits = add("Add", logits, number(card.calibration.shift))
    sigmoid = card.activation == "sigmoid"
    probability = add("Sigmoid", logits) if sigmoid else add("Softmax", logits, axis=1)
    if card.mean == "logits":
        whole = entropy(add("Softmax", mean(logits), axis=1, output=MEAN), ENTROPY)
    else:
        whole = entropy(mean(probability, MEAN), ENTROPY)
    disagreement = add("Sub", whole, mean(entropy(probability)))
    add("Min", add("Max", disagreement, number(0)), whole, output=MUTUAL)


def finished(model: onnx.ModelProto, about: str) -> onnx.ModelProto:
    """The model with its shapes inferred and its origin said; the same bytes each time."""
    model.producer_name, model.producer_version, model.doc_string = "segbench", segbench.__version__, about
    made: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return made
