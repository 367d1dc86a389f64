"""The protocol's protobuf messages: requests of them, and answers in them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from segbench.serve.parameters import asked, check_counts, check_tensor
from segbench.serve.refusal import Refusal
from segbench.serve.request import IMAGE, Answer, Array, Described, Listed, Request
from segbench.serve.settings import Settings
from segbench.serve.tensors import check_bytes, check_size, checked_shape, datatype_of, dtype_of, images_of
from segbench.serve.wire import NAME

Message = Any
"""One of tritonclient's generated classes, which have no types."""
Parsed = TypeVar("Parsed")
TYPED = {
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
"""Which field of `InferTensorContents` holds the values of a datatype; FP16 has none."""
LARGEST = 2**31 - 1
"""Bytes of a message of gRPC."""
_RAW_OUTPUT = bytes([service_pb2.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | 2])


def parse(kind: type[Parsed], data: bytes) -> Parsed:
    """A message out of what came over the wire.

    Raises:
        Refusal: "invalid".
    """
    try:
        return kind.FromString(data)  # type: ignore[attr-defined,no-any-return]
    except DecodeError as error:
        raise Refusal("invalid", "the message is not what this method takes") from error


def request(message: Message, settings: Settings, client: str, until: float) -> Request:
    """What a `ModelInferRequest` asks.

    Args:
        message: As it came.
        settings: For what it leaves open.
        client: Who asks.
        until: `time.monotonic()` after which nobody waits, as far as the call itself says.

    Raises:
        Refusal: "invalid" or "unsupported".
    """
    if max(len(message.id), len(message.model_name), len(message.model_version)) > NAME:
        raise Refusal("invalid", f"an id or name has at most {NAME} characters")
    check_counts(len(message.parameters), len(message.outputs))  # before each is looked at
    for output in message.outputs:
        check_tensor(output.parameters)
    names = [output.name for output in message.outputs]
    told = asked({name: _value(name, choice) for name, choice in message.parameters.items()}, names, settings)
    images, flat = images_of(_image(message, settings.max_request_mib))
    return Request(
        message.model_name, images, message.model_version, told.outputs, told.samples, told.seed, told.invert, flat,
        message.id, client, min(told.deadline, until),
    )  # fmt: skip


def _image(message: Message, most_mib: int) -> Array:
    """The one input, raw or typed, of a checked shape, at most so large as FP32."""
    if len(message.inputs) != 1 or message.inputs[0].name != IMAGE:
        raise Refusal("invalid", f"there must be one input, named {IMAGE!r}")
    tensor, raw = message.inputs[0], message.raw_input_contents
    check_tensor(tensor.parameters)
    dtype, shape = dtype_of(tensor.datatype), checked_shape(list(tensor.shape))
    check_size(shape, most_mib)
    if raw and tensor.HasField("contents"):
        raise Refusal("invalid", f"input {IMAGE!r}: send raw_input_contents or contents, not both")
    if raw:
        if len(raw) != 1:
            raise Refusal("invalid", f"raw_input_contents has {len(raw)} entries for one input")
        content = raw[0]  # a copy: every look at it makes another
        check_bytes(shape, dtype, len(content))
        return np.frombuffer(content, dtype).reshape(shape)
    if (name := TYPED.get(tensor.datatype)) is None:
        raise Refusal("invalid", f"input {IMAGE!r}: {tensor.datatype} goes into raw_input_contents")
    if any(field.name != name for field, _ in tensor.contents.ListFields()):
        raise Refusal("invalid", f"input {IMAGE!r}: values of {tensor.datatype} go into {name}, and nowhere else")
    values = getattr(tensor.contents, name)
    check_bytes(shape, dtype, len(values) * dtype.itemsize)
    try:
        return np.fromiter(values, dtype, len(values)).reshape(shape)
    except OverflowError as error:
        raise Refusal("invalid", f"input {IMAGE!r}: a value is beyond the range of {tensor.datatype}") from error


def _value(name: str, choice: Message) -> object:
    kind = choice.WhichOneof("parameter_choice")
    if kind is None:
        raise Refusal("invalid", "a parameter has no value")
    return getattr(choice, kind)


def response(answer: Answer, id_: str) -> bytes:
    """A `ModelInferResponse` as it goes over the wire, its outputs raw.

    Raises:
        Refusal: "too large", for what no message of gRPC holds.
    """
    message = service_pb2.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=id_)
    for key, value in answer.parameters.items():
        setattr(message.parameters[key], _choice(value), value)
    pieces: list[bytes | memoryview] = [b""]
    for name, array in answer.outputs.items():
        message.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        whole = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        pieces += [_RAW_OUTPUT, _varint(whole.nbytes), whole.reshape(-1).data.cast("B")]
    # Written by hand behind what protobuf wrote: fields may come in any order, and the message's own way would copy
    # every tensor three times over where a join copies it once.
    pieces[0] = message.SerializeToString()
    if sum(len(piece) for piece in pieces) > LARGEST:
        raise Refusal("too large", "the answer is beyond 2 GiB, the most of gRPC: ask for fewer outputs, or over HTTP")
    return b"".join(pieces)


def _choice(value: str | bool | int | float) -> str:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    return kinds[type(value)]


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def metadata(described: Described) -> Message:
    """A `ModelMetadataResponse`."""
    message = service_pb2.ModelMetadataResponse(
        name=described.name, versions=described.versions, platform=described.platform
    )
    for there, tensors in ((message.inputs, described.inputs), (message.outputs, described.outputs)):
        for tensor in tensors:
            there.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return message


def statistics(found: Sequence[Mapping[str, Any]]) -> Message:
    """A `ModelStatisticsResponse`."""
    told = {"model_stats": list(found)}
    return json_format.ParseDict(told, service_pb2.ModelStatisticsResponse(), ignore_unknown_fields=True)


def index(listed: Sequence[Listed], only_ready: bool) -> Message:
    """A `RepositoryIndexResponse`."""
    message = service_pb2.RepositoryIndexResponse()
    for model in listed:
        if model.state == "READY" or not only_ready:
            message.models.add(name=model.name, version=model.version, state=model.state, reason=model.reason)
    return message
