"""The exported graph: alive, deterministic, free of randomness, equal to PyTorch; and that the checks can fail."""

import itertools
import shutil

import numpy as np
import onnx
import pytest
import torch
from conftest import blobs, untrained
from onnx import TensorProto, helper

from segbench import nets
from segbench.engines import start
from segbench.errors import EngineError
from segbench.export import reference
from segbench.export.graph import export
from segbench.export.lint import check
from segbench.export.operators import RANDOM
from segbench.export.verify import verify_model
from segbench.masks import masks, ones
from segbench.nets import weights
from segbench.predict import tiles
from segbench.tiling import read
from segbench.zoo import Model


def image(edge: int = 16) -> np.ndarray:
    return blobs((edge, edge, edge), seed=4)[None, None]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_masks_decide_bit_for_bit_at_one_and_four_threads(tiny, engine):
    drawn = masks(tiny.card.dropout, 0, range(2))
    results = [start(tiny, engine, threads=threads).bind(drawn)(image()) for threads in (1, 4, 1, 4)]
    for a, b in itertools.pairwise(results):
        np.testing.assert_array_equal(a, b)
    other = start(tiny, engine, threads=1).bind(masks(tiny.card.dropout, 1, range(2)))(image())
    assert np.abs(results[0] - other).mean() > 1e-3
    assert np.abs(results[0][0] - results[0][1]).mean() > 1e-3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_all_ones_is_the_deterministic_network(tiny, engine):
    network = untrained()
    weights.load(network, tiny.weights)
    with torch.no_grad():
        expected = network(torch.from_numpy(image()), torch.from_numpy(ones(network.sites))).numpy()
    np.testing.assert_allclose(start(tiny, engine).bind(ones(tiny.card.dropout))(image()), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 16, 12), (18, 10, 14)])
def test_sizes_and_samples_are_open(tiny, shape):
    picture = blobs(shape)[None, None]
    for samples in (1, 3):
        drawn = masks(tiny.card.dropout, 0, range(samples))
        a, b = (start(tiny, engine).bind(drawn)(picture) for engine in ("onnxruntime", "torch"))
        assert a.shape == (samples, 1, *shape)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def slicewise(tiny, tmp_path_factory) -> Model:
    """A model of `unet2d-battery`, exported but not released."""
    torch.manual_seed(0)
    network = nets.build("unet2d-battery", **tiny.card.network.options).eval()
    weights.round_weights(network)
    path = tmp_path_factory.mktemp("slicewise")
    weights.save(network, path / tiny.card.files.weights.path)
    export(network, path / tiny.card.files.graph.path)
    kind = tiny.card.network.model_copy(update={"kind": "unet2d-battery"})
    need = tiny.card.input.model_copy(update={"core": (8, 24, 24), "halo": (0, 4, 4), "multiple": network.stride})
    card = tiny.card.model_copy(update={"network": kind, "input": need})
    made = reference.make(Model(card=card, path=path))
    return Model(card=card.model_copy(update={"files": card.files.model_copy(update={"reference": made})}), path=path)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", [(1, 16, 12), (3, 10, 14), (8, 16, 16)])
def test_slices_one_or_many_are_the_same_in_every_engine(slicewise, engine, shape):
    picture = blobs(shape)[None, None]
    for samples in (1, 3):
        drawn = masks(slicewise.card.dropout, 0, range(samples))
        a, b = (start(slicewise, name).bind(drawn)(picture) for name in (engine, "torch"))
        assert a.shape == (samples, 1, *shape)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_a_slicewise_model_is_verified_and_its_tiles_along_z_change_nothing(slicewise):
    assert {check.status for check in verify_model(slicewise) if check.name != "lint"} == {"passed"}
    volume, drawn = blobs((11, 24, 24)), masks(slicewise.card.dropout, 0, range(2))
    assert tiles(slicewise.card, (1, 24, 24)).shape == (1, 32, 32)
    assert tiles(slicewise.card, (11, 24, 24)).shape == (6, 32, 32)
    run = start(slicewise, "onnxruntime").bind(drawn)
    whole = run(np.pad(volume, ((0, 0), (4, 4), (4, 4)), mode="edge")[None, None])[..., 4:-4, 4:-4]
    for tile in tiles(slicewise.card, volume.shape):
        logits = run(read(volume, tile)[None, None])[(..., *tile.inner)]
        np.testing.assert_allclose(logits, whole[(..., *tile.core)], rtol=0, atol=1e-6)


def test_the_graph_draws_nothing_and_is_one_file(tiny):
    check(tiny.graph)
    graph = onnx.load(tiny.graph)
    assert not RANDOM & {node.op_type for node in graph.graph.node}
    assert not any(t.data_location == TensorProto.EXTERNAL for t in graph.graph.initializer)


class Sampling(torch.nn.Module):
    """A network that draws its own dropout: what must never be shipped."""

    stride = (2, 2, 2)
    sites = ()

    def __init__(self, how):
        super().__init__()
        self.how = how

    def folded(self):
        return self

    def forward(self, image, masks):
        x = image * masks.sum()
        if self.how == "dropout":
            return torch.nn.functional.dropout(x, 0.5, training=True)
        return x * torch.rand_like(x)


@pytest.mark.parametrize("how", ["dropout", "uniform"])
def test_a_network_that_draws_is_not_exported(tmp_path, how):
    network = Sampling(how)
    network.eval()
    with pytest.raises(EngineError, match=r"Dropout|RandomUniform"):
        export(network, tmp_path / "bad.onnx")


def _graph(nodes, path):
    image_, masks_ = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1]) for n in ("image", "masks"))
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image_, masks_], [out]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, path)


@pytest.mark.parametrize("op", sorted(RANDOM & {"Dropout", "Bernoulli", "RandomUniformLike", "RandomNormalLike"}))
def test_random_nodes_are_found_even_in_a_branch(tmp_path, op):
    inner_out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    branch = helper.make_graph([helper.make_node(op, ["image"], ["y"])], "b", [], [inner_out])
    _graph(
        [
            helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])),
            helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch),
            helper.make_node("Mul", ["x", "masks"], ["logits"]),
        ],
        tmp_path / "g.onnx",
    )
    with pytest.raises(EngineError, match=op):
        check(tmp_path / "g.onnx")


def test_verify_passes_and_finds_dead_dropout_and_other_weights(tiny, tmp_path):
    assert {check.status for check in verify_model(tiny) if check.name != "lint"} == {"passed"}
    copy = tmp_path / "copy"
    shutil.copytree(tiny.path, copy)
    changed = tiny.model_copy(update={"path": copy})
    graph = onnx.load(changed.graph)
    for node in graph.graph.node:  # masks no longer reach the network
        for i, name in enumerate(node.input):
            if name == "masks":
                node.input[i] = "frozen"
    columns = sum(site.channels for site in tiny.card.dropout)
    frozen = helper.make_tensor("frozen", TensorProto.FLOAT, [3, columns], [1.0] * 3 * columns)
    graph.graph.initializer.append(frozen)
    onnx.save(graph, changed.graph)
    assert failed(changed) == {"lint", "outputs", "liveness"}
    shutil.copy(tiny.graph, changed.graph)
    weights.save(untrained(seed=5), changed.weights)
    assert failed(changed) == {"weights"}


def failed(model: Model) -> set[str]:
    return {check.name for check in verify_model(model) if check.status == "failed"}
