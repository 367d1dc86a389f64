"""The command: bad input is one line on standard error and exit code 2, with nothing half-written."""

import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_evaluate import manifest

from segbench.io import atomic


def refused(result, pattern):
    """Exit code 2, one line, no traceback, and the line says `pattern`."""
    code, _, err = result
    assert code == 2, err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("segbench: ")
    assert re.search(pattern, lines[0]), lines[0]


EVAL = ("eval", "--engine", "fake", "--size", 40, "--samples", 2)


def test_a_good_run_is_quiet_on_standard_error(segbench, tiny):
    code, out, err = segbench(*EVAL, "--zoo", tiny.path, "--domain", "Tesla")
    assert (code, err) == (0, "")
    assert "Tesla" in out
    assert "not measured data" in out


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (("--domain", "Tessla"), r"unknown domain 'Tessla'.*Tesla.*Electrode_III_3"),
        (("--zoo", "vnet-batery"), r"unknown model 'vnet-batery'"),
        (("--engine", "tensorflow"), r"unknown engine 'tensorflow'.*openvino"),
        (("--precision", "f8"), r"no precision 'f8'.*f32"),
        (("--data", "battery17"), r"unknown data set 'battery17'"),
        (("--data", "missing.toml"), r"missing\.toml: cannot be read"),
        (("--samples", -3), r"samples is -3"),
        (("--seed", -1), r"seed -1"),
        (("--size", 8), r"size 8"),
    ],
)
def test_names_and_numbers_that_cannot_be(segbench, tiny, options, pattern):
    arguments = dict(zip(EVAL[1::2], EVAL[2::2], strict=True)) | {"--zoo": tiny.path, "--domain": "Tesla"}
    arguments |= dict([options])
    refused(segbench("eval", *(x for pair in arguments.items() for x in pair)), pattern)


def test_a_tampered_model(segbench, tiny, tmp_path):
    shutil.copytree(tiny.path, tmp_path / "m")
    with (tmp_path / "m" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    refused(segbench(*EVAL, "--zoo", tmp_path / "m"), r"model\.onnx: not the file that the card pins")


def test_an_output_folder_below_a_file(segbench, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    result = segbench(*EVAL, "--zoo", tiny.path, "--domain", "Tesla", "--out", tmp_path / "file" / "run")
    refused(result, r"file")


def test_a_full_disk_leaves_nothing_half_written(segbench, tiny, tmp_path, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(atomic, "_flush", full)
    result = segbench(*EVAL, "--zoo", tiny.path, "--domain", "Tesla", "--out", tmp_path / "run")
    refused(result, r"[Nn]o space|full")
    assert not (tmp_path / "run" / "rows.json").exists()
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file()]


def spoil(folder, what):
    """A manifest of two slices, spoilt."""
    path = manifest(folder, 2, depth=3)
    image, label = folder / "0.image.tif", folder / "0.label.tif"
    if what == "truncated":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif what == "empty":
        image.write_bytes(b"")
    elif what == "nan":
        data = tifffile.imread(image)
        data[0, 0, 0] = np.nan
        tifffile.imwrite(image, data, photometric="minisblack")
    elif what == "constant":
        tifffile.imwrite(image, np.zeros((3, 40, 44), np.float32), photometric="minisblack")
    elif what == "shape":
        tifffile.imwrite(label, np.zeros((3, 40, 45), np.uint8), photometric="minisblack")
    elif what == "values":
        tifffile.imwrite(label, np.full((3, 40, 44), 7, np.uint8), photometric="minisblack")
    elif what == "hash":
        path.write_text(
            path.read_text().replace('label = "0.label.tif"', f'label = "0.label.tif"\nlabel_sha256 = "{"0" * 64}"')
        )
    elif what == "overlap":
        path.write_text(path.read_text().replace("1.image", "0.image").replace('"test"', '"train"', 1))
    elif what == "escape":
        path.write_text(path.read_text().replace('"0.image.tif"', '"../0.image.tif"'))
    elif what == "key":
        path.write_text(path.read_text().replace("licence", "license"))
    return path


BAD = {
    "truncated": r"0\.image\.tif",
    "empty": r"0\.image\.tif",
    "nan": r"NaN",
    "constant": r"constant",
    "shape": r"shape",
    "values": r"label values outside the map: 7",
    "hash": r"wrong hash",
    "overlap": r"splits overlap",
    "escape": r"leads out",
    "key": r"license: unknown key",
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("command", ["check", "eval"])
def test_bad_data_is_one_line(segbench, tiny, tmp_path, what, command):
    path = spoil(tmp_path, what)
    if command == "check":
        refused(segbench("data", "check", path), BAD[what])
    else:
        out = tmp_path / "run"
        refused(
            segbench("eval", "--zoo", tiny.path, "--engine", "fake", "--samples", 1, "--data", path, "--out", out),
            BAD[what],
        )
        assert not (out / "rows.json").exists()


def test_a_good_manifest_checks(segbench, tmp_path):
    code, out, _ = segbench("data", "check", manifest(tmp_path, 2, depth=3))
    assert code == 0
    assert "2 cases load" in out
    code, out, _ = segbench("data", "check", tmp_path / "mine.toml", "--json")
    assert [case["name"] for case in json.loads(out)["cases"]] == ["0", "1"]


def test_data_commands(segbench, tmp_path):
    code, out, _ = segbench("data", "list")
    assert code == 0
    assert "Electrode_III_3" in out
    code, out, _ = segbench("data", "show", "Tesla", "--size", 40, "--out", tmp_path / "t.png", "--json")
    assert code == 0
    assert json.loads(out)["measured"]["share of active material"] > 0.5
    assert (tmp_path / "t.png").stat().st_size > 5000
    refused(segbench("data", "make", "battery17"), "battery16")
    refused(segbench("data", "show", "Tessla"), "Tesla")


def test_zoo_commands(segbench, tiny):
    code, out, _ = segbench("zoo", "list")
    assert code == 0
    assert "vnet-battery" in out
    code, out, _ = segbench("zoo", "show", tiny.path)
    assert code == 0
    assert "Dropout" in out
    assert "A network for tests" in out
    code, out, _ = segbench("zoo", "verify", tiny.path)
    assert code == 0
    assert "dropout is alive" in out
    refused(segbench("zoo", "show", "nothing"), "unknown model")


def test_training_from_the_command(segbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Path(__file__).parent / "data" / "tiny.toml"
    code, _, err = segbench("train", recipe, "--steps", 2)
    assert code == 0, err
    assert (tmp_path / "runs" / "tiny" / "card.toml").is_file()
    refused(segbench("train", tmp_path / "none.toml"), "cannot be read")


def test_a_bug_keeps_its_traceback(segbench, monkeypatch):
    monkeypatch.setattr("segbench.cli.models.names", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segbench("zoo", "list")
