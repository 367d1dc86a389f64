"""The second network: what is doubted, what a patch sees, and that neither batches nor tiles change an answer."""

import tracemalloc

import numpy as np
import onnx
import pytest
from cascade_models import dense, lcgar, linear_doubt, middle, model
from onnx.reference import ReferenceEvaluator

from segbench.cascade import cascade_of, local
from segbench.cascade.trimming import trimmed
from segbench.engines import start
from segbench.errors import EngineError

ENGINES = ("openvino", "onnxruntime")
EDGE, MARGIN = 5, 2


def scene(shape=(2, 20, 17), margin=MARGIN, seed=0):
    """Image (Z, Y, X) and F (K, Z, Y, X) with their borders replicated."""
    generator = np.random.default_rng(seed)
    around = ((0, 0), (margin, margin), (margin, margin))
    image = np.pad(generator.uniform(-1, 1, shape).astype(np.float32), around, mode="edge")
    mean = np.pad(generator.normal(0, 2, (3, *shape)).astype(np.float32), ((0, 0), *around), mode="edge")
    return image, mean


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def naive(made, image, mean):
    """The same by the definition, pixel by pixel, with ONNX's reference evaluator."""
    classifier, network = (ReferenceEvaluator(str(path)) for path in (made.doubt, made.local))
    card = made.card.cascade
    m = card.edge // 2
    p = softmax(mean)
    u = -(p * np.log(p)).sum(axis=0).astype(np.float32)
    features = np.stack([*mean, u], axis=-1).reshape(-1, 4).astype(np.float32)
    wrong = 1 / (1 + np.exp(-classifier.run(None, {"features": features})[0].astype(np.float64)))
    doubted = (wrong > card.threshold).reshape(u.shape)
    called = np.eye(3, dtype=np.float32)[mean.argmax(axis=0)] * ~doubted[..., None]
    for z, y, x in np.argwhere(doubted):
        if not (m <= y < u.shape[1] - m and m <= x < u.shape[2] - m):
            continue
        at = (z, slice(y - m, y + m + 1), slice(x - m, x + m + 1))
        patch = np.concatenate([image[at][None], np.moveaxis(called[at], -1, 0)])
        given = {"patches": patch[None], "context": mean[:, z, y, x][None]}
        p[:, z, y, x] = softmax(network.run(None, given)[0][0])
    inner = (slice(None), slice(m, -m), slice(m, -m))
    return p[:, *inner], doubted[inner]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    linear_doubt(folder / "doubt.onnx", [0.3, -0.4, 0.2, 3.0], -2.0)
    middle(folder / "local.onnx", EDGE)
    return model(folder, edge=EDGE)


def started(made, engine="onnxruntime", threads=1):
    found = cascade_of(made, start(made, engine, threads=threads, thin=False))
    assert found is not None
    return found


@pytest.mark.parametrize("engine", [*ENGINES, "fake"])
def test_is_what_the_definition_says_pixel_by_pixel(toy, engine):
    image, mean = scene()
    found = cascade_of(toy, start(toy, engine, threads=None if engine == "fake" else 1))(image, mean)
    probability, doubted = naive(toy, image, mean)
    assert 50 < doubted.sum() < doubted.size - 50
    assert np.array_equal(found.doubted, doubted)
    assert np.abs(found.probability - probability).max() < 1e-6
    assert found.probability.dtype == np.float32
    assert found.probability.shape == (3, 2, 20, 17)


def test_doubts_where_it_is_planted_and_nowhere_else(tmp_path):
    """Only the entropy decides, and it is high at planted pixels alone."""
    linear_doubt(tmp_path / "doubt.onnx", [0, 0, 0, 10.0], -5.0)
    middle(tmp_path / "local.onnx", EDGE)
    made = model(tmp_path, edge=EDGE)
    mean = np.zeros((3, 1, 24, 24), np.float32)
    mean[2] = 8
    planted = np.zeros((24, 24), bool)
    planted[[2, 2, 9, 21], [2, 21, 13, 7]] = True  # corners of the core among them
    mean[2, 0, planted] = 0
    found = started(made)(np.zeros((1, 24, 24), np.float32), mean)
    assert np.array_equal(found.doubted[0], planted[2:-2, 2:-2])
    # of a patch of zeros without class 1 the local network says three equal logits
    assert np.allclose(found.probability[:, found.doubted], 1 / 3)
    assert (found.probability[2, ~found.doubted] > 0.999).all()


