"""From few labels: one labelled slice, or parts of one, and a model to start from; the page's commands run."""

import re
import shlex
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import tifffile
import tomli_w
import torch
from conftest import HERE, blobs, untrained
from skimage.io import imsave
from test_cli import refused

from segbench import nets
from segbench.data.augmentation import Augmentation, crop
from segbench.data.manifest import UNLABELLED, read_manifest
from segbench.data.manifest_check import check
from segbench.data.manifest_load import load_case
from segbench.data.pool import Sample
from segbench.nets import weights
from segbench.recipe import read_toml
from segbench.train import few, loop
from segbench.train.checkpoint import State
from segbench.train.labelled import labelled
from segbench.train.losses import loss
from segbench.train.recipe import LossRecipe, Recipe
from segbench.train.release import release
from segbench.train.start import said, started
from segbench.zoo import find

PAGE = HERE.parent / "docs" / "few-labels.md"
SHORT = "--steps 2 --threads 1"
LABELS = '{ "0" = 0, "1" = 1, "9" = "ignore" }'


def manifest(folder, image, label, more="", classes='["void", "active"]', labels=LABELS, extra=""):
    """Image, label and a manifest of one training case, in `folder`."""
    tifffile.imwrite(folder / "image.tif", image)
    tifffile.imwrite(folder / "label.tif", np.asarray(label, np.uint8))
    path = folder / "mine.toml"
    path.write_text(
        f'name = "mine"\nsource = "a test"\nlicence = "mine"\nuse = "check only"\nclasses = {classes}\n'
        f'[[domain]]\nname = "cell"\nlabels = {labels}\n'
        f'[[domain.case]]\nname = "a"\nsplit = "train"\nimage = "image.tif"\nlabel = "label.tif"\n{more}\n{extra}'
    )
    return path


@pytest.fixture
def one_slice(tmp_path):
    """A volume of which slice 20 is labelled, two thirds of it."""
    image = blobs((40, 36, 32))
    label = (image[20:21] > 0).astype(np.uint8)
    label[:, :, :10] = 9
    return manifest(tmp_path, image, label, "slices = [20]")


def recipe_of(tiny, path):
    return few.recipe_for(tiny, str(tiny.path), read_manifest(path), path)


@pytest.fixture(scope="module")
def tiny_slices(tmp_path_factory):
    """unet2d-composite with two filters, untrained."""
    out = tmp_path_factory.mktemp("tiny-slices")
    raw = tomllib.loads((HERE.parent / "train" / "unet2d-composite.toml").read_text())
    raw["network"]["options"]["filters"] = 2
    file = out / "recipe.toml"
    file.write_text(tomli_w.dumps(raw))
    recipe = read_toml(file, Recipe)
    image = blobs((1, 32, 32))
    state = State(step=1, seconds=1.0, history=[{"step": 1, "loss": 0.5, "learning_rate": 1e-3}])
    sample = Sample("test", image, np.digitize(image, [-0.3, 0.3]).astype(np.uint8))
    release(nets.build(recipe.network.kind, **recipe.network.options).eval(), recipe, file, state, [sample], out)
    return find(str(out))


def sections():
    """Of the page: headings and what stands below them."""
    parts = re.split(r"(?m)^## ", PAGE.read_text())
    return {head: text for head, _, text in (part.partition("\n") for part in parts)}


def blocks_of(text, kind):
    return re.findall(rf"(?s)```{kind}\n(.*?)```", text)


def run_commands(segbench, text, start):
    """The `segbench` commands of a section, in order, with a tiny model as the start."""
    commands = re.findall(r"^\$ segbench (.*)$", "\n".join(blocks_of(text, "console")), re.M)
    for command in commands:
        told = re.sub(r"--from \S+", f"--from {start} {SHORT}", command)
        told += " --samples 2 --threads 1" if told.startswith(("eval", "predict")) else ""
        code, _, err = segbench(*shlex.split(told))
        assert code == 0, err
    return [command.split()[0] for command in commands]


