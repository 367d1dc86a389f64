"""Channel dropout as data: the masks of Monte-Carlo sample t, made by exact integer arithmetic.

One sample is one network: its masks depend on (seed, sample, site, channel) and on nothing else, so every tile,
worker, machine and engine computes the same thinned network. A balanced Feistel cipher over pairs (left, right) of
residues modulo the prime P = 2039 permutes P² inputs:

    left, right  ->  right, (left + (right + key_i)³) mod P          eight rounds

Cubing is a bijection because 3 does not divide P - 1, and no intermediate value reaches 2²³, so int32 in a graph,
int64 in NumPy and even float32 emulation agree bit for bit. A permutation never repeats a value: no ties to break.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from segbench.errors import InputError
from segbench.recipe import Strict

P = 2039
ROUNDS = 8
SEEDS = 2**31
SAMPLES = P * P
KEY_STREAMS = (577, 1201)  # two draws of two residues make the four keys of a sample
WHOLE = 1.0  # a column of an element-wise site that says: nothing is dropped; keys are the residues from 2 up
KEYS = 4  # columns of an element-wise site
ROUND_STEP = 389  # the same key never meets the same round constant twice

Int = npt.NDArray[np.int64]


class Site(Strict):
    """A place in a network where channels are dropped.

    Attributes:
        name: As in the card, such as "up2".
        channels: Channels that there are; of kind "element" the four columns of its keys.
        kept: For kinds "fixed" and "balanced": how many of them a sample keeps, exactly.
        keep_probability: For kinds "bernoulli" and "element": the probability that a channel, or an element, is kept,
            independently.
        kind: "fixed" keeps the `kept` channels with the smallest values; "balanced" deals all channels out to
            channels / kept samples in turn, so that together these keep each channel once (of half of the channels:
            complementary pairs); "bernoulli" thresholds the same values. "element" drops single elements of a tensor,
            not channels: the network draws them itself, from keys that are its columns (`nets.elementwise`).
    """

    name: str
    channels: int = Field(ge=1, lt=P)
    kind: Literal["fixed", "balanced", "bernoulli", "element"] = "fixed"
    kept: int | None = Field(default=None, ge=1)
    keep_probability: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Site":
        drawn = self.kind in ("bernoulli", "element")
        if not drawn and (self.kept is None or self.kept > self.channels or self.keep_probability):
            raise ValueError(f"a {self.kind} site states `kept`, at most its channels, and no keep_probability")
        if self.kind == "balanced" and self.channels % (self.kept or 1):
            raise ValueError(f"a balanced site keeps a divisor of its channels, not {self.kept} of {self.channels}")
        if drawn and (self.keep_probability is None or self.kept is not None):
            raise ValueError(f"a {self.kind} site states `keep_probability` and not `kept`")
        if self.kind == "element" and self.channels != KEYS:
            raise ValueError(f"an element site has {KEYS} columns, not {self.channels}")
        return self

    @property
    def share(self) -> float:
        """Of its channels that a sample keeps; of a bernoulli site the expected one."""
        return self.keep_probability or (self.kept or 1) / self.channels

    @property
    def hands(self) -> int:
        """Samples among which all channels are dealt out; 1 where each sample draws for itself."""
        return self.channels // (self.kept or 1) if self.kind == "balanced" else 1


def permute(left: Int, right: Int, keys: Sequence[Int]) -> tuple[Int, Int]:
    """Eight Feistel rounds over residues modulo P; arrays broadcast, `keys` are used in turn."""
    for i in range(ROUNDS):
        mixed = (right + keys[i % len(keys)] + i * ROUND_STEP) % P
        cube = (mixed * mixed % P) * mixed % P
        left, right = right, (left + cube) % P
    return left, right


def sample_keys(seed: int, samples: Sequence[int]) -> Int:
    """Keys [T, 4] of residues for the given samples: all that a graph needs to draw the same masks.

    Args:
        seed: Any integer in [0, 2³¹).
        samples: Sample numbers t in [0, P²).
    """
    if not 0 <= seed < SEEDS:
        raise InputError(f"seed {seed} is outside 0 to {SEEDS - 1}")
    t = np.asarray(samples, dtype=np.int64)
    if t.size == 0 or t.min() < 0 or t.max() >= SAMPLES:
        raise InputError(f"samples must be numbers from 0 to {SAMPLES - 1}, at least one")
    digits = [np.int64(seed % P), np.int64(seed // P % P), np.int64(seed // (P * P))]
    pairs = [permute(t % P, t // P, [*(np.asarray(d) for d in digits), np.asarray(c)]) for c in KEY_STREAMS]
    return np.stack([value for pair in pairs for value in pair], axis=1)


def values(seed: int, samples: Sequence[int], site: int, channels: int) -> Int:
    """Distinct pseudo-random integers [T, channels] in [0, P²) for site number `site`."""
    keys = sample_keys(seed, samples)
    left, right = permute(
        np.full((1, channels), site, dtype=np.int64),
        np.arange(channels, dtype=np.int64)[None],
        [keys[:, i, None] for i in range(keys.shape[1])],
    )
    return left * P + right


def kept(site: Site, number: int, seed: int, samples: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which channels each sample keeps at `site`, the `number`-th of its network: bool [T, channels]."""
    count, hands = site.kept or 1, site.hands
    drawn = values(seed, [t // hands for t in samples], number, site.channels)
    if site.kind != "bernoulli":
        rank = drawn.argsort(axis=1).argsort(axis=1)
        return np.asarray(rank // count == np.array([[t % hands] for t in samples]))
    return np.asarray(drawn < round((site.keep_probability or 0) * P * P))


def masks(sites: Sequence[Site], seed: int, samples: Sequence[int]) -> npt.NDArray[np.float32]:
    """The graph's input `masks` [T, sum of channels]: kept channels hold 1 / keep probability, the others 0.

    The columns of an element-wise site hold keys, integers from 2 to P + 1.
    """
    parts: list[npt.NDArray[Any]] = []
    for number, site in enumerate(sites):
        if site.kind == "element":
            parts.append(values(seed, samples, number, KEYS) // P + 2)
            continue
        parts.append(kept(site, number, seed, samples) / np.float32(site.share))
    return np.concatenate(parts, axis=1).astype(np.float32)


def ones(sites: Sequence[Site]) -> npt.NDArray[np.float32]:
    """The masks [1, sum of channels] of the deterministic twin."""
    return np.ones((1, sum(site.channels for site in sites)), dtype=np.float32)
