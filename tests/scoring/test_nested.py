"""Decisions on given folds, and the head that is chosen on the others: against scikit-learn, and against peeking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import problem
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lens_truth.errors import InputError
from lens_truth.scoring import closed_form
from lens_truth.scoring.nested import decisions_before, decisions_on_folds
from lens_truth.scoring.probing import held_out_decisions, truth_scores

ACTIVATIONS = problem(n=120)


def test_on_its_own_folds_it_is_held_out_decisions_and_truth_scores() -> None:
    decisions, fold = held_out_decisions(ACTIVATIONS)
    found, wanted = decisions_on_folds(ACTIVATIONS, fold), truth_scores(ACTIVATIONS, n_permutations=0)
    assert np.array_equal(found.decisions, decisions) and found.best is None
    assert np.array_equal(found.scores.values, wanted.values)
    assert found.scores.folds is not None and wanted.folds is not None
    assert np.array_equal(found.scores.folds, wanted.folds)
    for name, its in found.scores.metrics.items():
        assert np.array_equal(its, wanted.metrics[name]), name


def test_the_best_head_is_the_one_of_the_other_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    penalty = 0.1
    monkeypatch.setattr(closed_form, "PENALTIES", (penalty,) * 3)
    _, fold = held_out_decisions(ACTIVATIONS, n_folds=4)
    found = decisions_on_folds(ACTIVATIONS, fold, choose=True)
    assert found.best is not None
    labels = ACTIVATIONS.labels.numpy()

    def decide(train: np.ndarray, test: np.ndarray, layer: int, head: int) -> np.ndarray:
        x = ACTIVATIONS.z[:, layer, head].double().numpy()
        probe = make_pipeline(StandardScaler(), Ridge(alpha=penalty * train.sum())).fit(x[train], labels[train])
        return probe.predict(x[test]) - 0.5

    for k in range(4):
        accuracy = np.zeros((2, 3))
        for layer, head in np.ndindex(2, 3):
            for j in set(range(4)) - {k}:
                test = fold == j
                told = decide((fold != k) & (fold != j), test, layer, head) > 0
                accuracy[layer, head] += (told == labels[test]).mean() / 3
        best = np.unravel_index(accuracy.argmax(), accuracy.shape)
        assert found.chosen[k] == best
        wanted = decide(fold != k, fold == k, int(best[0]), int(best[1]))
        assert found.best[fold == k] == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_labels_of_a_fold_have_no_part_in_what_is_chosen_for_it() -> None:
    """And on noise the best head of many is no better than chance, though the highest score is."""
    noise = problem(n=120, L=4, H=10, signal=0.0)
    fold = np.repeat(np.arange(5), 24)
    found = decisions_on_folds(noise, fold, choose=True)
    assert found.best is not None and found.scores.values.max() > 0.58
    assert abs(((found.best > 0) == (noise.labels.numpy() == 1)).mean() - 0.5) < 0.12
    for k in range(5):
        flipped = replace(noise, labels=torch.where(torch.from_numpy(fold == k), 1 - noise.labels, noise.labels))
        again = decisions_on_folds(flipped, fold, choose=True)
        assert again.best is not None and again.chosen[k] == found.chosen[k]
        np.testing.assert_allclose(again.best[fold == k], found.best[fold == k], rtol=1e-3, atol=1e-5)


def test_two_folds_leave_nothing_to_choose_on() -> None:
    fold = np.repeat([0, 1], 60)
    with pytest.raises(InputError, match="there are 2 folds; a head is chosen"):
        decisions_on_folds(ACTIVATIONS, fold, choose=True)
    assert decisions_on_folds(ACTIVATIONS, fold).decisions.shape == (120, 2, 3)
    assert len(decisions_on_folds(ACTIVATIONS, np.repeat([0, 1, 2], 40), choose=True).chosen) == 3


def test_decisions_before_see_no_later_fold() -> None:
    """What is changed in a fold changes only decisions on it and on later ones."""
    _, fold = held_out_decisions(ACTIVATIONS)
    before = decisions_before(ACTIVATIONS, fold)
    assert np.isnan(before[fold < 2]).all() and np.isfinite(before[fold >= 2]).all()
    last = decisions_on_folds(ACTIVATIONS, fold).decisions.reshape(len(fold), -1)
    assert np.array_equal(before[fold == 4], last[fold == 4])  # fitted on all others either way
    z = ACTIVATIONS.z.clone()
    z[torch.from_numpy(fold == 3)] = torch.randn_like(z[torch.from_numpy(fold == 3)])
    again = decisions_before(replace(ACTIVATIONS, z=z), fold)
    assert np.array_equal(again[fold == 2], before[fold == 2])
    assert not np.array_equal(again[fold == 4], before[fold == 4])
    assert decisions_before(ACTIVATIONS, fold, choose=True).shape == (120, 1)
