"""Draw docs/img/battery16-real.png: the sixteen simulated scans beside summary numbers of measured ones.

    python docs/battery16_real.py ../shared/real

Of the measured sets only histograms and contrast-to-noise ratios are drawn, never an image.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tifffile
from matplotlib.image import imread
from numpy.typing import NDArray

from segbench.data.battery16 import Case, load
from segbench.data.domains import DOMAINS

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

EDGES = np.linspace(-3.5, 4, 76)
TARGET = Path(__file__).parent / "img" / "battery16-real.png"


def contrast_to_noise(image: FloatArray, active: BoolArray) -> float:
    """|mean difference| over the root of the mean variance; NaN where a class is absent."""
    if active.all() or not active.any():
        return np.nan
    one, other = image[active], image[~active]
    return abs(one.mean() - other.mean()) / np.sqrt(0.5 * (one.var() + other.var()))


def histogram(image: FloatArray) -> FloatArray:
    """Density of the z-scored grey levels in the bins of EDGES."""
    return np.histogram((image - image.mean()) / image.std(), EDGES, density=True)[0]


def measured(root: Path) -> Iterator[tuple[str, FloatArray, BoolArray]]:
    """(set, image, class) of every labelled slice."""
    for name in ("nmc-nanoct-a", "nmc-nanoct-c"):
        for path in sorted((root / name).glob("*.image.tif")):
            label = tifffile.imread(path.with_name(path.name.replace("image", "label")))
            yield name, tifffile.imread(path).astype(float), label == 0
    image, label = (tifffile.imread(root / "woven-composite" / f"{kind}.tif") for kind in ("image", "label"))
    for z in range(15, 150, 15):
        yield "woven-composite", image[z].astype(float), label[z] > 0
    image, label = (imread(root / "glass-fibre-pa66" / f"{kind}.png") for kind in ("image", "label"))
    label = label if label.ndim == 2 else label[..., 0]
    yield "glass-fibre", (image if image.ndim == 2 else image[..., 0]).astype(float), label == np.unique(label)[1]


def draw(cases: list[Case], real: list[tuple[str, FloatArray, BoolArray]]) -> None:
    """Simulated slices above; histograms and contrast-to-noise ratios of both below."""
    figure = plt.figure(figsize=(15, 10.5))
    grid = figure.add_gridspec(3, 8, height_ratios=[1, 1, 1.6], hspace=0.15, wspace=0.06)
    for k, case in enumerate(cases):
        axes = figure.add_subplot(grid[k // 8, k % 8])
        image = case.image[len(case.image) // 2]
        axes.imshow(image, cmap="gray", vmin=np.percentile(image, 0.5), vmax=np.percentile(image, 99.5))
        axes.set_title(f"{case.domain} (simulated)", fontsize=8)
        axes.axis("off")
    left, right = figure.add_subplot(grid[2, :4]), figure.add_subplot(grid[2, 4:])
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    for k, case in enumerate(cases):
        left.plot(middle, histogram(case.image), color="tab:blue", lw=0.8, label=None if k else "simulated, volumes")
    colours = dict(
        zip(dict.fromkeys(name for name, *_ in real), ("k", "tab:red", "tab:orange", "tab:green"), strict=True)
    )
    for name, colour in colours.items():
        curves = [histogram(image) for which, image, _ in real if which == name]
        left.fill_between(middle, np.min(curves, 0), np.max(curves, 0), color=colour, alpha=0.18, lw=0)
        left.plot(middle, np.mean(curves, 0), color=colour, label=f"measured, {name}")
        ratios = [contrast_to_noise(image, active) for which, image, active in real if which == name]
        right.plot(ratios, np.full(len(ratios), 16 + list(colours).index(name)), "o", color=colour)
    for k, case in enumerate(cases):
        ratios = [contrast_to_noise(i.astype(float), t == 1) for i, t in zip(case.image, case.truth, strict=True)]
        right.plot(ratios, np.full(len(ratios), k), ".", ms=3, color="tab:blue")
        right.plot(np.nanmean(ratios), k, "|", ms=12, color="k")
    left.set(xlabel="grey, z-scored", ylabel="density", title="grey histograms")
    left.legend(fontsize=8)
    right.set_yticks(range(20), [case.domain for case in cases] + [f"measured, {name}" for name in colours], fontsize=7)
    right.yaxis.tick_right()
    right.set(xlabel="contrast-to-noise ratio by slice (bar: mean)", title="contrast-to-noise")
    right.invert_yaxis()
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=75, bbox_inches="tight")


if __name__ == "__main__":
    draw(load(DOMAINS), list(measured(Path(sys.argv[1]))))
