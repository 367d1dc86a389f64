"""torchvision beside a PyTorch that it was not compiled for, such as the CPU wheel: its networks need no compiled part.

torchvision registers shapes of two compiled operators when it is imported, of non-maximum suppression, and fails where
its compiled part cannot be loaded: "operator torchvision::nms does not exist". There is no CPU build of torchvision on
PyPI, and its networks of convolutions call neither. So the two are declared where, and only where, they are missing:
importing goes on, and whoever calls one of them is told by PyTorch that it has no implementation.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_MISSING = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # what is declared lasts as long as the library object


def declare() -> None:
    """Declares the two operators if torchvision's compiled part cannot be loaded; to be called before its import."""
    found = find_spec("torchvision")
    if _declared or found is None or found.origin is None:
        return
    try:
        for compiled in sorted(Path(found.origin).parent.glob("_C*.so")):
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
    except OSError:
        pass
    if hasattr(torch.ops.torchvision, _MISSING[0]):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in _MISSING:
        library.define(name + _SCHEMA)
    _declared.append(library)
