"""Masks drawn inside a graph: `segbench.masks` once more, in nodes that every runtime computes exactly.

Runtimes differ in what they do to int32 (measured, OpenVINO 2026.4.1 on a processor):
- It adds, subtracts and multiplies in integers but divides, takes remainders and compares in float32, where 2²⁴ + 1 is
  2²⁴. So every number that meets `Div`, `Mod` or `Less` here lies below 2²³, but one: a seed has up to 31 bits. Its
  quotient by P² may come out wrong by one; what then is left of the seed, found in integers, lies between -P² and 2 P²,
  hence below 2²³, and says how to mend it.
- A `Div` that it merges into the node before rounds to the nearest instead of down. So nothing else is divided but
  multiples of the divisor.
"""

from collections.abc import Sequence

import numpy as np
import onnx

from segbench.export.nodes import Nodes
from segbench.masks import KEY_STREAMS, ROUND_STEP, ROUNDS, SAMPLES, P, Site


def draw(add: Nodes, sites: Sequence[Site], seed: str, samples: str, masks: str) -> None:
    """Adds the nodes that make `masks` [T, channels] from `seed` [1] and `samples` [T], int32.

    Where the seed or a sample is outside what `segbench.masks` takes, the sample's masks are NaN.
    """
    number = add("Reshape", samples, add.constant([-1, 1], np.int64))  # [T, 1]
    hands = [site.hands for site in sites]
    columns = np.repeat(hands, [site.channels for site in sites])[None]  # [1, channels]
    dealt = number if set(hands) == {1} else _quotient(add, number, add.constant(columns))
    values = _values(add, sites, _keys(add, seed, dealt))
    parts, first = [], 0
    for site, count in zip(sites, hands, strict=True):
        own = values
        if len(sites) > 1:
            ends = [add.constant([i], np.int64) for i in (first, first + site.channels, 1)]
            own = add("Slice", values, *ends)
        if site.kind == "element":
            keys = add("Add", _quotient(add, own, add.constant(P)), add.constant(2))
            parts.append(add("Cast", keys, to=onnx.TensorProto.FLOAT))
            first += site.channels
            continue
        kept = _kept(add, site, own, add("Mod", number, add.constant(count)) if count > 1 else None)
        held = np.float32(1) / np.float32(site.share)
        parts.append(add("Where", kept, add.constant(held, np.float32), add.constant(0, np.float32)))
        first += site.channels
    drawn = add("Concat", *parts, axis=1)
    outside = add("Or", add("Less", number, add.constant(0)), add("Less", add.constant(SAMPLES - 1), number))
    outside = add("Or", outside, add("Less", seed, add.constant(0)))
    add("Where", outside, add.constant(np.nan, np.float32), drawn, output=masks)


def _quotient(add: Nodes, value: str, divisor: str) -> str:
    return add("Div", add("Sub", value, add("Mod", value, divisor)), divisor)


def _digits(add: Nodes, seed: str) -> list[str]:
    """The seed's three digits to the base P, the lowest first."""
    square = add.constant(P * P)
    high = add("Div", seed, square)
    low = add("Sub", seed, add("Mul", high, square))  # of a quotient that may be wrong by one
    for wrong, mend in ((add("Less", low, add.constant(0)), 1), (add("Less", add.constant(P * P - 1), low), -1)):
        by = add("Mul", add("Cast", wrong, to=onnx.TensorProto.INT32), add.constant(mend))
        high = add("Sub", high, by)
        low = add("Add", low, add("Mul", by, square))
    base = add.constant(P)
    return [add("Mod", low, base), _quotient(add, low, base), high]


def _permute(add: Nodes, left: str, right: str, keys: Sequence[str]) -> tuple[str, str]:
    """See `segbench.masks.permute`."""
    base = add.constant(P)
    for i in range(ROUNDS):
        key = add("Add", keys[i % len(keys)], add.constant(i * ROUND_STEP)) if i else keys[0]
        mixed = add("Mod", add("Add", right, key), base)
        cube = add("Mod", add("Mul", add("Mod", add("Mul", mixed, mixed), base), mixed), base)
        left, right = right, add("Mod", add("Add", left, cube), base)
    return left, right


def _keys(add: Nodes, seed: str, samples: str) -> list[str]:
    """See `segbench.masks.sample_keys`: four of the shape of `samples`, both streams computed as one."""
    base = add.constant(P)
    streams = add.constant(np.reshape(KEY_STREAMS, (2, 1, 1)))
    start = add("Mod", samples, base), _quotient(add, samples, base)
    ends = _permute(add, *start, [*_digits(add, seed), streams])
    return [add("Gather", end, add.constant(stream, np.int64), axis=0) for stream in (0, 1) for end in ends]


def _values(add: Nodes, sites: Sequence[Site], keys: Sequence[str]) -> str:
    """See `segbench.masks.values`: [T, channels], of all sites side by side."""
    numbers = np.repeat(np.arange(len(sites)), [site.channels for site in sites])[None]
    channels = np.concatenate([np.arange(site.channels) for site in sites])[None]
    left, right = _permute(add, add.constant(numbers), add.constant(channels), keys)
    return add("Add", add("Mul", left, add.constant(P)), right)


def _kept(add: Nodes, site: Site, values: str, hand: str | None) -> str:
    """See `segbench.masks.kept`: bool [T, channels]; a rank is how many values are less."""
    if site.kind == "bernoulli":
        return add("Less", values, add.constant(round((site.keep_probability or 0) * P * P)))
    one = add("Unsqueeze", values, add.constant([2], np.int64))  # [T, channels, 1]
    others = add("Unsqueeze", values, add.constant([1], np.int64))  # [T, 1, channels]
    less = add("Cast", add("Less", others, one), to=onnx.TensorProto.INT32)
    rank = add("ReduceSum", less, add.constant([2], np.int64), keepdims=0)
    kept = add.constant(site.kept or 1)
    if hand is None:
        return add("Less", rank, kept)
    first = add("Mul", hand, kept)  # [T, 1]
    return add("And", add("Not", add("Less", rank, first)), add("Less", rank, add("Add", first, kept)))
