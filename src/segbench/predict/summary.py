"""What a whole result says: phase fractions with their interval over the samples."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segbench import __version__
from segbench.errors import InputError
from segbench.foreign import Foreign, with_tiles
from segbench.predict.job import Finite, Job
from segbench.predict.result import UNIT
from segbench.recipe import Strict, validate

INTERVAL = (5.0, 95.0)
SUMMARY = "summary.json"


class Fraction(Strict):
    """Share of a class in the volume.

    Attributes:
        labels: In the labels, which are of the mean probability.
        mean: Mean over the samples, each of them labelled alone.
        low: Percentile 5 of the samples.
        high: Percentile 95 of the samples.
    """

    labels: float
    mean: float
    low: float
    high: float


class Summary(Finite):
    """A result in numbers.

    Attributes:
        job: What was computed.
        fractions: Of each class by name. Their interval is what the model's samples differ by; a model can be wrong
            in the same way in all of them.
        entropy: Mean predictive entropy in nats.
        mutual_information: Mean mutual information in nats.
        segbench: The version that wrote it.
        foreign: How unlike the training scans it is, the share of its tiles included; None where the model has no fit.
    """

    job: Job
    fractions: dict[str, Fraction]
    entropy: float
    mutual_information: float
    segbench: str
    foreign: Foreign | None = None

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
    fractions = {}
    for number, name in enumerate(job.classes):
        shares = active if number == 1 else 1 - active
        low, high = np.percentile(shares, INTERVAL)
        fractions[name] = Fraction(
            labels=float(labels[number] / voxels), mean=float(shares.mean()), low=float(low), high=float(high)
        )
    entropy, mutual = (math.fsum(record[key] for record in records) for key in ("entropy", "mutual_information"))
    return Summary(
        job=job,
        fractions=fractions,
        entropy=entropy / voxels,
        mutual_information=mutual / voxels,
        segbench=__version__,
        foreign=None if job.foreign is None else with_tiles(job.foreign, [record.get("foreign") for record in records]),
    )


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
