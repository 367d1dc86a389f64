"""A stage's folder, named after all that it was made of: what is there is what computing it again would give."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segbench.io import check_output_folder, write_bytes
from segbench.recipe import Strict, read_json

DONE = "done.json"


class Done(Strict):
    """What a finished stage says of itself.

    Attributes:
        made_of: All that it depends on, as its key was made of.
        steps: Optimiser steps, or images.
        process_s: Processor time that it took, over all sittings.
        facts: Numbers that were found, such as a threshold.
    """

    made_of: str
    steps: int
    process_s: float
    facts: dict[str, float] = {}


class Stage:
    """One stage in the folder `stages`/NAME-KEY.

    Args:
        stages: Folder of all stages; runs that share it share what they have in common.
        name: Of the stage.
        made_of: All that decides its result: parts of the recipe, the keys of the stages before it, versions.
    """

    def __init__(self, stages: Path, name: str, **made_of: object) -> None:
        self.name = name
        self.made_of = json.dumps(made_of, sort_keys=True, default=str)
        self.key = hashlib.sha256(f"{name} {self.made_of}".encode()).hexdigest()
        self.folder = stages / f"{name}-{self.key[:16]}"

    @property
    def done(self) -> Done | None:
        """What it found; None while it is not finished."""
        path = self.folder / DONE
        return read_json(path, Done) if path.is_file() else None

    @contextmanager
    def working(self) -> Iterator[Done | None]:
        """Holds the stage alone, waiting for another process that is at it; yields what was done by then.

        Raises:
            OutputError: The folder cannot be written.
        """
        check_output_folder(self.folder)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # dies with the process
            yield self.done

    def finish(self, steps: int, process_s: float, **facts: float) -> Done:
        """Says that the stage's files are whole."""
        done = Done(made_of=self.made_of, steps=steps, process_s=process_s, facts=facts)
        write_bytes(self.folder / DONE, done.model_dump_json(indent=1))
        return done
