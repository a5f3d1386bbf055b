"""Kept probes against the decisions out of fold that truth scores rest on, against scikit-learn's, and in a file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from problems import problem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import lens_truth
from lens_truth.errors import InputError
from lens_truth.scoring.calibration import platt_scaling
from lens_truth.scoring.head_probes import HeadProbes, _tensor  # pyright: ignore[reportPrivateUsage]
from lens_truth.scoring.probing import Estimator, held_out_decisions, truth_scores

ACTIVATIONS = problem()


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_without_a_fold_they_decide_on_it_as_truth_scores_do(estimator: Any) -> None:
    decisions, fold = held_out_decisions(ACTIVATIONS, estimator=estimator, n_folds=4, seed=3)
    for k in range(4):
        probes = HeadProbes.fit(ACTIVATIONS, estimator=estimator, n_folds=4, seed=3, without=[k])
        found = probes.decision(ACTIVATIONS.z).numpy()
        np.testing.assert_allclose(found[fold == k], decisions[fold == k], rtol=1e-3, atol=1e-4)
        assert probes.provenance["n_examples"] == (fold != k).sum()


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_accuracies_are_the_truth_scores(estimator: Any) -> None:
    probes = HeadProbes.fit(ACTIVATIONS, estimator=estimator)
    scores = truth_scores(ACTIVATIONS, estimator=estimator, n_permutations=0)
    np.testing.assert_allclose(probes.scores.values, scores.values, atol=1e-6)
    np.testing.assert_allclose(probes.auroc, scores.metrics["auroc"], atol=1e-6)
    assert probes.provenance["weights"] == "w" and probes.point == "z"


def test_logistic_probes_on_all_rows_are_scikit_learns() -> None:
    probes = HeadProbes.fit(ACTIVATIONS, estimator="logistic")
    x, labels = ACTIVATIONS.z[:, 1, 2].double().numpy(), ACTIVATIONS.labels.numpy()
    scaler = StandardScaler().fit(x)
    expected = LogisticRegression(max_iter=1000).fit(scaler.transform(x), labels)
    found = probes.decision(ACTIVATIONS.z)[:, 1, 2].numpy()
    np.testing.assert_allclose(found, expected.decision_function(scaler.transform(x)), rtol=1e-4, atol=1e-4)


def test_a_fold_left_out_touches_nothing() -> None:
    """Neither its rows nor its labels."""
    _, fold = held_out_decisions(ACTIVATIONS)
    z, labels = ACTIVATIONS.z.clone(), ACTIVATIONS.labels.clone()
    z[fold == 2] *= -3
    before = HeadProbes.fit(ACTIVATIONS, estimator="mass-mean", without=[2])
    after = HeadProbes.fit(replace(ACTIVATIONS, z=z, labels=labels), estimator="mass-mean", without=[2])
    for name in ("directions", "intercepts", "calibration", "sigma", "accuracy", "auroc"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-3, atol=1e-4)


def test_sigma_is_the_spread_of_the_projection() -> None:
    probes = HeadProbes.fit(ACTIVATIONS)
    unit = probes.directions[1, 0] / probes.directions[1, 0].norm()
    assert float(probes.sigma[1, 0]) == pytest.approx(
        float((ACTIVATIONS.z[:, 1, 0] @ unit).std(correction=0)), rel=1e-3
    )


def test_platt_scaling_is_the_maximum_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    decisions = np.stack([3 * labels + rng.normal(size=300), 1e-3 * rng.normal(size=300), np.full(300, 0.7)], axis=1)
    scaling = platt_scaling(decisions, labels)
    n = int(labels.sum())
    target = np.where(labels == 1, (n + 1) / (n + 2), 1 / (300 - n + 2))
    both, weight = np.concatenate([decisions, decisions]), np.concatenate([target, 1 - target])
    for column in (0, 1):
        scale = decisions[:, column].std()
        reference = LogisticRegression(C=1e9, tol=1e-12, max_iter=5000)
        reference.fit(both[:, [column]] / scale, np.repeat([1, 0], 300), sample_weight=weight)
        assert scaling[column, 0] * scale == pytest.approx(reference.coef_[0, 0], abs=1e-4)
        assert scaling[column, 1] == pytest.approx(reference.intercept_[0], abs=1e-4)
    assert scaling[2, 0] == 0 and scaling[2, 1] == pytest.approx(np.log(target.mean() / (1 - target.mean())))


def test_platt_scaling_of_a_perfect_probe_is_finite() -> None:
    labels = np.repeat([0, 1], 50)
    slope, offset = platt_scaling((2.0 * labels - 1)[:, None] * np.array([[1.0]]), labels)[0]
    assert 1 / (1 + np.exp(-slope - offset)) == pytest.approx(51 / 52) and np.isfinite([slope, offset]).all()


def test_probabilities_are_calibrated_on_new_rows() -> None:
    train, test = problem(400, signal=40, seed=1), problem(4000, signal=40, seed=1)
    probes = HeadProbes.fit(train)
    fresh = replace(test, z=test.z[400:], labels=test.labels[400:])
    p = probes.probability(fresh.z)[:, 1, 2].numpy()
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (p >= low) & (p < low + 0.2)
        if inside.sum() > 200:
            assert fresh.labels.numpy()[inside].mean() == pytest.approx(p[inside].mean(), abs=0.1)


def test_saved_and_loaded(tmp_path: Path) -> None:
    probes = HeadProbes.fit(ACTIVATIONS)
    probes.save(tmp_path / "a.safetensors")
    again = HeadProbes.load(tmp_path / "a.safetensors")
    assert torch.equal(again.probability(ACTIVATIONS.z), probes.probability(ACTIVATIONS.z))
    assert again.provenance == probes.provenance and repr(again) == repr(probes)
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert again.seen(["pair0", "pair119", "other"]) == [True, True, False]


def test_what_is_no_file_of_probes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    with pytest.raises(InputError, match="holds no readable probes"):
        HeadProbes.load(path)
    truth_scores(ACTIVATIONS, n_permutations=0).save(path)
    with pytest.raises(InputError, match="holds no readable probes"):
        HeadProbes.load(path)
    probes = HeadProbes.fit(ACTIVATIONS)
    probes.save(path)
    tensors = safetensors.torch.load_file(path)
    about = {"lens_truth": '{"kind": "probes", "provenance": {}}'}
    safetensors.torch.save_file({**tensors, "sigma": tensors["sigma"][:1].clone()}, path, about)
    with pytest.raises(InputError, match="holds no readable probes"):
        HeadProbes.load(path)
    safetensors.torch.save_file({**tensors, "directions": tensors["directions"] * torch.nan}, path, about)
    with pytest.raises(InputError, match="directions of the probes hold numbers that are not finite"):
        HeadProbes.load(path)


def test_probes_of_other_number_formats_are_refused(tmp_path: Path) -> None:
    """Outside the tests, where nothing else looks at types: whole directions have no length, and a group's hash would
    not be found again in other numbers."""
    probes = HeadProbes.fit(ACTIVATIONS)
    probes.save(tmp_path / "good.safetensors")
    tensors = safetensors.torch.load_file(tmp_path / "good.safetensors")
    saw = tensors["saw"]
    wrong = [
        {"directions": tensors["directions"].long()},
        *({"saw": its} for its in (saw.float(), saw.bfloat16(), saw[None])),
    ]
    for number, its in enumerate(wrong):
        about = {"lens_truth": '{"kind": "probes", "provenance": {}}'}
        safetensors.torch.save_file({**tensors, **its}, tmp_path / f"{number}.safetensors", about)
    code = """
