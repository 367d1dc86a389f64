import numpy as np
import pytest

from segbench.data.domains import DOMAINS
from segbench.data.fields import smooth_noise
from segbench.data.geometry import Geometry, build
from segbench.data.packing import FAR, pack
from segbench.data.randomisation import random_domain
from segbench.errors import InputError

SIZE = 48


def rng(seed=0):
    return np.random.default_rng(seed)


def one_ball(radius, frame=None, radii=None):
    counted = np.ones((48, 48, 48), dtype=np.uint8)
    candidates = np.full((1, 1, 3), 24.0)
    frames = (np.eye(3) if frame is None else frame)[None]
    sizes = np.full((1, 3), float(radius)) if radii is None else np.array([radii], dtype=float)
    return pack(counted, candidates, frames, sizes, np.zeros((1, 5)), 1.0, 1e9)


def test_a_lone_sphere_has_its_exact_distance_field():
    nearest, second, owner, centres, radii = one_ball(12)
    z, y, x = np.ogrid[:48, :48, :48]
    exact = np.sqrt((z - 24.0) ** 2 + (y - 24.0) ** 2 + (x - 24.0) ** 2) - 12
    reached = owner == 0
    # the innermost voxel is capped at -radius, which is exact as well
    assert np.abs(nearest - exact)[reached].max() < 1e-4
    assert np.all(nearest[~reached] == FAR)
    assert np.all(second == FAR)
    assert centres.shape == radii.shape == (1, 3)


def test_an_ellipsoid_has_its_volume_and_its_axes():
    nearest, *_ = one_ball(0, radii=(6.0, 12.0, 18.0))
    inside = nearest < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 6 * 12 * 18, rel=0.02)
    extents = [np.ptp(np.flatnonzero(inside.any(axis=axes))) for axes in ((1, 2), (0, 2), (0, 1))]
    assert extents == pytest.approx([11, 23, 35], abs=1.1)  # first to last voxel centre


@pytest.mark.parametrize("name", ["E35", "Tesla", "25R6", "GCA2000", "Electrode_IV_1"])
def test_the_share_of_active_material_is_the_wanted_one(name):
    geometry = DOMAINS[name].geometry
    for seed in range(2):
        truth = build(geometry, 64, rng(seed)).truth
        assert truth.mean() == pytest.approx(geometry.share, abs=0.02)


def test_two_particles_keep_the_gap():
    geometry = Geometry(share=0.7, radius=10, gap=4.0, roughness=0.0, binder=0.0, variation=0.3, texture=0.0)
    specimen = build(geometry, SIZE, rng())
    margin = (specimen.attenuation.shape[1] - SIZE) // 2
    grey = specimen.attenuation[:, margin:-margin, margin:-margin]
    solid = specimen.truth.astype(bool) & (grey > 0.3)
    jumps = np.abs(np.diff(grey, axis=2))[solid[:, :, 1:] & solid[:, :, :-1]]
    # greys differ by particle, so a step inside solid would mean that two particles touch; surfaces alone
    # step by partial volume, which the middle of a particle never sees
    assert np.median(jumps) < 1e-6


def test_cracks_and_hollows_remove_active_material():
    # the same random numbers place the same particles; only flaws differ
    plain = Geometry(share=0.5, radius=14, gap=1.5)
    flawed = Geometry(share=0.5, radius=14, gap=1.5, cracked=1.0, crack_width=4.0, hollow=1.0)
    a, b = (build(g, SIZE, rng(3)) for g in (plain, flawed))
    lost = (a.truth == 1) & (b.truth == 0)
    assert lost.sum() > 0.05 * a.truth.sum()


def test_binder_lies_between_pore_and_active_and_is_void_in_the_truth():
    geometry = Geometry(share=0.4, radius=12, binder=0.5, binder_grey=0.4, pore_grey=0.05, variation=0, texture=0)
    specimen = build(geometry, SIZE, rng())
    margin = (specimen.attenuation.shape[1] - SIZE) // 2
    grey = specimen.attenuation[:, margin:-margin, margin:-margin]
    void = grey[specimen.truth == 0]
    assert 0.2 < np.mean(np.abs(void - 0.4) < 0.02) < 0.7
    assert np.all(grey[specimen.truth == 1] > 0.45)


def test_outside_the_specimen_there_is_nothing():
    geometry = DOMAINS["GCA2000"].geometry
    specimen = build(geometry, 64, rng())
    for corner in (np.s_[:, :3, :3], np.s_[:, -3:, -3:]):
        assert specimen.truth[corner].sum() == 0
    assert np.all(specimen.attenuation[:, :2, :2] == 0)


def test_flakes_are_aligned_where_asked():
    def anisotropy(alignment):
        geometry = Geometry(share=0.4, radius=10, aspect=0.3, alignment=alignment, lobes=0, roughness=0)
        truth = build(geometry, 64, rng(1)).truth.astype(np.float32)
        faces = [np.abs(np.diff(truth, axis=axis)).mean() for axis in range(3)]
        return max(faces) / min(faces)

    assert anisotropy(1.0) > 1.3 * anisotropy(0.0)


def test_smooth_noise_has_unit_variance_and_its_length():
    for sigma in (2.0, 6.0):
        field = smooth_noise(rng(), (40, 50, 60), sigma)
        assert field.shape == (40, 50, 60)
        assert field.std() == pytest.approx(1, abs=0.1)
        step = round(2 * sigma)
        correlation = float(np.mean(field[:, :, step:] * field[:, :, :-step]))
        assert correlation == pytest.approx(np.exp(-1), abs=0.2)  # of a Gaussian field at twice its sigma


def test_random_domains_are_valid_and_none_of_the_sixteen():
    generator = rng(7)
    drawn = [random_domain(generator) for _ in range(300)]
    assert len({domain.name for domain in drawn}) == 300
    assert not {domain.name for domain in drawn} & set(DOMAINS)
    assert not {domain.geometry for domain in drawn} & {domain.geometry for domain in DOMAINS.values()}
    accuracies = [domain.annotator.accuracy for domain in drawn]
    assert 0.66 <= min(accuracies) < 0.7
    assert 0.94 < max(accuracies) <= 0.98
    assert random_domain(rng(7)) == drawn[0]


def test_geometry_out_of_range_is_refused():
    with pytest.raises(InputError, match="share"):
        Geometry(share=1.2, radius=10)
