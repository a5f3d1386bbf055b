"""What holds of folds, permuted labels, gates and controls whatever the rows, the scores and the seed are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lens_truth.errors import InputError
from lens_truth.gates.controls import contrast_gate, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.folds import grouped_folds, paper_folds, permuted_labels

# -- folds ----------------------------------------------------------------------------------------------------------

seeds = st.integers(0, 99)
n_folds = st.integers(2, 6)


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, list[str]]:
    """Labels and groups of up to 40 rows, in any order."""
    made = draw(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abcdefghijkl")), min_size=2, max_size=40))
    return np.array([label for label, _ in made]), [group for _, group in made]


@given(rows(), n_folds, seeds)
def test_folds_hold_every_row_once_and_split_no_group(made: Any, n: int, seed: int) -> None:
    labels, groups = made
    try:
        fold = grouped_folds(labels, groups, n, seed)
    except InputError:  # never where groups of both labels are plenty
        right, wrong = ({g for g, its in zip(groups, labels, strict=True) if its == label} for label in (1, 0))
        assert len(right & wrong) < n
        return
    assert fold.shape == labels.shape and set(fold.tolist()) == set(range(n))
    assert all(len({k for k, at in zip(fold, groups, strict=True) if at == g}) == 1 for g in set(groups))
    assert all(set(labels[fold != k].tolist()) == {0, 1} for k in range(n))
    assert np.array_equal(fold, grouped_folds(labels, groups, n, seed))


@given(st.integers(2, 40), n_folds, seeds)
def test_folds_of_pairs_are_even(n_pairs: int, n: int, seed: int) -> None:
    """Of a right and a wrong answer to each question all folds have as many of both."""
    if n_pairs < n:
        return
    labels, groups = np.tile([1, 0], n_pairs), [f"{i // 2}" for i in range(2 * n_pairs)]
    fold = grouped_folds(labels, groups, n, seed)
    sizes = np.bincount(fold, minlength=n)
    assert np.ptp(sizes) <= 2
    assert np.array_equal(np.bincount(fold, weights=labels, minlength=n) * 2, sizes)


@given(st.integers(6, 40), st.integers(6, 40), n_folds, seeds)
def test_folds_of_single_rows_keep_the_share_of_labels(n_right: int, n_wrong: int, n: int, seed: int) -> None:
    labels = np.array([1] * n_right + [0] * n_wrong)
    fold = grouped_folds(labels, [str(i) for i in range(len(labels))], n, seed)
    for label in (0, 1):
        assert np.ptp(np.bincount(fold[labels == label], minlength=n)) <= 1


@given(rows(), n_folds)
def test_the_papers_folds_are_even_and_have_no_seed(made: Any, n: int) -> None:
    labels, _ = made
    try:
        fold = paper_folds(labels, n)
    except InputError:
        assert len(set(labels.tolist())) < 2 or len(labels) < n
        return
    assert np.ptp(np.bincount(fold, minlength=n)) <= 1 and np.array_equal(fold, paper_folds(labels, n))


@given(rows(), st.none() | n_folds, seeds)
def test_permuted_labels_are_exchanged_inside_groups_or_between_whole_ones(made: Any, n: Any, seed: int) -> None:
    labels, groups = made
    fold = None
    if n is not None:
        try:
            fold = grouped_folds(labels, groups, n, seed)
        except InputError:
            return
    draws = permuted_labels(labels, groups, 5, seed, fold)
    assert draws.shape == (5, len(labels)) and np.array_equal(draws, permuted_labels(labels, groups, 5, seed, fold))
    of = {g: np.flatnonzero(np.array(groups) == g) for g in set(groups)}
    pure = [g for g, at in of.items() if len(set(labels[at].tolist())) == 1]
    for draw in draws:
        for g, at in of.items():
            kept = len(set(draw[at].tolist())) == 1 if g in pure else draw[at].sum() == labels[at].sum()
            assert kept
        before, after = (Counter(int(row[of[g][0]]) for g in pure) for row in (labels, draw))
        assert before == after


# -- gates ----------------------------------------------------------------------------------------------------------

shapes = st.tuples(st.integers(1, 5), st.integers(1, 6))
maps = arrays(np.float64, shapes, elements=st.floats(-100, 100))
lambdas = st.floats(-10, 10)
norms: Any = st.sampled_from(["center", "minmax", "none"])


def near(one: torch.Tensor, other: Any, scale: float = 1.0) -> bool:
    """Equal to rounding of float32, of numbers of about this size."""
    other = torch.as_tensor(other, dtype=torch.float32)
    return bool(((one - other).abs() <= 1e-5 * (1 + scale)).all())


@given(maps, norms)
def test_lambda_zero_is_the_identity(values: np.ndarray, norm: Any) -> None:
    assert (HeadGate.from_scores(HeadScores(values), 0.0, norm).values == 1).all()


@given(maps, lambdas)
def test_each_norm_is_its_formula(values: np.ndarray, lam: float) -> None:
    scores, size = HeadScores(values), abs(lam) * np.abs(values).max()
    centred = HeadGate.from_scores(scores, lam, "center").values
    assert near(centred.mean(1), 1, size)
    assert near(centred, 1 + lam * (values - values.mean(1, keepdims=True)), size)
    scaled = HeadGate.from_scores(scores, lam, "minmax").values
    assert scaled.min() >= min(1, 1 + lam) - 1e-5 and scaled.max() <= max(1, 1 + lam) + 1e-5
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    assert near(scaled, 1 + lam * (values - low) / (high - low + 1e-6), abs(lam))
    assert near(HeadGate.from_scores(scores, lam, "none").values, 1 + lam * values, size)


@given(maps, lambdas, norms, st.floats(-5, 5))
def test_a_floor_raises_what_is_below_it_and_nothing_else(
    values: np.ndarray, lam: float, norm: Any, floor: float
) -> None:
    free, floored = (HeadGate.from_scores(HeadScores(values), lam, norm, floor=at) for at in (None, floor))
    assert torch.equal(floored.values, free.values.clamp(min=floor))
    assert free.n_negative == int((free.values < 0).sum()) >= floored.n_negative
    assert floor < 0 or floored.n_negative == 0


@given(maps, lambdas, norms, st.randoms(use_true_random=False))
def test_gates_do_not_depend_on_the_order_of_heads(values: np.ndarray, lam: float, norm: Any, random: Any) -> None:
    order = random.sample(range(values.shape[1]), values.shape[1])
    gate, other = (HeadGate.from_scores(HeadScores(v), lam, norm).values for v in (values, values[:, order]))
    assert near(other, gate[:, order], abs(lam) * np.abs(values).max())


@given(arrays(np.float32, shapes, elements=st.floats(-3, 5, width=32)), st.integers(0, 2**31))
def test_controls_share_with_a_gate_what_they_should(values: np.ndarray, seed: int) -> None:
    g = torch.from_numpy(values)
    permuted, uniform, inverse, matched, random = (
        control_gate(kind, HeadGate(g, "block"), seed)
        for kind in ("permuted", "uniform", "inverse", "norm-matched", "random")
    )
    assert torch.equal(permuted.values.sort(1).values, g.sort(1).values)
    assert near(uniform.values, g.mean(1, keepdim=True).expand_as(g))
    assert near(inverse.values - 1, 1 - g)
    assert near((matched.values - 1).norm(dim=1), (g - 1).norm(dim=1), 10)
    assert random.values.min() >= 0 and random.values.max() <= 2
    for control in (permuted, uniform, inverse, matched, random):
        assert (control.values.shape, control.site, control.provenance["control_seed"]) == (g.shape, "block", seed)


def test_controls_behind_a_norm_are_as_far_as_the_gate_from_its_mean() -> None:
    gate = HeadGate(1.2 + 0.3 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    acts = (True, False, False)
    matched, usual = control_gate("norm-matched", gate, 5, acts).values, control_gate("norm-matched", gate, 5).values
    assert torch.equal(matched[0], usual[0]) and not torch.allclose(matched[1:], usual[1:])
    relative = gate.values / gate.values.mean(1, keepdim=True)
    assert torch.allclose(matched[1:].mean(1), torch.ones(2))
    assert torch.allclose((matched - 1).norm(dim=1)[1:], (relative - 1).norm(dim=1)[1:])
    contrast = contrast_gate(acts, 4, 0.2, 5).values
    assert torch.equal(contrast[0], torch.full((4,), 1.2)) and torch.allclose(contrast[1:].mean(1), torch.ones(2))
    assert torch.allclose((contrast - 1).square().mean(1).sqrt(), torch.full((3,), 0.2))
    alone = contrast_gate((False,), 1, 0.2, 5).values  # one head cannot be told from others
    assert torch.equal(alone, torch.ones(1, 1))
