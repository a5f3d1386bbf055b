"""Learned gates on held-out questions: few heads, roles put to the test, ways, curve and children."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import faults

from lens_truth.ablation.frontier import GAINS, few_heads
from lens_truth.ablation.frontier_result import Frontier
from lens_truth.ablation.held_out import Judge
from lens_truth.ablation.learned_result import LearnedGates
from lens_truth.ablation.learned_study import Fitting, learned_gates
from lens_truth.ablation.roles import role_check
from lens_truth.ablation.roles_result import ONLY, WITHOUT, RoleCheck, as_good
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.gate import HeadGate
from lens_truth.models.budget import Budget
from lens_truth.scoring.learned import AnswerRows, learned_gate
from lens_truth.scoring.learned_forms import Learning
from lens_truth.scoring.learned_roles import HeadRoles
from lens_truth.scoring.scores import HeadScores

FITTED, VALIDATION, TEST = (load_examples(f"zoo:conflict/{part}", limit=32) for part in ("train", "validation", "test"))
SHORT = Learning(steps=6)
pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def asker(zoo: Any) -> Asker:
    return Asker(zoo("llama-memory-chat"), "chat", "chat model")


@pytest.fixture(scope="module")
def study(asker: Asker, zoo: Any) -> LearnedGates:
    ways = [SHORT, Learning("sigmoid", "l1", steps=6)]
    child = {"memory": Asker(zoo("llama-memory"), "plain", "memory")}
    fitting = Fitting(FITTED, VALIDATION, TEST)
    return learned_gates(asker, fitting, ways, penalties=(0.1, 1e4), children=child, n_permuted=2)


def mean_margins(asker: Asker, gate: HeadGate) -> tuple[float, float]:
    ranked = asker.rank(TEST, {"": None, "gate": gate})
    return tuple(float(np.mean([choice.margin for choice in its])) for its in ranked.values())  # pyright: ignore


def test_what_a_gate_is_worth_by_hand(asker: Asker) -> None:
    judge = Judge(asker, TEST, 0, groups=["a", "b", "c", "d"])
    vanilla, gated = np.array([-1.0, 2.0, -3.0, 1.0]), np.array([1.0, 2.5, -1.0, -0.5])
    held = judge.of([gated], vanilla)
    assert held.margin == 0.5 and held.gain == pytest.approx(0.75) and held.accuracy == 0.5
    assert held.change.difference == 0 and held.gain_ci[0] < 0.75 < held.gain_ci[1]
    both = judge.of([gated, vanilla], vanilla)
    assert both.gain == pytest.approx(0.375) and both.accuracy == 0.5


def test_few_heads(asker: Asker, tmp_path: Path) -> None:
    learned = learned_gate(asker.model, FITTED, learning=SHORT, template="chat")
    scores = HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "drawn")
    found = few_heads(asker, {"drawn": scores}, learned, VALIDATION, TEST, n_random=2)
    assert [its.n for its in found.orders["learned"]] == [1, 2, 4, 8, 16, 32, 48]
    assert set(found.orders) == {"learned", "drawn", "random 0", "random 1"} and len(found.random) == 2
    before, whole = mean_margins(asker, HeadGate.from_scores(learned, 1, "none"))
    assert found.margin == pytest.approx(before, abs=1e-5)
    assert found.orders["learned"][-1].held.margin == pytest.approx(whole, abs=1e-5)
    two = found.orders["drawn"][1]
    values, first = torch.ones(48), np.argsort(-np.abs(scores.values.ravel()))[:2]
    assert two.gain in GAINS
    values[first] += two.gain * torch.from_numpy(np.sign(scores.values.ravel()[first])).float()
    assert two.held.margin == pytest.approx(mean_margins(asker, HeadGate(values.view(6, 8)))[1], abs=1e-5)
    drawn = [its[1].held.margin for its in found.random]
    assert two.over_random == pytest.approx(two.held.margin - np.mean(drawn), abs=1e-5)
    enough = found.enough("learned")
    assert enough is not None and enough <= 48 and "of 48 heads give 90%" in found.verdicts()[0]
    found.save(tmp_path)
    assert Frontier.load(tmp_path) == found and list(faults(found.plot())) == []
    with pytest.raises(InputError, match="no order of heads 'truth'"):
        found.enough("truth")
    flat = {
        name: tuple(replace(its, held=replace(its.held, gain_ci=(-1.0, 1.0))) for its in points)
        for name, points in found.orders.items()
    }
    null = replace(found, orders=flat)
    assert null.enough("learned") is None and "not told from 0" in null.verdicts()[0]
    with pytest.raises(InputError, match="0 random orders"):
        few_heads(asker, {}, learned, VALIDATION, TEST, n_random=0)
    with pytest.raises(InputError, match="the gate has 5 layers"):
        few_heads(asker, {"small": scores.crop(5, 8)}, learned, VALIDATION, TEST)


def test_roles_are_run(asker: Asker, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    roles = HeadRoles(np.ones((2, 6, 8)), draws.random((2, 6, 8)))
    found = role_check(asker, roles, TEST, n_random=2)
    marks = roles.heads("facilitating")
    assert found.counts == {"facilitating": marks.sum(), "irrelevant": 48 - marks.sum(), "interfering": 0}
    assert set(found.removals) == {ONLY, WITHOUT} and "Not run" in found.verdicts()[-1]
    rows = AnswerRows.likelihoods(asker.model, TEST, "chat")
    for name, on in ((ONLY, marks), (WITHOUT, ~marks)):
        alone = rows.under(torch.from_numpy(on).float(), Budget(10_000)).mean()
        assert found.removals[name].log_prob == pytest.approx(alone, rel=1e-4)
        assert found.removals[name].n == marks.sum() and len(found.removals[name].random) == 2
    gate = HeadGate(torch.from_numpy(marks).float())
    assert found.removals[ONLY].held.margin == pytest.approx(mean_margins(asker, gate)[1], abs=1e-4)
    found.save(tmp_path)
    assert RoleCheck.load(tmp_path) == found and list(faults(found.plot())) == []
    with pytest.raises(InputError, match="0 random choices"):
        role_check(asker, roles, TEST, n_random=0)


def test_p_values_of_removals() -> None:
    assert as_good(ONLY, -1.0, [-2.0, -3.0, -1.0]) == 2 / 4
    assert as_good(WITHOUT, -5.0, [-2.0, -6.0, -3.0]) == 2 / 4


def test_the_study(study: LearnedGates, tmp_path: Path) -> None:
    assert list(study.ways) == ["signed l2", "sigmoid l1"] and study.first == "signed l2"
    assert study.n_fitted == study.n_validation == study.n_questions == 16
    way = study.ways["signed l2"]
    assert way.penalty == 0.1 and way.tried["0.1"] < way.tried["10000"]
    assert way.held.gain > max(way.permuted) and way.p == 1 / 3
    assert "2 of 2 permuted gates add less, p 0.33 (no less than 1 in 3)." in " ".join(study.verdicts())
    many = replace(study, ways={name: replace(its, permuted=its.permuted * 10) for name, its in study.ways.items()})
    assert "no less than" not in many.tables()[0].note and "(no less than 1 in 3)" in study.tables()[0].note
    (point,) = study.curve
    assert point.n == 8 and point.agreement is not None
    passed = study.children["memory"]
    assert passed.kept == pytest.approx(passed.given.gain / passed.own.gain)
    study.save(tmp_path)
    assert LearnedGates.load(tmp_path) == study and list(faults(study.plot())) == []
    said = study.verdicts()
    assert len(study.tables()) == 3 and len(said) == 4 and said[-1].startswith("memory: the gate of chat model adds")


def test_a_penalty_named_twice_counts_once(asker: Asker) -> None:
    found = learned_gates(
        asker, Fitting(FITTED, VALIDATION, TEST), [SHORT], penalties=(1e4, 1e4, 0.1), curve=False, n_permuted=1
    )
    its = found.ways["signed l2"]
    assert list(its.tried) == ["10000", "0.1"] and its.tried["0.1"] < its.tried["10000"] and its.penalty == 0.1


def test_nulls_are_said(study: LearnedGates) -> None:
    none = replace(study.ways["signed l2"].held, gain_ci=(-1.0, 1.0))
    passed = replace(study.children["memory"], kept=float("nan"), own=none)
    way, point = replace(study.ways["signed l2"], held=none), replace(study.curve[0], held=none, agreement=None)
    null = replace(study, ways={"signed l2": way}, curve=(point,), children={"memory": passed})
    said = null.verdicts()
    assert "no gain is told" in said[0] and "no number of questions" in said[1] and "no share of it" in said[2]
    assert null.tables()[1].rows and list(faults(null.plot())) == []


def test_what_is_refused(asker: Asker) -> None:
    with pytest.raises(InputError, match="is in two of the parts"):
        learned_gates(asker, Fitting(FITTED, VALIDATION, FITTED), [SHORT])
    for ways, how in (([], {}), ([SHORT], {"penalties": ()}), ([SHORT], {"n_permuted": 0})):
        with pytest.raises(InputError, match="at least 1 of each is needed"):
            learned_gates(asker, Fitting(FITTED, VALIDATION, TEST), ways, **how)
    one = [replace(row, group="one") for row in FITTED]
    with pytest.raises(InputError, match="of one group; small fits need two"):
        learned_gates(asker, Fitting(one, VALIDATION, TEST), [Learning(steps=1)], n_permuted=1)
