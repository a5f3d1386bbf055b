"""Rows that are neither, and where they move the boundary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lens_truth.errors import InputError
from lens_truth.geometry.boundary import stability, stability_folds
from lens_truth.geometry.stability_result import Stability
from lens_truth.geometry.three_way import _layer, discriminants
from lens_truth.scoring.activations import HeadActivations
from tests.over_domains import made

L, H, D = 2, 2, 6


def _true_false(n: int = 240) -> HeadActivations:
    size = np.zeros((L, H, D))
    size[..., 0] = [[0, 0.5], [1.0, 3.0]]
    return made(size, n)


def _neither(apart: float, n: int = 120, prefix: str = "other") -> HeadActivations:
    """Rows that lie off along the second feature, where true and false ones do not differ."""
    its = made(np.zeros((L, H, D)), n, 5, prefix=prefix)
    base = _true_false()
    z = its.z - its.z.mean(0) + base.z.mean(0)
    z[..., 1] += apart
    return replace(its, z=z)


def test_rows_from_elsewhere_turn_the_direction_towards_them_and_like_rows_do_not() -> None:
    far, near = (stability(_true_false(), _neither(apart), n_draws=40) for apart in (4.0, 0.0))
    assert far.head == (1, 1)
    for label in ("false", "true"):
        assert far.shifts[label].angle > far.shifts[label].null[1]
        assert far.shifts[label].p_value == pytest.approx(1 / 41)
        assert near.shifts[label].angle < 1.5 * near.shifts[label].null[1]
        assert far.shifts[label].floor < far.shifts[label].angle
    assert far.three_way.confusion[2, 2] > 0.9 > near.three_way.confusion[2, 2]


def test_directions_and_flips_are_those_of_written_out_probes() -> None:
    """Mass-mean: S^-1 d of the rows that are trained on, whatever the labels stand for."""
    rows, others = _true_false(), _neither(2.0)
    found = stability(rows, others, estimator="mass-mean", n_draws=2)
    x, labels = rows.z[:, 1, 1].double().numpy(), rows.labels.numpy()
    y = others.z[:, 1, 1].double().numpy()

    def fitted(more: bool, kept: np.ndarray, kept_others: np.ndarray) -> tuple[np.ndarray, float]:
        features = np.concatenate([x[kept], y[kept_others]]) if more else x[kept]
        its = np.concatenate([labels[kept], np.zeros(kept_others.sum(), int)]) if more else labels[kept]
        centred = features - features.mean(0)
        matrix = centred.T @ centred / len(features)
        means = [features[its == label].mean(0) for label in (0, 1)]
        direction: np.ndarray = np.linalg.solve(matrix, means[1] - means[0])
        return direction, float((means[0] + means[1]) @ direction / 2)

    def ones(n: int) -> np.ndarray:
        return np.ones(n, dtype=bool)

    (a, _), (b, _) = (fitted(more, ones(len(x)), ones(len(y))) for more in (False, True))
    angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert found.angles[0, 1, 1] == pytest.approx(angle, abs=0.02)
    fold = stability_folds(rows, others)
    flips = list[bool]()
    for k in range(5):
        test = fold[: len(x)] == k
        told = [x[test] @ w > cut for w, cut in (fitted(more, ~test, fold[len(x) :] != k) for more in (False, True))]
        flips += (told[0] != told[1]).tolist()
    assert found.flips[0, 1, 1] == pytest.approx(np.mean(flips), abs=1e-6)


def test_discriminants_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=(3, 4))[labels]
    covariance = sum(np.cov(x[labels == c].T, bias=True) * (labels == c).mean() for c in range(3))
    weights, offsets = discriminants(torch.from_numpy(x)[None], torch.from_numpy(labels))
    shrunk = covariance + 0.1 * np.diag(np.diag(covariance))
    means = np.stack([x[labels == c].mean(0) for c in range(3)])
    expected = x @ np.linalg.solve(shrunk, means.T)
    expected += np.log(np.bincount(labels) / 300) - (means @ np.linalg.solve(shrunk, means.T)).diagonal() / 2
    ours = (torch.from_numpy(x) @ weights[0] + offsets[0]).softmax(-1).numpy()
    assert np.allclose(ours, np.exp(expected) / np.exp(expected).sum(1, keepdims=True), atol=1e-9)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels)
    assert (theirs.predict(x) == ours.argmax(1)).mean() > 0.9  # which does not shrink


def test_sets_hold_the_class_as_often_as_they_say_and_no_more() -> None:
    found = stability(_true_false(900), _neither(2.0, 450), n_draws=2).three_way
    assert found.coverage_ci[0] - 0.01 <= 0.9 <= found.coverage_ci[1] + 0.01
    assert np.abs(found.coverages - 0.9).max() < 0.05
    assert found.sizes[0, 0] > found.sizes[1, 1]  # a head that knows less needs more classes


def test_a_larger_angle_is_not_said_to_be_no_more() -> None:
    found = stability(_true_false(), _neither(1.0), n_draws=3)
    its = found.shifts["false"]

    def said(angle: float, p: float) -> str:
        return replace(found, shifts={"false": replace(its, angle=angle, null=(18, 30), p_value=p)}).verdicts()[0]

    assert "by 67 degrees, more, though not told from chance (p = 0.091), than as many" in said(67, 1 / 11)
    assert "by 67 degrees, more than as many" in said(67, 1 / 101)
    assert "by 29 degrees, no more than as many" in said(29, 1 / 11)


def test_sets_promise_less_where_few_groups_hang_together() -> None:
    """Of 21 groups, whose rows are alike, four or so settle the size: their least likely one is no tenth."""

    def coverage(n_groups: int, size: int, seed: int) -> float:
        rng = np.random.default_rng(seed)
        kind = np.arange(n_groups) % 3
        fold = np.repeat((np.arange(n_groups) // 3) % 5, size)
        x = np.repeat(np.eye(3, 4)[kind] + rng.normal(size=(n_groups, 4)), size, axis=0)
        labels = np.repeat(kind, size)
        _, sets = _layer(torch.from_numpy(x[None]).float(), torch.from_numpy(labels), fold, 5)
        return float(sets[0, np.arange(len(labels)), labels].mean())

    few, many = (np.mean([coverage(*groups, seed) for seed in range(40)]) for groups in ((21, 20), (420, 1)))
    assert few < 0.85 and abs(many - 0.9) < 0.01


def test_a_subject_of_both_kinds_is_never_split() -> None:
    rows, others = _true_false(), _neither(1.0, prefix="0-")  # groups of one name
    fold = stability_folds(rows, others)
    groups = np.array([*rows.groups, *others.groups])
    assert {*rows.groups} & {*others.groups}
    assert all(len({*fold[groups == group]}) == 1 for group in {*groups})


def test_comes_back_as_it_was_and_is_the_same_each_time(tmp_path: Path) -> None:
    found = stability(_true_false(), _neither(1.0), n_draws=3, surface=np.ones(360))
    found.save(tmp_path)
    assert Stability.load(tmp_path) == found == stability(_true_false(), _neither(1.0), n_draws=3, surface=np.ones(360))
    assert found.tables()[0].rows
    assert "a bag of words 1.00" in found.verdicts()[-1]
    with pytest.raises(InputError, match="does not know"):
        Stability.from_dict({**found.as_dict(), "more": 1})


def test_refuses_what_cannot_be_compared() -> None:
    rows, others = _true_false(), _neither(1.0)
    with pytest.raises(InputError, match="another model, template or point"):
        stability(rows, replace(others, provenance={"weights": "else"}))
    with pytest.raises(InputError, match="without folds . and . not all of true, false and neither are left"):
        stability(rows, replace(others, groups=("one",) * len(others.groups)))
    with pytest.raises(InputError, match="the true and false rows are of 2 groups, fewer than the 5 folds"):
        stability(replace(rows, groups=tuple(str(i % 2) for i in range(len(rows.groups)))), others)
    with pytest.raises(InputError, match="three classes need at least 3"):
        stability(rows, others, n_folds=2)
    with pytest.raises(InputError, match="1 draws were asked for"):
        stability(rows, others, n_draws=1)
