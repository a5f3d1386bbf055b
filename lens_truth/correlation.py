"""Correlation of head maps over heads, with what a sceptic asks for: depth removed, a null, an interval.

Heads of a layer have no order of their own: a network whose heads are renumbered is the same network. So two
unrelated models of one architecture agree, head by head, no better than after any such renumbering, and shuffling
heads inside layers gives the null. Under grouped-query attention only whole KV groups, and heads inside a group, can
be renumbered; heads of one group have similar scores, so shuffling them all freely would make the null too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from lens_truth.errors import InputError

_AT_ONCE = 500  # draws in memory at a time
_ROUNDING = 1e-9

Alternative = Literal["greater", "two-sided"]


@dataclass(frozen=True)
class Correlations:
    """Of every two of m maps; in each matrix rows and columns are in the order of the maps."""

    pearson: Float[np.ndarray, "m m"]
    spearman: Float[np.ndarray, "m m"]
    pearson_within_layer: Float[np.ndarray, "m m"]
    """Each layer's mean removed from both maps: heads, not depth."""
    spearman_within_layer: Float[np.ndarray, "m m"]
    interval: Float[np.ndarray, "m m 2"]
    """95% bootstrap interval of `pearson`: heads (KV groups, if shared) drawn with replacement inside each layer."""
    interval_within_layer: Float[np.ndarray, "m m 2"]
    null: Float[np.ndarray, "m m 2"]
    """The middle 95% of `pearson` when heads are shuffled inside layers: what depth alone gives, and chance."""
    null_within_layer: Float[np.ndarray, "m m 2"]
    p_value: Float[np.ndarray, "m m"]
    """For one pair by itself. Shuffling inside layers changes `pearson` only by way of `pearson_within_layer`, so this
    is the p-value of both."""


