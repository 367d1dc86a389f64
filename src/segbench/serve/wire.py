"""The body of an inference and of its answer: JSON, with tensors in it or raw behind it.

{"id", "parameters", "inputs": [{"name", "shape", "datatype", "parameters", "data"}], "outputs": [...]}
raw little-endian tensors in the order of those with parameters.binary_data_size
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from segbench.serve.outputs import DEFAULT, SAMPLE_LABELS
from segbench.serve.parameters import Asked, asked, check_tensor
from segbench.serve.refusal import Refusal
from segbench.serve.request import IMAGE, Answer, Array, Request
from segbench.serve.settings import Settings
from segbench.serve.tensors import check_bytes, check_size, checked_shape, datatype_of, dtype_of, images_of

SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
TEXT = 64 * 2**20
"""Most bytes of JSON: parsing holds the interpreter, and a number takes some ten times the memory that it has raw."""
ANSWER = 2**24
"""Most numbers of an answer as JSON: their text takes several times the memory that they have raw."""
NUMBERS = 2**16
"""That are written as JSON at a time, so that other threads get their turn between."""
NAME = 256
"""Most characters of an id or name."""


@dataclass(frozen=True)
class Form:
    """How an answer is to be written: which outputs raw, by name, and the others."""

    binary: Mapping[str, bool]
    otherwise: bool


def decode(
    body: memoryview, header: int | None, model: str, version: str, client: str, settings: Settings
) -> tuple[Request, Form]:
    """Reads an inference.

    Args:
        body: Whole and decompressed; the request's images may look into it.
        header: Bytes of its JSON; None for all of them.
        model: Of the address, as are `version` and `client`.
        version: Empty for the newest.
        client: Who asks.
        settings: For what the request leaves open, and limits.

    Raises:
        Refusal: "invalid" or "too large".
    """
    length = len(body) if header is None else header
    if length > len(body):
        raise Refusal("invalid", f"Inference-Header-Content-Length says {length} bytes, the body has {len(body)}")
    if length > TEXT:
        raise Refusal("too large", f"{length} bytes of JSON, at most {TEXT}: send tensors in binary")
    told = _record(_parse(body[:length]), "the request")
    outputs = [_record(item, "an output") for item in _list(told, "outputs")]
    names = [_text(output, "name", "an output") for output in outputs]
    parameters = _record(told.get("parameters", {}), "parameters")
    flags = {name: _flag(_kept(output), BINARY) for name, output in zip(names, outputs, strict=True)}
    form = Form({name: flag for name, flag in flags.items() if flag is not None}, bool(_flag(parameters, ALL_BINARY)))
    wanted = asked(parameters, names, settings)
    images, flat = images_of(_input(told, body[length:], settings.max_request_mib))
    _check_text(wanted, form, images.size)
    request = Request(
        model, images, version, wanted.outputs, wanted.samples, wanted.seed, wanted.invert, flat,
        _text(told, "id", "the request", optional=True), client, wanted.deadline,
    )  # fmt: skip
    return request, form


def _check_text(wanted: Asked, form: Form, voxels: int) -> None:
    """Whether the answer is not too much to be written as JSON, before it is computed.

    Raises:
        Refusal: "too large".
    """
    written = [name for name in wanted.outputs or DEFAULT if not form.binary.get(name, form.otherwise)]
    numbers = voxels * sum(max(1, wanted.samples) if name == SAMPLE_LABELS else 1 for name in written)
    if numbers > ANSWER:
        raise Refusal("too large", f"{numbers} numbers as JSON, at most {ANSWER}: ask for fewer, or {ALL_BINARY}")


def _kept(tensor: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a tensor, none of which leads away from it."""
    parameters = _record(tensor.get("parameters", {}), "a tensor's parameters")
    check_tensor(parameters)
    return parameters


def _input(told: Mapping[str, Any], raw: memoryview, most_mib: int) -> Array:
    """The one input, as its datatype and shape say, at most so large as FP32."""
    inputs = _list(told, "inputs")
    if len(inputs) != 1:
        raise Refusal("invalid", f"the request has {len(inputs)} inputs, and must have one, {IMAGE!r}")
    given = _record(inputs[0], "an input")
    if (name := _text(given, "name", "an input")) != IMAGE:
        raise Refusal("invalid", f"there is no input {name[:64]!r}; there is {IMAGE!r}")
    dtype = dtype_of(given.get("datatype"))
    shape = checked_shape(_list(given, "shape"))
    size = _kept(given).get(SIZE)
    if size is None:
        if len(raw):
            raise Refusal("invalid", f"{len(raw)} bytes follow the JSON, and no input has {SIZE}")
        return _numbers(_list(given, "data"), shape, dtype)
    if type(size) is not int or size != len(raw) or "data" in given:
        raise Refusal("invalid", f"{len(raw)} bytes follow the JSON: {SIZE} must say so, and there be no data in it")
    check_bytes(shape, dtype, len(raw))
    check_size(shape, most_mib)
    return np.frombuffer(raw, dtype).reshape(shape)


