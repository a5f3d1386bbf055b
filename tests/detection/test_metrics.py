"""What scores are worth, held against scikit-learn and against definitions by loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from lens_truth.detection import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 60)
SMOOTH = RNG.normal(size=60) + 0.8 * LABELS
TIED = SMOOTH.round(0)
WEIGHTS = RNG.integers(0, 4, (7, 60)).astype(float)
ONE = np.ones((1, 60))


@pytest.mark.parametrize("scores", [SMOOTH, TIED], ids=["smooth", "tied"])
def test_equal_scikit_learn(scores: np.ndarray) -> None:
    auroc, found = metrics.auroc(scores, LABELS, WEIGHTS), metrics.average_precision(scores, LABELS, WEIGHTS)
    probability = 1 / (1 + np.exp(-scores))
    brier = metrics.brier(probability, LABELS, WEIGHTS)
    accuracy = metrics.accuracy(scores, LABELS, WEIGHTS, 0.3)
    learn: Any = sk
    for draw, weights in enumerate(WEIGHTS):
        assert auroc[draw] == pytest.approx(learn.roc_auc_score(LABELS, scores, sample_weight=weights), abs=1e-12)
        wanted = learn.average_precision_score(1 - LABELS, -scores, sample_weight=weights)
        assert found[draw] == pytest.approx(wanted, abs=1e-12)
        wanted = learn.brier_score_loss(LABELS, probability, sample_weight=weights)
        assert brier[draw] == pytest.approx(wanted, abs=1e-12)
        wanted = learn.accuracy_score(LABELS, scores > 0.3, sample_weight=weights)
        assert accuracy[draw] == pytest.approx(wanted, abs=1e-12)


def test_undefined_without_a_class() -> None:
    weights = np.stack([LABELS * 1.0, 1.0 - LABELS])
    assert np.isnan(metrics.auroc(SMOOTH, LABELS, weights)).all()
    found = metrics.average_precision(SMOOTH, LABELS, weights)
    assert np.isnan(found[0]) and found[1] == 1


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.05, 0.95, 0.95, 1.0])
    labels = np.array([0, 1, 0, 1])
    # bins 0 and 9: |0 - .05| * 1/4 + |2/3 - 2.9/3| * 3/4
    assert metrics.calibration_error(probability, labels, np.ones((1, 4)))[0] == pytest.approx(0.0125 + 0.225)
    assert metrics.bins_of(probability).tolist() == [0, 9, 9, 9]
    right = metrics.calibration_error(np.array([0.0, 1.0]), np.array([0, 1]), np.ones((1, 2)))
    assert right[0] == 0


def test_risk_by_loops() -> None:
    order = np.argsort(-SMOOTH)
    risks = [float(np.mean(LABELS[order[:n]] == 0)) for n in range(1, 61)]
    assert metrics.risk_area(SMOOTH, LABELS, ONE)[0] == pytest.approx(np.mean(risks), abs=1e-12)
    for n in (15, 30, 45):
        assert metrics.kept_accuracy(SMOOTH, LABELS, ONE, n / 60)[0] == pytest.approx(1 - risks[n - 1], abs=1e-12)
    curve = metrics.risk_curve(SMOOTH, LABELS, np.array([0.5, 1.0]))
    assert curve == pytest.approx([risks[29], np.mean(LABELS == 0)])


def test_risk_of_ties_is_the_mean_over_orders() -> None:
    scores, labels = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), np.array([0, 1, 0, 1, 1])
    areas: list[float] = []
    for broken in product(range(3), repeat=3):
        if len(set(broken)) == 3:
            smooth = scores + np.array([0, *(0.1 * its for its in broken), 0])
            areas.append(float(metrics.risk_area(smooth, labels, np.ones((1, 5)))[0]))
    assert metrics.risk_area(scores, labels, np.ones((1, 5)))[0] == pytest.approx(np.mean(areas))


def test_a_row_that_is_drawn_twice_is_two_rows() -> None:
    """So the interval of the area under a perfect ranking holds the area itself."""
    scores, labels = np.arange(20.0), (np.arange(20) >= 10).astype(int)
    weights = np.repeat([[2.0]], 20, axis=1)
    twice = metrics.risk_area(np.repeat(scores, 2), np.repeat(labels, 2), np.ones((1, 40)))[0]
    assert metrics.risk_area(scores, labels, weights)[0] == pytest.approx(twice, abs=2e-3)
    groups = [str(row) for row in range(20)]
    drawn = metrics.risk_area(scores, labels, metrics.drawn_weights(groups, 500, 0))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert low < metrics.risk_area(scores, labels, np.ones((1, 20)))[0] < high


def test_threshold() -> None:
    best = max(
        (float(np.mean((cut < SMOOTH) == LABELS)) for cut in np.r_[-9.0, SMOOTH, 9.0]),
    )
    cut = metrics.best_threshold(SMOOTH, LABELS)
    assert np.mean((cut < SMOOTH) == LABELS) == pytest.approx(best)
    assert metrics.best_threshold(np.array([0.0, 1, 4, 5]), np.array([0, 0, 1, 1])) == 2.5
    inverted = np.array([0.0, 1, 2, 3, 4])
    labels = np.array([1, 1, 1, 0, 0])
    assert (inverted > metrics.best_threshold(inverted, labels)).all()  # calling all alike is best
    assert (np.zeros(4) > metrics.best_threshold(np.zeros(4), np.array([1, 1, 1, 0]))).all()


def test_groups_are_drawn_whole() -> None:
    weights = metrics.drawn_weights(["a", "a", "b", "c", "c", "c"], 50, 0)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all() and len(np.unique(weights, axis=0)) > 5
    assert (metrics.drawn_weights(["a", "b"], 9, 1) == metrics.drawn_weights(["a", "b"], 9, 1)).all()
