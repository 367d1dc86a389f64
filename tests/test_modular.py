"""The modular U-Net: recorded parameter counts, borders, slices beside slices, sampling, loss, optimiser, training."""

import math

import numpy as np
import pytest
import torch
from conftest import HERE, blobs
from test_regions import Chain, check
from test_thin import exported, shaken

from segbench import nets
from segbench.data.augmentation import Augmentation, crop
from segbench.data.fibre import Layers, Split
from segbench.data.pool import Sample
from segbench.engines import start
from segbench.errors import InputError
from segbench.masks import masks, ones
from segbench.recipe import read_toml
from segbench.train import layers, loop
from segbench.train.losses import loss
from segbench.train.optimisers import learning_rate, make_optimiser
from segbench.train.recipe import LossRecipe, OptimiserRecipe, Recipe

RECIPES = {"2d": "tomo2seg-2d", "2.5d": "tomo2seg-25d", "3d": "tomo2seg-3d"}


def small(**options):
    """A few channels; what is measured does not depend on how many."""
    torch.manual_seed(1)
    return shaken(nets.build("unet-modular", **({"filters": 2, "depth": 1} | options)))


def drawn(network, count=3):
    return torch.from_numpy(masks(network.sites, 0, range(count)) if network.sites else ones(network.sites))


# recorded, and derived from the recorded by the study's formula


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 3_302_883),
        ({"norm": "layer"}, 3_302_883),
        ({"filters": 8}, 827_763),
        ({"filters": 24}, 7_425_363),
        ({"filters": 32}, 13_195_203),
        ({"depth": 2}, 791_907),
        ({"depth": 4}, 13_338_339),
        ({"norm": "none"}, 3_297_795),
        ({"residual": False}, 2_332_803),
        ({"learned_down": False, "learned_up": False}, 2_333_187),
        ({"depth": 4, "convolution": "separable"}, 5_021_381),
        ({"dims": "2.5d", "filters": 8}, 828_627),
        ({"dims": "2.5d"}, 3_304_611),
        ({"dims": "2.5d", "filters": 24}, 7_427_955),
        ({"dims": "2.5d", "filters": 32}, 13_198_659),
        ({"dims": "2.5d", "depth": 4}, 13_340_067),
        ({"dims": "2.5d", "depth": 4, "convolution": "separable"}, 5_021_645),
        ({"dims": "2.5d", "depth": 4, "filters": 8, "shared_encoder": True}, 9_625_971),
        ({"dims": "3d", "filters": 8}, 2_475_555),
        ({"dims": "3d"}, 9_893_187),
        ({"dims": "3d", "filters": 24}, 22_252_899),
        ({"dims": "3d", "filters": 32}, 39_554_691),
        ({"dims": "3d", "filters": 8, "depth": 4}, 10_000_035),
        ({"dims": "3d", "filters": 12, "depth": 4}, 22_493_523),
        ({"dims": "3d", "depth": 4}, 39_982_659),
    ],
)
def test_parameter_counts_are_the_recorded_ones(options, count):
    with torch.device("meta"):
        assert nets.build("unet-modular", **options).parameter_count() == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": "4d"}, "dims is one of"),
        ({"norm": "group"}, "norm is one of"),
        ({"dropout": 0.0}, "dropout 0"),
        ({"depth": 0}, "depth 0"),
        ({"coarse": 3}, "coarse is 1, 2 or 4"),
        ({"coarse": [2, 2]}, r"three of these, not \[2, 2\]"),
        ({"shared_encoder": True}, "shared encoder"),
        ({"fine": -1}, "fine -1"),
    ],
)
def test_options_that_are_not_there_are_named(options, message):
    with pytest.raises(InputError, match=message):
        nets.build("unet-modular", **options)


KINDS = [
    {"dims": "2d"},
    {"dims": "2.5d"},
    {"dims": "2.5d", "shared_encoder": True},
    {"dims": "3d"},
    {"convolution": "separable", "residual": False},
    {"learned_down": False, "learned_up": False},
    {"norm": "layer"},
    {"ways": True, "falling": False},
    {"coarse": 2},
    {"dims": "3d", "coarse": 2},
    {"dims": "3d", "coarse": [1, 2, 2]},
    {"dims": "2.5d", "coarse": 2, "shared_encoder": True},
    {"dims": "2.5d", "coarse": 2, "fine": 3},
    {"dims": "3d", "coarse": 2, "fine": 3},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_folding_changes_nothing_and_samples_are_their_own(options):
    network = small(**options).double()
    image, each = torch.randn(1, 1, 8, 8, 12).double(), drawn(network).double()
    with torch.no_grad():
        out = network(image, each)
        folded = network.folded()
        torch.testing.assert_close(folded(image, each), out, rtol=0, atol=1e-12)
        alone = torch.cat([network(image, each[t : t + 1]) for t in range(3)])
    torch.testing.assert_close(alone, out, rtol=0, atol=1e-12)
    assert out.shape == (3, 3, 8, 8, 12)
    assert float((out[0] - out[1]).abs().mean()) > 1e-4
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in folded.modules())


