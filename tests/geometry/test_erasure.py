"""Erasure: nothing linear is left on the fitting rows, and what it does elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lens_truth.geometry.erasure import erase_directions
from lens_truth.geometry.erasure_result import Erasure
from lens_truth.geometry.leace import leace_fitter, leace_projections, random_projections, within
from lens_truth.geometry.rows import domain_rows
from lens_truth.geometry.transfer import transfer_matrix
from lens_truth.scoring.activations import HeadActivations
from tests.over_domains import made, relabelled, three


@pytest.fixture(scope="module")
def domains() -> dict[str, HeadActivations]:
    return three()


@pytest.fixture(scope="module")
def erasure(domains: dict[str, HeadActivations]) -> Erasure:
    return erase_directions(domains, n_controls=4, n_bootstrap=200)


def test_nothing_linear_is_left_on_the_fitting_rows(domains: dict[str, HeadActivations]) -> None:
    """With labels out of balance, so that a probe that finds nothing says the majority of every row."""
    labels = domains["first"].labels.numpy().copy()
    labels[:60] = 0
    rows = domain_rows({**domains, "first": relabelled(domains["first"], labels)}, 5, 0)
    S, cross, n = within(rows.layer(1).sums.total([()]), [0])
    majority = 1 - labels.mean()
    assert majority > 0.6
    right = list[float]()
    for head, P in enumerate(leace_projections(S[0], cross[0], n.expand(3))):
        before = domains["first"].z[:, 1, head].double().numpy()
        after = before @ P.numpy().T
        spread = np.sqrt(after.var(0) * labels.var())
        assert np.abs(((after - after.mean(0)) * (labels - labels.mean())[:, None]).mean(0) / spread).max() < 1e-6
        assert np.abs(told(after, labels) - labels.mean()).max() < 1e-6  # of no row is anything but its share told
        assert ((told(after, labels) > 0.5) == labels).mean() == majority
        right.append(float(((told(before, labels) > 0.5) == labels).mean()))
    assert right[2] > majority + 0.1  # before, the best head's probe knows


def told(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability of 1 that a linear probe gives each of the rows that it was fitted to."""
    probe = LogisticRegression(C=1e6, max_iter=10_000, tol=1e-9).fit(x - x.mean(0), labels)
    return probe.predict_proba(x - x.mean(0))[:, 1]


def test_projections_are_the_packages_on_rows(domains: dict[str, HeadActivations]) -> None:
    rows = domain_rows(domains, 5, 0)
    S, cross, n = within(rows.layer(1).sums.total([()]), [1])
    ours = leace_projections(S[0], cross[0], n.expand(3))
    x, y = domains["second"].z[:, 1, 2].double(), domains["second"].labels
    fitter = leace_fitter().fit(x, y, svd_tol=1e-9)
    torch.testing.assert_close(ours[2], fitter.eraser.P, atol=1e-5, rtol=1e-5)


def test_the_scale_of_features_changes_no_projection(domains: dict[str, HeadActivations]) -> None:
    """The package by itself takes the covariance of features as small as these for that of noise."""
    x, y = domains["second"].z[:, 1, 2].double(), domains["second"].labels
    x = x - x.mean(0)
    S, cross, n = x.T @ x / len(x), (x * (y.double() - 0.5)[:, None]).mean(0)[:, None], torch.tensor([float(len(x))])
    wanted = leace_projections(S[None], cross[None], n)
    for scale in (1e-4, 1e4):
        found = leace_projections(scale**2 * S[None], scale * cross[None], n)
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)
    by_itself = leace_fitter().fit(1e-4 * x, y, svd_tol=1e-9).eraser.P
    assert (by_itself - wanted[0]).abs().max() > 0.1


def test_several_domains_are_erased_at_once(domains: dict[str, HeadActivations]) -> None:
    rows = domain_rows(domains, 5, 0)
    S, cross, n = within(rows.layer(1).sums.total([()]), [0, 2])
    P = leace_projections(S[0], cross[0], n.expand(3))[2]
    assert torch.linalg.matrix_rank(torch.eye(6, dtype=torch.float64) - P) == 2
    for name in ("first", "third"):
        x, y = domains[name].z[:, 1, 2].double(), domains[name].labels.double()
        moved = (P @ ((x - x.mean(0)) * (y - y.mean())[:, None]).mean(0)).norm()
        assert moved < 1e-6 * x.std()


def test_shared_directions_are_erased_elsewhere_and_others_are_not(erasure: Erasure) -> None:
    np.testing.assert_allclose(np.diag(erasure.after[:3]), 0.5)
    assert erasure.before.min() > 0.8
    assert erasure.rows[-1] == "all others" and erasure.heads[0].startswith("1.2")
    lost = erasure.before - erasure.after
    assert lost[0, 1] > 0.15 and erasure.reaches(0, 1) and erasure.reaches(1, 0)
    assert (erasure.shuffled > erasure.after[..., :]).mean() > 0.5
    assert lost[3, 0] > 0.15 and lost[3, 1] > 0.15
    assert (erasure.change[..., 0] <= erasure.after - erasure.before).all()
    assert (erasure.after - erasure.before <= erasure.change[..., 1]).all()


def test_an_orthogonal_direction_is_left_alone() -> None:
    eye = np.eye(8)
    pair = {"a": made(2.5 * eye[:1, None], 300, 0), "b": made(2.5 * eye[1:2, None], 300, 1)}
    found = erase_directions(pair, estimator="mass-mean", n_controls=3, n_bootstrap=100)
    assert abs(found.after[0, 1] - found.before[1]) < 0.02 and not found.reaches(0, 1)
    np.testing.assert_allclose(np.diag(found.after), 0.5)
    assert len(found.after) == 2 and "0 of 2 pairs" in found.verdicts()[0]


def test_before_is_the_diagonal_of_transfer(domains: dict[str, HeadActivations]) -> None:
    found = erase_directions(domains, estimator="mass-mean", n_controls=1, n_bootstrap=10)
    transfer = transfer_matrix(domains, estimator="mass-mean")
    np.testing.assert_allclose(found.before, np.diag(transfer.auroc), atol=1e-6)
    np.testing.assert_allclose(found.before_of_heads[0], transfer.auroc_of_heads[0, 0], atol=1e-6)


def test_random_projections_have_their_rank() -> None:
    P = random_projections((3, 5), 2, np.random.default_rng(0))
    torch.testing.assert_close(P @ P, P)
    assert torch.linalg.matrix_rank(P).tolist() == [3, 3, 3]


def test_round_trip_and_tables(erasure: Erasure, tmp_path: Path) -> None:
    erasure.save(tmp_path)
    assert Erasure.load(tmp_path) == erasure
    assert [len(table.rows) for table in erasure.tables()] == [5, 12]
    assert "Erasing the directions of all other domains" in erasure.verdicts()[-1]
