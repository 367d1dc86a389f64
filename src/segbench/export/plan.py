"""A TensorRT engine file from an ONNX graph: parsed, strongly typed, built for the tiles that the model reads.

TensorRT and TensorRT-RTX have one Python API; the first needs the card that it builds for, the second needs none.
Types come from the graph alone: a float16 engine is one of a float16 graph (`segbench.export.float16`).
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from pydantic import Field

from segbench.engines.graph import SAMPLES_AT_ONCE
from segbench.engines.plan import Plan, Span, beside
from segbench.engines.tensorrt import log
from segbench.engines.thin import IMAGE, MASKS
from segbench.errors import EngineError, InputError
from segbench.export.float16 import halved
from segbench.export.kinds import SECOND, graphs
from segbench.export.lint import lint
from segbench.export.seeded import SAMPLE, SEED
from segbench.io import write_bytes
from segbench.recipe import Strict
from segbench.tiling import Grid
from segbench.zoo import Model
from segbench.zoo.artifact import Kind, Part

LEAST = 1  # strides along an edge: the reference of a model may be as small
Trt = Any
"""The package; it has no types."""


class Settings(Strict):
    """What both kinds of engines can be told in a profile's options.

    Attributes:
        kinds: Of engines; segbench predict runs the masked one.
        samples: Most samples at once; an engine takes 1 up to these.
        tf32: Whether float32 convolutions may round what they read to TF32, as TensorRT does by default: faster on
            cards since Ampere, and no longer the same network within 1e-4.
        whole_f16: With precision f16: the convolution that makes the logits, too, which Turing cards (7.5) need.
        workspace_mib: Most memory for a layer's scratch space; all that there is by default.
    """

    kinds: tuple[Kind, ...] = Field(default=("masked", "deterministic"), min_length=1)
    samples: int = Field(default=SAMPLES_AT_ONCE, ge=1)
    tf32: bool = False
    whole_f16: bool = False
    workspace_mib: int | None = Field(default=None, ge=1)


def package(name: str, install: str) -> Trt:
    """TensorRT's package of that name.

    Raises:
        EngineError: It is not installed, or its libraries cannot be loaded.
    """
    if find_spec(name) is None:
        raise EngineError(f"needs the package {name}: {install}")
    try:
        found = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"the package {name} cannot be loaded ({str(error).splitlines()[0]}): {install}") from error
    return found


def spans(model: Model, graph: onnx.ModelProto, samples: int) -> dict[str, Span]:
    """Least, best and largest shape of each input: images up to the card's tile, one sample up to `samples`."""
    card = model.card.input
    tile = Grid(card.core, card.core, card.halo, card.multiple).shape
    least = tuple(min(LEAST * multiple, edge) for multiple, edge in zip(card.multiple, tile, strict=True))
    channels = sum(site.channels for site in model.card.dropout)
    each: dict[str, Span] = {
        IMAGE: ((1, 1, *least), (1, 1, *tile), (1, 1, *tile)),
        MASKS: ((1, channels), (samples, channels), (samples, channels)),
        SEED: ((1,), (1,), (1,)),
        SAMPLE: ((1,), (samples,), (samples,)),
    }
    return {value.name: each[value.name] for value in graph.graph.input}


def built(
    trt: Trt,
    graph: onnx.ModelProto,
    shapes: Mapping[str, Span],
    settings: Settings,
    configure: Callable[[Any], None],
) -> bytes:
    """The engine file's bytes.

    Args:
        trt: The package.
        graph: Strongly typed.
        shapes: Of every input.
        settings: What both kinds of engines have.
        configure: Sets what is the target's own on the builder's configuration.

    Raises:
        EngineError: The parser refuses a node, which it names, or the builder refuses the network.
    """
    said = log(trt)
    builder = trt.Builder(said)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said)
    if not parser.parse(graph.SerializeToString()):
        raise EngineError(f"{trt.__name__} refuses the graph: {_refusals(parser)}")
    config = builder.create_builder_config()
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    profile = builder.create_optimization_profile()
    for name, span in shapes.items():
        profile.set_shape(name, *span)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"{trt.__name__} takes no such shapes: {_first(said)}")
    configure(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{trt.__name__} builds no engine: {_first(said)}")
    return bytes(plan)


def engines(
    trt: Trt,
    model: Model,
    precision: str,
    settings: Settings,
    folder: Path,
    about: Plan,
    configure: Callable[[Any], None],
) -> tuple[Part, ...]:
    """Builds an engine of each kind, with what it was built for beside it.

    Args:
        trt: The package.
        model: Whose graph it is.
        precision: "f32" or "f16".
        settings: See `built`.
        folder: Where the parts go.
        about: What is the same of all of them.
        configure: See `built`.

    Raises:
        EngineError: A graph holds what TensorRT does not take, or see `halved` and `built`.
        InputError: A kind is asked for that is none of the first network.
    """
    if set(settings.kinds) & set(SECOND):
        raise InputError(f"{about.runtime} builds the first network; a second one runs on ONNX Runtime or OpenVINO")
    parts = []
    for kind, exact in graphs(model, settings.kinds):
        _look(exact, kind, about.runtime)
        graph = halved(exact, settings.whole_f16) if precision == "f16" else exact
        shapes = spans(model, graph, settings.samples)
        file = folder / f"{kind}.plan"
        write_bytes(file, built(trt, graph, shapes, settings, configure))
        write_bytes(beside(file), about.model_copy(update={"shapes": shapes}).model_dump_json(indent=1) + "\n")
        parts.append(Part(kind=kind, runtime=about.runtime, path=file.name, precision=precision))
    return tuple(parts)


def _look(graph: onnx.ModelProto, kind: Kind, runtime: str) -> None:
    """Refuses what the table of operators says that TensorRT does not take, in words that are ours."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{kind}.onnx"
        onnx.save(graph, path)
        found = lint(path, kind, runtime)
    if found:
        raise EngineError(f"the {kind} graph is not for {runtime}: {'; '.join(found)}")


def _refusals(parser: Any) -> str:  # noqa: ANN401
    """Every node that the parser refused, and why."""
    found = []
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        code, why = str(error.code()).rpartition(".")[2], " ".join(error.desc().split())
        found.append(f"node {error.node()} {error.node_name()!r} ({error.node_operator()}): {code}, {why}")
    return "; ".join(dict.fromkeys(found)) or "it names no node"


def _first(said: Any) -> str:  # noqa: ANN401
    return said.errors[0] if said.errors else "it gives no reason"
