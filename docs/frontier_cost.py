"""Cost of a design, counted in its own graphs: T thin samples over one dense pass."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segbench.bench.flops import convolution_flops
from segbench.engines.thin import Thinner
from segbench.export.graph import export
from segbench.masks import masks
from segbench.nets.network import Network

EDGE = 64


def costs(network: Network, kind: str, samples: Sequence[int]) -> dict[int, float]:
    """Dense passes that T samples cost, for each T, by operations of convolutions; none of a network without sites."""
    if not network.sites:
        return {}
    sites = [site.model_copy(update={"kind": kind}) if site.kind == "fixed" else site for site in network.sites]
    drawn = masks(sites, 0, range(max(samples)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(network, path)
        shapes = {"image": (1, 1, EDGE, EDGE, EDGE), "masks": (1, drawn.shape[1])}
        dense = convolution_flops(path, shapes)
        graphs = Thinner(path).graphs(drawn, len(drawn))
    links = link_shapes(graphs.shared, shapes)
    shared = convolution_flops(graphs.shared, {"image": shapes["image"]})
    each = np.array([convolution_flops(graph, links) for graph in graphs.samples])
    order = np.array([number for (number,) in graphs.numbers])
    total = shared + np.cumsum(each[np.argsort(order)])
    return {t: float(total[t - 1] / dense) for t in samples}


def link_shapes(shared: bytes, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of what the shared graph hands on."""
    import onnxruntime as ort

    session = ort.InferenceSession(shared, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    found = session.run(names, {"image": np.zeros(shapes["image"], dtype=np.float32)})
    return {name: value.shape for name, value in zip(names, found, strict=True)}