@pytest.mark.parametrize("ways", [False, True])
def test_every_site_is_alive(ways):
    network = small(filters=4, ways=ways)
    image, whole, first = torch.randn(1, 1, 1, 16, 16), torch.from_numpy(ones(network.sites)), 0
    assert [site.name for site in network.sites] == [
        "down0-inner", "down0", "bottom-inner", "bottom", *(["up0-way"] if ways else []), "up0-inner", "up0"
    ]  # fmt: skip
    with torch.no_grad():
        for site in network.sites:
            dropped = whole.clone()
            dropped[:, first : first + site.channels // 2] = 0
            assert float((network(image, dropped) - network(image, whole)).abs().max()) > 1e-4, site.name
            first += site.channels
    assert [site.name for site in small(falling=False, inner=False).sites] == ["bottom", "up0"]
    assert [s.name for s in small(falling=False, ways=True).sites][2:] == ["up0-way", "up0-inner", "up0"]
    assert not small(dropout=1.0).sites


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_a_tile_with_its_halo_gives_what_the_whole_slice_gives(dims):
    """A voxel sees 11 others on each side: two convolutions, down, two, up, two at depth 1."""
    network, halo = small(dims=dims).double(), 12
    deep = 40 if dims == "3d" else 1
    image = torch.randn(1, 1, deep, 40, 64).double()
    each = drawn(network, 1).double()
    with torch.no_grad():
        whole = network(image, each)
        part = network(image[..., 8:48], each)
    torch.testing.assert_close(part[..., halo:-halo], whole[..., 8 + halo : 48 - halo], rtol=0, atol=1e-12)
    assert not torch.equal(part[..., :4], whole[..., 8:12])


@pytest.mark.parametrize("shared", [False, True])
def test_the_middle_slice_sees_two_on_either_side_and_no_more(shared):
    network = small(dims="2.5d", shared_encoder=shared)
    image, each = torch.randn(1, 1, 9, 8, 8), drawn(network, 1)
    with torch.no_grad():
        whole = network(image, each)
        torch.testing.assert_close(network.inside(image, each), whole[:, :, 2:-2], rtol=0, atol=1e-5)
        for z in range(9):
            changed = image.clone()
            changed[:, :, z] += 1
            moved = (network(changed, each) - whole).abs().amax(dim=(0, 1, 3, 4)) > 1e-6
            assert moved.nonzero()[:, 0].tolist() == [i for i in range(9) if abs(i - z) <= 2], z


def test_noise_is_of_training_alone_and_a_function_of_seed_and_step():
    network = small(noise=0.5, norm="none", dropout=1.0)
    image, each = torch.randn(1, 1, 1, 8, 8), drawn(network)

    def said(step, seed=0):
        network.begin(seed, step)
        return network(image, each)

    with torch.no_grad():
        assert torch.equal(said(1), said(2))
        network.train()
        assert torch.equal(said(1), said(1))
        assert not torch.equal(said(1), said(2))
        assert not torch.equal(said(1), said(1, seed=1))


# engines

SAMPLED = {
    "2.5d": {"dims": "2.5d"},
    "3d, rising": {"dims": "3d", "falling": False},
    "coarse, ways": {"falling": False, "ways": True, "coarse": 2},
    "coarse and fine": {"falling": False, "ways": True, "coarse": 2, "fine": 4},
    "3d, coarse and fine": {"dims": "3d", "falling": False, "ways": True, "coarse": [1, 2, 2], "fine": 4},
    "separable, shared": {"dims": "2.5d", "shared_encoder": True, "convolution": "separable"},
}


@pytest.mark.parametrize("name", SAMPLED)
def test_thin_and_masked_are_one_network(tiny, tmp_path, name):
    network = small(filters=4, **SAMPLED[name])
    model = exported(network, tiny, tmp_path)
    image, each = blobs((8, 12, 16), seed=2)[None, None], masks(network.sites, 5, range(3))
    inner = (slice(2, 6), slice(4, 10), slice(4, 12))
    with torch.no_grad():
        expected = network(torch.from_numpy(image), torch.from_numpy(each)).numpy()
    for engine in ("onnxruntime", "openvino"):
        thin, masked = (start(model, engine, threads=1, thin=how).bind(each) for how in (True, False))
        for box in ((slice(None),) * 3, inner):
            np.testing.assert_allclose(thin(image, box), masked(image, box), rtol=0, atol=1e-5)
            np.testing.assert_allclose(masked(image, box), expected[(..., *box)], rtol=0, atol=1e-4)


def test_a_network_without_dropout_is_exported_and_answers_every_mask(tiny, tmp_path):
    """Its export is refused where it has no axis of samples."""
    network = small(dropout=1.0)
    model, image = exported(network, tiny, tmp_path), blobs((4, 8, 8))[None, None]
    for engine in ("onnxruntime", "openvino"):
        logits = start(model, engine, threads=1).bind(np.ones((3, 0), np.float32))(image)
        assert logits.shape == (3, 3, 4, 8, 8)
        assert np.array_equal(logits[0], logits[2])


def test_slices_of_a_tensor_are_followed():
    """out[i] = x[i + 3]: of a slice just the wanted box is read."""
    chain = Chain((16,))
    names = [chain.constant(np.array([value])) for value in (3, -1, 2)]
    assert check(chain.add("Slice", *names), ((2, 5),)) == ((5, 8),)
    assert check(chain.pad().conv(3), ((2, 5),)) == ((4, 9),)


# loss, optimiser, schedule, crops


def test_jaccard2_against_closed_forms():
    target = torch.tensor([0, 1, 2, 2]).reshape(1, 1, 2, 2)
    zero = torch.zeros(1, 3, 1, 2, 2)
    # p = 1/3 everywhere: a class of n of the 4 voxels shares n/3; its union is n + 4/9 - n/3
    shared, union = [n / 3 for n in (1, 1, 2)], [n + 4 / 9 - n / 3 for n in (1, 1, 2)]
    flat = 1 - (sum(shared) + 1) / (sum(union) + 1)
    each = np.mean([1 - (i + 1) / (u + 1) for i, u in zip(shared, union, strict=True)])
    assert float(loss(zero, target, LossRecipe(kind="jaccard2"))) == pytest.approx(flat)
    assert float(loss(zero, target, LossRecipe(kind="jaccard2", per_class=True))) == pytest.approx(each)
    sure = 50 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert float(loss(sure, target, LossRecipe(kind="jaccard2"))) == pytest.approx(0, abs=1e-6)
    # two classes share a logit: p = 1/2, and one voxel of two is of class 1
    two = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 1, 2)
    assert float(loss(torch.zeros_like(two), two, LossRecipe(kind="jaccard2"))) == pytest.approx(1 - 2 / 3)
    with pytest.raises(ValueError, match="jaccard2 stands alone"):
        LossRecipe(kind="jaccard2", balance=0.5)


