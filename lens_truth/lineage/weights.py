"""`weights`: how much of each head a descendant keeps, in its four matrices and in the circuits that they form, and
whether heads with high scores keep more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.lineage.kept import WeightSimilarity
from lens_truth.models.checkpoint import Checkpoint, Side, open_checkpoint
from lens_truth.models.structure import Heads


def weight_similarity(
    base: str | Path, child: str | Path, *, trust_remote_code: bool = False, progress: bool = False
) -> WeightSimilarity:
    """Compares the attention weights of two models of one shape: an LLM, or the language tower inside a multimodal
    model, each by Hugging Face id, folder, GGUF file or `zoo:NAME`. Cosines are from -1 to 1, and 1 where nothing was
    changed.

    Weights are read layer by layer from safetensors files: in memory are never more than two projections of one layer
    of each model. The circuits, d_model x d_model but of rank d_head, are never formed:
    <A^T B, C^T D> = sum((A C^T) * (B D^T)), in d_head x d_head (circuits: Elhage et al. 2021). A change of basis inside
    the head changes W_Q, W_K, W_V and W_O, but not them. Biases and norms play no part.

    >>> kept = lens_truth.weight_similarity("zoo:llama-base", "zoo:llama-chat")

    Raises:
        InputError: if a checkpoint cannot be read, or the two have different layers, heads or widths.
    """
    opened = [open_checkpoint(name, trust_remote_code=trust_remote_code) for name in (base, child)]
    return compare_checkpoints(*opened, progress=progress)


@stage("weights")
def compare_checkpoints(base: Checkpoint, child: Checkpoint, *, progress: bool = False) -> WeightSimilarity:
    """`weight_similarity` of opened checkpoints."""
    check_same_heads(base, child)
    digests = hashlib.sha256(), hashlib.sha256()

    def read(layer: int, side: Side) -> Iterator[tuple[Side, Float[Tensor, "out in"]]]:
        for checkpoint, digest in zip((base, child), digests, strict=True):
            weight = checkpoint.projection(layer, side)
            digest.update(weight.view(torch.uint8).numpy().data)
            yield side, weight

    layers = bar(range(base.heads.n_layers), f"weights of {child.name}", shown=progress)
    rows = [_layer(partial(read, layer), base.heads) for layer in layers]
    maps = {part: torch.stack([row[part] for row in rows]).numpy() for part in rows[0]}
    hashes = digests[0].hexdigest()[:16], digests[1].hexdigest()[:16]
    return WeightSimilarity(**maps, n_kv_heads=base.heads.n_kv_heads, hashes=hashes, base=base.name, child=child.name)


def check_same_heads(base: Checkpoint, child: Checkpoint) -> None:
    """Raises an InputError unless both have the same layers, heads and widths."""
    sizes = [
        f"{its.n_layers} layers x {its.n_heads} heads ({its.n_kv_heads} KV heads) of width {its.d_head} on {width}"
        for its, width in ((base.heads, base.d_model), (child.heads, child.d_model))
    ]
    if sizes[0] != sizes[1]:
        said = f"{base.name} {sizes[0]} and {child.name} {sizes[1]}"
        raise InputError(f"the models have different heads, so their weights cannot be compared: {said}")


def _layer(
    read: Callable[[Side], Iterable[tuple[Side, Float[Tensor, "out in"]]]], heads: Heads
) -> dict[str, Float[Tensor, " H"]]:
    maps, change, norm = {}, torch.zeros(()), torch.zeros(())
    pairs: tuple[tuple[Side, Side], ...] = (("q", "k"), ("v", "o"))
    for first, second in pairs:
        weights = [*read(first), *read(second)]
        blocks = zip(*(_block(weights, heads, group) for group in range(heads.n_kv_heads)), strict=True)
        maps[first], maps[second], maps[first + second], distance, size = map(torch.cat, blocks)
        change, norm = change + distance, norm + size
    maps["ov"] = maps.pop("vo")
    return {**maps, "change": torch.where(norm > 0, (change / norm).sqrt(), torch.nan)}


def _block(read: Sequence[tuple[Side, Float[Tensor, "_ _"]]], heads: Heads, group: int) -> list[Float[Tensor, " h"]]:
    """For the heads of one KV group: three cosines, squared distance and squared norm of the base."""
    a, a2, b, b2 = (_cut(weight, side, heads, group) for side, weight in read)
    distance = (a2 - a).square().sum((1, 2)) + (b2 - b).square().sum((1, 2))
    return [*_cosines(a, a2, b, b2), distance, a.square().sum((1, 2)) + b.square().sum((1, 2))]


def _cut(weight: Float[Tensor, "out in"], side: Side, heads: Heads, group: int) -> Float[Tensor, "h d m"]:
    """The query heads of one KV group, which all get its keys and values. In double precision: a fine-tuned head may
    differ from its parent by a thousandth, which a cosine sees in its seventh digit."""
    n, shared = heads.n_heads // heads.n_kv_heads, side in ("k", "v")
    size = heads.d_head if shared else n * heads.d_head
    part = slice(group * size, (group + 1) * size)
    rows = weight[:, part].double().T if side == "o" else weight[part].double()
    return repeat(rows, "d m -> h d m", h=n) if shared else rearrange(rows, "(h d) m -> h d m", h=n)


def _cosines(
    a: Float[Tensor, "h d m"], a2: Float[Tensor, "h d m"], b: Float[Tensor, "h d m"], b2: Float[Tensor, "h d m"]
) -> list[Float[Tensor, " h"]]:
    """Of a and a2, of b and b2, and of the circuits A^T B and A2^T B2."""
    grams = [(_gram(x, y), _gram(z, w)) for x, y, z, w in ((a, a2, b, b2), (a, a, b, b), (a2, a2, b2, b2))]
    products = [(_trace(left), _trace(right), (left * right).sum((1, 2))) for left, right in grams]
    return [(both / (one * other).sqrt()).clamp(-1, 1) for both, one, other in zip(*products, strict=True)]


def _gram(x: Float[Tensor, "h d m"], y: Float[Tensor, "h d m"]) -> Float[Tensor, "h d d"]:
    return einsum(x, y, "h d m, h e m -> h d e")


def _trace(gram: Float[Tensor, "h d d"]) -> Float[Tensor, " h"]:
    return gram.diagonal(dim1=1, dim2=2).sum(-1)
