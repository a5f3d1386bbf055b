"""Lists of heads against scores and one another, beside definitions written out."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from lens_truth.stats.listed import listed_against, overlap


def marked(shape: tuple[int, int], *heads: tuple[int, int]) -> np.ndarray:
    marks = np.zeros(shape, dtype=bool)
    for head in heads:
        marks[head] = True
    return marks


def pairs_won(marks: np.ndarray, scores: np.ndarray) -> float:
    """Pair by pair."""
    won = []
    for layer in range(len(scores)):
        for i, j in product(range(scores.shape[1]), repeat=2):
            if marks[layer, i] and not marks[layer, j]:
                won.append((1 + np.sign(scores[layer, i] - scores[layer, j])) / 2)
    return float(np.mean(won))


def test_auroc_is_the_share_of_pairs_inside_layers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        scores = rng.integers(0, 4, size=(5, 6)).astype(float)  # with ties
        marks = rng.random((5, 6)) < 0.4
        found = listed_against(marks, scores, n_permutations=10, n_bootstrap=10)
        assert found.auroc == pytest.approx(pairs_won(marks, scores), abs=1e-12)
        listed, others = scores[marks], scores[~marks]
        over_all = stats.mannwhitneyu(listed, others).statistic / (len(listed) * len(others))
        assert found.auroc_all == pytest.approx(over_all, abs=1e-12)


def test_ranks_and_the_top_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.3], [0.2, 0.8, 0.7, 0.6]])
    found = listed_against(marked((2, 4), (0, 0), (1, 2)), scores, n_permutations=99)
    assert found.auroc == pytest.approx((3 + 2) / 6)
    assert found.mean_rank == pytest.approx((1 + 2) / 2)
    assert found.n_in_top == 1  # 0.9 and 0.8 are the two highest
    assert found.expected_in_top == pytest.approx(1 / 4 + 1 / 4)


def test_the_null_is_every_order_of_a_layer() -> None:
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    marks = marked((1, 4), (0, 0), (0, 1))
    exact = [pairs_won(marks, scores[:, order]) for order in permutations(range(4))]
    found = listed_against(marks, scores, n_permutations=40_000, n_bootstrap=10)
    p = np.mean(np.abs(np.array(exact) - 0.5) >= abs(found.auroc - 0.5) - 1e-9)
    assert found.auroc == 1 and found.p_value == pytest.approx(p, abs=0.01)
    assert found.null == tuple(np.quantile(exact, [0.025, 0.975]))


def test_depth_alone_is_no_agreement() -> None:
    """A list of the deepest heads against a score that grows with depth: all of it over layers, nothing inside."""
    rng = np.random.default_rng(1)
    scores = np.arange(16.0)[:, None] + rng.random((16, 8))
    marks = np.zeros((16, 8), dtype=bool)
    marks[8:, :4] = True
    found = listed_against(marks, scores)
    assert found.auroc_all > 0.8 and found.null[0] <= found.auroc <= found.null[1] and found.p_value > 0.05


def test_heads_that_share_keys_are_shuffled_together() -> None:
    """Both heads of a group on the list or neither: by far fewer orders than free shuffles have."""
    scores = np.repeat(np.random.default_rng(2).random((6, 4)), 2, axis=1)
    marks = np.zeros((6, 8), dtype=bool)
    marks[:, :2] = True
    free, grouped = (listed_against(marks, scores, n_kv_heads=kv, n_permutations=2000) for kv in (8, 4))
    assert np.ptp(grouped.null) > 1.2 * np.ptp(free.null) and np.ptp(grouped.interval) > np.ptp(free.interval)


def test_the_interval_covers_and_p_values_hold_their_level() -> None:
    rng = np.random.default_rng(3)
    low = high = rejected = 0
    for _ in range(200):
        scores, marks = rng.random((12, 8)), rng.random((12, 8)) < 0.3
        found = listed_against(marks, scores, n_permutations=199, n_bootstrap=200)
        low, high = low + (found.interval[0] > 0.5), high + (found.interval[1] < 0.5)
        rejected += found.p_value < 0.05
    assert low + high <= 24 and rejected <= 20  # of 200: 10 each at the level


def test_a_planted_list_is_found() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(12, 8))
    marks = rng.random((12, 8)) < 0.25
    found = listed_against(marks, scores + 1.5 * marks)
    assert found.auroc > 0.75 and found.p_value < 0.001 and found.interval[0] > 0.5


def test_where_nothing_can_be_compared() -> None:
    marks = np.zeros((3, 4), dtype=bool)
    marks[1] = True  # the whole of a layer
    found = listed_against(marks, np.random.default_rng(5).random((3, 4)))
    assert np.isnan([found.auroc, *found.interval, *found.null, found.p_value, found.mean_rank]).all()
    assert found.n_in_top <= 4 and found.expected_in_top == found.n_in_top  # the whole layer, however it is shuffled


def test_overlap_by_hand() -> None:
    one = marked((2, 4), (0, 0), (0, 1), (1, 3))
    other = marked((2, 4), (0, 1), (1, 3), (1, 2))
    found = overlap(one, other, n_permutations=20_000)
    assert found.n_shared == 2 and found.expected == pytest.approx(2 * 1 / 4 + 1 * 2 / 4)
    # layer 0: 0 or 1 shared with 1/2 each; layer 1 the same; as far from 1 as 2 is: both or none
    assert found.p_value == pytest.approx(0.5, abs=0.02) and found.null == (0, 2)
