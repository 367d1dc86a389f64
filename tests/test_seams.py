"""How much an answer depends on where tiles end."""

import shutil

import numpy as np
import pytest

from segbench.engines import start
from segbench.errors import InputError
from segbench.export import seams
from segbench.zoo import Model, find


def test_a_voxel_by_voxel_model_has_no_seams_and_a_tile_lies_in_the_midst(tiny):
    found = seams.measure(tiny, start(tiny, "fake"), volumes=1)
    assert (found.labels_per_million, found.entropy) == (0, 0)
    card = tiny.card.model_copy(
        update={"input": tiny.card.input.model_copy(update={"core": (8, 8, 8), "halo": (4, 4, 4)})}
    )
    near, far = (seams._tile(card, 24, times) for times in (1, 2))
    assert (near.start, near.stop, near.read, near.shape) == ((8,) * 3, (16,) * 3, (4,) * 3, (16,) * 3)
    assert (far.start, far.stop, far.read, far.shape) == ((8,) * 3, (16,) * 3, (0,) * 3, (24,) * 3)


def test_a_halo_that_is_too_short_shows(tiny):
    def measured(halo):
        tiled = tiny.card.input.model_copy(update={"core": (16, 16, 16), "halo": (halo,) * 3})
        model = Model(card=tiny.card.model_copy(update={"input": tiled}), path=tiny.path)
        return seams.measure(model, start(model, "onnxruntime", threads=2), volumes=1)

    assert measured(4).entropy > measured(16).entropy
    assert measured(16).entropy == pytest.approx(0, abs=1e-6)


def test_phantoms_have_two_phases(tiny3):
    with pytest.raises(InputError, match="two phases"):
        seams.measure(tiny3, start(tiny3, "fake"), volumes=1)


def test_the_card_says_it_and_the_hash_stays(segbench, tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny.path, folder)
    before = find(str(folder)).hash
    code, out, _ = segbench("zoo", "seams", folder)
    assert code == 0
    assert "labels per million" in out
    model = find(str(folder))
    assert model.hash == before
    assert np.isfinite(model.card.seams.labels_per_million)
    assert "- **Seams**" in (folder / "README.md").read_text()
