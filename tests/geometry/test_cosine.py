"""Cosines of directions: identities, what they predict, and the nulls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lens_truth.geometry.cells import CellDraws
from lens_truth.geometry.cosine import direction_cosines, effective_dimension, mahalanobis_cosine, r_squared
from lens_truth.geometry.cosine_result import Cosines
from lens_truth.geometry.transfer import transfer_matrix
from lens_truth.io.tables import markdown
from lens_truth.scoring.activations import HeadActivations
from tests.over_domains import made, three

FEW = CellDraws(n_bootstrap=20, n_permutations=20)


def test_equals_the_correlation_of_outputs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) * np.geomspace(1, 50, 8) + 20
    a, b = rng.normal(size=(2, 8))
    wanted = np.corrcoef(x @ a, x @ b)[0, 1]
    found = mahalanobis_cosine(*(torch.from_numpy(its) for its in (a, b, np.cov(x.T))))
    assert float(found) == pytest.approx(wanted, abs=1e-10)
    assert float(mahalanobis_cosine(*(torch.from_numpy(its) for its in (a, 3 * a, np.cov(x.T))))) == pytest.approx(1)
    assert mahalanobis_cosine(torch.zeros(8), torch.ones(8), torch.eye(8)).isnan()


def test_matrices_equal_the_correlations_of_the_probes_on_the_target() -> None:
    domains = three()
    transfer = transfer_matrix(domains, estimator="mass-mean", draws=FEW)
    found = direction_cosines(domains, transfer, n_random=20)
    assert found.head == (1, 2)
    z = {name: its.z[:, 1, 2].double().numpy() for name, its in domains.items()}
    means = {n: [z[n][domains[n].labels.numpy() == c].mean(0) for c in (1, 0)] for n in z}
    w = {n: np.linalg.solve(np.cov(z[n].T), means[n][0] - means[n][1]) for n in z}
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            assert found.mahalanobis[i, j] == pytest.approx(np.corrcoef(z[b] @ w[a], z[b] @ w[b])[0, 1], abs=1e-4)
            cosine = w[a] @ w[b] / np.linalg.norm(w[a]) / np.linalg.norm(w[b])
            assert found.plain[i, j] == pytest.approx(cosine, abs=1e-4)


def test_dimension_counts_directions() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    same = torch.ones(4, 1, 4, dtype=torch.float64) * torch.tensor([1, -2, 3, 4.0])[:, None, None]
    assert float(effective_dimension(same, eye[None])) == pytest.approx(1)
    assert float(effective_dimension(eye[:, None], eye[None])) == pytest.approx(4)
    assert float(effective_dimension(eye[[0, 0, 1, 1], None], eye[None])) == pytest.approx(2)
    skewed = torch.diag(torch.tensor([1, 4, 9, 16.0], dtype=torch.float64))
    assert float(effective_dimension(eye[:, None], skewed[None])) == pytest.approx(4)  # whitened, they are orthogonal


def test_prediction_is_measured_off_the_diagonal() -> None:
    x = np.array([[9, 1, 2], [3, -9, 4], [5, 6, 9.0]])
    y = np.where(np.eye(3, dtype=bool), -100, 0.1 * x + 0.3)
    assert r_squared(x, y) == pytest.approx(1)
    assert np.isnan(r_squared(x, np.ones((3, 3))))


def test_cosines_predict_and_random_probes_are_predicted_as_well(tmp_path: Path) -> None:
    domains = many()
    transfer = transfer_matrix(domains, estimator="mass-mean", draws=FEW)
    found = direction_cosines(domains, transfer, n_random=40)
    its = found.prediction["mahalanobis"]
    assert its.r2 > 0.9 and its.without_a_domain[0] > 0.8
    assert its.r2_of_heads.shape == (1, 2)
    low, middle, high = its.random_probes["whitened"]
    assert middle > 0.8  # what the docstring says: the cosine with the target's own direction knows its labels
    assert its.random_pairs["whitened"][1] < 0.2 and low <= middle <= high
    assert found.dimension < found.random_dimension[0]  # five of six domains lie along two directions
    found.save(tmp_path)
    assert Cosines.load(tmp_path) == found
    assert [len(table.rows) for table in found.tables()] == [2, 6, 6]
    assert "effective dimensions, fewer than" in found.verdicts()[-1]


def test_what_is_not_defined_is_not_said() -> None:
    """Of three domains none can be left out: two are left, which a line always fits."""
    domains = dict(list(many().items())[:3])
    found = direction_cosines(domains, transfer_matrix(domains, estimator="mass-mean", draws=FEW), n_random=10)
    assert all(np.isnan(its.without_a_domain).all() for its in found.prediction.values())
    told = [*found.verdicts(), *map(markdown, found.tables())]
    assert "of the variance of AUROC between domains; for" in told[0]
    assert not any("nan" in text or "without one domain" in text for text in told)


def many() -> dict[str, HeadActivations]:
    """Six domains whose directions are mixtures of two, in twelve dimensions."""
    rng = np.random.default_rng(5)
    two = rng.normal(size=(2, 1, 2, 12)) * 0.4
    angles = np.linspace(0, np.pi, 6)
    return {f"d{i}": made(np.cos(a) * two[0] + np.sin(a) * two[1], 300, i) for i, a in enumerate(angles)}
