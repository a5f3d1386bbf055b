"""Scores over training, and change points."""

from __future__ import annotations

from functools import partial
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from lens_truth.errors import InputError
from lens_truth.geometry.change_point import change_points
from lens_truth.geometry.over_training import Checkpoint, series
from lens_truth.geometry.series_result import Series, least_p
from tests.over_domains import made

STEPS = np.arange(0, 1000, 100)


def _checkpoint(step: int, score_from: int = 300, behaves_from: int = 600, heads: int = 2) -> Checkpoint:
    """The score appears at one step, the behaviour at another."""
    size = np.zeros((2, heads, 5))
    size[1, 1] = 2.0 * (step >= score_from)
    its = made(size, 160, 0)
    rng = np.random.default_rng(step)
    marks = (rng.random(80) < (0.95 if step >= behaves_from else 0.5)).astype(float)
    return Checkpoint(step, its, marks, its.groups[::2])


def test_a_break_is_where_least_squares_has_it() -> None:
    rng = np.random.default_rng(0)
    curves = rng.normal(size=(20, 10)) + 2.0 * (np.arange(10) >= 4)
    found = change_points(STEPS, curves)
    for curve, at, explained in zip(curves, found.at, found.explained, strict=True):
        losses = [
            ((curve[:i] - curve[:i].mean()) ** 2).sum() + ((curve[i:] - curve[i:].mean()) ** 2).sum()
            for i in range(1, 10)
        ]
        best = int(np.argmin(losses)) + 1
        assert at == STEPS[best] - 50
        assert explained == pytest.approx(1 - min(losses) / ((curve - curve.mean()) ** 2).sum())


def test_the_middle_of_a_rise_is_found_to_an_eighth_of_a_checkpoint() -> None:
    curve = 0.5 + 0.4 / (1 + np.exp(-(np.arange(10) - 5.25) / 1.0))
    found = change_points(STEPS, curve[None], "sigmoid")
    assert found.at[0] == pytest.approx(525, abs=1e-9)
    assert found.explained[0] == pytest.approx(1)


def test_unequal_steps_are_told_in_steps_and_a_flat_curve_explains_nothing() -> None:
    steps = np.array([0, 10, 100, 1000])
    assert change_points(steps, np.array([[0.0, 0, 1, 1]])).at[0] == 55
    assert change_points(steps, np.full((1, 4), 0.7)).explained[0] == 0


def test_a_score_that_comes_first_is_seen_to_come_first() -> None:
    found = series([partial(_checkpoint, step) for step in STEPS.tolist()], n_draws=200)
    assert found.head == (1, 1)
    assert found.changes["best head"].at == 250
    assert found.changes["behaviour"].at == 550
    assert found.changes["best head"].p_value < 0.05
    apart, low, high = found.lead["best head"]
    assert (apart, high < 0) == (-300, True)
    assert low <= apart <= high
    assert "before it" in found.verdicts()[0]
    assert found.curves["cosine"][-1] == pytest.approx(1)
    assert found.curves["cosine"][0] < 0.9


def test_noise_has_no_change_point() -> None:
    found = series([partial(_checkpoint, step, 10**9, 10**9) for step in STEPS.tolist()], n_draws=200)
    assert found.changes["behaviour"].p_value > 0.05
    assert found.verdicts()[0].startswith("The behaviour has no change point")


def test_of_few_checkpoints_nothing_can_be_told_from_chance() -> None:
    """The clearest break there is, among all orders of its checkpoints."""
    for n in (4, 5, 7, 8):
        curve = (np.arange(n) >= (n + 1) // 2).astype(float)
        orders = np.array([np.isin(np.arange(n), its) for its in combinations(range(n), int(curve.sum()))], dtype=float)
        reached = change_points(np.arange(n), orders).explained >= 1 - 1e-9
        assert reached.mean() == pytest.approx(least_p(n, "break"))
    assert least_p(7, "break") > 0.05 > least_p(8, "break")
    rise = 1 / (1 + np.exp(-(np.arange(4) - 1.5)))
    orders = rise[np.array(list(permutations(range(4))))]
    assert (change_points(np.arange(4), orders, "sigmoid").explained >= 1 - 1e-9).mean() == least_p(4, "sigmoid")
    found = series([partial(_checkpoint, step, 200, 200) for step in (0, 100, 200, 300)], n_draws=200)
    assert found.verdicts() == [
        "4 checkpoints are too few to tell a change point from chance: even the clearest comes up in 0.33 of their "
        "orders."
    ]


def test_p_takes_checkpoints_for_exchangeable() -> None:
    """Of noise p is below .05 as often as it says, of a curve that drifts far more often."""
    rng, n, T = np.random.default_rng(0), 300, 13
    for curves, low, high in ((rng.normal(size=(n, T)), 0.01, 0.08), (rng.normal(size=(n, T)).cumsum(1), 0.5, 0.85)):
        explained = change_points(np.arange(T), curves).explained
        null = [change_points(np.arange(T), rng.permuted(curves, axis=1)).explained for _ in range(99)]
        p = (1 + (np.array(null) >= explained - 1e-9).sum(0)) / 100
        assert low < (p <= 0.05).mean() < high


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    reads = [partial(_checkpoint, step) for step in STEPS[2:7].tolist()]
    found = series(reads, n_draws=20, shape="sigmoid")
    found.save(tmp_path)
    assert Series.load(tmp_path) == found == series(reads, n_draws=20, shape="sigmoid")
    assert [len(table.rows) for table in found.tables()] == [5, 5]


def test_refuses_a_series_out_of_order_too_short_or_of_several_shapes() -> None:
    with pytest.raises(InputError, match="out of order: step 100 comes after step 200"):
        series([partial(_checkpoint, step) for step in (0, 200, 100, 300)])
    with pytest.raises(InputError, match="1 checkpoint given; a change point needs at least 4"):
        series([partial(_checkpoint, 0)])
    with pytest.raises(InputError, match="step 100 has 2 x 3 x 5 activations a row, that of step 0 2 x 2 x 5"):
        series([partial(_checkpoint, 0), partial(_checkpoint, 100, heads=3)])
    with pytest.raises(InputError, match="there are no checkpoints"):
        series([])
