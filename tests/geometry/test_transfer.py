"""The transfer matrix against probes fitted one by one, its folds, intervals and nulls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from lens_truth.errors import InputError
from lens_truth.geometry.cells import CellDraws, drawn_aurocs
from lens_truth.geometry.probes import MIDDLE
from lens_truth.geometry.rows import domain_rows
from lens_truth.geometry.transfer import transfer_matrix
from lens_truth.geometry.transfer_result import OTHERS, Transfer
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import PENALTIES, fit_closed_form
from lens_truth.scoring.label_draws import ClosedFormKind, LabelDraws
from lens_truth.scoring.metrics import aurocs, fold_metrics
from tests.over_domains import made, relabelled, three

Change = Callable[[dict[str, HeadActivations]], dict[str, HeadActivations]]
FEW = CellDraws(n_bootstrap=100, n_permutations=200)


@pytest.fixture(scope="module")
def domains() -> dict[str, HeadActivations]:
    return three()


@pytest.mark.parametrize("kind", ["ridge", "mass-mean", "centroid"])
def test_diagonal_is_the_cross_validation_of_truth_scores(
    domains: dict[str, HeadActivations], kind: ClosedFormKind
) -> None:
    found, rows = transfer_matrix(domains, estimator=kind, draws=FEW), domain_rows(domains, 5, 0)
    for m, its in enumerate(domains.values()):
        labels, fold = its.labels.numpy(), rows.fold[rows.of(m)]
        none = np.empty((0, len(labels)), dtype=np.int64)
        decisions, _ = fit_closed_form(its.z, LabelDraws(labels, none, fold, kind, torch.device("cpu")), kind)
        wanted = fold_metrics(decisions, labels, fold)
        np.testing.assert_allclose(found.auroc_of_heads[m, m].ravel(), wanted["auroc"].mean(0), atol=1e-3)
        np.testing.assert_allclose(found.accuracy_of_heads[m, m].ravel(), wanted["accuracy"].mean(0), atol=6e-3)


def test_cells_equal_scikit_learns(domains: dict[str, HeadActivations]) -> None:
    found, rows = transfer_matrix(domains, estimator="mass-mean", draws=FEW), domain_rows(domains, 5, 0)
    z = [its.z.double().numpy() for its in domains.values()]
    labels = [its.labels.numpy() for its in domains.values()]
    folds = [rows.fold[rows.of(m)] for m in range(3)]
    for a, b, (layer, head) in ((0, 1, (1, 2)), (2, 0, (1, 1)), (1, 2, (0, 0))):
        told = [
            LinearDiscriminantAnalysis()
            .fit(z[a][folds[a] != k][:, layer, head], labels[a][folds[a] != k])
            .decision_function(z[b][folds[b] == k][:, layer, head])
            for k in range(5)
        ]
        wanted = np.mean([roc_auc_score(labels[b][folds[b] == k], its) for k, its in enumerate(told)])
        assert found.auroc_of_heads[a, b, layer, head] == pytest.approx(wanted, abs=1e-4)
    others = []
    for k in range(5):  # the last row: trained on all others
        train = [np.concatenate([its[m][folds[m] != k] for m in (0, 2)]) for its in (z, labels)]
        lda = LinearDiscriminantAnalysis().fit(train[0][:, 1, 2], train[1])
        others.append(roc_auc_score(labels[1][folds[1] == k], lda.decision_function(z[1][folds[1] == k][:, 1, 2])))
    assert found.auroc_of_heads[3, 1, 1, 2] == pytest.approx(np.mean(others), abs=1e-4)


def test_ridge_chooses_its_penalty_in_the_training_domain(domains: dict[str, HeadActivations]) -> None:
    """Each held-out fold's cell is one of scikit-learn's three, whatever the labels that are tested on."""
    found, rows = transfer_matrix(domains, draws=FEW), domain_rows(domains, 5, 0)
    x, y = (
        its[:, 1, 2].numpy() if its.dim() > 1 else its.numpy() for its in (domains["first"].z, domains["first"].labels)
    )
    t, u = (
        its[:, 1, 2].numpy() if its.dim() > 1 else its.numpy() for its in (domains["third"].z, domains["third"].labels)
    )
    fold, other = rows.fold[rows.of(0)], rows.fold[rows.of(2)]
    possible = []
    for k in range(5):
        scaler = StandardScaler().fit(x[fold != k])
        train = scaler.transform(x[fold != k])
        fits = [Ridge(alpha=a * len(train)).fit(train, y[fold != k]) for a in PENALTIES]
        possible.append([roc_auc_score(u[other == k], its.predict(scaler.transform(t[other == k]))) for its in fits])
    assert PENALTIES[1] == MIDDLE
    combinations = np.array(np.meshgrid(*possible)).reshape(5, -1).mean(0)
    assert np.abs(combinations - found.auroc_of_heads[0, 2, 1, 2]).min() < 1e-5
    flipped = {**domains, "third": relabelled(domains["third"], 1 - domains["third"].labels.numpy())}
    assert transfer_matrix(flipped, draws=FEW).auroc_of_heads[0, 2, 1, 2] == pytest.approx(
        1 - found.auroc_of_heads[0, 2, 1, 2], abs=2e-5
    )


def test_a_head_that_hardly_varies_is_told_as_well() -> None:
    """Its domains lie a thousand times as far apart as its rows of one domain."""
    domains = {
        name: replace(its, z=(1e-6 * (its.z.double() + 1500 * m)).float())
        for m, (name, its) in enumerate(three().items())
    }
    found, rows = transfer_matrix(domains, draws=FEW), domain_rows(domains, 5, 0)
    for m, its in enumerate(domains.values()):
        labels, fold = its.labels.numpy(), rows.fold[rows.of(m)]
        given = LabelDraws(labels, np.empty((0, len(labels)), dtype=np.int64), fold, "ridge", torch.device("cpu"))
        wanted = fold_metrics(fit_closed_form(its.z, given, "ridge")[0], labels, fold)
        np.testing.assert_allclose(found.auroc_of_heads[m, m].ravel(), wanted["auroc"].mean(0), atol=2e-3)
        np.testing.assert_allclose(found.accuracy_of_heads[m, m].ravel(), wanted["accuracy"].mean(0), atol=1e-2)


def test_what_is_shared_carries_over(domains: dict[str, HeadActivations]) -> None:
    found = transfer_matrix(domains, draws=FEW)
    assert found.rows == ("first", "second", "third", OTHERS)
    assert all(head.startswith("1.2 ") for head in found.heads)
    assert found.auroc[0, 1] > 0.7 and found.auroc[1, 0] > 0.7 and found.p_familywise[0, 1] < 0.05
    assert (found.p_familywise >= found.p_value).all()
    assert np.diag(found.auroc).min() > 0.8
    assert found.auroc[2, 0] < 0.2 and "inverted first - third" in found.verdicts()[1]
    assert (found.interval[..., 0] <= found.auroc).all() and (found.auroc <= found.interval[..., 1]).all()
    assert "all other domains" in found.verdicts()[-1]


def test_without_a_signal_nothing_is_told_even_where_the_best_head_is_chosen() -> None:
    """The head is chosen inside the training rows: the best of 40 heads is no better than chance on the diagonal."""
    own = [
        np.diag(
            transfer_matrix({str(i): made(np.zeros((4, 10, 3)), 120, 2 * s + i) for i in range(2)}, draws=FEW).auroc
        )
        for s in range(12)
    ]
    assert abs(np.mean(own) - 0.5) < 4 * 0.055 / np.sqrt(np.size(own)) + 0.005


def test_a_group_of_several_domains_is_held_out_of_all() -> None:
    """Domains of the same claims: a probe that could learn rows by heart would tell them in the other domain."""
    rng = np.random.default_rng(0)
    one = made(np.zeros((1, 1, 60)), 100, 0, prefix="claim-")
    other = replace(one, z=one.z + 0.01 * torch.from_numpy(rng.normal(size=one.z.shape)).float())
    rows = domain_rows({"claims": one, "again": other}, 5, 0)
    np.testing.assert_array_equal(rows.fold[:100], rows.fold[100:])
    found = transfer_matrix({"claims": one, "again": other}, estimator="mass-mean", draws=FEW)
    assert abs(found.auroc[0, 1] - 0.5) < 0.2  # ungrouped, it would be nearly 1


def test_interval_and_aurocs_equal_what_is_drawn_by_hand() -> None:
    rng = np.random.default_rng(1)
    decisions, labels = rng.normal(size=(2, 40)).round(1), np.tile([1, 0], 20)
    fold, groups = np.repeat(np.arange(2), 20), [str(i // 4) for i in range(40)]
    found = drawn_aurocs(decisions, labels, groups, fold, 50, (0, 1))
    wanted = [np.mean([roc_auc_score(labels[fold == k], its[fold == k]) for k in range(2)]) for its in decisions]
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    assert np.ptp(found[1:], axis=0).min() > 0.05
    np.testing.assert_allclose(
        aurocs(torch.from_numpy(decisions), torch.from_numpy(labels == 1)),
        [roc_auc_score(labels, its) for its in decisions],
    )
    assert aurocs(torch.zeros(1, 3), torch.ones(3, dtype=torch.bool)).isnan().all()


def test_round_trip_and_tables(domains: dict[str, HeadActivations], tmp_path: Path) -> None:
    found = transfer_matrix(domains, draws=FEW, surface=np.full((4, 3), 0.6))
    found.save(tmp_path)
    assert Transfer.load(tmp_path) == found
    matrix, cells = found.tables()
    assert len(matrix.rows) == 4 and len(cells.rows) == 12
    assert any("bag of words" in sentence for sentence in found.verdicts())
    with pytest.raises(InputError, match="does not know"):
        Transfer.from_dict({**found.as_dict(), "more": 1})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda its: {"first": its["first"]}, "1 domain given; directions over domains need at least two"),
        (lambda its: {**its, "x": replace(its["first"], z=its["first"].z[:, :1])}, "domain 'x' has 1 x 3 x 6"),
        (
            lambda its: {**its, "x": replace(its["first"], provenance={"weights": "v", "template": "plain"})},
            "domains 'x' and 'first' were captured with different weights",
        ),
        (lambda its: {**its, "x": relabelled(its["first"], np.ones(200, dtype=int))}, "domain 'x': all 200 examples"),
        (
            lambda its: {**its, "x": replace(its["first"], groups=("one", "two") * 100)},
            "domain 'x' has 2 groups, fewer",
        ),
        (
            lambda its: {
                **its,
                "x": replace(its["first"], provenance={**its["first"].provenance, "point": "resid_post"}),
            },
            "domain 'x' was read at resid_post, 'first' at z",
        ),
        (lambda its: {**its, "x": replace(its["first"], z=its["first"].z * torch.nan)}, "domain 'x': the activations"),
    ],
)
def test_domains_that_do_not_fit_are_refused(
    domains: dict[str, HeadActivations], change: Change, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        transfer_matrix(change(domains), draws=FEW)


def test_bad_settings_are_refused(domains: dict[str, HeadActivations]) -> None:
    with pytest.raises(InputError, match="2 folds were asked for"):
        transfer_matrix(domains, n_folds=2)
    with pytest.raises(InputError, match="0 bootstrap draws"):
        CellDraws(n_bootstrap=0)
