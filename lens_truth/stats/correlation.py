"""Correlation of head maps over heads, with what a sceptic asks for: depth removed, a null, an interval.

Heads of a layer have no order of their own: a network whose heads are renumbered is the same network. So two
unrelated models of one architecture agree, head by head, no better than after any such renumbering, and shuffling
heads inside layers gives the null. Under grouped-query attention only whole KV groups, and heads inside a group, can
be renumbered; heads of one group have similar scores, so shuffling them all freely would make the null too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from lens_truth.errors import InputError
from lens_truth.io.readers import is_list
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.bootstrap import correlation_draws, head_weights, percentiles

_AT_ONCE = 500  # draws in memory at a time
_CELLS = 1 << 24
"""Numbers in memory at a time: neurons are so many that fewer draws of them fit."""
_ROUNDING = 1e-9

Map = Float[np.ndarray, "L H"]
"""One number a head."""
Maps = Float[np.ndarray, "m L H"]
Matrix = Float[np.ndarray, "m m"]
Ends = Float[np.ndarray, "m m 2"]
Alternative = Literal["greater", "two-sided"]


@dataclass(frozen=True)
class Correlations:
    """Of every two of m maps; in each matrix rows and columns are in the order of the maps."""

    pearson: Matrix
    spearman: Matrix
    pearson_within_layer: Matrix
    """Each layer's mean removed from both maps: heads, not depth."""
    spearman_within_layer: Matrix
    interval: Ends
    """95% bootstrap interval of `pearson`: heads (KV groups, if shared) drawn with replacement inside each layer, or
    whole layers where they have fewer than three groups."""
    interval_within_layer: Ends
    null: Ends
    """The middle 95% of `pearson` when heads are shuffled inside layers: what depth alone gives, and chance."""
    null_within_layer: Ends
    p_value: Matrix
    """For one pair by itself. Shuffling inside layers changes `pearson` only by way of `pearson_within_layer`, so this
    is the p-value of both."""


@stage("correlations")
def correlate(
    maps: Mapping[str, Map],
    *,
    n_kv_heads: Sequence[int | None] | None = None,
    alternative: Alternative = "greater",
    n_permutations: int = 9999,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Correlations:
    """Correlates every two maps over heads.

    Args:
        n_kv_heads: of the model behind each map, None where it is not known. Renumbering the heads of one model is
            enough to break a relation, so a pair is shuffled by the finer of its symmetries that are known; where
            neither is, all heads of a layer are shuffled freely, which is too narrow a null if both models share keys.
        alternative: to no relation: the maps agree; or they agree or oppose each other.
    """
    x = _stacked(maps)
    m, _, H = x.shape
    kv = [None] * m if n_kv_heads is None else list(n_kv_heads)
    wrong = [n for n in kv if n is not None and (n < 1 or H % n)]
    if len(kv) != m:
        raise InputError(f"n_kv_heads has {len(kv)} entries for {m} maps; each map needs its own, or None")
    if wrong:
        raise InputError(f"{wrong} KV heads were named for {H} heads a layer, which must share them evenly")
    if n_permutations < 1 or n_bootstrap < 1:
        raise InputError(
            f"{n_permutations} permutations and {n_bootstrap} bootstrap draws were asked for; at least one of each is "
            "needed"
        )
    centred = remove_layer_means(x)
    within = _pearson(centred)
    p, null_within = _permutation(centred, within, kv, alternative, n_permutations, seed)
    total, inside = (np.sqrt((part**2).sum((1, 2))) for part in (x - x.mean((1, 2), keepdims=True), centred))
    pearson = _pearson(x)
    # Shuffling leaves the part between layers as it is and scales the part inside them.
    share = np.outer(inside, inside) / np.outer(total, total)
    between = pearson - share * within
    interval, interval_within = _intervals(x, kv, n_bootstrap, seed)
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
    one: Map, other: Map, *, n_kv_heads: int | None = None, n_permutations: int = 9999, seed: int = 0
) -> Relation | None:
    """The correlation of two maps of one model (layers x heads); None where one is constant or has gaps.

    >>> lens_truth.relate(truth.values, causal.values).pearson_within_layer

    Raises:
        InputError: for maps of unequal shape, or KV heads that the heads cannot share.
    """
    if not (_varies(one) and _varies(other)):
        return None
    maps, kv = {"one": one, "other": other}, [n_kv_heads] * 2
    every = correlate(maps, n_kv_heads=kv, alternative="two-sided", n_permutations=n_permutations, seed=seed)
    pair: dict[str, Any] = {field.name: getattr(every, field.name)[0, 1].tolist() for field in fields(Relation)}
    pair |= {name: tuple(ends) for name, ends in pair.items() if is_list(ends)}
    return Relation(**pair)


def ranks_within_layers(values: Map) -> Map:
    """Each head's rank among those of its layer, so that every layer counts alike, however widely its values spread."""
    from scipy import stats  # takes longer than reading scores, which needs only `Map`

    return stats.rankdata(values, axis=1)


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


def shuffled_orders(
    n: int, n_layers: int, n_heads: int, n_kv_heads: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "part LH"]]:
    """`shuffles` as orders of a flattened map, in parts that fit in memory."""
    rows = (np.arange(n_layers) * n_heads)[:, None]
    for part in _parts(n, _at_once(n_layers * n_heads)):
        yield (shuffles(part, n_layers, n_heads, n_kv_heads, rng) + rows).reshape(part, -1)


