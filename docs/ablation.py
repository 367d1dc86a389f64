"""What each part of the domain randomisation buys: small networks, three seeds an arm, one part left out at a time.

    python docs/ablation.py runs/ablation --real ../shared/real      # makes rows.json; started again, it goes on
    python docs/ablation.py runs/ablation --page docs/carry-over.md  # its table and figure

Every run trains one thread. Scored without any choice: the phantoms (validation), battery16 at 64^3, and, where the
folder is there, real phase maps through the phantoms' image chain and the real labelled slices (reported only).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import marked
import numpy as np
import torch
from scipy.ndimage import label as components

from segbench.data import battery16, phantom
from segbench.data.domains import DOMAINS
from segbench.data.manifest import read_manifest
from segbench.data.manifest_load import load_case
from segbench.data.pool import Sample
from segbench.io import open_volume
from segbench.masks import masks
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import accuracy, f1
from segbench.metrics.ranking import auc
from segbench.nets.network import Network
from segbench.normalisation import fit
from segbench.train import loop
from segbench.train.recipe import Recipe
from segbench.volume import Volume

HERE = Path(__file__).resolve().parent
SEEDS = (1, 2, 3)
FULL = {
    "wide": ("geometry", "contrast", "texture", "artefacts"),
    "scales": (0.7, 3.5),
    "scaled": 0.5,
    "convention": 0.2,
    "flat": 0.2,
    "grain": 1.5,
}
WITHOUT = {
    "resolution": {"scales": (1.0, 1.0), "scaled": 0.0},
    "convention": {"convention": 0.0},
    "slices": {"flat": 0.0},
}
ARMS = {
    "everything": FULL,
    "nothing": {"wide": (), "scales": (1.0, 1.0), "scaled": 0.0, "convention": 0.0, "flat": 0.0, "grain": 0.0},
    "no wide families": FULL | {"wide": ()},
    **{f"no {family}": FULL | {"wide": tuple(f for f in FULL["wide"] if f != family)} for family in FULL["wide"]},
    **{f"no {part}": FULL | change for part, change in WITHOUT.items()},
}
# name of a file below the folder of real sets, and which of its values are solid
GEOMETRY = {
    "nmc-matbox-labels/label.tif": (1,),
    "electrode-labels/nmc.label.tif": (1,),
    "electrode-labels/cathode.label.tif": (128,),
    "rock-labels/berea.label.tif": (1,),
    "rock-labels/ketton.label.tif": (1,),
}
MANIFESTS = ("nmc-nanoct",)


def recipe(arm: str, seed: int) -> Recipe:
    """Of one run."""
    how = ARMS[arm]
    return Recipe.model_validate(
        {
            "name": "ablation",
            "title": arm,
            "seed": seed,
            "steps": 500,
            "batch": 2,
            "crop": 48,
            "precision": "bf16",
            "validate_every": 500,
            "checkpoint_every": 500,
            "network": {"kind": "vnet-battery", "options": {"widths": [8, 16, 32, 64], "kept": [32, 16, 8, 4]}},
            "data": {
                "domains": ["Litarion", "Electrode_IV_1"],
                "volumes_per_domain": 8,
                "randomised": 48,
                "wide": how["wide"],
                "size": 80,
                "validation": 48,
            },
            "normalisation": {"clip_percentiles": [0.1, 99.9]},
            "augmentation": {
                "shift": 0.3,
                "contrast": 0.25,
                "gamma": 0.2,
                "field": 0.4,
                "noise": 0.3,
                "blur": 0.5,
                **{key: how[key] for key in ("scales", "scaled", "convention", "flat", "grain")},
            },
            "optimiser": {"learning_rate": 3e-3, "weight_decay": 1e-4, "warmup_steps": 50, "clip_norm": 1.0},
            "loss": {"jaccard": 1.0},
            "tile": {"core": [96, 96, 96], "halo": [12, 12, 12]},
        }
    )


def said(network: Network, image: np.ndarray, how: Recipe) -> np.ndarray:
    """Mean probability (Z, Y, X) of four samples over a whole volume, replicated to a multiple of the stride."""
    scaled = fit(how.normalisation, Volume(image))(image)
    pad = [(0, -n % 8) for n in scaled.shape]
    x = torch.from_numpy(np.pad(scaled, pad, mode="edge"))[None, None]
    drawn = torch.from_numpy(masks(network.sites, how.seed, range(4)))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        p = torch.sigmoid(network(x, drawn).float()).mean(0)[0].numpy()
    return p[: scaled.shape[0], : scaled.shape[1], : scaled.shape[2]]


def scores(network: Network, how: Recipe, validation: Sequence[Sample], real: Path | None) -> dict[str, float]:
    """Of a trained network, none of them ever used for a choice."""
    found = {"phantoms": loop.validate(network, validation, how)["validation_accuracy"]}
    network.eval()
    simulated = [
        accuracy(confusion(case.truth, (said(network, case.image, how) > 0.5).astype(np.uint8), 2))
        for case in battery16.load(DOMAINS, 64)
    ]
    found["battery16"] = float(np.mean(simulated))
    if real is None:
        return found
    good = []
    for number, (name, solid) in enumerate(GEOMETRY.items()):
        phases = open_volume(real / name)
        whole = np.isin(np.asarray(phases.data[:96]), solid)[:, :96, :96]
        image = phantom.image_of(whole, components(whole)[0], np.random.default_rng([number, 7]))
        good.append(accuracy(confusion(whole.astype(np.uint8), (said(network, image, how) > 0.5).astype(np.uint8), 2)))
    found["real geometry"] = float(np.mean(good))
    for name in MANIFESTS:
        manifest = read_manifest(HERE.parent / "evaluate" / "manifests" / f"{name}.toml")
        for domain in manifest.domain:
            both = []
            for located in manifest.cases(real, domain.name, "test"):
                case = load_case(located)
                p = said(network, np.asarray(case.image.data[:], dtype=np.float32), how)
                both.append((f1(confusion(case.label, (p > 0.5).astype(np.uint8), 2))[1], auc(p, case.label == 1)))
            found[f"{domain.name} F1"], found[f"{domain.name} AUC"] = (float(v) for v in np.mean(both, axis=0))
    return found


def one(arm: str, seed: int, out: Path, real: Path | None) -> dict[str, object]:
    """Trains and scores one run in a process of its own."""
    torch.set_num_threads(1)
    how = recipe(arm, seed)
    folder = out / f"{arm.replace(' ', '-')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    data = loop.training_data(how, out / "volumes")
    network, state = loop.fit(how, data, folder)
    return {"arm": arm, "seed": seed, "seconds": state.seconds, **scores(network, how, data[1], real)}


def run(out: Path, real: Path | None, workers: int, arms: list[str]) -> None:
    """All runs that are not in rows.json yet, seed by seed."""
    path = out / "rows.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    done = {(row["arm"], row["seed"]) for row in rows}
    wanted = [(arm, seed) for arm in arms for seed in SEEDS if (arm, seed) not in done]
    for arm in {arm for arm, _ in wanted}:
        loop.training_data(recipe(arm, 1), out / "volumes")
    with ProcessPoolExecutor(workers) as pool:
        for job in as_completed([pool.submit(one, arm, seed, out, real) for arm, seed in wanted]):
            rows.append(job.result())
            sys.stdout.write(f"{rows[-1]}\n")
            sys.stdout.flush()
            path.write_text(json.dumps(rows, indent=1) + "\n")


COLUMNS = ("phantoms", "battery16", "real geometry", "nmc-nanoct-a F1", "nmc-nanoct-c F1")
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Two-sided 95 % quantile of Student's t for n runs."""


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval over the seeds."""
    n = len(values)
    half = STUDENT[n] * float(np.std(values, ddof=1)) / n**0.5 if n in STUDENT else float("nan")
    return float(np.mean(values)), half


def lines(rows: list[dict[str, float]], arms: list[str]) -> list[str]:
    """The table: the full recipe as it is, every other arm as its difference to it, seed by seed."""
    by = {(row["arm"], row["seed"]): row for row in rows}
    text = [f"| arm | seeds | {' | '.join(COLUMNS)} |", "|---|---:|" + "---:|" * len(COLUMNS)]
    for arm in arms:
        seeds = [seed for seed in SEEDS if (arm, seed) in by and ("everything", seed) in by]
        cells = []
        for column in COLUMNS:
            base = [0.0 if arm == "everything" else by["everything", seed][column] for seed in seeds]
            mean, half = spread([by[arm, seed][column] - b for seed, b in zip(seeds, base, strict=True)])
            sure = arm != "everything" and abs(mean) > half
            sign = "" if arm == "everything" else "+"
            cells.append(f"{'**' if sure else ''}{mean:{sign}.3f} ± {half:.3f}{'**' if sure else ''}")
        text.append(f"| {arm} | {len(seeds)} | {' | '.join(cells)} |")
    return text


def picture(rows: list[dict[str, float]], arms: list[str], path: Path) -> None:
    """A point per run and a bar per mean, for each score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, column in zip(figure.subplots(1, len(COLUMNS), sharey=True), COLUMNS, strict=True):
        for at, arm in enumerate(reversed(arms)):
            found = [row[column] for row in rows if row["arm"] == arm]
            axis.plot(found, [at] * len(found), "o", color="C0", alpha=0.6, markersize=5)
            axis.plot([np.mean(found)] * 2, [at - 0.3, at + 0.3], color="C3", linewidth=2)
        axis.set(title=column, yticks=range(len(arms)), yticklabels=list(reversed(arms)))
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


def page(out: Path, to: Path) -> None:
    """Writes the table between the marks of the page `to`, and its figure beside it."""
    rows = json.loads((out / "rows.json").read_text())
    arms = [arm for arm in ARMS if sum(row["arm"] == arm for row in rows) > 1]
    marked.write(to, lines(rows, arms))
    picture(rows, arms, to.parent / "img" / "ablation.png")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    if asked.page:
        page(asked.out, asked.page)
        return
    run(asked.out, asked.real, asked.workers, asked.arms)


if __name__ == "__main__":
    sys.exit(main())
