"""How well the foreign score tells foreign input from scans of the kind that a model knows.

    python docs/foreign.py --real ../shared/real --out runs/foreign.json    # scores
    python docs/foreign.py --page docs/foreign.md --out runs/foreign.json   # its table
    python docs/foreign.py --cost                                           # what a look costs beside a prediction

Foreign kinds and scans are such as nothing was chosen on: battery16, the real slices, and pictures of scikit-image
that are named below. Every image is looked at as `segbench predict` would: normalised by itself, no network sampled.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import marked
import numpy as np
import numpy.typing as npt
import skimage
from scipy.ndimage import gaussian_filter, zoom
from scipy.ndimage import label as components
from sklearn.metrics import roc_auc_score

from segbench import zoo
from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.data.phantom import image_of, phantom
from segbench.engines import start
from segbench.foreign import Look, look_of
from segbench.io import open_volume
from segbench.normalisation import fit
from segbench.predict import predict, scaled, tiles
from segbench.volume import Volume
from segbench.zoo import Model

Grey = npt.NDArray[Any]
Images = Iterator[tuple[str, Grey]]
SEEDS, EDGE, SLICE = 4, 96, 512
KNOWN = ("battery16", "nano-CT a", "nano-CT c")
PICTURES = {
    "natural texture": ("brick", "grass", "gravel"),
    "photograph": ("camera", "coins", "moon"),
    "other modality": ("cell", "phantom"),
}


def known(real: Path | None) -> Iterator[tuple[str, Grey]]:
    """Scans of the kind that the model is for, by set."""
    for case in battery16.load(list(DOMAINS), EDGE):
        yield "battery16", case.image
    if real is not None:
        for name, folder in (("nano-CT a", "nmc-nanoct-a"), ("nano-CT c", "nmc-nanoct-c")):
            for path in sorted((real / folder).glob("*.image.tif")):
                yield name, np.asarray(open_volume(path).data[:])


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Noise, white and correlated, and constants with a little of it."""
    yield "white noise", rng.standard_normal(shape)
    yield "white noise", rng.random(shape)
    for sigma in (1.0, 2.0, 4.0):
        along = [sigma if n > 1 else 0.0 for n in shape]
        yield f"correlated noise, {sigma:g} px", gaussian_filter(rng.standard_normal(shape), along, mode="wrap")
    yield "constant, tiny noise", 1000 + 1e-3 * rng.standard_normal(shape)
    yield "constant, tiny noise", 1000 + np.rint(0.5 * rng.standard_normal(shape))


