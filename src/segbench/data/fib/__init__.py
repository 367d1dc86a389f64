"""battery-fib: simulated low-contrast slices of an electrode with three phases, as in the MatPhase study."""

from segbench.data.fib.labels import clean
from segbench.data.fib.split import SPLITS, Pairs, Split, SplitName, split
from segbench.data.fib.volume import CLASSES, DOMAINS, FIB_VERSION, SHAPE, Fib, load

__all__ = [
    "CLASSES",
    "DOMAINS",
    "FIB_VERSION",
    "SHAPE",
    "SPLITS",
    "Fib",
    "Pairs",
    "Split",
    "SplitName",
    "clean",
    "load",
    "split",
]
