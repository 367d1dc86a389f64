"""Manifests: what is refused, what is doubted, and what comes out."""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from segbench.data.manifest import read_manifest
from segbench.data.manifest_check import check, explained
from segbench.data.manifest_load import load_case
from segbench.errors import InputError, UnknownNameError

REPOSITORY = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("SEGBENCH_REAL", REPOSITORY.parent / "shared" / "real"))
MANIFESTS = sorted((REPOSITORY / "evaluate" / "manifests").glob("*.toml"))

HEAD = """
name = "mine"
source = "here"
licence = "MIT"
use = "train and check"
classes = ["void", "active"]
"""


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def phantom(seed=0, shape=(6, 48, 64)):
    """Smooth random phases as raw labels 10 and 20, and a noisy image of them."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=shape)
    for axis in range(3):
        for _ in range(6):
            field = field + np.roll(field, 1, axis)
    solid = field > np.median(field)
    image = solid * 100.0 + rng.normal(0, 30, shape)
    return image.astype(np.float32), np.where(solid, 20, 10).astype(np.uint8)


def write(folder, name, seed=0, image=None, label=None):
    made_image, made_label = phantom(seed)
    image, label = made_image if image is None else image, made_label if label is None else label
    tifffile.imwrite(folder / f"{name}.tif", image, photometric="minisblack")
    tifffile.imwrite(folder / f"{name}.label.tif", label, photometric="minisblack")


def entry(name, split="train", file=None, more="", folder=None):
    file = file or name
    hashes = ""
    if folder is not None:
        image, label = sha(folder / f"{file}.tif"), sha(folder / f"{file}.label.tif")
        hashes = f'image_sha256 = "{image}"\nlabel_sha256 = "{label}"'
    return f"""
