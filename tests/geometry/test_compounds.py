"""Rows about two subjects never meet, in training rows, a statement about either."""

from __future__ import annotations

import numpy as np

from lens_truth.geometry.cells import CellDraws
from lens_truth.geometry.compounds import joined_groups, straddling
from lens_truth.geometry.polarity import Topic, polarity_transfer
from tests.geometry.problems import activations


def test_groups_that_are_always_joined_to_the_same_other_become_one() -> None:
    groups = ["a", "b", "c", "d", "a & b", "c & d", "e", "f"]
    assert joined_groups(groups, 2) == ["a", "a", "c", "c", "a", "c", "e", "f"]


def test_groups_that_are_joined_at_random_stay_by_themselves() -> None:
    groups = ["a", "b", "c", "d", "a & b", "b & c", "c & d", "d & a"]
    assert joined_groups(groups, 2) == ["a", "b", "c", "d", "a", "b", "c", "d"]


def test_rows_about_a_subject_of_another_fold_are_named() -> None:
    groups = ["a", "b", "c", "a & b", "a & c", "a & x", "a"]
    assert straddling(groups, [0, 0, 1, 0, 0, 0, 0]) == [False, False, False, False, True, False, False]


def test_such_rows_are_not_asked_about() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([1, 0], 30)
    groups = [f"g{i // 2}" for i in range(60)]
    z = rng.normal(size=(60, 1, 1, 4))
    pairs = [f"g{i} & g{j}" for i, j in zip(rng.permutation(30), rng.permutation(30), strict=True)] * 4
    sets = {
        "claims": activations(z, labels, groups),
        "both": activations(rng.normal(size=(120, 1, 1, 4)), np.tile([1, 0], 60), pairs),
    }
    found = polarity_transfer(sets, [Topic("claims")], n_folds=3, draws=CellDraws(20, 20))
    assert found.n_rows[0] == 60
    assert 12 <= found.n_rows[1] <= 80  # of two subjects a third of the time in one fold
