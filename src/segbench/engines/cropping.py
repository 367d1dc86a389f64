"""A graph written again with just the boxes of its tensors that are needed (`regions`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from segbench.engines.channels import Array
from segbench.engines.regions import WINDOWS, Region, Regions, output_shapes, pads_of, union, whole, window
from segbench.engines.thin import IMAGE, LOGITS, ThinGraphs

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """A graph to be loaded: serialised ONNX, the shapes of its inputs, the names of its outputs."""

    graph: bytes
    inputs: Mapping[str, Shape]
    outputs: Sequence[str]


def cut(graphs: ThinGraphs, shape: Shape, box: Region) -> tuple[Piece, list[Piece]]:
    """The shared graph and those of the samples, for images of one shape, of which `box` alone is wanted."""
    names = [[f"{LOGITS}/{number}" for number in numbers] for numbers in graphs.numbers]
    links = output_shapes(graphs.shared, {IMAGE: shape})
    thin = [
        Regions(graph, links, dict.fromkeys(outputs, box)) for graph, outputs in zip(graphs.samples, names, strict=True)
    ]
    there = {name: union([sample.of(name) for sample in thin]) for name in links}
    there |= {IMAGE: whole(shape[2:])} if IMAGE in links else {}
    edges = {name: (*links[name][:2], *(high - low for low, high in box)) for name, box in there.items()}
    shared = cropped(Regions(graphs.shared, {IMAGE: shape}, there), {IMAGE: whole(shape[2:])})
    return Piece(shared, {IMAGE: shape}, graphs.links), [
        Piece(cropped(sample, there), edges, outputs) for sample, outputs in zip(thin, names, strict=True)
    ]


def cropped(regions: Regions, given: Mapping[str, Region]) -> bytes:
    """The graph with the boxes that `regions` found.

    Args:
        regions: Of the graph.
        given: The box of each input that it will get; it holds what is needed of it.
    """
    writer = _Writer(regions, given)
    for node in regions.model.graph.node:
        writer.add(node)
    made = onnx.ModelProto()
    made.CopyFrom(regions.model)
    graph = made.graph
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim[2:]:
            dim.Clear()
    graph.node.extend(writer.nodes())
    read = {name for node in graph.node for name in node.input}
    there = {name for node in graph.node for name in node.output}
    constants = regions.constants | writer.constants
    kept = {name: value for name, value in constants.items() if name in read and name not in there}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in kept.items())
    return bytes(made.SerializeToString())


class _Writer:
    """The nodes of a cropped graph."""

    def __init__(self, regions: Regions, given: Mapping[str, Region]) -> None:
        self._regions = regions
        self._there: dict[str, tuple[str, Region]] = {name: (name, box) for name, box in given.items()}
        self._nodes: list[onnx.NodeProto] = []
        self._sliced: dict[tuple[str, Region], str] = {}
        self.constants: dict[str, Array] = {}

    def nodes(self) -> list[onnx.NodeProto]:
        """All of them; outputs that became another tensor get their names back."""
        for name, box in self._regions.wanted.items():
            there = self._at(name, box)
            if there != name:
                self._nodes.append(helper.make_node("Identity", [there], [name], name=f"{name}/whole"))
        return self._nodes

    def add(self, node: onnx.NodeProto) -> None:
        """Adds what a node becomes."""
        regions = self._regions
        if not regions.features(node):  # made of constants alone
            self._nodes.append(node)
            return
        box = regions.of(node.output[0])
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        source = regions.source(node)
        for at, name in enumerate(node.input):
            if name in self._there:
                region = whole(regions.edges(name)) if regions.opaque(node) else source
                copied.input[at] = self._at(name, region)
        if not regions.opaque(node):
            if node.op_type == "Slice":  # what is left of it is which box of its input is read
                self._there[node.output[0]] = (copied.input[0], box)
                return
            if node.op_type == "Pad":
                self._pad(node, copied, box)
                return
            if node.op_type in WINDOWS:
                self._window(node, copied, box, source)
        for at, name in enumerate(node.output):
            copied.output[at] = self._made(name)
        self._nodes.append(copied)

    def _made(self, name: str) -> str:
        """The name under which the box of a tensor is made: its own, unless an output of that name is to be smaller."""
        box = self._regions.of(name)
        made = name if self._regions.wanted.get(name, box) == box else f"{name}/more"
        self._there[name] = (made, box)
        return made

    def _pad(self, node: onnx.NodeProto, copied: onnx.NodeProto, box: Region) -> None:
        before, _ = pads_of(node, self._regions.constants)
        edges = self._regions.edges(node.input[0])
        first = [max(0, p - low) for p, (low, _) in zip(before, box, strict=True)]
        last = [max(0, high - n - p) for p, n, (_, high) in zip(before, edges, box, strict=True)]
        if not any(first + last):
            self._there[node.output[0]] = (copied.input[0], box)
            return
        name = f"{node.output[0]}/pads"
        self.constants[name] = np.array([0, 0, *first, 0, 0, *last], np.int64)
        copied.input[1] = name
        copied.output[0] = self._made(node.output[0])
        self._nodes.append(copied)

    def _window(self, node: onnx.NodeProto, copied: onnx.NodeProto, box: Region, source: Region) -> None:
        first, last, more = [], [], []
        for axis, ((low, high), (start, stop)) in enumerate(zip(box, source, strict=True)):
            kernel, stride, dilation, before = window(node, self._regions.constants, axis)
            if node.op_type == "ConvTranspose":
                begin = low + before - start * stride
                end = (stop - start - 1) * stride + kernel - begin - (high - low)
                first.append(begin)
                last.append(max(0, end))
                more.append(max(0, -end))
            else:
                first.append(max(0, before - low * stride))
                last.append(max(0, (high - 1) * stride - before + (kernel - 1) * dilation + 1 - stop))
        kept = [a for a in copied.attribute if a.name not in ("pads", "output_padding")]
        del copied.attribute[:]
        copied.attribute.extend([*kept, helper.make_attribute("pads", [*first, *last])])
        if more:
            copied.attribute.append(helper.make_attribute("output_padding", more))

    def _at(self, name: str, region: Region) -> str:
        """The name of just this box of a tensor."""
        there, box = self._there[name]
        if box == region:
            return there
        if (there, region) not in self._sliced:
            cut = f"{there}/box{len(self._sliced)}"
            axes = [axis for axis, (a, b) in enumerate(zip(box, region, strict=True)) if a != b]
            self.constants |= {
                f"{cut}/starts": np.array([region[a][0] - box[a][0] for a in axes], np.int64),
                f"{cut}/ends": np.array([region[a][1] - box[a][0] for a in axes], np.int64),
                f"{cut}/axes": np.array([a + 2 for a in axes], np.int64),
            }
            inputs = [there, f"{cut}/starts", f"{cut}/ends", f"{cut}/axes"]
            self._nodes.append(helper.make_node("Slice", inputs, [cut], name=cut))
            self._sliced[there, region] = cut
        return self._sliced[there, region]
