"""How GGUF's formats hold a block of weights, and how a block is multiplied by a factor without a look at its weights.

A weight is `d * s * q`, or `d * s * q - e * m` with a least value (elsewhere `+ e`): q is its code, d and e are float16
numbers of the block, s and m small integers of a part of it (K-quants; 1 elsewhere). So a block times a factor is d and
e times it, which float16 rounds once. Where parts want factors of their own, s and m are chosen anew, and codes stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

Bits = Sequence[tuple[int, int, int]]
"""Where an integer lies, its lowest bits first: byte, first bit in it, how many bits."""
Blocks = UInt8[np.ndarray, "... bytes"]
_TRIED = 32
"""Integers of each sign that the largest part of a block is tried with."""


@dataclass(frozen=True)
class Format:
    """One of GGML's formats of blocks."""

    scales: tuple[int, ...]
    """Bytes at which d and, if there is one, e begin."""
    reach: float
    """How many steps of its part the code furthest from 0 stands for."""
    steps: Sequence[Bits] = ()
    """The integers s of the block's parts."""
    least: Sequence[Bits] = ()
    """The integers m."""
    zero: int = 0
    """What is stored for an s of 0: then there are negative ones."""
    flip: int = 0
    """Bits of s that are stored the other way round."""

    @property
    def fields(self) -> list[tuple[int, Sequence[Bits]]]:
        """Each float16 number with the integers that it is multiplied by."""
        return list(zip(self.scales, (self.steps, self.least), strict=False))


