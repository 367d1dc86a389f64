"""A row of one volume: what was measured, with the provenance that all rows have."""

from segbench import __version__
from segbench.evaluate.cases import Labelled, made_by
from segbench.evaluate.source import code
from segbench.evaluate.tallied import Scores
from segbench.rows import Confusion, Row, git_hash, now, versions


def row_of(case: Labelled, scores: Scores, counts: tuple[Confusion | None, Confusion], **rest: object) -> Row:
    """The row.

    Args:
        case: What was looked at.
        scores: By name.
        counts: Confusion against the truth, if there is one, and against the human label.
        rest: The other fields of `Row`.
    """
    z, y, x = case.image.shape
    return Row.model_validate(
        dict(
            data=case.data,
            domain=case.domain,
            case=case.name,
            data_hash=case.hash,
            stack=case.stack,
            metrics=scores,
            confusion_truth=counts[0],
            confusion_human=counts[1],
            voxels=z * y * x,
            versions=versions() | made_by(case.data),
            git=git_hash(),
            code=code(),
            segbench=__version__,
            made=now(),
            **rest,
        )
    )
