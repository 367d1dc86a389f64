"""int8: what is rounded, how finely, that a processor really computes it in integers, and who refuses it."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import tomli_w
import torch
from conftest import blobs
from onnx import TensorProto, helper, numpy_helper
from test_thin import NETWORKS, exported, shaken

from segbench.engines import start
from segbench.engines.quantise import Ranges, base, measured, quantised, ranges_of, rounded
from segbench.engines.thin import Thinner
from segbench.errors import EngineError, InputError
from segbench.evaluate.publish import publish
from segbench.export import ranges
from segbench.masks import masks, ones
from segbench.recipe import read_json
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import Card
from segbench.zoo.page import page


def computed(graph: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The first output by ONNX Runtime, which computes rounded graphs in float32: another arithmetic."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def image(seed: int = 0) -> np.ndarray:
    return blobs((16, 16, 16), seed)[None, None]


@pytest.fixture(scope="module", params=["inner", "stranger"])
def model(request, tiny, tmp_path_factory) -> Model:
    """A model whose ranges are those of `image(0)` and `image(1)`."""
    torch.manual_seed(1)
    made = exported(shaken(NETWORKS[request.param]()), tiny, tmp_path_factory.mktemp("int8"))
    pinned = ranges.make(made.graph, [image(0)[0, 0], image(1)[0, 0]], made.card.dropout)
    files = made.card.files.model_copy(update={"ranges": pinned})
    return made.model_copy(update={"card": made.card.model_copy(update={"files": files})})


def convolution(kind: str, weight: np.ndarray) -> onnx.ModelProto:
    """x, twice what is fed, padded by 1, then a convolution without bias."""
    nodes = [
        helper.make_node("Add", ["image", "image"], ["x"]),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node(kind, ["padded", "weight"], ["y"]),
    ]
    pads = np.array([0, 0, 1, 1, 1, 0, 0, 1, 1, 1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "y")]
    constants = [numpy_helper.from_array(value, name) for name, value in (("weight", weight), ("pads", pads))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_rounding_is_what_it_says(kind):
    """Activations to 256 steps of their range, weights to 255 of each output channel's, written out once more."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2, 1, 1, 1) if kind == "Conv" else (2, 3, 1, 1, 1)).astype(np.float32)
    weight *= np.float32([1, 10, 100]).reshape((3, 1, 1, 1, 1) if kind == "Conv" else (1, 3, 1, 1, 1))
    x = rng.uniform(-1.5, 4, (1, 2, 4, 4, 4)).astype(np.float32)
    low, high = -1.0, 3.0  # some of x lies outside
    scale = np.float32((high - low) / 255)
    zero = round(1 / scale)
    steps = np.pad(np.clip(np.rint(x / scale) + zero, 0, 255) - zero, ((0, 0), (0, 0), *[(1, 1)] * 3))
    by_output = weight[..., 0, 0, 0] if kind == "Conv" else weight[..., 0, 0, 0].T
    finest = np.abs(by_output).max(axis=1, keepdims=True) / 127
    expected = np.einsum("oi,bizyx->bozyx", np.rint(by_output / finest) * finest, steps * scale)
    got = computed(quantised(convolution(kind, weight), {"x": (low, high)}), {"image": x / 2})
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3)
    plain = computed(convolution(kind, weight), {"image": x / 2})
    assert np.abs(got - plain).max() > 1


def test_a_range_without_zero_is_widened_so_that_borders_stay_exact():
    weight = np.ones((1, 2, 1, 1, 1), dtype=np.float32)
    x = np.full((1, 2, 3, 3, 3), 2.0, dtype=np.float32)
    got = computed(quantised(convolution("Conv", weight), {"x": (1.0, 2.0)}), {"image": x / 2})
    np.testing.assert_array_equal(got[0, 0, 0], 0)
    np.testing.assert_allclose(got[0, 0, 1:-1, 1:-1, 1:-1], 4, atol=1e-5)
    still = computed(quantised(convolution("Conv", weight), {"x": (0.0, 0.0)}), {"image": 0 * x})
    np.testing.assert_array_equal(still, 0)