_Q4_K = [[(4 + i, 0, 6)] for i in range(4)] + [[(12 + i, 0, 4), (4 + i, 6, 2)] for i in range(4)]
_Q4_K_LEAST = [[(8 + i, 0, 6)] for i in range(4)] + [[(12 + i, 4, 4), (8 + i, 6, 2)] for i in range(4)]
_Q3_K = [[(96 + i % 8, i // 8 * 4, 4), (104 + i % 4, i // 4 * 2, 2)] for i in range(16)]
_IQ4_XS = [[(4 + i // 2, i % 2 * 4, 4), (2 + i // 4, i % 4 * 2, 2)] for i in range(8)]

FORMATS = {
    "Q4_0": Format((0,), 8),
    "Q4_1": Format((0, 2), 15),
    "Q5_0": Format((0,), 16),
    "Q5_1": Format((0, 2), 31),
    "Q8_0": Format((0,), 127),
    "Q2_K": Format((80, 82), 3, [[(i, 0, 4)] for i in range(16)], [[(i, 4, 4)] for i in range(16)]),
    "Q3_K": Format((108,), 4, _Q3_K, zero=32),
    "Q4_K": Format((0, 2), 15, _Q4_K, _Q4_K_LEAST),
    "Q5_K": Format((0, 2), 31, _Q4_K, _Q4_K_LEAST),
    "Q6_K": Format((208,), 32, [[(192 + i, 0, 8)] for i in range(16)], zero=128, flip=128),
    "IQ4_NL": Format((0,), 12.7),
    "IQ4_XS": Format((0,), 12.7, _IQ4_XS, zero=32),
    "IQ3_S": Format((0,), 7.5),
    "IQ3_XXS": Format((0,), 7.75),
    "IQ2_S": Format((0,), 2.5),
    "IQ2_XS": Format((0,), 2.5),
    "IQ2_XXS": Format((0,), 2.5),
    "IQ1_S": Format((0,), 1),
    "TQ1_0": Format((52,), 1),
    "TQ2_0": Format((64,), 1),
}
"""Those whose scale is a float16 number. MXFP4 has powers of two only, IQ1_M a number in pieces."""


def scaled_blocks(blocks: Blocks, how: Format, factor: Float[np.ndarray, "... weights"]) -> Blocks | None:
    """The blocks with each weight times its factor, their codes as they are; None if the format cannot: two factors
    where there is one scale, or factors of both signs where parts have no sign."""
    scaled = blocks.copy()
    one = (factor == factor[..., :1]).all(-1)
    for at, _ in how.fields:
        _put(scaled, at, _scale(blocks, at) * factor[..., :1])
    if one.all():
        return scaled
    if not how.steps:
        return None
    parts = factor.reshape(*factor.shape[:-1], len(how.steps), -1)
    signs = how.zero or not ((factor.min(-1) < 0) & (factor.max(-1) > 0)).any()
    if not signs or (parts != parts[..., :1]).any():
        return None
    several = np.broadcast_to(~one, blocks.shape[:-1])
    mixed = blocks[several]
    wanted = np.broadcast_to(parts[..., 0], (*blocks.shape[:-1], len(how.steps)))[several]
    for at, bits in how.fields:
        scale, integers = _nearest(_values(mixed, how, bits) * wanted, _scale(mixed, at), *_limits(how, bits))
        _put(mixed, at, scale)
        _put_integers(mixed, how, bits, integers)
    scaled[several] = mixed
    return scaled


def error_of(
    before: Blocks, after: Blocks, how: Format, factor: Float[np.ndarray, "... weights"]
) -> tuple[Float[np.ndarray, "... parts"], Float[np.ndarray, "... 1"]]:
    """How far each part's outermost weight lies from its product, at most; and half a quantisation step of the product
    (of a block's parts, in the mean square)."""
    factor = factor[..., :: factor.shape[-1] // max(1, len(how.steps))]
    off = np.zeros(())
    for (at, bits), reach in zip(how.fields, (how.reach, 1), strict=False):
        old, new = (_scale(blocks, at) * _values(blocks, how, bits) for blocks in (before, after))
        off = off + reach * abs(new - old * factor)
    at, bits = how.fields[0]
    step = _scale(before, at) * _values(before, how, bits) * factor
    return off, np.sqrt((step**2).mean(-1, keepdims=True)) / 2


def _nearest(
    wanted: Float[np.ndarray, "n parts"], own: Float[np.ndarray, "n 1"], low: int, high: int
) -> tuple[Float[np.ndarray, "n 1"], Int[np.ndarray, "n parts"]]:
    """For each row the scale and the integers whose products lie nearest to `own * wanted`; among those that are tried
    is the row's own scale, with which heads that are only removed leave the others exactly as they are."""
    outermost = np.take_along_axis(wanted, abs(wanted).argmax(-1)[:, None], -1)
    best = np.full((len(wanted), 1), np.inf)
    scale, integers = own, np.zeros(wanted.shape, np.int64)
    among = (*range(max(1, high + 1 - _TRIED), high + 1), *range(low, min(0, low + _TRIED)))
    for tried in (own, *(own * outermost / k for k in among)):
        tried = tried.astype(np.float16).astype(np.float64)
        whole = np.rint(np.divide(own * wanted, tried, out=np.zeros_like(wanted), where=tried != 0)).clip(low, high)
        off = ((tried * whole - own * wanted) ** 2).sum(-1, keepdims=True)
        better = off < best
        best, scale = np.where(better, off, best), np.where(better, tried, scale)
        integers = np.where(better, whole.astype(np.int64), integers)
    return scale, integers


def _scale(blocks: Blocks, at: int) -> Float[np.ndarray, "... 1"]:
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2").astype(np.float64)


def _put(blocks: Blocks, at: int, scale: Float[np.ndarray, "... 1"]) -> None:
    with np.errstate(over="ignore"):  # infinity is refused, with its place, where the error is measured
        blocks[..., at : at + 2] = np.ascontiguousarray(scale.astype("<f2")).view(np.uint8)


def _limits(how: Format, fields: Sequence[Bits]) -> tuple[int, int]:
    zero = how.zero if fields is how.steps else 0
    return -zero, (1 << sum(n for _, _, n in fields[0])) - 1 - zero


def _values(blocks: Blocks, how: Format, fields: Sequence[Bits]) -> Int[np.ndarray, "... parts"]:
    """The parts' integers; 1 in a format without."""
    if not fields:
        return np.ones((*blocks.shape[:-1], 1), np.int64)
    found = np.zeros((*blocks.shape[:-1], len(fields)), np.int64)
    for part, bits in enumerate(fields):
        at = 0
        for byte, bit, n in bits:
            found[..., part] |= (blocks[..., byte].astype(np.int64) >> bit & (1 << n) - 1) << at
            at += n
    return (found ^ how.flip) - how.zero if fields is how.steps else found


def _put_integers(blocks: Blocks, how: Format, fields: Sequence[Bits], integers: Int[np.ndarray, "... parts"]) -> None:
    stored = (integers + how.zero) ^ how.flip if fields is how.steps else integers
    for part, bits in enumerate(fields):
        at = 0
        for byte, bit, n in bits:
            mask = (1 << n) - 1
            kept = blocks[..., byte] & np.uint8(255 - (mask << bit))
            blocks[..., byte] = kept | ((stored[..., part] >> at & mask) << bit).astype(np.uint8)
            at += n
