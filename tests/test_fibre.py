import logging
from dataclasses import replace

import numpy as np
import pytest

from segbench.cli import fibre as commands
from segbench.data import fibre
from segbench.data.fibre import volume as volumes
from segbench.data.fibre.drawing import FAR, draw_fibre, fits
from segbench.data.fibre.scan import Scan, scan
from segbench.data.fibre.specimen import Composite, Specimen, build
from segbench.data.fibre.split import GAP, TESTED, TRAINED, VALIDATED, again
from segbench.data.manifest import read_manifest
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate import cases
from segbench.evaluate.cases import open_data

SMALL = (40, 72, 80)


@pytest.fixture(scope="module")
def small():
    """Image and truth of a small volume."""
    return volumes.make("aligned", 3, SMALL)


@pytest.fixture
def toy():
    """As many layers as the benchmark, small ones, that say which they are."""
    z = np.arange(fibre.SHAPE[0])[:, None, None] + np.zeros((1, 4, 5))
    return fibre.Fibre(z.astype(np.float32), (z % 3).astype(np.uint8), "")


def test_the_same_arguments_give_the_same_bits_and_others_do_not(small):
    image, truth = volumes.make("aligned", 3, SMALL)
    np.testing.assert_array_equal(image, small[0])
    np.testing.assert_array_equal(truth, small[1])
    assert not np.array_equal(volumes.make("aligned", 4, SMALL)[1], truth)
    with pytest.raises(InputError, match="negative"):
        volumes.make("aligned", -1, SMALL)


def test_grey_values_are_those_of_bytes_and_shares_those_of_the_study(small):
    image, truth = small
    assert (image.shape, image.dtype, truth.dtype) == (SMALL, np.float32, np.uint8)
    np.testing.assert_array_equal(image, image.astype(np.uint8))
    shares = np.bincount(truth.ravel(), minlength=3) / truth.size
    assert shares[1] == pytest.approx(0.17, abs=0.01)
    assert shares[2] == pytest.approx(0.004, abs=0.0025)


def test_pores_are_dark_but_no_threshold_finds_them(small):
    image, truth = small
    matrix, glass, pore = (image[truth == phase] for phase in range(3))
    assert pore.mean() + 25 < matrix.mean() < glass.mean() - 60
    best = 0.0
    for level in range(5, 80, 5):
        found = image < level
        best = max(best, np.sum(found & (truth == 2)) / np.sum(found | (truth == 2)))
    assert 0.05 < best < 0.6, best


def test_the_noisy_domain_is_the_first_specimen_again_and_the_skewed_one_is_not(small):
    image, truth = volumes.make("noisy", 3, SMALL)
    np.testing.assert_array_equal(truth, small[1])
    assert image[truth == 0].std() > 1.1 * small[0][truth == 0].std()
    assert not np.array_equal(volumes.make("skewed", 3, SMALL)[1], truth)


def test_a_fibre_is_a_cylinder_with_flat_ends():
    field = np.full((40, 40, 60), FAR, np.float32)
    gained = draw_fibre(field, np.array([[20.0, 20, 14.5], [20, 20, 30], [20, 20, 45.5]]), 5.2, 0)
    assert gained == np.count_nonzero(field < 0) == pytest.approx(np.pi * 5.2**2 * 31, rel=0.06)
    assert field[20, 20, 48] == pytest.approx(2.5)
    assert field[20, 28, 30] == pytest.approx(2.8)
    assert not fits(field, np.array([[20.0, 28, 15], [20, 28, 45]]), 4.0)
    assert fits(field, np.array([[20.0, 30, 15], [20, 30, 45]]), 4.0)


def test_the_matrix_beside_a_fibre_is_darker_than_the_matrix():
    field = np.full((20, 60, 60), FAR, np.float32)
    draw_fibre(field, np.array([[-20.0, 30, 30], [40, 30, 30]]), 5.0, 0)
    still = Scan(noise=0, rings=0, texture=0, cupping=0, streak=0)
    rng = np.random.default_rng(0)
    image = scan(Specimen(field, np.full_like(field, FAR)), rng, rng, still)
    assert image[10, 30, 30] > 150
    assert image[10, 30, 36:42].min() < still.matrix - 5
    assert image[10, 30, 50] == pytest.approx(still.matrix, abs=2)


def test_pores_are_mostly_beside_fibres():
    anywhere = replace(Composite(), at_ends=0.0, beside=0.0)
    built, other = (build(SMALL, np.random.default_rng(0), made_of) for made_of in (Composite(), anywhere))
    near, by_chance = ((one.fibre[one.truth == 2] < 4).mean() for one in (built, other))
    assert near > 0.55
    assert near > by_chance + 0.1
    free = build(SMALL, np.random.default_rng(0), replace(Composite(), porosity=0.0))
    assert not (free.truth == 2).any()


