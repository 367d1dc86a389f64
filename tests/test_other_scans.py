"""docs/other_scans.py: the same specimen, scanned otherwise; labels go with it."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HERE, blobs


@pytest.fixture
def other(monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_other_scans", HERE.parent / "docs" / "other_scans.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LAYERS", 8)
    return module


def scan():
    """Grey values 60, 120 and 200 of three classes that blobs are made of, 24 x 40 x 40."""
    label = np.digitize(blobs((24, 40, 40)), [-0.5, 0.5]).astype(np.uint8)
    return np.array([60, 120, 200], np.float32)[label], label


def test_labels_go_with_what_is_scanned(other):
    image, label = scan()
    found = other.changed(image, label, 24)
    assert list(found) == [*other.GREY, *other.SCALES]
    for name, (grey, truth) in found.items():
        assert grey.shape == truth.shape == (8, 24, 24), name
        assert grey.dtype == np.float32
        means = [grey[truth == value].mean() for value in range(3)]
        assert means[0] < means[1] < means[2], name
    assert np.array_equal(found["as it is"][0], image[:8, :24, :24])
    assert found["hot voxels (1 in 100,000)"][0].max() == 6 * 255
    assert found["nothing darker than 50 of 255"][0].min() == 60
    assert not np.array_equal(found["voxels 1.6 times finer"][1], label[:8, :24, :24])


def test_a_table_has_a_line_for_every_change_and_a_column_for_every_model(other, tiny3, monkeypatch, capsys):
    image, label = scan()
    monkeypatch.setattr(other.fibre, "load", lambda domain: None)
    monkeypatch.setattr(
        other.fibre, "split", lambda volume: SimpleNamespace(test=SimpleNamespace(image=image, label=label))
    )
    monkeypatch.setattr(other, "find", lambda name: tiny3)
    monkeypatch.setattr(other, "start", lambda model: None)
    monkeypatch.setattr(other, "predict", lambda volume, *_: SimpleNamespace(labels=np.full(volume.shape, 1, np.uint8)))
    monkeypatch.setattr(sys, "argv", ["other_scans.py", "one", "two", "--edge", "24"])
    other.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 9
    assert lines[0] == "| IoU of matrix, fibre, porosity | `tiny3` | `tiny3` |"
    share = (label[:8, :24, :24] == 1).mean()
    assert lines[2] == f"| as it is | 0.000 {share:.3f} 0.000 | 0.000 {share:.3f} 0.000 |"
