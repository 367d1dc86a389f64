"""Thin sampling: the same network as the masked one, from fewer channels."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from conftest import blobs
from onnx import numpy_helper
from torch import nn

from segbench import nets
from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.engines import start
from segbench.engines.channels import UnthinnableError
from segbench.engines.thin import Thinner
from segbench.errors import EngineError
from segbench.export.graph import export
from segbench.masks import Site, masks, ones
from segbench.nets.network import Network, drop
from segbench.predict import predict
from segbench.volume import Volume
from segbench.zoo import Model, find


def shaken(network: nn.Module) -> nn.Module:
    """With batch-norm statistics as a trained network has."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


class Stranger(Network):
    """A U-Net as others write it: batch norms, concatenation, leaky units, zero borders, dropout in the middle."""

    stride = (2, 2, 2)

    def __init__(self, kind: str = "fixed") -> None:
        super().__init__()
        how = {"kept": 3} if kind == "fixed" else {"keep_probability": 0.5, "kind": "bernoulli"}
        self.sites = (Site(name="a", channels=8, **how), Site(name="b", channels=6, **how))
        self.down, self.low = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 8, 3, padding=1)
        self.norm, self.join = nn.BatchNorm3d(8), nn.Conv3d(12, 6, 3, padding=1)
        self.after, self.last, self.head = nn.BatchNorm3d(6), nn.Conv3d(6, 6, 3), nn.Conv3d(6, 1, 1)

    def forward(self, image, masks):
        skip = F.leaky_relu(self.down(image), 0.1)
        low = F.leaky_relu(self.norm(self.low(F.max_pool3d(skip, 2))), 0.1)
        low = drop(low, masks, self.sites, 0)
        up = F.interpolate(low, scale_factor=2.0, mode="nearest")
        joined = torch.cat([up, skip.expand(up.shape[0], -1, -1, -1, -1)], dim=1)
        x = drop(torch.relu(self.after(self.join(joined))), masks, self.sites, 1)
        x = x + torch.sigmoid(self.last(F.pad(x, (1, 1, 1, 1, 1, 1)))) * 0.5
        return self.head(x)


def exported(network: Network, tiny: Model, folder) -> Model:
    """As a model that was exported, not released."""
    export(network, folder / tiny.card.files.graph.path)
    return Model(card=tiny.card.model_copy(update={"dropout": network.sites}), path=folder)


NETWORKS = {
    "stages": lambda: nets.build("vnet-battery", widths=[4, 8], kept=[4, 2]),
    "inner": lambda: nets.build("vnet-battery", widths=[4, 8, 8], kept=[3, 4, 1], inner=True),
    "light": lambda: nets.build("vnet-battery", widths=[4, 8, 8], kept=[4, 4, 4], inner=True, light=True),
    "slices": lambda: nets.build("unet2d-battery", widths=[4, 8], kept=[4, 2], inner=True),
    "stranger": Stranger,
    "stranger, bernoulli": lambda: Stranger("bernoulli"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, tiny, tmp_path_factory) -> Model:
    torch.manual_seed(1)
    return exported(shaken(NETWORKS[request.param]()), tiny, tmp_path_factory.mktemp("thin"))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_thin_and_masked_are_one_network(model, engine):
    image = blobs((8, 12, 16), seed=2)[None, None]
    for drawn in (masks(model.card.dropout, 5, range(5)), masks(model.card.dropout, 5, [3]), ones(model.card.dropout)):
        thin, masked = (start(model, engine, threads=2, thin=how).bind(drawn)(image) for how in (True, False))
        assert thin.shape == masked.shape == (len(drawn), 1, 8, 12, 16)
        np.testing.assert_allclose(thin, masked, rtol=0, atol=1e-5)
        if len(drawn) > 1:
            assert np.abs(thin[0] - thin[1]).mean() > 1e-4


def test_thin_is_the_default_and_does_not_depend_on_threads(model):
    image, drawn = blobs((8, 8, 8), seed=2)[None, None], masks(model.card.dropout, 0, range(3))
    engines = [start(model, "onnxruntime", threads=threads) for threads in (1, 2, 4)]
    assert all(engine.thin and not engine.note for engine in engines)
    one, two, four = (engine.bind(drawn)(image) for engine in engines)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, four)
    other = start(model, "onnxruntime", threads=1)
    assert not np.array_equal(other.bind(masks(model.card.dropout, 1, range(3)))(image), one)
    np.testing.assert_array_equal(other.bind(drawn)(image), one)  # the masks bound last do not stick


