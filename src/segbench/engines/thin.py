"""Thin sampling: one shared graph for all samples, and for each sample a graph of the channels that it keeps.

    image ─ shared ─┬─ skip terms ────────────┐         run once a tile, full width
                    └─ last features ─┐       │
                         sample 0:  thin decoder ─ logits 0
                         sample 1:  thin decoder ─ logits 1        weights sliced once a volume
                         ...

The masked graph stays what a model is; this splits it where the masks first enter and cuts dropped channels out of the
weights, for any network whose later part is convolutions and what works channel by channel (`channels`). Thin and
masked differ by rounding alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segbench.engines.channels import Array, Channels, UnthinnableError, constants_of, each_by_itself
from segbench.engines.joins import Shapes, depends_on, prepared
from segbench.volume import Float32

IMAGE, MASKS, LOGITS = "image", "masks", "logits"


@dataclass(frozen=True)
class ThinGraphs:
    """What an engine runs.

    Attributes:
        shared: Image to the tensors `links`, serialised ONNX.
        links: Names of the tensors between, in the order of the shared graph's outputs.
        samples: Serialised ONNX graphs from `links` to logits; each computes the samples numbered in `numbers`.
        numbers: Which samples each graph computes, in the order of its outputs.
    """

    shared: bytes
    links: tuple[str, ...]
    samples: tuple[bytes, ...]
    numbers: tuple[tuple[int, ...], ...]


class Thinner:
    """A masked graph, taken apart once; `graphs` puts it together for given masks.

    Raises:
        UnthinnableError: The graph has no masks that matter.
    """

    def __init__(self, path: Path) -> None:
        self._model = prepared(onnx.load(path), MASKS, LOGITS)
        graph, self._shapes = self._model.graph, Shapes(self._model.graph)
        self._constants, self._rank = constants_of(graph), len(self._shapes.of(IMAGE))
        image, masks = depends_on(graph.node, IMAGE), depends_on(graph.node, MASKS)
        parts: dict[str, list[onnx.NodeProto]] = {"shared": [], "masks": [], "samples": []}
        for node in graph.node:
            seen = node.output[0] in image, node.output[0] in masks
            parts["samples" if all(seen) else "masks" if seen[1] else "shared"].append(node)
        if not parts["samples"]:
            raise UnthinnableError("it cannot be thinned: it has no dropout")
        self._shared, self._masks, self._samples = parts["shared"], parts["masks"], parts["samples"]
        read = [name for node in self._samples for name in node.input]
        made = {name for node in self._shared for name in node.output} | {IMAGE}
        self._links = tuple(dict.fromkeys(n for n in read if n in made and n not in self._constants))
        self._factors = tuple(dict.fromkeys(n for n in read if n in {o for m in self._masks for o in m.output}))
        self._widths = {name: self._width(name) for name in self._links}

    def graphs(self, masks: Float32, workers: int) -> ThinGraphs:
        """Graphs for `masks` [T, channels], their samples dealt out to at most `workers` graphs."""
        count = min(workers, len(masks))
        numbers = tuple(tuple(range(first, len(masks), count)) for first in range(count))
        samples = tuple(self._graph([(t, masks[t : t + 1]) for t in mine]) for mine in numbers)
        return ThinGraphs(self._shared_graph(), self._links, samples, numbers)

    def channels(self, mask: Float32) -> Channels:
        """What the sample of one mask row [1, channels] computes."""
        return Channels(self._samples, self._constants | self._known(mask), self._widths, [LOGITS])

    def _known(self, mask: Float32) -> dict[str, Array]:
        """Whatever the masked graph makes of one mask row alone."""
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self._factors]
        inputs = [helper.make_tensor_value_info(MASKS, TensorProto.FLOAT, [1, mask.shape[1]])]
        model = self._finished(self._masks, inputs, outputs, self._constants)
        return dict(zip(self._factors, ReferenceEvaluator(model).run(None, {MASKS: mask}), strict=True))

    def _shared_graph(self) -> bytes:
        outputs = [self._open(name) for name in self._links]
        inputs = [value for value in self._model.graph.input if value.name == IMAGE]
        return _bytes(self._finished(self._shared, inputs, outputs, self._constants))

    def _graph(self, rows: Sequence[tuple[int, Float32]]) -> bytes:
        nodes: list[onnx.NodeProto] = []
        weights: dict[str, Array] = {}
        outputs = []
        for number, mask in rows:
            known = self._constants | self._known(mask)
            branch = _Branch(
                Channels(self._samples, known, self._widths, [LOGITS]), known, f"/{number}", self._rank - 2
            )
            for node in self._samples:
                branch.add(node)
            nodes += branch.nodes
            weights |= branch.weights
            outputs.append(helper.make_tensor_value_info(f"{LOGITS}/{number}", TensorProto.FLOAT, [None] * self._rank))
        return _bytes(self._finished(nodes, [self._open(n) for n in self._links], outputs, weights))

    def _open(self, name: str) -> onnx.ValueInfoProto:
        """A tensor of known channels and open edges."""
        edges = [None] * (self._rank - 2)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, self._widths[name], *edges])

    def _width(self, name: str) -> int:
        width = self._shapes.width(name)
        if width is None or len(self._shapes.of(name)) != self._rank:
            raise UnthinnableError(f"it cannot be thinned: the channels of {name} are not known")
        return width

    def _finished(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        constants: dict[str, Array],
    ) -> onnx.ModelProto:
        """A model of these nodes and of the constants among `constants` that they read."""
        read = {name for node in nodes for name in node.input}
        made = {name for node in nodes for name in node.output}
        kept = [numpy_helper.from_array(v, name) for name, v in constants.items() if name in read and name not in made]
        graph = helper.make_graph(list(nodes), "thin", list(inputs), list(outputs), kept)
        return helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version, producer_name="segbench"
        )


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString())


class _Branch:
    """One sample's nodes, with weights and constants cut to its channels."""

    def __init__(self, channels: Channels, constants: dict[str, Array], suffix: str, edges: int) -> None:
        self._edges = edges  # axes of space
        self._channels, self._constants, self._suffix = channels, constants, suffix
        self._made: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def add(self, node: onnx.NodeProto) -> None:
        """Adds the thin version of a node of the masked graph."""
        keep = self._channels.of(node.output[0])
        if not len(keep):
            return  # nobody asks for any of it
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        del copied.input[:], copied.output[:]
        copied.input.extend(self._inputs(node, keep))
        if each_by_itself(node, self._constants):
            next(a for a in copied.attribute if a.name == "group").i = len(keep)
        copied.output.append(node.output[0] + self._suffix)
        copied.name = (node.name or node.output[0]) + self._suffix
        self._made.add(node.output[0])
        self.nodes.append(copied)

    def _inputs(self, node: onnx.NodeProto, keep: Array) -> list[str]:
        kind, features = node.op_type, self._channels.operands(node)
        if kind in ("Conv", "ConvTranspose"):
            alone = each_by_itself(node, self._constants)
            taken = keep if alone else self._channels.of(features[0])
            weight = self._constants[node.input[1]]
            pair = np.ix_(keep, taken) if kind == "Conv" else np.ix_(taken, keep)
            cut = weight[keep] if alone else weight[pair]
            bias = [self._weight(node.input[2], self._constants[node.input[2]][keep])] if len(node.input) > 2 else []
            return [self._feature(features[0], taken), self._weight(node.input[1], cut), *bias]
        if kind == "Concat":
            ends = np.cumsum([0, *(self._channels.count(name) for name in features)])
            parts = [keep[(keep >= a) & (keep < b)] - a for a, b in zip(ends, ends[1:], strict=False)]
            return [self._feature(name, part) for name, part in zip(features, parts, strict=True) if len(part)]
        if kind == "BatchNormalization":
            vectors = [self._weight(name, self._constants[name][keep]) for name in node.input[1:]]
            return [self._feature(features[0], keep), *vectors]
        factor = self._channels.constant(node)
        names = []
        for name in node.input:
            if name in features:
                names.append(self._feature(name, keep))
            elif factor is not None:
                shape = (1, -1, *[1] * self._edges)
                names.append(self._weight(f"{name}/{node.output[0]}", factor[keep].reshape(shape).astype(np.float32)))
            else:  # pads, axes, scales: the same for all channels
                names.append(self._weight(name, self._constants[name]) if name else "")
        return names

    def _weight(self, name: str, value: Array) -> str:
        self.weights[name + self._suffix] = np.ascontiguousarray(value)
        return name + self._suffix

    def _feature(self, name: str, wanted: Array) -> str:
        """A tensor's name with just the wanted channels, gathered where more of them are there."""
        there = self._channels.of(name) if name in self._made else np.arange(self._channels.count(name))
        full = name + self._suffix if name in self._made else name
        if np.array_equal(there, wanted):
            return full
        picked = f"{name}{self._suffix}/{len(self.nodes)}"
        index = self._weight(f"{name}/{len(self.nodes)}/index", np.searchsorted(there, wanted).astype(np.int64))
        self.nodes.append(helper.make_node("Gather", [full, index], [picked], axis=1, name=picked))
        return picked