def test_the_pages_commands_run(segbench, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = sections()["One slice"]
    (tmp_path / "mine.toml").write_text(blocks_of(text, "toml")[0])
    image = blobs((48, 40, 40))
    label = (image > 0).astype(np.uint8)
    label[20, :, :8] = 9
    tifffile.imwrite(tmp_path / "scan.tif", image)
    for z in (20, 40):
        tifffile.imwrite(tmp_path / f"slice-{z}.tif", label[z])
    assert run_commands(segbench, text, tiny.path) == ["data", "train", "eval", "predict"]
    card = find("runs/mine").card
    assert card.training.steps == 2
    assert card.training.start.startswith("tiny ")
    assert "20% of the labelled area" in card.training.validation
    assert (tmp_path / "runs" / "mine" / "recipe.toml").exists()


def test_the_pages_measured_volume(segbench, tiny, tmp_path, monkeypatch):
    """A volume in place of the woven composite, as many slices."""
    monkeypatch.chdir(tmp_path)
    text = sections()["A measured volume: the woven composite"]
    (tmp_path / "woven.toml").write_text(blocks_of(text, "toml")[0])
    image = blobs((150, 24, 24))
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "label.tif", np.digitize(image, [-0.3, 0.3]).astype(np.uint8))
    (code,) = re.findall(r'python -c "(.*)"', text)
    exec(code, {})
    assert run_commands(segbench, text, tiny.path) == ["data", "train", "eval"]
    assert find("runs/woven").card.network.kind == "vnet-battery"


def test_the_pages_measured_slice(segbench, tiny_slices, tmp_path, monkeypatch):
    """A slice in place of the one with glass fibres."""
    monkeypatch.chdir(tmp_path)
    text = sections()["A measured slice: glass fibre in a polymer"]
    (tmp_path / "glass.toml").write_text(blocks_of(text, "toml")[0])
    image = blobs((1, 48, 96))[0]
    imsave(tmp_path / "image.png", (40 * np.clip(image, -3, 3) + 128).astype(np.uint8))
    imsave(tmp_path / "label.png", np.digitize(image, [-0.3, 0.3]).astype(np.uint8), check_contrast=False)
    exec(blocks_of(text, "python")[0], {})
    assert run_commands(segbench, text, tiny_slices.path) == ["data", "train", "eval"]
    assert find("runs/glass").card.classes == ("matrix", "fibre", "porosity")


def test_labels_of_single_slices_are_found_in_the_volume(one_slice):
    loaded = load_case(read_manifest(one_slice).cases()[0])
    assert loaded.label.shape == loaded.image.shape
    known = loaded.label != UNLABELLED
    assert np.flatnonzero(known.any(axis=(1, 2))).tolist() == [20]
    assert not known[20, :, :10].any()
    assert known[20, :, 10:].all()
    assert (loaded.label[20, :, 10:] == (loaded.image.data[20] > 0)[:, 10:]).all()


def test_slices_are_counted_in_the_file_where_z_takes_a_part(one_slice):
    one_slice.write_text(one_slice.read_text().replace("slices = [20]", "slices = [20]\nz = [18, 30]"))
    loaded = load_case(read_manifest(one_slice).cases()[0])
    assert np.flatnonzero((loaded.label != UNLABELLED).any(axis=(1, 2))).tolist() == [2]


def test_a_check_counts_what_is_labelled(one_slice):
    (case,) = check(read_manifest(one_slice)).cases
    assert sum(case.shares) == pytest.approx(1)
    assert case.alignment > 0.3


def test_the_part_that_validates_is_not_trained_on(tiny, one_slice):
    train, held = labelled(recipe_of(tiny, one_slice))
    total = 36 * 22
    trained = sum(int((sample.label != UNLABELLED).sum()) for sample in train)
    validated = sum(int((sample.label != UNLABELLED).sum()) for sample in held)
    assert trained + validated == total
    assert 0.15 < validated / total < 0.25
    assert all(n % m == 0 for sample in held for n, m in zip(sample.label.shape, (2, 2, 2), strict=True))


