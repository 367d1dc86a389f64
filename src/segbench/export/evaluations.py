"""What was measured of a model, as the `evaluations` of a BioImage.IO package: a table for each data set."""

from collections.abc import Sequence
from typing import Any, Literal

from segbench.evaluate.definitions import home
from segbench.recipe import Strict
from segbench.rows import Row, read_rows
from segbench.zoo import Model
from segbench.zoo.findings import ResultCard

# scores as rows name them -> at most 16 characters for the format, and what they are
SCORES = {
    "accuracy_truth": ("accuracy_truth", "share of voxels labelled as in the simulated truth"),
    "accuracy_human": ("accuracy_human", "share of voxels labelled as in the human, or human-like, label"),
    "miou_truth": ("miou_truth", "mean over the classes of intersection over union with the truth"),
    "miou_human": ("miou_human", "the same with the label"),
    "nll_truth": ("nll_truth", "negative log-likelihood of the truth, in nats a voxel"),
    "nll_human": ("nll_human", "the same of the label"),
    "ece_truth": ("ece_truth", "expected calibration error against the truth"),
    "ece_human": ("ece_human", "the same against the label"),
    "entropy": ("entropy", "mean entropy of the mean probability, in nats"),
    "mutual_information": ("mutual_info", "mean mutual information of the samples, in nats"),
}


class Source(Strict):
    """Where a data set comes from; see `Evaluation` of the format."""

    source: str
    role: Literal["train", "validation", "test", "independent", "unknown"]
    about: str


def evaluation(model: Model, result: ResultCard, source: Source) -> Any:  # noqa: ANN401
    """What was measured on one data set: a score a row; overall and, where its rows are stored, a domain a column."""
    from bioimageio.spec.dataset.v0_3 import DatasetId
    from bioimageio.spec.model import v0_5

    domains = by_domain(model, result)
    scores = [name for name in SCORES if name in result.means]
    return v0_5.Evaluation(
        dataset_id=DatasetId(result.data),
        dataset_source=source.source,
        dataset_role=source.role,
        sample_count=sum(len(rows) for rows in domains.values()) or result.domains,
        evaluation_factors=["overall", *(name[:16] for name in domains)],
        evaluation_factors_long=[f"mean over {result.domains} domains", *(f"domain {name}" for name in domains)],
        metrics=[SCORES[name][0] for name in scores],
        metrics_long=[SCORES[name][1] for name in scores],
        results=[[result.means[name], *(_mean(rows, name) for rows in domains.values())] for name in scores],
        results_summary=(
            f"{source.about} The stochastic model, T = {result.samples} samples, seed {result.seed}, "
            f"{result.engine} {result.precision}; not the deterministic twin."
        ),
    )


def by_domain(model: Model, result: ResultCard) -> dict[str, list[Row]]:
    """Stored rows of just this model, by domain; none where there are none."""
    path = home() / "results" / f"{model.card.name}-{result.data}" / "rows.json"
    found: dict[str, list[Row]] = {}
    for row in read_rows(path) if path.is_file() else ():
        if row.kind == "case" and row.model_hash == model.hash and row.precision == result.precision:
            found.setdefault(row.domain, []).append(row)
    return found


def _mean(rows: Sequence[Row], score: str) -> float | str:
    values = [row.metrics[score] for row in rows if score in row.metrics]
    mean = sum(values) / len(values) if values else float("nan")
    return mean if mean == mean else "undefined"  # noqa: PLR0124 - NaN is no number of YAML's
