"""What a paired test could have shown, against simulations in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lens_truth.stats.paired import compare
from lens_truth.stats.power import detectable_difference


def changed(gained: int, lost: int, of: int, rows: int = 1) -> np.ndarray:
    """Totals of groups of so many rows."""
    return rows * np.repeat([1.0, -1.0, 0.0], [gained, lost, of - gained - lost])


def test_where_nothing_changes_six_gains_are_needed() -> None:
    """p = 2 / 2^6 is the first below .05; so the number of gains has to be 6 or more four times in five."""
    for n in (40, 133, 1000):
        assert binom.sf(5, n, detectable_difference(np.zeros(n), n)) == pytest.approx(0.8, abs=2e-3)
    assert detectable_difference(np.zeros(100), 1000) == pytest.approx(detectable_difference(np.zeros(100), 100))


def test_five_groups_show_nothing() -> None:
    assert np.isnan(detectable_difference(np.zeros(5), 5)) and np.isnan(detectable_difference(3 * np.ones(5), 15))
    assert detectable_difference(np.ones(6), 6) < 1  # all six gain, nearly always


def test_which_way_groups_changed_does_not_matter() -> None:
    one, other = changed(20, 0, 100), changed(9, 11, 100)
    assert detectable_difference(one, 100) == detectable_difference(other, 100)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(2, 6))
def test_noise_and_smaller_sets_hide_more(gained: int, more: int, rows: int) -> None:
    noisy, quiet = (detectable_difference(changed(n, 0, 60), 60) for n in (gained + more, gained))
    assert noisy >= quiet - 1e-3
    assert detectable_difference(np.tile(changed(gained, 0, 60), 4), 240) < quiet
    assert detectable_difference(changed(gained, 0, 60, rows), 60 * rows) == pytest.approx(quiet)


@pytest.mark.parametrize(("G", "share"), [(133, 0.15), (133, 0.02), (60, 0.4)])
def test_four_such_tests_in_five_find_it(G: int, share: float) -> None:
    """Questions by themselves: as many change as did, or as many as the gain takes; McNemar's test of each draw."""
    difference = detectable_difference(changed(round(share * G), 0, G), G)
    share, rng = max(round(share * G) / G, difference), np.random.default_rng(0)
    moved = rng.binomial(G, share, size=2000)
    gained = rng.binomial(moved, (1 + difference / share) / 2)
    assert (2 * gained - moved).mean() / G == pytest.approx(difference, abs=0.004)
    p = 2 * binom.sf(gained - 1, moved, 0.5)  # McNemar's, of a gain
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_four_in_five_of_groups_that_change_by_unequal_amounts() -> None:
    """Sixty groups of four rows of which two in five change, by one to four rows; the sign-flip test of each draw."""
    rng, n, names = np.random.default_rng(0), 240, [f"g{i // 4:02}" for i in range(240)]
    by = rng.integers(1, 5, size=60) * (np.arange(60) % 5 < 2)
    difference = detectable_difference(by.astype(float), n)
    net = difference * n / by[by > 0].mean() / 60

    def draw() -> tuple[np.ndarray, np.ndarray]:
        sizes = rng.integers(1, 5, size=60) * (rng.random(60) < 0.4)
        first = (np.arange(4) < sizes[:, None]).astype(float)
        up = rng.random((60, 1)) < (1 + net / 0.4) / 2
        return (first * up).reshape(1, -1), (first * ~up).reshape(1, -1)

    found = [compare(*draw(), names, 0).gained for _ in range(100)]
    assert 0.7 < np.mean(found) < 0.95  # unequal groups are worth a little more than is reckoned


def test_a_comparison_says_it() -> None:
    first, second = np.zeros((1, 40)), np.zeros((1, 40))
    first[0, :3] = second[0, 3:9] = 1
    its = compare(first, second, [str(i) for i in range(40)], 0)
    assert its.detectable == detectable_difference(changed(3, 6, 40), 40)
