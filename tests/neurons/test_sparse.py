"""The sparse fit against liblinear on all columns, against the conditions of its optimum, and its path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lens_truth.errors import InputError
from lens_truth.neurons.sparse import objective, smallest_c, sparse_fit, sparse_path


def problem(n: int = 200, p: int = 1500, on: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positive, skewed and correlated, as CETT is; each column of a size of its own."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 20)) @ rng.normal(size=(20, p))
    x = np.abs(0.2 * shared + rng.normal(size=(n, p))) * np.exp(0.7 * rng.normal(size=p) - 4.5)
    told = rng.choice(p, on, replace=False)
    score = ((x - x.mean(0)) / x.std(0))[:, told] @ rng.normal(size=on) + 0.5 * rng.normal(size=n)
    return x.astype(np.float32), np.where(score > 0.3, 1, -1)


def liblinear(x: np.ndarray, y: np.ndarray, C: float) -> tuple[np.ndarray, float, float]:
    fitted: Any = LogisticRegression(l1_ratio=1, C=C, solver="liblinear", tol=1e-9, max_iter=100_000, random_state=0)
    fitted.fit(x.astype(float), y)
    weights, intercept = fitted.coef_[0], float(fitted.intercept_[0])
    return weights, intercept, objective(weights, intercept, x.astype(float) @ weights + intercept, y, C)


@pytest.mark.parametrize("times", [1.5, 4, 15])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_liblinear_on_all_columns(times: float, seed: int) -> None:
    x, y = problem(seed=seed)
    C = times * smallest_c(x, y)
    found = sparse_fit(x, y, C)
    weights, _, least = liblinear(x, y, C)
    assert abs(found.objective - least) < 1e-4 * least
    assert np.corrcoef(found.weights, weights)[0, 1] > 0.999
    assert 0 < found.n_selected < 200 and found.excess <= 0.01
    by_hand = np.abs(found.weights).sum() + abs(found.intercept)
    by_hand += C * np.log1p(np.exp(-y * found.decision(x))).sum()
    assert found.objective == pytest.approx(by_hand, rel=1e-9)


def test_the_smallest_c_is_where_the_first_neuron_comes() -> None:
    x, y = problem()
    C = smallest_c(x, y)
    assert sparse_fit(x, y, 0.99 * C).n_selected == 0 < sparse_fit(x, y, 1.02 * C).n_selected
    assert not liblinear(x, y, 0.99 * C)[0].any() and liblinear(x, y, 1.02 * C)[0].any()


def test_a_path_is_its_fits() -> None:
    x, y = problem()
    Cs = [smallest_c(x, y) * times for times in (1.5, 3, 6)]
    for fit, C in zip(sparse_path(x, y, Cs), Cs, strict=True):
        assert fit.objective == pytest.approx(sparse_fit(x, y, C).objective, rel=1e-4)


def test_below_the_smallest_c_the_intercept_is_liblinears() -> None:
    x, y = problem()
    for C in (0.001 * smallest_c(x, y), 0.9 * smallest_c(x, y)):
        assert sparse_fit(x, y, C).intercept == pytest.approx(liblinear(x, y, C)[1], abs=1e-3)


def test_what_is_refused() -> None:
    x, y = problem()
    with pytest.raises(InputError, match="needs both classes"):
        sparse_fit(x, np.ones_like(y), 1.0)
    with pytest.raises(InputError, match="C is -1"):
        sparse_fit(x, y, -1.0)
    with pytest.raises(InputError, match="no neuron tells the classes apart"):
        smallest_c(np.zeros_like(x), y)
