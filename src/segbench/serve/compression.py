"""Bodies that are compressed for the way: gzip, and deflate, which in HTTP means zlib's format."""

import zlib
from collections.abc import Callable, Iterable

from segbench.serve.refusal import Refusal

CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window bits, which tell the formats apart."""
STEP = 2**20
"""Bytes that are inflated at a time."""
WORTH = 1024
"""Bytes below which compression costs more than it saves."""
LEVEL = 1
"""The fastest: maps of uncertainty are noise in their low bits, and higher levels gain little."""


def coding_of(content_encoding: str) -> str | None:
    """The one coding of a body; None where it is as it is.

    Raises:
        Refusal: "unsupported".
    """
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        raise Refusal("unsupported", "Content-Encoding must be gzip, deflate or identity")
    return coding


def inflate(body: memoryview, coding: str, limit: int, reserve: Callable[[int], None]) -> memoryview:
    """The body as it was before, refused as soon as it grows beyond `limit` bytes.

    Args:
        body: As it came.
        coding: Of `CODINGS`.
        limit: Most bytes.
        reserve: Is told of bytes before they are made; may refuse.

    Raises:
        Refusal: "too large", or "invalid" for what is damaged, cut off or has something behind it.
    """
    parts: list[bytes] = []
    total, rest = 0, bytes(body)
    try:
        while rest:  # a gzip body may have several members
            machine = zlib.decompressobj(CODINGS[coding])
            while not machine.eof:
                reserve(STEP)
                part = machine.decompress(rest, STEP)
                rest = machine.unconsumed_tail
                if not (part or rest or machine.eof):
                    raise Refusal("invalid", f"the {coding} body ends too early")
                total += len(part)
                if total > limit:
                    raise Refusal("too large", f"the body is more than {limit} bytes when decompressed")
                parts.append(part)
            rest = machine.unused_data
            if rest and coding == "deflate":
                raise Refusal("invalid", "something follows the deflate body")
    except zlib.error as error:
        raise Refusal("invalid", f"the body is not {coding}") from error
    return memoryview(b"".join(parts))


def accepted(accept_encoding: str) -> str | None:
    """The coding that an answer should have; None for none."""
    weights: dict[str, float] = {}
    for item in accept_encoding[:512].lower().split(","):
        name, _, parameter = item.partition(";")
        try:
            weights[name.strip()] = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
    wanted, best = max((weights.get(name, 0.0), name) for name in ("deflate", "gzip"))
    return best if wanted > 0 and wanted >= weights.get("identity", 0.0) else None


def deflate(chunks: Iterable[bytes | memoryview], coding: str) -> list[bytes | memoryview]:
    """The chunks compressed, as chunks."""
    machine = zlib.compressobj(LEVEL, zlib.DEFLATED, CODINGS[coding])
    made: list[bytes | memoryview] = [machine.compress(chunk) for chunk in chunks]
    made.append(machine.flush())
    return [chunk for chunk in made if chunk]
