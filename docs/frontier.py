"""What uncertainty costs: places of dropout, keep counts and numbers of samples, trained alike and scored alike.

    python docs/frontier.py runs/frontier --real ../shared/real --page docs/frontier.md

makes rows.json, going on where it stopped, and of all its rows the tables and the figure of the page, and frontier.json
beside it: the record. Without the first folder nothing is trained: the page is made of its record.

Every design is trained for the same steps on the same crops, three seeds each, on one thread; its logits are calibrated
on the phantoms, as a release's are, and nothing is chosen on what is scored. The cost is counted in the design's own
graph: floating-point operations of the shared part and of T thin samples, over those of one dense pass.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ablation
import numpy as np
import torch
from frontier_cost import costs
from frontier_nets import register
from frontier_page import page, record, written
from scipy.special import expit

from segbench.data import battery16
from segbench.data.domains import DOMAINS
from segbench.data.manifest import read_manifest
from segbench.data.manifest_load import load_case
from segbench.hardware import keep_memory
from segbench.masks import masks
from segbench.metrics.counts import confusion
from segbench.metrics.ranking import Histogram
from segbench.metrics.reliability import Reliability
from segbench.metrics.sparsification import ause
from segbench.metrics.uncertainty import binary
from segbench.nets.network import Network
from segbench.normalisation import fit
from segbench.train import calibration, loop
from segbench.train.recipe import Recipe
from segbench.volume import Float32, UInt8, Volume

HALF, WIDTHS = [32, 16, 8, 4], [8, 16, 32, 64]
DESIGNS: dict[str, dict[str, Any]] = {
    "Bernoulli, everywhere": {"kind": "everywhere", "options": {}},
    "Bernoulli, after decoder stages": {"kind": "bernoulli", "options": {}},
    "half, after decoder stages": {"options": {"kept": HALF}},
    "half, at decoder convolutions": {"options": {"kept": HALF, "inner": True}},
    "quarter, at decoder convolutions": {"options": {"kept": [16, 8, 4, 2], "inner": True}},
    "half, light end": {"options": {"kept": HALF, "inner": True, "light": True}},
    "half, light end without dropout": {"options": {"kept": [32, 16, 8, 8], "inner": True, "light": True}},
    "quarter, light end without dropout": {"options": {"kept": [16, 8, 4, 8], "inner": True, "light": True}},
    "no dropout": {"options": {"kept": [64, 32, 16, 8]}},
}
SAMPLES = (1, 2, 4, 8, 16, 32, 64)
SEEDS = {design: (1, 2, 3, 4) if design == "no dropout" else (1, 2, 3) for design in DESIGNS}
ENSEMBLE = "ensemble of 4"
"""Name of the four networks without dropout together, each a dense pass."""
ORDER = (*DESIGNS, ENSEMBLE)
AT_ONCE = 16  # samples of one call: they share what comes before the first site
EDGE = 256  # of a measured slice: its middle


def recipe(design: str, seed: int, steps: int | None = None) -> Recipe:
    """Of one run: the ablation's, with the augmentation of the zoo's default model; `steps` in place of its own."""
    base = ablation.recipe("no wide families", seed).model_dump()
    chosen = DESIGNS[design]
    base["network"] = {"kind": chosen.get("kind", "vnet-battery"), "options": {"widths": WIDTHS, **chosen["options"]}}
    base |= {"title": design, "name": "frontier"}
    base["augmentation"] |= {"scaled": 0.3, "convention": 0.15, "flat": 0.1}
    if steps is not None:
        base["steps"] = steps
    return Recipe.model_validate(base)


def cases(real: Path | None) -> Iterator[tuple[str, Float32 | Any, UInt8]]:
    """(set, image, truth) of all that is scored."""
    for case in battery16.load(DOMAINS, 64):
        yield "battery16", case.image, case.truth
    if real is None:
        return
    manifest = read_manifest(ablation.HERE.parent / "evaluate" / "manifests" / "nmc-nanoct.toml")
    for domain in manifest.domain:
        for located in manifest.cases(real, domain.name, "test"):
            found = load_case(located)
            _, y, x = found.label.shape
            box = np.s_[:, max(0, (y - EDGE) // 2) :, max(0, (x - EDGE) // 2) :]
            image, label = np.asarray(found.image.data[:], dtype=np.float32)[box], found.label[box]
            yield "nano-CT", image[:, :EDGE, :EDGE], label[:, :EDGE, :EDGE]


def samples_of(network: Network, image: Float32, how: Recipe, kind: str, count: int) -> Float32:
    """Logits [T, Z, Y, X] of a whole volume."""
    scaled = fit(how.normalisation, Volume(image))(image)
    pad = [(0, -n % 8) for n in scaled.shape]
    x = torch.from_numpy(np.pad(scaled, pad, mode="edge"))[None, None]
    sites = [site.model_copy(update={"kind": kind}) if site.kind == "fixed" else site for site in network.sites]
    drawn = torch.from_numpy(masks(sites, 0, range(count))) if sites else torch.ones(1, 0)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parts = [network(x, drawn[i : i + AT_ONCE]).float()[:, 0] for i in range(0, len(drawn), AT_ONCE)]
    return torch.cat(parts).numpy()[:, : scaled.shape[0], : scaled.shape[1], : scaled.shape[2]]


class Scores:
    """Sums over the volumes of a set."""

    def __init__(self) -> None:
        self.reliability, self.entropy, self.mutual = Reliability(), Histogram(), Histogram()
        self.counts = np.zeros((2, 2), dtype=np.int64)

    def add(self, probability: Float32, truth: UInt8) -> None:
        """Probabilities [T, Z, Y, X] of one volume."""
        said = binary(probability)
        labels = (said.mean > 0.5).astype(np.uint8)
        wrong = labels != truth
        self.counts += confusion(truth, labels, 2)
        self.reliability += Reliability().add(np.clip(said.mean, 0, 1), truth)
        self.entropy += Histogram().add(np.clip(said.entropy / np.log(2), 0, 1), wrong)
        self.mutual += Histogram().add(np.clip(said.mutual / np.log(2), 0, 1), wrong)

    def row(self) -> dict[str, float]:
        """Named scores."""
        found = self.reliability
        return {
            "accuracy": float(np.trace(self.counts) / self.counts.sum()),
            "NLL": found.mean_nll,
            "Brier": found.mean_brier,
            "ECE": found.ece,
            "AUSE": ause(self.entropy),
            "AUROC": self.entropy.auc(),
            "AUROC of mutual information": self.mutual.auc(),
        }


def scored(members: Sequence[tuple[Network, Recipe, Any]], kind: str, real: Path | None) -> list[dict[str, Any]]:
    """Scores of each set at each T; several members are an ensemble, one sample each."""
    counts = SAMPLES if members[0][0].sites else (len(members),)
    sums: dict[tuple[str, int], Scores] = {}
    for name, image, truth in cases(real):
        parts = []
        for network, how, calibrated in members:
            logits = samples_of(network, image, how, kind, max(counts))
            parts.append(expit(logits * calibrated.scale + calibrated.shift))
        probability = np.concatenate(parts).astype(np.float32)
        for t in counts:
            sums.setdefault((name, t), Scores()).add(probability[:t], truth)
    return [
        {"set": name, "T": t, **{score: round(value, 6) for score, value in found.row().items()}}
        for (name, t), found in sums.items()
    ]


def trained(design: str, seed: int, out: Path, steps: int | None) -> tuple[Network, Recipe, Any]:
    """A network, trained or read, with its calibration."""
    register()
    torch.set_num_threads(1)
    how = recipe(design, seed, steps)
    folder = out / f"{design.replace(',', '').replace(' ', '-')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    data = loop.training_data(how, out / "volumes")
    network, _ = loop.fit(how, data, folder)
    calibrated = calibration.calibrate(network, data[1], how, "phantoms")
    network.eval()
    return network, how, calibrated


def one(design: str, seed: int, out: Path, real: Path | None, steps: int | None) -> list[dict[str, Any]]:
    """All rows of one run; of seed 4 without dropout the ensemble's, too."""
    keep_memory()
    member = trained(design, seed, out, steps)
    rows = []
    for kind in ("fixed", "balanced") if any(s.kind == "fixed" for s in member[0].sites) else ("fixed",):
        price = costs(member[0], kind, SAMPLES)
        for row in scored([member], kind, real):
            rows.append(
                {"design": design, "masks": kind, "seed": seed, "passes": round(price.get(row["T"], 1.0), 4), **row}
            )
    if design == "no dropout" and seed == max(SEEDS[design]):
        members = [trained(design, other, out, steps) for other in SEEDS[design]]
        for row in scored(members, "fixed", real):
            rows.append({"design": ENSEMBLE, "masks": "fixed", "seed": 0, "passes": float(len(members)), **row})
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def run(out: Path, real: Path | None, workers: int, steps: int | None) -> list[dict[str, Any]]:
    """All rows; makes those that are not in rows.json yet, seed by seed."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rows.json"
    rows = read(path) if path.exists() else []
    done = {(row["design"], row["seed"]) for row in rows}
    wanted = sorted({(seed, d) for d in DESIGNS for seed in SEEDS[d] if (d, seed) not in done})
    loop.training_data(recipe("no dropout", 1), out / "volumes")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(one, design, seed, out, real, steps): (design, seed) for seed, design in wanted}
        for number, job in enumerate(as_completed(jobs), start=1):
            if job.exception() is not None:
                pool.shutdown(cancel_futures=True)  # else it would be told after all the others, hours later
            rows += job.result()
            path.write_text(json.dumps(rows, indent=1) + "\n")
            sys.stdout.write("{} of {}: {}, seed {}\n".format(number, len(jobs), *jobs[job]))
            sys.stdout.flush()
    return sorted(rows, key=lambda row: (ORDER.index(row["design"]), row["masks"] != "fixed", row["seed"]))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="of trainings and rows; none is done without it")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--check", action="store_true", help="only look whether the page is of its record")
    parser.add_argument("--steps", type=int, help="of each training; few of them only show that it works")
    asked = parser.parse_args()
    if asked.out is None and asked.page is None:
        parser.error("nothing asked: a folder, a page, or both")
    rows = run(asked.out, asked.real, asked.workers, asked.steps) if asked.out else read(record(asked.page))
    if asked.check:
        return int(asked.page.read_text() != written(rows, asked.page.read_text()))
    if asked.page:
        page(rows, asked.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
