"""Nodes and constants that are added to an ONNX graph, an expression a line."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

INT32 = np.int32


class Nodes:
    """What is to be added, in order.

    Args:
        prefix: Of all names, so that they meet none that are there.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401
        """The output's name of a new node of this kind."""
        name = output or f"{self._prefix}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike, kind: npt.DTypeLike = INT32) -> str:
        """The name of a constant; equal ones are one."""
        array = np.asarray(value, dtype=kind)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{self._prefix}/constant/{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]