import sys
from lens_truth import HeadProbes, InputError
for path in sys.argv[1:]:
    try:
        HeadProbes.load(path)
    except InputError as error:
        print(error)
"""
    paths = [tmp_path / "good.safetensors", *(tmp_path / f"{number}.safetensors" for number in range(len(wrong)))]
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in said] == [str(path) for path in paths[1:]]
    assert "the directions of the probes hold numbers that are not finite, or whole ones" in said[0]
    assert all("they must be a list of hashes, int64" in line for line in said[1:])


def test_folds_that_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="folds 5 were to be left out"):
        HeadProbes.fit(ACTIVATIONS, without=[5])
    with pytest.raises(InputError, match="1 of 5 folds would be left"):
        HeadProbes.fit(ACTIVATIONS, without=[0, 1, 2, 3])


@pytest.mark.zoo
def test_probes_of_something_else_are_refused() -> None:
    model = lens_truth.load("zoo:llama-base")
    examples = lens_truth.load_examples("zoo:text", limit=24)
    heads, layers = (
        HeadProbes.fit(lens_truth.capture(model, examples, at=at), n_folds=2) for at in ("z", "resid_post")
    )
    assert layers.directions.shape == (model.cfg.n_layers, 1, model.cfg.d_model)
    assert layers.point == "resid_post"
    heads.check(model, "plain")
    layers.check(model, "plain")
    with pytest.raises(InputError, match="fitted under the template 'plain', not 'chat'"):
        heads.check(model, "chat")
    child = lens_truth.load("zoo:llama-chat")
    with pytest.raises(InputError, match="if that is a descendant of it, say so"):
        heads.check(child, "plain")
    heads.check(child, "plain", descendant=True)
    with pytest.raises(InputError, match="layers, heads, width"):
        replace(heads, directions=heads.directions[..., :3]).check(model, "plain")
    with pytest.raises(InputError, match="which is not the last answer token"):
        replace(heads, provenance={**heads.provenance, "position": "first token"}).check(model, "plain")
    with pytest.raises(InputError, match="activations are of shape"):
        heads.decision(torch.zeros(2, 1, 1, 4))


def test_probes_from_elsewhere_are_measured_on_rows_of_their_own() -> None:
    x, labels = ACTIVATIONS.z.double().numpy(), ACTIVATIONS.labels.numpy()
    coefficients, intercepts = np.empty((2, 3, 8)), np.empty((2, 3))
    models: dict[tuple[int, ...], Any] = {}
    for at in np.ndindex(2, 3):
        models[at] = LogisticRegression(max_iter=5000).fit(x[:120, *at] / 100, labels[:120])
        coefficients[at], intercepts[at] = models[at].coef_[0] / 100, models[at].intercept_[0]
    rest = replace(ACTIVATIONS, z=ACTIVATIONS.z[120:], labels=ACTIVATIONS.labels[120:])
    probes = HeadProbes.from_coefficients(torch.from_numpy(coefficients), torch.from_numpy(intercepts), rest)
    for at in np.ndindex(2, 3):
        decided = models[at].decision_function(x[120:, *at] / 100)
        np.testing.assert_allclose(probes.decision(rest.z)[:, *at], decided, rtol=1e-3, atol=1e-4)
        assert float(probes.auroc[at]) == pytest.approx(roc_auc_score(labels[120:], decided), abs=1e-6)
        assert float(probes.accuracy[at]) == pytest.approx(models[at].score(x[120:, *at] / 100, labels[120:]))
    with pytest.raises(InputError, match="activations are of shape 2 x 3 x 8, the probes of 2 x 3 x 7"):
        HeadProbes.from_coefficients(torch.zeros(2, 3, 7), torch.zeros(2, 3), rest)
    arrays = HeadProbes.from_coefficients(coefficients, intercepts, rest)  # as scikit-learn gives them
    assert torch.equal(arrays.directions, probes.directions)
    assert torch.equal(arrays.auroc, probes.auroc)
    with pytest.raises(InputError, match="are not finite"):
        HeadProbes.from_coefficients(coefficients * np.nan, intercepts, rest)
    turned = HeadProbes.from_coefficients(coefficients[::-1][::-1].astype(">f8"), intercepts[::-1], rest)
    assert torch.equal(turned.directions, probes.directions)
    assert torch.equal(turned.intercepts, probes.intercepts.flip(0))
    for odd in (coefficients + 1j, torch.from_numpy(coefficients + 1j), np.full(coefficients.shape, "x")):
        with pytest.raises(InputError, match="no array of real numbers"):
            _tensor(odd)  # as without the tests' checks of types
