"""Do the heads with the highest scores differ from the rest in some other respect?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.correlation import Map, remove_layer_means, shuffled_orders

_ROUNDING = 1e-9


@dataclass(frozen=True)
class TopDifference:
    """The mean of a map over the top heads, less that over the rest."""

    n_top: int
    difference: float
    difference_within_layer: float
    """With each layer's mean taken off the map first: the heads themselves, not the layers they stand in."""
    null: tuple[float, float]
    """The middle 95% of `difference_within_layer` when heads are shuffled inside layers."""
    p_value: float
    """Two-sided, of `difference_within_layer`."""


def top_heads(scores: Map, share: float) -> Bool[np.ndarray, "L H"]:
    """Marks the given share of heads, those with the highest scores (of equals the first).

    Raises:
        InputError: if that is no head, or all of them.
    """
    n = round(share * scores.size) if 0 < share < 1 else 0
    if not 0 < n < scores.size:
        raise InputError(f"a share of {share} of {scores.size} heads leaves no heads to compare with each other")
    marked = np.zeros(scores.size, dtype=bool)
    marked[np.argsort(-scores, axis=None, kind="stable")[:n]] = True
    return marked.reshape(scores.shape)


def compare_top(
    values: Float[np.ndarray, "L H"],
    top: Bool[np.ndarray, "L H"],
    *,
    n_kv_heads: int | None = None,
    n_permutations: int = 9999,
    seed: int = 0,
) -> TopDifference:
    """Compares the mean of `values` over the marked heads with that over the rest.

    The null shuffles heads inside layers (KV groups whole), so that neither depth nor shared keys can pass for an
    effect of the score.
    """
    L, H = values.shape
    centred = remove_layer_means(values)
    rng = stream(seed, Stream.TOP_HEADS)
    # The centred map sums to zero, so the mean over the rest follows from the sum over the top.
    n_top = int(top.sum())
    scale = 1 / n_top + 1 / (top.size - n_top)
    orders = shuffled_orders(n_permutations, L, H, n_kv_heads or H, rng)
    null = scale * np.concatenate([np.where(top.ravel()[order], centred.ravel(), 0).sum(1) for order in orders])
    within = float(centred[top].sum() * scale)
    as_far = np.abs(null) >= abs(within) - _ROUNDING * max(1e-300, float(np.abs(centred).max()))
    low, high = np.quantile(null, [0.025, 0.975])
    return TopDifference(
        n_top=n_top,
        difference=float(values[top].mean() - values[~top].mean()),
        difference_within_layer=within,
        null=(float(low), float(high)),
        p_value=float((1 + as_far.sum()) / (1 + n_permutations)),
    )
