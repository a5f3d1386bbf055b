"""A child's neurons in its base, against SciPy, scikit-learn and loops; what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score as sklearn_auroc  # pyright: ignore[reportUnknownVariableType]

from lens_truth.errors import InputError
from lens_truth.lineage.inheritance import heritability
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.neuron_set import NeuronSet, random_set
from lens_truth.neurons.origins import moved_weights, neuron_origins
from lens_truth.neurons.origins_result import NeuronOrigins
from lens_truth.neurons.single import aurocs, neuron_scores
from lens_truth.stats.folds import grouped_folds

roc_auc_score: Any = sklearn_auroc  # pyright: ignore[reportUnknownVariableType]
mannwhitneyu: Any = stats.mannwhitneyu  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
N, L, M = 160, 3, 20
PLANTED = ((0, 3), (1, 7), (1, 9), (2, 0))


def labels_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(N) % 2)


def activity(values: np.ndarray, name: str, labels: np.ndarray | None = None) -> NeuronActivity:
    groups = tuple(f"g{i // 2}" for i in range(len(values)))
    its = torch.tensor(labels_of() if labels is None else labels)
    ids = tuple(str(i) for i in range(len(values)))
    return NeuronActivity(
        torch.tensor(values, dtype=torch.float32),
        its,
        groups,
        ids,
        np.ones(len(values), dtype=int),
        {"model": name, "point": "cett"},
    )


def noise(seed: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).random((n, L, M))


def with_planted(seed: int, strength: float, at: Sequence[tuple[int, int]] = PLANTED) -> np.ndarray:
    values = noise(seed)
    for layer, neuron in at:
        values[:, layer, neuron] += strength * (labels_of() == 0)
    return values


def planted_set(weights: Sequence[float] = (1.0, 0.5, 2.0, -0.3)) -> NeuronSet:
    layer, neuron = np.array(PLANTED).T
    return NeuronSet(layer, neuron, np.array(weights, dtype=float), -0.2, (L, M))


def test_scores_are_scipys_with_ties_and_dead_neurons() -> None:
    values = np.round(noise(0) * 6) / 6  # many ties
    values[:, 1, 4] = 0
    labels = labels_of()
    found = neuron_scores(activity(values, "m"))
    wrong, right = values[labels == 0], values[labels == 1]
    wanted: Any = mannwhitneyu(wrong, right, axis=0).statistic / (len(wrong) * len(right))
    assert np.allclose(found.values, wanted, atol=1e-12) and found.values[1, 4] == 0.5
    assert found.kind == "neuron" and found.n_kv_heads is None
    part = grouped_folds(labels, tuple(f"g{i // 2}" for i in range(N)), 2, 0)
    assert found.folds is not None
    for number in range(2):
        its = values[part == number].reshape(-1, L * M), labels[part == number]
        by_hand = [roc_auc_score(its[1] == 0, its[0][:, at]) for at in range(L * M)]
        assert np.allclose(found.folds[number].ravel(), by_hand, atol=1e-12)
    rare = noise(3)  # one tie in one column, so that both ways of ranking meet
    rare[5, 0, 0] = rare[6, 0, 0]
    assert np.allclose(
        aurocs(rare.reshape(N, -1), labels),
        [roc_auc_score(labels == 0, rare.reshape(N, -1)[:, at]) for at in range(L * M)],
        atol=1e-12,
    )


def test_scores_in_small_pieces_and_from_disk_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lens_truth.neurons import single as module

    its = activity(noise(0), "m")
    whole = neuron_scores(its, n_parts=3)
    its.save(tmp_path / "a")
    monkeypatch.setattr(module, "_CELLS", 7 * N)
    again = neuron_scores(NeuronActivity.load(tmp_path / "a"), n_parts=3)
    assert np.array_equal(whole.values, again.values) and whole.folds is not None and again.folds is not None
    assert np.array_equal(whole.folds, again.folds) and len(whole.folds) == 3


def test_a_part_of_one_label_is_refused() -> None:
    labels = np.array([0] * 39 + [1])
    with pytest.raises(InputError, match=r"part . of 2 of the groups holds answers of one label only|leaves one class"):
        neuron_scores(activity(noise(0, 40), "m", labels))


def test_planted_neurons_are_found_in_the_base() -> None:
    base, child = activity(with_planted(1, 0.5), "base"), activity(with_planted(2, 0.6), "child")
    found = neuron_origins(planted_set(), base, child, n_null=199, n_random=9)
    wrong = labels_of() == 0
    for name, its in (("base", base), ("child", child)):
        decided = its.values.numpy()[:, [0, 1, 1, 2], [3, 7, 9, 0]].astype(float) @ [1, 0.5, 2, -0.3] - 0.2
        assert np.isclose(found.applied[name].auroc, roc_auc_score(wrong, decided), atol=1e-9)
        assert found.applied[name].p_shuffled == found.applied[name].p_moved == 1 / 200
        assert found.applied[name].auroc_ci[0] < found.applied[name].auroc < found.applied[name].auroc_ci[1]
    assert np.isclose(found.lost, found.applied["child"].auroc - found.applied["base"].auroc)
    assert np.isclose(found.kept, (found.applied["base"].auroc - 0.5) / (found.applied["child"].auroc - 0.5))
    assert found.n_positive == 3 and all(its.p == 1 / 10 for its in found.refitted.values())
    rank = found.ranks["AUROC in the base"]
    assert rank.inside > 0.9 > rank.null[1] and rank.p < 0.05
    assert "it is told from chance in the base" in found.verdicts()[0] and "better than" not in found.verdicts()[0]
    assert "no better" not in found.verdicts()[1]  # nine sets cannot say so: their p is .1 at least
    assert "above all random sets" in found.verdicts()[1] and "9 sets give p = 0.1 at least" in found.verdicts()[1]
    few = neuron_origins(planted_set(), base, child, n_null=9, n_random=20)
    assert "do as well" not in few.verdicts()[0] and "better than random sets" in few.verdicts()[1]


def test_neurons_of_the_child_alone_are_not() -> None:
    base, child = activity(noise(1), "base"), activity(with_planted(2, 0.6), "child")
    found = neuron_origins(planted_set(), base, child, n_null=199, n_random=9)
    assert found.applied["base"].p_shuffled > 0.05 and found.applied["child"].p_shuffled < 0.01
    assert "not told from chance in the base" in found.verdicts()[0]
    assert "no better than random sets" in found.verdicts()[1] and found.ranks["AUROC in the base"].p > 0.05
    nothing = neuron_origins(planted_set(), base, activity(noise(4), "child"), n_null=99, n_random=3)
    assert len(nothing.verdicts()) == 1 and "nothing can be said" in nothing.verdicts()[0]


def test_refits_are_scikit_learns_in_held_out_groups() -> None:
    base, child = activity(with_planted(1, 0.3), "base"), activity(with_planted(2, 0.3), "child")
    found = neuron_origins(planted_set(), base, child, n_null=9, n_random=2, n_folds=4, seed=3)
    labels, groups = labels_of(), base.groups
    fold = grouped_folds(labels, groups, 4, 3)
    sets = [planted_set(), *(random_set(planted_set(), (L, M), 3 + draw) for draw in range(2))]
    both = {"base": base, "child": child}
    for way, its in found.refitted.items():
        where, to = (both[name].values.numpy() for name in way.split(" to "))
        wanted = list[float]()
        for some in sets:
            x, y = (values[:, some.layer, some.neuron].astype(float) for values in (where, to))
            decided = np.empty(N)
            for number in range(4):
                train = fold != number
                mean, spread = x[train].mean(0), x[train].std(0)
                model: Any = LogisticRegression(max_iter=1000)
                model.fit((x[train] - mean) / spread, labels[train])
                decided[~train] = model.decision_function((y[~train] - mean) / spread)
            wanted.append(float(roc_auc_score(labels, decided)))
        assert np.allclose([its.auroc, *its.random], wanted, atol=1e-9)


def test_ranks_are_mean_shares_of_neurons_below() -> None:
    base, child = activity(noise(1), "base"), activity(noise(2), "child")
    change = np.random.default_rng(5).random((L, M))
    found = neuron_origins(planted_set(), base, child, change=change, n_null=9, n_random=1)
    its = found.ranks["weights kept"]
    positive = PLANTED[:3]
    inside = [((change[layer] > change[layer, at]).sum() + 0.5) / M for layer, at in positive]
    overall = [((change > change[layer, at]).sum() + 0.5) / change.size for layer, at in positive]
    assert np.isclose(its.inside, np.mean(inside)) and np.isclose(its.overall, np.mean(overall))


def test_nulls_hold_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """On noise a classifier is called better than its null about as often as the level says."""
    from lens_truth.neurons import origins

    monkeypatch.setattr(origins, "_BOOTSTRAP", 9)
    few: dict[str, Any] = {"n_null": 39, "n_random": 1, "n_folds": 2}
    neurons = planted_set((1, 1, 1, 1))
    p = [
        neuron_origins(neurons, activity(noise(1000 + i), "b"), activity(noise(i), "c"), seed=i, **few)
        for i in range(30)
    ]
    for kind in ("p_moved", "p_shuffled"):
        low = sum(getattr(its.applied["base"], kind) <= 0.1 for its in p)
        assert low <= 9, (kind, low)  # binomial(30, .1): above 9 less than once in a thousand
    assert sum(its.ranks["AUROC in the base"].p <= 0.1 for its in p) <= 9


def test_moved_weights_are_at_other_neurons_of_the_layer() -> None:
    found = moved_weights(planted_set(), (L, M), 50, 0)
    for at, (layer, _) in enumerate(PLANTED):
        own = [neuron for its, neuron in PLANTED if its == layer]
        assert not np.isin(found[:, at], own).any() and found.max() < M
    assert (found[:, 1] != found[:, 2]).all()  # of one layer, never at one neuron
    assert len(np.unique(found[:, 0])) > 10
    full = NeuronSet(np.zeros(M, dtype=int), np.arange(M), np.ones(M))
    with pytest.raises(InputError, match="no others can take their place"):
        moved_weights(full, (L, M), 1, 0)


def test_read_back(tmp_path: Path) -> None:
    found = neuron_origins(planted_set(), activity(noise(1), "b"), activity(noise(2), "c"), n_null=9, n_random=2)
    found.save(tmp_path / "run")
    assert NeuronOrigins.load(tmp_path / "run") == found
    with pytest.raises(InputError, match="does not know"):
        NeuronOrigins.from_dict({**found.as_dict(), "more": 1})
    assert all(table.rows for table in found.tables())


def test_bad_input() -> None:
    base, child = activity(noise(1), "b"), activity(noise(2), "c")
    neurons = planted_set()
    with pytest.raises(InputError, match="not read on the same answers"):
        neuron_origins(neurons, base, replace(child, ids=child.ids[::-1]))
    with pytest.raises(InputError, match="their neurons do not correspond"):
        neuron_origins(neurons, base, activity(noise(2)[:, :2], "c"))
    with pytest.raises(InputError, match="none foretells hallucination"):
        neuron_origins(planted_set((-1, -1, -1, -1)), base, child)
    with pytest.raises(InputError, match="of a model with 9 layers"):
        neuron_origins(replace(neurons, shape=(9, M)), base, child)
    with pytest.raises(InputError, match="at least 1 of each"):
        neuron_origins(neurons, base, child, n_random=0)
    with pytest.raises(InputError, match="fewer than the 200 folds"):
        neuron_origins(neurons, base, child, n_folds=200)
    with pytest.raises(InputError, match="the change of weights is of"):
        neuron_origins(neurons, base, child, change=np.zeros((2, M)))
    alike = np.zeros(N, dtype=int)
    with pytest.raises(InputError, match="needs both classes"):
        neuron_origins(neurons, activity(noise(1), "b", alike), activity(noise(2), "c", alike))


def test_agreement_is_told_of_neurons() -> None:
    signal = with_planted(3, 0.4, [(layer, at) for layer in range(L) for at in range(0, M, 2)])
    other = signal + 0.3 * noise(8)
    scores = {name: neuron_scores(activity(its, name)) for name, its in (("base", signal), ("child", other))}
    found = heritability(scores, n_permutations=199, n_bootstrap=50)
    assert found.units == "neurons" and "shuffled neurons" in found.verdicts()[0]
    assert "neurons are shuffled" in found.tables()[0].note and found.ceiling_within_layer[0, 1] < 1
    assert found.p_permutation[0, 1] < 0.05
