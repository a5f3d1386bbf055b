"""AUROC over groups: equal to scikit-learn's, to a loop over pairs, and to bootstraps of whole rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lens_truth.stats.ranking import auroc, auroc_inside


def problem(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    right = (rng.random(n) < 0.4).astype(float)
    scores = (rng.normal(size=n) + right).round(1)  # with ties
    return scores, right, [f"g{g}" for g in rng.integers(0, 12, n)], rng.integers(0, 5, n)


def by_pairs(scores: np.ndarray, right: np.ndarray, alike: np.ndarray) -> tuple[float, int]:
    wins, n = 0.0, 0
    for i in np.flatnonzero(right == 1):
        for j in np.flatnonzero(right == 0):
            if alike[i] == alike[j]:
                wins, n = wins + (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]), n + 1
    return wins / n, n


def test_all_pairs_are_scikit_learn_s() -> None:
    scores, right, groups, _ = problem()
    found = auroc(scores, right, groups, np.random.default_rng(0))
    assert found.value == pytest.approx(roc_auc_score(right, scores), abs=1e-12)
    assert found.n_pairs == right.sum() * (1 - right).sum()
    assert found.low < found.value < found.high


def test_pairs_of_one_stratum_or_question() -> None:
    scores, right, groups, strata = problem()
    wanted, n = by_pairs(scores, right, strata)
    found = auroc(scores, right, groups, np.random.default_rng(0), strata=strata)
    assert (found.value, found.n_pairs) == (pytest.approx(wanted, abs=1e-12), n)
    inside = auroc_inside(scores, right, [f"g{s}" for s in strata], strata, np.random.default_rng(0))
    assert (inside.value, inside.n_pairs) == (pytest.approx(wanted, abs=1e-12), n)


def test_the_interval_is_that_of_drawing_groups() -> None:
    """Of rows that are really drawn, group by group, and ranked anew."""
    scores, right, groups, strata = problem()
    names = np.array(groups)
    for alike in (np.zeros(len(scores), dtype=int), strata):
        found = auroc(scores, right, groups, np.random.default_rng(1), strata=alike)
        rng, drawn = np.random.default_rng(2), []
        for _ in range(400):
            rows = np.concatenate([np.flatnonzero(names == g) for g in rng.choice(np.unique(names), 12)])
            drawn.append(by_pairs(scores[rows], right[rows], alike[rows])[0])
        assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_rows_without_a_score_and_no_pairs() -> None:
    scores, right, groups, strata = problem()
    missing = scores.copy()
    missing[::3] = np.nan
    rest = np.isfinite(missing)
    found = auroc(missing, right, groups, np.random.default_rng(0), strata=strata)
    assert found.value == pytest.approx(by_pairs(scores[rest], right[rest], strata[rest])[0])
    inside = auroc_inside(missing, right, ["g"] * len(right), strata, np.random.default_rng(0))
    assert inside.value == pytest.approx(found.value)
    for none in (
        auroc(scores, right * 0, groups, np.random.default_rng(0)),
        auroc_inside(scores, right * 0, groups, strata, np.random.default_rng(0)),
    ):
        assert none.n_pairs == 0 and np.isnan([none.value, none.low, none.high]).all()