[[domain.case]]
name = "{name}"
split = "{split}"
image = "{file}.tif"
label = "{file}.label.tif"
{hashes}
{more}
"""


def manifest(folder, *entries, domain='name = "d"\nlabels = {"10" = 0, "20" = 1}', head=HEAD):
    path = folder / "mine.toml"
    path.write_text(f"{head}\n[[domain]]\n{domain}\n{''.join(entries)}")
    return path


def refused(path, *words, act=lambda path: check(read_manifest(path))):
    with pytest.raises(InputError) as caught:
        act(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def test_a_good_manifest_loads_and_checks(tmp_path):
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 2)
    domain = 'name = "d"\nvoxel_um = [3, 2, 1]\nlabels = {"10" = 0, "20" = 1}'
    path = manifest(tmp_path, entry("a", folder=tmp_path), entry("b", "test", folder=tmp_path), domain=domain)
    seen = []
    report = check(read_manifest(path), on_case=seen.append)
    assert report.warnings == ()
    assert tuple(seen) == report.cases
    first = report.cases[0]
    assert (first.domain, first.name, first.split, first.shape) == ("d", "a", "train", (6, 48, 64))
    assert (first.dtype, first.voxel_um) == ("float32", (3, 2, 1))
    assert first.shares == pytest.approx((0.5, 0.5), abs=1e-3)
    assert first.alignment > 0.5
    located = read_manifest(path).cases(split="test")
    assert [item.case.name for item in located] == ["b"]
    case = load_case(located[0])
    image, label = phantom(2)
    np.testing.assert_array_equal(np.asarray(case.image.data), image)
    np.testing.assert_array_equal(case.label, label == 20)
    assert case.label.dtype == np.uint8
    assert case.image.voxel_um == (3, 2, 1)
    assert case.sha256 == load_case(located[0]).sha256
    assert case.sha256 != load_case(read_manifest(path).cases(split="train")[0]).sha256


def test_a_root_given_at_the_call_stands_above_the_manifests_folder(tmp_path):
    data = tmp_path / "elsewhere"
    data.mkdir()
    write(data, "a")
    path = manifest(tmp_path, entry("a", folder=data))
    refused(path, "a.tif", "no such file")
    assert check(read_manifest(path), data).warnings == ()
    refused(path, "no such folder", act=lambda p: check(read_manifest(p), tmp_path / "nowhere"))


def test_slices_of_one_volume_make_cases(tmp_path):
    write(tmp_path, "a")
    one, two = entry("one", "train", "a", "z = [0, 2]"), entry("two", "test", "a", "z = [4, 6]")
    loaded = read_manifest(manifest(tmp_path, one, two))
    case = load_case(loaded.cases(split="test")[0])
    image, label = phantom()
    np.testing.assert_array_equal(np.asarray(case.image.data), image[4:])
    np.testing.assert_array_equal(case.label, label[4:] == 20)
    assert not any("touch" in warning for warning in check(loaded).warnings)
    touching = read_manifest(manifest(tmp_path, one, entry("two", "test", "a", "z = [2, 6]")))
    assert any("touch at slice 2 of a.tif" in warning for warning in check(touching).warnings)
    refused(manifest(tmp_path, entry("one", "test", "a", "z = [4, 7]")), "6 slices, but z asks for 4 to 6")
    refused(manifest(tmp_path, entry("one", "test", "a", "z = [4, 4]")), "no range")


@pytest.mark.parametrize("more", [("", ""), ("z = [0, 4]", "z = [3, 6]"), ("", "z = [3, 6]")])
def test_overlapping_splits_are_refused_on_reading(tmp_path, more):
    path = manifest(tmp_path, entry("one", "train", "a", more[0]), entry("two", "test", "a", more[1]))
    refused(path, str(path), "splits overlap", "d/one (train)", "d/two (test)", act=read_manifest)


def test_the_same_image_under_two_names_is_refused(tmp_path):
    path = manifest(tmp_path, entry("one", "train", "a"), entry("two", "train", "a"))
    refused(path, "named twice", "d/one", "d/two", act=read_manifest)
    write(tmp_path, "a")
    write(tmp_path, "b")
    equal_hash = [entry(n, s, n, folder=tmp_path) for n, s in (("a", "train"), ("b", "test"))]
    refused(manifest(tmp_path, *equal_hash), "splits overlap", act=read_manifest)


def test_images_of_one_file_are_several_and_one_image_has_one_place(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for seed, name in enumerate("ab"):
            file[f"{name}/image"], file[f"{name}/label"] = phantom(seed)
    digest = sha(tmp_path / "all.h5")

    def case(split, group):
        return (
            f'[[domain.case]]\nname = "{split}"\nsplit = "{split}"\nimage = "all.h5::{group}/image"\n'
            f'label = "all.h5::{group}/label"\nimage_sha256 = "{digest}"\nlabel_sha256 = "{digest}"\n'
        )

    loaded = read_manifest(manifest(tmp_path, case("train", "a"), case("test", "/b")))
    assert len(check(loaded).cases) == 2
    first, second = (load_case(located) for located in loaded.cases())
    assert first.sha256 != second.sha256
    refused(manifest(tmp_path, case("train", "a"), case("test", "/a")), "splits overlap", act=read_manifest)


@pytest.mark.parametrize("copy", ["bytes", "format", "slice", "link"])
def test_a_hidden_copy_in_another_split_is_found_by_its_pixels(tmp_path, copy):
    write(tmp_path, "a")
    image, label = phantom()
    if copy == "bytes":
        write(tmp_path, "b")
    elif copy == "format":
        tifffile.imwrite(tmp_path / "b.tif", image.astype(np.float64), compression="zlib")
        tifffile.imwrite(tmp_path / "b.label.tif", label)
    elif copy == "slice":
        write(tmp_path, "b", image=image[3], label=label[3])
    else:
        (tmp_path / "b.tif").symlink_to("a.tif")
        (tmp_path / "b.label.tif").symlink_to("a.label.tif")
    path = manifest(tmp_path, entry("a", "train"), entry("b", "test"))
    refused(path, "splits overlap", "d/a (train)", "d/b (test)")


def test_blank_slices_shared_by_two_cases_are_no_overlap(tmp_path):
    for seed, name in enumerate("ab"):
        image, label = phantom(seed)
        image[0], label[0] = 0, 10
        write(tmp_path, name, image=image, label=label)
    check(read_manifest(manifest(tmp_path, entry("a"), entry("b", "test"))))


def test_bad_files_are_refused(tmp_path):
    image, label = phantom()
    write(tmp_path, "a", label=label[:, :, :-1])
    path = manifest(tmp_path, entry("a"))
    refused(path, "a.label.tif", "shape (6, 48, 63)", "(6, 48, 64)")
    strange = label.copy()
    strange[5, 1, 1], strange[5, 1, 2] = 30, 0
    write(tmp_path, "a", label=strange)
    refused(path, "a.label.tif", "outside the map: 0, 30", "[10, 20]")
    write(tmp_path, "a", label=label.astype(np.float32))
    refused(path, "integers")
    bad = image.copy()
    bad[2, 3, 4] = np.nan
    write(tmp_path, "a", image=bad)
    refused(path, "a.tif", "1 voxels are NaN", "(2, 3, 4)")
    write(tmp_path, "a", image=np.full_like(image, 3))
    refused(path, "a.tif", "constant image")
    write(tmp_path, "a")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:2000])
    refused(path, "a.tif", "damaged TIFF")
    (tmp_path / "a.tif").write_bytes(b"")
    refused(path, "a.tif", "empty file")


def test_a_wrong_hash_is_refused_by_the_check_and_by_loading(tmp_path):
    write(tmp_path, "a")
    path = manifest(tmp_path, entry("a", folder=tmp_path))
    check(read_manifest(path))
    write(tmp_path, "a", seed=5)
    refused(path, "a.tif", "wrong hash", sha(tmp_path / "a.tif"))
    refused(path, "a.tif", "wrong hash", act=lambda p: load_case(read_manifest(p).cases()[0]))
    write(tmp_path, "a")
    (tmp_path / "a.label.tif").write_bytes((tmp_path / "a.label.tif").read_bytes() + b"\0")
    refused(path, "a.label.tif", "wrong hash", "label_sha256")


def test_all_problems_are_counted_and_the_first_is_told(tmp_path):
    write(tmp_path, "a")
    refused(manifest(tmp_path, entry("x"), entry("a"), entry("y")), "x.tif", "(and 1 more problems)")


def test_a_missing_hash_is_a_warning_that_can_be_pasted(tmp_path):
    write(tmp_path, "a")
    warnings = check(read_manifest(manifest(tmp_path, entry("a")))).warnings
    assert any(f'image_sha256 = "{sha(tmp_path / "a.tif")}"' in warning for warning in warnings)
    assert len(warnings) == 2


def test_an_absent_class_is_a_warning(tmp_path):
    _, label = phantom()
    write(tmp_path, "a", label=np.full_like(label, 20))
    report = check(read_manifest(manifest(tmp_path, entry("a", folder=tmp_path))))
    assert report.warnings == ("d/a: class 'void' is absent from the label",)
    assert report.cases[0].shares == (0, 1)
    assert np.isnan(report.cases[0].alignment)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (lambda label: label[:, ::-1], "flipped along Y"),
        (lambda label: label[:, :, ::-1], "flipped along X"),
        (lambda label: label[:, ::-1, ::-1], "turned by 180"),
        (lambda label: label[::-1], "slices reversed"),
        (lambda label: np.roll(label, 4, 1), "shifted by -4 along Y"),
        (lambda label: np.roll(label, -2, 2), "shifted by +2 along X"),
        (
            lambda label: np.random.default_rng(0).permutation(label.ravel()).reshape(label.shape),
            "hardly differ",
        ),
    ],
)
def test_a_label_that_does_not_lie_on_its_image_is_doubted(tmp_path, move, said):
    image, label = phantom()
    write(tmp_path, "a", image=image, label=move(label))
    (warning,) = check(read_manifest(manifest(tmp_path, entry("a", folder=tmp_path)))).warnings
    assert "may not align" in warning
    assert said in warning


def test_explained_variance_is_known_for_a_known_case():
    grey = np.array([0, 0, 1, 1], np.float32)
    assert explained(grey, np.array([0, 0, 1, 1], np.uint8)) == 1
    assert explained(grey, np.array([0, 1, 0, 1], np.uint8)) == 0
    assert np.isnan(explained(grey, np.zeros(4, np.uint8)))
    assert np.isnan(explained(np.ones(4, np.float32), np.array([0, 1, 0, 1], np.uint8)))


@pytest.mark.parametrize("escape", ["../a", "/etc/a", "b/../../a", "C:/a", "b\\\\..\\\\a"])
def test_a_path_that_leads_out_is_refused(tmp_path, escape):
    refused(manifest(tmp_path, entry("a", file=escape)), "domain.0.case.0.image", act=read_manifest)


@pytest.mark.parametrize("kind", ["file", "folder", "inside a folder", "loop"])
def test_a_link_that_leads_out_is_refused(tmp_path, kind):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "stack").mkdir(parents=True)
    outside.mkdir()
    write(outside, "a")
    write(root, "a")
    file = {"file": "b.tif", "folder": "b/a.tif", "inside a folder": "stack", "loop": "loop"}[kind]
    (root / "b.tif").symlink_to(outside / "a.tif")
    (root / "b").symlink_to(outside)
    (root / "stack" / "0.tif").symlink_to(outside / "a.tif")
    (root / "loop").symlink_to(root / "loop")
    path = manifest(root, entry("a").replace('"a.tif"', f'"{file}"'))
    refused(path, "cannot be read" if kind == "loop" else "leads out of")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("use =", "usage ="), ("usage",)),
        (('"20" = 1', '"20" = 2'), ("label 20 goes to class 2", "2 classes")),
        (('"20" = 1', '"20" = "nothing"'), ("no class index", '"ignore"')),
        (('"20" = 1', '"grain" = 1'), ("labels.grain",)),
        (('split = "train"', 'split = "training"'), ("split",)),
        (('image = "a.tif"', 'image = "a.label.tif"'), ("same file as image and label",)),
        (('name = "a"', 'name = "a/b"'), ("domain.0.case.0.name",)),
        (('label = "a.label.tif"', 'label = "a.label.tif"\nimage_sha256 = "abc"'), ("image_sha256",)),
        (("labels =", "voxel_um = [1, 0, 1]\nlabels ="), ("voxel_um",)),
        (("labels =", "voxel_um = [1, inf, 1]\nlabels ="), ("voxel_um",)),
        (('"void", "active"', '"void", "void"'), ("class named twice",)),
        (("classes = [", "classes = ["), ()),
    ],
)
def test_a_manifest_with_a_mistake_names_the_key(tmp_path, change, words):
    path = manifest(tmp_path, entry("a"))
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1], 1))
    if words:
        refused(path, str(path), *words, act=read_manifest)
    else:
        read_manifest(path)


def test_names_are_told_apart(tmp_path):
    refused(manifest(tmp_path, entry("a"), entry("a", file="b")), "named twice: a", act=read_manifest)
    loaded = read_manifest(manifest(tmp_path, entry("a")))
    with pytest.raises(UnknownNameError, match="unknown domain 'e'"):
        loaded.cases(domain="e")
    with pytest.raises(UnknownNameError, match="unknown split 'tset'"):
        loaded.cases(split="tset")
    refused(tmp_path / "none.toml", "none.toml", "No such file", act=read_manifest)


def test_every_committed_manifest_is_for_checking_only():
    assert [path.stem for path in MANIFESTS] == ["glass-fibre-pa66", "nmc-nanoct", "woven-composite"]
    for path in MANIFESTS:
        loaded = read_manifest(path)
        assert loaded.name == path.stem
        assert loaded.use == "check only"
        for domain in loaded.domain:
            assert domain.voxel_um is None
            for case in domain.case:
                assert case.split == "test"
                assert case.image_sha256
                assert case.label_sha256


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the measured images are not at {REAL} (set SEGBENCH_REAL)")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_measured_sets_load_and_raise_no_doubt(path):
    report = check(read_manifest(path), REAL)
    assert report.warnings == ()
    assert len(report.cases) == {"glass-fibre-pa66": 1, "nmc-nanoct": 11, "woven-composite": 1}[path.stem]
    for case in report.cases:
        assert case.voxel_um is None
        assert case.alignment > 0.4
        low, high = {"glass-fibre-pa66": (0.1, 0.25)}.get(path.stem, (0.5, 0.8))
        assert low < case.shares[1] < high
