"""What the core of a tile needs, and no more: the same numbers, bit for bit."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segbench.engines import start
from segbench.engines.cropping import cropped
from segbench.engines.regions import Regions, output_shapes, whole
from segbench.errors import EngineError
from segbench.masks import masks

CHANNELS = 2


class Chain:
    """A graph made node by node; features have two channels throughout."""

    def __init__(self, edges):
        self.edges, self.nodes, self.constants, self.last = tuple(edges), [], {}, "x"
        self.rng = np.random.default_rng(0)

    def constant(self, value):
        self.constants[f"c{len(self.constants)}"] = value
        return f"c{len(self.constants) - 1}"

    def add(self, kind, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *inputs], [name], name=name, **attributes))
        self.last = name
        return self

    def conv(self, kernel, pads=0, strides=1, dilations=1):
        weight = self.rng.integers(-1, 2, (CHANNELS, CHANNELS, *[kernel] * len(self.edges))).astype(np.float32)
        n = len(self.edges)
        return self.add("Conv", self.constant(weight), kernel_shape=[kernel] * n, pads=[pads] * 2 * n,
                        strides=[strides] * n, dilations=[dilations] * n)  # fmt: skip

    def up(self, kernel, pads, output_padding=0):
        n = len(self.edges)
        weight = self.rng.integers(-1, 2, (CHANNELS, CHANNELS, *[kernel] * n)).astype(np.float32)
        return self.add("ConvTranspose", self.constant(weight), kernel_shape=[kernel] * n, pads=[pads] * 2 * n,
                        strides=[2] * n, output_padding=[output_padding] * n)  # fmt: skip

    def pad(self, mode="edge"):
        n = len(self.edges)
        return self.add("Pad", self.constant(np.array([0, 0, *[1] * n] * 2)), mode=mode)

    def pool(self):
        n = len(self.edges)
        return self.add("MaxPool", kernel_shape=[2] * n, strides=[2] * n)

    def residual(self):
        before = self.last
        self.pad().conv(3)
        self.nodes.append(helper.make_node("Add", [before, self.last], [f"{self.last}+"], name=f"{self.last}+"))
        self.last += "+"
        return self

    def mean(self):
        """Of all voxels, taken away again: whoever needs one voxel needs all."""
        before = self.last
        self.add("GlobalAveragePool")
        self.nodes.append(helper.make_node("Sub", [before, self.last], [f"{self.last}-"], name=f"{self.last}-"))
        self.last += "-"
        return self

    def model(self):
        shape = [1, CHANNELS, *[None] * len(self.edges)]
        graph = helper.make_graph(
            self.nodes, "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def run(model, image):
    return ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"x": image})[0]


def check(chain, box):
    """The cropped graph gives the box of what the whole one gives; returns the box of the image that it read."""
    model, shape = chain.model(), (1, CHANNELS, *chain.edges)
    image = np.random.default_rng(1).integers(-2, 3, shape).astype(np.float32)  # sums of whole numbers are exact
    full = run(model, image)
    regions = Regions(model, {"x": shape}, {chain.last: box})
    expected = full[(..., *(slice(a, b) for a, b in box))]
    np.testing.assert_allclose(run(cropped(regions, {"x": whole(chain.edges)}), image), expected, rtol=1e-5, atol=0.1)
    reached = regions.of("x")
    part = image[(..., *(slice(a, b) for a, b in reached))]
    np.testing.assert_allclose(run(cropped(regions, {"x": reached}), part), expected, rtol=1e-5, atol=0.1)
    return reached


STEPS = {
    "relu": lambda c: c.add("Relu"),
    "conv": lambda c: c.pad().conv(3),
    "own pads": lambda c: c.conv(3, pads=1),
    "zeros": lambda c: c.pad("constant").conv(3),
    "dilated": lambda c: c.conv(3, pads=2, dilations=2),
    "one": lambda c: c.conv(1),
    "strided": lambda c: c.conv(3, pads=1, strides=2),
    "pool": Chain.pool,
    "up": lambda c: c.up(2, 0),
    "collapsed": lambda c: c.pad().up(4, 3),
    "up with more": lambda c: c.up(3, 1, output_padding=1),
    "residual": Chain.residual,
    "mean": Chain.mean,
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5), st.data())
def test_any_chain_gives_the_same_numbers_in_any_box(steps, data):
    chain = Chain((16, 16))
    for step in steps:
        if step not in ("pool", "strided") or steps[: steps.index(step)].count("pool") < 3:
            STEPS[step](chain)
    edges = output_shapes(chain.model(), {"x": (1, CHANNELS, 16, 16)})[chain.last][2:]
    box = tuple((low := data.draw(st.integers(0, n - 1)), data.draw(st.integers(low + 1, n))) for n in edges)
    check(chain, box)


def test_the_reach_of_a_voxel_by_hand():
    chain = Chain((32,)).pad().conv(3).pad().conv(3)
    assert check(chain, ((10, 11),)) == ((8, 13),)
    assert check(chain, ((0, 32),)) == ((0, 32),)
    assert check(Chain((32,)).pool().conv(1), ((3, 5),)) == ((6, 10),)
    assert check(Chain((32,)).up(2, 0), ((6, 9),)) == ((3, 5),)
    assert check(Chain((32,)).conv(3, pads=1).mean(), ((6, 9),)) == ((0, 32),)


def test_padding_falls_away_inside_and_stays_at_the_border():
    chain = Chain((32,)).pad().conv(3)

    def kinds(box):
        regions = Regions(chain.model(), {"x": (1, CHANNELS, 32)}, {chain.last: box})
        return [node.op_type for node in onnx.load_from_string(cropped(regions, {"x": ((0, 32),)})).graph.node]

    assert kinds(((4, 9),)) == ["Slice", "Conv"]
    assert kinds(((0, 9),)) == ["Slice", "Pad", "Conv"]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_core_is_what_the_whole_tile_gives(tiny, engine):
    image = np.random.default_rng(3).standard_normal((1, 1, 24, 32, 16)).astype(np.float32)
    run_ = start(tiny, engine, threads=2).bind(masks(tiny.card.dropout, 0, range(3)))
    whole_ = run_(image)
    for inner in ((slice(4, 20), slice(8, 24), slice(4, 12)), (slice(8, 13), slice(8, 24), slice(0, 16))):
        np.testing.assert_allclose(run_(image, inner), whole_[(..., *inner)], atol=1e-5)


def test_a_shape_that_is_not_known_is_one_line():
    given_ = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4])]
    made = [helper.make_tensor_value_info("y", TensorProto.INT64, None)]
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "g", given_, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with pytest.raises(EngineError, match="--no-thin"):
        output_shapes(model, {"x": (1, 1, 4)})
