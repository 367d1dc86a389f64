"""Folders as `segbench eval --out` writes them, of synthetic rows: every name of a metric and a curve that there is."""

import math
from dataclasses import fields
from pathlib import Path

import numpy as np

from segbench.evaluate.cases import Labelled
from segbench.evaluate.slices import FILE, Facts, Keeper
from segbench.metrics import overlap
from segbench.metrics.counts import confusion
from segbench.predict import Prediction
from segbench.rows import Row, write_rows
from segbench.volume import Volume

MEASURES = ("entropy", "mutual_information", "spread", "deviation")
HASH = "ab" * 32
CLASSES = ("void", "active")


def volume(seed: int, shape=(24, 64, 72), classes=2, wrong=0.08):
    """Image, truth, human label, labels and entropy of blobs: errors and uncertainty where phases meet."""
    random = np.random.default_rng(seed)
    field = random.standard_normal(shape)
    for axis in range(3):
        for _ in range(4 if shape[axis] > 2 else 0):
            field = (field + np.roll(field, 1, axis) + np.roll(field, -1, axis)) / 3
    field /= field.std()
    edges = np.quantile(field, np.arange(1, classes) / classes)
    truth = np.searchsorted(edges, field).astype(np.uint8)
    human = np.searchsorted(edges + 0.1, field).astype(np.uint8)
    labels = np.searchsorted(edges, field + wrong * 3 * random.standard_normal(shape)).astype(np.uint8)
    near = np.min([np.abs(field - edge) for edge in edges], axis=0)
    entropy = (math.log(classes) * np.exp(-3 * near)).astype(np.float32)
    image = (1000 + 300 * field + 80 * random.standard_normal(shape)).astype(np.float32)
    return image, truth, human, labels, entropy


def predicted(labels: np.ndarray, entropy: np.ndarray) -> Prediction:
    """What a model said, of which slices show labels and entropy; every other map is 0."""
    maps = {"probability", "mutual", "spread", "deviation"} & {field.name for field in fields(Prediction)}
    blank = np.zeros_like(entropy)
    return Prediction(labels=labels, entropy=entropy, seed=0, samples=16, **dict.fromkeys(maps, blank))


def curves(end: str, seed: int) -> dict[str, tuple[float, ...]]:
    """All that the contract names, NaN in empty bins."""
    random = np.random.default_rng(seed)
    bins = (np.arange(15) + 0.5) / 15
    count = np.where(bins < 0.5, 0, (bins**8 * 1e6).round())
    right = np.where(count > 0, np.clip(bins - 0.03 + 0.02 * random.standard_normal(15), 0, 1), np.nan)
    found = {
        f"reliability_count_{end}": count,
        f"reliability_confidence_{end}": np.where(count > 0, bins, np.nan),
        f"reliability_right_{end}": right,
        f"classwise_count_{end}": count + 1,
        f"classwise_probability_{end}": bins,
        f"classwise_present_{end}": bins**1.1,
    }
    taken = np.arange(50) / 50
    for n, name in enumerate(MEASURES):
        found[f"sparsification_{name}_{end}"] = 0.08 * (1 - taken) ** (2.5 - 0.3 * n)
    found[f"sparsification_oracle_{end}"] = np.maximum(0.08 - taken, 0) / (1 - taken)
    return {name: tuple(map(float, values)) for name, values in found.items()}