def correlate(
    maps: Mapping[str, Float[np.ndarray, "L H"]],
    *,
    n_kv_heads: Sequence[int] | None = None,
    alternative: Alternative = "greater",
    n_permutations: int = 9999,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Correlations:
    """Correlates every two maps over heads.

    Args:
        n_kv_heads: of the model behind each map; by default as many as heads. A pair is shuffled by the finer of its
            two symmetries: renumbering the heads of one model is enough to break a relation.
        alternative: to no relation: the maps agree; or they agree or oppose each other.

    Raises:
        InputError: for maps of unequal shape, numbers that are not finite, or a map that is constant (in all, or
            inside every layer), for which no correlation is defined.
    """
    x = _stacked(maps)
    m, _, H = x.shape
    kv = [H] * m if n_kv_heads is None else list(n_kv_heads)
    wrong = next((n for n in kv if n < 1 or H % n), None)
    if wrong is not None or len(kv) != m:
        raise InputError(f"{wrong} KV heads were named for {H} heads a layer; the heads must share them evenly")
    if n_permutations < 1 or n_bootstrap < 1:
        raise InputError(f"{n_permutations} permutations and {n_bootstrap} bootstrap draws were asked for")
    centred = remove_layer_means(x)
    within = _pearson(centred)
    p, null_within = _permutation(centred, within, kv, alternative, n_permutations, seed)
    total, inside = (np.sqrt((part**2).sum((1, 2))) for part in (x - x.mean((1, 2), keepdims=True), centred))
    pearson = _pearson(x)
    # Shuffling leaves the part between layers as it is and scales the part inside them.
    share = np.outer(inside, inside) / np.outer(total, total)
    between = pearson - share * within
    interval, interval_within = _bootstrap(x, kv, n_bootstrap, seed)
    return Correlations(
        pearson=pearson,
        spearman=_pearson(_ranked(x)),
        pearson_within_layer=within,
        spearman_within_layer=_pearson(_ranked(centred)),
        interval=interval,
        interval_within_layer=interval_within,
        null=between[..., None] + share[..., None] * null_within,
        null_within_layer=null_within,
        p_value=p,
    )


@dataclass(frozen=True)
class Relation:
    """Of two maps; every field as in `Correlations`, the p-value two-sided."""

    pearson: float
    spearman: float
    pearson_within_layer: float
    spearman_within_layer: float
    interval_within_layer: tuple[float, float]
    null_within_layer: tuple[float, float]
    p_value: float


def relate(
    one: Float[np.ndarray, "L H"],
    other: Float[np.ndarray, "L H"],
    *,
    n_kv_heads: int | None = None,
    n_permutations: int = 9999,
    seed: int = 0,
) -> Relation | None:
    """The correlation of two maps of one model; None where a map is constant or has gaps, so that none is defined."""
    try:
        c = correlate(
            {"one": one, "other": other},
            n_kv_heads=None if n_kv_heads is None else [n_kv_heads] * 2,
            alternative="two-sided",
            n_permutations=n_permutations,
            seed=seed,
        )
    except InputError:
        return None
    at = (0, 1)
    return Relation(
        pearson=float(c.pearson[at]),
        spearman=float(c.spearman[at]),
        pearson_within_layer=float(c.pearson_within_layer[at]),
        spearman_within_layer=float(c.spearman_within_layer[at]),
        interval_within_layer=(float(c.interval_within_layer[at][0]), float(c.interval_within_layer[at][1])),
        null_within_layer=(float(c.null_within_layer[at][0]), float(c.null_within_layer[at][1])),
        p_value=float(c.p_value[at]),
    )


def remove_layer_means(maps: Float[np.ndarray, "*m L H"]) -> Float[np.ndarray, "*m L H"]:
    """Each layer's mean over heads taken off: what is left tells heads apart, not depths."""
    return maps - maps.mean(-1, keepdims=True)


def shuffles(
    n: int, n_layers: int, n_heads: int, n_kv_heads: int, rng: np.random.Generator
) -> Int[np.ndarray, "n L H"]:
    """Head numbers in random order inside each layer; heads that share keys and values stay together."""
    size = n_heads // n_kv_heads
    groups = rng.permuted(np.broadcast_to(np.arange(n_kv_heads), (n, n_layers, n_kv_heads)), axis=-1)
    if size == 1:
        return groups
    inside = rng.permuted(np.broadcast_to(np.arange(size), (n, n_layers, n_kv_heads, size)), axis=-1)
    return (groups[..., None] * size + inside).reshape(n, n_layers, n_heads)


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Adjusted so that all tests together keep their level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def _stacked(maps: Mapping[str, Float[np.ndarray, "L H"]]) -> Float[np.ndarray, "m L H"]:
    if len(maps) < 2:
        raise InputError(f"a correlation needs two maps or more, and {len(maps)} was given")
    first, shape = next((name, values.shape) for name, values in maps.items())
    for name, values in maps.items():
        if values.shape != shape:
            raise InputError(f"'{name}' has shape {values.shape}, '{first}' {shape}: they have different heads")
        if not np.isfinite(values).all():
            raise InputError(f"'{name}' holds numbers that are not finite")
        size = np.abs(values).max()
        if np.ptp(values) <= _ROUNDING * size:
            raise InputError(f"'{name}' has the same value for all heads, so no correlation is defined")
        if np.ptp(values, axis=1).max() <= _ROUNDING * size:
            raise InputError(f"'{name}' is constant inside every layer, so no correlation of heads is defined")
    return np.stack([values.astype(np.float64) for values in maps.values()])


def _pearson(maps: Float[np.ndarray, "m L H"]) -> Float[np.ndarray, "m m"]:
    r = np.clip(np.corrcoef(maps.reshape(len(maps), -1)), -1, 1)
    np.fill_diagonal(r, 1)
    return (r + r.T) / 2  # equal to the last bit


def _ranked(maps: Float[np.ndarray, "m L H"]) -> Float[np.ndarray, "m L H"]:
    return rankdata(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape)


def _permutation(
    centred: Float[np.ndarray, "m L H"],
    observed: Float[np.ndarray, "m m"],
    kv: Sequence[int],
    alternative: Alternative,
    n: int,
    seed: int,
) -> tuple[Float[np.ndarray, "m m"], Float[np.ndarray, "m m 2"]]:
    """P-values, and the middle 95% of the null, of the within-layer correlation."""
    m, L, H = centred.shape
    unit = (centred / np.sqrt((centred**2).sum((1, 2), keepdims=True))).reshape(m, -1)
    rows = (np.arange(L) * H)[:, None]
    p, null = np.full((m, m), 1 / (1 + n)), np.ones((m, m, 2))
    for count in sorted(set(kv)):
        shuffled = [i for i in range(m) if kv[i] == count]
        partners = {i: _partners(i, kv) for i in shuffled}
        rng = np.random.default_rng([seed, 8, count])
        draws = {i: [] for i in shuffled}
        for start in range(0, n, _AT_ONCE):
            order = (shuffles(min(_AT_ONCE, n - start), L, H, count, rng) + rows).reshape(-1, L * H)
            for i in shuffled:
                if partners[i]:
                    draws[i].append(unit[i][order] @ unit[partners[i]].T)
        for i in shuffled:
            for column, j in enumerate(partners[i]):
                r = np.concatenate(draws[i])[:, column]
                p[i, j] = p[j, i] = (1 + _as_far(r, observed[i, j], alternative).sum()) / (1 + n)
                null[i, j] = null[j, i] = np.quantile(r, [0.025, 0.975])
    return p, null


def _as_far(draws: Float[np.ndarray, " n"], observed: float, alternative: Alternative) -> Bool[np.ndarray, " n"]:
    if alternative == "greater":
        return draws >= observed - _ROUNDING
    return np.abs(draws) >= abs(observed) - _ROUNDING


def _partners(i: int, kv: Sequence[int]) -> list[int]:
    """The maps that map i is shuffled against: those with fewer KV heads, and of equals those before it."""
    return [j for j in range(len(kv)) if kv[j] < kv[i] or (kv[j] == kv[i] and j < i)]


def _bootstrap(
    x: Float[np.ndarray, "m L H"], kv: Sequence[int], n: int, seed: int
) -> tuple[Float[np.ndarray, "m m 2"], Float[np.ndarray, "m m 2"]]:
    """95% percentile intervals of the correlation over all heads, and of that inside layers."""
    m, L, H = x.shape
    raw, within = np.ones((m, m, 2)), np.ones((m, m, 2))
    weights = {
        count: _head_weights(n, L, H, count, seed) for count in sorted({min(a, b) for a, b in combinations(kv, 2)})
    }
    for i, j in combinations(range(m), 2):
        pair = x[[i, j]] - x[[i, j]].mean((1, 2), keepdims=True)
        moments = np.stack([pair[0], pair[1], pair[0] ** 2, pair[1] ** 2, pair[0] * pair[1]])
        sums = np.einsum("nlh,klh->knl", weights[min(kv[i], kv[j])], moments, optimize=True)
        raw[i, j] = raw[j, i] = _percentiles(sums.sum(2)[:, :, None], L * H)
        within[i, j] = within[j, i] = _percentiles(sums, H)
    return raw, within


def _head_weights(n: int, L: int, H: int, count: int, seed: int) -> Float[np.ndarray, "n L H"]:
    """How often each head is drawn, whole KV groups at a time, inside each layer."""
    drawn = np.random.default_rng([seed, 9, count]).multinomial(count, np.full(count, 1 / count), size=(n, L))
    return np.repeat(drawn, H // count, axis=2).astype(np.float64)


def _percentiles(sums: Float[np.ndarray, "5 n strata"], size: int) -> Float[np.ndarray, "2"]:
    """Of the correlation whose moments are taken about the mean of each stratum of `size` heads."""
    a, b, aa, bb, ab = sums
    variance = (aa - a**2 / size).sum(1) * (bb - b**2 / size).sum(1)
    defined = variance > _ROUNDING**2 * (aa.sum(1) * bb.sum(1))
    r = (ab - a * b / size).sum(1)[defined] / np.sqrt(variance[defined])
    return np.quantile(np.clip(r, -1, 1), [0.025, 0.975]) if len(r) else np.full(2, np.nan)
