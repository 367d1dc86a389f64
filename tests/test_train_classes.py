"""Slices of K classes: recipes, losses, a budget of processor time, networks, and what training ends with."""

import math
import time
from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from conftest import HERE, TINY, blobs
from test_thin import shaken

from segbench import nets
from segbench.data.pool import Sample
from segbench.engines import start
from segbench.errors import EngineError, InputError
from segbench.export.graph import export
from segbench.export.kinds import graphs
from segbench.export.ranges import measure
from segbench.export.verify import verify_model
from segbench.masks import P, masks, ones, permute
from segbench.metrics.uncertainty import categorical
from segbench.nets.elementwise import drop_elements
from segbench.nets.segnet import pool, unpool
from segbench.normalisation import Normalisation, fit
from segbench.predict import predict
from segbench.recipe import read_toml
from segbench.train import loop
from segbench.train.checkpoint import State
from segbench.train.losses import class_weights, loss
from segbench.train.recipe import LossRecipe, OptimiserRecipe, Recipe
from segbench.train.release import release
from segbench.train.run import batched
from segbench.volume import Volume
from segbench.zoo import find

SLICES = HERE / "data" / "tiny-slices.toml"
BASELINES = ["matphase-unet", "matphase-unetpp", "matphase-manet", "matphase-deeplabv3", "matphase-fcn"]
OWN = ["matphase-segnet", "matphase-mcd-unet"]


