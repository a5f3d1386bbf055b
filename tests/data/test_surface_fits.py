"""What the surface tells, held against scikit-learn, by hand, and under no effect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lens_truth import Example, InputError
from lens_truth.data.examples import labels_of
from lens_truth.data.surface_features import FEATURES, LONGEST
from lens_truth.data.surface_fits import Judge, fitted_before, held_out, surface_baselines, surface_decisions
from lens_truth.stats.folds import grouped_folds, permuted_labels

WORDS = ("amber", "birch", "cedar", "dune", "elm", "fern", "grove", "heath", "iris", "jade", "kelp", "lark", "moss")


def rows(n: int, seed: int, told: float = 0.0) -> list[Example]:
    """A right and a wrong answer to each of n questions; a share of the right ones is told by a word."""
    rng = np.random.default_rng(seed)
    found: list[Example] = []
    for number in range(n):
        question = f"What grows at {rng.choice(WORDS)} number {number}?"
        for label in (1, 0):
            words = rng.choice(WORDS, 4).tolist()
            if label and rng.random() < told:
                words[1] = "indeed"
            found.append(Example(f"{number}-{label}", str(number), question, " ".join(words), label))
    return found


def folds(examples: list[Example]) -> np.ndarray:
    return grouped_folds(np.array(labels_of(examples)), [e.group for e in examples], 5, 0)


def test_a_word_that_tells_the_label_is_found_and_nothing_else() -> None:
    told = {its.name: its for its in surface_baselines(rows(150, 0, told=0.5))}
    assert told["answer words"].low > 0.6 and told["answer words"].p_value == 0.001
    assert told["n-grams"].low > 0.6 and told["overlap"].p_value > 0.05
    assert "context words" not in told and {"characters", "first", "last", "tokens"} <= told.keys()
    # all rows of a question have its words, so labels exchanged inside it move nothing
    assert told["question words"].auroc == 0.5 and np.isnan(told["question words"].p_value)


def test_auroc_and_decisions_are_scikit_learns() -> None:
    examples = rows(60, 1, told=0.3)
    fold, labels = folds(examples), np.array(labels_of(examples))
    x = FEATURES["answer words"].see(examples)
    by_hand = np.empty(len(labels))
    aurocs: list[float] = []
    right: list[float] = []
    for k in range(5):
        fitted = LogisticRegression(C=1.0, solver="liblinear", tol=1e-2).fit(x[fold != k], labels[fold != k])
        by_hand[fold == k] = fitted.decision_function(x[fold == k])
        aurocs.append(float(roc_auc_score(labels[fold == k], by_hand[fold == k])))
        right.append(float(((by_hand[fold == k] > 0) == labels[fold == k]).mean()))
    decided = surface_decisions(examples, fold, ["answer words"])["answer words"]
    assert np.allclose(decided, by_hand, atol=1e-9)
    (told,) = surface_baselines(examples, fold, ["answer words"])
    assert told.auroc == pytest.approx(np.mean(aurocs)) and told.accuracy == pytest.approx(np.mean(right))
    assert told.low < told.auroc < told.high


def test_ties_count_half() -> None:
    labels = np.array([1, 0, 1, 0, 0, 1])
    decided = np.array([1.0, 1.0, 2.0, 0.0, 2.0, 2.0])
    judge = Judge(labels, list("abcdef"), np.zeros(6, dtype=np.int64), 0, 0, 1)
    assert judge.auroc(decided) == pytest.approx(float(roc_auc_score(labels, decided)))
    assert judge.auroc(np.r_[decided[:5], np.nan]) == pytest.approx(float(roc_auc_score(labels[:5], decided[:5])))


def test_under_no_effect_p_values_are_uniform_where_permuted_decisions_are_not() -> None:
    """Labels permuted against cross-validated decisions find something far too often; the test here does not."""
    p_here: list[float] = []
    z_naive: list[float] = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        labels, groups = rng.permutation(np.repeat([0, 1], 60)), [str(n) for n in range(120)]
        x = rng.standard_normal((120, 30))
        fold = grouped_folds(labels, groups, 5, seed)
        judge = Judge(labels, groups, fold, seed, 199, 1)
        decided = held_out(x, labels, fold)
        p_here.append(judge.baseline("x", "x", decided, fitted_before(x, labels, fold)).p_value)
        drawn = permuted_labels(labels, groups, 199, seed, fold)
        null = [Judge(draw, groups, fold, seed, 0, 1).auroc(decided) for draw in drawn[:60]]
        z_naive.append((judge.auroc(decided) - np.mean(null)) / np.std(null))
    assert stats.kstest(p_here, "uniform").pvalue > 0.01
    assert 0.01 <= np.mean(np.array(p_here) < 0.05) <= 0.11
    assert np.std(z_naive) > 1.2  # not 1: such p-values would be too small


def test_intervals_hold_the_truth() -> None:
    """Of a number that tells the labels with AUROC .714, which needs no fit."""
    truth = stats.norm.cdf(0.8 / np.sqrt(2))
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.tile([0, 1], 100)
        decided = rng.standard_normal(200) + 0.8 * labels
        judge = Judge(labels, [str(n // 2) for n in range(200)], np.repeat(np.arange(5), 40), seed, 0, 200)
        told = judge.baseline("x", "x", decided, None)
        held += told.low <= truth <= told.high
    assert held >= 52


def test_a_very_long_answer_costs_nothing() -> None:
    examples = rows(30, 2)
    examples[0] = replace(examples[0], answer="word " * 200_000)
    told = {its.name: its for its in surface_baselines(examples, n_permutations=0, n_bootstrap=10)}
    assert len(examples[0].answer) > 100 * LONGEST and np.isfinite(told["characters"].auroc)


def test_unknown_features_are_named() -> None:
    with pytest.raises(InputError, match="there is no surface feature 'colour'; there are characters, "):
        surface_baselines(rows(20, 0), names=["colour"])
    with pytest.raises(InputError, match="fewer than the 5 folds"):
        surface_baselines(rows(3, 0))