def row(case: Labelled, labels, entropy, number: int = 0, classes=CLASSES, full: bool = True, **changes) -> Row:
    """A row of one case; `full`: with every metric and curve of two classes."""
    metrics: dict[str, float] = {}
    matrices = {}
    ends = {"human": case.human} | ({} if case.truth is None else {"truth": case.truth})
    for end, reference in ends.items():
        counts = matrices[end] = confusion(reference, labels, len(classes))
        metrics |= {f"accuracy_{end}": overlap.accuracy(counts), f"miou_{end}": overlap.miou(counts),
                    f"fiou_{end}": overlap.fiou(counts)}  # fmt: skip
        metrics |= {f"f1_{name}_{end}": float(overlap.f1(counts)[n]) for n, name in enumerate(classes)}
    end = "human" if case.truth is None else "truth"
    random = np.random.default_rng(number)
    near = lambda value: float(np.clip(value + 0.02 * random.standard_normal(), 0, 1))  # noqa: E731
    if full:
        metrics |= {f"auc_{end}": near(0.97), f"ece_{end}": near(0.03), f"ece_classwise_{end}": near(0.03)}
        metrics |= {"viability": 1.6 + near(0.1), "viability_of_human": 1.5 + near(0.1), "separability": 0.6}
        for name in MEASURES:
            for key, value in (("error_auroc", 0.9), ("error_ap", 0.4), ("ause", 0.3), ("aurc", 0.02), ("pavpu", 0.8),
                               ("p_accurate_certain", 0.95), ("p_uncertain_inaccurate", 0.7)):  # fmt: skip
                metrics[f"{key}_{name}_{end}"] = near(value)
            metrics |= {f"{name}_band_{end}": near(0.3), f"{name}_interior_{end}": near(0.05)}
        for place in ("band", "interior"):
            for key in ("share", "accuracy", "ece", "error_auroc_entropy"):
                metrics[f"{key}_{place}_{end}"] = near(0.5)
        metrics |= {"foreign": near(0.1), "foreign_tiles": near(0.05)}
    metrics["entropy"] = float(entropy.mean(dtype=np.float64))
    reference = ends[end]
    parts = [
        (slice(z, z + 12), slice(y, y + 32), slice(x, x + 24)) for z in (0, 12) for y in (0, 32) for x in (0, 24, 48)
    ]
    blocks = [confusion(reference[part], labels[part], len(classes)) for part in parts if reference[part].size]
    z, y, x = case.image.shape
    told = dict(  # noqa: C408
        kind="case", model="vnet-battery", model_hash=HASH, data=case.data, domain=case.domain, case=case.name,
        data_hash=case.hash, engine="openvino", device="a processor", precision="f32", threads=4, samples=16, seed=0,
        thin=True, metrics=metrics, confusion_truth=matrices["truth"].tolist() if case.truth is not None else None,
        confusion_human=matrices["human"].tolist(), blocks=[block.tolist() for block in blocks],
        curves=curves(end, number) if full else {}, voxels=z * y * x, wall_s=1.5, timed="prediction",
        versions={"python": "3.11", "openvino": "2026.1"}, git="0" * 40, segbench="0.1.0",
        made="2026-11-21T12:00:00+00:00",
    )  # fmt: skip
    return Row.model_validate(told | changes)


def write_run(
    folder: Path, domains=("E35", "Tesla", "Litarion"), cases: int = 1, shape=(24, 64, 72), classes=CLASSES,
    truth: bool = True, slices: bool = True, full: bool = True, data: str = "battery16", wrong: float = 0.05,
    facts: dict | None = None, **changes,
) -> Path:  # fmt: skip
    """A run folder; the same arguments give the same volumes, whatever `wrong` and the changes of the rows are."""
    keeper, rows = Keeper(tuple(classes)), []
    number = 0
    for domain in domains:
        for n in range(cases):
            number += 1
            grey, true, human, labels, entropy = volume(number, shape, len(classes), wrong * (1 + 2 * n + number / 3))
            name = domain if cases == 1 else f"case {n}"
            case = Labelled(
                data, domain, name, Volume(grey), true if truth else None, human, f"{number:064x}"
            )  # fmt: skip
            keeper.add(case, predicted(labels, entropy))
            rows.append(row(case, labels, entropy, number, tuple(classes), full, **changes))
            if truth:
                otsu = row(case, human, entropy, number, tuple(classes), False)
                other = {"model": "otsu", "model_hash": None, "kind": "baseline", "samples": 0, "seed": None}
                rows.append(otsu.model_copy(update=other))
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.json", rows)
    if slices:
        first = rows[0]
        told = dict(  # noqa: C408
            model_hash=first.model_hash, samples=first.samples, seed=first.seed, engine=first.engine,
            precision=first.precision, classes=tuple(classes), trained_on=tuple(domains[:1]), note="made up for a test",
            command="segbench eval --zoo vnet-battery --domain all",
        )  # fmt: skip
        keeper.write(folder / FILE, Facts.model_validate(told | (facts or {})))
    return folder
