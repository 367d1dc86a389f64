"""A graph that computes no rows and columns which a pooling drops.

A pooling by 2 of 11 x 11 features reads 10 x 10 of them. LCGAR's second convolution is most of its work, so that is a
seventh of the network. The convolution is padded one less behind: all other sums stay what they are.
"""

from collections import Counter
from collections.abc import Sequence

import onnx

from segbench.engines.channels import attribute

_POINTWISE = frozenset({"Relu", "LeakyRelu", "Identity"})


def trimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, cut where that is safe; the same values.

    Args:
        model: Not changed.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    sizes = _sizes(model)
    source = {node.output[0]: node for node in made.graph.node}
    readers = Counter(name for node in made.graph.node for name in node.input)
    readers.update(value.name for value in made.graph.output)
    for pool in made.graph.node:
        dropped = _dropped(pool, sizes)
        conv = source.get(pool.input[0]) if dropped else None
        alone = bool(dropped) and readers[pool.input[0]] == 1
        while conv is not None and alone and conv.op_type in _POINTWISE:
            alone = readers[conv.input[0]] == 1
            conv = source.get(conv.input[0])
        if conv is not None and alone and conv.op_type == "Conv":
            _cut(conv, dropped)
    del made.graph.value_info[:]  # sizes of before
    return made


def _sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Edges of tensors [N, C, ...] that are known."""
    found = {}
    for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
        dims = value.type.tensor_type.shape.dim[2:]
        if dims and all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = [dim.dim_value for dim in dims]
    return found


def _dropped(pool: onnx.NodeProto, sizes: dict[str, list[int]]) -> list[int]:
    """How much behind the last window of a max-pooling no window reads, along each axis; empty where that is unsure."""
    if pool.op_type != "MaxPool" or pool.input[0] not in sizes or len(pool.output) != 1:
        return []
    size, windows = sizes[pool.input[0]], _numbers(pool, "kernel_shape")
    steps = _numbers(pool, "strides") or [1] * len(windows)
    spread = any(step != 1 for step in _numbers(pool, "dilations"))
    if any(_numbers(pool, "pads")) or spread or attribute(pool, "ceil_mode") or not _explicit(pool):
        return []
    return [max(0, n - window) % step for n, window, step in zip(size, windows, steps, strict=True)]


def _cut(conv: onnx.NodeProto, dropped: list[int]) -> None:
    """Pads a convolution less behind, as far as it is padded there."""
    pads = _numbers(conv, "pads")
    if not pads or any(step != 1 for step in _numbers(conv, "strides")) or not _explicit(conv):
        return
    before, behind = pads[: len(dropped)], pads[len(dropped) :]
    less = [max(0, pad - unread) for pad, unread in zip(behind, dropped, strict=True)]
    conv.attribute.remove(next(each for each in conv.attribute if each.name == "pads"))
    conv.attribute.append(onnx.helper.make_attribute("pads", [*before, *less]))


def _explicit(node: onnx.NodeProto) -> bool:
    return attribute(node, "auto_pad") in (None, b"NOTSET")


def _numbers(node: onnx.NodeProto, name: str) -> list[int]:
    value = attribute(node, name)
    return [int(number) for number in value] if isinstance(value, Sequence) else []
