"""AUROC as what it is, a share of pairs, with an interval over groups; of all pairs, or of those that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lens_truth.stats.bootstrap import bootstrap_interval, group_sums


@dataclass(frozen=True)
class Auroc:
    """The share of pairs of a right and a wrong row in which the right one has the higher score (half of ties)."""

    value: float
    """NaN where there is no pair."""
    low: float
    """95% percentile interval, groups drawn with replacement."""
    high: float
    n_pairs: int


def auroc(
    scores: Float[np.ndarray, " N"],
    right: Float[np.ndarray, " N"],
    groups: Sequence[str],
    rng: np.random.Generator,
    *,
    strata: Int[np.ndarray, " N"] | None = None,
    n_draws: int = 2000,
) -> Auroc:
    """Over all pairs, or over those of one stratum (answers of one length, say). Rows without a score have no part."""
    kept = np.isfinite(scores)
    strata = np.zeros(len(scores), dtype=int) if strata is None else strata
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    G = len(names)
    wins, pairs = np.zeros(G * G), np.zeros(G * G)
    for stratum in np.unique(strata):
        here = kept & (strata == stratum)
        one, other = np.flatnonzero(here & (right > 0)), np.flatnonzero(here & (right == 0))
        above = np.sign(scores[one][:, None] - scores[other][None])
        cell = (number[one][:, None] * G + number[other][None]).ravel()
        wins += np.bincount(cell, (1 + above.ravel()) / 2, minlength=G * G)
        pairs += np.bincount(cell, minlength=G * G)
    if not pairs.sum():
        return Auroc(float("nan"), float("nan"), float("nan"), 0)
    draws = rng.multinomial(G, np.full(G, 1 / G), size=n_draws).astype(float)
    total, mass = (((draws @ its.reshape(G, G)) * draws).sum(1) for its in (wins, pairs))
    low, high = np.quantile(total[mass > 0] / mass[mass > 0], [0.025, 0.975])
    return Auroc(float(wins.sum() / pairs.sum()), float(low), float(high), int(pairs.sum()))


def auroc_inside(
    scores: Float[np.ndarray, " N"],
    right: Float[np.ndarray, " N"],
    groups: Sequence[str],
    question: Int[np.ndarray, " N"],
    rng: np.random.Generator,
    *,
    n_draws: int = 2000,
) -> Auroc:
    """Over the pairs of one question alone: what is easy about a question has no part in it. A question lies in one
    group, and each pair counts as much as any."""
    kept = np.isfinite(scores)
    wins, pairs = np.zeros(len(scores)), np.zeros(len(scores))  # at the first row of each question
    for its in np.unique(question[kept]):
        rows = np.flatnonzero(kept & (question == its))
        one, other = scores[rows[right[rows] > 0]], scores[rows[right[rows] == 0]]
        wins[rows[0]] = ((1 + np.sign(one[:, None] - other[None])) / 2).sum()
        pairs[rows[0]] = len(one) * len(other)
    if not pairs.sum():
        return Auroc(float("nan"), float("nan"), float("nan"), 0)
    low, high = bootstrap_interval(group_sums(wins, groups), group_sums(pairs, groups), n_draws, rng)
    return Auroc(float(wins.sum() / pairs.sum()), float(low), float(high), int(pairs.sum()))
