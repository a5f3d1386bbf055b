"""Neurons that are found: planted ones, the choice of C, judges and rivals against computations of another make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

import lens_truth
from lens_truth.data.bag_of_words import bag_of_words_auroc
from lens_truth.data.loading import load_replies
from lens_truth.errors import InputError, gathered_notices
from lens_truth.neurons import rivals
from lens_truth.neurons.bench import Bench, Side
from lens_truth.neurons.finding import FACTORS, FOLDS, Rows, found_in
from lens_truth.neurons.sparse import smallest_c
from lens_truth.neurons.study_result import FOUND, POSITIVE, RANDOM, REFITTED, THREE, NeuronStudy
from lens_truth.stats.folds import grouped_folds

roc_auc_score: Any = metrics.roc_auc_score
L, M = 4, 50
PLANTED = ((0, 3), (2, 7))
"""More active in hallucinated answers; and one that is less, (3, 49)."""


def made(n: int = 160, seed: int = 0, *, told: float = 1.6, per_group: int = 2) -> tuple[Any, list[Any]]:
    """Activity in which three neurons tell right from hallucinated answers, and replies that say nothing of it."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    values = np.exp(rng.normal(size=(n, L, M)) * 0.5) * 0.01
    for layer, neuron in PLANTED:
        values[:, layer, neuron] *= np.exp(told * (label == 0))
    values[:, 3, 49] *= np.exp(told * (label == 1))
    others = np.exp(rng.normal(size=(n, L, M)) * 0.5) * 0.01
    groups = tuple(f"g{seed}.{row // per_group}" for row in range(n))
    said = [f"{rng.choice(['red', 'blue', 'green'])} {rng.choice(['stone', 'leaf'])}" for _ in range(n)]
    replies = [
        lens_truth.Reply(
            lens_truth.Example(f"{seed}-{row}", groups[row], f"What is {groups[row]}?", said[row], int(label[row])),
            (0, len(said[row])),
        )
        for row in range(n)
    ]
    activity = lens_truth.NeuronActivity(
        torch.tensor(values, dtype=torch.float32), torch.tensor(label), groups,
        tuple(its.example.id for its in replies), rng.integers(1, 4, n), {}, torch.tensor(others, dtype=torch.float32),
    )  # fmt: skip
    return activity, replies


@pytest.fixture(scope="module")
def study() -> NeuronStudy:
    return lens_truth.neuron_study(*made(), n_random=6, n_null=6)


def test_planted_neurons_are_found(study: NeuronStudy) -> None:
    weight = {(layer, neuron): its for layer, neuron, its in zip(study.layer, study.neuron, study.weight, strict=True)}
    assert all(weight[place] > 0 for place in PLANTED) and weight[3, 49] < 0
    largest = sorted(weight, key=lambda place: -abs(weight[place]))[:3]
    assert set(largest) == {*PLANTED, (3, 49)}
    assert study.neurons.positive.by_layer()["0"][0] == 3
    assert study.n_positive == len(study.neurons.positive) >= 2
    assert study.per_mille == pytest.approx(1000 * study.n_positive / (L * M))


def test_what_they_are_worth(study: NeuronStudy) -> None:
    own = study.worth[FOUND]
    assert own.auroc.value > 0.95 and own.auroc.low > 0.9 and own.auroc.low <= own.auroc.value <= own.auroc.high
    assert (own.ahead.value, own.ahead.low, own.ahead.high) == (0, 0, 0)
    assert own.accuracy.value > 0.85 and study.worth[REFITTED].auroc.value > 0.95
    for name in (RANDOM, "words of the question", "words of the answer", "tokens of the answer"):
        assert abs(study.worth[name].auroc.value - 0.5) < 0.12
        assert study.worth[name].ahead.low > 0.2
    assert study.worth[POSITIVE].auroc.value > 0.9 and study.worth[THREE].auroc.value > 0.9
    assert study.null_p == pytest.approx(1 / 7) and max(study.null) < 0.75
    said = study.verdicts()[1]  # six draws cannot give p < .05, so nothing is said to be no better than they
    assert "not beyond" not in said and "above" in said and "the least that so few can give" in said
    assert study.random_p == pytest.approx(1 / 7)
    assert study.stability.jaccard > 10 * study.stability.chance and study.stability.in_all >= 1


