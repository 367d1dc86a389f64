"""Where a result is made, RESULT.zarr.partial beside its final place: what is done, and who is working on it.

    job.json       what is computed (`predict.job`)
    tiles/17.json  tile 17 is written; its counts
    result/        the result, which gets its final name once it is whole
    *.lock         held by living processes; the kernel lets go however they end

What was computed is never thrown away but by --restart.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segbench.errors import OutputError, SegbenchError
from segbench.io import check_output_folder, telling, write_bytes
from segbench.predict.job import Job
from segbench.recipe import read_json

HIDDEN = (".partial", ".part")
"""Ends of temporary names that zarr and `io.replacing` leave behind when they are killed."""


class Folder:
    """The working folder of one result.

    Args:
        out: Final name of the result.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f"{out.name}.partial")
        self.result = self.path / "result"
        self.job = self.path / "job.json"
        self.tiles = self.path / "tiles"

    def make(self, need_bytes: int) -> None:
        """Makes the folder, proves that it can be written and that so much is free.

        Raises:
            OutputError: It cannot be written, or the disk is too full.
        """
        check_output_folder(self.path, need_bytes)
        with telling(self.tiles):
            self.tiles.mkdir(exist_ok=True)

    def read_job(self) -> Job | None:
        """What is being computed here, if anything is."""
        return read_json(self.job, Job) if self.job.exists() else None

    def write_job(self, job: Job) -> None:
        """Says what is computed here."""
        write_bytes(self.job, job.model_dump_json(indent=1) + "\n")

    def done(self) -> set[int]:
        """Numbers of the tiles that are written."""
        return {int(path.stem) for path in self.tiles.glob("*.json") if path.stem.isdigit()}

    def record(self, number: int, counts: dict[str, Any]) -> None:
        """Says that a tile is written, after all its files are."""
        write_bytes(self.tiles / f"{number}.json", json.dumps(counts))

    def records(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The counts of tiles."""
        for number in numbers:
            yield json.loads((self.tiles / f"{number}.json").read_text())

    @contextmanager
    def held(self, shard: tuple[int, int]) -> Iterator[None]:
        """Keeps other processes away from this result, or, of several shards, from this one.

        Raises:
            OutputError: Another process is at work on it.
        """
        number, count = shard
        busy = f"{self.out}: another process is writing it"
        with _lock(self.path / "lock", busy, shared=count > 1):
            if count == 1:
                yield
                return
            with _lock(self.path / f"{number}-of-{count}.lock", f"{busy} (shard {number}/{count})"):
                yield

    @contextmanager
    def making(self) -> Iterator[None]:
        """One process at a time: who comes second finds what the first has made."""
        with _lock(self.path / "make.lock", "", wait=True):
            yield

    @contextmanager
    def unless_begun(self, *, alone: bool) -> Iterator[None]:
        """Leaves no folder where a scan is refused before anything is computed; shards leave theirs to each other."""
        try:
            yield
        except SegbenchError:
            if alone and not self.job.exists():
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """Whether this process is the one that completes the result."""
        try:
            with _lock(self.path / "finish.lock", ""):
                yield True
        except _BusyError:
            yield False

    def clear(self) -> None:
        """Throws away what was computed; locks stay."""
        with telling(self.path):
            self.job.unlink(missing_ok=True)
            shutil.rmtree(self.tiles, ignore_errors=True)
            shutil.rmtree(self.result, ignore_errors=True)
            self.tiles.mkdir()

    def sweep(self) -> None:
        """Removes temporary files that killed processes left in the result."""
        for folder, _, names in os.walk(self.result):
            for name in names:
                if name.endswith(HIDDEN):
                    Path(folder, name).unlink(missing_ok=True)

    def publish(self, whole: Path) -> None:
        """Gives a folder the result's final name; a result that was there under this name is replaced."""
        with telling(self.out):
            if self.out.exists():
                self.out.rename(self.path / "replaced")
            whole.rename(self.out)
            self.job.unlink()  # from here on nothing is left to go on with
        shutil.rmtree(self.path, ignore_errors=True)

    def tidy(self) -> None:
        """Removes what a process left that was killed after it gave the result its name."""
        if self.path.exists() and not self.job.exists():
            shutil.rmtree(self.path, ignore_errors=True)


class _BusyError(OutputError):
    """Somebody else holds a lock."""


@contextmanager
def _lock(path: Path, message: str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    # flock: the kernel lets go when a process ends, however it ends
    with telling(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise _BusyError(f"{message}: wait for it, or choose another --out") from error
        except OSError as error:
            raise OutputError(f"{path}: this file system has no locks ({error.strerror}): choose another") from error
        if not path.exists() or path.stat().st_ino != os.fstat(handle).st_ino:
            raise _BusyError(f"{message}: it has just completed it; run this again to see")
        yield
    finally:
        with suppress(OSError):
            os.close(handle)
