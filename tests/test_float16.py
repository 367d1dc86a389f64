"""A graph in float16: which nodes are, which are not, and what it computes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from segbench.engines.thin import IMAGE, LOGITS, MASKS
from segbench.errors import EngineError
from segbench.export.float16 import FLOAT, FLOAT16, halved
from segbench.export.kinds import graphs
from segbench.export.profile import read_profile, tolerance_of
from segbench.masks import masks
from segbench.zoo import find

SHAPE = (1, 4, 4, 4, 4)


def computed(model, inputs):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: inputs[value.name] for value in session.get_inputs()})[0]


def kinds(model):
    """The type of each float tensor that a node makes, by the node's operator."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = inferred.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    return [(node.op_type, types[node.output[0]]) for node in graph.node]


def small(nodes, constants, output=SHAPE):
    """A model of these nodes from `image` to `logits`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, output)
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", [image], [logits], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def conv(source, made, weight="w"):
    return helper.make_node("Conv", [source, weight], [made], name=made)


WEIGHT = np.random.default_rng(0).standard_normal((4, 4, 1, 1, 1)).astype(np.float32)


def test_convolutions_are_float16_and_what_a_user_sees_is_not(tiny):
    exact = onnx.load(tiny.graph)
    half = halved(exact)
    assert {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)} == {FLOAT}
    assert [value.name for value in half.graph.input] == [IMAGE, MASKS]
    found = [kind for operator, kind in kinds(half) if operator in {"Conv", "ConvTranspose"}]
    assert found == [FLOAT16] * (len(found) - 1) + [FLOAT]
    assert {kind for operator, kind in kinds(halved(exact, whole=True)) if "Conv" in operator} == {FLOAT16}
    assert halved(exact).SerializeToString() == half.SerializeToString()
    assert exact.SerializeToString() == onnx.load(tiny.graph).SerializeToString()
    assert len(half.SerializeToString()) < 0.8 * len(exact.SerializeToString())


@pytest.mark.parametrize("whole", [False, True])
def test_it_computes_nearly_the_same_and_its_dropout_is_alive(tiny, whole):
    exact = onnx.load(tiny.graph)
    inputs = {
        "image": np.random.default_rng(1).standard_normal((1, 1, 16, 16, 16)).astype(np.float32),
        "masks": masks(tiny.card.dropout, 5, range(2)),
    }
    expected, found = computed(exact, inputs), computed(halved(exact, whole), inputs)
    assert 0 < np.abs(expected - found).max() < 5e-3 * np.abs(expected).max()
    assert np.abs(found[0] - found[1]).mean() > 10 * np.abs(expected - found).mean()


@pytest.mark.parametrize("kind", ["deterministic", "seeded", "aggregated"])
def test_every_kind_can_be_halved_and_draws_the_same_masks(tiny, kind):
    ((_, exact),) = graphs(tiny, [kind])
    half = halved(exact)
    assert [value.name for value in half.graph.output] == [value.name for value in exact.graph.output]
    assert FLOAT16 in {made for _, made in kinds(half)}
    if kind == "seeded":
        inputs = {"image": np.zeros((1, 1, 8, 8, 8), np.float32), "seed": np.int32([3]), "samples": np.int32([0, 9])}
        session = ort.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(["masks"], inputs)[0], masks(tiny.card.dropout, 3, [0, 9]))


def test_sums_and_quotients_of_a_norm_stay_float32():
    nodes = [
        conv("image", "a"),
        helper.make_node("ReduceMean", ["a", "axes"], ["mean"], name="mean"),
        helper.make_node("Sub", ["a", "mean"], ["b"], name="b"),
        helper.make_node("Mul", ["b", "b"], ["c"], name="c"),
        helper.make_node("ReduceMean", ["c", "axes"], ["variance"], name="variance"),
        helper.make_node("Sqrt", ["variance"], ["deviation"], name="deviation"),
        helper.make_node("Div", ["b", "deviation"], ["d"], name="d"),
        conv("d", "e"),
        helper.make_node("Relu", ["e"], ["f"], name="f"),
        conv("f", "logits"),
    ]
    half = halved(small(nodes, {"w": WEIGHT, "axes": np.int64([2, 3, 4])}))
    found = kinds(half)
    assert {kind for operator, kind in found if operator in {"ReduceMean", "Sqrt", "Div"}} == {FLOAT}
    assert [kind for operator, kind in found if operator == "Conv"] == [FLOAT16, FLOAT16, FLOAT]
    image = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    exact = computed(small(nodes, {"w": WEIGHT, "axes": np.int64([2, 3, 4])}), {"image": image})
    np.testing.assert_allclose(computed(half, {"image": image}), exact, atol=2e-2)


def test_parameters_that_are_float32_by_definition_stay_so():
    resize = helper.make_node("Resize", ["a", "", "scales"], ["b"], name="b", mode="nearest")
    constants = {"w": WEIGHT, "scales": np.float32([1, 1, 2, 2, 2])}
    half = halved(small([conv("image", "a"), resize, conv("b", "logits")], constants, (1, 4, 8, 8, 8)))
    assert dict(kinds(half))["Resize"] == FLOAT16
    (node,) = (node for node in half.graph.node if node.op_type == "Resize")
    assert list(node.input)[1:] == ["", "scales"]


def test_an_output_that_is_read_again_is_both():
    nodes = [conv("image", "a"), helper.make_node("Softmax", ["a"], ["b"], axis=1), conv("a", "c"),
             helper.make_node("Add", ["b", "c"], ["logits"])]  # fmt: skip
    half = halved(small(nodes, {"w": WEIGHT}))
    image = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float32)
    expected = computed(small(nodes, {"w": WEIGHT}), {"image": image})
    np.testing.assert_allclose(computed(half, {"image": image}), expected, atol=2e-2)


def test_a_weight_beyond_float16_is_refused_not_made_infinite():
    large = WEIGHT.copy()
    large[0, 0] = 1e5
    with pytest.raises(EngineError, match=r"no float16: v holds 1e\+05, beyond 65504"):
        halved(small([conv("image", "a", "v"), conv("a", "logits")], {"w": WEIGHT, "v": large}))


@pytest.mark.parametrize("name", ["vnet-battery", "vnet-sandia"])
def test_models_of_the_zoo_keep_the_profile_s_tolerance(name):
    """In float16 as ONNX Runtime has it on a processor: tensors are rounded, sums are not. A card rounds no less."""
    model = find(name)
    exact = onnx.load(model.graph)
    inputs = {
        "image": np.random.default_rng(0).standard_normal((1, 1, 16, 16, 16)).astype(np.float32),
        "masks": masks(model.card.dropout, 0, range(2)),
    }
    expected, found = computed(exact, inputs), computed(halved(exact), inputs)
    tolerance = tolerance_of(read_profile("tensorrt")[0], "f16")
    outside = np.abs(found - expected) > tolerance.atol + tolerance.rtol * np.abs(expected)
    assert outside.mean() * 1e6 <= tolerance.ppm
    assert found.shape == expected.shape
    assert LOGITS in {value.name for value in exact.graph.output}
