"""fibre-composite: simulated scans of glass fibres in a polymer, with few pores, as in the tomo2seg study."""

from segbench.data.fibre.split import Layers, Split, split
from segbench.data.fibre.volume import CLASSES, DOMAINS, FIBRE_VERSION, SHAPE, Fibre, load

__all__ = [
    "CLASSES",
    "DOMAINS",
    "FIBRE_VERSION",
    "SHAPE",
    "Fibre",
    "Layers",
    "Split",
    "load",
    "split",
]
