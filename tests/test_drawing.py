"""Masks drawn in a graph are those of `segbench.masks`, bit for bit, on every runtime, and its graphs are alive."""

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segbench.engines.quantise import quantised, ranges_of
from segbench.errors import EngineError
from segbench.export import ir
from segbench.export.drawing import draw
from segbench.export.nodes import Nodes
from segbench.export.seeded import aggregated, seeded
from segbench.export.twin import twin
from segbench.masks import SAMPLES, SEEDS, P, Site, masks, ones
from segbench.metrics.uncertainty import categorical
from segbench.predict import said
from segbench.zoo.findings import CalibrationCard

SITES = (
    Site(name="fixed", channels=128, kept=64),
    Site(name="dealt", channels=300, kept=100, kind="balanced"),
    Site(name="bernoulli", channels=33, kind="bernoulli", keep_probability=0.7),
    Site(name="odd", channels=30, kept=7),
    Site(name="quarters", channels=4, kept=1, kind="balanced"),
    Site(name="all", channels=3, kind="bernoulli", keep_probability=1.0),
)
SQUARE = P * P
# where digits turn over, and where float32 stops to tell neighbours apart
EDGES = [0, 1, P - 1, P, SQUARE - 1, SQUARE, SQUARE + 1, 515 * SQUARE, 516 * SQUARE - 1, 516 * SQUARE, 2**24 + 1]
EDGES += [SEEDS - 1, SEEDS - 2, SEEDS - 65]


def drawing(sites) -> onnx.ModelProto:
    add = Nodes("draw")
    draw(add, sites, "seed", "samples", "masks")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, s) for n, s in (("seed", [1]), ("samples", ["t"]))]
    out = helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["t", sum(site.channels for site in sites)])
    graph = helper.make_graph(add.nodes, "g", inputs, [out], add.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feed(seed, samples, **more):
    return {"seed": np.array([seed], np.int32), "samples": np.array(samples, np.int32), **more}


def compiled(model, hint="f32"):
    """From named inputs to named outputs, by OpenVINO with open shapes."""
    settings_ = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    core = openvino.Core()
    read = core.read_model(model if not isinstance(model, onnx.ModelProto) else model.SerializeToString())
    request = core.compile_model(read, "CPU", settings_)
    names = [port.any_name for port in read.outputs]
    return lambda inputs: {name: request(inputs)[name].copy() for name in names}


@pytest.fixture(scope="module")
def runners():
    model = drawing(SITES)
    ort, reference = session(model), ReferenceEvaluator(model)
    ov = {hint: compiled(model, hint) for hint in ("f32", "bf16")}
    return {
        "onnxruntime": lambda inputs: ort.run(None, inputs)[0],
        "reference": lambda inputs: reference.run(None, inputs)[0],
        "openvino": lambda inputs: ov["f32"](inputs)["masks"],
        "openvino bf16": lambda inputs: ov["bf16"](inputs)["masks"],
    }


@pytest.mark.parametrize("runner", ["onnxruntime", "reference", "openvino", "openvino bf16"])
def test_drawn_masks_are_the_same_bits_at_the_edges(runners, runner):
    samples = [0, 1, 2, 3, P - 1, P, P + 1, SAMPLES // 2, SAMPLES - 2, SAMPLES - 1]
    for seed in EDGES:
        found = runners[runner](feed(seed, samples))
        assert found.tobytes() == masks(SITES, seed, samples).tobytes(), seed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, SEEDS - 1), st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=9))
def test_drawn_masks_are_the_same_bits_for_any_seed_and_samples(runners, seed, samples):
    expected = masks(SITES, seed, samples)
    for name, run in runners.items():
        assert run(feed(seed, samples)).tobytes() == expected.tobytes(), name


@st.composite
def site(draw_):
    kind, channels = draw_(st.sampled_from(["fixed", "balanced", "bernoulli"])), draw_(st.integers(1, 40))
    if kind == "bernoulli":
        return Site(name="s", channels=channels, kind=kind, keep_probability=draw_(st.floats(0.01, 1.0)))
    divisors = [k for k in range(1, channels + 1) if kind == "fixed" or channels % k == 0]
    return Site(name="s", channels=channels, kind=kind, kept=draw_(st.sampled_from(divisors)))


