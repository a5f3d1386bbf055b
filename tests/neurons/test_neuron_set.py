"""Sets of neurons: files as published, decisions, gates, random sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lens_truth.errors import InputError
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.neuron_set import NeuronSet, random_set


def some(shape: tuple[int, int] = (4, 50), n: int = 9, seed: int = 0) -> NeuronSet:
    rng = np.random.default_rng(seed)
    weights = np.zeros(shape[0] * shape[1])
    weights[rng.choice(len(weights), n, replace=False)] = rng.normal(size=n)
    return NeuronSet.from_map(weights.reshape(shape), 0.25, {"C": 1.0})


def test_files_hold_everything_or_what_is_published(tmp_path: Path) -> None:
    its = some()
    its.save(tmp_path / "n.safetensors")
    again = NeuronSet.load(tmp_path / "n.safetensors")
    assert (again.intercept, again.shape, again.provenance) == (0.25, (4, 50), {"C": 1.0})
    for name in ("layer", "neuron", "weight"):
        assert np.array_equal(getattr(again, name), getattr(its, name))
    its.save(tmp_path / "n.csv")
    table = NeuronSet.load(tmp_path / "n.csv")
    assert (table.weight > 0).all() and np.array_equal(table.weight, its.positive.weight) and table.shape is None
    its.save(tmp_path / "n.json")
    published = json.loads((tmp_path / "n.json").read_text())
    assert sum(map(len, published.values())) == len(its.positive) < len(its)
    listed = NeuronSet.load(tmp_path / "n.json")
    assert set(zip(listed.layer, listed.neuron, strict=True)) == set(zip(table.layer, table.neuron, strict=True))


def test_decision_is_the_classifiers() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    values, labels = rng.random((40, 4, 50)), rng.integers(0, 2, 40)
    fitted = LogisticRegression().fit(values.reshape(40, -1), 1 - labels)  # positive: hallucinated
    its = NeuronSet.from_map(fitted.coef_.reshape(4, 50), float(fitted.intercept_[0]))
    names = tuple(map(str, range(40)))
    activity = NeuronActivity(
        torch.from_numpy(values).float(), torch.from_numpy(labels), names, names, np.ones(40, dtype=int), {}
    )
    assert np.allclose(its.decision(activity), fitted.decision_function(values.reshape(40, -1)), atol=1e-5)


def test_gates_scale_these_and_no_others() -> None:
    its = some().positive
    values = its.gate(3.0, (4, 50)).values
    assert (
        (values[its.layer, its.neuron] == 3).all()
        and (values == 3).sum() == len(its)
        and values.sum() == 200 + 2 * len(its)
    )
    assert its.gate(1.0, (4, 50)).acts is None
    assert its.per_mille == 1000 * len(its) / 200


@pytest.mark.parametrize("matched", [False, True])
def test_random_sets(matched: bool) -> None:
    its = some(n=30).positive
    drawn = [random_set(its, (4, 50), seed, layer_matched=matched) for seed in range(200)]
    own = set(zip(its.layer.tolist(), its.neuron.tolist(), strict=True))
    for one in drawn:
        assert len(one) == len(its) and not own & set(zip(one.layer.tolist(), one.neuron.tolist(), strict=True))
        if matched:
            assert sorted(one.layer.tolist()) == sorted(its.layer.tolist())
    counts = np.zeros((4, 50))
    for one in drawn:
        counts[one.layer, one.neuron] += 1
    free = counts[counts > 0]
    assert len(free) == 200 - len(its) or matched  # everyone else is drawn now and then
    again = random_set(its, (4, 50), 0, layer_matched=matched)
    assert np.array_equal(again.neuron, drawn[0].neuron)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("n.json", "[1, 2]", "is no set of neurons"),
        ("n.json", '{"a": [1]}', "is no set of neurons"),
        ("n.json", '{"3": [1.5]}', "'1.5' is no number of a neuron"),
        ("n.json", "{}", "names no neuron"),
        ("n.json", '{"3": [4, 4]}', "neuron 4 of layer 3 stands twice"),
        ("n.csv", "layer,neuron,weight\n1,x,2\n", "line 2: a row has a layer, a neuron"),
        ("n.csv", "layer,head,weight\n1,2,2\n", "line 2: a row has a layer, a neuron"),
        ("n.csv", "layer,neuron,weight\n1,2,nan\n", "not finite"),
        ("n.csv", "layer,neuron,weight\n-1,2,1\n", "below 0"),
        ("n.json", '{"3": [99999999999999999999]}', "neuron 1e[+]20, which no model has"),
        ("n.csv", "layer,neuron\n99999999999999999999,2\n", "neuron 1e[+]20, which no model has"),
        ("n.txt", "", "are read from .safetensors, .json or .csv"),
        ("n.safetensors", "no", "is not a readable set of neurons"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        NeuronSet.load(tmp_path / name)


def test_what_is_refused() -> None:
    its = some()
    none = NeuronSet.from_map(np.zeros((4, 50)))
    with pytest.raises(InputError, match="no neuron is selected"):
        none.gate(2.0, (4, 50))
    with pytest.raises(InputError, match="4 layers x 50 neurons, and this one has 4 x 60"):
        its.gate(2.0, (4, 60))
    for alpha in (float("inf"), float("nan"), -1e60):
        with pytest.raises(InputError, match=re.escape(f"alpha is {alpha};")):
            its.gate(alpha, (4, 50))
    listed = NeuronSet(np.array([7]), np.array([3]), np.array([1.0]))
    with pytest.raises(InputError, match="no neuron 3 of layer 7 among 4 layers x 50"):
        listed.check((4, 50))
    with pytest.raises(InputError, match="only 2 are left"):
        random_set(some((1, 5), 3), (1, 5), 0)


@pytest.mark.published
def test_published_sets(data: Path) -> None:
    for seed in range(5):
        its = NeuronSet.load(data / "faitheval_hneurons" / f"neurons_seed_{seed}_unconstrained.json")
        assert len(its) == 38
        its.check((34, 10240))  # Gemma 3 4B
