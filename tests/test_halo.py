"""docs/halo.py: a halo as long as a network sees changes nothing, a shorter one does."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HERE, blobs


@pytest.fixture
def halo(tiny, monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_halo", HERE.parent / "docs" / "halo.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "docs_halo", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    layers = SimpleNamespace(test=SimpleNamespace(image=blobs((8, 16, 16)).astype(np.float32)))
    monkeypatch.setattr(module, "find", lambda name: tiny)
    monkeypatch.setattr(module.fibre, "load", lambda domain: None)
    monkeypatch.setattr(module.fibre, "split", lambda volume: layers)
    monkeypatch.setattr(module, "LONG", 12)
    monkeypatch.setattr(module, "HALOS", (0, 2, 12))
    return module


@pytest.mark.parametrize("axis", ["yx", "z"])
def test_only_a_halo_that_is_too_short_changes_anything(halo, axis):
    none, short, whole = halo.changes("tiny", axis, 4, samples=2)
    assert (none.halo, short.halo, whole.halo) == (0, 2, 12)
    assert whole.largest < 1e-5, "tiles with all that the network sees say what one tile says"
    assert none.mean > short.mean > whole.mean


def test_a_page_shows_one_line_for_each_halo(halo, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["halo.py", "tiny", "--edge", "16", "--samples", "1"])
    halo.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["halo", "---:", "0", "2", "12"]