def convolutions(graph: bytes) -> list[tuple[int, ...]]:
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    weights = {i.name: numpy_helper.to_array(i).shape for i in model.graph.initializer}
    return [weights[n.input[1]][:2] for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose")]


def test_dropped_channels_are_not_computed(tiny, tmp_path):
    network = nets.build("vnet-battery", widths=[16, 32, 64], kept=[16, 8, 16], inner=True, light=True).eval()
    model = exported(network, tiny, tmp_path)
    graphs = Thinner(model.graph).graphs(masks(network.sites, 0, range(3)), workers=2)
    assert graphs.numbers == ((0, 2), (1,))
    # bottom 16 of 64 kept -> up1: 8 of 32, then 8 -> 8 -> up0: all 16 of it -> head
    assert convolutions(graphs.samples[1]) == [(16, 8), (8, 8), (8, 16), (1, 16)]
    assert convolutions(graphs.samples[0]) == 2 * [(16, 8), (8, 8), (8, 16), (1, 16)]
    assert (32, 32) in convolutions(graphs.shared)  # a skip's half, full width, once for all samples


def test_the_skips_half_of_a_concatenation_is_shared(tiny, tmp_path):
    torch.manual_seed(1)
    model = exported(shaken(Stranger()), tiny, tmp_path)
    graphs = Thinner(model.graph).graphs(masks(model.card.dropout, 0, range(1)), workers=1)
    assert convolutions(graphs.shared)[-1] == (6, 4)
    # all of the join, to whose kept channels a full tensor is added later; of the bottom only what is kept
    assert convolutions(graphs.samples[0])[0] == (6, 3)


class Mixed(Network):
    """A norm over all channels after the first dropout."""

    stride = (1, 1, 1)

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.sites = (Site(name="a", channels=4, kept=2),)
        self.first, self.norm, self.head = nn.Conv3d(1, 4, 3, padding=1), norm, nn.Conv3d(4, 1, 1)

    def forward(self, image, masks):
        return self.head(self.norm(drop(self.first(image), masks, self.sites, 0)))


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.Softmax(dim=1), nn.Conv3d(4, 4, 1, groups=2)])
def test_what_cannot_be_thinned_says_so(tiny, tmp_path, norm):
    model = exported(Mixed(norm).eval(), tiny, tmp_path)
    drawn = masks(model.card.dropout, 0, range(1))
    with pytest.raises(UnthinnableError, match="it cannot be thinned: after its first dropout comes"):
        Thinner(model.graph).channels(drawn)
    with pytest.raises(EngineError, match="model 'tiny': it cannot be thinned"):
        start(model, "onnxruntime", thin=True)
    engine = start(model, "onnxruntime")
    assert not engine.thin
    assert "it cannot be thinned" in engine.note
    assert engine.bind(drawn)(blobs((4, 4, 4))[None, None]).shape == (1, 1, 4, 4, 4)


def test_engines_without_thin_sampling_refuse_it(tiny):
    for engine in ("torch", "torch-compiled", "fake"):
        with pytest.raises(EngineError, match="no thin sampling"):
            start(tiny, engine, thin=True)
        assert not start(tiny, engine).thin


def test_a_prediction_is_the_same_thin_and_masked(tiny):
    volume = Volume(blobs((30, 20, 24)))
    thin, masked = (
        predict(volume, tiny.card, start(tiny, engine, thin=how), samples=6, seed=1)
        for engine, how in (("openvino", True), ("onnxruntime", False))
    )
    np.testing.assert_allclose(thin.probability, masked.probability, rtol=0, atol=1e-5)
    np.testing.assert_allclose(thin.mutual, masked.mutual, rtol=0, atol=1e-5)
    near = np.abs(masked.probability - tiny.card.threshold) < 1e-5
    assert np.all((thin.labels == masked.labels) | near)


def test_devices_that_are_not_there(tiny):
    with pytest.raises(EngineError, match="does not run on 'cuda'; it runs on cpu"):
        start(tiny, "openvino", device="cuda")
    with pytest.raises(EngineError, match="does not run on 'tpu'"):
        start(tiny, "onnxruntime", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="CUDA"):
            start(tiny, "torch", device="cuda")
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(EngineError, match="no CUDAExecutionProvider: pip install onnxruntime-gpu"):
            start(tiny, "onnxruntime", device="cuda")


def test_the_zoo_s_default_path_is_the_masked_graph_of_the_reference_runtime():
    """`segbench eval --zoo vnet-battery` and the same with `--engine onnxruntime --no-thin`, on two tiles."""
    model = find("vnet-battery")
    (case,) = battery16.load({"Tesla": DOMAINS["Tesla"]}, 48)
    tiled = model.card.input.model_copy(update={"core": (48, 48, 24)})
    card = model.card.model_copy(update={"input": tiled})
    fast = start(model, threads=2)
    assert (fast.name, fast.thin) == ("openvino", True)
    slow = start(model, "onnxruntime", threads=2, thin=False)
    assert not slow.thin
    got, expected = (predict(Volume(case.image), card, engine, samples=3) for engine in (fast, slow))
    np.testing.assert_allclose(got.probability, expected.probability, atol=1e-4)
    np.testing.assert_allclose(got.entropy, expected.entropy, atol=1e-4)
    assert np.count_nonzero(got.labels != expected.labels) <= 1e-4 * got.labels.size
