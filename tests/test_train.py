"""Training: exact resume after kill -9, batches as pure functions, recipes that refuse misspelt keys."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import TINY, untrained
from safetensors.torch import load_file

from segbench import nets, zoo
from segbench.data import pool
from segbench.data.augmentation import Augmentation, augment, crop
from segbench.data.phantom import phantom
from segbench.data.pool import Sample
from segbench.data.randomisation import FAMILIES, WIDE, random_domain
from segbench.errors import InputError, OutputError, UnknownNameError
from segbench.nets import weights
from segbench.recipe import read_toml
from segbench.train import calibration, loop
from segbench.train.average import Average
from segbench.train.losses import balanced_weights, loss, soft_jaccard
from segbench.train.optimisers import learning_rate
from segbench.train.recipe import LossRecipe, NetworkRecipe, OptimiserRecipe, Recipe
from segbench.train.run import train

RUN = """
import sys
from pathlib import Path
from segbench.train.run import train
train(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def run(recipe, out, cache, wait=True):
    environment = os.environ | {"SEGBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(recipe), str(out)], env=environment)
    if wait:
        assert process.wait(timeout=300) == 0
    return process


def test_a_killed_training_ends_with_the_same_weights(tmp_path):
    """kill -9 after the first checkpoint, in another process; then on to the end."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        TINY.read_text()
        .replace("steps = 6", "steps = 40")
        .replace("validate_every = 3", "validate_every = 40")
        .replace("warmup_steps = 2", "warmup_steps = 2\naverage = 0.9")
    )
    run(recipe, tmp_path / "whole", tmp_path / "cache")
    process = run(recipe, tmp_path / "killed", tmp_path / "cache", wait=False)
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "card.toml").exists(), "the run ended before it was killed: nothing was tested"
    run(recipe, tmp_path / "killed", tmp_path / "cache")
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key
    cards = [zoo.find(str(tmp_path / name)).card for name in ("whole", "killed")]
    assert cards[0].training.steps == 40
    assert cards[0].files.weights == cards[1].files.weights
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 5000
    with pytest.raises(InputError, match="another recipe"):
        _resume_with_other_seed(recipe, tmp_path / "killed")


def test_the_average_is_what_its_formula_says():
    network = untrained()
    average, expected = Average(network, 0.9), network.head.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            network.head.weight.add_(torch.randn(network.head.weight.shape))
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.head.weight.detach()
    torch.testing.assert_close(average.network.head.weight, expected)
    assert not torch.equal(average.network.head.weight, network.head.weight)


def _resume_with_other_seed(recipe, out):
    changed = read_toml(recipe, Recipe).model_copy(update={"seed": 4})
    sample = _sample()
    loop.fit(changed, ([sample], [sample]), out)


def _sample(size: int = 16) -> Sample:
    image = np.random.default_rng(0).standard_normal((size,) * 3).astype(np.float32)
    label = (image > 0.5).astype(np.uint8)
    return Sample("test", image, label)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged checkpoint"):
        loop.fit(read_toml(TINY, Recipe), ([_sample()], [_sample()]), tmp_path)


def test_training_learns_and_stops_where_it_is_told(tmp_path):
    recipe = read_toml(TINY, Recipe).model_copy(update={"steps": 60, "precision": "f32"})
    recipe = recipe.model_copy(update={"optimiser": OptimiserRecipe(learning_rate=1e-2), "loss": LossRecipe()})
    records = []
    _, state = loop.fit(recipe, ([_sample()], [_sample()]), tmp_path, records.append, steps=50)
    assert state.step == len(records) == 50
    assert np.mean([r["loss"] for r in records[-5:]]) < 0.7 * records[0]["loss"]


def test_a_batch_is_a_function_of_recipe_and_step():
    recipe = read_toml(TINY, Recipe)
    samples = [_sample(20)]
    a, b = (loop.make_batch(samples, recipe, 5) for _ in range(2))
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], loop.make_batch(samples, recipe, 6)[0])


def test_symmetries_turn_image_and_label_together_and_are_all_drawn():
    image = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    label = image.astype(np.uint8)
    seen = set()
    for seed in range(600):
        turned, moved = crop(image, label, (3, 3, 3), Augmentation(), np.random.default_rng(seed))
        np.testing.assert_array_equal(turned, moved)
        seen.add(turned.tobytes())
    assert len(seen) == 48


def _ball(size: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.ogrid[:size, :size, :size]
    ball = (z - size // 2) ** 2 + (y - size // 2) ** 2 + (x - size // 2) ** 2 < radius**2
    return ball.astype(np.float32), ball.astype(np.uint8)


@pytest.mark.parametrize("scale", [0.75, 1.0, 2.0, 3.0])
def test_scales_make_voxels_finer_and_keep_image_and_label_together(scale):
    image, label = _ball(48, 14)
    how = Augmentation(symmetries=False, scales=(scale, scale), scaled=1.0)
    shape = (24, 24, 32)
    for seed in range(5):
        grey, phases = crop(image, label, shape, how, np.random.default_rng(seed))
        assert grey.shape == phases.shape == shape
        assert np.mean((grey > 0.5) == phases) > 0.985
    whole = tuple(round(48 * scale) for _ in range(3))
    _, phases = crop(image, label, whole, how, np.random.default_rng(0))
    assert phases.mean() == pytest.approx(label.mean(), rel=0.03)


@pytest.mark.parametrize("scale", [0.75, 2.0])
def test_labels_of_several_classes_are_scaled_as_each_of_them_alone(scale):
    """Nothing lies between two classes whose numbers are far apart: a share is that of a class, not of its number."""
    image, ball = _ball(48, 14)
    label = np.where(ball == 1, 2, 0).astype(np.uint8)
    label[:, :, :12] = 1
    how = Augmentation(symmetries=False, scales=(scale, scale), scaled=1.0)
    shape = tuple(round(48 * scale) for _ in range(3))
    _, several = crop(image, label, shape, how, np.random.default_rng(0))
    assert several.dtype == np.uint8
    for value in (0, 1, 2):
        _, alone = crop(image, (label == value).astype(np.uint8), shape, how, np.random.default_rng(0))
        assert np.mean((several == value) != alone) < 1e-3
        assert (several == value).mean() == pytest.approx((label == value).mean(), rel=0.03)


def test_a_convention_draws_boundaries_outwards_and_only_where_voxels_are_finer():
    image, label = _ball(32, 9)
    for scale, grows in ((1.0, False), (2.0, True)):
        shares = []
        for convention in (0.0, 0.45):
            how = Augmentation(symmetries=False, scales=(scale, scale), scaled=1.0, convention=convention)
            drawn = [
                crop(image, label, (round(32 * scale),) * 3, how, np.random.default_rng(seed))[1].mean()
                for seed in range(4)
            ]
            shares.append(np.mean(drawn))
        assert (shares[1] > 1.02 * shares[0]) == grows


def test_a_flat_crop_is_one_slice():
    image, label = _ball(32, 9)
    how = Augmentation(flat=1.0, scales=(1.5, 1.5), scaled=1.0)
    grey, phases = crop(image, label, (16, 16, 24), how, np.random.default_rng(0))
    assert grey.shape == phases.shape == (1, 16, 24)
    recipe = read_toml(TINY, Recipe).model_copy(update={"augmentation": how})
    images, target = loop.make_batch([Sample("test", image, label)], recipe, 0)
    assert torch.equal(images[:, :, :1].expand_as(images), images)
    assert torch.equal(target[:, :, :1].expand_as(target), target)


def test_a_share_of_the_crops_keeps_its_grey_values():
    """But not its place, symmetry and scale: these are no grey values."""
    how = Augmentation(plain=0.3, shift=0.3, contrast=0.3, gamma=0.2, field=0.3, noise=0.3, blur=1.0, scales=(2.0, 3.0))
    rng = np.random.default_rng(2)
    drawn = [how.drawn(rng) for _ in range(400)]
    plain = Augmentation(plain=0.3, scales=(2.0, 3.0))
    assert all(one in (how, plain) for one in drawn)
    assert np.mean([one == plain for one in drawn]) == pytest.approx(0.3, abs=0.07)
    image = _sample().image
    assert np.array_equal(augment(image, plain, rng), image)


def test_grey_values_change():
    sample = _sample()
    how = Augmentation(shift=0.3, contrast=0.3, gamma=0.2, field=0.3, noise=0.3, grain=1.5)
    image = augment(sample.image, how, np.random.default_rng(1))
    assert np.abs(image - sample.image).mean() > 0.05
    assert np.isfinite(image).all()


def test_wide_families_change_their_own_properties_only_and_as_often_as_said():
    def drawn(seed, *wide):
        return random_domain(np.random.default_rng(seed), wide)

    for family in FAMILIES:
        changed = [seed for seed in range(100) if drawn(seed, family) != drawn(seed)]
        assert abs(len(changed) - 100 * WIDE[family]) < 15
        wide, narrow = drawn(changed[0], family), drawn(changed[0])
        assert wide.annotator == narrow.annotator
        assert (wide.scan == narrow.scan) == (family != "artefacts")
        assert (wide.geometry == narrow.geometry) == (family == "artefacts")
    for seed in range(10):  # every family draws from a stream of its own
        assert drawn(seed, "geometry", "artefacts").scan == drawn(seed, "artefacts").scan


def test_phantoms_are_pure_functions_with_both_phases():
    for number in range(9):
        one, two = phantom(number, 32), phantom(number, 32)
        np.testing.assert_array_equal(one.image, two.image)
        assert one.image.dtype == np.float32
        assert one.image.shape == one.truth.shape == (32, 32, 32)
        assert 0.02 < one.truth.mean() < 0.98
        assert one.image[one.truth == 1].mean() > one.image[one.truth == 0].mean()
    assert not np.array_equal(phantom(0, 32).image, phantom(3, 32).image)


def test_calibration_finds_the_scale_and_shift_that_a_model_got_wrong():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 60_000)
    label = (rng.random(true.size) < 1 / (1 + np.exp(-true))).astype(float)
    scale, shift = calibration.fit(((true - 1.5) / 0.4)[None], label)
    assert scale == pytest.approx(0.4, rel=0.05)
    assert shift == pytest.approx(1.5, abs=0.05)
    assert calibration.nll(np.full(4, 0.5), np.array([0.0, 1, 1, 0])) == pytest.approx(math.log(2))


def test_losses_against_closed_forms():
    target = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 1, 2, 2)
    zero = torch.zeros_like(target)
    assert float(loss(zero, target, LossRecipe())) == pytest.approx(math.log(2))
    weights_ = balanced_weights(target, 1.0)
    assert float(weights_[target > 0].sum()) == pytest.approx(float(weights_[target < 1].sum()))
    assert float(weights_.mean()) == pytest.approx(1)
    assert float(soft_jaccard(target, target)) == pytest.approx(0)
    # p = 1/2 everywhere: class 1 shares 1/2 of a union of 2 + 1 - 1/2, class 0 shares 3/2 of 2 + 3 - 3/2
    expected = ((1 - 1.5 / 3.5) + (1 - 2.5 / 4.5)) / 2
    assert float(soft_jaccard(torch.sigmoid(zero), target)) == pytest.approx(expected)


def test_schedules():
    sandia = OptimiserRecipe(kind="adam", learning_rate=1e-3, schedule="sandia", steps_per_epoch=5)
    assert learning_rate(50, 1000, sandia) == pytest.approx(1e-3)
    assert learning_rate(60, 1000, sandia) == pytest.approx(1e-3 * math.exp(0.01 * (10 - 12)))
    cosine = OptimiserRecipe(learning_rate=1.0, warmup_steps=10)
    assert learning_rate(0, 110, cosine) == pytest.approx(0.1)
    assert learning_rate(60, 110, cosine) == pytest.approx(0.5)


def test_training_volumes_are_none_of_the_benchmark():
    plan = pool.plan(("Litarion",), 2, 3, first_seed=1000)
    assert len(plan) == 5
    assert min(seed for _, seed in plan) >= 1000
    assert len({repr(pair) for pair in plan}) == 5
    assert [d.name for d, _ in plan[:2]] == ["Litarion"] * 2
    with pytest.raises(UnknownNameError, match="Litarion"):
        pool.plan(("Litarian",), 1, 0, 1000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 6", "stepz = 6", "stepz"),
        ("steps = 6", "steps = 0", "steps"),
        ("steps = 6", "steps = = 6", "not TOML"),
        ('name = "tiny"', 'name = "../tiny"', "name"),
        ("first_seed", "first_seed", None),
    ],
)
def test_recipes_refuse_what_they_do_not_know(tmp_path, old, new, message):
    path = tmp_path / "r.toml"
    path.write_text(TINY.read_text().replace(old, new))
    if message is None:
        read_toml(path, Recipe)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_toml(path, Recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["vnet-battery", "vnet-sandia"])
def test_the_zoo_s_recipes_read(name):
    recipe = read_toml(TINY.parents[2] / "train" / f"{name}.toml", Recipe)
    assert recipe.name == name
    assert recipe.data.first_seed >= 1000


def test_two_trainings_into_one_folder_are_refused(tmp_path):
    import fcntl

    from segbench.train.run import train

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            train(TINY, tmp_path)


def test_a_training_goes_on_from_another_model_s_weights(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "tuned.toml"
    kept = TINY.read_text().replace("steps = 6", "steps = 1").replace("warmup_steps = 2", "warmup_steps = 100000000")
    recipe.write_text(kept)  # so slow a start that one step changes next to nothing
    card = train(recipe, tmp_path / "tuned", start=str(tiny.path))
    before, after = load_file(tiny.weights), load_file(tmp_path / "tuned" / "weights.safetensors")
    assert all(
        torch.allclose(before[key], after[key], atol=1e-5)
        for key in before
        if "running" not in key and "num" not in key
    )
    assert card.training.start.startswith(f"{tiny.card.name} {tiny.card.version}, seed {tiny.card.training.seed}, ")
    assert card.training.start in (tmp_path / "tuned" / "README.md").read_text()


def test_a_start_that_does_not_fit_is_told_before_volumes_are_made(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "training_data", lambda *_: pytest.fail("made volumes"))
    with pytest.raises(UnknownNameError, match="nothing-here"):
        train(TINY, tmp_path / "other", start="nothing-here")
    recipe = tmp_path / "wider.toml"
    recipe.write_text(TINY.read_text().replace("widths = [4, 8]", "widths = [6, 8]"))
    with pytest.raises(InputError, match="not the weights of this network"):
        train(recipe, tmp_path / "other", start=str(tiny.path))
    assert not (tmp_path / "other").exists()


def test_weights_are_rounded_once_and_load_strictly(tmp_path):
    network = untrained()
    weights.round_weights(network)
    weights.save(network, tmp_path / "w.safetensors")
    other = untrained(seed=1)
    weights.load(other, tmp_path / "w.safetensors")
    for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    tensors = load_file(tmp_path / "w.safetensors")
    assert tensors["head.weight"].dtype == torch.float16
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-10])
    with pytest.raises(InputError, match="not the weights"):
        weights.load(other, tmp_path / "w.safetensors")


def test_find_refuses_changed_files_and_escapes(tiny, tmp_path):
    copy = tmp_path / "m"
    shutil.copytree(tiny.path, copy)
    assert zoo.find(str(copy)).hash == tiny.hash
    graph = copy / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.onnx: not the file that the card pins"):
        zoo.find(str(copy))
    graph.unlink()
    with pytest.raises(InputError, match="no such file"):
        zoo.find(str(copy))
    card = (copy / "card.toml").read_text()
    (copy / "card.toml").write_text(card.replace('path = "model.onnx"', 'path = "../model.onnx"'))
    with pytest.raises(InputError, match=r"files\.graph\.path"):
        zoo.find(str(copy))
    with pytest.raises(UnknownNameError, match="vnet"):
        zoo.find("vnet-batery")


def test_a_shortened_run_of_the_default_recipe_learns_what_its_phantoms_ask(tmp_path, monkeypatch):
    """The recipe itself with fewer and smaller volumes, a thinner network and a hundredth of the work."""
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path))
    whole = read_toml(TINY.parents[2] / "train" / "vnet-battery.toml", Recipe)
    data = whole.data.model_copy(update={"volumes_per_domain": 2, "randomised": 6, "size": 48, "validation": 6})
    recipe = whole.model_copy(
        update={
            "data": data,
            "steps": 60,
            "crop": (32, 32, 32),
            "network": NetworkRecipe(kind="vnet-battery", options={"widths": [8, 16, 32], "kept": [16, 8, 4]}),
            "optimiser": whole.optimiser.model_copy(update={"warmup_steps": 5, "learning_rate": 1e-2}),
        }
    )
    volumes = loop.training_data(recipe, tmp_path)
    network, state = loop.fit(recipe, volumes, tmp_path)
    fitted = calibration.calibrate(network, volumes[1], recipe, "phantoms")
    share = np.mean([sample.label.mean() for sample in volumes[1]])
    reached = loop.validate(network, volumes[1], recipe, fitted)["validation_accuracy"]
    assert state.step == 60
    assert fitted.nll_after <= fitted.nll_before
    assert reached > max(share, 1 - share) + 0.1


def test_the_released_weights_reach_the_card_s_validation_figure_and_it_lies_in_the_spread_of_seeds():
    model = zoo.find("vnet-battery")
    card = model.card
    recipe = read_toml(TINY.parents[2] / "train" / "vnet-battery.toml", Recipe)
    recipe = recipe.model_copy(update={"seed": card.training.seed})
    network = nets.build(card.network.kind, **card.network.options)
    weights.load(network, model.weights)
    phantoms = pool.phantoms(recipe.data.validation, recipe.normalisation)
    again = loop.validate(network, phantoms, recipe, card.calibration)
    # bf16 on another processor, or in float32, rounds otherwise
    assert again["validation_accuracy"] == pytest.approx(card.training.validation_accuracy, abs=1e-3)
    assert len(card.seeds.seeds) >= 3
    assert card.training.validation_miou == max(card.seeds.validation_miou)
    assert max(card.seeds.validation_miou) - min(card.seeds.validation_miou) < 0.02