def test_parts_have_the_published_proportion_and_lie_apart(toy):
    parts = fibre.split(toy)
    for part, layers in zip((parts.train, parts.validation, parts.test), (TRAINED, VALIDATED, TESTED), strict=True):
        assert (part.first, part.last, len(part)) == (layers[0], layers[-1], len(layers))
        np.testing.assert_array_equal(part.image[:, 0, 0], list(layers))
        np.testing.assert_array_equal(part.label, toy.truth[layers.start : layers.stop])
    assert (len(TRAINED) + len(VALIDATED)) / len(TESTED) == pytest.approx(1300 / 300, rel=0.02)
    assert VALIDATED[0] - TRAINED[-1] == TESTED[0] - VALIDATED[-1] == GAP + 1
    assert TESTED[-1] == fibre.SHAPE[0] - 1
    with pytest.raises(InputError, match="40 layers cannot be split"):
        fibre.split(fibre.Fibre(toy.image[:40], toy.truth[:40], ""))


def test_again_is_the_share_that_stays():
    truth = np.array([1, 1, 0, 1, 2], dtype=np.uint8)[:, None, None]
    assert again(truth, 1, 1) == pytest.approx(1 / 3)
    assert np.isnan(again(truth, 2, 1))


def test_the_cache_keeps_bytes_and_a_damaged_file_is_made_again(tmp_path, monkeypatch, small, caplog):
    calls = []
    monkeypatch.setattr(volumes, "make", lambda *asked: calls.append(asked) or small)
    first = fibre.load(cache=tmp_path, seed=3)
    again_ = fibre.load(cache=tmp_path, seed=3)
    assert len(calls) == 1
    assert first.hash == again_.hash
    np.testing.assert_array_equal(again_.image, small[0])
    path = next(tmp_path.rglob("aligned.npz"))
    assert path.stat().st_size < 2.1 * small[1].size
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 255
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert fibre.load(cache=tmp_path, seed=3).hash == first.hash
    assert len(calls) == 2
    assert "damaged" in caplog.text
    with pytest.raises(UnknownNameError):
        fibre.load("pa66", cache=tmp_path)


def test_evaluation_sees_the_test_layers_and_shows_the_forest_a_trained_one(monkeypatch, toy):
    monkeypatch.setattr(cases.fibre, "load", lambda *asked, **named: toy)
    case = next(open_data("fibre-composite", "skewed").cases("skewed"))
    assert case.truth is case.human
    assert (case.stack, case.against) == (False, "truth")
    np.testing.assert_array_equal(np.asarray(case.image.data)[:, 0, 0], list(TESTED))
    shown = case.shown
    assert shown.image[shown.z, 0, 0] == TRAINED[len(TRAINED) // 2]
    np.testing.assert_array_equal(shown.labels, toy.truth[TRAINED[len(TRAINED) // 2]])


def test_check_says_how_alike_layers_are_and_what_is_left_out(monkeypatch, capsys, toy):
    monkeypatch.setattr(commands, "VOLUMES", replace(commands.VOLUMES, make=lambda *_: toy))
    commands.check(json=False)
    assert "the parts lie 27 layers apart, 26 left out" in capsys.readouterr().out.replace("\n", " ")


def published(tmp_path, *cuts):
    """A manifest of one file with a case for each (split, z)."""
    entries = (
        f'[[domain.case]]\nname = "{n}"\nsplit = "{part}"\nimage = "v.tif"\nlabel = "l.tif"\nz = {z}\n'
        for n, (part, z) in enumerate(cuts)
    )
    head = 'name = "pa66"\nsource = "s"\nlicence = "none"\nuse = "check only"\nclasses = ["m", "f", "p"]\n'
    path = tmp_path / "pa66.toml"
    path.write_text(f'{head}[[domain]]\nname = "d"\nlabels = {{ 0 = 0, 1 = 1, 2 = 2 }}\n{"".join(entries)}')
    return path


def test_the_published_split_is_refused_in_one_line(tmp_path):
    path = published(tmp_path, ("train", [0, 1300]), ("validation", [1000, 1300]), ("test", [1300, 1600]))
    with pytest.raises(InputError) as refused:
        read_manifest(path)
    said = str(refused.value)
    assert "splits overlap: d/0 (train) and d/1 (validation) share slices 1000 to 1299" in said
    assert len(said.splitlines()) == 1


def test_layers_of_one_file_that_lie_apart_are_taken(tmp_path):
    path = published(tmp_path, ("train", [0, 1000]), ("validation", [1050, 1250]), ("test", [1300, 1600]))
    assert [case.z for case in read_manifest(path).domain[0].case] == [(0, 1000), (1050, 1250), (1300, 1600)]