@settings(max_examples=25, deadline=None)
@given(st.lists(site(), min_size=1, max_size=4), st.integers(0, SEEDS - 1))
def test_drawn_masks_are_the_same_bits_for_any_sites(sites, seed):
    samples = [0, 1, 5, SAMPLES - 1]
    found = session(drawing(sites)).run(None, feed(seed, samples))[0]
    assert found.tobytes() == masks(sites, seed, samples).tobytes()


@pytest.mark.parametrize("runner", ["onnxruntime", "reference", "openvino", "openvino bf16"])
def test_what_masks_refuse_is_nan(runners, runner):
    found = np.isnan(runners[runner](feed(5, [-1, 0, SAMPLES, SAMPLES - 1])))
    np.testing.assert_array_equal(found.all(axis=1), [True, False, True, False])
    assert not found[[1, 3]].any()
    assert np.isnan(runners[runner](feed(-1, [0, 1]))).all()


@pytest.fixture(scope="module")
def image():
    return blobs((8, 16, 12), seed=4)[None, None]


def masked(model, drawn, image):
    return session(onnx.load(model.graph)).run(None, {"image": image, "masks": drawn})[0]


def test_a_seeded_graph_is_the_masked_one_with_its_own_masks(tiny, image):
    graph, sites = onnx.load(tiny.graph), tiny.card.dropout
    before = graph.SerializeToString()
    run = session(seeded(graph, sites))
    for seed, samples in ((0, [0]), (SEEDS - 1, [3, 0, SAMPLES - 1])):
        logits, drawn = run.run(None, feed(seed, samples, image=image))
        np.testing.assert_array_equal(drawn, masks(sites, seed, samples))
        np.testing.assert_array_equal(logits, masked(tiny, drawn, image))
    assert graph.SerializeToString() == before
    assert seeded(graph, sites).SerializeToString() == seeded(graph, sites).SerializeToString()


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8"])
def test_in_openvino_too_with_open_shapes_in_every_precision(tiny, image, tmp_path, precision):
    graph, sites = onnx.load(tiny.graph), tiny.card.dropout
    rounded = quantised(graph, ranges_of(tiny)) if precision == "int8" else graph
    ir.write(seeded(rounded, sites), tmp_path / "seeded.xml", {})
    run = compiled(tmp_path / "seeded.xml", "bf16" if precision == "bf16" else "f32")
    for samples in ([0, 1, 2], [7], range(5)):
        found = run(feed(11, samples, image=image))
        drawn = masks(sites, 11, samples)
        assert found["masks"].tobytes() == drawn.tobytes()
        expected = masked(tiny, drawn, image)
        assert found["logits"].shape == expected.shape
        np.testing.assert_allclose(found["logits"], expected, atol=1e-5 if precision == "f32" else 0.2)


def test_a_model_without_dropout_draws_nothing(tiny):
    with pytest.raises(EngineError, match="without dropout"):
        seeded(onnx.load(tiny.graph), ())


@pytest.mark.parametrize("calibrated", [True, False])
def test_aggregated_is_what_predict_says(tiny, image, calibrated):
    card = tiny.card if calibrated else tiny.card.model_copy(update={"calibration": None})
    run = session(aggregated(onnx.load(tiny.graph), card))
    for samples in ([0], list(range(6))):
        mean, entropy, mutual, drawn = run.run(None, feed(3, samples, image=image))
        expected = said(masked(tiny, masks(card.dropout, 3, samples), image), card)
        np.testing.assert_array_equal(drawn, masks(card.dropout, 3, samples))
        for found, wanted in ((mean, expected.probability), (entropy, expected.entropy), (mutual, expected.mutual)):
            assert found.shape == image.shape
            np.testing.assert_allclose(found[0, 0], wanted, rtol=0, atol=1e-5)
        assert (mutual >= 0).all()
        assert (mutual <= entropy).all()


