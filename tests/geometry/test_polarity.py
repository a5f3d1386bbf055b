"""Directions of truth from affirmative statements to other kinds, on heads whose knowledge is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.errors import InputError
from lens_truth.geometry import polarity
from lens_truth.geometry.cells import CellDraws
from lens_truth.geometry.polarity import AFFIRMATIVE, BOTH, Topic, polarity_transfer
from lens_truth.geometry.polarity_result import Polarity
from lens_truth.scoring.activations import HeadActivations
from tests.geometry.problems import kinds

QUICK = CellDraws(n_bootstrap=100, n_permutations=100)
PAIRED = Topic("cities", "neg_cities", range(60))


@pytest.fixture(scope="module")
def found() -> Polarity:
    surface = np.array([[0.6, 0.2, 0.55], [0.5, 0.5, 0.5]])
    return polarity_transfer(kinds(), [PAIRED], draws=QUICK, surface=surface)


def row(found: Polarity, method: str, trained_on: str) -> int:
    return [*zip(found.methods, found.trained_on, strict=True)].index((method, trained_on))


@pytest.mark.parametrize("method", polarity.METHODS)
def test_content_is_inverted_by_a_negation_and_truth_is_not(found: Polarity, method: str) -> None:
    alone = found.auroc_of_heads[row(found, method, AFFIRMATIVE), :, 0]  # sets x heads
    assert alone[0, 1] > 0.9
    assert alone[1, 1] < 0.15
    assert alone[1, 2] > 0.9
    assert alone[2, 1:].min() > 0.85
    assert np.abs(alone[:, 0] - 0.5).max() < 0.25
    both = found.auroc_of_heads[row(found, method, BOTH), :, 0]
    assert both[:, 2].min() > 0.9
    assert both[1, 1] > 0.2 or method != "TTPD"


def test_the_head_that_knows_the_truth_is_picked_once_there_are_negations(found: Polarity) -> None:
    for method in polarity.METHODS:
        assert found.heads[row(found, method, BOTH)] == "0.2 (5 of 5)"
    at = row(found, "TTPD", BOTH)
    assert found.auroc[at].min() > 0.9
    assert (found.interval[at, :, 0] > 0.8).all()
    assert (found.p_value[at] < 0.02).all()
    assert (found.null[at, :, 0] < 0.5).all()
    assert (found.null[at, :, 1] > 0.5).all()


def test_ccs_finds_a_direction_without_labels(found: Polarity) -> None:
    at = row(found, "CCS", BOTH)
    assert found.auroc_of_heads[at, :2, 0, 2].min() > 0.85


def test_it_says_what_words_do(found: Polarity, tmp_path: Path) -> None:
    said = found.verdicts()
    assert any("bag of words trained on affirmative statements is inverted on neg_cities (0.20)" in its for its in said)
    matrix = found.matrix()
    assert [its.head.text for its in matrix.rows][4] == "affirmative: bag of words"
    assert all(len(its.cells) == 3 for its in matrix.rows)
    assert len(found.cells().rows) == 9 * 3
    found.save(tmp_path)
    assert Polarity.load(tmp_path) == found
    with pytest.raises(InputError, match="result.more is a field"):
        Polarity.from_dict({**found.as_dict(), "more": 1})


def test_no_statement_is_trained_on_whose_group_is_tested() -> None:
    """Where a group's affirmative statement is changed, nothing that is said of its conjunction may change."""
    sets = {name: replace(its, z=its.z[:, :, 2:]) for name, its in kinds().items()}
    before = captured(sets)
    changed = sets["cities"].z.clone()
    changed[7] = 1e3
    after = captured({**sets, "cities": replace(sets["cities"], z=changed)})
    conjunction = 120 + 7
    assert np.array_equal(before[..., conjunction], after[..., conjunction])
    assert not np.array_equal(before, after)


def captured(sets: dict[str, HeadActivations]) -> np.ndarray:
    """The decisions of all heads on all rows."""
    told: list[np.ndarray] = []
    kept: Any = vars(polarity)["_result"]

    def told_first(problem: Any, its: np.ndarray, *more: Any) -> Polarity:
        told.append(its)
        return kept(problem, its, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polarity, "_result", told_first)
        polarity_transfer(sets, [PAIRED], draws=QUICK)
    return told[0]


def test_topics_without_negations_train_on_affirmative_statements_alone() -> None:
    found = polarity_transfer(kinds(), [Topic("cities")], draws=QUICK)
    assert set(found.trained_on) == {AFFIRMATIVE}
    assert found.roles == ("affirmative", "tested", "tested")
    assert np.isnan(found.surface).all()
    assert len(found.verdicts()) == 1


def test_partners_left_out_leave_ccs_out() -> None:
    found = polarity_transfer(kinds(), [Topic("cities", "neg_cities")], draws=QUICK)
    assert "CCS" not in found.methods
    assert BOTH in found.trained_on


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ([], "there is no topic to train on"),
        ([Topic("towns")], "names the set 'towns', and there are only cities, neg_cities, cities_conj"),
        ([Topic("cities", "cities")], "the set 'cities' is named twice"),
        ([Topic("cities", "neg_cities"), Topic("cities_conj")], "1 of 2 topics have negations"),
        ([Topic("cities", "neg_cities", range(59))], "pairs without partner: 59 negations are named for the 60"),
    ],
)
def test_topics_that_are_none(topics: list[Topic], said: str) -> None:
    with pytest.raises(InputError, match=said):
        polarity_transfer(kinds(), topics)


def test_activations_that_are_not_finite_are_refused() -> None:
    sets = kinds()
    sets["neg_cities"].z[3, 0, 1, 2] = torch.inf
    with pytest.raises(InputError, match="set 'neg_cities': the activations of a row are not finite"):
        polarity_transfer(sets, [PAIRED])
