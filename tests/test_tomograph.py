import numpy as np
import pytest

from segbench.data.projector import project, reconstruct
from segbench.data.tomograph import Scan, detect, photon_count, scan, transmit
from segbench.errors import InputError

ANGLES = np.pi * np.arange(180) / 180
CLEAN = Scan(
    noise=0, blur=0, hardening=0, scatter=0, fringe=0, rings=0, flux_drift=0, axial_drift=0, axial_jitter=0,
    axial_gain=0, shading=0, cutoff=2.0,
)  # fmt: skip


def disc(width, radius, depth=1, centre=(0.0, 0.0)):
    """Disc (M, M, Z) of ones with a soft rim."""
    y, x = np.mgrid[:width, :width] - (width - 1) / 2
    soft = np.clip(0.5 - (np.hypot(y - centre[0], x - centre[1]) - radius), 0, 1)
    return np.repeat(soft[:, :, None], depth, axis=2).astype(np.float32)


def ring_part(image):
    """Share of the variance of the inner disc of a slice that the mean over half circles explains.

    Over half a turn a detector pixel sees one half circle; its mirror image on the detector sees the other.
    """
    y, x = np.mgrid[: len(image), : len(image)] - (len(image) - 1) / 2
    radius = np.hypot(y, x).round().astype(int)
    inner = (radius > 2) & (radius < len(image) // 2 - 8)
    inner &= np.abs(y) > 1
    arc = (2 * radius + (y > 0))[inner]
    mean = np.bincount(arc, image[inner]) / np.maximum(np.bincount(arc), 1)
    return float(np.var(mean[arc]) / np.var(image[inner]))


def test_projection_of_a_disc_is_its_chord():
    paths = project(disc(64, 20), ANGLES, 64)[:, :, 0]
    t = np.arange(64) - 31.5
    chord = 2 * np.sqrt(np.clip(20**2 - t**2, 0, None))
    core = np.abs(t) < 18  # at the rim the chord falls steeply within one bin
    assert np.abs(paths[:, core] - chord[core]).max() < 0.6
    assert paths.sum(axis=1) == pytest.approx(np.pi * 20**2, rel=0.01)


def test_projection_follows_the_disc_around():
    paths = project(disc(64, 6, centre=(10.0, -4.0)), ANGLES, 64)[:, :, 0]
    middle = paths @ (np.arange(64) - 31.5) / paths.sum(axis=1)
    assert middle == pytest.approx(-4.0 * np.cos(ANGLES) + 10.0 * np.sin(ANGLES), abs=0.05)


def test_back_projection_recovers_the_attenuation_of_a_disc():
    truth = disc(64, 20, depth=2)
    image = reconstruct(project(truth, ANGLES, 64), ANGLES, 64)
    assert image.shape == (64, 64, 2)
    core, outside = disc(64, 17)[:, :, 0] == 1, disc(64, 24)[:, :, 0] == 0
    outside &= disc(64, 31)[:, :, 0] == 1
    assert image[core].mean() == pytest.approx(1, abs=0.01)
    assert np.abs(image[core] - 1).max() < 0.05
    assert abs(image[outside].mean()) < 0.01


def test_a_clean_scan_gives_the_relative_attenuation_back():
    specimen = np.ascontiguousarray(disc(64, 20, depth=3).transpose(2, 0, 1))
    image = scan(specimen, 48, CLEAN, np.random.default_rng(0))
    assert image.shape == (3, 48, 48)
    assert image.dtype == np.float32
    assert image[:, 16:32, 16:32].mean() == pytest.approx(1, abs=0.02)


def test_beam_hardening_cups():
    paths = project(disc(64, 28) * np.float32(2.0 / 56), ANGLES, 64)
    flat, cupped = (reconstruct(-np.log(transmit(paths, hardening)), ANGLES, 64)[:, :, 0] for hardening in (0.0, 0.6))
    rim = (disc(64, 24)[:, :, 0] == 1) & (disc(64, 20)[:, :, 0] == 0)
    middle = disc(64, 6)[:, :, 0] == 1
    assert flat[rim].mean() / flat[middle].mean() == pytest.approx(1, abs=0.01)
    assert cupped[rim].mean() / cupped[middle].mean() > 1.03


def test_transmission_is_that_of_the_spectrum():
    paths = np.linspace(0, 3, 7, dtype=np.float32)
    assert transmit(paths, 0.0) == pytest.approx(np.exp(-paths), rel=1e-6)
    assert transmit(paths, 0.5)[0] == pytest.approx(1)
    assert np.all(transmit(paths, 0.5)[1:] > np.exp(-paths[1:]))  # a hardened beam passes more


def test_rings_are_constant_in_angle_and_absent_without_gain_error():
    specimen = np.zeros((4, 64, 64), dtype=np.float32)
    settings = {name: getattr(CLEAN, name) for name in CLEAN.__dataclass_fields__}
    ringed = scan(specimen, 64, Scan(**{**settings, "rings": 0.05}), np.random.default_rng(1))
    assert np.std(ringed[0]) > 0.02
    assert min(ring_part(part) for part in ringed) > 0.6
    noisy = scan(specimen, 64, Scan(**{**settings, "noise": 0.3}), np.random.default_rng(1))
    assert max(ring_part(part) for part in noisy) < 0.2


@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_photon_noise_has_the_wanted_strength_and_is_correlated(noise):
    specimen = np.zeros((6, 64, 64), dtype=np.float32)
    settings = {name: getattr(CLEAN, name) for name in CLEAN.__dataclass_fields__}
    image = scan(specimen, 64, Scan(**{**settings, "noise": noise, "cutoff": 1.0}), np.random.default_rng(2))
    middle = image[:, 16:48, 16:48]
    assert middle.std() == pytest.approx(noise, rel=0.2)
    beside = np.mean(middle[:, :, 1:] * middle[:, :, :-1]) / middle.var()
    assert abs(beside) > 0.1  # white noise would give 0 +- .013
    assert abs(np.mean(middle[1:] * middle[:-1]) / middle.var()) < 0.06  # slices are measured apart


def test_fewer_photons_where_more_noise_is_wanted():
    paths = project(disc(32, 12) * np.float32(0.05), ANGLES[:20], 32)
    counts = [photon_count(paths, 0.05, Scan(noise=noise)) for noise in (0.1, 0.2)]
    assert counts[0] == pytest.approx(4 * counts[1])


def test_phase_contrast_overshoots_at_the_edge():
    specimen = np.ascontiguousarray(disc(64, 20, depth=3).transpose(2, 0, 1))
    settings = {name: getattr(CLEAN, name) for name in CLEAN.__dataclass_fields__}
    plain = scan(specimen, 64, CLEAN, np.random.default_rng(0))[1]
    fringed = scan(specimen, 64, Scan(**{**settings, "fringe": 1.0}), np.random.default_rng(0))[1]
    rim = (disc(64, 19.5)[:, :, 0] == 1) & (disc(64, 17.5)[:, :, 0] < 1)
    assert fringed[rim].mean() > plain[rim].mean() + 0.05


def test_the_same_stream_gives_the_same_counts():
    paths = project(disc(32, 12) * np.float32(0.05), ANGLES[:20], 32)
    first, again, other = (detect(paths, 0.05, Scan(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_scan_out_of_range_is_refused():
    with pytest.raises(InputError, match="angles"):
        Scan(angles=3)
