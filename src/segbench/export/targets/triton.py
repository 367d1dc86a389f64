"""Triton Inference Server: a model repository of ONNX graphs, one model for each kind.

    repository/NAME-KIND/config.pbtxt     what Triton reads, made with its own protobuf types
                        /labels.txt       a class a line
                        /1/model.onnx     version 1

Triton shares requests out along a first dimension that all inputs and outputs of a model have. Only the deterministic
graph can have one. In the others the image's first dimension is 1 and the samples' is T: `max_batch_size` is 0 there,
shapes are the graph's own, and the T samples of an image are one request.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import onnx
from pydantic import Field

from segbench.cascade.doubt import FEATURES
from segbench.engines.thin import LOGITS
from segbench.errors import EngineError
from segbench.export.batch import open_batch
from segbench.export.kinds import SECOND, graphs
from segbench.export.lint import check
from segbench.export.profile import Profile
from segbench.export.seeded import MEAN
from segbench.export.targets import Built
from segbench.io import write_bytes
from segbench.recipe import Strict, validate
from segbench.zoo import Model
from segbench.zoo.artifact import Kind, Part

NEEDS = {"tritonclient": "triton", "grpc": "triton", "onnxruntime": "triton"}
REPOSITORY, CONFIG, LABELS, GRAPH, VERSION = "repository", "config.pbtxt", "labels.txt", "model.onnx", "1"
RUNTIME = "onnxruntime"
Config = Any
"""Triton's ModelConfig; its module has no types."""


class TritonSettings(Strict):
    """The profile's options.

    Attributes:
        kinds: Which graphs are served.
        max_batch: Most images in a batch of the deterministic graph; 0: no batching.
        queue_delay_us: How long a request may wait for others to share a batch with, in microseconds.
        instances: Of each model: how many requests run at once on each device.
        device: "auto" is the cards of the server, or its processor where it has none.
        threads: Of the processor for each instance; all of them by default.
    """

    kinds: tuple[Kind, ...] = Field(default=("masked", "deterministic", "seeded", "aggregated", *SECOND), min_length=1)
    max_batch: int = Field(default=4, ge=0)
    queue_delay_us: int = Field(default=0, ge=0)
    instances: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = Field(default=None, ge=1)


def build(model: Model, profile: Profile, precision: str, folder: Path) -> Built:
    """See `Build`."""
    settings = validate(profile.options, TritonSettings, f"profile {profile.target!r}: options")
    for package in (package for package in NEEDS if find_spec(package) is None):
        raise EngineError(f"needs the package {package}: pip install 'segbench[triton]'")
    from google.protobuf import text_format

    parts = []
    for kind, exact in graphs(model, settings.kinds):
        batched = kind == "deterministic" and settings.max_batch > 0
        opened = open_batch(exact, model.card.input.multiple) if batched else None
        graph = opened or exact
        name = f"{model.card.name}-{kind}"
        home = folder / REPOSITORY / name
        home.joinpath(VERSION).mkdir(parents=True)
        file = home / VERSION / GRAPH
        onnx.save(graph, file)
        check(file, kind, RUNTIME)
        described = config(graph, name, settings, settings.max_batch if opened else 0)
        write_bytes(home / CONFIG, text_format.MessageToString(described))
        write_bytes(home / LABELS, "".join(f"{label}\n" for label in model.card.classes))
        path = file.relative_to(folder).as_posix()
        parts.append(Part(kind=kind, runtime=RUNTIME, path=path, precision=precision))
    return Built(tuple(parts), {"onnx": onnx.__version__, "tritonclient": version("tritonclient")})


def config(graph: onnx.ModelProto, name: str, settings: TritonSettings, max_batch: int) -> Config:
    """Triton's description of a model.

    Args:
        graph: What is served.
        name: Of the model and of its folder.
        settings: See there.
        max_batch: 0 where the graph has no dimension for images.
    """
    from tritonclient.grpc import model_config_pb2 as proto

    group = proto.ModelInstanceGroup
    kinds = {"auto": group.KIND_AUTO, "cpu": group.KIND_CPU, "gpu": group.KIND_GPU}
    made = proto.ModelConfig(name=name, backend=RUNTIME, default_model_filename=GRAPH, max_batch_size=max_batch)
    made.version_policy.latest.num_versions = 1
    for value in graph.graph.input:
        made.input.add(name=value.name, data_type=_type(proto, value), dims=_dims(value, max_batch))
    classes = () if any(value.name == FEATURES for value in graph.graph.input) else (LOGITS, MEAN)
    for value in graph.graph.output:
        labels = LABELS if value.name in classes else ""
        made.output.add(
            name=value.name, data_type=_type(proto, value), dims=_dims(value, max_batch), label_filename=labels
        )
    made.instance_group.add(count=settings.instances, kind=kinds[settings.device])
    if max_batch:
        made.dynamic_batching.max_queue_delay_microseconds = settings.queue_delay_us
    # float32 stays float32 on cards that would round what convolutions read to TF32
    made.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda", parameters={"use_tf32": "0"})
    made.parameters["intra_op_thread_count"].string_value = str(settings.threads or 0)
    # answers are as large as scans, and none is asked for twice
    made.response_cache.enable = False
    return made


def _type(proto: Any, value: onnx.ValueInfoProto) -> int:  # noqa: ANN401
    kinds = {onnx.TensorProto.FLOAT: proto.TYPE_FP32, onnx.TensorProto.INT32: proto.TYPE_INT32}
    return int(kinds[value.type.tensor_type.elem_type])


def _dims(value: onnx.ValueInfoProto, max_batch: int) -> list[int]:
    """-1 where a size is open; without the first one where Triton puts the batch there."""
    shape = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape]
    return sizes[1:] if max_batch else sizes
