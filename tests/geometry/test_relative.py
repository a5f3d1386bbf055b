"""Relative representations, across models of different shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from lens_truth.errors import InputError
from lens_truth.geometry.relative import anchors_of, relative_directions, relative_representation
from lens_truth.geometry.relative_result import Relative
from lens_truth.scoring.activations import HeadActivations
from tests.over_domains import made


def _one(n: int = 320) -> HeadActivations:
    size = np.zeros((2, 2, 6))
    size[1, 1] = 1.2
    return made(size, n, 0)


def _another(one: HeadActivations, seed: int = 3) -> HeadActivations:
    """A wider and deeper model, one head of which says what head 1.1 of the first says, in a space of its own."""
    its = made(np.zeros((3, 1, 9)), len(one.labels), seed)
    turn = ortho_group.rvs(9, random_state=seed)[:6]
    z = its.z.clone()
    z[:, 2, 0] = one.z[:, 1, 1] @ torch.from_numpy(2.5 * turn).float() + 4
    return replace(one, z=z, provenance={**one.provenance, "weights": "other", "model": "wide"})


def test_turning_scaling_and_moving_the_space_changes_nothing() -> None:
    z = _one().z.double()
    turn = torch.from_numpy(ortho_group.rvs(6, random_state=1))
    anchors = np.arange(0, 60, 3)
    before, after = (relative_representation(its, anchors) for its in (z, 3.7 * z @ turn + 5))
    assert before.shape == (320, 2, 2, 20)
    assert float((before - after).abs().max()) < 1e-6
    stretched = relative_representation(z * torch.linspace(1, 4, 6), anchors)
    assert float((before - stretched).abs().max()) > 0.01


def test_is_the_cosine_with_the_anchors_once_their_mean_is_gone() -> None:
    z, anchors = _one().z, np.array([4, 9, 30])
    x = z[:, 1, 0].double().numpy()
    x = x - x[anchors].mean(0)
    expected = x[7] @ x[9] / np.linalg.norm(x[7]) / np.linalg.norm(x[9])
    assert float(relative_representation(z, anchors)[7, 1, 0, 1]) == pytest.approx(expected)


def test_anchors_are_of_groups_that_are_not_tested() -> None:
    groups = _one().groups
    anchors, tested = anchors_of(groups, 20)
    of_anchors = {groups[i] for i in anchors.tolist()}
    assert len(of_anchors) == 20
    assert not of_anchors & {group for group, its in zip(groups, tested, strict=True) if its}
    assert tested.sum() == len(groups) - 2 * 20


def test_finds_the_head_that_says_the_same_and_its_probe_works_there_unseen() -> None:
    one = _one()
    found = relative_directions(one, _another(one), n_anchors=30, n_null=20)
    assert found.best == (1, 1, 2, 0)
    assert found.alike[1, 2] > 0.999
    assert found.jaccard[1, 2] > 0.98 > 0.3 > found.jaccard[0].max()
    assert found.auroc > 0.8
    assert found.auroc == pytest.approx(found.own[0], abs=0.02)
    assert found.p_value < 0.06
    assert found.p_alike == pytest.approx(1 / 21)


def test_does_not_find_one_where_there_is_none() -> None:
    one = _one(240)
    noise = [replace(_another(one), z=made(np.zeros((3, 1, 9)), 240, seed).z) for seed in range(8, 14)]
    found = [relative_directions(one, other, n_anchors=20, n_null=19) for other in noise]
    assert max(its.alike.max() for its in found) < 0.4
    assert 0.2 < np.mean([its.p_value for its in found]) < 0.8
    assert sum("does not work" in its.verdicts()[1] for its in found) >= 5


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    one = _one()
    found = relative_directions(one, _another(one), n_anchors=30, n_null=3)
    found.save(tmp_path)
    assert Relative.load(tmp_path) == found == relative_directions(one, _another(one), n_anchors=30, n_null=3)
    assert found.tables()[0].rows


def test_refuses_too_many_anchors_and_other_rows() -> None:
    one = _one()
    with pytest.raises(InputError, match="100 anchors were asked for; 160 groups of rows give between 2 and 80"):
        anchors_of(one.groups, 100)
    with pytest.raises(InputError, match="not read on the same rows"):
        relative_directions(one, replace(one, ids=one.ids[::-1]))
    with pytest.raises(InputError, match="no anchors"):
        relative_representation(one.z, np.array([], dtype=int))