def slices(count: int = 3, edge: int = 40) -> list[Sample]:
    """Three levels of a smooth noise, as pore, carbon and nickel; nothing is simulated."""
    images = [np.clip(blobs((1, edge, edge), seed), -1, 1) for seed in range(count)]
    return [
        Sample(f"slice {i}", image, np.digitize(image, [-0.3, 0.3]).astype(np.uint8)) for i, image in enumerate(images)
    ]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_toml(SLICES, Recipe)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A model of slices, released like any other after a few steps."""
    out = tmp_path_factory.mktemp("trained")
    network, state = loop.fit(recipe, (slices(), slices(2)), out)
    release(shaken(network), recipe, SLICES, state, slices(2), out, 3)
    return find(str(out))


# recipes


def test_a_recipe_of_slices_is_told_from_one_of_volumes(recipe):
    assert recipe.softmax
    assert recipe.data.source == "battery-fib"
    assert not read_toml(TINY, Recipe).softmax


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("images = 2", "imagse = 2", r"data\.imagse: unknown key"),
        ("images = 2", "images = 0", r"data\.images: "),
        ('"battery-fib"', '"battery-fob"', r"data\.source: .*battery-fib"),
        ('source = "battery-fib"', 'split = "clean"', r"data\.(split|images): unknown key"),
        ('"nickel"]', '"nickle"]', "classes of battery-fib are"),
        ("crop = [1, 32, 32]", "crop = 32", "1 deep"),
        ('symmetries = "flips"', "symmetries = true", "symmetries"),
        ('symmetries = "flips"', 'symmetries = "flips"\nconvention = 0.1', "convention"),
        ('mean = "logits"', "calibrate = true", "calibrate"),
    ],
)
def test_recipes_of_slices_say_in_one_line_what_is_wrong(tmp_path, old, new, message):
    path = tmp_path / "r.toml"
    text = SLICES.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_toml(path, Recipe)
    assert "\n" not in str(caught.value)


def test_two_classes_have_no_mean_of_logits(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(TINY.read_text().replace("seed = 3", 'seed = 3\nmean = "logits"'))
    with pytest.raises(InputError, match="mean"):
        read_toml(path, Recipe)


def test_a_network_of_other_classes_is_told_before_it_is_trained(recipe):
    options = recipe.network.options | {"classes": 4}
    other = recipe.model_copy(update={"network": recipe.network.model_copy(update={"options": options})})
    with pytest.raises(InputError, match="4 classes apart, not 3"):
        loop.started(other)


def test_a_checkpoint_belongs_to_what_decides_its_weights(recipe, tmp_path):
    """Not to how the run is watched or the model served, nor to whether a default is written out."""
    own = loop.recipe_hash(recipe)
    served = recipe.tile.model_copy(update={"halo": (0, 0, 0)})
    for same in ({"title": "another"}, {"validate_every": 7}, {"limits": ("none known",)}, {"tile": served}):
        assert getattr(recipe, next(iter(same))) != next(iter(same.values()))
        assert loop.recipe_hash(recipe.model_copy(update=same)) == own, same
    for other in ({"seed": recipe.seed + 1}, {"batch": recipe.batch + 1}, {"start": "unet3d-battery"}):
        assert loop.recipe_hash(recipe.model_copy(update=other)) != own, other
    path = tmp_path / "recipe.toml"
    path.write_text(SLICES.read_text().replace("\n[", f'\nprecision = "{recipe.precision}"\n\n[', 1))
    assert loop.recipe_hash(read_toml(path, Recipe)) == loop.recipe_hash(read_toml(SLICES, Recipe))


@pytest.mark.parametrize("name", BASELINES + OWN)
def test_baselines_share_data_loss_batch_and_optimiser(name):
    one, other = (read_toml(HERE.parent / "train" / f"{n}.toml", Recipe) for n in (name, "matphase-unet"))
    for shared in ("data", "normalisation", "augmentation", "loss", "batch", "steps", "precision", "crop", "seed"):
        assert getattr(one, shared) == getattr(other, shared), shared
    assert one.optimiser.model_copy(update={"learning_rate": 1}) == other.optimiser.model_copy(
        update={"learning_rate": 1}
    )


# normalisation


def test_a_range_ends_at_minus_one_and_one_whatever_the_scale():
    grey = blobs((3, 20, 20)).astype(np.float64)
    how = Normalisation(mode="range", clip_percentiles=(1, 99))
    low, high = np.percentile(grey, [1, 99], method="inverted_cdf")
    expected = 2 * (np.clip(grey, low, high) - low) / (high - low) - 1
    for scaled in (grey, 1e4 * grey + 3e6):
        np.testing.assert_allclose(fit(how, Volume(scaled))(scaled), expected, atol=1e-6)
    inverted = fit(how, Volume(grey), invert=True)(grey)
    np.testing.assert_allclose(inverted, -expected, atol=1e-6)
    whole = fit(Normalisation(mode="range"), Volume(grey))(grey)
    assert (whole.min(), whole.max()) == (-1, 1)


# losses


def test_class_weights_are_powers_of_shares_and_one_on_the_mean():
    counts = np.array([14, 26, 60])
    for balance in (0.0, 0.5, 1.0):
        weights = class_weights(counts, balance).numpy()
        assert (weights * counts).sum() / 100 == pytest.approx(1)
        np.testing.assert_allclose(weights / weights[0], (counts / 14.0) ** -balance, rtol=1e-6)
    np.testing.assert_allclose(class_weights(counts, 1.0).numpy() * counts, 100 / 3, rtol=1e-6)
    assert class_weights(np.array([0, 5, 5]), 0.5).tolist() == [0, 1, 1]


def test_the_loss_of_k_classes_against_closed_forms_and_torch():
    target = torch.tensor([0, 1, 2, 2]).reshape(1, 1, 2, 2)
    zero, weights = torch.zeros(1, 3, 1, 2, 2), torch.tensor([2.0, 1.0, 0.5])
    assert float(loss(zero, target, LossRecipe())) == pytest.approx(math.log(3))
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 1, 2, 2)
    each = -torch.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
    weighted = (each * weights[target]).sum() / weights[target].sum()
    assert float(loss(logits, target, LossRecipe(), weights)) == pytest.approx(float(weighted))
    assert float(weighted) == pytest.approx(float(F.cross_entropy(logits, target, weight=weights)))
    # p = 1/3 everywhere: a class of n of the 4 pixels shares n/3 of a union of 4/3 + n - n/3
    jaccard = np.mean([1 - (n / 3 + 1) / (4 / 3 + n - n / 3 + 1) for n in (1, 1, 2)])
    assert float(loss(zero, target, LossRecipe(jaccard=0.5))) == pytest.approx(math.log(3) + 0.5 * jaccard)
    sure = 50 * F.one_hot(target, 3).movedim(-1, 1).float()
    assert float(loss(sure, target, LossRecipe(jaccard=1.0), weights)) == pytest.approx(0, abs=1e-6)


# the loop


def test_a_batch_holds_slices_and_their_classes(recipe):
    images, target = loop.make_batch(slices(), recipe, 5)
    assert images.shape == (2, 1, 1, 32, 32)
    assert target.shape == (2, 1, 32, 32)
    assert target.dtype == torch.int64
    # flips turn image and label together: the levels still are what the labels were made of
    assert np.array_equal(np.digitize(images.numpy()[:, 0], [-0.3, 0.3]), target.numpy())
    seen = {loop.make_batch(slices(1, 32), recipe, step)[0][0].numpy().tobytes() for step in range(60)}
    assert len(seen) == 4  # a whole slice, flipped along Y, X, both or neither


def test_a_resumed_run_ends_with_the_same_weights(recipe, tmp_path):
    data = (slices(), slices(1))
    whole, state = loop.fit(recipe, data, tmp_path)
    (tmp_path / "parts").mkdir()
    loop.fit(recipe, data, tmp_path / "parts", steps=4)
    again, resumed = loop.fit(recipe, data, tmp_path / "parts")
    assert state.step == resumed.step == 6
    assert [r["loss"] for r in state.history] == [r["loss"] for r in resumed.history]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_training_learns_three_classes(recipe, tmp_path):
    options = {"widths": [8, 16], "kept": [8, 4], "encoder": [4], "classes": 3}
    network = recipe.network.model_copy(update={"options": options})
    optimiser = OptimiserRecipe(learning_rate=3e-2, warmup_steps=5)
    recipe = recipe.model_copy(update={"steps": 100, "validate_every": 100, "optimiser": optimiser, "network": network})
    _, state = loop.fit(recipe, (slices(), slices(3)), tmp_path)
    most = max(np.bincount(np.concatenate([sample.label.ravel() for sample in slices(3)]))) / (3 * 40 * 40)
    assert state.history[-1]["validation_accuracy"] > most + 0.3


class Clock:
    """A second of processor time passes each time that it is looked at."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 1
        return self.seconds