def test_where_nothing_tells_nothing_is_claimed() -> None:
    """And the null is centred: neither a leak nor the bias that folds of balanced labels can give."""
    found = lens_truth.neuron_study(*made(48, told=0.0, seed=5), n_random=0, n_null=30)
    assert abs(np.mean(found.null) - 0.5) < 0.05 and np.std(found.null) > 0.02
    assert found.null_p > 0.05 and "not beyond" in found.verdicts()[1]


def test_c_is_that_of_liblinear_in_grouped_folds() -> None:
    activity, _ = made(told=0.7, seed=1)
    rows = Rows.of(activity)
    found = found_in(rows, 0, told=True)
    x, y = activity.values.reshape(len(activity.ids), -1).numpy().astype(float), 1 - activity.labels.numpy()
    Cs = smallest_c(rows.x, 2 * y - 1) * FACTORS
    fold = grouped_folds(y, activity.groups, FOLDS, 0)
    worth = np.zeros(len(Cs))
    for k in range(FOLDS):
        for n, C in enumerate(Cs):
            fit: Any = LogisticRegression(l1_ratio=1, solver="liblinear", C=C, tol=1e-7, max_iter=100_000)
            fit.fit(x[fold != k], y[fold != k])
            worth[n] += roc_auc_score(y[fold == k], fit.decision_function(x[fold == k])) / FOLDS
    assert [its.auroc for its in found.tried] == pytest.approx(worth.tolist(), abs=0.01)
    best = max(its.auroc for its in found.tried)
    assert next(its.C for its in found.tried if its.auroc >= best - 1e-9) == found.fit.C


def test_auroc_compares_answers_of_one_fit_alone() -> None:
    side = Side.of(*made(60))
    bench = Bench.of(side, None, 3, 0)
    rng = np.random.default_rng(0)
    trial = [rng.normal(size=len(split.test)) + 100 * n for n, split in enumerate(bench.splits)]
    y, won, pairs = side.rows.hallucinated, 0.0, 0
    for decided, split in zip(trial, bench.splits, strict=True):
        for a in range(len(decided)):
            for b in range(len(decided)):
                if y[split.test[a]] == 1 and y[split.test[b]] == 0:
                    won, pairs = won + (decided[a] > decided[b]), pairs + 1
    assert bench.aurocs(trial)[0] == pytest.approx(won / pairs)
    judged = np.concatenate([split.test for split in bench.splits])
    assert sorted(judged.tolist()) == list(range(60))
    for split in bench.splits:
        parts: list[list[int]] = [split.train.tolist(), split.test.tolist()]
        train, test = ({side.rows.groups[row] for row in its} for its in parts)
        assert train.isdisjoint(test)


def test_rivals_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x, other, y = rng.normal(size=(40, 90)), rng.normal(size=(20, 90)), rng.integers(0, 2, 40)
    x[:, 5] = 1.0
    scaler: Any = StandardScaler().fit(x)
    alpha = float((scaler.transform(x) ** 2).sum() / 40)
    ridge: Any = RidgeClassifier(alpha=alpha).fit(scaler.transform(x), y)
    assert rivals.dense(x, y, other) == pytest.approx(ridge.decision_function(scaler.transform(other)))
    logistic: Any = LogisticRegression(max_iter=5000)
    logistic.fit(scaler.transform(x), y)
    assert rivals.refitted(x, y, other) == pytest.approx(logistic.decision_function(scaler.transform(other)))
    told = [
        abs(x[y == 1, j].mean() - x[y == 0, j].mean())
        / np.sqrt((x[y == 1, j].var() + x[y == 0, j].var()) / 2 or np.inf)
        for j in range(90)
    ]
    assert rivals.best_single(x, y, 4).tolist() == np.argsort(told)[::-1][:4].tolist()
    drawn = rivals.drawn_columns(10, 90, np.arange(70), 0, 1)
    assert len(set(drawn.tolist())) == 10 and drawn.min() >= 70
    assert not rivals.words(["?", "!"], np.array([0, 1]), ["."]).any()


def test_three_against_one_has_a_row_for_other_tokens() -> None:
    activity, _ = made(20)
    rows = Rows.of(activity, others=True)
    assert rows.hallucinated.sum() == 10 and len(rows.hallucinated) == 40 and rows.n == 20
    part = rows.part(np.array([1, 4]))
    assert part.groups == (activity.groups[1], activity.groups[4]) * 2
    assert np.array_equal(part.x[3], rows.x[24]) and part.hallucinated.tolist() == [0, 1, 0, 0]
    with pytest.raises(InputError, match="the other tokens of the replies were not read"):
        Rows.of(replace(activity, others=None), others=True)


