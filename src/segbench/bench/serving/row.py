"""What was measured of a server, with what it takes to know how it came about; nothing derived (`summary`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from segbench.bench.row import Finite, Seconds
from segbench.io import check_output_folder, write_bytes
from segbench.recipe import Strict, read_json

FORMAT = "segbench bench serve 1"

Kind = Literal["single", "loop", "overload"]
Server = Literal["none", "segbench", "mlserver"]
Wire = Literal["in process", "http binary", "http json", "grpc raw"]


class Round(Strict):
    """One round of a contender.

    Attributes:
        seconds: Wall time from the first request to the last answer.
        answered: Requests that were.
        latencies_s: From when a request was due until all of its answer was there; of a closed loop without each
            client's first, which found no queue.
        refused: Requests that were answered with 503, or UNAVAILABLE.
        refused_s: How long that took.
        failed: Requests that got another answer, or none.
        counted: What the server itself counts of them as answered; None where it was not asked.
        waiting: What was in its queue afterwards; likewise.
        resident_mib: Memory of the server, looked at every so often meanwhile; empty where it was not.
    """

    seconds: Seconds
    answered: int = Field(ge=0)
    latencies_s: tuple[Seconds, ...]
    refused: int = Field(default=0, ge=0)
    refused_s: tuple[Seconds, ...] = ()
    failed: int = Field(default=0, ge=0)
    counted: int | None = None
    waiting: int | None = None
    resident_mib: tuple[Finite, ...] = ()


class ServingRow(Strict):
    """One contender's rounds with their provenance.

    Attributes:
        kind: "single": one request at a time. "loop": clients that each send the next request when they have the
            answer. "overload": requests that arrive whatever became of those before.
        server: Whose; "none" is bare inference in the benchmark's own process.
        wire: How the image went there and the answer back.
        clients: That asked at once.
        rate: Requests a second that arrived, on average; None where the answers decide.
        rounds: In order; in each every contender ran once. An overload has one.
        sent_mib: Size of a request.
        answer_mib: Size of an answer; 0 in process.
        apart: Largest absolute difference of the probability from that of bare inference.
        engine: What computed the convolutions.
        device: What it really ran on, in words.
        precision: Of the convolutions.
        threads: Of the engine.
        samples: T.
        size: Edge of the image in voxels.
        outputs: That were asked for.
        timed: What was timed, in words.
        model: Name of the model.
        model_hash: sha256 of what was run.
        seed: Of the masks.
        versions: Of Python and of the packages that computed it.
        git: Commit of the source checkout, "-dirty" where its code differs from it; None outside a checkout.
        segbench: Version of segbench.
        made: When, ISO 8601 in UTC.
    """

    kind: Kind
    server: Server
    wire: Wire
    clients: int = Field(ge=1)
    rate: float | None = None
    rounds: tuple[Round, ...] = Field(min_length=1)
    sent_mib: Finite
    answer_mib: Finite
    apart: Finite
    engine: str
    device: str
    precision: str
    threads: int = Field(ge=1)
    samples: int = Field(ge=1)
    size: int = Field(ge=1)
    outputs: tuple[str, ...]
    timed: str
    model: str
    model_hash: str
    seed: int
    versions: dict[str, str]
    git: str | None
    segbench: str
    made: str


class _File(Strict):
    format: Literal["segbench bench serve 1"]
    rows: tuple[ServingRow, ...]


def write_rows(path: Path, rows: Sequence[ServingRow]) -> None:
    """Writes `rows` as JSON, whole or not at all."""
    # no line for each number: an overload of minutes has thousands
    lines = ",\n".join(json.dumps(row.model_dump(mode="json")) for row in rows)
    check_output_folder(path.parent)
    write_bytes(path, f'{{"format": "{FORMAT}", "rows": [\n{lines}\n]}}\n')


def read_rows(path: Path) -> tuple[ServingRow, ...]:
    """The rows of a file that `write_rows` wrote.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    return read_json(path, _File).rows
