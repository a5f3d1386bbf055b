"""A list of heads against a score of all heads, and against another list: shares of pairs inside layers, overlaps, and
what heads shuffled inside layers give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.io.streams import Stream, stream
from lens_truth.stats.bootstrap import head_weights, percentiles
from lens_truth.stats.correlation import Map, ranks_within_layers, shuffled_orders

Marks = Bool[np.ndarray, "L H"]
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ListedAgainst:
    """Of heads on a list against a score; everything is NaN where no listed head has an unlisted one in its layer."""

    auroc: float
    """Share of the pairs of a listed head and an unlisted one of its layer in which the listed one has the higher score
    (half of ties): .5 by chance, whatever the layers are that the list prefers."""
    interval: tuple[float, float]
    """95% bootstrap interval of `auroc`: heads (KV groups, if shared) drawn with replacement inside each layer."""
    null: tuple[float, float]
    """The middle 95% of `auroc` when heads are shuffled inside layers (KV groups whole)."""
    p_value: float
    """Two-sided."""
    auroc_all: float
    """Over pairs of all layers: depth has a part in it."""
    mean_rank: float
    """Of the listed heads, each in its layer; 1 is the highest score."""
    n_in_top: int
    """How many of them are among as many heads with the highest scores of all."""
    expected_in_top: float
    """The same of lists with as many heads in each layer, on average."""


@dataclass(frozen=True)
class Overlap:
    """Of two lists."""

    n_shared: int
    expected: float
    """On average, of lists with as many heads in each layer."""
    null: tuple[float, float]
    """The middle 95% of it when heads are shuffled inside layers."""
    p_value: float
    """Two-sided."""


def listed_against(
    marks: Marks,
    scores: Map,
    *,
    n_kv_heads: int | None = None,
    n_permutations: int = 9999,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> ListedAgainst:
    """Whether the marked heads have higher scores than the others of their layers."""
    L, H = scores.shape
    k = marks.sum(1)
    n_pairs = int((k * (H - k)).sum())
    top = _highest(scores, int(marks.sum()))
    expected = float((k * top.sum(1) / H).sum())
    n_in_top = int((marks & top).sum())
    if not n_pairs:
        nan = float("nan")
        return ListedAgainst(nan, (nan, nan), (nan, nan), nan, nan, nan, n_in_top, expected)
    ranks = ranks_within_layers(scores)
    # Of the sum of ranks, what is due to pairs of listed heads is the same in every order.
    among = float((k * (k + 1) / 2).sum())
    auroc = (float(ranks[marks].sum()) - among) / n_pairs
    null = (_sums_in_shuffles(marks, ranks, n_kv_heads, n_permutations, seed) - among) / n_pairs
    as_far = np.abs(null - 0.5) >= abs(auroc - 0.5) - _ROUNDING
    ends = percentiles(_auroc_draws(marks, scores, n_kv_heads, n_bootstrap, seed))
    everywhere = ranks_within_layers(scores.reshape(1, -1)).reshape(L, H)
    n = int(marks.sum())
    return ListedAgainst(
        auroc=auroc,
        interval=(float(ends[0]), float(ends[1])),
        null=_middle(null),
        p_value=float((1 + as_far.sum()) / (1 + n_permutations)),
        auroc_all=(float(everywhere[marks].sum()) - n * (n + 1) / 2) / (n * (L * H - n)),
        mean_rank=float((H + 1 - ranks[marks]).mean()),
        n_in_top=n_in_top,
        expected_in_top=expected,
    )


def overlap(
    one: Marks, other: Marks, *, n_kv_heads: int | None = None, n_permutations: int = 9999, seed: int = 0
) -> Overlap:
    """How many heads two lists share, against heads shuffled inside layers."""
    shared = int((one & other).sum())
    expected = float((one.sum(1) * other.sum(1) / one.shape[1]).sum())
    null = _sums_in_shuffles(one, other.astype(float), n_kv_heads, n_permutations, seed)
    as_far = np.abs(null - expected) >= abs(shared - expected) - _ROUNDING
    return Overlap(shared, expected, _middle(null), float((1 + as_far.sum()) / (1 + n_permutations)))


def _highest(scores: Map, n: int) -> Marks:
    """The `n` heads with the highest scores (of equals the first)."""
    marked = np.zeros(scores.size, dtype=bool)
    marked[np.argsort(-scores, axis=None, kind="stable")[:n]] = True
    return marked.reshape(scores.shape)


def _sums_in_shuffles(marks: Marks, values: Map, n_kv_heads: int | None, n: int, seed: int) -> Float[np.ndarray, " n"]:
    """The sum of `values` over the marks, these shuffled inside layers."""
    L, H = marks.shape
    orders = shuffled_orders(n, L, H, n_kv_heads or H, stream(seed, Stream.LISTED_HEADS, 0))
    return np.concatenate([np.where(marks.ravel()[order], values.ravel(), 0).sum(1) for order in orders])


def _auroc_draws(marks: Marks, scores: Map, n_kv_heads: int | None, n: int, seed: int) -> Float[np.ndarray, " drawn"]:
    """Of every draw of heads in which a listed one has an unlisted one beside it."""
    L, H = scores.shape
    weights = head_weights(n, L, H, n_kv_heads or H, stream(seed, Stream.LISTED_HEADS, 1))
    wins, pairs = np.zeros(n), np.zeros(n)
    for listed, its, weight in zip(marks, scores, weights.transpose(1, 0, 2), strict=True):
        above = (1 + np.sign(its[listed][:, None] - its[~listed][None])) / 2
        w, v = weight[:, listed], weight[:, ~listed]
        wins += ((w @ above) * v).sum(1)
        pairs += w.sum(1) * v.sum(1)
    return wins[pairs > 0] / pairs[pairs > 0]


def _middle(null: Float[np.ndarray, " n"]) -> tuple[float, float]:
    low, high = np.quantile(null, [0.025, 0.975])
    return float(low), float(high)
