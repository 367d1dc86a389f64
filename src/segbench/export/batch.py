"""A deterministic graph for several images at once, where the network keeps them apart."""

import numpy as np
import onnx

from segbench.engines.thin import IMAGE, LOGITS
from segbench.volume import Float32

IMAGES = "images"
CLOSE = 1e-4  # of logits, absolute: the same network on the same image, alone or in company


def open_batch(graph: onnx.ModelProto, multiple: tuple[int, int, int]) -> onnx.ModelProto | None:
    """The graph with an open number of images; None where it mixes them or takes one alone.

    A graph that was exported for one image may have that written into its shapes, or sum over all there is. So it is
    asked: two images together are to give what each gives alone, in ONNX Runtime.

    Args:
        graph: Of kind "deterministic": image [1, 1, Z, Y, X] -> logits [1, K, Z, Y, X]; not changed.
        multiple: Of the edges of an image.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(graph)
    del opened.graph.value_info[:]
    for value in (*opened.graph.input, *opened.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        dim.dim_param = IMAGES
    try:
        made = onnx.shape_inference.infer_shapes(opened, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None
    generator = np.random.default_rng(0)
    images = generator.standard_normal((2, 1, *(2 * each for each in multiple))).astype(np.float32)
    images[1] *= 3  # sums over both would show
    alone = [_logits(graph, image[None]) for image in images]
    together = _logits(made, images)
    if together is None or any(each is None for each in alone):
        return None
    expected = np.concatenate([each for each in alone if each is not None])
    same = together.shape == expected.shape and float(np.abs(together - expected).max()) < CLOSE
    return made if same else None


def _logits(graph: onnx.ModelProto, image: Float32) -> Float32 | None:
    """What ONNX Runtime computes; None where it cannot."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found: Float32 = session.run([LOGITS], {IMAGE: image})[0]
    except Exception:  # ONNX Runtime raises what it likes where shapes do not fit
        return None
    return found
