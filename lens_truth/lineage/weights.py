"""`weights`: how much of each head a descendant keeps, in its four matrices and in the circuits that they form, and
whether heads with high scores keep more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.models.checkpoint import Checkpoint, Side, open_checkpoint
from lens_truth.models.tower import Heads
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Relation, relate
from lens_truth.stats.relations import Relations, relate_measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "q": "cosine of W_Q",
    "k": "cosine of W_K",
    "v": "cosine of W_V",
    "o": "cosine of W_O",
    "qk": "cosine of the QK circuit",
    "ov": "cosine of the OV circuit",
    "change": "relative change",
}
"""The maps of `WeightSimilarity`, and what tables call them."""
CIRCUITS = ("ov", "qk")


@dataclass(frozen=True, eq=False)
class WeightSimilarity(Result):
    """Two models' weights, head by head (L layers x H heads).

    >>> lens_truth.WeightSimilarity.load("runs/weights").plot()
    """

    command = "weights"
    part = "weight_similarity"
    named = True

    q: Float[np.ndarray, "L H"]
    """Cosine of W_Q (d_head x d_model, flattened); k, v and o likewise. Heads of a KV group share k and v."""
    k: Float[np.ndarray, "L H"]
    v: Float[np.ndarray, "L H"]
    o: Float[np.ndarray, "L H"]
    qk: Float[np.ndarray, "L H"]
    """Cosine of the QK circuit W_Q^T W_K (d_model x d_model), before rotary embedding and norms of queries and keys."""
    ov: Float[np.ndarray, "L H"]
    """Cosine of the OV circuit W_O W_V (d_model x d_model)."""
    change: Float[np.ndarray, "L H"]
    """|child - base| / |base| over the head's four matrices together (Frobenius norm)."""
    n_kv_heads: int
    """KV heads a layer, each of which several query heads may share."""
    hashes: tuple[str, str]
    """Of the attention weights of base and child."""
    base: str
    """Its name; of the child likewise."""
    child: str

    def __post_init__(self) -> None:
        if len({getattr(self, measure).shape for measure in MEASURES}) > 1:
            raise InputError("its maps are not of the same heads")

    @property
    def undefined(self) -> int:
        """Heads with a matrix of zeros, for which no cosine is defined: NaN."""
        return int(np.isnan(np.stack(list(self.maps().values()))).any(0).sum())

    def maps(self) -> dict[str, Float[np.ndarray, "L H"]]:
        """Every measure, by the name of its field: `kept.maps()["ov"]`."""
        return {measure: getattr(self, measure) for measure in MEASURES}

    def means(self) -> dict[str, float | None]:
        """Of each measure, over all heads for which it is defined; None if there are none: `kept.means()["ov"]`."""
        return {part: None if np.isnan(m).all() else float(np.nanmean(m)) for part, m in self.maps().items()}

    def tables(self) -> tuple[Table, ...]:
        """The mean of every measure over heads: `kept.tables()[0]`."""
        return (means_table([self]),)

    def plot(self) -> Figure:
        """A map of heads for every measure."""
        from lens_truth.plots.heads import heatmaps  # takes as long as all the rest

        return heatmaps(self.maps(), f"{self.child} against {self.base}, each map in its own range of colours")


def means_table(several: Sequence[WeightSimilarity]) -> Table:
    """What several models keep of one base: the mean of every measure over heads, a column a model."""
    means = [its.means() for its in several]
    rows = (row(title, *(number(its[measure], 4) for its in means)) for measure, title in MEASURES.items())
    return table("Mean over heads", ("mean over heads", *(its.child for its in several)), rows)


def weight_similarity(
    base: str | Path, child: str | Path, *, trust_remote_code: bool = False, progress: bool = False
) -> WeightSimilarity:
    """Compares the attention weights of two models of one shape: an LLM, or the language tower inside a multimodal
    model, each by Hugging Face id, folder or `zoo:NAME`. Cosines are from -1 to 1, and 1 where nothing was changed.

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


def compare_checkpoints(base: Checkpoint, child: Checkpoint, *, progress: bool = False) -> WeightSimilarity:
    """`weight_similarity` of opened checkpoints."""
    check_same_heads(base, child)
    digests = hashlib.sha256(), hashlib.sha256()

    def read(layer: int, side: Side) -> Iterator[tuple[Side, Float[Tensor, "out in"]]]:
        for checkpoint, digest in zip((base, child), digests, strict=True):
            weight = checkpoint.projection(layer, side)
            digest.update(weight.view(torch.uint8).numpy().data)
            yield side, weight

    layers = tqdm(range(base.heads.n_layers), desc=f"weights of {child.name}", disable=not progress, leave=False)
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


@dataclass(frozen=True, eq=False)
class Preservation(Relations):
    """The base's score against the cosine of q, k, v, o, qk and ov, and against the relative change of weights."""

    command = "weights"
    part = "preservation"

    score_change: Relation | None = None
    """|child's score - base's score| against the relative change of weights."""

    def tables(self) -> tuple[Table, ...]:
        """A row a measure."""
        return (self.kept_table("Score in the base against what the child kept"),)

    def kept_table(self, caption: str) -> Table:
        """The same under another caption."""
        return self.table(caption, MEASURES, places=4)


def preservation(
    base: HeadScores, child: HeadScores | None, weights: WeightSimilarity, *, share: float = 0.25, seed: int = 0
) -> Preservation:
    """Relates head scores to what a child kept of its base's weights (TruthProbe, Section 3.2), inside layers and
    against a null.

    Args:
        child: its scores, if their change is to be related to the change of weights.
        share: of heads that count as those with high scores.

    Raises:
        InputError: if scores and weights have different heads, or the share leaves no heads to compare.
    """
    for name, scores in (("base", base), ("child", child)):
        if scores is not None and scores.values.shape != weights.change.shape:
            its, kept = (" x ".join(map(str, values.shape)) for values in (scores.values, weights.change))
            raise InputError(f"the {name}'s scores are {its}, the weights {kept} heads")
    kv = weights.n_kv_heads
    related = relate_measures(base.values, weights.maps(), share=share, n_kv_heads=kv, seed=seed)
    change = None
    if child is not None:
        change = relate(np.abs(child.values - base.values), weights.change, n_kv_heads=kv, seed=seed)
    return Preservation(related.score, related.top, related.p_holm, change)


def circuits_table(base: str, children: Mapping[str, tuple[WeightSimilarity, Preservation]]) -> Table:
    """Whether heads with high scores in the base keep more of their OV and QK circuits: two rows a child."""
    rows: list[Row] = []
    for name, (kept, related) in children.items():
        for circuit in CIRCUITS:
            cells, its = [""] * 4, related.score.get(circuit)
            if its is not None:
                r = number(its.pearson, 2), number(its.pearson_within_layer, 2)
                cells = [*r, interval(its.null_within_layer), p_value(its.p_value)]
            rows.append(row(name, circuit.upper(), number(kept.means()[circuit]), *cells))
    header = ("model", "circuit", "mean cosine", "r", "inside layers", "null inside", "p")
    note = f"r: correlation over heads of the score in {base} with the cosine."
    return table(f"Circuits kept, and whether heads with high scores in {base} keep more", header, rows, note)
