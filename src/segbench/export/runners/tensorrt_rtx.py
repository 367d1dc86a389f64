"""TensorRT-RTX on this machine's card: the same code as TensorRT, over the other package."""

from segbench.export.runners.tensorrt import load

__all__ = ["load"]