def test_a_budget_ends_the_run_and_the_schedule_with_it(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "process_time", Clock())
    recipe = recipe.model_copy(
        update={"steps": 1000, "optimiser": OptimiserRecipe(learning_rate=1.0, warmup_steps=100)}
    )
    _, state = loop.fit(recipe, (slices(), slices(1)), tmp_path, budget_s=10)
    assert state.step == 10
    assert state.processor_s == 10
    rates = [float(r["learning_rate"]) for r in state.history]
    # the warm-up is a tenth of the steps and so of the budget; then a cosine over what is left of it
    assert rates[0] == pytest.approx(1 / 100)
    expected = [0.5 * (1 + math.cos(math.pi * (100 * used - 100) / 900)) for used in range(1, 10)]
    assert rates[1:] == pytest.approx(expected)
    assert "validation_miou" in state.history[-1]


def test_steps_end_a_run_that_has_budget_left(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "process_time", Clock())
    _, state = loop.fit(recipe, (slices(), slices(1)), tmp_path, budget_s=1e6)
    free = loop.fit(recipe, (slices(), slices(1)), tmp_path.parent / tmp_path.name)[1]
    assert state.step == 6
    assert [r["loss"] for r in state.history] == [r["loss"] for r in free.history]


def test_a_budget_counts_over_all_sittings(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "process_time", Clock())
    recipe = recipe.model_copy(update={"steps": 1000})
    data = (slices(), slices(1))
    first = loop.fit(recipe, data, tmp_path, budget_s=4)[1]
    second = loop.fit(recipe, data, tmp_path, budget_s=7)[1]
    again = loop.fit(recipe, data, tmp_path, budget_s=7)[1]
    assert (first.step, second.step, again.step) == (4, 7, 7)
    assert second.processor_s == again.processor_s == 7


def test_another_batch_sees_as_much():
    recipe = read_toml(HERE.parent / "train" / "matphase-unet.toml", Recipe)
    smaller = batched(recipe, 5)
    assert (smaller.batch, smaller.steps, smaller.optimiser.warmup_steps) == (5, 4 * recipe.steps, 400)
    assert batched(recipe, 20) == recipe


