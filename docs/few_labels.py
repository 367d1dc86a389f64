"""What one labelled slice of a measured scan is worth: a fine-tuned model beside the forest that saw the same slice.

    python docs/few_labels.py measure runs/few --real ../shared/real   # trains and scores; started again, it goes on
    python docs/few_labels.py page docs/few-labels.md                  # the table, of docs/few-labels.json
    python docs/few_labels.py page docs/few-labels.md --check          # exit code 1 where the page says otherwise

Every set is learned from one slice, or half of one, and tested on what neither saw. Nothing was chosen on these sets.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marked
import numpy as np
import numpy.typing as npt
import tomli_w

from segbench.data.manifest import Located, read_manifest
from segbench.data.manifest_load import load_case
from segbench.engines import start
from segbench.evaluate.baselines import LabelledSlice, forest
from segbench.hardware import processor
from segbench.io import open_volume, read_labels, write_bytes, write_tiff
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy, f1, miou
from segbench.predict import predict
from segbench.zoo import find

HERE = Path(__file__).resolve().parent
ROWS = HERE / "few-labels.json"
SAMPLES = 16
SEED = 0
"""Of masks and forest; the training's is that of every recipe that `segbench train --from` makes."""

Case = dict[str, Any]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Set:
    """A measured scan.

    Attributes:
        start: The model that is fine-tuned.
        classes: Of its manifest.
        labels: Value in the label file -> class.
        cases: Writes what has to be written into a folder, and gives the cases of the manifest.
        said: What is learned from, and what is tested on.
    """

    start: str
    classes: tuple[str, ...]
    labels: dict[str, int]
    cases: Callable[[Path, Path], list[Case]]
    said: str


def slices(folder: str, learned: str, tested: tuple[str, ...]) -> Callable[[Path, Path], list[Case]]:
    """Cases of single slices that are files."""

    def cases(real: Path, out: Path) -> list[Case]:
        def case(name: str, split: str) -> Case:
            image, label = (copied(real / folder / f"{name}.{kind}.tif", out) for kind in ("image", "label"))
            return {"name": name, "split": split, "image": image, "label": label}

        return [case(learned, "train"), *(case(name, "test") for name in tested)]

    return cases


def copied(file: Path, out: Path) -> str:
    """The name of a file's copy: a manifest takes nothing from outside of its folder."""
    shutil.copyfile(file, out / file.name)
    return file.name


def halves(real: Path, out: Path) -> list[Case]:
    """The left half of the one slice is learned from, the right half tested on."""
    found = []
    for name, split in (("left", "train"), ("right", "test")):
        case = {"name": name, "split": split}
        for kind in ("image", "label"):
            read = open_volume if kind == "image" else read_labels
            plane = np.asarray(read(real / "glass-fibre-pa66" / f"{kind}.png").data[0])
            middle = plane.shape[-1] // 2
            part = plane[:, :middle] if name == "left" else plane[:, middle:]
            case[kind] = f"{name}.{kind}.tif"
            write_tiff(out / case[kind], part)
        found.append(case)
    return found


def volume(real: Path, out: Path) -> list[Case]:
    """The middle slice of the volume is learned from, within its first two thirds; the last slices are tested on."""
    folder = real / "woven-composite"
    label = np.asarray(read_labels(folder / "label.tif").data[:])
    write_tiff(out / "slice.label.tif", label[75:76])
    image, whole = copied(folder / "image.tif", out), copied(folder / "label.tif", out)
    learned = {"name": "learned", "split": "train", "image": image, "label": "slice.label.tif"}
    tested = {"name": "tested", "split": "test", "image": image, "label": whole}
    return [learned | {"slices": [75], "z": [0, 100]}, tested | {"z": [110, 150]}]


NANO = {"0": 1, "1": 0, "2": 0}
SETS = {
    "nmc-nanoct-a": Set(
        "vnet-battery", ("rest", "active"), NANO,
        slices("nmc-nanoct-a", "0200", ("0001", "0100", "0300", "0400")), "slice 200; the four others",
    ),
    "nmc-nanoct-c": Set(
        "vnet-battery", ("rest", "active"), NANO,
        slices("nmc-nanoct-c", "0546", ("0394", "0470", "0622", "0698", "0774")), "slice 546; the five others",
    ),
    "glass-fibre-pa66": Set(
        "unet2d-composite-fast", ("matrix", "fibre", "porosity"), {"0": 0, "1": 1, "2": 2}, halves,
        "left half of the slice; right half",
    ),
    "woven-composite": Set(
        "vnet-battery", ("void", "tow"), {"0": 0, "1": 1, "2": 1}, volume, "slice 75; slices 110 to 149",
    ),
}  # fmt: skip


def manifest(name: str, real: Path, out: Path) -> Path:
    """Writes the manifest of a set, with the files that it needs."""
    this = SETS[name]
    out.mkdir(parents=True, exist_ok=True)
    said = {
        "name": name, "source": "see segbench's evaluate/manifests", "licence": "see there", "use": "check only",
        "classes": list(this.classes), "domain": [{"name": name, "labels": this.labels, "case": this.cases(real, out)}],
    }  # fmt: skip
    path = out / "manifest.toml"
    text = tomli_w.dumps(said)
    if not path.is_file() or tomllib.loads(path.read_text(encoding="utf-8")) != said:
        write_bytes(path, text)
    return path