def _numbers(data: list[Any], shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Array:
    """A tensor of JSON numbers, nested or flat, row-major."""
    if dtype == np.float16:
        raise Refusal("invalid", "FP16 cannot travel as JSON; send it in binary, or as FP32")
    if data and isinstance(data[0], list):
        level: list[Any] = [data]
        for extent in shape:
            if any(type(part) is not list or len(part) != extent for part in level):
                raise Refusal("invalid", f"input {IMAGE!r}: the data is not nested as its shape says")
            level = list(chain.from_iterable(level))
        data = level
    if len(data) != prod(shape):
        raise Refusal("invalid", f"input {IMAGE!r}: {len(data)} numbers came, its shape makes {prod(shape)}")
    exact = "d" if dtype.kind == "f" else "Q" if dtype == np.uint64 else "q"
    try:
        values = np.frombuffer(array(exact, data), exact)
    except (TypeError, OverflowError) as error:  # unlike NumPy's, array's constructor takes no texts
        raise Refusal("invalid", f"input {IMAGE!r}: the data holds what is no number of its datatype") from error
    if dtype.kind != "f" and not np.array_equal(values, values.astype(dtype)):
        raise Refusal("invalid", f"input {IMAGE!r}: a number is out of the range of its datatype")
    return values.reshape(shape)


def encode(answer: Answer, form: Form, id_: str) -> tuple[list[bytes | memoryview], int | None]:
    """Writes an answer: the chunks of its body, and the bytes of its JSON where raw tensors follow."""
    told: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if id_:
        told["id"] = id_
    if answer.parameters:
        told["parameters"] = dict(answer.parameters)
    head: list[bytes | memoryview] = [to_json(told)[:-1], b',"outputs":[']
    tail: list[bytes | memoryview] = []
    for number, (name, output) in enumerate(answer.outputs.items()):
        described: dict[str, Any] = {"name": name, "datatype": datatype_of(output), "shape": output.shape}
        little = np.ascontiguousarray(output, output.dtype.newbyteorder("<"))
        if form.binary.get(name, form.otherwise):
            described["parameters"] = {SIZE: little.nbytes}
            tail.append(memoryview(little.reshape(-1).view(np.uint8).data))
            head.append(b"," * (number > 0) + to_json(described))
        else:
            head += [b"," * (number > 0) + to_json(described)[:-1], b',"data":[', *_written(little.reshape(-1)), b"]}"]
    head.append(b"]}")
    if not tail:
        return head, None
    return [*head, *tail], sum(len(chunk) for chunk in head)


def _written(values: Array) -> list[bytes | memoryview]:
    """Numbers with commas between them; what is no number as JSON's usual extension, NaN."""
    parts: list[bytes | memoryview] = []
    for start in range(0, values.size, NUMBERS):
        text = to_json(values[start : start + NUMBERS].tolist(), inf_nan_mode="constants")
        parts += [b","] * (start > 0) + [memoryview(text)[1:-1]]
    return parts


def parsed(body: memoryview, what: str) -> dict[str, Any]:
    """A small JSON body of another request; empty for none."""
    return _record(_parse(body), what) if len(body) else {}


def _parse(body: memoryview) -> object:
    try:
        return from_json(bytes(body))
    except ValueError as error:
        # what the parser says holds a position and nothing of the body
        raise Refusal("invalid", f"the body is not JSON: {str(error)[:120]}") from error


def _record(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal("invalid", f"{what} must be a JSON object")
    return value


def _list(told: Mapping[str, Any], key: str) -> list[Any]:
    value = told.get(key, [])
    if not isinstance(value, list):
        raise Refusal("invalid", f"{key} must be a list")
    return value


def _text(told: Mapping[str, Any], key: str, what: str, optional: bool = False) -> str:
    value = told.get(key, "" if optional else None)
    if not isinstance(value, str) or len(value) > NAME or not (value or optional):
        raise Refusal("invalid", f"the {key} of {what} must be a text of at most {NAME} characters")
    return value


def _flag(parameters: Mapping[str, Any], key: str) -> bool | None:
    value = parameters.get(key)
    if not isinstance(value, bool | None):
        raise Refusal("invalid", f"{key} must be true or false")
    return value