def test_the_rate_is_constant_then_falls_to_a_tenth():
    how = OptimiserRecipe(kind="adabelief", schedule="constant-then-linear", learning_rate=1e-3)
    rates = [learning_rate(step, 200, how) for step in (0, 100, 150, 200, 300)]
    assert rates == pytest.approx([1e-3, 1e-3, 5.5e-4, 1e-4, 1e-4])


def test_adabelief_against_its_formula():
    """The second rectified step of one number; the first ones are steps of momentum alone (Zhuang et al. 2020)."""
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    layer = torch.nn.Module()
    layer.x = parameter
    optimiser = make_optimiser(layer, OptimiserRecipe(kind="adabelief", learning_rate=0.1))
    mean = variance = 0.0
    expected = 1.0
    for step in range(1, 9):
        gradient = math.sin(step)
        parameter.grad = torch.tensor([gradient])
        optimiser.step()
        mean = 0.9 * mean + 0.1 * gradient
        variance = 0.999 * variance + 0.001 * (gradient - mean) ** 2 + 1e-14
        most, decay = 2 / 0.001 - 1, 0.999**step
        length = most - 2 * step * decay / (1 - decay)
        if length >= 5:
            share = (length - 4) / (most - 4) * (length - 2) / length * most / (most - 2)
            moved = math.sqrt((1 - decay) * share) * mean / (math.sqrt(variance) + 1e-14)
        else:
            moved = mean
        expected -= 0.1 * moved / (1 - 0.9**step)
        assert float(parameter.detach()) == pytest.approx(expected, rel=1e-4), step


