"""Odd points: found where one was put, and seldom where none was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from lens_truth.stats.dose_flags import odd_points

ALPHAS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def curve(slope: float, noise: float, n: int = 500, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) + slope * np.array(ALPHAS)[:, None] + noise * rng.normal(size=(7, n))


def other_way(y: np.ndarray, at: int, seed: int = 1) -> np.ndarray:
    """The scores with those of one dose computed another way: half a spread lower, and other items."""
    rng = np.random.default_rng(seed)
    y = y.copy()
    y[at] += rng.normal(size=y.shape[1]) - 0.5
    return y


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("binary", [True, False])
def test_a_point_computed_another_way_is_found(at: int, binary: bool) -> None:
    y = other_way(curve(0.1, 0.1), at)
    found = odd_points((y > 0).astype(float) if binary else y, ALPHAS)
    assert [point.alpha for point in found] == [ALPHAS[at]]
    assert found[0].off_line.ci_high < 0
    assert not found[0].by_level


def test_odd_of_three_is_counted_and_tested_exactly() -> None:
    y = np.zeros((5, 60))
    y[2, :12] = 1  # odd at 1.0
    y[3:, 20:23] = 1  # changes between 1.0 and 1.5, and stays
    y[4, 30] = y[0, 31] = 1
    (found,) = odd_points(y, ALPHAS[:5])
    assert (found.alpha, found.odd, found.moved) == (1.0, 12, 15)
    assert np.isclose(found.p_value, stats.binom.sf(11, 15, 1 / 3))
    assert np.isclose(found.off_line.value, 100 * (12 - 1.5) / 60)


def test_two_points_and_their_neighbours() -> None:
    y = other_way(other_way(curve(0.0, 0.05), 2), 4, seed=2)
    assert [point.alpha for point in odd_points((y > 0).astype(float), ALPHAS)] == [1.0, 2.0]


def test_a_jump_between_answers_that_come_and_go() -> None:
    """Sampled answers: no single item tells, the level does."""
    rng = np.random.default_rng(0)
    y = (rng.random((7, 3000)) < 0.5).astype(float)
    y[2] = rng.random(3000) < 0.6
    (found,) = odd_points(y, ALPHAS)
    assert (found.alpha, found.by_level) == (1.0, True)


def test_groups_count_once() -> None:
    """The same few groups, ten copies of each: no more is known of them."""
    y = np.zeros((5, 30))
    y[2, :3] = y[4, 3] = 1
    assert odd_points(np.repeat(y, 10, axis=1), ALPHAS[:5])
    assert not odd_points(np.repeat(y, 10, axis=1), ALPHAS[:5], [str(i // 10) for i in range(300)])


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda a: 0 * a,
    "line": lambda a: 0.5 * a,
    "saturates": lambda a: 1.5 * np.tanh(2 * a),
    "threshold": lambda a: 2 / (1 + np.exp(-8 * (a - 1.5))),
    "round peak": lambda a: -0.5 * (a - 1) ** 2,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_false_alarms_are_rare(form: str, noise: float) -> None:
    """Of 60 curves each at most two; benchmarks/dose_flags.py counts a thousand."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(60):
        effect = rng.uniform(0, 2, size=300) * FORMS[form](np.array(ALPHAS))[:, None]
        y = rng.normal(size=300) + effect + noise * rng.normal(size=(7, 300))
        alarms += bool(odd_points((y > 0).astype(float), ALPHAS))
    assert alarms <= 2


def test_of_three_doses_most_items_have_to_say_so() -> None:
    y = np.zeros((3, 100))
    y[1, :30] = y[2, 30:65] = 1  # 30 of 65 are beyond a third, not beyond half; 30 of 55 are
    assert stats.binom.sf(29, 65, 1 / 3) < 0.05
    assert not odd_points(y, ALPHAS[:3])
    (found,) = odd_points(y[:, :55], ALPHAS[:3])
    assert (found.odd, found.moved) == (30, 55)
    assert np.isclose(found.p_value, stats.binom.sf(29, 55, 1 / 3))


def test_too_few_doses_or_items_say_nothing() -> None:
    assert odd_points(np.zeros((2, 5)), [0.0, 1.0]) == ()
    assert odd_points(np.full((4, 5), np.nan), ALPHAS[:4]) == ()
    assert odd_points(np.zeros((4, 5)), ALPHAS[:4]) == ()