def test_classes_are_zeroed_where_doubted_and_stay_elsewhere(tmp_path):
    """A doubted neighbour of class 1 counts no longer; one that is sure does."""
    linear_doubt(tmp_path / "doubt.onnx", [0, 0, 0, 10.0], -5.0)
    middle(tmp_path / "local.onnx", 3, factor=9)
    made = model(tmp_path, edge=3)
    mean = np.zeros((3, 1, 7, 7), np.float32)
    mean[0] = 8
    mean[:, 0, 3, 3] = (0, 0.4, 0)  # doubted, of class 1
    mean[:, 0, 3, 4] = (0, 0.4, 0)  # doubted, of class 1
    mean[:, 0, 2, 2] = (0, 8, 0)  # sure, of class 1
    found = started(made)(np.zeros((1, 7, 7), np.float32), mean)
    assert found.doubted.sum() == 2
    assert np.allclose(found.probability[:, 0, 2, 2], softmax(np.array([0.0, 1.0, 0.0])))
    assert np.allclose(found.probability[:, 0, 2, 3], softmax(np.array([0.0, 0.0, 0.0])))


def test_below_a_threshold_of_0_every_pixel_is_asked(toy):
    made = toy.model_copy(update={"card": toy.card.model_copy(
        update={"cascade": toy.card.cascade.model_copy(update={"threshold": -1.0})})})  # fmt: skip
    assert started(made)(*scene()).doubted.all()


@pytest.mark.parametrize("kept", ["image", "classes", "logits"])
def test_what_a_network_does_not_see_is_zeros(toy, kept):
    cascade = toy.card.cascade.model_copy(update={"options": {"sees": [kept]}})
    made = toy.model_copy(update={"card": toy.card.model_copy(update={"cascade": cascade})})
    image, mean = scene()
    whole, found = started(toy)(image, mean), started(made)(image, mean)
    logits = np.log(found.probability[:, found.doubted].astype(np.float64))
    own = np.abs(logits - logits[{"image": 1, "classes": 0, "logits": 0}[kept]])
    blind = {"image": 2, "classes": 2, "logits": 1}[kept]
    assert own[blind].max() < 1e-5  # two logits of zero
    assert np.array_equal(found.doubted, whole.doubted)  # doubt sees all the same


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """LCGAR's layers."""
    folder = tmp_path_factory.mktemp("paper")
    linear_doubt(folder / "doubt.onnx", [0.3, -0.4, 0.2, 3.0], -3.0)
    lcgar(folder / "local.onnx", 11)
    return model(folder, edge=11)


def test_runtimes_agree_and_say_what_onnx_says(paper):
    image, mean = scene((1, 12, 14), 5)
    probability, doubted = naive(paper, image, mean)
    for engine in ENGINES:
        found = started(paper, engine)(image, mean)
        assert np.array_equal(found.doubted, doubted)
        assert np.abs(found.probability - probability).max() < 1e-5


def test_nothing_is_computed_that_a_pooling_drops(tmp_path):
    """At 11 and 17 convolutions before a pooling end a row and a column earlier; their answers are the same."""
    generator = np.random.default_rng(0)
    for edge, ends in ((11, [1, 0, 1, 0]), (17, [1, 0, 1, 1])):  # 17 is pooled to 8, which is even
        whole = onnx.load(lcgar(tmp_path / "local.onnx", edge))
        less = trimmed(whole)
        pads = [
            a.ints for node in less.graph.node if node.op_type == "Conv" for a in node.attribute if a.name == "pads"
        ]
        assert [each[2] for each in pads if each[0]] == ends
        assert [each[3] for each in pads if each[0]] == ends
        given = {
            "patches": generator.normal(size=(3, 4, edge, edge)).astype(np.float32),
            "context": generator.normal(size=(3, 3)).astype(np.float32),
        }
        found, expected = (ReferenceEvaluator(each).run(None, given)[0] for each in (less, whole))
        assert np.abs(found - expected).max() < 1e-5
    assert trimmed(less) == less  # once is enough


@pytest.mark.parametrize("read", ["conv1", "conv1/leaky"])
def test_what_something_else_reads_is_not_cut(tmp_path, read):
    whole = onnx.load(lcgar(tmp_path / "local.onnx", 11))
    assert pads(trimmed(whole), "conv1") == [1, 1, 0, 0]
    whole.graph.node.append(onnx.helper.make_node("Identity", [read], ["other"]))
    whole.graph.output.append(onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, ["n", 32, 11, 11]))
    assert pads(trimmed(whole), "conv1") == [1, 1, 1, 1]


def pads(made, name):
    node = next(node for node in made.graph.node if node.name == name)
    return next(list(a.ints) for a in node.attribute if a.name == "pads")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_tiles_nor_slices_change_a_bit(paper, engine, threads):
    image, mean = scene((2, 40, 44), 5)
    run = started(paper, engine, threads)
    whole = run(image, mean)
    for z, y, x in np.ndindex(2, 2, 2):
        part = (slice(z, z + 1), slice(20 * y, 20 * y + 30), slice(22 * x, 22 * x + 32))
        found = run(image[part], mean[:, *part])
        at = (slice(z, z + 1), slice(20 * y, 20 * y + 20), slice(22 * x, 22 * x + 22))
        assert np.array_equal(found.doubted, whole.doubted[at])
        assert found.probability.tobytes() == whole.probability[:, *at].tobytes()
    again = run(image, mean)
    assert again.probability.tobytes() == whole.probability.tobytes()


