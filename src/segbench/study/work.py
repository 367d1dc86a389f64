"""`python -m segbench.study.work TASK.json`: one training and its measurement, in a process of its own.

It does what is not done yet: a finished model is kept, an unfinished one goes on from its checkpoint. It ends as soon
as its standard input does, which the process that started it holds open.
"""

import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segbench.errors import SegbenchError
from segbench.evaluate import measured as kept
from segbench.hardware import keep_memory
from segbench.recipe import read_json, read_toml
from segbench.study.process import MARK
from segbench.study.task import MEASURED, Task, measured
from segbench.zoo import CARD, find

EVERY_S = 1.0
LOCK = ".working"
STAGES = "stages"
"""Beside the models: stages of cascades, each named by its inputs, so that variants share what they have in common."""
TRAINING = 0.9
"""Share of a task that counts as its training."""


def main(arguments: list[str]) -> int:
    """Does the task of a file; 2 where the user can mend what went wrong, whose one line is then the last one."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    task = read_json(Path(arguments[0]), Task)
    try:
        with (task.place / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another study may be at it: what it has done is not done again
            train(task)
            measure(task)
    except SegbenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def train(task: Task) -> None:
    """Trains, or makes the model of another one, unless it is there."""
    if task.naive is not None or (task.place / CARD).is_file():
        return
    if task.of is not None:
        from segbench.study.restate import restate

        part = task.place / "model"
        shutil.rmtree(part, ignore_errors=True)  # of a worker that was killed
        restate(task.of, task.method, task.title, task.card, part)
        for path in sorted(part.iterdir(), key=lambda path: path.name == CARD):
            path.replace(task.place / path.name)  # the card last: it says that all is there
        part.rmdir()
        return
    assert task.recipe is not None
    stepping = _stepping(task)
    if task.first is None:
        from segbench.train.run import train as train_network

        train_network(task.recipe, task.place, stepping=stepping, budget_s=task.budget_s, threads=1)
        return
    from segbench.train.matphase.recipe import MatPhaseRecipe
    from segbench.train.matphase.run import train_matphase

    recipe = read_toml(task.recipe, MatPhaseRecipe)
    train_matphase(
        recipe,
        task.recipe,
        task.place,
        first=task.first,
        stages=task.place.parent / STAGES,
        stepping=stepping,
        budget_s=task.budget_s,
    )


def measure(task: Task) -> None:
    """Evaluates the model, unless what was measured is of this model, T and code."""
    from segbench.study.measure import measure as measure_model
    from segbench.study.measure import without_network

    if measured(task.place, task.key, task, naive=task.naive is not None) is not None:
        return
    if task.naive is not None:
        kept.write(task.place / MEASURED, without_network(task, task.naive))
    else:
        kept.write(task.place / MEASURED, measure_model(find(str(task.place)), task))


def _stepping(task: Task) -> Callable[[Any], None]:
    """Says on standard output what share of the budget is used, at most once a second."""
    last = 0.0

    def stepped(_: object) -> None:
        nonlocal last
        now = time.monotonic()
        if task.budget_s is not None and now - last >= EVERY_S:
            last = now
            sys.stdout.write(f"{MARK}{TRAINING * min(1.0, time.process_time() / task.budget_s):.4f}\n")
            sys.stdout.flush()

    return stepped


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
