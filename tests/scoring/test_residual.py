"""Residual scores against scikit-learn, against planted heads, and against chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from surfaces import activations, examples

import lens_truth
from lens_truth.data.surface_fits import surface_decisions
from lens_truth.errors import InputError
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.probing import held_out_decisions, truth_scores
from lens_truth.scoring.residual import residual_scores
from lens_truth.scoring.score_words import residual_said
from lens_truth.scoring.scores import HeadScores

ROWS = examples()
SEEN = activations(ROWS)
FOUND = residual_scores(SEEN, ROWS)


def predicted(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    model: Any = LinearRegression().fit(x, y)
    return model.predict(new)


def test_values_are_those_of_scikit_learns_regression() -> None:
    decisions, fold = held_out_decisions(SEEN)
    labels = SEEN.labels.numpy()
    surfaces = surface_decisions(ROWS, fold)

    def accuracy(right: np.ndarray) -> float:
        return float(np.mean([right[fold == k].mean() for k in range(5)]))

    told = {name: accuracy((its > 0) == labels) for name, its in surfaces.items()}
    best = FOUND.provenance["best_surface"]
    assert best["accuracy"] == pytest.approx(max(told.values())) == pytest.approx(told[best["name"]])
    surface = surfaces[best["name"]]
    assert FOUND.folds is not None and FOUND.folds.shape == (5, 2, 8)
    for k in range(5):
        train, test = fold != k, fold == k
        alone = predicted(surface[train, None], labels[train], surface[test, None])
        for at in np.ndindex(2, 8):
            both = np.stack([surface, decisions[:, *at]], axis=1)
            together = predicted(both[train], labels[train], both[test])
            one, other = (float(((its > 0.5) == labels[test]).mean()) for its in (together, alone))
            assert FOUND.folds[k, *at] == pytest.approx(one - other, abs=1e-6)
    np.testing.assert_allclose(FOUND.folds.mean(0), FOUND.values, atol=1e-12)
    above = truth_scores(SEEN, n_permutations=0).values - best["accuracy"]
    np.testing.assert_allclose(FOUND.metrics["above"], above, atol=1e-6)


def test_a_head_that_reads_the_truth_is_told_from_one_that_reads_the_surface() -> None:
    values, above = FOUND.values, FOUND.metrics["above"]
    assert FOUND.kind == "residual" and FOUND.best() == (0, 0)
    assert values[0, 0] > 0.08 and FOUND.metrics["ci_low"][0, 0] > 0.04 and FOUND.metrics["above_low"][0, 0] > 0
    assert abs(above[0, 1]) < 0.02 and abs(values[0, 1]) < 0.02  # as right as the surface, and nothing beyond it
    assert FOUND.metrics["ci_low"][0, 1] <= 0 and FOUND.metrics["above_low"][0, 1] <= 0
    noise = np.ones((2, 8), dtype=bool)
    noise[0, :2] = False
    assert (above[noise] < -0.1).all() and values[noise].max() < 0.03
    # a head that knows as much as the surface by itself adds, where a head that repeats it does not
    weak = residual_scores(activations(ROWS, H=2, signal=0.65), ROWS)
    assert weak.metrics["above_low"][0, 0] < 0 < weak.metrics["above_high"][0, 0]
    assert weak.metrics["ci_low"][0, 0] > 0


def test_a_head_that_is_the_surface_or_constant_adds_nothing() -> None:
    word = torch.tensor([float(row.answer.startswith("surely")) for row in ROWS])
    z = torch.zeros(len(ROWS), 1, 2, 1)
    z[:, 0, 0, 0] = word
    found = residual_scores(replace(SEEN, z=z), ROWS)
    assert (found.values == 0).all() and (found.metrics["ci_high"] == 0).all()
    assert found.metrics["above"][0, 0] == pytest.approx(0, abs=1e-9)
    assert found.metrics["above"][0, 1] == pytest.approx(0.5 - found.provenance["best_surface"]["accuracy"], abs=1e-9)


def test_intervals_cover_what_they_estimate() -> None:
    """Over 40 draws of 160 rows; of .95, no fewer than 32 of 40 (p < .0005)."""
    drawn: list[tuple[float, ...]] = []
    noise: list[np.ndarray] = []
    for seed in range(40):
        rows = examples(160, seed=seed)
        found = residual_scores(activations(rows, H=4, seed=seed + 1), rows, n_bootstrap=200, seed=seed)
        ends = [found.metrics[name][0, 0] for name in ("above", "above_low", "above_high", "ci_low", "ci_high")]
        drawn.append((found.values[0, 0], *ends))
        noise.append(found.metrics["ci_low"][1] > 0)
    value, above, above_low, above_high, low, high = np.array(drawn).T
    assert ((above_low <= above.mean()) & (above.mean() <= above_high)).sum() >= 32
    assert ((low <= value.mean()) & (value.mean() <= high)).sum() >= 32
    assert np.mean(noise) <= 0.06


def test_said_and_shown() -> None:
    best, adding = FOUND.provenance["best_surface"], int((FOUND.metrics["ci_low"] > 0).sum())
    said = residual_said(FOUND)
    assert said.startswith(f"1 of 16 heads is above the best surface classifier ({best['what']}, ")
    assert said.endswith(f"; {adding} {'adds' if adding == 1 else 'add'} to it")
    assert residual_said(HeadScores(FOUND.values, "residual")) == ""
    table = FOUND.tables(3)[0]
    assert table.header == ("layer", "head", "score", "ci_low", "ci_high", "above", "above_low", "above_high")
    assert table.texts()[0][:2] == ["0", "0"]
    assert FOUND.provenance["estimator"] == "ridge" and FOUND.provenance["n_examples"] == 300
    assert FOUND.provenance["weights"] == "w" and FOUND.provenance["seed"] == 0 and FOUND.provenance["n_folds"] == 5
    FOUND.plot()


def test_files_keep_the_kind(tmp_path: Path) -> None:
    for suffix in ("safetensors", "csv"):
        path = tmp_path / f"scores.{suffix}"
        FOUND.save(path)
        read = HeadScores.load(path)
        assert read.kind == "residual"
        np.testing.assert_allclose(read.values, FOUND.values, atol=1e-6)
    assert residual_said(HeadScores.from_dict(FOUND.as_dict())) == residual_said(FOUND)


def test_same_seed_same_numbers() -> None:
    again, other = (lens_truth.residual_scores(SEEN, ROWS, seed=seed) for seed in (0, 1))
    assert again.as_dict() == FOUND.as_dict() and other.as_dict() != FOUND.as_dict()


@pytest.mark.parametrize("estimator", ["centroid", "mass-mean"])
def test_other_estimators(estimator: Any) -> None:
    found = residual_scores(SEEN, ROWS, estimator=estimator, n_bootstrap=20)
    assert found.best() == (0, 0) and found.provenance["estimator"] == estimator


def test_bad_input() -> None:
    with pytest.raises(InputError, match="the 299 examples are not those of the activations, which are of 300 rows"):
        residual_scores(SEEN, ROWS[:-1])
    with pytest.raises(InputError, match="are not those of the activations"):
        residual_scores(SEEN, ROWS[::-1])
    with pytest.raises(InputError, match="0 bootstrap draws"):
        residual_scores(SEEN, ROWS, n_bootstrap=0)
    alike = [replace(row, answer="yes", question="", id=row.id) for row in ROWS]
    blank = HeadActivations(SEEN.z, SEEN.labels, SEEN.groups, SEEN.ids, {})
    constant = residual_scores(blank, alike)  # of one length and one word: half of the rows are right
    assert constant.provenance["best_surface"]["accuracy"] == pytest.approx(0.5)
