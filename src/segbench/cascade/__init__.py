"""A second, local network for the pixels that the first one is likely to be wrong about, at inference.

Slice by slice; doubted pixels are gathered and classified together, in batches of fixed size.
"""

from segbench.cascade.refine import Cascade, Refined, cascade_of

__all__ = ["Cascade", "Refined", "cascade_of"]