def test_crops_hold_labelled_voxels():
    label = np.full((24, 24, 24), UNLABELLED, np.uint8)
    label[11, 3:6, 17:20] = 1
    image = np.where(label == 1, 1, 0).astype(np.float32)
    sample = Sample("few", image, label, np.flatnonzero(label == 1))
    rng = np.random.default_rng(0)
    for how in (Augmentation(), Augmentation(symmetries="planar"), Augmentation(symmetries="flips")):
        for _ in range(30):
            place = loop._place(sample, rng)
            box, found = crop(image, label, (8, 8, 8), how, rng, place)
            assert found.shape == (8, 8, 8)
            assert (found == 1).any()
            assert ((found == 1) == (box == 1)).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_not_labelled_does_not_count_in_the_loss(classes):
    torch.manual_seed(0)
    how = LossRecipe(balance=0.5 if classes == 2 else 0.0, jaccard=1.0)
    logits = torch.randn(2, 1 if classes == 2 else 3, 1, 4, 6)
    target = torch.randint(classes, (2, 1, 4, 6))
    part = target.clone()
    part[..., 3:] = UNLABELLED
    if classes == 2:
        target, part = target[:, None].float(), part[:, None].float()
    assert loss(logits, part, how) == pytest.approx(float(loss(logits[..., :3], target[..., :3], how)), rel=1e-5)
    logits.requires_grad_()
    loss(logits, part, how).backward()
    assert logits.grad[..., :3].abs().min() > 0
    assert logits.grad[..., 3:].abs().max() == 0
    assert float(loss(logits.detach(), torch.full_like(part, UNLABELLED), how)) == 0


def test_slices_go_to_the_network_of_slices_which_computes_the_same(tmp_path, tiny):
    image = blobs((1, 40, 48))
    recipe = recipe_of(tiny, manifest(tmp_path, image, (image > 0)))
    assert recipe.network.kind == "unet2d-battery"
    assert "summed along Z" in said(recipe)
    flat, whole = started(recipe).eval(), untrained().eval()
    weights.load(whole, tiny.weights)
    x = torch.from_numpy(image)[None, None]
    ones = torch.ones(1, sum(site.channels for site in whole.sites))
    with torch.inference_mode():
        expected = whole(x.expand(1, 1, 8, 40, 48), ones)
        found = flat(x, ones)
    torch.testing.assert_close(found.expand_as(expected), expected, rtol=1e-4, atol=1e-4)


def test_more_classes_take_the_body_and_a_new_last_layer(tmp_path, tiny):
    image = blobs((40, 36, 32))
    label = np.digitize(image[20:21], [-0.4, 0.4])
    path = manifest(
        tmp_path, image, label, "slices = [20]", '["pore", "carbon", "nickel"]', '{ "0" = 0, "1" = 1, "2" = 2 }'
    )
    recipe = recipe_of(tiny, path)
    network = started(recipe)
    assert len(network.head.weight) == 3
    assert "last layer new, for 3 classes" in said(recipe)
    before = nets.build(tiny.card.network.kind, **tiny.card.network.options)
    weights.load(before, tiny.weights)
    for name, value in before.state_dict().items():
        if not name.startswith("head."):
            torch.testing.assert_close(network.state_dict()[name], value)


def test_the_written_recipe_is_the_one_that_was_made(one_slice, tiny, tmp_path):
    written = few.write_recipe(str(tiny.path), one_slice, tmp_path / "out")
    assert read_toml(written, Recipe) == recipe_of(tiny, one_slice)


def test_what_is_learned_shows(one_slice, tiny, tmp_path, segbench):
    """An untrained start, a few seconds: far better than a guess on what was held back."""
    recipe = few.write_recipe(str(tiny.path), one_slice, tmp_path / "out")
    text = (
        recipe.read_text()
        .replace("steps = 400", "steps = 60")
        .replace("crop = [\n    32,\n    64,\n    64,\n]", "crop = 16")
    )
    recipe.write_text(text.replace("learning_rate = 0.001", "learning_rate = 0.02"))
    code, _, err = segbench("train", recipe, "--out", tmp_path / "model", "--threads", 1)
    assert code == 0, err
    card = find(str(tmp_path / "model")).card
    assert card.training.validation_accuracy > 0.7  # a guess has half
    assert any("not to be published" in limit for limit in card.limits)


def arguments(tiny, path, *more):
    return ("train", "--from", tiny.path, "--data", path, "--out", path.parent / "out", *more)


