"""What a whole result says: phase fractions with their interval over the samples, and as the card bounds them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segbench import __version__
from segbench.errors import InputError
from segbench.foreign import Foreign, with_tiles
from segbench.metrics.conformal import of_samples
from segbench.predict.bounds import POSSIBLE, SURE, assumption, share_interval
from segbench.predict.job import Finite, Job
from segbench.predict.result import UNIT
from segbench.recipe import Strict, validate

SUMMARY = "summary.json"


class Fraction(Strict):
    """Share of a class in the volume.

    Attributes:
        labels: In the labels, which are of the mean probability.
        mean: Mean over the samples, each of them labelled alone.
        low: Percentile 5 of the samples.
        high: Percentile 95 of the samples.
        conformal_low: Of the conformal interval; None where the card has none, or none for so few samples.
        conformal_high: Likewise.
        sure: Share of voxels that surely are of this class; None likewise.
        possible: Share of those that may be.
    """

    labels: float
    mean: float
    low: float
    high: float
    conformal_low: float | None = None
    conformal_high: float | None = None
    sure: float | None = None
    possible: float | None = None


class Summary(Finite):
    """A result in numbers.

    Attributes:
        job: What was computed.
        fractions: Of each class by name. Their interval is what the model's samples differ by; a model can be wrong
            in the same way in all of them.
        entropy: Mean predictive entropy in nats.
        mutual_information: Mean mutual information in nats.
        conformal_assumes: What the conformal intervals take for granted; empty where there are none.
        segbench: The version that wrote it.
        foreign: How unlike the training scans it is, the share of its tiles included; None where the model has no fit.
        doubted: Share of voxels on which a second network decided; None for a model without one.
    """

    job: Job
    fractions: dict[str, Fraction]
    entropy: float
    mutual_information: float
    conformal_assumes: str = ""
    segbench: str
    foreign: Foreign | None = None
    doubted: float | None = None

    def attributes(self) -> dict[str, Any]:
        """As it stands in a result, with what a reader looks for first in front."""
        wanted = self.job.wanted
        return {
            "source": self.job.source,
            "model": wanted.model,
            "model_version": wanted.model_version,
            "version": self.segbench,
            "samples": wanted.samples,
            "seed": wanted.seed,
            "classes": list(self.job.classes),
            "unit_of_maps": UNIT,
            "warnings": list(self.job.warnings),
            "summary": json.loads(self.model_dump_json()),
        }


def summarise(job: Job, records: Sequence[dict[str, Any]]) -> Summary:
    """From the counts of all tiles, in their order."""
    voxels = math.prod(job.wanted.shape)
    labels = np.array([record["labels"] for record in records], np.int64).sum(axis=0)
    active = np.array([record["active"] for record in records], np.int64).sum(axis=0) / voxels
    shares_of = (1 - active, active) if len(job.classes) == 2 else active
    bounds = _bounds(job, active.tolist(), records)
    fractions = {}
    for number, (name, shares) in enumerate(zip(job.classes, shares_of, strict=True)):
        low, high = of_samples(shares.tolist())
        fractions[name] = Fraction(
            labels=float(labels[number] / voxels),
            mean=float(shares.mean()),
            low=low,
            high=high,
            **bounds.get(name, {}),
        )
    entropy, mutual = (math.fsum(record[key] for record in records) for key in ("entropy", "mutual_information"))
    return Summary(
        job=job,
        fractions=fractions,
        entropy=entropy / voxels,
        mutual_information=mutual / voxels,
        conformal_assumes=assumption(job.conformal, job.wanted.shape) if bounds and job.conformal else "",
        segbench=__version__,
        foreign=None if job.foreign is None else with_tiles(job.foreign, _tile_scores(records)),
        doubted=_doubted(records, voxels),
    )


def _doubted(records: Sequence[dict[str, Any]], voxels: int) -> float | None:
    counts = [record.get("doubted") for record in records]
    return None if None in counts else math.fsum(count or 0 for count in counts) / voxels


def _tile_scores(records: Sequence[dict[str, Any]]) -> list[float | None]:
    """Of the tiles that were looked at; none where a tile is the scan."""
    return [record.get("foreign") for record in records] if len(records) > 1 else []


def _bounds(job: Job, shares: list[Any], records: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What the card's conformal fit says of both classes, by name; nothing where it says nothing, as of three."""
    low, high = share_interval(job.conformal, shares)
    if math.isnan(low):
        return {}
    voxels = math.prod(job.wanted.shape)
    sure, possible = (sum(record[name] for record in records) / voxels for name in (SURE, POSSIBLE))
    names, one = ("conformal_low", "conformal_high", "sure", "possible"), (low, high, sure, possible)
    rest = (1 - high, 1 - low, 1 - possible, 1 - sure)
    return {name: dict(zip(names, values, strict=True)) for name, values in zip(job.classes, (rest, one), strict=True)}


def read_result(path: Path) -> Summary | None:
    """The summary of a result at `path`; None where there is none."""
    for name, keys in (("zarr.json", ("attributes", "segbench", "summary")), (SUMMARY, ("summary",))):
        try:
            found = json.loads((path / name).read_text())
            for key in keys:
                found = found[key]
            return validate(found, Summary, str(path))
        except (OSError, ValueError, KeyError, TypeError, InputError):
            continue
    return None
