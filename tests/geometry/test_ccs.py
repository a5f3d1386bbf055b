"""CCS out of fold: what it finds, its nulls, PA-CCS, and pairs that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lens_truth.errors import InputError
from lens_truth.geometry.ccs import CcsDraws, ccs_scores
from lens_truth.geometry.ccs_result import Consistency
from lens_truth.geometry.pairs import answer_pairs, pairs_in_set, pairs_of_sets
from lens_truth.geometry.polar import contradiction_index, polar, polar_consistency
from lens_truth.scoring.activations import HeadActivations
from lens_truth.stats.folds import grouped_folds
from tests.geometry.problems import activations, claims

Answers = tuple[HeadActivations, HeadActivations, Sequence[int | None]]
QUICK = CcsDraws(n_tries=3, n_epochs=200, n_shuffles=2, n_permutations=200, n_random=20, n_bootstrap=100)


@pytest.fixture(scope="module")
def found() -> Consistency:
    return ccs_scores(pairs_in_set(claims()), draws=QUICK)


def test_the_head_that_knows_is_found_without_labels(found: Consistency) -> None:
    assert found.either[1, 2] > 0.95
    assert found.picks[0].heads == ((1, 2),) * 5
    assert found.picks[0].accuracy > 0.95
    assert found.picks[0].interval[0] > 0.85
    assert found.picks[0].p_value < 0.01
    assert found.p_familywise[1, 2] < 0.01
    assert found.ridge[1, 2] > 0.95


def test_heads_that_know_nothing_are_within_their_null(found: Consistency) -> None:
    others = np.ones((2, 3), dtype=bool)
    others[1, 2] = False
    assert found.p_familywise[others].min() > 0.05
    assert abs(found.accuracy[others].mean() - 0.5) < 0.08
    # either way is never below one half: its null is not one half either
    assert found.null_mean[others].min() > 0.52
    assert abs(found.either[others].mean() - found.null_mean[others].mean()) < 0.05
    assert found.random_mean[others].mean() == pytest.approx(found.null_mean[others].mean(), abs=0.03)


def test_noise_alone_gives_uniform_p_values() -> None:
    rng = np.random.default_rng(3)
    noise = activations(rng.normal(size=(120, 4, 10, 3)), np.tile([1, 0], 60), [f"g{i // 2}" for i in range(120)])
    p = ccs_scores(pairs_in_set(noise), draws=replace(QUICK, n_shuffles=1, n_epochs=60)).p_value
    assert 0.3 < p.mean() < 0.75  # ties are counted, so somewhat above one half
    assert (p < 0.05).mean() < 0.15


def test_same_seed_same_numbers_and_another_seed_others() -> None:
    pairs, few = pairs_in_set(claims(40)), replace(QUICK, n_epochs=30, n_shuffles=1)
    assert ccs_scores(pairs, draws=few) == ccs_scores(pairs, draws=few)
    assert ccs_scores(pairs, draws=few, seed=1) != ccs_scores(pairs, draws=few)


def test_it_comes_back_from_a_folder(found: Consistency, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert Consistency.load(tmp_path) == found
    with pytest.raises(InputError, match="result.more is a field"):
        Consistency.from_dict({**found.as_dict(), "more": 1})
    assert all(len(row.cells) + 1 == len(its.header) for its in found.tables() for row in its.rows)
    assert "without a label (1.2" in found.verdicts()[0]


def test_sides_are_drawn_so_that_centring_them_leaves_truth() -> None:
    pairs = pairs_in_set(claims())
    assert 0.35 < pairs.labels.mean() < 0.65
    assert pairs.partner is None
    first = claims().z[:, 1, 2, 1].numpy()
    side = pairs.first[:, 1, 2, 1].numpy()
    assert ((side > 1) == (pairs.labels == 1)).mean() > 0.95
    assert set(side.tolist()) <= set(first.tolist())


def test_groups_that_are_no_pairs_are_counted() -> None:
    its = claims(5)
    with pytest.raises(InputError, match="pairs without partner: 2 of 6 groups .*'alone'"):
        pairs_in_set(replace(its, groups=("alone", "claim 0", *its.groups[2:])))


def halves() -> tuple[HeadActivations, HeadActivations]:
    its = claims(20)
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.tile([1, 0], 10))
    groups = [f"g{i}" for i in range(20)]
    one = activations(its.z[::2].numpy(), labels, groups)
    return one, activations(its.z[1::2].numpy(), 1 - labels, groups)


def test_pairs_of_two_sets() -> None:
    one, other = halves()
    order = np.random.default_rng(2).permutation(20)
    shuffled = activations(other.z[torch.from_numpy(order)].numpy(), other.labels[order].numpy(), list(one.groups))
    pairs = pairs_of_sets(one, shuffled, np.argsort(order).tolist())
    torch.testing.assert_close(pairs.second, other.z)
    assert (pairs.labels == one.labels.numpy()).all()


@pytest.mark.parametrize(
    ("partners", "said"),
    [
        ([None, *range(1, 20)], "pairs without partner: 1 of 20 statements have no negation"),
        (list(range(19)), "19 partners were given for 20 statements"),
        ([(i + 1) % 20 for i in range(20)], "pairs have the same label on both sides"),
    ],
)
def test_partners_that_are_none(partners: list[int | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        pairs_of_sets(*halves(), partners)


def test_sides_of_other_models_are_refused() -> None:
    one, other = halves()
    with pytest.raises(InputError, match="differ in weights: w against v"):
        pairs_of_sets(one, replace(other, provenance={**other.provenance, "weights": "v"}), range(20))
    with pytest.raises(InputError, match="2 x 3 x 6 activations a row against 1 x 3 x 6"):
        pairs_of_sets(one, replace(other, z=other.z[:, :1]), range(20))


def test_activations_that_are_not_finite_are_refused() -> None:
    its = claims(20)
    its.z[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="are not finite"):
        ccs_scores(pairs_in_set(its), draws=QUICK)


@pytest.mark.parametrize(
    ("four", "consistency", "index"),
    [
        ((1, 0, 0, 1), 0, 0),  # knows the truth
        ((0.5, 0.5, 0.5, 0.5), 0, 0.5),  # knows nothing
        ((1, 1, 1, 1), 0, 2),  # affirms everything
        ((0.9, 0.1, 0.2, 0.8), 0.01, 0.26),
        ((0.9, 0.4, 0.2, 0.8), 0.5 * (0.01 + 0.04), 0.18 + 0.32),
        ((0.9, 0.8, 0.2, 0.4), -0.5 * (0.25 + 0.36), 0.18 + 0.32),  # yes says A, no says B
    ],
)
def test_polar_numbers_made_by_hand(four: tuple[float, ...], consistency: float, index: float) -> None:
    p = [torch.tensor(float(its)) for its in four]
    assert polar_consistency(*p).item() == pytest.approx(consistency, abs=1e-6)
    assert contradiction_index(*p).item() == pytest.approx(index, abs=1e-6)
    assert polar_consistency(p[2], p[3], p[0], p[1]).item() == pytest.approx(consistency, abs=1e-6)  # either is A


def test_all_four_probabilities_of_a_pair_are_its_own() -> None:
    p = torch.tensor([[0.9, 0.2, 0.6, 0.5], [0.1, 0.8, 0.3, 0.4]])[..., None]
    partner = torch.tensor([1, 0, 3, 2])
    fold, labels = torch.zeros(4, dtype=torch.long), torch.tensor([1, 0, 1, 0])
    found = polar(p, partner, fold, labels, 50, 0)
    by_hand = [
        contradiction_index(*(torch.tensor(its) for its in four)).item()
        for four in ((0.9, 0.1, 0.2, 0.8), (0.6, 0.3, 0.5, 0.4))
    ]
    assert found.contradiction.item() == pytest.approx(np.mean(by_hand))
    drawn = {round(its.item(), 4) for its in found.null_contradiction[:, 0]}
    crossed = (0.9 * 0.5 + 0.1 * 0.4 + 0.6 * 0.2 + 0.3 * 0.8) / 2
    turned = (0.9 * 0.6 + 0.1 * 0.3 + 0.5 * 0.2 + 0.4 * 0.8) / 2
    assert drawn == {round(float(its), 4) for its in (np.mean(by_hand), crossed, turned)}
    kept = polar(p, partner, fold, torch.tensor([1, 0, 0, 1]), 50, 0)  # sides do not tell the truth, and are kept
    assert {round(its.item(), 4) for its in kept.null_contradiction[:, 0]} == drawn - {round(turned, 4)}


def test_reading_not_is_no_consistency() -> None:
    """Yes to every statement and no to every negation: no contradiction, and no truth."""
    n = 40
    p = torch.tensor([[0.99, 0.01] * n, [0.01, 0.99] * n])[..., None]
    partner = torch.tensor([i ^ 1 for i in range(2 * n)])
    labels = torch.from_numpy(np.random.default_rng(0).permutation(n) % 2).repeat_interleave(2)
    labels[1::2] = 1 - labels[::2]
    found = polar(p, partner, torch.zeros(2 * n, dtype=torch.long), labels, 20, 0)
    assert found.contradiction.item() < 0.05
    assert found.null_contradiction.max() < 0.05
    truth = torch.where(labels == 1, 0.99, 0.01)
    found = polar(
        torch.stack([truth, 1 - truth])[..., None], partner, torch.zeros(2 * n, dtype=torch.long), labels, 20, 0
    )
    assert found.contradiction.item() < 0.05 < 0.3 < found.null_contradiction.min()


def answers(knows: float = 2.0, n: int = 60) -> Answers:
    """Statements and their negations with both answers: head 0.1 writes whether the answer is right."""
    rng = np.random.default_rng(5)
    labels = np.concatenate([np.tile([1, 0], n // 2), np.tile([0, 1], n // 2)])
    sets: list[HeadActivations] = []
    for answer in (1, -1):
        z = 0.5 * rng.normal(size=(2 * n, 1, 2, 4)) + answer
        z[:, 0, 1, 2] += knows * answer * (2 * labels - 1)
        sets.append(activations(z, labels, [f"g{i // 2}" for i in range(2 * n)]))
    return sets[0], sets[1], [i ^ 1 for i in range(2 * n)]


def test_answers_to_statements_that_contradict_each_other() -> None:
    found = ccs_scores(answer_pairs(*answers()), draws=QUICK)
    assert found.accuracy[0, 1] > 0.95
    assert found.contradiction[0, 1] < 0.25 < 0.35 < found.contradiction_null[0, 0, 1]
    assert abs(found.polar_consistency[0, 1]) < 0.05
    low, high = found.contradiction_null[:, 0, 0]
    assert low - 0.02 < found.contradiction[0, 0] < high + 0.02  # a head that knows nothing is within its null
    assert len(found.tables()) == 3
    assert found.verdicts()[-1].startswith("1 of 2 heads")


def test_answers_without_their_opposite() -> None:
    yes, no, its = answers()
    with pytest.raises(InputError, match="pairs without partner: 2 of 120"):
        answer_pairs(yes, no, [None, *its[1:]])
    with pytest.raises(InputError, match="not to the same statements"):
        answer_pairs(yes, replace(no, labels=1 - no.labels), its)
    with pytest.raises(InputError, match="have the same label as"):
        answer_pairs(yes, no, [(i + 2) % 4 + i // 4 * 4 for i in range(120)])


def test_partners_never_straddle_folds() -> None:
    pairs = answer_pairs(*answers())
    fold = grouped_folds(pairs.labels, pairs.groups, 5, 0)
    assert pairs.partner is not None
    assert (fold == fold[pairs.partner]).all()


def test_a_negation_under_another_subject_is_in_the_group_of_its_statement() -> None:
    yes, no, partners = answers()
    groups = tuple(f"{group}, other" if i == 1 else group for i, group in enumerate(yes.groups))
    whole = answer_pairs(yes, no, partners)
    found = answer_pairs(replace(yes, groups=groups), replace(no, groups=groups), partners)
    assert found.groups[0] == found.groups[1]
    assert [its == found.groups[0] for its in found.groups] == [its == whole.groups[0] for its in whole.groups]
    negations = replace(no, labels=1 - yes.labels, groups=(groups[4], *yes.groups[1:]))
    beside = pairs_of_sets(yes, negations, range(120))
    assert beside.groups[0] == beside.groups[4] == beside.groups[5] != beside.groups[2]  # g0 and g2 are linked


def test_shuffled_partners_cost_what_the_pairs_were_worth() -> None:
    """Sides that share a nuisance twice as strong as truth: true pairs cancel it, shuffled ones learn it."""
    rng = np.random.default_rng(8)
    labels = np.tile([1, 0], 150)
    z = 0.3 * rng.normal(size=(300, 1, 1, 4))
    z[:, 0, 0, 0] += 1.0 * (2 * labels - 1)
    z[:, 0, 0, 1] += 3.0 * np.repeat(rng.choice([-1, 1], size=150), 2)
    found = ccs_scores(pairs_in_set(activations(z, labels, [f"g{i // 2}" for i in range(300)])), draws=QUICK)
    assert found.either[0, 0] > 0.95
    assert found.shuffled.mean() < found.either[0, 0] - 0.1
