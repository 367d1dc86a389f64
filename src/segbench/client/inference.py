"""One image to a server, and what it answers."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from segbench.client.server import Reply, Server, refused
from segbench.errors import InputError, RemoteError

Array = npt.NDArray[Any]
DATATYPES = {
    "u1": "UINT8", "u2": "UINT16", "u4": "UINT32", "u8": "UINT64", "i1": "INT8", "i2": "INT16", "i4": "INT32",
    "i8": "INT64", "f2": "FP16", "f4": "FP32", "f8": "FP64",
}  # fmt: skip
"""By NumPy's names: what is sent as it is."""
PARTS = ("probabilities", "samples")
"""Outputs that have a plane for each class or sample."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""Of an output."""
AGAIN = (429, 503)
SHORTEST_S = 0.1
"""Between two tries, whatever the server says."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a server made of an image.

    Attributes:
        model: Its name.
        version: That answered.
        parameters: What else the server says: "segbench_samples", "segbench_seed", perhaps "segbench_warnings".
        outputs: By name, each of the image's shape and read-only; "probabilities" (K, …) and "samples" (T, …) have an
            axis more.
    """

    model: str
    version: str
    parameters: Mapping[str, str | bool | int | float]
    outputs: Mapping[str, Array]


def infer(
    url: str,
    model: str,
    image: Array,
    samples: int | None = None,
    seed: int = 0,
    outputs: Sequence[str] = (),
    token: str | None = None,
    timeout: float = 300.0,
    *,
    version: str = "",
    invert: bool = False,
    wait: float = 0.0,
    authority: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Answer:
    """Asks a server to segment an image, which is sent whole.

    Args:
        url: Of the server, such as "http://127.0.0.1:8000".
        model: Its name.
        image: Grey values (Z, Y, X), or (Y, X); integers and floats are sent as they are.
        samples: Monte-Carlo samples T; the server's own number by default.
        seed: Of their masks.
        outputs: Names, in order; by default labels, probability, entropy and mutual_information.
        token: Where the server asks for one.
        timeout: Seconds that connecting, sending and waiting may take, each.
        version: Of the model; its newest by default.
        invert: Segment the negative.
        wait: Seconds for which a server that is busy is asked again, after as long as it says; 0: it is asked once.
        authority: See `Server`.
        certificate: See `Server`.
        key: See `Server`.

    Raises:
        InputError: The image or the address cannot be used.
        RemoteError: The server cannot be reached, or refuses: its own line.
    """
    server = Server(url, token, timeout, authority, certificate, key)
    parameters: dict[str, object] = {"binary_data_output": True, "segbench_seed": seed, "segbench_invert": invert}
    if samples is not None:
        parameters["segbench_samples"] = samples
    pixels, datatype = _sent(image)
    given = {
        "name": "image", "shape": [1, 1, *pixels.shape], "datatype": datatype,
        "parameters": {"binary_data_size": pixels.nbytes},
    }  # fmt: skip
    asked: dict[str, object] = {"inputs": [given], "parameters": parameters}
    if outputs:
        asked["outputs"] = [{"name": name} for name in outputs]
    head = json.dumps(asked).encode()
    path = (
        f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "") + "/infer"
    )
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    end = time.monotonic() + wait
    while True:
        reply = server.ask("POST", path, [head, pixels.reshape(-1).data.cast("B")], headers)
        if reply.status == 200:
            return _answer(reply, server.url)
        error = refused(reply, server.url)
        pause = max(SHORTEST_S, error.retry_after or 0.0)
        if reply.status not in AGAIN or time.monotonic() + pause > end:
            raise error
        time.sleep(pause)


def _sent(image: Array) -> tuple[Array, str]:
    """The image, contiguous and little-endian, and its datatype."""
    pixels = np.asarray(image)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    datatype = DATATYPES.get(pixels.dtype.str[1:])
    if datatype is None:
        raise InputError(f"an image of {pixels.dtype} cannot be sent: make it uint8, uint16 or float32")
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise InputError(f"an image of shape {pixels.shape} cannot be sent: give (Z, Y, X) or (Y, X), not empty")
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")), datatype


def _answer(reply: Reply, where: str) -> Answer:
    """Reads JSON and the raw tensors behind it.

    Raises:
        RemoteError: It is not what the protocol says.
    """
    try:
        length = int(reply.headers["inference-header-content-length"])
        told = json.loads(reply.body[:length])
        outputs, start = {}, length
        for output in told["outputs"]:
            if NAME.fullmatch(output["name"]) is None:  # it may become the name of a file
                raise ValueError
            size, shape = int(output["parameters"]["binary_data_size"]), output["shape"]
            dtype = np.dtype({name: code for code, name in DATATYPES.items()}[output["datatype"]]).newbyteorder("<")
            if min(size, *shape) < 0 or prod(shape) * dtype.itemsize != size:
                raise ValueError
            values = np.frombuffer(reply.body, dtype, prod(shape), start).reshape(shape)
            start += size
            outputs[output["name"]] = values[0] if output["name"] in PARTS else values[0, 0]
        return Answer(told["model_name"], told.get("model_version", ""), told.get("parameters", {}), outputs)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise RemoteError(f"{where}: the answer is not what Open Inference Protocol v2 says", reply.status) from error