def wide(scale: float) -> onnx.ModelProto:
    """A masked graph of three classes: a convolution to two channels, a mask on each, another to three."""
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((2, 1, 1, 1, 1)), "b": scale * rng.standard_normal((3, 2, 1, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["mean"]),  # a name that the graph to come wants for itself
        helper.make_node("Reshape", ["masks", "shape"], ["mask"]),
        helper.make_node("Mul", ["mean", "mask"], ["dropped"]),
        helper.make_node("Conv", ["dropped", "b"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 2, 1, 1, 1]), "shape"))
    ends = (("image", [1, 1, "z", "y", "x"]), ("masks", ["t", 2]), ("logits", ["t", 3, "z", "y", "x"]))
    image_, masks_, logits = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends)
    graph = helper.make_graph(nodes, "g", [image_, masks_], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_several_classes_are_aggregated_too_and_certainty_is_no_nan(tiny, image, scale):
    sites = (Site(name="a", channels=2, kind="bernoulli", keep_probability=0.5),)
    calibration = CalibrationCard(scale=1.5, shift=0.2, on="nothing", nll_before=1, nll_after=1)
    update = {"dropout": sites, "activation": "softmax", "classes": ("a", "b", "c"), "calibration": calibration}
    card, graph = tiny.card.model_copy(update=update), wide(scale)
    mean, entropy, mutual, drawn = session(aggregated(graph, card)).run(None, feed(1, range(6), image=image))
    logits = session(graph).run(None, {"image": image, "masks": drawn})[0].astype(np.float64) * 1.5 + 0.2
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = categorical((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))
    np.testing.assert_allclose(mean[0], expected.mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(entropy[0, 0], expected.entropy, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mutual[0, 0], expected.mutual, rtol=0, atol=1e-5)
    assert expected.mutual.max() > 0.01


def test_the_twin_is_the_masked_graph_of_ones_and_takes_an_image_alone(tiny, image):
    graph, sites = onnx.load(tiny.graph), tiny.card.dropout
    made = twin(graph, sites)
    assert [value.name for value in made.graph.input] == ["image"]
    assert not [node for node in made.graph.node if node.op_type == "Mul"]
    assert len(made.graph.node) < len(graph.graph.node)
    expected = masked(tiny, ones(sites), image)
    np.testing.assert_array_equal(session(made).run(None, {"image": image})[0], expected)
    found = compiled(made)({"image": image})["logits"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max() + 1e-6)


def test_the_twin_of_a_rounded_graph_is_rounded(tiny, image):
    rounded = quantised(onnx.load(tiny.graph), ranges_of(tiny))
    made = twin(rounded, tiny.card.dropout)
    expected = session(rounded).run(None, {"image": image, "masks": ones(tiny.card.dropout)})[0]
    np.testing.assert_array_equal(session(made).run(None, {"image": image})[0], expected)
    assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) > 0


def test_products_that_do_something_stay_in_the_twin():
    """A constant that is not one, and one that is but makes the tensor larger."""
    nodes = [
        helper.make_node("Mul", ["image", "ones"], ["wide"]),
        helper.make_node("Mul", ["wide", "twos"], ["twice"]),
        helper.make_node("Reshape", ["masks", "shape"], ["mask"]),
        helper.make_node("Mul", ["mask", "twice"], ["dropped"]),
        helper.make_node("Neg", ["dropped"], ["logits"]),
    ]
    values = {"ones": np.ones((1, 3, 1, 1, 1)), "twos": np.full((1, 1, 1, 1, 1), 2)}
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 1, 1, 1, 1]), "shape"))
    ends = (("image", [1, 1, "z", "y", "x"]), ("masks", ["t", 1]), ("logits", ["t", 3, "z", "y", "x"]))
    image_, masks_, logits = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends)
    graph = helper.make_graph(nodes, "g", [image_, masks_], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = twin(model, [Site(name="a", channels=1, kept=1)])
    picture = blobs((2, 2, 2))[None, None]
    found = session(made).run(None, {"image": picture})[0]
    np.testing.assert_array_equal(found, np.repeat(-2 * picture, 3, axis=1))
    assert [node.op_type for node in made.graph.node] == ["Mul", "Mul", "Neg"]
