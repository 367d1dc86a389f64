"""Output that is whole or not there, and folders that are checked before the work."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile

from segbench.errors import InputError, OutputError
from segbench.io import check_output_folder, open_volume, replacing, write_bytes, write_tiff


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def one_line(caught, *words):
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    path = tmp_path / "rows.json"
    with replacing(path) as temp:
        assert temp.parent == tmp_path
        assert temp.suffix == ".json"
        assert temp.name.startswith(".")
        temp.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["rows.json"]  # noqa: PTH208
    other = tmp_path / "plain"
    other.write_text("x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), InputError("bad"), ValueError("x")])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, error):
    path = tmp_path / "rows.json"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as temp:  # noqa: PT012
        temp.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.json"]  # noqa: PTH208


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "rows.json"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError) as caught:
            write_bytes(path, "new")
    one_line(caught, str(path), "No space left on device", "free some space")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # a full network disk speaks up only now
        with pytest.raises(OutputError) as caught:
            write_bytes(path, "new")
    one_line(caught, str(path), "No space left")
    with pytest.raises(OutputError, match="16 requested and 8 written"), replacing(path):
        raise OSError("16 requested and 8 written")  # as NumPy says it, without a number
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.json"]  # noqa: PTH208


def test_a_problem_of_another_file_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a") as temp:
        temp.write_text((tmp_path / "input that is missing").read_text())


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path / "none" / "a.txt", "x")
    one_line(caught, "No such file", "make its folder first")
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path / "file" / "a.txt", "x")
    one_line(caught, "Not a directory")
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path, "x")
    one_line(caught, str(tmp_path), "it is a folder")

    def denied(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(OutputError) as caught:
        write_bytes(tmp_path / "a.txt", "x")
    one_line(caught, "Permission denied", "choose a place")


def test_output_folders_are_made_and_proved(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    assert check_output_folder(folder) == folder
    assert list(folder.iterdir()) == []
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError) as caught:
            check_output_folder(path)
        one_line(caught, str(path))
    with pytest.raises(OutputError, match="choose another disk"):
        check_output_folder(folder, need_bytes=10**18)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError) as caught:
        check_output_folder(folder)
    one_line(caught, "No space left")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.float32])
def test_a_written_tiff_reads_back_and_is_the_same_bytes_each_time(tmp_path, dtype):
    array = (np.random.default_rng(0).uniform(0, 9, (4, 7, 6)) > 4).astype(dtype)
    for name in ("a.tif", "b.tif"):
        write_tiff(tmp_path / name, array, (3.0, 2.0, 1.0))
    volume = open_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(volume.data), array)
    assert volume.voxel_um == (3, 2, 1)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    write_tiff(tmp_path / "flat.tif", array[0])
    assert open_volume(tmp_path / "flat.tif").shape == (1, 7, 6)


def test_a_tiff_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(OutputError, match="No space left"):
        write_tiff(tmp_path / "a.tif", np.zeros((2, 3, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []
