"""Are head scores passed on from model to model? Every pair against its null, its ceiling and a floor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.lineage.agreement import Heritability
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import correlate, remove_layer_means


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

    ```python
    found = lens_truth.heritability({"base": base, "child": child, "stranger": other})
    print(found.verdicts())
    found.plot()
    ```
    """
    repeats = repeats or {}
    for name in [*repeats, *unrelated]:
        if name not in scores:
            raise InputError(f"'{name}' is not one of the models compared: {', '.join(scores)}")
    if len(set(unrelated)) == 1:
        raise InputError(f"only '{unrelated[0]}' is named as unrelated; a floor needs two models or more")
    check_same_shape(scores)
    kv = [its.n_kv_heads for its in scores.values()]
    correlations = correlate(
        {name: its.values for name, its in scores.items()},
        n_kv_heads=kv,
        n_permutations=n_permutations,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    raw, within = (
        tuple(_reliability(name, its, repeats.get(name, ()), within=inside) for name, its in scores.items())
        for inside in (False, True)
    )
    return Heritability(
        names=tuple(scores),
        kinds=tuple(its.kind for its in scores.values()),
        shape=next(iter(scores.values())).values.shape,
        n_kv_heads=tuple(kv),
        correlations=correlations,
        reliability=raw,
        reliability_within_layer=within,
        disattenuated=_disattenuated(list(scores.values()), within=False),
        disattenuated_within_layer=_disattenuated(list(scores.values()), within=True),
        unrelated=tuple(dict.fromkeys(unrelated)),
    )


def shared_grid(scores: Sequence[HeadScores]) -> tuple[int, int]:
    """The layers and heads that all models have: the first so many of each, whole KV groups only (`HeadScores.crop`).

    Heads of different architectures that carry the same number have nothing else in common; use it to see that.

    Raises:
        InputError: if there is no such grid.
    """
    fewest = min(its.n_heads for its in scores)
    H = fewest - fewest % math.lcm(*(its.n_heads // (its.n_kv_heads or its.n_heads) for its in scores))
    if H == 0:
        raise InputError("the models share no whole group of heads, so there is no grid to compare them on")
    return min(its.n_layers for its in scores), H


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
        check_same_shape({name: scores, **{f"repeat {i} of {name}": s for i, s in enumerate(repeats, start=1)}})
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


def check_same_shape(scores: Mapping[str, HeadScores]) -> None:
    """Raises an InputError, which says how to ask for the shared grid, unless all have the same layers and heads."""
    sizes = {name: its.values.shape for name, its in scores.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {L} x {H}" for name, (L, H) in sizes.items())
        raise InputError(
            f"the models have different layers x heads ({listed}), and their heads do not correspond; "
            "--shared-grid (`shared_grid` in Python) compares the layers and heads that all of them have"
        )