# networks


def test_parameter_counts_are_those_of_the_layers():
    """Of UGSM by hand: 3 x 3 convolutions without bias, two numbers a channel of batch norm, a head with bias."""
    widths = (16, 32, 64, 128)
    convolutions = sum(9 * (a * b + b * b) for a, b in zip((1, *widths), widths, strict=False))
    convolutions += sum(9 * (b * a + a * a + a * a) for a, b in zip(widths, widths[1:], strict=False))
    norms = 2 * 2 * (sum(widths) + sum(widths[:-1]))
    assert nets.build("unet2d-matphase").parameter_count() == convolutions + norms + 16 * 3 + 3 == 487_747
    assert nets.build("unet2d-battery").parameter_count() == 487_747 - 2 * 17  # one logit instead of three
    assert nets.build("segnet").parameter_count() == 29_472_643


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("unet", 14_322_227),
        ("unetpp", 15_964_467),
        ("manet", 21_669_491),
        ("deeplabv3", 15_893_187),
        ("fcn", 11_760_707),
    ],
)
def test_baselines_of_the_libraries_give_a_logit_for_each_class(name, count):
    if find_spec("segmentation_models_pytorch") is None:  # not imported: torchvision may need a declaration first
        pytest.skip("segbench[baselines] is not installed")
    network = nets.build(name).eval()
    assert network.parameter_count() == count
    assert not network.sites
    image = torch.randn(1, 1, 2, 32, 64)
    with torch.no_grad():
        both, alone = (network(part, torch.ones(2, 0)) for part in (image, image[:, :, :1]))
        batch = network(image.repeat(2, 1, 1, 1, 1), torch.ones(1, 0))
    assert both.shape == batch.shape == (2, 3, 2, 32, 64)
    torch.testing.assert_close(both[:, :, :1], alone, rtol=0, atol=1e-4)  # no slice sees another


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    from segbench.nets import baselines

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(baselines, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'segbench\[baselines\]'") as caught:
        nets.build("unet")
    assert "\n" not in str(caught.value)


def test_maxima_are_put_back_as_torch_s_own_unpooling_does():
    torch.manual_seed(0)
    x = F.relu(torch.randn(2, 3, 8, 12)).requires_grad_()  # with many zeros, so with many equal maxima
    largest, found = pool(x)
    expected, at = F.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(largest, expected)
    back = unpool(largest, found)
    assert torch.equal(back, F.max_unpool2d(expected, at, 2))
    one, two = (torch.autograd.grad((v**2).sum(), x, retain_graph=True)[0] for v in (back, expected))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    "options",
    [
        {"widths": [4, 8, 8], "kept": [4, 4, 2], "encoder": [2, 4], "inner": True},
        {"widths": [4, 8], "kept": [4, 2], "encoder": [], "classes": 4},
    ],
)
def test_thin_and_masked_are_one_network_of_k_classes(options, tiny, tmp_path):
    torch.manual_seed(1)
    network = shaken(nets.build("unet2d-matphase", **options))
    export(network, tmp_path / tiny.card.files.graph.path)
    model = tiny.model_copy(update={"path": tmp_path, "card": tiny.card.model_copy(update={"dropout": network.sites})})
    image, drawn = blobs((2, 16, 24), seed=2)[None, None], masks(network.sites, 5, range(5))
    with torch.no_grad():
        expected = network(torch.from_numpy(image), torch.from_numpy(drawn)).numpy()
    for engine in ("onnxruntime", "openvino"):
        thin, masked = (start(model, engine, threads=1, thin=how).bind(drawn)(image) for how in (True, False))
        assert thin.shape == (5, options.get("classes", 3), 2, 16, 24)
        np.testing.assert_allclose(thin, masked, rtol=0, atol=1e-5)
        np.testing.assert_allclose(masked, expected, rtol=0, atol=1e-5)
    assert np.abs(thin[0] - thin[1]).mean() > 1e-3