def test_planar_symmetries_keep_z():
    image = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    how = Augmentation(symmetries="planar")
    rng = np.random.default_rng(0)
    boxes = [crop(image, image.astype(np.uint8), (3, 3, 3), how, rng)[0] for _ in range(300)]
    assert len({box.tobytes() for box in boxes}) == 16
    assert all({tuple(sorted(layer)) for layer in box.reshape(3, 9)} == {tuple(r) for r in image.reshape(3, 9)}
               for box in boxes)  # fmt: skip


# training


def volume(edge=48, deep=12):
    image = np.clip(blobs((deep, edge, edge)), -1, 1)
    return Sample("volume", image, np.digitize(image, [-0.3, 0.3]).astype(np.uint8))


@pytest.fixture(params=RECIPES)
def recipe(request) -> Recipe:
    """The zoo's, with few channels and steps."""
    found = read_toml(HERE.parent / "train" / f"{RECIPES[request.param]}.toml", Recipe)
    options = found.network.options | {"filters": 2, "depth": 1}
    edges = {"2d": (1, 16, 16), "2.5d": (5, 16, 16), "3d": (4, 16, 16)}[request.param]
    changed = {"network": found.network.model_copy(update={"options": options}), "crop": edges, "batch": 2}
    return found.model_copy(update=changed | {"steps": 6, "precision": "f32", "validate_every": 6})


def test_a_resumed_run_ends_with_the_same_weights(recipe, tmp_path):
    """Noise, masks and AdaBelief's count of steps too."""
    recipe = recipe.model_copy(update={"checkpoint_every": 2})
    data = ([volume()], layers.slabs(volume(deep=16)))
    whole, state = loop.fit(recipe, data, tmp_path)
    (tmp_path / "parts").mkdir()
    loop.fit(recipe, data, tmp_path / "parts", steps=4)
    again, resumed = loop.fit(recipe, data, tmp_path / "parts")
    assert [r["loss"] for r in state.history] == [r["loss"] for r in resumed.history]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_the_target_of_a_crop_is_what_has_all_of_its_neighbours(recipe):
    network = loop.started(recipe)
    images, target = loop.make_batch([volume()], recipe, 0)
    with torch.no_grad():
        logits = network.inside(images, loop.step_masks(network, recipe, 0))
    assert logits.shape[2:] == loop.inside(target, network.context).shape[1:]
    if network.context[0]:
        assert torch.equal(loop.inside(target, network.context), target[:, 2:3])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fibre-composite"', '"fibre-composit"', r"data\.source"),
        ('"fibre-composite"', '"fibre-composite"\ndomain = "nowhere"', "no domain 'nowhere'"),
        ('"fibre-composite"', '"fibre-composite"\nlayers = 3', "5 deep does not fit into 3"),
        ('"porosity"]', '"pore"]', "classes of fibre-composite are"),
        ('kind = "jaccard2"', "per_class = true", "per_class is of jaccard2"),
    ],
)
def test_recipes_of_layers_say_in_one_line_what_is_wrong(tmp_path, old, new, message):
    path, text = tmp_path / "r.toml", (HERE.parent / "train" / "tomo2seg-25d.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_toml(path, Recipe)
    assert "\n" not in str(caught.value)


def test_validation_can_be_a_part_of_the_layers(monkeypatch):
    image = blobs((64, 64, 64))
    part = Layers(image, (image > 0).astype(np.uint8), 0, 63)
    monkeypatch.setattr(layers.fibre, "load", lambda *_: None)
    monkeypatch.setattr(layers.fibre, "split", lambda _: Split(part, part, part))
    recipe = read_toml(HERE.parent / "train" / "unet2d-composite.toml", Recipe)
    _, whole = layers.layers(recipe.data, recipe.normalisation)
    data = recipe.data.model_copy(update={"validated": 32})
    _, (only,) = layers.layers(data, recipe.normalisation)
    assert [sample.image.shape for sample in whole] == [(16, 64, 64)] * 4
    assert np.array_equal(only.image, whole[0].image[:, :32, :32])
    assert only.label.shape == (16, 32, 32)
    assert "32 x 32 of 16" in layers.held_back(data, 1)