def _at_once(n_cells: int) -> int:
    """Shuffles of maps with so many heads."""
    return min(_AT_ONCE, _CELLS // 2 // n_cells)


def _parts(n: int, at_once: int) -> list[int]:
    """`n` draws in parts."""
    at_once = max(1, at_once)
    return [min(at_once, n - start) for start in range(0, n, at_once)]


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Adjusted so that all tests together keep their level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return adjusted


def holm_by_name(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """`holm` over the tests that are defined."""
    defined = {name: p for name, p in p_values.items() if p is not None}
    return dict.fromkeys(p_values) | dict(zip(defined, holm(np.array(list(defined.values()))).tolist(), strict=True))


def _stacked(maps: Mapping[str, Map]) -> Maps:
    if len(maps) < 2:
        raise InputError(f"a correlation needs two maps or more, and {len(maps)} was given")
    first, shape = next((name, values.shape) for name, values in maps.items())
    for name, values in maps.items():
        if values.shape != shape:
            raise InputError(f"'{name}' has shape {values.shape}, '{first}' {shape}: they have different heads")
        if not np.isfinite(values).all():
            raise InputError(f"'{name}' holds numbers that are not finite")
        if np.ptp(values) <= _ROUNDING * np.abs(values).max():
            raise InputError(f"'{name}' has the same value for all heads, so no correlation is defined")
        if not _varies(values):
            raise InputError(f"'{name}' is constant inside every layer, so no correlation of heads is defined")
    return np.stack([values.astype(np.float64) for values in maps.values()])


def _varies(values: Map) -> bool:
    """Whether a map is finite and tells heads of a layer apart."""
    return bool(np.isfinite(values).all() and np.ptp(values, axis=1).max() > _ROUNDING * np.abs(values).max())


def _pearson(maps: Maps) -> Matrix:
    r = np.clip(np.corrcoef(maps.reshape(len(maps), -1)), -1, 1)
    np.fill_diagonal(r, 1)
    return (r + r.T) / 2  # equal to the last bit


def _ranked(maps: Maps) -> Maps:
    return ranks_within_layers(maps.reshape(len(maps), -1)).reshape(maps.shape)  # all heads of a map as one layer


def _permutation(
    centred: Maps, observed: Matrix, kv: Sequence[int | None], alternative: Alternative, n: int, seed: int
) -> tuple[Matrix, Ends]:
    """P-values, and the middle 95% of the null, of the within-layer correlation."""
    m, L, H = centred.shape
    unit = (centred / np.sqrt((centred**2).sum((1, 2), keepdims=True))).reshape(m, -1)
    distance = np.abs if alternative == "two-sided" else np.asarray
    partners: dict[int, dict[int, list[int]]] = {}  # by number of groups: which map is shuffled against which
    for i, j in combinations(range(m), 2):
        known = [(count, which) for which in (j, i) if (count := kv[which]) is not None]
        count, finest = max(known, key=lambda one: one[0], default=(H, j))  # of the symmetries that are known
        partners.setdefault(count, {}).setdefault(finest, []).append(i + j - finest)
    p, null = np.full((m, m), 1 / (1 + n)), np.ones((m, m, 2))
    for count, against in partners.items():
        rng = stream(seed, Stream.HEAD_SHUFFLES, count)
        draws: dict[int, list[Float[np.ndarray, "n others"]]] = {i: [] for i in against}
        n_parts = len(_parts(n, _at_once(L * H)))
        for order in bar(shuffled_orders(n, L, H, count, rng), "shuffles", n_parts):
            for i, others in against.items():
                draws[i].append(unit[i][order] @ unit[others].T)
        for i, others in against.items():
            for r, j in zip(np.concatenate(draws[i]).T, others, strict=True):
                as_far = distance(r) >= distance(observed[i, j]) - _ROUNDING
                p[i, j] = p[j, i] = (1 + as_far.sum()) / (1 + n)
                null[i, j] = null[j, i] = np.quantile(r, [0.025, 0.975])
    return p, null


def _intervals(x: Maps, kv: Sequence[int | None], n: int, seed: int) -> tuple[Ends, Ends]:
    m, L, H = x.shape
    raw, within = np.ones((m, m, 2)), np.ones((m, m, 2))
    together: dict[int, list[tuple[int, int]]] = {}
    for i, j in combinations(range(m), 2):
        count = min(kv[i] or H, kv[j] or H)  # what hangs together in either map is drawn together
        together.setdefault(count, []).append((i, j))
    with bar(None, "intervals", n * m * (m - 1) // 2) as done:
        for count, pairs in together.items():
            rng = stream(seed, Stream.HEAD_INTERVALS, count)
            draws: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {pair: [] for pair in pairs}
            for part in _parts(n, _CELLS // (L * H)):
                weights = head_weights(part, L, H, count, rng)
                for i, j in pairs:
                    draws[i, j].append(correlation_draws(x[i], x[j], weights))
                    done.update(part)
            for (i, j), its in draws.items():
                ends = [percentiles(np.concatenate(parts)) for parts in zip(*its, strict=True)]
                raw[i, j], within[i, j] = raw[j, i], within[j, i] = ends
    return raw, within