def regions(shape: tuple[int, ...], rng: np.random.Generator) -> Grey:
    """Boxes of constant grey values that cover each other."""
    made = np.zeros(shape)
    for _ in range(40):
        edges = [int(rng.integers(1, max(2, n // 2))) for n in shape]
        starts = [int(rng.integers(0, n - e + 1)) for n, e in zip(shape, edges, strict=True)]
        made[tuple(slice(a, a + e) for a, e in zip(starts, edges, strict=True))] = rng.integers(0, 256)
    return made


def picture(name: str) -> Grey:
    """A picture that ships with scikit-image, as one grey slice."""
    (path,) = (Path(skimage.__file__).parent / "data").glob(f"{name}.png")
    found = skimage.io.imread(path)
    return np.asarray(skimage.color.rgb2gray(found[..., :3]) if found.ndim == 3 else found)[None]


def quarters(image: Grey) -> Iterator[Grey]:
    """A slice, and its four quarters."""
    _, height, width = image.shape
    yield image
    for y in (0, height // 2):
        for x in (0, width // 2):
            yield image[:, y : y + height // 2, x : x + width // 2]


def foreign(real: Path | None) -> Images:
    """Everything else, by kind."""
    for seed in range(SEEDS):
        for shape in ((EDGE,) * 3, (1, SLICE, SLICE)):
            rng = np.random.default_rng([seed, *shape])
            yield from noise(shape, rng)
            yield "constant regions", regions(shape, rng)
    for kind, names in PICTURES.items():
        for name in names:
            for part in quarters(picture(name)):
                yield f"{kind}: {name}", part
    for name, image in known(real):
        yield f"inverted {name.split(' ')[0]}", -image.astype(np.float64)
        finer = image[tuple(slice(n // 2 - min(n, 128) // 8, n // 2 + min(n, 128) // 8) for n in image.shape)]
        middle = finer if image.shape[0] > 1 else image[:, 180:308, 180:308]
        yield f"voxels x 1/4, {name.split(' ')[0]}", zoom(middle, [4 if n > 1 else 1 for n in middle.shape], order=1)
        coarse = 0.25 if image.shape[0] == 1 else 0.5
        yield (
            f"voxels x {1 / coarse:g}, {name.split(' ')[0]}",
            zoom(gaussian_filter(image.astype(float), [0.4 / coarse if n > 1 else 0 for n in image.shape]),
                 [coarse if n > 1 else 1 for n in image.shape], order=1),
        )  # fmt: skip
    if real is not None:
        yield from elsewhere(real)


def elsewhere(real: Path) -> Images:
    """Composites, rocks and others, in which the model may well be right."""
    yield "woven composite", np.asarray(open_volume(real / "woven-composite" / "image.tif").data[:])
    yield "glass fibre", np.asarray(open_volume(real / "glass-fibre-pa66" / "image.png").data[:])
    yield "granular pack with rings", np.asarray(open_volume(real / "raw-only" / "granular_rings.image.tif").data[:])
    yield "another NMC slice", np.asarray(open_volume(real / "raw-only" / "nmc_slice.image.tif").data[:])
    for name, folder, value in (("rock", "rock-labels/berea", 1), ("rock", "rock-labels/ketton", 1)):
        label = np.asarray(open_volume(real / f"{folder}.label.tif").data[:])
        for seed in range(SEEDS):
            solid = label[tuple(slice(50 * (seed % 3), 50 * (seed % 3) + EDGE) for _ in range(3))] == value
            yield f"{name}, simulated image", image_of(solid, components(solid)[0], np.random.default_rng(seed))


def seen(look: Look, model: Model, image: Grey, tiled: bool) -> dict[str, object]:
    """Scores of an image as a whole and, if wanted, of its tiles."""
    volume = Volume(np.ascontiguousarray(image))
    scaling = fit(model.card.input.normalisation, volume)
    found = look.volume(volume, scaling)
    grid = tiles(model.card, volume.shape) if tiled else ()
    each = [look.tile(scaled(volume, tile, scaling), tile, scaling).score for tile in grid]
    scores = [score for score in each if score is not None]
    above = sum(score > found.threshold for score in scores)
    return {"score": found.score, "parts": found.parts, "tiles": len(scores), "tiles_above": above}


def measure(model: Model, engine: str, real: Path | None, out: Path) -> None:
    """Scores of everything, written as JSON."""
    look = look_of(model, start(model, engine))
    assert look is not None, "the model has no fit: segbench zoo foreign"
    rows = []
    for inside, images in ((True, known(real)), (False, foreign(real))):
        for kind, image in images:
            rows.append({"kind": kind, "known": inside, "shape": image.shape, **seen(look, model, image, inside)})
    threshold = model.card.foreign.threshold if model.card.foreign else 1.0
    text = {"model": f"{model.card.name} {model.card.version}", "threshold": threshold, "rows": rows}
    out.write_text(json.dumps(text, indent=1) + "\n")


def lines(found: dict[str, Any]) -> list[str]:
    """The table: known sets first, then every foreign kind against them."""
    threshold, rows = found["threshold"], [row for row in found["rows"] if row["score"] is not None]
    inside = [row["score"] for row in rows if row["known"]]
    real = [row["score"] for row in rows if row["known"] and row["kind"] != "battery16"]
    text = [
        "| images | n | median score | warned of | tiles above | AUROC | against nano-CT alone |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    groups = [part for row in rows for part in (row["kind"].split(":")[0], row["kind"])]
    for kind in dict.fromkeys(groups):
        own = [row for row in rows if row["kind"] == kind or row["kind"].startswith(f"{kind}:")]
        scores = [row["score"] for row in own]
        tiled = sum(row["tiles"] for row in own)
        above = f"{sum(row['tiles_above'] for row in own) / tiled:.0%}" if tiled else "-"
        warned = f"{sum(score > threshold for score in scores)} of {len(scores)}"
        areas = ["", ""]
        if not own[0]["known"]:
            areas = [f"{_auroc(base, scores):.3f}" if base else "-" for base in (inside, real)]
        text.append(f"| {kind} | {len(own)} | {np.median(scores):.4f} | {warned} | {above} | {' | '.join(areas)} |")
    return text


def _auroc(base: list[float], scores: list[float]) -> float:
    return float(roc_auc_score([0] * len(base) + [1] * len(scores), base + scores))


def page(out: Path, to: Path) -> None:
    """Writes the table between the marks of the page `to`."""
    marked.write(to, lines(json.loads(out.read_text())))


def cost(model: Model, engine: str, threads: int, samples: int, rounds: int) -> None:
    """Times predictions of a phantom with and without a look, in turn."""
    started = start(model, engine, threads=threads)
    begun = perf_counter()
    look = look_of(model, started)
    assert look is not None, "the model has no fit: segbench zoo foreign"
    volume = Volume(phantom(0, EDGE).image)
    scaling = fit(model.card.input.normalisation, volume)
    look.volume(volume, scaling)
    first = perf_counter() - begun
    predict(volume, model.card, started, samples)
    took: dict[str, list[tuple[float, float]]] = {"with": [], "without": [], "look": []}
    runs = {
        "with": lambda: predict(volume, model.card, started, samples, look=look),
        "without": lambda: predict(volume, model.card, started, samples),
        "look": lambda: look.volume(volume, scaling),
    }
    for _ in range(rounds):
        for name, run in runs.items():
            wall, processor = perf_counter(), process_time()
            run()
            took[name].append((perf_counter() - wall, process_time() - processor))
    middle = {name: [median(column) for column in zip(*times, strict=True)] for name, times in took.items()}
    share = middle["look"][1] / middle["without"][1]
    sys.stdout.write(
        f"{EDGE}^3, T = {samples}, {engine}, {threads} threads, medians of {rounds} rounds, wall and core seconds: "
        + ", ".join(f"{name} {wall:.3f} {processor:.3f}" for name, (wall, processor) in middle.items())
        + f"; processor time of a look {share:.2%} of a prediction's; the first look with its start {first:.2f} s\n"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", default="vnet-battery")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/foreign.json"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    if asked.page:
        page(asked.out, asked.page)
    elif asked.cost:
        cost(zoo.find(asked.zoo), asked.engine, asked.threads, asked.samples, asked.rounds)
    else:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        measure(zoo.find(asked.zoo), asked.engine, asked.real, asked.out)


if __name__ == "__main__":
    main()
