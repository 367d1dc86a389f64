"""Bodies that are compressed for the way: gzip, and deflate, which in HTTP means zlib's format."""

import zlib
from collections.abc import Callable, Iterable

from segbench.serve.refusal import Refusal

CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window bits, which tell the formats apart."""
STEP = 2**20
"""Bytes that are inflated at a time, at most, and"""
PIECE = 2**14
"""of how many compressed ones: zlib copies what it has not come to at every step, and at every end of a member."""
MEMBERS = 2**14
"""That a gzip body may have: those of a block gzip hold 64 KiB each, and one that holds nothing costs time, too."""
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
        reserve: Is told of bytes as they are made; may refuse.

    Raises:
        Refusal: "too large", or "invalid" for what is damaged, cut off or has something behind it.
    """
    plain, at, members = bytearray(), 0, 0
    try:
        while at < len(body):  # a gzip body may have several members
            machine, rest = zlib.decompressobj(CODINGS[coding]), b""
            members += 1
            if members > (MEMBERS if coding != "deflate" else 1):
                raise Refusal("invalid", f"something follows the {coding} body")
            while not machine.eof:
                if not rest:
                    rest, at = bytes(body[at : at + PIECE]), min(at + PIECE, len(body))
                came = len(rest)
                part = machine.decompress(rest, STEP)
                rest = machine.unconsumed_tail
                if not (part or came or machine.eof):
                    raise Refusal("invalid", f"the {coding} body ends too early")
                if len(plain) + len(part) > limit:
                    raise Refusal("too large", f"the body is more than {limit} bytes when decompressed")
                reserve(len(part))
                plain += part
            at -= len(machine.unused_data)
    except zlib.error as error:
        raise Refusal("invalid", f"the body is not {coding}") from error
    return memoryview(plain)


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
