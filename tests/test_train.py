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

from segbench import zoo
from segbench.data import pool
from segbench.data.augmentation import Augmentation, augment
from segbench.data.pool import Sample
from segbench.errors import InputError, OutputError, UnknownNameError
from segbench.nets import weights
from segbench.recipe import read_toml
from segbench.train import loop
from segbench.train.losses import balanced_weights, loss, soft_jaccard
from segbench.train.recipe import LossRecipe, OptimiserRecipe, Recipe

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
        TINY.read_text().replace("steps = 6", "steps = 40").replace("validate_every = 3", "validate_every = 40")
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


def _resume_with_other_seed(recipe, out):
    changed = read_toml(recipe, Recipe).model_copy(update={"seed": 4})
    sample = _sample()
    loop.fit(changed, ([sample], [sample]), out)


def _sample(size: int = 16) -> Sample:
    image = np.random.default_rng(0).standard_normal((size,) * 3).astype(np.float32)
    label = (image > 0.5).astype(np.uint8)
    return Sample("test", image, label, label)


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
        turned, moved = augment(image, label, Augmentation(), np.random.default_rng(seed))
        np.testing.assert_array_equal(turned, moved)
        seen.add(turned.tobytes())
    assert len(seen) == 48


def test_grey_values_change_and_labels_do_not():
    sample = _sample()
    how = Augmentation(symmetries=False, shift=0.3, contrast=0.3, gamma=0.2, field=0.3, noise=0.3)
    image, label = augment(sample.image, sample.label, how, np.random.default_rng(1))
    np.testing.assert_array_equal(label, sample.label)
    assert np.abs(image - sample.image).mean() > 0.05
    assert np.isfinite(image).all()


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
    assert loop.learning_rate(50, 1000, sandia) == pytest.approx(1e-3)
    assert loop.learning_rate(60, 1000, sandia) == pytest.approx(1e-3 * math.exp(0.01 * (10 - 12)))
    cosine = OptimiserRecipe(learning_rate=1.0, warmup_steps=10)
    assert loop.learning_rate(0, 110, cosine) == pytest.approx(0.1)
    assert loop.learning_rate(60, 110, cosine) == pytest.approx(0.5)


def test_training_volumes_are_none_of_the_benchmark():
    plan = pool.plan(("Litarion",), 2, 3, 2, first_seed=1000)
    assert plan.training == 5
    assert len(plan.pairs) == 7
    assert min(seed for _, seed in plan.pairs) >= 1000
    assert len({repr(pair) for pair in plan.pairs}) == 7
    assert [d.name for d, _ in plan.pairs[:2]] == ["Litarion"] * 2
    with pytest.raises(UnknownNameError, match="Litarion"):
        pool.plan(("Litarian",), 1, 0, 1, 1000)


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
