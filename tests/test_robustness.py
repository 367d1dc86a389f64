"""Degraded scans: each error grows with its level, and the level without change leaves every bit alone."""

from dataclasses import replace

import numpy as np
import pytest

from segbench.data import tomograph
from segbench.data.battery16 import data_hash, make_case
from segbench.data.domains import DOMAINS
from segbench.data.geometry import build
from segbench.data.projector import project, reconstruct
from segbench.data.tomograph import Scan
from segbench.errors import InputError, UnknownNameError
from segbench.evaluate.robustness import KINDS, PICKED, case_name, degrade, degraded, level_of

E35 = DOMAINS["E35"]
SIZE = 48


@pytest.fixture(scope="module")
def unchanged():
    return degrade(E35, "noise", 1.0, SIZE)


def contrast(case):
    """How far active material lies above the rest, in standard deviations inside the classes."""
    image, truth = case.image, case.truth == 1
    return (image[truth].mean() - image[~truth].mean()) / np.sqrt(image[truth].var() + image[~truth].var())


def edges(case):
    return float(np.abs(np.diff(case.image, axis=2)).mean())


def far(case, unchanged):
    """Share of the image's variance that the degradation changed."""
    return float(np.var(case.image - unchanged.image) / np.var(unchanged.image))


@pytest.mark.parametrize("kind", KINDS)
def test_the_unchanged_level_of_every_kind_is_one_case(kind, unchanged):
    about = KINDS[kind]
    assert about.unchanged in about.levels
    assert data_hash(degrade(E35, kind, about.unchanged, SIZE)) == data_hash(unchanged)


def test_the_specimen_is_that_of_battery16_and_only_photons_differ_between_noises(unchanged):
    np.testing.assert_array_equal(make_case(E35, SIZE).truth, unchanged.truth)
    little, less = (degrade(E35, "noise", level, SIZE) for level in (0.02, 0.01))
    assert far(little, less) < 1e-3, "drift and rings are those of the other level"


def test_the_default_scan_covers_half_a_turn_and_changes_no_bit():
    """Against the scanner as it was before there was a wedge, written out once more."""
    specimen = build(E35.geometry, SIZE, np.random.default_rng(0)).attenuation
    rng, scan = np.random.default_rng(1), E35.scan
    assert scan.wedge == Scan().wedge == 180
    per_voxel = scan.absorption / specimen.shape[1]
    angles = np.pi * (np.arange(scan.angles) + rng.uniform()) / scan.angles
    slices = np.ascontiguousarray(specimen.transpose(1, 2, 0)) * np.float32(per_voxel)
    measured = tomograph.detect(project(slices, angles, specimen.shape[1]), per_voxel, scan, rng)
    image = reconstruct(measured, angles, SIZE, scan.cutoff) / np.float32(per_voxel)
    image = tomograph.drift(image.transpose(2, 0, 1), scan, rng)
    expected = np.float32(scan.grey_offset + scan.grey_gain * image)
    np.testing.assert_array_equal(tomograph.scan(specimen, SIZE, scan, np.random.default_rng(1)), expected)


def test_more_noise_is_less_contrast_to_noise():
    levels = [degrade(E35, "noise", level, SIZE) for level in KINDS["noise"].levels]
    assert np.all(np.diff([contrast(case) for case in levels]) < 0)
    for case in levels:
        np.testing.assert_array_equal(case.truth, levels[0].truth)


def test_more_blur_is_less_edge():
    # noise is taken out: it comes after the detector's point spread
    quiet = replace(E35, scan=replace(E35.scan, noise=0.0))
    assert np.all(np.diff([edges(degrade(quiet, "blur", level, SIZE)) for level in KINDS["blur"].levels]) < 0)


@pytest.mark.parametrize("kind", ["rings", "wedge", "contrast"])
def test_the_image_leaves_the_unchanged_one_further_with_every_level(kind, unchanged):
    about = KINDS[kind]
    worse = about.levels[about.levels.index(about.unchanged) :]
    distance = [far(degrade(E35, kind, level, SIZE), unchanged) for level in worse]
    assert np.all(np.diff(distance) > 0), distance


def test_less_contrast_brings_binder_to_active_material():
    assert np.all(np.diff([contrast(degrade(E35, "contrast", level, SIZE)) for level in (1.0, 0.6, 0.2)]) < 0)


def test_a_larger_voxel_makes_smaller_particles_in_as_many_voxels():
    def surface(case):
        return np.mean([np.mean(np.diff(case.truth.astype(int), axis=axis) != 0) for axis in range(3)])

    cases = [degrade(E35, "voxel-size", level, 64) for level in (0.5, 1.0, 2.0)]
    for case in cases:
        assert case.image.shape == case.truth.shape == case.label.shape == (64, 64, 64)
        assert set(np.unique(case.truth)) == {0, 1}
        assert contrast(case) > 0.3, "image and truth still lie on each other"
    assert np.all(np.diff([surface(case) for case in cases]) > 0)


def test_the_data_set_names_kind_level_and_domain():
    data = degraded("wedge", 32)
    cases = list(data.cases("wedge"))
    assert [case.name for case in cases] == [case_name(lv, d) for lv in KINDS["wedge"].levels for d in PICKED]
    assert level_of(cases[3].name) == 150
    assert len({case.hash for case in cases}) == len(cases)
    assert cases[0].truth is not None


def test_unusable_requests_are_one_line():
    with pytest.raises(UnknownNameError, match="blur"):
        degraded("blurr")
    with pytest.raises(InputError, match="at least 64"):
        degraded("all", 40)
    with pytest.raises(InputError, match="wedge 200"):
        Scan(wedge=200)
    with pytest.raises(InputError, match="known: noise"):
        degrade(E35, "fog", 1.0)
