"""Whether a scan is of the kind that a model was trained on: a score beside the prediction, which it never changes.

A network says of noise what it says of anything, and is sure of it. So this looks at what the model sees, at about
sixteen windows of a scan whatever its size, and says how far that is from the training scans.
"""

from segbench.foreign.look import Foreign, Look, look_of, of_volume, with_tiles
from segbench.foreign.windows import looked_at

__all__ = ["Foreign", "Look", "look_of", "looked_at", "of_volume", "with_tiles"]
