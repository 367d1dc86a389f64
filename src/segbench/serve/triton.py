"""A model as Triton's clients want it described: its ModelConfig, as a message and as JSON."""

from typing import Any

from segbench.serve.request import Described, Tensor
from segbench.serve.settings import Settings

WIDE = (2, 4)
"""`FieldDescriptor`'s CPPTYPE_INT64 and CPPTYPE_UINT64."""
BATCHED = 2**31 - 1
"""Largest batch where only the bytes of a request limit it; 0 would say that there is no batch axis."""


def config(described: Described, settings: Settings) -> Any:  # noqa: ANN401
    """Triton's ModelConfig of a model; tritonclient's message has no types.

    Args:
        described: The model.
        settings: What the queue does.
    """
    from tritonclient.grpc import model_config_pb2 as proto

    most = described.max_batch or BATCHED
    made = proto.ModelConfig(name=described.name, platform=described.platform, backend="segbench", max_batch_size=most)
    made.version_policy.specific.versions.extend(int(each) for each in described.versions if each.isdecimal())
    for tensors, listed in ((described.inputs, made.input), (described.outputs, made.output)):
        for tensor in tensors:
            # the batch axis is left out, as max_batch_size is not 0
            listed.add(name=tensor.name, data_type=_type(proto, tensor), dims=tensor.shape[1:])
    made.dynamic_batching.max_queue_delay_microseconds = round(settings.max_delay_ms * 1000)
    made.dynamic_batching.default_queue_policy.max_queue_size = settings.max_queue
    made.response_cache.enable = False
    return made


def config_json(described: Described, settings: Settings) -> dict[str, Any]:
    """The same as Triton answers it over HTTP: names as in the message, and 64-bit integers as numbers."""
    from google.protobuf.json_format import MessageToDict

    made = config(described, settings)
    told = MessageToDict(made, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return dict(_plain(told, made.DESCRIPTOR))


def _plain(told: Any, descriptor: Any) -> Any:  # noqa: ANN401
    """JSON of protobuf has 64-bit integers as texts, which Triton's clients do not read."""
    wide = {field.name for field in descriptor.fields if field.cpp_type in WIDE}
    inner = {field.name: field.message_type for field in descriptor.fields if field.message_type}
    plain = {}
    for key, value in told.items():
        if key in wide:
            plain[key] = [int(each) for each in value] if isinstance(value, list) else int(value)
        elif key in inner and not inner[key].GetOptions().map_entry:
            parts = value if isinstance(value, list) else [value]
            made = [_plain(part, inner[key]) for part in parts]
            plain[key] = made if isinstance(value, list) else made[0]
        else:
            plain[key] = value
    return plain


def _type(proto: Any, tensor: Tensor) -> int:  # noqa: ANN401
    return int(getattr(proto, f"TYPE_{tensor.datatype}"))