@pytest.mark.parametrize(
    ("label", "more", "labels", "words"),
    [
        (np.zeros((1, 36, 31)), "slices = [20]", LABELS, "shape .*has to be .1, 36, 32"),
        (np.zeros((39, 36, 32)), "", LABELS, "must be equal"),
        (np.zeros((2, 36, 32)), "slices = [20]", LABELS, "slices names 1"),
        (np.zeros((1, 36, 32)), "slices = [40]", LABELS, "40 slices, counted from 0"),
        (np.full((1, 36, 32), 9), "slices = [20]", LABELS, "no labelled voxel"),
        (np.zeros((1, 36, 32)), "slices = [20]", LABELS, "class 'active' is nowhere"),
        (np.full((1, 36, 32), 7), "slices = [20]", LABELS, "label values outside the map: 7"),
        (np.zeros((1, 36, 32)), "slices = [20, 20]", LABELS, "named twice"),
        (np.zeros((1, 36, 32)), "slices = [20]\nz = [0, 20]", LABELS, "not among z"),
        (np.zeros((1, 36, 32)), "slices = [20]", '{ "0" = 0, "1" = "nothing" }', "or .ignore."),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_one_line(segbench, tiny, tmp_path, label, more, labels, words):
    path = manifest(tmp_path, blobs((40, 36, 32)), label, more, labels=labels)
    refused(segbench(*arguments(tiny, path)), words)
    assert not (tmp_path / "out" / "card.toml").exists()


def test_a_recipe_of_other_classes_or_other_data_is_one_line(segbench, tiny, one_slice, tmp_path):
    recipe = few.write_recipe(str(tiny.path), one_slice, tmp_path / "out")
    text = recipe.read_text()
    changed = tmp_path / "more.toml"
    changed.write_text(re.sub(r'"active",\n\]', '"active",\n    "carbon",\n]', text))
    refused(segbench("train", changed, "--out", tmp_path / "x"), "tells 2 classes apart, not 3")
    label = tifffile.imread(one_slice.parent / "label.tif")
    tifffile.imwrite(one_slice.parent / "label.tif", np.where(label == 1, 0, label).astype(np.uint8))
    refused(segbench("train", recipe, "--out", tmp_path / "x"), "not the data that the recipe names")


def test_what_is_asked_for_has_to_be_whole(segbench, tiny, one_slice):
    refused(segbench("train"), "give a recipe")
    refused(segbench("train", "--from", "vnet-battery"), "give all of")
    refused(segbench(*arguments(tiny, one_slice, "--start", "vnet-battery")), "leave out")


def test_an_evaluation_says_that_it_needs_whole_labels(segbench, tiny, one_slice):
    one_slice.write_text(one_slice.read_text().replace('split = "train"', 'split = "test"'))
    refused(segbench("eval", "--zoo", tiny.path, "--data", one_slice), "voxels without a label")


SCRIPT = [sys.executable, str(PAGE.parent / "few_labels.py"), "page"]


def test_the_pages_table_is_of_its_record(tmp_path):
    assert subprocess.run([*SCRIPT, str(PAGE), "--check"], check=False).returncode == 0, (
        "python docs/few_labels.py page docs/few-labels.md"
    )
    other = tmp_path / "few-labels.md"
    other.write_text(re.sub(r"\| forest \| 0\.\d+", "| forest | 0.123", PAGE.read_text(), count=1))
    assert subprocess.run([*SCRIPT, str(other), "--check"], check=False).returncode == 1


def test_the_measured_sets_are_as_the_page_says(real, tmp_path):
    """Nothing that is tested on is learned from."""
    sys.path.insert(0, str(PAGE.parent))
    try:
        import few_labels
    finally:
        sys.path.pop(0)
    for name in few_labels.SETS:
        found = read_manifest(few_labels.manifest(name, real, tmp_path / name))
        (learned,) = found.cases(None, None, "train")
        shown = few_labels.shown_of(learned)
        known = load_case(learned).label != UNLABELLED
        assert known.sum() == shown.labels.size
        assert (load_case(learned).label[known] == shown.labels.ravel()).all()
        for case in found.cases(None, None, "test"):
            assert (case.image, case.case.z) != (learned.image, learned.case.z)
            if case.image == learned.image:
                assert case.case.z[0] >= learned.case.z[1]