def scores(name: str, counts: list[npt.NDArray[np.int64]], classes: int) -> dict[str, Any]:
    """Means over the tested images; F1 is of each class but the first."""
    each = np.array([f1(matrix) for matrix in counts])
    return {
        "method": name,
        "accuracy": float(np.mean([accuracy(matrix) for matrix in counts])),
        "miou": float(np.mean([miou(matrix) for matrix in counts])),
        "f1": [float(value) for value in each.mean(axis=0)[1:classes]],
    }


def measured(name: str, real: Path, out: Path, threads: int) -> dict[str, Any]:
    """Trains on a set and scores start, fine-tuned model and forest on the same images."""
    this, path, model = SETS[name], manifest(name, real, out), out / "model"
    command = [sys.executable, "-m", "segbench", "train", "--from", this.start, "--data", str(path), "--out"]
    subprocess.run([*command, str(model), "--threads", str(threads)], check=True)
    found = read_manifest(path)
    (learned,) = found.cases(None, None, "train")
    tested = found.cases(None, None, "test")
    rows, classes = [], len(this.classes)
    for said, place in ((f"{this.start} as it is", this.start), ("fine-tuned", str(model))):
        used = find(place)
        engine = start(used, threads=threads)
        labels = [predict(load_case(case).image, used.card, engine, SAMPLES, SEED).labels for case in tested]
        rows.append(scores(said, _counts(tested, labels, classes), classes))
    shown = shown_of(learned)
    labels = [forest(np.asarray(load_case(case).image.data[:]), shown, SEED, threads)[0] for case in tested]
    rows.append(scores("forest", _counts(tested, labels, classes), classes))
    training = find(str(model)).card.training
    return {
        "set": name, "said": this.said, "classes": list(this.classes), "device": processor(), "threads": threads,
        "steps": training.steps, "processor_s": training.processor_s, "samples": SAMPLES, "rows": rows,
    }  # fmt: skip


def shown_of(learned: Located) -> LabelledSlice:
    """The slice that the forest learns from, with the volume that it lies in."""
    case = load_case(learned)
    z = 0 if case.image.shape[0] == 1 else int(learned.case.slices[0]) - int((learned.case.z or (0,))[0])  # type: ignore[index]
    return LabelledSlice(np.asarray(case.image.data[:]), z, np.asarray(case.label[z]))


def _counts(tested: list[Located], labels: list[UInt8], classes: int) -> list[npt.NDArray[np.int64]]:
    return [confusion(load_case(case).label, found, classes) for case, found in zip(tested, labels, strict=True)]


def measure(real: Path, out: Path, names: list[str], jobs: int, threads: int) -> None:
    """Measures sets side by side, and keeps each as it ends."""
    there = {one["set"]: one for one in json.loads(ROWS.read_text())} if ROWS.is_file() else {}
    with ThreadPoolExecutor(jobs) as pool:
        for one in pool.map(lambda name: measured(name, real, out / name, threads), names):
            there[one["set"]] = one
            kept = [there[name] for name in SETS if name in there]
            write_bytes(ROWS, json.dumps(kept, indent=1) + "\n")


def lines() -> list[str]:
    """The table."""
    table = ["| set | learned from; tested on | method | accuracy | mIoU | F1 |", "|---|---|---|---:|---:|---|"]
    found = json.loads(ROWS.read_text())
    for one in found:
        for number, row in enumerate(one["rows"]):
            first = [one["set"], one["said"]] if number == 0 else ["", ""]
            each = ", ".join(f"{n} {v:.3f}" for n, v in zip(one["classes"][1:], row["f1"], strict=True))
            cells = [*first, row["method"], f"{row['accuracy']:.3f}", f"{row['miou']:.3f}", each]
            table.append(f"| {' | '.join(cells)} |")
    longest, devices = max(one["processor_s"] for one in found), ", ".join(sorted({one["device"] for one in found}))
    steps = ", ".join(f"{one['set']} {one['steps']}" for one in found)
    return [
        *table,
        "",
        f"Means over the tested images; T = {SAMPLES}. One training each, at most {longest:.0f} s of processor time, "
        f"on {devices}. Steps: {steps}.",
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run, page = commands.add_parser("measure"), commands.add_parser("page")
    run.add_argument("out", type=Path)
    run.add_argument("--real", type=Path, required=True)
    run.add_argument("--set", action="append", choices=list(SETS), help="only these; again for more")
    run.add_argument("--jobs", type=int, default=1)
    run.add_argument("--threads", type=int, default=4)
    page.add_argument("page", type=Path)
    page.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    if asked.command == "measure":
        measure(asked.real, asked.out, asked.set or list(SETS), asked.jobs, asked.threads)
        return 0
    return marked.write(asked.page, lines(), check=asked.check)


if __name__ == "__main__":
    sys.exit(main())
