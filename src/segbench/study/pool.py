"""Jobs side by side, each after the one that it needs; one that fails takes those along that need it, and no others."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from segbench.errors import SegbenchError
from segbench.evaluate.measured import Key
from segbench.study.plan import Job

Do = Callable[[Job], None]
"""Trains and measures; raises `SegbenchError` where that fails."""

DONE = "done"

Told = Callable[[Job, str], None]
"""Called with `DONE` or why it failed, in the main thread."""


def work(jobs: Sequence[Job], do: Do, side_by_side: int, told: Told, stop: Callable[[], None]) -> dict[Key, str]:
    """Does all jobs.

    Args:
        jobs: One that another needs stands before it, if it is there at all.
        do: Does one, in a thread of its own.
        side_by_side: How many at a time.
        told: Called as each ends.
        stop: Called where the whole is interrupted: it ends what is running, so that the threads return.

    Returns:
        Why jobs failed, by key.
    """
    waiting = {job.key: job for job in jobs}
    rounds = _rounds(jobs)
    failed: dict[Key, str] = {}
    running: dict[Future[None], Job] = {}
    with ThreadPoolExecutor(max(1, side_by_side)) as threads:
        try:
            while waiting or running:
                for job in _ready(waiting, {job.key for job in running.values()}, rounds):
                    if job.needs in failed:
                        failed[job.key] = f"it needs {job.needs}, which failed"
                        told(waiting.pop(job.key), failed[job.key])
                    elif len(running) < side_by_side:
                        running[threads.submit(do, waiting.pop(job.key))] = job
                if not running:
                    continue
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(ended)
                    why = _why(ended)
                    if why is not None:
                        failed[job.key] = why
                    told(job, why or DONE)
        except BaseException:
            stop()
            raise
    return failed


def _rounds(jobs: Sequence[Job]) -> dict[Key, int]:
    """How many trainings of the same method stand before each."""
    seen, rounds = Counter[str](), {}
    for job in jobs:
        rounds[job.key] = seen[job.key.method]
        seen[job.key.method] += 1
    return rounds


def _ready(waiting: dict[Key, Job], running: set[Key], rounds: dict[Key, int]) -> list[Job]:
    """What can start, or cannot any more; those that most others wait for first, then one training of each method.

    A study that is interrupted then has a line for every method before it has intervals for some.
    """
    ready = [job for job in waiting.values() if job.needs not in waiting and job.needs not in running]
    wanted = [job.needs for job in waiting.values()]
    return sorted(ready, key=lambda job: (-wanted.count(job.key), rounds[job.key]))


def _why(ended: Future[None]) -> str | None:
    try:
        ended.result()
    except SegbenchError as error:
        return " ".join(str(error).split())
    return None
