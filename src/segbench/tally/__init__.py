"""Sums over a labelled volume, slab by slab in one compiled pass, from which every metric of it follows.

What is summed is in `statistics`; what the sums mean is in `metrics`. Memory does not grow with the depth of a volume.
"""

from segbench.tally.statistics import Region, Tally
from segbench.tally.stream import ALL, PARTS, Maps, tally

__all__ = ["ALL", "PARTS", "Maps", "Region", "Tally", "tally"]
