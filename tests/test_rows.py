import errno
import json
import math
import os
import subprocess

import numpy as np
import pytest

from segbench import rows
from segbench.errors import InputError, OutputError
from segbench.rows import Row, comparable, git_hash, now, read_rows, versions, write_rows


def row(**changes):
    given = {
        "kind": "case",
        "model": "vnet-battery",
        "model_hash": "ab" * 32,
        "data": "battery16",
        "domain": "Tesla",
        "case": "Tesla",
        "data_hash": "cd" * 32,
        "engine": "fake",
        "device": "cpu",
        "precision": "f32",
        "threads": 4,
        "samples": 16,
        "seed": 0,
        "metrics": {"accuracy_truth": 0.1 + 0.2, "iou_1": math.nan, "tiny": 5e-324},
        "confusion_truth": [[2**40 + 1, 2], [3, 4]],
        "confusion_human": None,
        "voxels": 2**40 + 10,
        "wall_s": 1.5,
        "timed": "prediction of all tiles, with halos, without reading",
        "versions": versions(),
        "git": None,
        "segbench": "0.1.0",
        "made": now(),
    }
    return Row(**(given | changes))


def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path):
    path = tmp_path / "new" / "rows.json"
    written = (row(), row(kind="baseline", model="otsu", model_hash=None, samples=0, seed=None))
    write_rows(path, written)
    found = read_rows(path)
    assert [r.model_dump_json() for r in found] == [r.model_dump_json() for r in written]
    assert found[0].metrics["accuracy_truth"] == 0.1 + 0.2
    assert found[0].metrics["tiny"] == 5e-324
    assert found[0].confusion_truth == ((2**40 + 1, 2), (3, 4))
    assert np.isnan(found[0].metrics["iou_1"])
    text = path.read_text()
    assert "NaN" not in text
    assert json.loads(text)["rows"][0]["metrics"]["iou_1"] is None
    assert list(path.parent.iterdir()) == [path]


def test_two_runs_compare_equal_but_for_times():
    first, second = row(), row(wall_s=99.0, made="2020-01-01T00:00:00+00:00")
    assert first != second
    assert comparable(first) == comparable(second)
    assert comparable(first) != comparable(row(metrics={"accuracy_truth": 0.3}))
    assert comparable(first) != comparable(row(seed=1))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"metrics": {"a": math.inf}}, "metrics.a"),
        ({"metrics": {"a": "high"}}, "metrics.a"),
        ({"colour": "red"}, "colour"),
        ({"kind": "mean"}, "kind"),
        ({"samples": -1}, "samples"),
        ({"confusion_truth": [[-1]]}, "confusion_truth.0.0"),
        ({"confusion_truth": [[0.5]]}, "confusion_truth.0.0"),
        ({"wall_s": math.nan}, "wall_s"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_key(tmp_path, change, key):
    path = tmp_path / "rows.json"
    write_rows(path, [row()])
    raw = json.loads(path.read_text())
    raw["rows"][0] |= change
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=rf"rows\.json: rows\.0\.{key}: ") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", '{"format": ', '{"format": "other", "rows": []}', "[]", "\xff"])
def test_a_file_that_holds_no_rows_is_one_line(tmp_path, text):
    path = tmp_path / "rows.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"rows\.json") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file") as caught:
        write_rows(tmp_path / "file" / "rows.json", [row()])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "rows.json"
    write_rows(path, [row()])
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((rows.os, "fsync") if step == "fsync" else (rows.Path, "replace")), full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_rows(path, [row(), row()])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_versions_name_what_computes_and_are_a_copy():
    found = versions()
    assert found["numpy"] == np.__version__
    assert {"python", "scikit-learn"} <= set(found)
    found["numpy"] = "0"
    assert versions()["numpy"] == np.__version__


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package in src/segbench, and its commit."""
    package = tmp_path / "repo" / "src" / "segbench"
    package.mkdir(parents=True)
    (package / "rows.py").write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=n", "-c", "user.email=e@e", "commit", "-q", "-m", "one", "--no-verify"),
    ):
        subprocess.run(["git", "-C", str(tmp_path / "repo"), *command], check=True, capture_output=True)
    head = ["git", "-C", str(tmp_path / "repo"), "rev-parse", "HEAD"]
    return package, subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_source_and_says_when_it_was_changed(checkout):
    package, commit = checkout
    assert git_hash(package) == commit
    (package.parent.parent / "result.json").write_text("{}")
    assert git_hash(package) == commit
    (package / "rows.py").write_text("changed")
    assert git_hash(package) == commit + "-dirty"


def test_the_commit_of_somebody_elses_repository_is_never_taken(checkout, tmp_path, monkeypatch):
    package, _ = checkout
    repository = package.parent.parent
    installed = repository / ".venv" / "lib" / "python3.11" / "site-packages" / "segbench"
    installed.mkdir(parents=True)
    outside = tmp_path / "outside" / "src" / "segbench"
    outside.mkdir(parents=True)
    copied = repository / "vendor" / "src" / "segbench"
    copied.mkdir(parents=True)
    assert git_hash(copied) is None
    assert git_hash(repository / "lib" / "segbench") is None
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert git_hash(installed) is None
    assert git_hash(outside) is None
    (outside.parent.parent / ".git").mkdir()
    assert git_hash(outside) is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_hash(checkout[0]) is None
