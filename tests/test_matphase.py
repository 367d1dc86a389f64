"""MatPhase's later stages, each on a toy whose right answer is known."""

from collections import Counter

import numpy as np
import pytest
import torch
from cascade_models import model
from conftest import TINY

from segbench import nets
from segbench.cascade import cascade_of
from segbench.data.pool import Sample
from segbench.engines import start
from segbench.errors import InputError, UnknownNameError
from segbench.export.second import export_doubt, export_local
from segbench.io import check_output_folder
from segbench.nets.doubt import Doubt
from segbench.nets.network import Network
from segbench.nets.resnet18 import ResNet18
from segbench.recipe import read_toml
from segbench.train import loop
from segbench.train.matphase import doubt as doubt_module
from segbench.train.matphase import fitting, run
from segbench.train.matphase import local as local_module
from segbench.train.matphase import said as said_module
from segbench.train.matphase.curriculum import Curriculum, ordered
from segbench.train.matphase.doubt import choose, doubted, threshold_of, train_doubt, wrongness
from segbench.train.matphase.local import aggregated, build, classified, context, train_local
from segbench.train.matphase.patches import Patches, dense, hidden, one_hot
from segbench.train.matphase.recipe import DoubtRecipe, LocalRecipe, MatPhaseRecipe
from segbench.train.matphase.said import Asked, mean_logits, say, summed_up
from segbench.train.matphase.stage import Stage
from segbench.train.recipe import OptimiserRecipe
from segbench.train.run import train
from segbench.zoo import find

