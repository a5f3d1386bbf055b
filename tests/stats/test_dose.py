"""Dose-response curves against NumPy and SciPy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lens_truth.errors import InputError
from lens_truth.stats.dose import against_controls, dose_response, slope_weights

ALPHAS = [0.0, 0.5, 1.0, 2.0]


def outcomes(n: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=n) + 0.4 * np.array(ALPHAS)[:, None] + 0.2 * rng.normal(size=(4, n))
    return (latent > 0).astype(float)


def least_squares(levels: np.ndarray) -> float:
    return float(np.cov(ALPHAS, levels)[0, 1] / np.var(ALPHAS, ddof=1))


def test_slope_is_the_least_squares_line() -> None:
    y = outcomes()
    found = dose_response(y, ALPHAS)
    assert np.isclose(found.slope.value, 100 * least_squares(y.mean(1)), rtol=1e-12)
    assert np.allclose([level.value for level in found.levels], 100 * y.mean(1))
    assert np.allclose(slope_weights([0.0, 1.0, 2.0]), [-0.5, 0.0, 0.5])


def test_intervals_are_those_of_a_bootstrap_written_out() -> None:
    y = outcomes(60)
    found = dose_response(y, ALPHAS, seed=7)
    rng = np.random.default_rng(7)
    drawn = [rng.integers(0, 60, size=60) for _ in range(10_000)]
    slopes = [100 * slope_weights(ALPHAS) @ y[:, at].mean(1) for at in drawn]
    assert np.allclose((found.slope.ci_low, found.slope.ci_high), np.quantile(slopes, [0.025, 0.975]))
    changes = [100 * (y[3, at] - y[2, at]).mean() for at in drawn]
    its = found.change(2.0).change
    assert np.allclose((its.ci_low, its.ci_high), np.quantile(changes, [0.025, 0.975]))


def test_groups_are_drawn_whole() -> None:
    """Every item three times over: as uncertain as without the copies, which the items by themselves deny."""
    y = outcomes(80)
    once = dose_response(y, ALPHAS)
    copies, names = np.repeat(y, 3, axis=1), [str(i // 3) for i in range(240)]
    grouped = dose_response(copies, ALPHAS, names)
    assert np.allclose((grouped.slope.ci_low, grouped.slope.ci_high), (once.slope.ci_low, once.slope.ci_high))
    single = dose_response(copies, ALPHAS)
    widths = [its.slope.ci_high - its.slope.ci_low for its in (single, grouped)]
    assert widths[0] < 0.7 * widths[1]
    assert (grouped.n, grouped.n_groups) == (240, 80)


def test_changes_are_paired() -> None:
    y = outcomes()
    its = dose_response(y, ALPHAS).change(2.0)
    gained, lost = int((y[3] > y[2]).sum()), int((y[3] < y[2]).sum())
    assert (its.start, its.gained, its.lost) == (1.0, gained, lost)
    assert its.p_value == stats.binomtest(gained, gained + lost).pvalue
    assert np.isclose(its.change.value, 100 * (gained - lost) / 200)


def test_scores_keep_their_unit_and_missing_items_are_left_out() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(4, 50)) + np.array(ALPHAS)[:, None]
    y[2, :5] = np.nan
    found = dose_response(y, ALPHAS, scale=1, reference=0.0)
    assert found.n == 45
    assert np.isclose(found.slope.value, least_squares(y[:, 5:].mean(1)))
    assert found.reference == 0.0
    assert 0 < found.change(2.0).p_value < 0.01


@pytest.mark.parametrize(
    ("means", "order"), [((1, 1, 2), "rises"), ((3, 2, 2), "falls"), ((1, 1, 1), "level"), ((1, 2, 1), "neither")]
)
def test_order(means: tuple[int, ...], order: str) -> None:
    y = np.array([[1.0] * n + [0.0] * (4 - n) for n in means])
    assert dose_response(y, [0.0, 1.0, 2.0]).order == order


def test_doses_may_come_in_any_order() -> None:
    y = outcomes()
    assert dose_response(y[::-1], ALPHAS[::-1]) == dose_response(y, ALPHAS)


def test_controls() -> None:
    y, controls = outcomes(), np.stack([np.tile(outcomes(seed=i)[0], (4, 1)) for i in range(1, 6)])
    controls[0, 3, :2] = 1 - controls[0, 3, :2]
    found = against_controls(y, controls, ALPHAS)
    slopes = [dose_response(its, ALPHAS).slope.value for its in controls]
    assert np.allclose(found.slopes, slopes)
    assert np.isclose(found.difference.value, dose_response(y, ALPHAS).slope.value - np.mean(slopes))
    assert (found.as_steep, found.p_value, found.least_p) == (0, 1 / 6, 1 / 6)
    around = stats.t.ppf(0.975, 4) * np.std(slopes, ddof=1) * np.sqrt(1.2)
    assert np.allclose(found.expected, (np.mean(slopes) - around, np.mean(slopes) + around))
    assert found.beyond
    assert not against_controls(controls[1], controls, ALPHAS).beyond
    alone = against_controls(y, controls[:1], ALPHAS)
    assert np.isnan(alone.expected).all()
    assert not alone.beyond


@pytest.mark.parametrize(
    ("alphas", "complaint"),
    [
        ([0.0], "one alpha"),
        ([0.0, 0.0], "stands twice"),
        ([0.0, float("inf")], "finite"),
    ],
)
def test_bad_doses(alphas: list[float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        dose_response(np.zeros((len(alphas), 3)), alphas)


def test_no_item_at_every_dose_and_no_control() -> None:
    with pytest.raises(InputError, match="no item"):
        dose_response(np.array([[1.0, np.nan], [np.nan, 1.0]]), [0.0, 1.0])
    with pytest.raises(InputError, match="there is none"):
        against_controls(outcomes(), np.zeros((0, 4, 200)), ALPHAS)
    with pytest.raises(InputError, match="no change from"):
        dose_response(outcomes(), ALPHAS).change(7.0)