def test_every_convolution_but_the_first_and_the_last_is_rounded(model):
    known = set(ranges_of(model))
    thin = Thinner(model.graph).graphs(masks(model.card.dropout, 0, range(3)), workers=1)
    for graph in (onnx.load(model.graph), *map(onnx.load_from_string, (thin.shared, *thin.samples))):
        made = {node.output[0]: node for node in graph.graph.node}
        there = {name for name, node in made.items() if node.op_type in ("Conv", "ConvTranspose")}
        left = sorted(base(name) for name in there - set(rounded(graph.graph)))
        heads = [base(output.name) for output in graph.graph.output if "logits" in output.name]
        first = [name for name in left if name != "logits"]
        assert left == sorted(first + heads)
        assert len(first) == ("image" in [value.name for value in graph.graph.input])
        assert {base(part) for parts in measured(graph.graph).values() for part in parts} <= known
        done = quantised(graph, ranges_of(model))
        onnx.checker.check_model(done, full_check=True)
        kinds = [node.op_type for node in done.graph.node]
        assert kinds.count("QuantizeLinear") == len(measured(graph.graph)) > 0
        assert kinds.count("DequantizeLinear") == len(measured(graph.graph)) + len(rounded(graph.graph))


@pytest.mark.parametrize("thin", [True, False])
def test_the_error_is_that_of_the_rounding(model, thin):
    """On what the ranges were measured on: small against what samples differ by, and larger in wider ranges."""
    drawn = np.concatenate([ones(model.card.dropout), masks(model.card.dropout, ranges.SEED, [0])])
    plain = start(model, "openvino", threads=1, thin=thin).bind(drawn)(image())
    engine = start(model, "openvino", "int8", threads=1, thin=thin)
    assert (engine.precision, engine.thin) == ("int8", thin)
    errors = [np.abs(engine.bind(drawn)(image()) - plain).mean()]
    for factor in (8, 64):
        wider = start(model, "openvino", "int8", threads=1, thin=thin)
        wider._ranges = {name: (factor * low, factor * high) for name, (low, high) in ranges_of(model).items()}
        errors.append(np.abs(wider.bind(drawn)(image()) - plain).mean())
    assert 0 < errors[0] < 0.02 * plain.std()
    assert 3 * errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("thin", [True, False])
def test_openvino_computes_what_the_rounded_graph_says(tiny, thin):
    """Its integers against ONNX Runtime's float32 on the same graphs."""
    drawn, image_ = masks(tiny.card.dropout, 0, range(2)), image(seed=4)
    got = start(tiny, "openvino", "int8", threads=1, thin=thin).bind(drawn)(image_)
    if thin:
        graphs = Thinner(tiny.graph).graphs(drawn, workers=2)
        shared = quantised(onnx.load_from_string(graphs.shared), ranges_of(tiny)).SerializeToString()
        run = onnxruntime.InferenceSession(shared, providers=["CPUExecutionProvider"])
        links = dict(zip(graphs.links, run.run(list(graphs.links), {"image": image_}), strict=True))
        samples = [quantised(onnx.load_from_string(graph), ranges_of(tiny)) for graph in graphs.samples]
        expected = np.concatenate([computed(graph, links) for graph in samples])
    else:
        graph = quantised(onnx.load(tiny.graph), ranges_of(tiny))
        expected = computed(graph, {"image": image_, "masks": drawn})
    # a value on the edge of two steps may fall to either side
    assert np.abs(got - expected).mean() < 1e-5
    assert np.abs(got - start(tiny, "openvino", threads=1, thin=thin).bind(drawn)(image_)).mean() > 1e-4


class Watched:
    """OpenVINO's core that remembers what it compiled."""

    def __init__(self, core):
        self.core, self.compiled = core, []

    def __getattr__(self, name):
        return getattr(self.core, name)

    def compile_model(self, *given):
        self.compiled.append(self.core.compile_model(*given))
        return self.compiled[-1]


def precisions(compiled) -> list[str]:
    """In which precision each convolution is executed, as OpenVINO tells."""
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = ("Convolution", "Deconvolution")
    return [info["runtimePrecision"].astype(str) for info in nodes if info["layerType"].astype(str) in kinds]


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("thin", [True, False])
def test_integers_are_really_computed(model, precision, thin):
    engine = start(model, "openvino", precision, threads=1, thin=thin)
    engine._core = Watched(engine._core)
    engine.bind(masks(model.card.dropout, 0, range(2)))(image())
    executed = [said for compiled in engine._core.compiled for said in precisions(compiled)]
    whole = executed.count("f32")
    assert len(executed) >= 4
    if precision == "f32":
        assert whole == len(executed)
    else:  # the first one and the head; thin, the head of each sample
        assert whole == (3 if thin else 2)
        assert set(executed) == {"f32", "u8"}


def test_a_released_model_has_ranges_that_its_card_pins(tiny, tmp_path):
    assert read_json(tiny.ranges, Ranges).on == "1 phantoms (version 1), times 1.25"
    assert f"`{tiny.ranges.name}`" in page(tiny.card)
    added = find(str(publish(tiny, [], [], tmp_path)))
    assert added.ranges.read_bytes() == tiny.ranges.read_bytes()
    added.ranges.write_text(added.ranges.read_text().replace("0.0", "0.1", 1))
    with pytest.raises(InputError, match=r"ranges\.json: not the file that the card pins"):
        find(str(added.path))


