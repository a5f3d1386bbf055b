"""Correlation of head maps over heads, with what a sceptic asks for: depth removed, a null, an interval.

Heads of a layer have no order of their own: a network whose heads are renumbered is the same network. So two
unrelated models of one architecture agree, head by head, no better than after any such renumbering, and shuffling
heads inside layers gives the null. Under grouped-query attention only whole KV groups, and heads inside a group, can
be renumbered; heads of one group have similar scores, so shuffling them all freely would make the null too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.head_bootstrap import correlation_intervals, head_weights

_AT_ONCE = 500  # draws in memory at a time
_ROUNDING = 1e-9

Map = Float[np.ndarray, "L H"]
"""One number a head."""
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
    """95% bootstrap interval of `pearson`: heads (KV groups, if shared) drawn with replacement inside each layer, or
    whole layers where they have fewer than three groups."""
    interval_within_layer: Float[np.ndarray, "m m 2"]
    null: Float[np.ndarray, "m m 2"]
    """The middle 95% of `pearson` when heads are shuffled inside layers: what depth alone gives, and chance."""
    null_within_layer: Float[np.ndarray, "m m 2"]
    p_value: Float[np.ndarray, "m m"]
    """For one pair by itself. Shuffling inside layers changes `pearson` only by way of `pearson_within_layer`, so this
    is the p-value of both."""


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

    Raises:
        InputError: for maps of unequal shape, numbers that are not finite, or a map that is constant (in all, or
            inside every layer), for which no correlation is defined.
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
    one: Float[np.ndarray, "L H"],
    other: Float[np.ndarray, "L H"],
    *,
    n_kv_heads: int | None = None,
    n_permutations: int = 9999,
    seed: int = 0,
) -> Relation | None:
    """The correlation of two maps of one model; None where one is constant or has gaps, so that none is defined.

    ```python
    lens_truth.relate(truth.values, causal.values).pearson_within_layer
    ```

    Raises:
        InputError: for maps of unequal shape, or KV heads that the heads cannot share.
    """
    if not all(_varies(values) for values in (one, other)):
        return None
    c = correlate(
        {"one": one, "other": other},
        n_kv_heads=[n_kv_heads] * 2,
        alternative="two-sided",
        n_permutations=n_permutations,
        seed=seed,
    )
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


def ranks_within_layers(values: Float[np.ndarray, "L H"]) -> Float[np.ndarray, "L H"]:
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
    for start in range(0, n, _AT_ONCE):
        part = min(_AT_ONCE, n - start)
        yield (shuffles(part, n_layers, n_heads, n_kv_heads, rng) + rows).reshape(part, -1)


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Adjusted so that all tests together keep their level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


@runtime_checkable
class Tested(Protocol):
    """Whatever comes with a p-value."""

    @property
    def p_value(self) -> float:
        """Not adjusted."""
        ...


def holm_by_name(tests: Mapping[str, Tested | None]) -> dict[str, float | None]:
    """`holm` over the tests that are defined."""
    p_values = {name: test.p_value for name, test in tests.items() if test is not None}
    adjusted = dict(zip(p_values, holm(np.array(list(p_values.values()))).tolist(), strict=True))
    return {name: adjusted.get(name) for name in tests}


def _stacked(maps: Mapping[str, Map]) -> Float[np.ndarray, "m L H"]:
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


def _varies(values: Float[np.ndarray, "L H"]) -> bool:
    """Whether a map is finite and tells heads of a layer apart."""
    return bool(np.isfinite(values).all() and np.ptp(values, axis=1).max() > _ROUNDING * np.abs(values).max())


def _pearson(maps: Float[np.ndarray, "m L H"]) -> Float[np.ndarray, "m m"]:
    r = np.clip(np.corrcoef(maps.reshape(len(maps), -1)), -1, 1)
    np.fill_diagonal(r, 1)
    return (r + r.T) / 2  # equal to the last bit


def _ranked(maps: Float[np.ndarray, "m L H"]) -> Float[np.ndarray, "m L H"]:
    from scipy import stats

    return stats.rankdata(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape)


def _permutation(
    centred: Float[np.ndarray, "m L H"],
    observed: Float[np.ndarray, "m m"],
    kv: Sequence[int | None],
    alternative: Alternative,
    n: int,
    seed: int,
) -> tuple[Float[np.ndarray, "m m"], Float[np.ndarray, "m m 2"]]:
    """P-values, and the middle 95% of the null, of the within-layer correlation."""
    m, L, H = centred.shape
    unit = (centred / np.sqrt((centred**2).sum((1, 2), keepdims=True))).reshape(m, -1)
    partners: dict[int, dict[int, list[int]]] = {}  # by number of groups: which map is shuffled against which
    for pair in combinations(range(m), 2):
        i, count = _shuffled(pair, kv, H)
        partners.setdefault(count, {}).setdefault(i, []).append(sum(pair) - i)
    p, null = np.full((m, m), 1 / (1 + n)), np.ones((m, m, 2))
    for count, against in partners.items():
        rng = stream(seed, Stream.HEAD_SHUFFLES, count)
        draws: dict[int, list[Float[np.ndarray, "n others"]]] = {i: [] for i in against}
        for order in shuffled_orders(n, L, H, count, rng):
            for i, others in against.items():
                draws[i].append(unit[i][order] @ unit[others].T)
        for i, others in against.items():
            for r, j in zip(np.concatenate(draws[i]).T, others, strict=True):
                p[i, j] = p[j, i] = (1 + _as_far(r, observed[i, j], alternative).sum()) / (1 + n)
                null[i, j] = null[j, i] = np.quantile(r, [0.025, 0.975])
    return p, null


def _as_far(draws: Float[np.ndarray, " n"], observed: float, alternative: Alternative) -> Bool[np.ndarray, " n"]:
    if alternative == "greater":
        return draws >= observed - _ROUNDING
    return np.abs(draws) >= abs(observed) - _ROUNDING


def _shuffled(pair: tuple[int, int], kv: Sequence[int | None], n_heads: int) -> tuple[int, int]:
    """Which map of a pair is shuffled, and by how many groups: the one with the finest symmetry that is known."""
    known = [(count, i) for i in reversed(pair) if (count := kv[i]) is not None]
    count, i = max(known, key=lambda one: one[0], default=(n_heads, pair[1]))
    return i, count


def _intervals(
    x: Float[np.ndarray, "m L H"], kv: Sequence[int | None], n: int, seed: int
) -> tuple[Float[np.ndarray, "m m 2"], Float[np.ndarray, "m m 2"]]:
    m, L, H = x.shape
    raw, within = np.ones((m, m, 2)), np.ones((m, m, 2))
    weights: dict[int, Float[np.ndarray, "n L H"]] = {}
    for i, j in combinations(range(m), 2):
        count = min(kv[i] or H, kv[j] or H)  # what hangs together in either map is drawn together
        if count not in weights:
            weights[count] = head_weights(n, L, H, count, stream(seed, Stream.HEAD_INTERVALS, count))
        intervals = correlation_intervals(x[i], x[j], weights[count])
        raw[i, j], within[i, j] = raw[j, i], within[j, i] = intervals
    return raw, within