def test_every_site_of_the_encoder_is_alive():
    network = shaken(nets.build("unet2d-matphase", widths=[4, 8, 8], kept=[4, 4, 2], encoder=[2, 4]))
    assert [site.name for site in network.sites] == ["down0", "down1", "bottom", "up1", "up0"]
    image, whole, first = torch.randn(1, 1, 1, 16, 16), torch.from_numpy(ones(network.sites)), 0
    with torch.no_grad():
        for site in network.sites:
            dropped = whole.clone()
            dropped[:, first : first + site.channels // 2] = 0
            assert float((network(image, dropped) - network(image, whole)).abs().max()) > 1e-4, site.name
            first += site.channels


# what training ends with


def test_the_card_of_a_softmax_model(trained, recipe):
    card = trained.card
    assert (card.activation, card.mean, card.calibration) == ("softmax", "logits", None)
    assert card.classes == ("pore", "carbon", "nickel")
    assert card.input.normalisation == recipe.normalisation
    assert card.training.epochs == pytest.approx(6 * 2 / 3)
    assert card.training.processor_s is None or card.training.processor_s > 0
    assert "battery-fib" in card.training.data
    page = (trained.path / "README.md").read_text()
    assert "largest mean logit" in page
    assert "validation slices of battery-fib" in page
    assert "phantom" not in page


def test_it_is_verified_and_predicts(trained):
    made = {check.name: check for check in verify_model(trained)}
    assert {check.status for check in made.values()} == {"passed"}, made
    image = slices(1)[0].image
    engine = start(trained, "onnxruntime", threads=1)
    found = predict(Volume(image), trained.card, engine, 4, 0)
    drawn = masks(trained.card.dropout, 0, range(4))
    assert found.probabilities.shape == (3, 1, 40, 40)
    assert engine.thin
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)
    assert len(drawn) == found.samples


def test_graphs_that_aggregate_say_the_softmax_of_the_mean_logits(trained):
    kinds = dict(graphs(trained, ("deterministic", "seeded", "aggregated")))
    run = {
        k: onnxruntime.InferenceSession(g.SerializeToString(), providers=["CPUExecutionProvider"])
        for k, g in kinds.items()
    }
    image = slices(1)[0].image[None, None]
    asked = {"image": image, "seed": np.array([3], np.int32), "samples": np.arange(4, dtype=np.int32)}
    logits = run["seeded"].run(["logits"], asked)[0].astype(np.float64)
    powers = np.exp(logits.mean(axis=0))
    p = powers / powers.sum(axis=0)
    each = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = categorical(each.astype(np.float32), p.astype(np.float32))
    mean, entropy, mutual = run["aggregated"].run(["mean", "entropy", "mutual_information"], asked)
    np.testing.assert_allclose(mean[0], p, atol=1e-5)
    np.testing.assert_allclose(entropy[0, 0], expected.entropy, atol=1e-5)
    np.testing.assert_allclose(mutual[0, 0], expected.mutual, atol=1e-5)
    assert run["deterministic"].run(None, {"image": image})[0].shape == (1, 3, 1, 40, 40)


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_other_precisions_of_k_classes_stay_near(trained, precision):
    image, drawn = slices(1)[0].image[None, None], masks(trained.card.dropout, 0, range(3))
    exact, rough = (start(trained, "openvino", p, threads=1).bind(drawn)(image) for p in ("f32", precision))
    assert 0 < np.abs(rough - exact).mean() < 0.1 * exact.std()
    assert np.mean(rough.mean(axis=0).argmax(axis=0) == exact.mean(axis=0).argmax(axis=0)) > 0.9


def test_ranges_are_those_of_slices(trained):
    seen = [sample.image for sample in slices(2)]
    assert measure(trained.graph, seen, trained.card.dropout)
    assert "validation slices of battery-fib" in trained.ranges.read_text()