def test_other_answers_to_judge_on() -> None:
    train, test = made(), made(60, seed=2)
    found = lens_truth.neuron_study(*train, test=test, n_random=2, n_null=2)
    decided = found.neurons.decision(test[0])
    assert found.worth[FOUND].auroc.value == pytest.approx(roc_auc_score(1 - test[0].labels.numpy(), decided))
    accuracy: Any = np.mean((decided > 0) == (test[0].labels.numpy() == 0))
    assert found.worth[FOUND].accuracy.value == pytest.approx(accuracy)
    assert found.judged_on is not None and found.judged_on.answers == 60 and found.n_folds == 1
    assert "that were not trained on" in found.tables()[0].note


def test_test_answers_of_groups_that_were_trained_on_are_left_out() -> None:
    train, test = made(), made(60, seed=2)
    shared = replace(test[0], groups=(*train[0].groups[:10], *test[0].groups[10:]))
    with gathered_notices() as said:
        found = lens_truth.neuron_study(*train, test=(shared, test[1]), n_random=0, n_null=0)
    assert found.judged_on is not None and found.judged_on.answers == 50
    assert said[0] == "10 of 60 test answers are left out: their groups are among the training answers"
    with gathered_notices(), pytest.raises(InputError, match="all test answers are of groups that neurons"):
        lens_truth.neuron_study(*train, test=train)


def test_a_result_comes_back(study: NeuronStudy, tmp_path: Any) -> None:
    study.save(tmp_path)
    again = NeuronStudy.load(tmp_path)
    assert again == study and again.verdicts() == study.verdicts()
    assert [table.caption for table in again.tables()] == [table.caption for table in study.tables()]
    assert again.neurons.weight.tolist() == list(study.weight)
    panels = again.plot().axes
    assert len(panels) == 3
    shown = {int(label.get_text()) for label in panels[1].get_xticklabels()}
    assert shown and shown <= {its.n_neurons for its in again.tried}  # powers of ten alone would show no scale


def test_what_is_refused() -> None:
    activity, replies = made(40)
    other = replace(activity, values=activity.values[..., :9], others=None)
    with pytest.raises(InputError, match=r"1 of 40 answers whose neurons were read are not among the replies"):
        lens_truth.neuron_study(activity, replies[1:])
    with pytest.raises(
        InputError, match="neurons are found among 4 x 50, and the test answers are of a model with 4 x 9"
    ):
        lens_truth.neuron_study(activity, replies, test=(other, replies))
    with pytest.raises(InputError, match="all 40 examples are supported"):
        lens_truth.neuron_study(replace(activity, labels=torch.ones(40, dtype=torch.int64)), replies)
    with pytest.raises(InputError, match="there are 2 groups, fewer than the 3 folds"):
        lens_truth.neuron_study(*made(40, per_group=20))
    with pytest.raises(InputError, match="no neuron tells the classes apart"):
        lens_truth.neuron_study(replace(activity, values=torch.zeros(40, L, M)), replies)


@pytest.mark.published
@pytest.mark.parametrize(("name", "expected", "shared"), [("Llama33", 0.605, 0), ("gemma27b", 0.702, 107)])
def test_published_questions_alone(data: Any, name: str, expected: float, shared: int) -> None:
    """Words of the question tell hallucinated replies from right ones in the published files."""
    files = [data / "h_neurons" / f"{name}_TriviaQA_answer_tokens_{part}.jsonl" for part in ("train", "test")]
    with gathered_notices():  # of replies without labels or answer tokens
        train, test = (load_replies(f"h-neurons:{file}") for file in files)
    hallucinated = [np.array([int(reply.hallucinated) for reply in its]) for its in (train, test)]
    texts = [[reply.example.question for reply in its] for its in (train, test)]
    decided = rivals.words(texts[0], hallucinated[0], texts[1])
    found = roc_auc_score(hallucinated[1], decided)
    blank = [[replace(reply.example, answer="") for reply in its] for its in (train, test)]
    assert found == pytest.approx(bag_of_words_auroc(*blank, grouped=False)) and found == pytest.approx(
        expected, abs=1e-3
    )
    assert len({reply.example.group for reply in train} & {reply.example.group for reply in test}) == shared