K = 3


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def planted(images=4, height=20, width=24, seed=0):
    """Slices whose first network is wrong, and knows it in its logits, in a band of columns.

    Where it is right the logit of the class is 6 above the others; where it is wrong all logits are small and alike
    (the paper's assumption A2), and the image says the class.
    """
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, K, (images, -(-height // 5), -(-width // 5))).astype(np.uint8)
    label = blocks.repeat(5, axis=1).repeat(5, axis=2)[:, :height, :width]
    image = (label.astype(float) - 1 + 0.1 * rng.standard_normal(label.shape)).astype(np.float32)
    wrong = np.zeros(label.shape, bool)
    wrong[:, :, 5:10] = True
    said = np.where(wrong, (label + rng.integers(1, K, label.shape)) % K, label)
    high = np.where(wrong, 0.3, 6.0)
    mean = rng.normal(0, 0.05, (images, K, height, width))
    np.put_along_axis(mean, said[:, None], (high + rng.normal(0, 0.05, label.shape))[:, None], axis=1)
    return summed_up(image, label, mean.astype(np.float32)), wrong


@pytest.mark.parametrize(("edge", "parameters"), [(11, 22_835), (17, 35_123), (25, 55_603)])
def test_lcgar_has_the_parameters_of_the_paper(edge, parameters):
    assert nets.build_local("lcgar", classes=3, edge=edge).parameter_count() == parameters


def test_resnet18_has_the_published_parameters():
    assert ResNet18(classes=1000, channels=3).parameter_count() == 11_689_512
    network = ResNet18(classes=3, edge=11).eval()
    assert network(torch.zeros(2, 4, 11, 11), torch.zeros(2, 3)).shape == (2, 3)


def test_an_unknown_local_network_is_named():
    with pytest.raises(UnknownNameError, match="local network"):
        nets.build_local("vgg")


def test_said_is_what_the_formulas_say():
    said, wrong = planted()
    assert np.array_equal(said.wrong, wrong)
    p = np.exp(said.mean.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    assert np.allclose(said.entropy, -(p * np.log(p)).sum(axis=1), atol=1e-5)
    pixels = np.array([0, 481, 480 * 3 + 25])  # 20 x 24 = 480 pixels an image
    features = said.features(pixels)
    assert np.array_equal(features[1, :3], said.mean[1, :, 0, 1])
    assert features[2, 3] == said.entropy[3, 1, 1]


class Toy(Network):
    """Logit k of sample t is k + mask_t times the image."""

    sites = ()
    stride = (1, 8, 8)

    def forward(self, image, masks):
        each = torch.arange(K).reshape(1, K, 1, 1, 1)
        return each + image * masks.sum(dim=1).reshape(-1, 1, 1, 1, 1)


def test_the_mean_is_of_logits_and_of_all_samples():
    image = np.random.default_rng(0).normal(size=(13, 10)).astype(np.float32)  # no multiples of 8
    drawn = np.arange(7, dtype=np.float32)[:, None]  # more than are run at once
    found = mean_logits(Toy(), image, drawn)
    assert found.shape == (K, 13, 10)
    assert np.allclose(found, np.arange(K)[:, None, None] + 3 * image, atol=1e-6)
    assert np.array_equal(mean_logits(Toy(), image, drawn, halo=(5, 3)), found)  # of pixels that see themselves alone


def test_a_killed_stage_goes_on_where_it_was(tmp_path):
    image = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    whole = say(Stage(tmp_path / "a", "said", {}), Asked(Toy(), (0, 0), 2, 0), image, label)
    seen = []

    def stop(done, of):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    stage = Stage(tmp_path / "b", "said", {})
    with pytest.raises(KeyboardInterrupt):
        say(stage, Asked(Toy(), (0, 0), 2, 0), image, label, told=stop)
    assert stage.done is None
    seen.clear()
    resumed = say(stage, Asked(Toy(), (0, 0), 2, 0), image, label, told=lambda done, of: seen.append(done))
    assert seen == [3, 4, 5]
    assert np.array_equal(whole.mean, resumed.mean)
    assert stage.done.steps == 5
    cut = say(Stage(tmp_path / "c", "said", {}), Asked(Toy(), (0, 0), 2, 0), image, label, budget_s=1e-9)
    assert np.array_equal(cut.mean, whole.mean[:1])


def test_doubt_finds_planted_errors(tmp_path):
    said, _ = planted()
    held_back, wrong = planted(seed=1)
    recipe = DoubtRecipe(epochs=80, batch=128, optimiser=OptimiserRecipe(learning_rate=1e-2), recall=1.0, most=0.5)
    network, _ = train_doubt(Stage(tmp_path, "doubt", {}), said, recipe, seed=0)
    found = wrongness(network, held_back)
    assert found[wrong].min() > 0.9
    assert found[~wrong].max() < 0.1
    chosen = choose(network, held_back, recipe)
    assert chosen.recall == 1.0
    assert np.array_equal(chosen.doubted, wrong)
    assert np.array_equal(doubted(network, held_back, chosen.threshold), wrong)


def test_the_threshold_catches_its_share_or_stops_at_the_most():
    rng = np.random.default_rng(0)
    probability = rng.random(1000).astype(np.float32)
    wrong = rng.random(1000) < probability**2
    at = threshold_of(probability, wrong, recall=0.8, most=1.0)
    caught = np.count_nonzero(wrong & (probability > at)) / np.count_nonzero(wrong)
    assert 0.8 <= caught < 0.81
    at = threshold_of(probability, wrong, recall=1.0, most=0.1)
    assert np.count_nonzero(probability > at) == 100
    sure = np.float32(0.9991) + np.float32(0.0005) * probability
    at = threshold_of(sure, wrong, recall=1.0, most=0.1)
    assert np.count_nonzero(sure > at) == 100, "no more than may be, however sure the classifier is"
    assert threshold_of(np.ones(10, np.float32), np.ones(10, bool), 1.0, 1.0) < 1  # a card's threshold is below 1


def test_usi_orders_by_uncertainty():
    entropy = np.random.default_rng(0).random(500).astype(np.float32)
    up, down = ordered(entropy, "usi", 0), ordered(entropy, "reversed", 0)
    assert np.all(np.diff(entropy[up]) >= 0)
    assert np.all(np.diff(entropy[down]) <= 0)
    assert sorted(ordered(entropy, "random", 0)) == list(range(500))
    assert np.abs(np.corrcoef(np.arange(500), entropy[ordered(entropy, "random", 0)])[0, 1]) < 0.2


def test_the_pool_grows_from_certain_to_all():
    entropy = np.random.default_rng(0).random(1000).astype(np.float32)
    curriculum = Curriculum(entropy, LocalRecipe(start=0.2, full=0.5, batch=64), 0)
    for share, part in ((0.0, 0.2), (0.25, 0.6), (0.5, 1.0), (1.0, 1.0)):
        limit = np.sort(entropy)[round(part * 1000) - 1]
        assert curriculum.pool(share).size == round(part * 1000)
        assert entropy[curriculum.batch(7, share)].max() <= limit
    assert np.array_equal(curriculum.batch(7, 0.3), curriculum.batch(7, 0.3))
    reverse = Curriculum(entropy, LocalRecipe(order="reversed", start=0.2, batch=64), 0)
    assert entropy[reverse.batch(0, 0.0)].min() >= np.sort(entropy)[800]
    sort = Curriculum(entropy, LocalRecipe(pace="sort", batch=500), 0)
    assert np.array_equal(np.concatenate([sort.batch(2, 0.5), sort.batch(3, 0.6)]), np.argsort(entropy))


def test_classes_are_zero_where_doubted():
    said, wrong = planted()
    codes = hidden(said.classes, wrong, K)
    seen = one_hot(torch.from_numpy(codes), K).numpy()
    assert not seen.transpose(1, 0, 2, 3)[:, wrong].any()
    right = seen.transpose(1, 0, 2, 3)[:, ~wrong]
    assert np.array_equal(right.argmax(axis=0), said.classes[~wrong])
    assert np.array_equal(right.sum(axis=0), np.ones(right.shape[1]))


@pytest.mark.parametrize("edge", [3, 11])
def test_patches_equal_a_loop_over_pixels(edge):
    said, wrong = planted(images=2, height=9, width=13)
    codes, half = hidden(said.classes, wrong, K), edge // 2
    pixels = np.arange(said.label.size)
    found = Patches(said.image, codes, K, edge, ("image", "classes"))(pixels).numpy()
    for pixel, patch in zip(pixels, found, strict=True):
        n, y, x = np.unravel_index(pixel, said.image.shape)
        for dy in range(edge):
            for dx in range(edge):
                at = n, np.clip(y + dy - half, 0, 8), np.clip(x + dx - half, 0, 12)
                expected = np.zeros(1 + K, np.float32)
                expected[0] = said.image[at]
                if not wrong[at]:
                    expected[1 + said.classes[at]] = 1
                assert np.array_equal(patch[:, dy, dx], expected)
    whole = dense(said.image, codes, K, half, ("image", "classes"))
    assert np.array_equal(whole[1, :, 4 : 4 + edge, 6 : 6 + edge], found[9 * 13 + 4 * 13 + 6])


def test_what_is_not_seen_is_zero():
    said, wrong = planted(images=1)
    codes = hidden(said.classes, wrong, K)
    image_only = Patches(said.image, codes, K, 3, ("image", "logits"))(np.arange(50))
    assert not image_only[:, 1:].any()
    assert image_only[:, 0].any()
    assert not dense(said.image, codes, K, 2, ("classes",))[:, 0].any()


def test_the_aggregator_takes_the_local_class_where_doubted():
    first, local = np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 2, np.uint8)
    doubted = np.array([[[True, False], [False, True]]])
    assert np.array_equal(aggregated(local, first, doubted), [[[2, 0], [0, 2]]])


@pytest.mark.parametrize("kind", ["lcgar", "unet"])
def test_the_local_network_mends_what_the_image_tells(tmp_path, kind):
    said, wrong = planted(images=8)
    held_back, doubted = planted(seed=1)
    rate = OptimiserRecipe(learning_rate=1e-2)
    epochs = 15 if kind == "lcgar" else 60
    recipe = LocalRecipe(kind=kind, edge=5, widths=(4, 8), epochs=epochs, batch=64, slices=2, optimiser=rate, start=0.5)
    network, _ = train_local(Stage(tmp_path, "local", {}), said, wrong, recipe, seed=0)
    found = classified(network, held_back, doubted, doubted, recipe)
    assert np.array_equal(found[~doubted], held_back.classes[~doubted])
    assert (held_back.classes == held_back.label)[doubted].mean() == 0
    assert (found == held_back.label)[doubted].mean() > 0.97


def test_the_margin_of_the_unet_is_what_it_sees():
    """What is further away than half an edge does not move a pixel's answer; within it, something does."""
    torch.manual_seed(0)
    network = build(LocalRecipe(kind="unet", widths=(4, 8)), K).eval()
    half = network.edge // 2
    image = torch.randn(1, 4, 64, 64)
    far, near = image.clone(), image.clone()
    far[:, :, : 32 - half] += 5
    near[:, :, : 32 - half + 3] += 5
    with torch.inference_mode():
        expected = network(image)[..., 32, 20:40]
        assert torch.allclose(network(far)[..., 32, 20:40], expected, atol=1e-5)
        assert not torch.allclose(network(near)[..., 32, 20:40], expected, atol=1e-5)


TINY_MATPHASE = TINY.parent / "tiny-matphase.toml"


@pytest.fixture
def work(monkeypatch):
    """Small slices in place of battery-fib's, and a list of what was computed: "first", "said", "doubt", "local"."""

    def slices(recipe, normalisation, progress=None):
        parts = []
        for seed, count in ((0, 6), (1, 4)):
            said, _ = planted(images=count, height=24, width=24, seed=seed)
            parts.append([Sample("slice", i[None], y[None]) for i, y in zip(said.image, said.label, strict=True)])
        return tuple(parts)

    done = []

    def noting(name, function):
        def noted(*arguments, **named):
            done.append(name(*arguments) if callable(name) else name)
            return function(*arguments, **named)

        return noted

    monkeypatch.setattr(loop, "slices", slices)
    monkeypatch.setattr(run, "slices", slices)
    monkeypatch.setattr(run, "train_network", noting("first", run.train_network))
    monkeypatch.setattr(said_module, "mean_logits", noting("said", said_module.mean_logits))
    stages = {"doubt": doubt_module, "local": local_module}
    for name, module in stages.items():
        monkeypatch.setattr(module, "Plan", noting(name, module.Plan))
    monkeypatch.setattr(fitting, "learning_rate", noting("step", fitting.learning_rate))
    return done


def counted(done):
    """How often each was done since the last look; plans are made anew, steps are not."""
    found = Counter(name for name in done if name in {"first", "said", "step"})
    done.clear()
    return found


def edited(tmp_path, *changes):
    text = TINY_MATPHASE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.toml"
    path.write_text(text)
    return path


def test_a_second_run_trains_nothing_and_a_changed_option_only_what_depends_on_it(tmp_path, work, monkeypatch):
    released = []
    monkeypatch.setattr(run, "release", lambda *parts: released.append(parts))  # exporting takes seconds
    out = tmp_path / "model"
    train(TINY_MATPHASE, out)
    doubt_steps, local_steps = (part.steps for part in (released[0][3].doubt, released[0][3].local))
    assert doubt_steps == round(2 * 6 * 24 * 24 / 256)
    assert counted(work) == {"first": 1, "said": 10, "step": doubt_steps + local_steps}
    train(TINY_MATPHASE, out)
    assert counted(work) == {}
    assert [getattr(released[1][3], name) for name in ("said", "doubt", "local", "score")] == [
        getattr(released[0][3], name) for name in ("said", "doubt", "local", "score")
    ]
    for one, two in zip(released[0][1:3], released[1][1:3], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    for changes, expected in (
        (['kind = "lcgar"', 'kind = "lcgar"\nall_pixels = true'], ()),
        (['kind = "lcgar"', 'kind = "lcgar"\norder = "random"'], ("local",)),
        (["most = 0.4", "most = 0.2"], ("local",)),
        (["[doubt]\n", "[doubt]\nwidths = [8]\n"], ("doubt", "local")),
        (["samples = 3", "samples = 2"], ("said", "doubt", "local")),
    ):
        train(edited(tmp_path, changes), out)
        parts = released[-1][3]
        steps = {"doubt": parts.doubt.steps, "local": parts.local.steps}
        wanted = {"said": 10 * ("said" in expected), "step": sum(steps[name] for name in expected if name in steps)}
        assert counted(work) == {name: count for name, count in wanted.items() if count}, changes


def test_the_card_says_all_that_inference_needs(tmp_path, work):
    card = train(TINY_MATPHASE, tmp_path / "one")
    found = find(str(tmp_path / "one"))
    assert found.card.mean == "logits"
    assert found.card.cascade == card.cascade
    assert 0 <= card.cascade.threshold < 1
    assert card.cascade.hides == card.cascade.threshold
    assert card.cascade.options["sees"] == ["image", "classes", "logits"]
    assert found.doubt.is_file()
    assert found.local.is_file()
    assert "Second network" in (tmp_path / "one" / "README.md").read_text()
    path = edited(tmp_path, ('kind = "lcgar"', 'kind = "lcgar"\nall_pixels = true'))
    out = check_output_folder(tmp_path / "two")
    other = run.train_matphase(read_toml(path, MatPhaseRecipe), path, out, tmp_path / "one")
    assert other.files.weights.sha256 == card.files.weights.sha256
    assert other.cascade.threshold < 0
    assert 0 <= other.cascade.hides < 1
    assert work.count("first") == 1


def test_a_killed_local_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    said, wrong = planted(images=2)
    recipe = LocalRecipe(edge=5, epochs=8, batch=64)
    whole, done = train_local(Stage(tmp_path / "a", "local", {}), said, wrong, recipe, seed=0)
    monkeypatch.setattr(fitting, "SAVE_EVERY_S", 0.0)
    plain, steps = fitting.learning_rate, []

    def dying(*arguments):
        steps.append(1)
        if len(steps) == 9:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(fitting, "learning_rate", dying)
    stage = Stage(tmp_path / "b", "local", {})
    with pytest.raises(KeyboardInterrupt):
        train_local(stage, said, wrong, recipe, seed=0)
    assert stage.done is None
    resumed, _ = train_local(stage, said, wrong, recipe, seed=0)
    assert len(steps) == done.steps + 1
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_budget_ends_a_stage_and_its_schedule(tmp_path):
    said, wrong = planted(images=2)
    recipe = LocalRecipe(edge=5, epochs=1e6, batch=64)
    _, done = train_local(Stage(tmp_path, "local", {}), said, wrong, recipe, seed=0, budget_s=0.5)
    assert 0.5 <= done.process_s < 2
    state = fitting.State(100, 0.0, [], processor_s=0.25)
    assert fitting.Plan(1000, OptimiserRecipe(), 0, "", "", 0.5).share(state) == 0.5


def test_a_cascade_of_volumes_is_refused(tmp_path):
    path = edited(tmp_path, ('source = "battery-fib"', "randomised = 1"), ("mean = ", "# "))
    with pytest.raises(InputError, match="first"):
        train(path, tmp_path / "out")


@pytest.mark.parametrize(("kind", "engine"), [("lcgar", "openvino"), ("resnet18", "onnxruntime"), ("unet", "openvino")])
def test_what_is_trained_is_what_is_run(tmp_path, kind, engine):
    """The exported cascade doubts, shows and decides as training did, with either threshold."""
    torch.manual_seed(0)
    said, _ = planted(images=2, height=21, width=23)  # no multiples of the coarsest pixel
    classifier = Doubt(K).eval()
    classifier.standardise(torch.zeros(4), torch.tensor([3.0, 3.0, 3.0, 0.5]))
    recipe = LocalRecipe(kind=kind, edge=11, widths=(4, 8))
    network = build(recipe, K)
    given = [torch.randn(7, 4, 11, 11), torch.randn(7, 3)]
    for _ in range(3):
        network(*given[: 1 if network.kind == "dense" else 2])  # statistics that are not the initial ones
    network.eval()
    export_doubt(classifier, tmp_path / "doubt.onnx")
    export_local(network, K, tmp_path / "local.onnx")
    few, many = (float(np.quantile(wrongness(classifier, said), q)) for q in (0.7, 0.4))
    for threshold, hides in ((few, None), (-1.0, few), (few, many)):
        made = model(tmp_path, kind=network.kind, edge=network.edge, threshold=threshold, hides=hides)
        second = cascade_of(made, start(made, engine, threads=1, thin=False))
        around = ((0, 0),) * 2 + ((second.margin, second.margin),) * 2
        refined = second(
            np.pad(said.image, around[1:], mode="edge"), np.pad(said.mean.swapaxes(0, 1), around, mode="edge")
        )
        asked = doubted(classifier, said, threshold)
        hidden_ones = doubted(classifier, said, threshold if hides is None else hides)
        assert 0.25 < asked.mean() <= 1
        assert np.array_equal(refined.doubted, asked)
        found = refined.probability.transpose(1, 2, 3, 0)[asked]
        assert np.allclose(found, told(network, said, hidden_ones, asked, recipe), atol=1e-5)
        if hides is not None:  # and what is hidden is seen to matter
            assert not np.allclose(found, told(network, said, asked, asked, recipe), atol=1e-4)


def told(network, said, hides, asked, recipe):
    """Probabilities [n, K] that the local network gives to the pixels it is asked, by training's own view."""
    codes, pixels, margin = hidden(said.classes, hides, K), np.flatnonzero(asked), network.edge // 2
    with torch.inference_mode():
        if network.kind == "patch":
            around = Patches(said.image, codes, K, network.edge, recipe.sees)
            logits = network(around(pixels), context(said, pixels, recipe))
        else:
            logits = network(dense(said.image, codes, K, margin, recipe.sees))[..., margin:-margin, margin:-margin]
            logits = logits.movedim(1, -1)[torch.from_numpy(asked)]
        return torch.softmax(logits, dim=1).numpy()
