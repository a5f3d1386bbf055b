"""TTPD against its equations written out, and small logistic regressions against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lens_truth.geometry.ttpd import centred, discriminant, mass_mean, on_directions, small_logistic, ttpd


def statements(n: int = 200, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two data sets, affirmative and negated, of two heads: activations, truth, negated, set."""
    rng = np.random.default_rng(seed)
    true, negated = rng.random(2 * n) < 0.5, np.repeat([False, True], n)
    tau, p = np.where(true, 1, -1), np.where(negated, -1, 1)
    general, sensitive, polarity = rng.normal(size=(3, 2, 8))
    x = 0.5 * rng.normal(size=(2 * n, 2, 8)) + 3.0 * negated[:, None, None] * polarity
    x += tau[:, None, None] * general + (tau * p)[:, None, None] * sensitive
    x = torch.from_numpy(x + 2)
    return x, torch.from_numpy(true), torch.from_numpy(negated), torch.from_numpy(negated.astype(np.int64))


def test_the_two_directions_are_least_squares() -> None:
    x, true, negated, sets = statements()
    found = ttpd(x, true, negated, sets)
    tau, p = np.where(true, 1, -1), np.where(negated, -1, 1)
    design = np.stack([tau, tau * p], axis=1)
    for head in range(2):
        a = x[:, head].numpy().copy()
        for its in (True, False):
            a[negated.numpy() == its] -= a[negated.numpy() == its].mean(0)
        by_hand = np.linalg.inv(design.T @ design) @ design.T @ a
        np.testing.assert_allclose(found.general[head].numpy(), by_hand[0], atol=1e-10)
        np.testing.assert_allclose(found.polarity_sensitive[head].numpy(), by_hand[1], atol=1e-10)


def test_the_boundary_is_a_logistic_regression_on_truth_and_polarity() -> None:
    x, true, negated, sets = statements()
    found = ttpd(x, true, negated, sets)
    for head in range(2):
        flat = torch.stack([x[:, head] @ found.general[head], x[:, head] @ found.polarity[head]], dim=1).numpy()
        theirs: Any = LogisticRegression(C=1e6, max_iter=10000)
        theirs.fit(flat, true)
        mine = found.plane.decide(x)[head].numpy()
        assert np.corrcoef(mine, theirs.decision_function(flat))[0, 1] > 0.99
        assert ((mine > 0) == true.numpy()).mean() > 0.9


def test_affirmative_statements_alone_have_one_direction() -> None:
    x, true, negated, sets = (its[:200] for its in statements())
    found = ttpd(x, true, negated, sets)
    assert found.polarity.isnan().all()
    tau = torch.where(true, 1.0, -1.0).double()
    by_hand = torch.einsum("n,nfd->fd", tau, x - x.mean(0)) / 200
    torch.testing.assert_close(found.general, by_hand)


def test_truth_of_affirmative_statements_fails_on_negated_ones_and_ttpd_does_not() -> None:
    x, true, negated, sets = statements()
    x[:, :, 0] += torch.where(true == negated, -2.0, 2.0)[:, None]  # strongly polarity-sensitive
    alone = mass_mean(x[:200], true[:200]).decide(x[200:])
    both = ttpd(x, true, negated, sets).plane.decide(x[200:])
    right = [((its > 0) == true[200:]).double().mean(1) for its in (alone, both)]
    assert (right[0] < right[1] - 0.2).all()


def test_centring_is_by_data_set() -> None:
    x, _, _, sets = statements()
    for number in (0, 1):
        assert centred(x, sets)[sets == number].mean(0).abs().max() < 1e-12


def test_the_discriminant_is_scikit_learns() -> None:
    x, _, negated, _ = statements()
    theirs: Any = LinearDiscriminantAnalysis(solver="eigen").fit(x[:, 0].numpy(), negated.numpy())
    mine, ours = -discriminant(x, ~negated)[0].numpy(), theirs.coef_[0]
    assert mine @ ours / np.linalg.norm(mine) / np.linalg.norm(ours) > 0.999


@pytest.mark.parametrize("d", [1, 2])
def test_small_logistic_regressions_are_scikit_learns(d: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.normal(size=(150, 3, d)) * np.geomspace(1e-3, 1e3, d) + 5
    true = x[..., 0].mean(1) + 1e-3 * rng.normal(size=150) > 5
    slopes, offset = small_logistic(torch.from_numpy(x), torch.from_numpy(true))
    n_true = int(true.sum())
    up, down = (n_true + 1) / (n_true + 2), 1 / (150 - n_true + 2)
    weight = np.concatenate([np.where(true, up, down), 1 - np.where(true, up, down)])
    for head in range(3):
        spread = x[:, head].std(0)
        rows = np.concatenate([(x[:, head] - 5) / spread] * 2)
        theirs: Any = LogisticRegression(C=1e9, tol=1e-10, max_iter=10000)
        theirs.fit(rows, np.repeat([True, False], 150), sample_weight=weight)
        np.testing.assert_allclose(slopes[head].numpy() * spread, theirs.coef_[0], rtol=1e-3, atol=1e-3)
        moved: float = theirs.intercept_[0] - (theirs.coef_[0] / spread * 5).sum()
        np.testing.assert_allclose(offset[head].item(), moved, rtol=1e-3, atol=1e-3 * abs(moved) + 1e-3)


def test_separated_classes_have_a_finite_boundary() -> None:
    x = torch.cat([torch.linspace(-2, -1, 20), torch.linspace(1, 2, 20)])[:, None, None].double()
    slopes, offset = small_logistic(x, x[:, 0, 0] > 0)
    assert 1 < slopes.item() < 20
    assert abs(offset.item()) < 1e-6


def test_a_direction_of_nothing_decides_nothing() -> None:
    x = torch.ones(30, 1, 3).double()
    plane = on_directions(x, torch.arange(30) % 3 == 0, torch.zeros(1, 1, 3).double())
    assert torch.isfinite(plane.decide(x)).all()