def test_a_baseline_without_dropout_is_a_model_too(recipe, tmp_path):
    """SegNet, whose places of maxima have to survive the export."""
    options = {"classes": 3, "widths": [4, 6], "convolutions": [1, 1]}
    network = recipe.network.model_copy(update={"kind": "segnet", "options": options})
    recipe = recipe.model_copy(update={"network": network, "mean": "probability"})
    torch.manual_seed(0)
    built = shaken(nets.build("segnet", **options))
    card = release(built, recipe, SLICES, State(1, 1.0, [{"step": 1, "loss": 1.0}]), slices(2), tmp_path, 3)
    assert not card.dropout
    assert {check.status for check in verify_model(find(str(tmp_path)))} == {"passed"}
    image = slices(1)[0].image[None, None]
    with torch.no_grad():
        expected = built(torch.from_numpy(image), torch.ones(1, 0)).numpy()
    for engine in ("onnxruntime", "openvino"):
        found = start(find(str(tmp_path)), engine, threads=1).bind(ones(()))(image)
        np.testing.assert_allclose(found, expected, atol=1e-4)


# dropout of single elements


@pytest.fixture(scope="module")
def elementwise(recipe, tmp_path_factory):
    """A released model whose dropout is element-wise; untrained."""
    out = tmp_path_factory.mktemp("elementwise")
    options = recipe.network.options | {"dropout": "element"}
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update={"options": options})})
    torch.manual_seed(2)
    network = shaken(nets.build(recipe.network.kind, **options))
    release(network, recipe, SLICES, State(1, 1.0, [{"step": 1, "loss": 1.0}]), slices(2, 32), out, 3)
    return find(str(out)), network


def test_elements_are_dropped_one_by_one_by_the_cipher_of_the_masks(elementwise):
    _, network = elementwise
    site = network.sites[1]
    assert [s.kind for s in network.sites] == ["element"] * 3
    columns = masks(network.sites, 7, [2, 5])[:, 4:8]
    dropped = drop_elements(torch.ones(1, 3, 2, 120, 130), torch.from_numpy(columns), site).numpy()
    index = np.arange(3 * 120 * 130)
    for row, found in zip(columns.astype(np.int64) - 2, dropped, strict=True):
        left, right = permute(index % P, index // P, list(row))
        expected = 2.0 * ((left * P + right) < P * P / 2).reshape(3, 1, 120, 130)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert np.mean(dropped[0] == dropped[1]) == pytest.approx(0.5, abs=0.03)
    whole = drop_elements(torch.ones(1, 3, 1, 8, 8), torch.from_numpy(ones(network.sites))[:, :4], site)
    assert torch.equal(whole, torch.ones(1, 3, 1, 8, 8))


def test_every_runtime_drops_the_same_elements_and_none_thins_them(elementwise):
    model, network = elementwise
    image, drawn = slices(1, 64)[0].image[None, None], masks(network.sites, 3, range(3))
    with torch.no_grad():
        expected = network(torch.from_numpy(image), torch.from_numpy(drawn)).numpy()
    for name in ("onnxruntime", "openvino"):
        engine = start(model, name, threads=1)
        np.testing.assert_allclose(engine.bind(drawn)(image), expected, atol=1e-5)
        assert not engine.thin
        assert "cannot be thinned" in engine.note
        with pytest.raises(EngineError, match="cannot be thinned") as caught:
            start(model, name, threads=1, thin=True)
        assert "\n" not in str(caught.value)
    assert np.abs(expected[0] - expected[1]).mean() > 1e-3


def test_an_element_wise_model_is_proved_as_others_are(elementwise):
    model, _ = elementwise
    assert model.card.input.fixed_tile
    made = {check.name: check for check in verify_model(model)}
    assert {check.status for check in made.values()} == {"passed"}, made
    (_, seeded), (_, twin) = graphs(model, ("seeded", "deterministic"))
    run = onnxruntime.InferenceSession(seeded.SerializeToString(), providers=["CPUExecutionProvider"])
    image = slices(1, 32)[0].image[None, None]
    asked = {"image": image, "seed": np.array([9], np.int32), "samples": np.array([0, 5], np.int32)}
    np.testing.assert_array_equal(run.run(["masks"], asked)[0], masks(model.card.dropout, 9, [0, 5]))
    run = onnxruntime.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = start(model, "onnxruntime", threads=1).bind(ones(model.card.dropout))(image)
    np.testing.assert_allclose(run.run(None, {"image": image})[0], expected, atol=1e-5)