def without_ranges(model: Model, folder) -> Model:
    """The same as it was released before there was int8."""
    shutil.copytree(model.path, folder)
    files = model.card.files.model_dump(mode="json") | {"ranges": None}
    card = Card.model_validate(model.card.model_dump(mode="json") | {"files": files})
    (folder / "README.md").write_text(page(card))
    (folder / CARD).write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    (folder / "ranges.json").unlink()
    return find(str(folder))


def test_an_older_model_refuses_int8_until_it_is_given_ranges(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "IMAGES", 1)
    older = without_ranges(tiny, tmp_path / "older")
    assert "int8" not in page(older.card)
    assert "ranges" not in older.card.model_dump_json(exclude_defaults=True), "an older card's hash stays"
    with pytest.raises(
        EngineError, match=r"no activation ranges, so no int8; make them with `segbench zoo ranges \S+older`$"
    ):
        start(older, "openvino", "int8")
    card = ranges.add(older.path)
    newer = find(str(older.path))
    assert newer.card == card
    assert newer.hash != older.hash
    assert (newer.path / "README.md").read_text() == page(card)
    drawn = masks(card.dropout, 0, range(2))
    np.testing.assert_array_equal(
        *(start(which, "openvino", threads=1).bind(drawn)(image()) for which in (newer, tiny))
    )
    logits = start(newer, "openvino", "int8", threads=1).bind(drawn)(image())
    assert np.isfinite(logits).all()
    changed = ranges_of(newer)
    assert all(low < high for low, high in changed.values())


def test_ranges_hold_what_was_seen_and_a_quarter_more(tiny):
    """The released ranges, against the tensors themselves on the volume that the fixture holds back."""
    graph, drawn = onnx.load(tiny.graph), np.concatenate([ones(tiny.card.dropout), masks(tiny.card.dropout, 8, [0])])
    for name, (low, high) in ranges_of(tiny).items():
        graph.graph.output.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        seen = computed(graph, {"image": image(), "masks": drawn})
        assert (low, high) == pytest.approx((1.25 * seen.min(), 1.25 * seen.max()))
    one, two = (
        ranges.measure(tiny.graph, images, tiny.card.dropout)
        for images in ([image()[0, 0]], [3 * image(1)[0, 0], image()[0, 0]])
    )
    assert all(two[name][1] >= high for name, (_, high) in one.items())
    assert any(two[name][1] > high for name, (_, high) in one.items()), "every image counts"


def test_training_alone_leaves_ranges_for_later(tiny, monkeypatch):
    monkeypatch.setattr(ranges, "find_spec", lambda _: None)
    assert not ranges.measurable()
    with pytest.raises(EngineError, match="pip install"):
        ranges.measure(tiny.graph, [], ())


def test_ranges_of_another_graph_are_refused(tiny):
    known = ranges_of(tiny)
    missing = min(known)
    del known[missing]
    with pytest.raises(EngineError, match=f"no activation range of {missing}: the ranges were measured on another"):
        quantised(onnx.load(tiny.graph), known)


@pytest.mark.parametrize("engine", ["onnxruntime", "torch", "torch-compiled", "fake"])
def test_engines_without_integer_kernels_refuse(tiny, engine):
    with pytest.raises(EngineError, match="has no precision 'int8'; it has f32"):
        start(tiny, engine, "int8")


def test_a_processor_without_integers_is_told(tiny, monkeypatch):
    class Core:
        def get_property(self, device, name):
            return ["FP32"]

    monkeypatch.setattr("openvino.Core", Core)
    with pytest.raises(EngineError, match="this processor has no int8 instructions; use --precision f32"):
        start(tiny, "openvino", "int8")


def test_ranges_of_a_large_image_are_those_of_a_part_of_it(tiny, tmp_path, monkeypatch):
    """All tensors of an image are held at once."""
    monkeypatch.setattr(ranges, "VOXELS", 16**3)
    shutil.copy(tiny.graph, tmp_path / "model.onnx")
    image = blobs((16, 32, 64), seed=3)
    image[:, 16:] *= 100
    made = ranges.make(tmp_path / "model.onnx", [image], tiny.card.dropout)
    found = read_json(tmp_path / made.path, Ranges)
    alone = ranges.measure(tmp_path / "model.onnx", [image[:, :16, :32]], tiny.card.dropout)
    assert {name: high / ranges.ROOM for name, (_, high) in found.tensors.items()} == pytest.approx(
        {name: high for name, (_, high) in alone.items()}, rel=1e-5
    )
