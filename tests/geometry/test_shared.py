"""General and specific directions: as many as were put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lens_truth.errors import InputError
from lens_truth.geometry.shared import shared_directions
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.scoring.activations import HeadActivations
from tests.over_domains import made


def domains(general: float, specific: float, n: int = 400) -> dict[str, HeadActivations]:
    """Three domains with one direction in common and one each of its own, all orthogonal; head (0, 1) has them."""
    eye = np.eye(8)
    return {
        f"d{m}": made(np.stack([0 * eye[0], general * eye[0] + specific * eye[1 + m]])[None], n, m) for m in range(3)
    }


def test_a_shared_direction_is_general_and_nothing_else() -> None:
    found = shared_directions(domains(2, 0), estimator="mass-mean", n_steps=3, n_shuffled=30)
    assert found.head == (0, 1) and found.n_general == 1
    assert found.general[0].min() > 0.85 and abs(found.general[1].mean() - 0.5) < 0.06
    assert found.general_share.min() > 0.75
    assert found.own_random[1].mean() > 0.75
    assert np.mean(found.n_specific) < 0.7


def test_specific_directions_are_left_without_the_general_one() -> None:
    found = shared_directions(domains(0, 2), estimator="mass-mean", n_steps=5, n_shuffled=30)
    both = shared_directions(domains(2, 2), estimator="mass-mean", n_steps=5, n_shuffled=30)
    assert both.general[0].mean() > found.general[0].mean() + 0.1
    assert both.own[1].mean() > 0.75  # one general direction leaves each domain's own
    assert found.general_share.max() < both.general_share.min()  # a mixture of own directions has a small share
    assert min(both.n_specific) >= 1


def test_without_a_signal_nothing_is_general() -> None:
    found = shared_directions(domains(0, 0), n_steps=3, n_shuffled=40)
    assert found.n_general <= 1 and max(found.n_specific) <= 1


def test_refusals_and_round_trip(tmp_path: Path) -> None:
    made_up = domains(2, 1, 100)
    with pytest.raises(InputError, match=r"there is no head 1\.0"):
        shared_directions(made_up, head=(1, 0))
    with pytest.raises(InputError, match="8 steps and 50 draws were asked for; steps may be 1 to 7"):
        shared_directions(made_up, n_steps=8)
    found = shared_directions(made_up, n_steps=2, n_shuffled=5)
    found.save(tmp_path)
    assert SharedDirections.load(tmp_path) == found
    assert [len(table.rows) for table in found.tables()] == [3, 3]
    assert found.verdicts()[-1].startswith("Specific directions on top")
