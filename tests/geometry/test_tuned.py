"""A base's directions in a tuned model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lens_truth.errors import InputError
from lens_truth.geometry.tuned import tuned_directions
from lens_truth.geometry.tuned_result import Tuned
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.metrics import aurocs
from lens_truth.scoring.probing import held_out_decisions
from tests.over_domains import made

L, H, D = 2, 2, 8


def _base(seed: int = 0) -> HeadActivations:
    size = np.zeros((L, H, D))
    size[1, 1, 0] = 3.0
    return made(size, 240, seed)


def _moved(base: HeadActivations, axis: int) -> HeadActivations:
    """The same rows, but the truth lies along another feature."""
    its = made(np.zeros((L, H, D)), 240, 9)
    z = its.z.clone()
    z[:, 1, 1, axis] += 3.0 * base.labels
    return replace(base, z=z)


def test_a_model_against_itself_keeps_everything() -> None:
    base = _base()
    found = tuned_directions(base, base)
    for its in found.ways.values():
        assert its.auroc == its.ceiling == its.home
        assert (its.lost, its.kept, its.head) == (0, 1, (1, 1))
    assert np.allclose(found.cosines, 1)
    assert np.allclose(found.mahalanobis, 1)


def test_decisions_at_home_are_those_of_truth_scores() -> None:
    base = _base()
    found = tuned_directions(base, _moved(base, 3), estimator="mass-mean")
    decisions, fold = held_out_decisions(base, estimator="mass-mean")
    own = [
        aurocs(torch.from_numpy(decisions[fold == k, 1, 1]), base.labels[torch.from_numpy(fold == k)] == 1).item()
        for k in range(5)
    ]
    assert found.aurocs[0, 0, 1, 1] == pytest.approx(np.mean(own), abs=1e-9)


def test_a_direction_that_was_turned_is_lost_and_no_closer_than_random_ones() -> None:
    base = _base()
    same, other = (tuned_directions(base, _moved(base, axis)).ways["base to tuned"] for axis in (0, 3))
    assert same.auroc > 0.9
    assert same.lost_ci[0] < 0.02
    assert other.auroc < other.ceiling - 0.2
    assert other.lost_ci[0] > 0
    assert other.auroc_ci[0] < other.random
    found = tuned_directions(base, _moved(base, 3))
    assert abs(found.cosines[1, 1]) < found.random_cosines[:, 1, 1].max()


def test_comes_back_as_it_was_and_says_what_it_found(tmp_path: Path) -> None:
    base = _base()
    found = tuned_directions(base, _moved(base, 0), n_random=20)
    found.save(tmp_path)
    assert Tuned.load(tmp_path) == found
    assert "does not measurably lose" in found.verdicts()[0]
    assert len(found.tables()[0].rows) == 2


def test_refuses_other_rows_and_other_shapes() -> None:
    base = _base()
    with pytest.raises(InputError, match="not read on the same rows"):
        tuned_directions(base, replace(base, ids=tuple(f"x{i}" for i in base.ids)))
    with pytest.raises(
        InputError, match=r"2 x 2 x 8 activations a row, the tuned model 2 x 1 x 8.*directions relative"
    ):
        tuned_directions(base, replace(base, z=base.z[:, :, :1]))
    with pytest.raises(InputError, match="read at z, the tuned model at resid_post"):
        tuned_directions(base, replace(base, provenance={**base.provenance, "point": "resid_post"}))
