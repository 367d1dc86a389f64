"""Requests as bytes, made once before anything is timed, and what is in an answer.

Imports NumPy and the standard library alone; tritonclient's messages where gRPC is spoken.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segbench.volume import Float32

Array = npt.NDArray[np.generic]
Parameter = str | bool | int
TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1"), "INT32": np.dtype("<i4")}
IMAGE = "image"
LENGTH = "inference-header-content-length"
METHOD = "/inference.GRPCInferenceService/ModelInfer"


def http_json(
    port: int, model: str, image: Float32, parameters: Mapping[str, Parameter], outputs: Sequence[str]
) -> bytes:
    """A whole HTTP request with the image as JSON, its answer as JSON too.

    Args:
        port: Of the server on loopback.
        model: Its name.
        image: Grey values [N, 1, Z, Y, X].
        parameters: Of the request.
        outputs: Names that are wanted.
    """
    tensor = {"name": IMAGE, "shape": list(image.shape), "datatype": "FP32", "data": image.ravel().tolist()}
    asked = _asked(parameters, tensor, outputs)
    return _http(port, model, json.dumps(asked, separators=(",", ":")).encode(), b"", "application/json")


def http_binary(
    port: int, model: str, image: Float32, parameters: Mapping[str, Parameter], outputs: Sequence[str]
) -> bytes:
    """The same with the image and the answer as raw bytes after the JSON."""
    raw = image.astype("<f4").tobytes()
    tensor = {
        "name": IMAGE, "shape": list(image.shape), "datatype": "FP32", "parameters": {"binary_data_size": len(raw)},
    }  # fmt: skip
    asked = _asked({**parameters, "binary_data_output": True}, tensor, outputs)
    return _http(port, model, json.dumps(asked, separators=(",", ":")).encode(), raw, "application/octet-stream")


def _asked(parameters: Mapping[str, Parameter], tensor: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    wanted = [{"name": name} for name in outputs]
    return {"parameters": dict(parameters), "inputs": [tensor]} | ({"outputs": wanted} if wanted else {})


def _http(port: int, model: str, head: bytes, raw: bytes, kind: str) -> bytes:
    lines = [
        f"POST /v2/models/{model}/infer HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Type: {kind}",
        f"Content-Length: {len(head) + len(raw)}", "Accept-Encoding: identity",
    ]  # fmt: skip
    if raw:
        lines.append(f"Inference-Header-Content-Length: {len(head)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + head + raw


def grpc_raw(model: str, image: Float32, parameters: Mapping[str, Parameter], outputs: Sequence[str]) -> bytes:
    """A ModelInferRequest with the image as raw bytes, as it goes over the wire."""
    from tritonclient.grpc import service_pb2

    asked = service_pb2.ModelInferRequest(model_name=model)
    for name, value in parameters.items():
        fields = {bool: "bool_param", int: "int64_param", str: "string_param"}
        setattr(asked.parameters[name], fields[type(value)], value)
    asked.inputs.add(name=IMAGE, datatype="FP32", shape=image.shape)
    for name in outputs:
        asked.outputs.add(name=name)
    asked.raw_input_contents.append(image.astype("<f4").tobytes())
    return bytes(asked.SerializeToString())


def http_arrays(headers: Mapping[str, str], body: bytes) -> dict[str, Array]:
    """Outputs of an answer, by name.

    Args:
        headers: Of the answer, names in lower case.
        body: Of the answer.
    """
    length = int(headers.get(LENGTH, len(body)))
    said, at = json.loads(body[:length]), length
    found: dict[str, Array] = {}
    for output in said["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        kind = TYPES[output["datatype"]]
        if size is None:
            flat: Array = np.asarray(output["data"], dtype=kind)
        else:
            flat, at = np.frombuffer(body[at : at + size], kind), at + size
        found[output["name"]] = flat.reshape(output["shape"])
    return found


def grpc_arrays(message: bytes) -> dict[str, Array]:
    """The same of a ModelInferResponse, its tensors raw or not."""
    from tritonclient.grpc import service_pb2

    said: Any = service_pb2.ModelInferResponse.FromString(message)
    found: dict[str, Array] = {}
    for number, output in enumerate(said.outputs):
        kind = TYPES[output.datatype]
        if said.raw_output_contents:
            flat: Array = np.frombuffer(said.raw_output_contents[number], kind)
        else:
            flat = np.asarray(output.contents.fp32_contents or output.contents.uint_contents, dtype=kind)
        found[output.name] = flat.reshape(tuple(output.shape))
    return found
