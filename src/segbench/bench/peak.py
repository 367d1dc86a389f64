"""The convolution peak: how fast plain convolutions run in the same runtime, on the same threads and precision.

Four of them in a row, so that what the first reads and the last writes in the caller's layout counts little. It is
what a dense pass is held against, not a bound: a runtime may know shapes that it likes better.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segbench.volume import Float32

CHANNELS, EDGE, KERNEL, CHAIN = 64, 64, 3, 4
SPAN = (-4.0, 4.0)  # of what each reads, in standard deviations
TAKES = 3  # of which the fastest counts: a peak is what there is when nothing disturbs
IMAGE, RESULT, ENTRY = "image", "result", "entry"


def plain_convolutions() -> bytes:
    """A serialised graph from `IMAGE` to `RESULT`, both [1, 64, 64, 64, 64]; its weights keep the variance."""
    draw = np.random.default_rng(0)
    names = [IMAGE, *(f"features{i}" for i in range(1, CHAIN)), RESULT]
    nodes, weights = [], []
    for number, (source, target) in enumerate(zip(names[:-1], names[1:], strict=True)):
        taps = draw.standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL, KERNEL), dtype=np.float32)
        taps *= np.float32((CHANNELS * KERNEL**3) ** -0.5)
        weights.append(numpy_helper.from_array(taps, f"weight{number}"))
        pads = [KERNEL // 2] * 6
        nodes.append(helper.make_node("Conv", [source, f"weight{number}"], [target], name=target, pads=pads))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape()) for name in (IMAGE, RESULT)]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def rounded(graph: bytes) -> bytes:
    """The same in 8-bit integers."""
    from segbench.engines.quantise import quantised

    model = onnx.load_from_string(graph)
    # OpenVINO leaves the first convolution in float32 if what it rounds is the graph's input itself
    entry = helper.make_node("Relu", [IMAGE], [ENTRY], name=ENTRY)
    model.graph.node.insert(0, entry)
    model.graph.node[1].input[0] = ENTRY
    names = (ENTRY, *(f"features{i}" for i in range(1, CHAIN)))
    return bytes(quantised(model, dict.fromkeys(names, SPAN)).SerializeToString())


def shape() -> tuple[int, int, int, int, int]:
    """Of what the convolutions read and write."""
    return 1, CHANNELS, EDGE, EDGE, EDGE


def features() -> Float32:
    """What they read."""
    return np.random.default_rng(1).standard_normal(shape(), dtype=np.float32)
