"""Truth scores against scikit-learn, against the paper's recipe written out, and against chance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import problem
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedGroupKFold
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from surfaces import activations, examples

import lens_truth
from lens_truth.errors import InputError
from lens_truth.scoring import closed_form
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.inverses import inverses
from lens_truth.scoring.metrics import accuracy_intervals, fold_metrics
from lens_truth.scoring.probing import held_out_decisions, truth_scores
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums
from lens_truth.stats.folds import grouped_folds, permuted_labels

ACTIVATIONS = problem()
SKLEARN: dict[str, Any] = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "mass-mean": lambda: LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]),
    "centroid": lambda: make_pipeline(StandardScaler(), NearestCentroid()),
}


@pytest.mark.parametrize("estimator", SKLEARN)
def test_held_out_decisions_agree_with_scikit_learn(estimator: Any) -> None:
    decisions, fold = held_out_decisions(ACTIVATIONS, estimator=estimator)
    labels = ACTIVATIONS.labels.numpy()
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for k, (train, test) in enumerate(splitter.split(labels, labels, ACTIVATIONS.groups)):
        assert np.array_equal(np.flatnonzero(fold == k), test)
        for layer, head in np.ndindex(2, 3):
            x = ACTIVATIONS.z[:, layer, head].double().numpy()
            model = SKLEARN[estimator]().fit(x[train], labels[train])
            assert np.array_equal(decisions[test, layer, head] > 0, model.predict(x[test]) == 1)


def test_ridge_is_scikit_learns_with_the_penalty_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for penalty in (0.003, 0.1, 3.0):
        monkeypatch.setattr(closed_form, "PENALTIES", (penalty, penalty, penalty))
        decisions, fold = held_out_decisions(ACTIVATIONS)
        labels = ACTIVATIONS.labels.numpy()
        for k in range(5):
            train, test = fold != k, fold == k
            for layer, head in np.ndindex(2, 3):
                x = ACTIVATIONS.z[:, layer, head].double().numpy()
                model = make_pipeline(StandardScaler(), Ridge(alpha=penalty * train.sum())).fit(x[train], labels[train])
                fitted = model.predict(x[test]) - 0.5
                np.testing.assert_allclose(decisions[test, layer, head], fitted, rtol=1e-3, atol=1e-4)


def test_ridge_chooses_the_penalty_without_the_held_out_fold() -> None:
    """Labels of a fold do not touch the decisions on it, but for rounding: training sums are those of all rows minus
    the fold's."""
    labels, fold = ACTIVATIONS.labels.numpy(), grouped_folds(ACTIVATIONS.labels.numpy(), ACTIVATIONS.groups, 5, 0)
    x, none = ACTIVATIONS.z[:, 1:], np.empty((0, len(labels)), dtype=np.int64)

    def fit(labels: np.ndarray) -> torch.Tensor:
        given = closed_form.LabelDraws(labels, none, fold, "ridge", x.device)
        return closed_form.fit_closed_form(x, given, "ridge")[0]

    before = fit(labels)
    for k in range(5):
        flipped = np.where(fold == k, 1 - labels, labels)
        after = fit(flipped)
        torch.testing.assert_close(before[fold == k], after[fold == k], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("kind", ["ridge", "mass-mean", "centroid"])
def test_accuracies_under_the_null_are_those_of_probes_fitted_to_each_draw(
    kind: Any, n_folds: int, paired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All draws at once, rows of pairs counted as one, heads in blocks: against each draw by itself as true labels."""
    a = problem(150, L=2, H=11, D=5)
    rng = np.random.default_rng(0)
    labels = a.labels.numpy() if paired else rng.integers(0, 2, 150)
    groups = a.groups if paired else [str(i // 3) for i in range(150)]
    z = a.z[:, 1:].clone()
    z[..., 2], z[..., 3] = 7.0, z[..., 1]  # constant, and collinear
    fold = grouped_folds(labels, groups, n_folds, 0)
    draws = permuted_labels(labels, groups, 70, 0, fold)
    monkeypatch.setattr(closed_form, "_HEADS", 2)
    monkeypatch.setattr(closed_form, "_CACHE", 4 * 2 * 150 * 9)
    given = closed_form.LabelDraws(labels, draws, fold, kind, z.device)
    _, null = closed_form.fit_closed_form(z, given, kind)
    for draw, accuracy in zip(draws[::7], null[::7], strict=True):
        alone = closed_form.LabelDraws(draw, draws[:0], fold, kind, z.device)
        decisions, _ = closed_form.fit_closed_form(z, alone, kind)
        right = (decisions.numpy() > 0) == draw[:, None]
        expected = np.mean([right[fold == k].mean(0) for k in range(n_folds)], axis=0)
        np.testing.assert_allclose(accuracy, expected, atol=1e-9)


def test_layers_together_are_layers_one_by_one() -> None:
    a = problem(120, L=3, H=10, D=4)
    fold = grouped_folds(a.labels.numpy(), a.groups, 5, 0)
    none = np.empty((0, 120), dtype=np.int64)
    given = closed_form.LabelDraws(a.labels.numpy(), none, fold, "ridge", a.z.device)
    together, _ = closed_form.fit_closed_form(a.z, given, "ridge")
    one_by_one = [closed_form.fit_closed_form(a.z[:, i : i + 1], given, "ridge")[0] for i in range(3)]
    torch.testing.assert_close(together, torch.cat(one_by_one, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 33, 70])
def test_inverses_by_halves(width: int) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 200, width)))
    matrices = x.mT @ x / 200
    matrices[1, 2] = torch.diag(torch.linspace(2, 3, width)) - 10 * (width > 1)  # no longer positive
    found = inverses(matrices)
    expected = torch.linalg.inv(matrices)
    if width > 1:
        expected[1, 2] = torch.diag(1 / matrices[1, 2].diagonal())
    torch.testing.assert_close(found, expected)


def test_a_device_gives_the_numbers_of_the_processor() -> None:
    """On a made-up accelerator, which refuses what is elsewhere; importing it changes PyTorch for the whole process."""
    subprocess.run([sys.executable, Path(__file__).with_name("on_a_device.py")], check=True)


def test_a_device_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="device 'nowhere' cannot be used"):
        truth_scores(ACTIVATIONS, device="nowhere")


def test_adamw_is_the_papers_recipe() -> None:
    """The reference's loop, written for one head at a time, with its loss averaged over all heads."""
    scores = truth_scores(ACTIVATIONS, estimator="adamw", n_permutations=0, seed=123)
    labels, x = ACTIVATIONS.labels, ACTIVATIONS.z
    n_heads = x.shape[1] * x.shape[2]
    for layer, head in np.ndindex(2, 3):
        accuracies = []
        for train, test in KFold(5, shuffle=True, random_state=42).split(labels):
            w, b = torch.zeros(8, requires_grad=True), torch.zeros(1, requires_grad=True)
            optimizer = torch.optim.AdamW([w, b], lr=1e-2, weight_decay=1e-3)
            for _ in range(200):
                for start in range(0, len(train), 512):
                    rows = train[start : start + 512]
                    logits = x[rows, layer, head] @ w + b
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[rows].float()) / n_heads
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            right = (torch.sigmoid(x[test, layer, head] @ w + b) > 0.5) == (labels[test] == 1)
            accuracies.append(right.float().mean().item())
        assert scores.values[layer, head] == pytest.approx(np.mean(accuracies), abs=0.006)  # one row of 240 is 0.0042


@pytest.mark.parametrize("estimator", ["ridge", "logistic", "adamw", "mass-mean", "centroid"])
def test_metrics_are_scikit_learns_means_over_folds(estimator: Any) -> None:
    scores = truth_scores(ACTIVATIONS, estimator=estimator, n_permutations=0)
    decisions, fold = held_out_decisions(ACTIVATIONS, estimator=estimator)
    labels = ACTIVATIONS.labels.numpy()
    functions = {"precision": precision_score, "recall": recall_score, "f1": f1_score, "auroc": roc_auc_score}
    for layer, head in np.ndindex(2, 3):
        by_fold = [(labels[fold == k], decisions[fold == k, layer, head]) for k in range(5)]
        for name, function in functions.items():
            expected = np.mean([function(y, d if name == "auroc" else d > 0) for y, d in by_fold])
            assert scores.metrics[name][layer, head] == pytest.approx(expected)
        accuracy = [np.mean((d > 0) == y) for y, d in by_fold]
        assert scores.values[layer, head] == pytest.approx(np.mean(accuracy))
        assert scores.folds is not None
        np.testing.assert_allclose(scores.folds[:, layer, head], accuracy)


def test_signal_is_found_and_its_absence_too() -> None:
    scores = truth_scores(problem(600, signal=0.3))
    assert scores.best() == (1, 2)
    assert scores.metrics["p_familywise"][1, 2] < 0.01
    assert (scores.metrics["p_value"][0] > 0.05).all()
    assert (scores.metrics["ci_low"] <= scores.values).all() and (scores.values <= scores.metrics["ci_high"]).all()
    assert scores.metrics["ci_high"][1, 2] - scores.metrics["ci_low"][1, 2] < 0.15
    assert (np.abs(scores.metrics["null_mean"] - 0.5) < 0.03).all()


def test_ties_count_half_in_auroc_and_a_class_that_lacks_leaves_it_open() -> None:
    decisions = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 3.0], [-1.0, 3.0]])
    metrics = fold_metrics(decisions, np.array([1, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1]))
    np.testing.assert_array_equal(metrics["auroc"], [[0.75, 0.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(metrics["precision"], [[0.5, 0], [1, 1]])
    np.testing.assert_array_equal(metrics["accuracy"], [[2 / 3, 2 / 3], [0.5, 1]])


def test_intervals_are_those_of_the_bootstrap_over_groups() -> None:
    rng = np.random.default_rng(0)
    right, weight = rng.integers(0, 2, (60, 3)) > 0, rng.random(60)
    groups = [f"g{i // 4}" for i in range(60)]
    found = accuracy_intervals(torch.from_numpy(right), weight, groups, 300, np.random.default_rng(1))
    totals, mass = group_sums(weight[:, None] * right, groups), group_sums(weight, groups)
    np.testing.assert_allclose(found, bootstrap_interval(totals, mass, 300, np.random.default_rng(1)))


def test_p_values_are_uniform_under_the_null() -> None:
    p = np.concatenate(
        [
            truth_scores(problem(80, signal=0.0, seed=s), n_permutations=60, n_bootstrap=10).metrics["p_value"].ravel()
            for s in range(40)
        ]
    )
    assert np.mean(p <= 0.05) < 0.08
    assert 0.42 < p.mean() < 0.58


def test_interval_covers_the_true_accuracy() -> None:
    """A head that sees one Gaussian feature, d' = 1: the best possible probe is right with Phi(1 / 2) = .691."""
    covered = []
    for seed in range(8):
        a = problem(400, L=10, H=1, D=1, signal=0.0, seed=seed)
        z = torch.randn(400, 10, 1, 1, generator=torch.Generator().manual_seed(seed)) + a.labels[:, None, None, None]
        scores = truth_scores(HeadActivations(z, a.labels, a.groups, a.ids, {}), n_permutations=0)
        inside = (scores.metrics["ci_low"] <= 0.691) & (scores.metrics["ci_high"] >= 0.691)
        covered += inside.ravel().tolist()
    assert np.mean(covered) > 0.88


def test_null_of_iterative_estimators() -> None:
    small = problem(60, L=2, H=2, D=3)
    for estimator in ("logistic", "adamw"):
        scores = truth_scores(small, estimator=estimator, n_permutations=3, n_folds=3)
        assert set(np.unique(scores.metrics["p_value"] * 4).round()) <= {1.0, 2.0, 3.0, 4.0}
        assert scores.provenance["n_permutations"] == 3


def test_permutations_respect_groups() -> None:
    labels = np.array([1, 0, 1, 0, 1, 1, 0, 0, 0])
    groups = ["a", "a", "b", "b", "c", "c", "d", "e", "e"]
    draws = permuted_labels(labels, groups, 400, 0)
    assert (draws[:, 0] + draws[:, 1] == 1).all() and (draws[:, 2] + draws[:, 3] == 1).all()
    assert (draws[:, 4] == draws[:, 5]).all() and (draws[:, 7] == draws[:, 8]).all()
    assert 0.4 < draws[:, 0].mean() < 0.6
    assert (draws[:, 4] + draws[:, 6] + draws[:, 7] == 1).all() and 0.2 < draws[:, 4].mean() < 0.45
    free = permuted_labels(labels, [str(i) for i in range(9)], 400, 0)
    assert (free.sum(1) == 4).all() and (np.abs(free.mean(0) - 4 / 9) < 0.12).all()


def test_permutations_keep_the_balance_of_folds() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([1] * 20 + [2] * 11 + [3] * 9 + [7])
    of_group = rng.permutation(np.arange(41) % 2)
    labels, groups = np.repeat(of_group, sizes), [f"g{i}" for i in np.repeat(np.arange(41), sizes)]
    fold = grouped_folds(labels, groups, 4, 0)
    draws = permuted_labels(labels, groups, 200, 0, fold)
    for k in range(4):
        rows = fold == k
        n_groups = np.stack([draws[:, i] for i in np.unique(groups, return_index=True)[1] if rows[i]], axis=1)
        assert len(set(n_groups.sum(1).tolist())) == 1  # as many supported groups as before
        assert np.abs(draws[:, rows].sum(1) - labels[rows].sum()).max() <= 6
    assert not (draws == labels).all(1).any() and len(np.unique(draws, axis=0)) == 200


@pytest.mark.parametrize(("rows_a_group", "n_groups"), [(1, 200), (4, 20), (10, 40)])
def test_p_values_hold_for_groups_of_one_label(rows_a_group: int, n_groups: int) -> None:
    """Folds balance the true labels; draws that did not would make every head of noise look good."""
    p, null = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        labels = np.repeat(rng.permutation(np.arange(n_groups) % 2), rows_a_group)
        groups = tuple(f"g{i // rows_a_group}" for i in range(len(labels)))
        z = torch.from_numpy(rng.normal(size=(len(labels), 1, 40, 8))).float()
        a = HeadActivations(z, torch.from_numpy(labels), groups, tuple(map(str, range(len(labels)))), {})
        scores = truth_scores(a, n_permutations=99, n_bootstrap=10)
        p.append(scores.metrics["p_value"])
        null.append(scores.metrics["null_mean"])
    assert np.mean(np.concatenate(p) <= 0.05) < 0.1
    assert np.mean(null) == pytest.approx(0.5, abs=0.01)


def test_bad_numbers_of_draws() -> None:
    with pytest.raises(InputError, match="-1 permutations"):
        truth_scores(ACTIVATIONS, n_permutations=-1)


def test_folds_are_scikit_learns() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels, groups = rng.integers(0, 2, 90), rng.integers(0, 30, 90)
        fold = grouped_folds(labels, [f"{g:02}" for g in groups], 4, seed)
        splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        for k, (_, test) in enumerate(splitter.split(labels, labels, groups)):
            assert np.array_equal(np.flatnonzero(fold == k), test)


def test_groups_are_never_split() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{i}" for i in rng.integers(0, 40, size=300)]
    fold = grouped_folds(rng.integers(0, 2, size=300), groups, 5, 0)
    assert all(len({f for f, g in zip(fold, groups, strict=True) if g == name}) == 1 for name in set(groups))
    assert not np.array_equal(fold, grouped_folds(rng.integers(0, 2, size=300), groups, 5, 1))


def test_a_leak_through_groups_is_not_rewarded() -> None:
    """Features that name the group and nothing else: ungrouped folds would find the label, grouped ones must not."""
    rng = np.random.default_rng(0)
    group_label = np.repeat(rng.integers(0, 2, size=30), 8)
    name = np.repeat(rng.normal(size=(30, 64)), 8, axis=0)
    z = torch.from_numpy(name + 0.01 * rng.normal(size=(240, 64))).float()[:, None, None]
    groups = tuple(f"g{i // 8}" for i in range(240))
    a = HeadActivations(z, torch.from_numpy(group_label), groups, tuple(map(str, range(240))), {})
    assert truth_scores(a, n_permutations=0).values[0, 0] < 0.75
    assert truth_scores(a, estimator="adamw", n_permutations=0).values[0, 0] > 0.95


def test_same_seed_same_numbers() -> None:
    one, two, other = (truth_scores(ACTIVATIONS, seed=seed, n_permutations=20) for seed in (1, 1, 2))
    assert np.array_equal(one.values, two.values)
    assert all(np.array_equal(one.metrics[name], two.metrics[name]) for name in one.metrics)
    assert not np.array_equal(one.metrics["ci_low"], other.metrics["ci_low"])


def test_constant_and_collinear_features_do_no_harm() -> None:
    a = problem(120, D=8)
    z = a.z.clone()
    z[..., 1] = 5.0
    z[..., 2] = z[..., 0]
    z[:, 0, 0] = 0.0  # a dead head
    dull = HeadActivations(z, a.labels, a.groups, a.ids, {})
    for estimator in ("ridge", "mass-mean", "centroid"):
        scores = truth_scores(dull, estimator=estimator, n_permutations=5)
        assert np.isfinite(scores.values).all()
        assert scores.values[0, 0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": torch.ones(240, dtype=torch.long)}, r"all 240 examples are supported \(1\)"),
        ({"labels": torch.zeros(240, dtype=torch.long)}, r"hallucinated \(0\)"),
        ({"groups": tuple(f"g{i % 3}" for i in range(240))}, "3 groups, fewer than the 5 folds"),
        ({"labels": ACTIVATIONS.labels + 1}, "labels are"),
    ],
)
def test_bad_labels_and_groups(change: dict[str, Any], complaint: str) -> None:
    fields = {name: getattr(ACTIVATIONS, name) for name in ("z", "labels", "groups", "ids", "provenance")}
    with pytest.raises(InputError, match=complaint):
        truth_scores(HeadActivations(**{**fields, **change}))


def test_activations_that_are_not_finite_and_too_few_folds() -> None:
    z = ACTIVATIONS.z.clone()
    z[7, 1, 2, 0] = float("nan")
    broken = HeadActivations(z, ACTIVATIONS.labels, ACTIVATIONS.groups, ACTIVATIONS.ids, {})
    with pytest.raises(InputError, match="activations of example '7' are not finite"):
        truth_scores(broken)
    with pytest.raises(InputError, match="1 folds were asked for"):
        truth_scores(ACTIVATIONS, n_folds=1)


# Matched rows


def test_matched_rows_are_scored_by_probes_of_their_own() -> None:
    rows = examples(400, told=0.8)
    seen = activations(rows)
    matched = lens_truth.data.match(rows, on=["characters", "first"])
    assert matched.left and 40 < matched.n < 400
    found = truth_scores(seen, n_permutations=10, n_bootstrap=50, matched=matched)
    kept = matched.rows.tolist()
    part = HeadActivations(
        seen.z[kept], seen.labels[kept], tuple(seen.groups[i] for i in kept), tuple(seen.ids[i] for i in kept), {}
    )
    alone = truth_scores(part, n_permutations=0, n_bootstrap=50)
    np.testing.assert_array_equal(found.metrics["matched"], alone.values)
    np.testing.assert_array_equal(found.metrics["matched_low"], alone.metrics["ci_low"])
    np.testing.assert_array_equal(found.metrics["matched_high"], alone.metrics["ci_high"])
    # what reads the word knows nothing there, what reads the truth as much as before
    assert found.values[0, 1] > 0.72 and found.metrics["matched"][0, 1] < 0.6
    assert found.values[0, 0] > 0.75 and found.metrics["matched"][0, 0] > 0.75
    record = found.provenance["matched"]
    assert (record["on"], record["n"], record["of"]) == (["characters", "first"], matched.n, 400)
    assert record["surface_before"] > 0.7 > 0.6 > record["surface_after"]
    without = truth_scores(seen, n_permutations=10, n_bootstrap=50)
    assert without.as_dict()["values"] == found.as_dict()["values"] and "matched" not in without.provenance
    assert "matched" in found.tables()[0].header and record["said"] in found.tables()[0].note


def test_too_few_matched_rows_are_told_of() -> None:
    rows = examples(120, told=1.0)
    seen = activations(rows)
    matched = lens_truth.data.match(rows, on=["first"])
    assert not matched.left
    found = truth_scores(seen, n_permutations=0, n_bootstrap=10, matched=matched)
    assert "matched" not in found.metrics and matched.sentence == found.provenance["matched"]["said"]
    assert found.tables()[0].note.startswith(
        "No truth scores on matched rows: no 40 of the 120 rows could be matched on first character"
    )
    unfoldable = lens_truth.data.match(examples(400, told=0.8), on=["first"])
    many = truth_scores(activations(examples(400, told=0.8)), n_folds=150, n_permutations=0, matched=unfoldable)
    assert "matched" not in many.metrics and "; but there are" in many.provenance["matched"]["said"]
    with pytest.raises(InputError, match="matched among 120 examples, and the activations are of 240"):
        truth_scores(ACTIVATIONS, matched=matched)
