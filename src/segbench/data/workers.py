"""Volumes made in worker processes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from segbench.hardware import cores

T = TypeVar("T")


def each(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Results of `function(*a)` for all arguments, in the order in which they get ready.

    joblib's workers, unlike multiprocessing's, neither import the caller's script again nor inherit its threads.
    """
    workers = min(len(arguments), cores())
    if workers < 2:
        yield from (function(*a) for a in arguments)
        return
    try:
        yield from Parallel(workers, return_as="generator_unordered")(delayed(function)(*a) for a in arguments)
    finally:
        get_reusable_executor().shutdown(wait=True)  # else they idle for minutes and hold up the end of the process
