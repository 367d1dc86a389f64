"""The range of every activation that int8 rounds, measured on phantoms with the float graph.

Lowest and highest values and a quarter more: what is clipped hurts far more than what is rounded a little more coarsely
(docs/decisions/int8.md).
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import tomli_w
from onnx import TensorProto, helper

from segbench.data import fib
from segbench.data.phantom import PHANTOM_VERSION
from segbench.data.pool import phantoms
from segbench.engines.quantise import Range, Ranges, measured
from segbench.engines.thin import IMAGE, MASKS
from segbench.errors import EngineError
from segbench.hardware import cores
from segbench.io import file_sha256, write_bytes
from segbench.masks import Site, masks, ones
from segbench.normalisation import fit
from segbench.volume import Float32, Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import Card, FileCard
from segbench.zoo.page import page

RANGES, README = "ranges.json", "README.md"
IMAGES = 8
SEED = 8  # of the masks; any but the benchmark's
ROOM = 1.25  # scans reach further than phantoms
VOXELS = 1 << 18  # of an image: every tensor of a network is held at once, of 16 layers of 320 x 320 that was 7 GB


def measurable() -> bool:
    """Whether the runtime that measures is installed; training alone does not need it."""
    return find_spec("onnxruntime") is not None


def measure(graph: Path, images: Sequence[Float32], sites: Sequence[Site]) -> dict[str, Range]:
    """Lowest and highest value of each tensor that int8 rounds, as they were seen.

    Args:
        graph: The masked graph.
        images: Normalised, (Z, Y, X), edges in multiples of the network's strides.
        sites: Of its dropout. Each image is seen by the deterministic network and by a sample of its own.

    Raises:
        EngineError: ONNX Runtime is not installed.
    """
    if not measurable():
        raise EngineError("activation ranges are measured with ONNX Runtime: pip install 'segbench[cpu]'")
    import onnxruntime as ort

    model = onnx.load(graph)
    names = sorted({part for parts in measured(model.graph).values() for part in parts})
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for number, image in enumerate(images):
        drawn = np.concatenate([ones(sites), masks(sites, SEED, [number])]) if sites else ones(sites)
        seen = session.run(names, {IMAGE: np.ascontiguousarray(image)[None, None], MASKS: drawn})
        low = np.minimum(low, [tensor.min() for tensor in seen])
        high = np.maximum(high, [tensor.max() for tensor in seen])
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _part(image: Float32) -> Float32:
    """The first rows and columns of an image that is too large: halved while they stay multiples of 16."""
    depth, high, wide = image.shape
    while depth * high * wide > VOXELS and high % 32 == wide % 32 == 0:
        high, wide = high // 2, wide // 2
    return image[:, :high, :wide]


def make(graph: Path, images: Sequence[Float32], sites: Sequence[Site], on: str = "") -> FileCard:
    """Measures on the first of the normalised `images` (Z, Y, X); writes `ranges.json` beside the graph.

    Args:
        graph: The masked graph.
        images: Phantoms, or what `on` says in words.
        sites: Of its dropout.
        on: Where the images are from, if they are no phantoms.
    """
    images = [_part(image) for image in images[:IMAGES]]
    tensors = {name: (ROOM * low, ROOM * high) for name, (low, high) in measure(graph, images, sites).items()}
    of = f"{len(images)} of {on}" if on else f"{len(images)} phantoms (version {PHANTOM_VERSION})"
    ranges = Ranges(on=f"{of}, times {ROOM}", tensors=tensors)
    path = graph.parent / RANGES
    write_bytes(path, ranges.model_dump_json(indent=1) + "\n")
    return FileCard(path=RANGES, sha256=file_sha256(path))


def _seen(card: Card) -> tuple[list[Float32], str]:
    """What a model's ranges are measured on, and where that is from, if it is no phantoms: as when it was trained."""
    if card.classes != fib.CLASSES:
        return [sample.image for sample in phantoms(IMAGES, card.input.normalisation)], ""
    image = fib.split(fib.load()).validation.image
    scaled = fit(card.input.normalisation, Volume(image, source="battery-fib"))(image)
    return [one[None] for one in scaled], f"{len(scaled)} validation slices of battery-fib (clean split)"


def add(folder: Path) -> Card:
    """Gives a model that was released without ranges its own, and pins them in its card; the hash changes with it.

    Raises:
        InputError: No model, or not as its card pins it.
        EngineError: ONNX Runtime is not installed.
    """
    model: Model = find(str(folder))
    images, on = _seen(model.card)
    made = make(model.graph, images, model.card.dropout, on)
    card = model.card.model_copy(update={"files": model.card.files.model_copy(update={"ranges": made})})
    write_bytes(model.path / README, page(card))
    write_bytes(model.path / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card
