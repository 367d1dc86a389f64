import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from segbench.cli import fib as commands
from segbench.data import fib
from segbench.data.case import data_hash
from segbench.data.fib.copies import COPIES, copied
from segbench.data.fib.labels import clean
from segbench.data.fib.split import (
    GAP,
    SEEN,
    TESTED,
    TRAINED,
    UNSEEN,
    VALIDATED,
    Pairs,
    agreement,
    by_depth,
    middle_trained,
    published,
    split,
)
from segbench.data.fib.volume import KNOWN, make
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate import cases, fresh
from segbench.evaluate.baselines import LabelledSlice, features, forest, otsu
from segbench.evaluate.cases import Labelled, open_data
from segbench.evaluate.definitions import RunDefinition
from segbench.evaluate.eval import _shown
from segbench.evaluate.seen import seen
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import miou
from segbench.volume import Volume

SMALL = (24, 64, 80)


@pytest.fixture(scope="module")
def first():
    """The benchmark's first volume, from the user's cache where it is there."""
    return fib.load()


@pytest.fixture(scope="module")
def toy():
    """As many slices as the benchmark, small ones, that say which slice and row they are."""
    z, y = np.mgrid[: fib.SHAPE[0], :40][:2]
    image = np.repeat((100.0 * z + y)[:, :, None], 6, axis=2).astype(np.float32)
    label = np.repeat((y // 14)[:, :, None], 6, axis=2).astype(np.uint8)
    return fib.Fib(image, label, label, "")


def shares(labels):
    return np.bincount(labels.ravel(), minlength=3) / labels.size


def test_arrays_are_what_the_page_says(first):
    assert first.image.shape == first.truth.shape == first.label.shape == fib.SHAPE == (133, 224, 256)
    assert (first.image.dtype, first.truth.dtype, first.label.dtype) == (np.float32, np.uint8, np.uint8)
    assert np.isfinite(first.image).all()
    assert set(np.unique(first.truth)) == set(np.unique(first.label)) == {0, 1, 2}


@pytest.mark.parametrize("which", ["truth", "label", "cleaned", "tested"])
def test_shares_are_those_of_the_study(first, which):
    cleaned = clean(first.label)
    labels = {"truth": first.truth, "label": first.label, "cleaned": cleaned}.get(which, cleaned[list(TESTED)])
    assert shares(labels) == pytest.approx([0.14, 0.26, 0.60], abs=0.03 if which == "tested" else 0.01)


def test_carbon_and_pore_nearly_coincide_and_nickel_is_bright(first):
    pore, carbon, nickel = (first.image[first.truth == phase] for phase in range(3))
    apart = carbon.mean() - pore.mean()
    assert 0 < apart < pore.std()
    assert nickel.mean() - carbon.mean() > 2.5 * carbon.std()


def test_labels_are_near_the_truth_and_not_the_truth(first):
    cleaned = clean(first.label)[list(TESTED)]
    truth = first.truth[list(TESTED)]
    assert 0.925 < miou(confusion(cleaned, truth, 3)) < 0.96
    assert np.mean(cleaned == truth) > np.mean(first.label[list(TESTED)] == truth)


def test_the_same_arguments_give_the_same_bits_in_another_process():
    here = data_hash(make("specimen-2", 3, SMALL))
    code = (
        "from segbench.data.fib.volume import make; from segbench.data.case import data_hash;"
        f"print(data_hash(make('specimen-2', 3, {SMALL})))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there
    assert here != data_hash(make("specimen-2", 4, SMALL))


def test_low_dose_is_the_first_specimen_with_more_noise():
    clear, noisy, other = (make(domain, 5, SMALL) for domain in ("clean", "low-dose", "specimen-2"))
    np.testing.assert_array_equal(clear.truth, noisy.truth)
    np.testing.assert_array_equal(clear.label, noisy.label)
    assert not np.array_equal(clear.truth, other.truth)
    wanted = KNOWN["clean"].scan.noise ** 2 + KNOWN["low-dose"].scan.noise ** 2
    assert np.std(noisy.image - clear.image) ** 2 == pytest.approx(wanted, rel=0.05)


def test_a_stored_volume_is_read_and_a_broken_one_made_again(tmp_path, monkeypatch, caplog):
    made = []

    def small(domain, seed):
        made.append(domain)
        return make(domain, seed, SMALL)

    monkeypatch.setattr("segbench.data.fib.volume.make", small)
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path))
    told = []
    volume = fib.load("low-dose", 7, progress=lambda *what: told.append(what))
    assert told == [(1, 1, "low-dose")]
    (path,) = tmp_path.rglob("*.npz")
    assert fib.load("low-dose", 7).hash == volume.hash
    assert made == ["low-dose"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    for broken in (bytes(data), data[:100], b""):
        path.write_bytes(broken)
        with caplog.at_level(logging.WARNING):
            assert fib.load("low-dose", 7).hash == volume.hash
        assert "is damaged" in caplog.text
        caplog.clear()
    assert made == ["low-dose"] * 4
    assert fib.load("low-dose", 7).hash == volume.hash
    assert len(made) == 4


def test_what_is_not_there_is_refused(toy):
    with pytest.raises(UnknownNameError, match="specimen-2"):
        fib.load("dirty")
    with pytest.raises(InputError, match="negative"):
        make("clean", -1, SMALL)
    with pytest.raises(UnknownNameError, match="paper"):
        split(toy, "other")
    with pytest.raises(InputError, match="133"):
        split(fib.Fib(toy.image[:5], toy.truth[:5], toy.label[:5], ""))


def one(centre, around):
    """A slice of 3 x 3: what is in the middle, and the eight around it row by row."""
    return np.array([*around[:4], centre, *around[4:]], np.uint8).reshape(1, 3, 3)


@pytest.mark.parametrize(
    ("centre", "around", "becomes"),
    [
        (1, [2] * 8, 2),
        (2, [1] * 8, 1),
        (1, [2] * 5 + [0] * 3, 2),
        (1, [2] * 4 + [1] * 4, 1),  # four of eight are not most
        (2, [1] * 4 + [0] * 4, 2),
        (1, [0] * 8, 1),  # nothing becomes a pore
        (0, [2] * 8, 0),  # pores stay
        (0, [1] * 8, 0),
    ],
)
def test_cleaning_swaps_carbon_and_nickel_by_the_majority_around(centre, around, becomes):
    assert clean(one(centre, around))[0, 1, 1] == becomes


def test_cleaning_is_that_of_a_plain_loop_and_looks_at_its_slice_alone():
    labels = np.random.default_rng(0).integers(0, 3, (3, 9, 11)).astype(np.uint8)
    before, padded = labels.copy(), np.pad(labels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    wanted = labels.copy()
    for z, y, x in np.ndindex(labels.shape):
        box = padded[z, y : y + 3, x : x + 3].ravel().tolist()
        del box[4]
        if labels[z, y, x] == 1 and box.count(2) > 4:
            wanted[z, y, x] = 2
        if labels[z, y, x] == 2 and box.count(1) > 4:
            wanted[z, y, x] = 1
    np.testing.assert_array_equal(clean(labels), wanted)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(clean(labels[1:2])[0], wanted[1])
    assert (wanted != labels).any()


def test_a_copy_lacks_its_first_rows_and_is_as_high_as_before():
    rows = np.arange(40.0, dtype=np.float32)
    image = np.repeat(rows[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(copied(image, 0), image)
    assert copied(image, 0) is not image
    for removed in (1, 7, 20):
        found = copied(image, removed)
        # a slope stays one: where the last row ends is the last row's end, where the first ends is `removed`
        wanted = np.clip(removed + (rows + 0.5) * (40 - removed) / 40 - 0.5, removed, 39)
        np.testing.assert_allclose(found[0, :, 1], wanted, rtol=1e-6)
        labels = (image > 25).astype(np.uint8)
        assert np.count_nonzero(copied(labels, removed)[0, :, 0]) == pytest.approx(14 * 40 / (40 - removed), abs=1)
        assert copied(labels, removed).dtype == np.uint8


def test_labels_of_copies_lie_on_their_images():
    step = (np.arange(60) >= 33)[None, :, None] * np.ones((1, 60, 4))
    for removed in range(COPIES):
        image, label = copied(step.astype(np.float32), removed), copied(step.astype(np.uint8), removed)
        np.testing.assert_array_equal(image > 0.5, label == 1)


def test_the_clean_split_has_no_near_duplicates(first):
    parts = [{z for z, _ in part} for part in by_depth()]
    for number, one_part in enumerate(parts):
        for other in parts[:number]:
            assert min(abs(a - b) for a in one_part for b in other) > GAP
    assert set().union(*parts) <= set(range(fib.SHAPE[0]))
    cleaned = clean(first.label)
    chance = float(np.square(shares(cleaned)).sum())
    assert agreement(cleaned, 1) > 0.85
    assert agreement(cleaned, GAP + 1) < chance + 0.025
    assert agreement(cleaned, 30) == pytest.approx(chance, abs=0.03)


def test_the_clean_split_trains_on_copies_and_tests_on_slices(toy):
    found = split(toy, "clean")
    assert len(found.train) == COPIES * len(TRAINED)
    assert found.test.origin == tuple(TESTED)
    assert found.validation.origin == tuple(VALIDATED)
    assert set(found.test.copy) == set(found.validation.copy) == {0}
    np.testing.assert_array_equal(found.test.image, toy.image[list(TESTED)])


def test_the_papers_split_has_its_numbers(toy):
    train, validation, test = published()
    originals = {z for z, _ in train}
    assert fib.SHAPE[0] * COPIES == 1330
    assert len(test) == len(set(test)) == 50
    assert len({z for z, _ in test}) == 50
    assert sum(z not in originals for z, _ in test) == UNSEEN == 40
    assert sum(z in originals for z, _ in test) == SEEN == 10
    assert not set(test) & set(train)
    assert not originals & {z for z, _ in validation}
    # of the unseen originals no copy is trained on; of all others all are that are not tested on
    assert len(train) == COPIES * (133 - 40 - len(validation)) - 10
    assert published() == (train, validation, test)
    assert len(split(toy, "paper").test) == 50


@pytest.mark.parametrize("name", ["clean", "paper"])
def test_pairs_are_the_copies_that_they_say(toy, name):
    for part in vars(split(toy, name)).values():
        assert isinstance(part, Pairs)
        assert part.image.shape == part.label.shape == part.truth.shape
        for n in range(0, len(part), 37):
            z, rows = part.origin[n], part.copy[n]
            np.testing.assert_array_equal(part.image[n], copied(toy.image[z : z + 1], rows)[0])
            np.testing.assert_array_equal(part.label[n], copied(clean(toy.label[z : z + 1]), rows)[0])


def test_the_slice_that_is_shown_is_trained_on_and_no_copy(toy):
    shown = middle_trained(split(toy, "paper").train)
    assert (len(shown), shown.copy) == (1, (0,))
    assert shown.origin[0] in {z for z, _ in published()[0]}


@pytest.mark.parametrize(
    ("data", "domain", "count"), [("battery-fib", "clean", len(TESTED)), ("battery-fib-paper", "paper", 50)]
)
def test_eval_sees_the_test_images_as_a_stack(first, data, domain, count):
    source = open_data(data, domain)
    assert source.classes == fib.CLASSES
    (case,) = source.cases(domain)
    assert case.stack
    assert case.image.shape == (count, 224, 256)
    assert case.human.shape == case.truth.shape == case.image.shape
    assert case.shown.image.shape == (1, 224, 256)
    image = np.asarray(case.image.data[:])
    assert not any(np.array_equal(case.shown.image[0], plane) for plane in image)
    if data == "battery-fib":
        np.testing.assert_array_equal(case.human, clean(first.label)[list(TESTED)])
        np.testing.assert_array_equal(case.truth, first.truth[list(TESTED)])


def test_the_data_sets_are_known_by_name():
    assert open_data("battery-fib").domains == ("clean", "specimen-2", "low-dose")
    assert open_data("battery-fib", "spec*").domains == ("specimen-2",)
    with pytest.raises(UnknownNameError, match="battery-fib-paper"):
        open_data("battery-fob")
    with pytest.raises(UnknownNameError, match="low-dose"):
        open_data("battery-fib", "paper")
    for name in ("battery-fib", "battery-fib-paper"):
        assert cases.made_by(name) == {"battery-fib": str(fib.FIB_VERSION)}
        assert not RunDefinition(name="a", zoo="b", data=name).measured
    assert cases.made_by("battery16").keys() == {"battery16"}


def test_rows_of_another_version_or_domain_are_not_up_to_date():
    run = RunDefinition(name="a", zoo="b", data="battery-fib", domain="clean,low-dose")
    made = {"battery-fib": str(fib.FIB_VERSION)}

    def rows(versions, *domains):
        return [SimpleNamespace(domain=name, case=name, versions=versions, voxels=9) for name in domains]

    assert fresh._other_data(run, rows(made, "clean", "low-dose"), None) is None
    assert fresh._other_data(run, rows(made, "clean"), None) == "other domains"
    old = {"battery-fib": str(fib.FIB_VERSION - 1)}
    assert fresh._other_data(run, rows(old, "clean", "low-dose"), None) == "other simulated volumes"
    assert fresh._other_data(run, rows({}, "clean", "low-dose"), None) == "other simulated volumes"


def test_the_forest_is_shown_what_the_case_says_and_its_negative_where_images_are_inverted():
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    label = np.zeros(image.shape, np.uint8)
    shown = LabelledSlice(image[:1] + 50, 0, label[0])
    case = Labelled("a", "b", "c", Volume(image, source="test"), label, label, "", stack=True, shown=shown)
    assert _shown(case, image, None, False) is shown
    np.testing.assert_array_equal(_shown(case, image, None, True).image, -shown.image)
    plain = Labelled("a", "b", "c", Volume(image, source="test"), label, label, "")
    assert _shown(plain, image, None, False).image is image


def test_multi_otsu_orders_classes_by_grey():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (4, 30, 30))
    image = (np.array([5.0, 1.0, 9.0])[truth] + rng.normal(0, 0.3, truth.shape)).astype(np.float32)
    np.testing.assert_array_equal(otsu(image, 3), np.array([1, 0, 2])[truth])
    assert otsu(image, 3).dtype == np.uint8
    assert not otsu(np.full((2, 3, 4), 7.0), 3).any()
    np.testing.assert_array_equal(otsu(np.array([[[1.0, 8.0, 1.0]]]), 3), [[[0, 1, 0]]])


def test_features_of_a_stack_are_those_of_its_slices_alone():
    image = np.random.default_rng(0).normal(size=(4, 30, 26)).astype(np.float32)
    image[2] = image[2] * 5 + 100
    with ThreadPoolExecutor(1) as pool:
        together = features(image, pool, stack=True)
        alone = np.concatenate([features(image[z : z + 1], pool) for z in range(4)], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_forest_tells_three_classes_apart_in_a_stack():
    rng = np.random.default_rng(1)
    columns = np.stack([rng.permutation(np.arange(12) % 3) for _ in range(6)])
    truth = columns[:, None].repeat(30, axis=1).repeat(3, axis=2).astype(np.uint8)
    image = (truth + rng.normal(0, 0.1, truth.shape)).astype(np.float32)
    shown = LabelledSlice(image[:1], 0, truth[0])
    labels, _ = forest(image[1:], shown, threads=1, stack=True)
    assert np.mean(labels == truth[1:]) > 0.95


def test_data_commands_know_battery_fib(segbench, monkeypatch, toy, tmp_path):
    monkeypatch.setattr(commands, "VOLUMES", replace(commands.VOLUMES, make=lambda *_: toy))
    code, out, _ = segbench("data", "list")
    assert code == 0
    assert "low-dose" in out
    assert "Tesla" in out
    code, out, _ = segbench("data", "check", "battery-fib")
    assert code == 0
    assert "50 tested, of 40 originals" in out
    code, _, error = segbench("data", "show", "clean", "--size", "64")
    assert (code, "one size" in error) == (2, True)
    picture = tmp_path / "a" / "slices.png"
    code, out, _ = segbench("data", "show", "clean", "--out", picture)
    assert code == 0
    assert "shares of the truth, nickel" in out
    assert picture.stat().st_size > 1000
    assert segbench("data", "make", "battery17")[0] == 2


@pytest.mark.parametrize(
    ("trained", "data", "domain", "said"),
    [
        ("clean", "battery-fib", "clean", False),
        ("clean", "battery-fib-paper", "clean", True),
        ("paper", "battery-fib-paper", "clean", False),
        ("paper", "battery-fib", "clean", True),
        ("paper", "battery-fib", "low-dose", True),
        ("paper", "battery-fib", "specimen-2", False),
        ("paper", "battery16", "Tesla", False),
    ],
)
def test_a_model_trained_on_the_other_split_is_told_of(tiny, trained, data, domain, said):
    text = f"750 slices of battery-fib (version 3, seed 0, {trained} split)"
    card = tiny.card.model_copy(update={"training": tiny.card.training.model_copy(update={"data": text})})
    assert bool(seen(card, data, domain)) is said
    assert seen(tiny.card, data, domain) == ()