def test_bf16_of_the_engine_is_taken_for_the_local_network_alone(paper):
    try:
        engine = start(paper, "openvino", "bf16", threads=1, thin=False)
    except EngineError:
        pytest.skip("SKIPPED LOUDLY: this processor has no bf16 instructions")
    image, mean = scene((1, 24, 24), 5)
    exact, rounded = started(paper, "openvino")(image, mean), cascade_of(paper, engine)(image, mean)
    assert np.array_equal(exact.doubted, rounded.doubted)
    assert 1e-7 < np.abs(exact.probability - rounded.probability).max() < 0.1


def test_the_classifier_is_float32_in_bf16_too(tmp_path):
    """F lies between 1 and 1.002, which bf16 cannot tell apart; the classifier's limit is 1.001."""
    linear_doubt(tmp_path / "doubt.onnx", [5000.0, 0, 0, 0], -5005.0)
    middle(tmp_path / "local.onnx", EDGE)
    made = model(tmp_path, edge=EDGE)
    image, mean = scene((1, 24, 24))
    mean[0] = np.random.default_rng(0).uniform(1, 1.002, mean[0].shape)
    try:
        engine = start(made, "openvino", "bf16", threads=1, thin=False)
    except EngineError:
        pytest.skip("SKIPPED LOUDLY: this processor has no bf16 instructions")
    found = cascade_of(made, engine)(image, mean)
    assert 0.4 < found.doubted.mean() < 0.6
    assert np.array_equal(found.doubted, started(made, "openvino")(image, mean).doubted)


def test_memory_does_not_grow_with_what_is_doubted(toy):
    """1000 x 1000 pixels, a fifth of them doubted: all patches at once would be 390 MB at h = 11."""
    linear = np.zeros((3, 1, 1004, 1004), np.float32)
    linear[2] = 9
    linear[2, 0, ::5] = 0
    image = np.zeros((1, 1004, 1004), np.float32)
    run = started(toy)
    tracemalloc.start()
    try:
        found = run(image, linear)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.15 < found.doubted.mean() < 0.25
    assert peak < 100e6  # twelve arrays of the slice and a batch; a patch of each doubted pixel is 80 MB more


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_of_slices_sees_the_same(tmp_path, engine):
    linear_doubt(tmp_path / "doubt.onnx", [0.3, -0.4, 0.2, 3.0], -2.0)
    dense(tmp_path / "local.onnx")
    made = model(tmp_path, kind="dense", edge=3)
    image, mean = scene((2, 11, 13), 1)
    run = started(made, engine)
    assert run.margin == 1
    found = run(image, mean)
    called = (mean.argmax(axis=0)[None] == np.arange(3)[:, None, None, None]).astype(np.float64)
    whole = cascade_of(made, start(made, "onnxruntime", threads=1))(
        *(np.pad(a, [(0, 0)] * (a.ndim - 2) + [(1, 1), (1, 1)], mode="edge") for a in (image, mean))
    )
    called *= ~whole.doubted
    sums = sum(np.roll(called, (dy, dx), (2, 3)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    expected = softmax(sums * np.array([1, 2, 3])[:, None, None, None])[:, :, 1:-1, 1:-1]
    assert np.abs(found.probability - expected)[:, found.doubted].max() < 1e-5


def test_a_network_of_slices_does_not_keep_every_shape_that_it_meets(tmp_path, monkeypatch):
    class Graphs:
        threads, loaded = 1, []

        def load(self, graph, shapes, outputs, threads, exact=False):
            self.loaded.append(shapes["image"])
            return lambda inputs: [np.zeros((1, 3, *inputs["image"].shape[2:]), np.float32)]

    monkeypatch.setattr(local, "SHAPES", 2)
    linear_doubt(tmp_path / "doubt.onnx", [0.3, -0.4, 0.2, 3.0])
    dense(tmp_path / "local.onnx")
    run = local.Dense(Graphs(), model(tmp_path, kind="dense", edge=3))
    for edge in (4, 5, 4, 6, 5, 4):  # 4 makes room for 6, and comes again
        run(np.zeros((edge + 2, edge + 2, 4), np.float32), np.zeros((3, edge, edge)), np.ones((edge, edge), bool))
    assert [shape[-1] - 2 for shape in Graphs.loaded] == [4, 5, 6, 4]


def test_a_model_without_one_has_none(toy):
    files = toy.card.files.model_copy(update={"doubt": None, "local": None})
    card = toy.card.model_copy(update={"cascade": None, "files": files})
    assert cascade_of(toy.model_copy(update={"card": card}), start(toy, "fake")) is None


def test_a_graph_that_a_runtime_refuses_is_one_line(tmp_path, toy):
    for name in ("doubt.onnx", "local.onnx"):
        (tmp_path / name).write_bytes(b"no graph")
    with pytest.raises(EngineError, match="does not load"):
        cascade_of(model(tmp_path, edge=5), start(toy, "onnxruntime", threads=1, thin=False))
