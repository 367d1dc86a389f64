"""Contenders in turn: what disturbs the machine for a while disturbs all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Clock = Callable[[], float]
Run = Callable[[], float]
"""Does a contender's work once and returns the seconds that count."""
Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps, what is done)."""


class Steps:
    """Counts what is begun."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._begun = progress, total, 0

    def __call__(self, what: str) -> None:
        """Says that the next step begins."""
        if self._progress is not None:
            self._progress(self._begun, self._total, what)
        self._begun += 1


def whole(work: Callable[[], object], clock: Clock = time.perf_counter) -> Run:
    """All of `work` counts."""

    def run() -> float:
        start = clock()
        work()
        return clock() - start

    return run


def rotated(names: Sequence[T], number: int) -> list[T]:
    """The order of round `number`: each round another one is first, and in as many rounds each is at every place."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


def interleaved(
    runs: Mapping[T, Run], repeats: int, step: Callable[[T], None] = lambda _: None
) -> dict[T, tuple[float, ...]]:
    """Seconds of each contender in each round; in a round every contender runs once.

    Args:
        runs: Contenders, warm.
        repeats: Rounds.
        step: Called before each run.
    """
    seconds: dict[T, list[float]] = {name: [] for name in runs}
    for number in range(repeats):
        for name in rotated(list(runs), number):
            step(name)
            seconds[name].append(runs[name]())
    return {name: tuple(values) for name, values in seconds.items()}
