"""Are head scores passed on from model to model, and do heads that know also act?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.lineage.agreement import Heritability
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import (
    Relation,
    correlate,
    holm_by_name,
    ranks_within_layers,
    relate,
    remove_layer_means,
)


def heritability(
    scores: Mapping[str, HeadScores],
    *,
    repeats: Mapping[str, Sequence[HeadScores]] | None = None,
    unrelated: Sequence[str] = (),
    n_permutations: int = 9999,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Heritability:
    """Compares the scores of every two models over heads (TruthProbe, Section 3.2 and Fig. 1b, with controls).

    Args:
        scores: by name of the model; of any kind, but of one shape. Heads that share keys and values are shuffled
            together where the scores' provenance says how many KV heads there are (`n_kv_heads`).
        repeats: further estimates of some of the scores; without them, scores with `folds` have a ceiling.
        unrelated: two names or more, of models with one architecture and no common ancestor: their pairs are the floor.

    Raises:
        InputError: for fewer than two maps, unequal shapes, a constant map, or names in `repeats` or `unrelated` that
            are not in `scores`.

    >>> lens_truth.heritability({"base": base, "child": child, "stranger": other}).verdicts()
    """
    repeats = repeats or {}
    for name in [*repeats, *unrelated]:
        if name not in scores:
            raise InputError(f"'{name}' is not one of the models compared: {', '.join(scores)}")
    if len(set(unrelated)) == 1:
        raise InputError(f"only '{unrelated[0]}' is named as unrelated; a floor needs two models or more")
    check_same_shape({name: size_of(its) for name, its in scores.items()})
    every = list(scores.values())
    kv = [its.n_kv_heads for its in every]
    maps = {name: its.values for name, its in scores.items()}
    raw, within = (
        tuple(_reliability(name, its, repeats.get(name, ()), within=inside) for name, its in scores.items())
        for inside in (False, True)
    )
    return Heritability(
        names=tuple(scores),
        kinds=tuple(its.kind for its in every),
        shape=every[0].values.shape,
        n_kv_heads=tuple(kv),
        correlations=correlate(maps, n_kv_heads=kv, n_permutations=n_permutations, n_bootstrap=n_bootstrap, seed=seed),
        reliability=raw,
        reliability_within_layer=within,
        disattenuated=_disattenuated(every, within=False),
        disattenuated_within_layer=_disattenuated(every, within=True),
        unrelated=tuple(dict.fromkeys(unrelated)),
        matched=_matched(every),
    )


Size = tuple[int, int, int | None]
"""Layers, query heads and KV heads a layer; None where it is not known how many."""


def size_of(scores: HeadScores) -> Size:
    """How many heads the scores are of."""
    return scores.n_layers, scores.n_heads, scores.n_kv_heads


def shared_grid(sizes: Sequence[Size]) -> tuple[int, int]:
    """The layers and heads that all models have: the first so many of each, whole KV groups only (`HeadScores.crop`).

    Heads of different architectures that carry the same number have nothing else in common; use it to see that.

    Raises:
        InputError: if there is no such grid.
    """
    fewest = min(n_heads for _, n_heads, _ in sizes)
    H = fewest - fewest % math.lcm(*(n_heads // (n_kv_heads or n_heads) for _, n_heads, n_kv_heads in sizes))
    if H == 0:
        raise InputError("the models share no whole group of heads, so there is no grid to compare them on")
    return min(n_layers for n_layers, _, _ in sizes), H


def reliability(estimates: Float[np.ndarray, "K L H"]) -> float:
    """Share of the variance over heads of the mean of K estimates that is not noise (Cronbach's alpha, 1951); NaN for
    one estimate only, or if they agree no better than noise.

    Folds of one cross-validation share training rows, which makes them agree more than independent estimates would, so
    that a ceiling from folds is too high. Two models scored on the same examples share noise, so that r over a ceiling
    is too high: `Heritability.disattenuated` is free of that.
    """
    K = len(estimates)
    flat = estimates.reshape(K, -1)
    of_sum = flat.sum(0).var()
    if K < 2 or of_sum == 0:
        return math.nan
    alpha = K / (K - 1) * (1 - flat.var(axis=1).sum() / of_sum)
    return float(alpha) if alpha > 0 else math.nan


def _reliability(name: str, scores: HeadScores, repeats: Sequence[HeadScores], *, within: bool) -> float:
    """From further estimates or folds; NaN for scores that were estimated once."""
    prepare = remove_layer_means if within else np.asarray
    if repeats:  # other estimates of the same thing: how well one of them predicts another
        again = {f"repeat {i} of {name}": size_of(its) for i, its in enumerate(repeats, start=1)}
        check_same_shape({name: size_of(scores), **again})
        flat = np.stack([prepare(its.values).ravel() for its in (scores, *repeats)])
        r = float(np.corrcoef(flat)[np.triu_indices(len(flat), 1)].mean())
        return r if r > 0 else math.nan
    return math.nan if scores.folds is None else reliability(prepare(scores.folds))


def _disattenuated(scores: Sequence[HeadScores], *, within: bool) -> Float[np.ndarray, "m m"]:
    """Mean covariance of estimate i of one model with estimate j of the other, i and j different, over the root of the
    product of the same within each model."""
    prepare = remove_layer_means if within else np.asarray
    flat = [None if s.folds is None else prepare(s.folds).reshape(len(s.folds), -1) for s in scores]
    flat = [None if x is None else x - x.mean(1, keepdims=True) for x in flat]

    def covariance(x: Float[np.ndarray, "K LH"], y: Float[np.ndarray, "K LH"]) -> float:
        products = x @ y.T
        return float((products.sum() - products.trace()) / (len(x) * (len(x) - 1)))

    result = np.full((len(scores), len(scores)), math.nan)
    np.fill_diagonal(result, 1)
    for i, j in combinations(range(len(scores)), 2):
        x, y = flat[i], flat[j]
        if x is None or y is None or len(x) != len(y) or len(x) < 2:
            continue
        size = covariance(x, x), covariance(y, y)
        if min(size) > 0:
            result[i, j] = result[j, i] = covariance(x, y) / math.sqrt(size[0] * size[1])
    return result


def _matched(scores: Sequence[HeadScores]) -> Float[np.ndarray, "m m"] | None:
    """Pearson's r of truth scores on matched rows; NaN where a model has none, or equal ones for all heads. None where
    no two have any."""
    maps = [s.metrics.get("matched") if s.kind == "truth" else None for s in scores]
    result = np.full((len(scores), len(scores)), math.nan)
    for i, j in combinations(range(len(scores)), 2):
        one, other = maps[i], maps[j]
        if one is not None and other is not None and min(one.std(), other.std()) > 0:  # not where one is NaN
            result[i, j] = result[j, i] = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return None if np.isnan(result).all() else result


def check_same_shape(sizes: Mapping[str, Size]) -> None:
    """Raises an InputError unless all have the same layers and heads; it says how to ask for the shared grid, if there
    is one."""
    if len({size[:2] for size in sizes.values()}) > 1:
        listed = ", ".join(f"{name} {L} x {H}" for name, (L, H, _) in sizes.items())
        try:
            shared_grid(list(sizes.values()))
        except InputError:
            raise InputError(
                f"the models have different layers x heads ({listed}), and their heads do not correspond; nor have "
                "they whole groups of heads in common"
            ) from None
        raise InputError(
            f"the models have different layers x heads ({listed}), and their heads do not correspond; "
            "--shared-grid (`shared_grid` in Python) compares the layers and heads that all of them have"
        )


@dataclass(frozen=True, eq=False)
class TruthCausal(Result):
    """By model; None where no correlation is defined."""

    command = "inherit"
    part = "truth_causal"

    values: Mapping[str, Relation | None]
    """Of the scores as they are."""
    ranks: Mapping[str, Relation | None]
    """Of their ranks inside layers: a few heads of the first layers carry most of the spread of causal scores and none
    of that of truth scores, so the test is made where each layer counts alike."""

    def __post_init__(self) -> None:
        if self.values.keys() != self.ranks.keys():
            raise InputError("values and ranks are not of the same models")

    @property
    def p_holm(self) -> dict[str, float | None]:
        """Of the ranks, Holm-adjusted over the models."""
        return holm_by_name({name: ranked and ranked.p_value for name, ranked in self.ranks.items()})

    def text(self, name: str) -> str:
        """What was found in one model."""
        one, ranked = self.values[name], self.ranks[name]
        if one is None or ranked is None:
            return "no correlation is defined"
        low, high = ranked.null_within_layer
        return (
            f"r {one.pearson:.2f}; ranks inside layers {ranked.pearson:.2f} "
            f"(null {low:.2f} to {high:.2f}, p = {ranked.p_value:.2g}, Holm {self.p_holm[name]:.2g})"
        )

    def tables(self) -> tuple[Table, ...]:
        """A row a model."""
        header = ("model", "r", "ranks inside layers", "null", "p", "p (Holm)")
        note = "Ranks inside layers: each layer counts alike, however far its causal scores spread."
        caption = "Truth against causal scores, over the heads of each model"
        return (table(caption, header, (self._row(name, p) for name, p in self.p_holm.items()), note),)

    def _row(self, name: str, p: float | None) -> Row:
        one, ranked = self.values[name], self.ranks[name]
        cells = ["", "", ""]
        if ranked is not None:
            cells = [number(ranked.pearson, 2), interval(ranked.null_within_layer), p_value(ranked.p_value)]
        return row(name, number(one and one.pearson, 2), *cells, Cell(p_value(p), strong=significant(p)))


def truth_against_causal(
    truth: Mapping[str, HeadScores], causal: Mapping[str, HeadScores], *, n_permutations: int = 9999, seed: int = 0
) -> TruthCausal:
    """Of every model that has both scores."""
    settings = {"n_permutations": n_permutations, "seed": seed}
    plain, ranked = (
        {
            name: relate(prepare(its.values), prepare(causal[name].values), n_kv_heads=its.n_kv_heads, **settings)
            for name, its in truth.items()
            if name in causal
        }
        for prepare in (np.asarray, ranks_within_layers)
    )
    return TruthCausal(plain, ranked)
