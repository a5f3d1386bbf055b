"""Learned gates of every form under every penalty, against finite differences and by hand; roles of heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.models.budget import Budget
from lens_truth.models.loading import load
from lens_truth.scoring.learned import AnswerRows, Descent, learned_gate
from lens_truth.scoring.learned_forms import GateNumbers, Learning, hard_concrete
from lens_truth.scoring.learned_roles import Gating, HeadRoles, _Drawn, head_roles

CONTEXT = "The coral heart is in the attic."
EXAMPLES = [
    Example("0", "a", "What?", "coral", 1, CONTEXT),
    Example("1", "a", "What?", "a long answer", 0, CONTEXT),
    Example("2", "b", "Which room holds the heart?", "attic", 1, "The heart is in the attic, they say."),
    Example("3", "b", "Which room holds the heart?", "vault", 0, "The heart is in the attic, they say."),
]
WAYS = [(form, norm) for form in ("signed", "sigmoid") for norm in ("l2", "l1", "l0")]


@pytest.fixture(scope="module")
def exact(tokenizer: Any) -> Any:
    """In double precision, so that small differences are meaningful."""
    return load(build("qwen2", len(tokenizer)).double(), tokenizer=tokenizer)


def slopes(rows: AnswerRows, loss: Any) -> np.ndarray:
    """Of the mean loss at a gate of ones, by central differences."""
    shape, found = (rows.model.cfg.n_layers, rows.model.cfg.n_heads), []
    for head in range(shape[0] * shape[1]):
        ends = []
        for step in (1e-4, -1e-4):
            gate = torch.ones(shape[0] * shape[1], dtype=torch.float64)
            gate[head] += step
            ends.append(loss(rows.under(gate.view(shape), Budget(10_000))).mean())
        found.append((ends[0] - ends[1]) / 2e-4)
    return np.array(found).reshape(shape)


def test_the_first_step_goes_down_the_loss(exact: Any) -> None:
    """Adam's first step is as long for every head, against its slope."""
    down = slopes(AnswerRows.margins(exact, EXAMPLES, "plain"), lambda its: np.logaddexp(0, -its))
    found = learned_gate(exact, EXAMPLES, learning=Learning(steps=1)).values
    told = np.abs(down) > 1e-5
    assert told.sum() > 4
    np.testing.assert_allclose(found[told], -0.05 * np.sign(down[told]), rtol=1e-2)


def test_a_likelihood_is_that_of_supported_answers_per_token(exact: Any) -> None:
    rows = AnswerRows.likelihoods(exact, EXAMPLES, "plain")
    found = rows.under(torch.ones(exact.cfg.n_layers, exact.cfg.n_heads), Budget(10_000))
    for question, its in enumerate((0, 2)):
        row = rows.encoded[its]
        ids = torch.tensor([row.ids])
        logits = exact(ids, attention_mask=torch.ones_like(ids))[0].log_softmax(-1)
        picked = logits[:-1].gather(1, ids[0, 1:, None])[row.continuation - 1 : row.answer[1] - 1, 0]
        assert found[question] == pytest.approx(float(picked.mean().detach()), rel=1e-6)


@pytest.mark.parametrize(("form", "norm"), WAYS)
def test_forms_and_penalties(exact: Any, form: Any, norm: Any) -> None:
    loose = 1 + learned_gate(exact, EXAMPLES, learning=Learning(form, norm, 0.0, 8)).values
    again = 1 + learned_gate(exact, EXAMPLES, learning=Learning(form, norm, 0.0, 8), batch_size=1).values
    tight = 1 + learned_gate(exact, EXAMPLES, learning=Learning(form, norm, 1e4, 40)).values
    np.testing.assert_allclose(again, loose, rtol=1e-5, atol=1e-7)
    assert np.abs(tight - 1).max() < np.abs(loose - 1).max()
    if form == "sigmoid":
        assert (loose > 0).all() and (loose < 1 + 1e-12).all()
    else:
        assert (loose > 1).any() and (loose < 1).any()
    if (form, norm) == ("signed", "l1") or norm == "l0":
        assert (tight == 1).all()  # to the bit
    if norm == "l0":
        assert (loose != 1).any()


def test_an_l1_step_is_the_minimum_of_what_it_stands_for() -> None:
    """A proximal step solves min |x - 1| * pull + (x - y)^2 / 2 scale in Adam's metric; the plain step gives y."""
    learning = Learning(norm="l1", penalty=3.0)
    slope = torch.tensor([[0.5, -0.2, 1e-3, -4.0]])
    numbers, plain = GateNumbers((1, 4), learning), GateNumbers((1, 4), Learning(norm="l2", penalty=0.0))
    for its in (numbers, plain):
        optimizer = its.optimizer()
        its.regularise()
        its.gate(None).backward(slope)
        optimizer.step()
        its.settle(optimizer)
    found, stepped = (its.gate(None).detach().double() for its in (numbers, plain))
    scale = slope.double().abs() + 1e-8  # Adam's, after one step
    around = torch.linspace(-0.2, 0.2, 400_001, dtype=torch.float64)[:, None] + 1
    cost = 0.05 * (3.0 / 4) * (around - 1).abs() + scale * (around - stepped) ** 2 / 2
    np.testing.assert_allclose(found[0], around[cost.argmin(0), 0], atol=2e-6)
    assert (found == 1).sum() == 3 and found[0, 3] > 1


def test_switches_open_as_often_as_the_penalty_counts() -> None:
    logits = torch.tensor([[-3.0, 0.0, 2.0]], requires_grad=True)
    draws = np.random.default_rng(0)
    opened = np.mean([(hard_concrete(logits, draws).detach() > 0).double().numpy() for _ in range(20_000)], axis=0)
    expected = 1 / (1 + np.exp(-(logits.detach().numpy() - 2 / 3 * np.log(0.1 / 1.1))))
    np.testing.assert_allclose(opened, expected, atol=0.012)
    closed, _, _ = hard_concrete(torch.tensor([[-4.0, 0.0, 4.0]]), None)[0].tolist()
    assert closed == 0 and hard_concrete(torch.tensor([[4.0]]), None).item() == 1


def test_a_fit_is_kept_and_found_again(exact: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"learning": Learning(steps=2), "keep": tmp_path / "fits"}
    made, roles = (
        learned_gate(exact, EXAMPLES, **how),
        head_roles(exact, EXAMPLES, gating=Gating(2, starts=1), keep=tmp_path),
    )
    monkeypatch.setattr(Descent, "run", lambda *_, **__: pytest.fail("fitted again"))
    again = learned_gate(exact, EXAMPLES, **how)
    assert np.array_equal(again.values, made.values) and again.provenance == made.provenance
    found = head_roles(exact, EXAMPLES, gating=Gating(2, starts=1), keep=tmp_path)
    assert np.array_equal(found.kept, roles.kept) and np.array_equal(found.held, roles.held)
    for other in ({"learning": Learning(steps=3)}, {"seed": 1}, {"template": "chat"}):
        with pytest.raises(pytest.fail.Exception, match="fitted again"):
            learned_gate(exact, EXAMPLES, **{**how, **other})


def test_what_cannot_be_learned() -> None:
    for wrong, said in (
        ({"penalty": -1.0}, "the penalty of a learned gate is -1.0"),
        ({"penalty": float("nan")}, "the penalty of a learned gate is nan"),
        ({"steps": 0}, "in 0 steps"),
    ):
        with pytest.raises(InputError, match=said):
            Learning(**wrong)
    with pytest.raises(InputError, match="0 steps from 3 starts"):
        Gating(steps=0)
    with pytest.raises(InputError, match="causal head gating has pull nan and rate 1.0; both must be finite"):
        Gating(pull=float("nan"))
    with pytest.raises(InputError, match="pull 0.1 and rate 0; both must be finite"):
        Gating(rate=0)


def test_roles_by_hand() -> None:
    kept, held = np.array([[[0.9, 0.9, 0.1, 0.2]]]), np.array([[[0.8, 0.1, 0.1, 0.9]]])
    roles = HeadRoles(kept, held)
    assert roles.heads("facilitating").tolist() == [[True, False, False, False]]
    assert roles.heads("irrelevant").tolist() == [[False, True, False, False]]
    assert roles.heads("interfering").tolist() == [[False, False, True, True]]
    with pytest.raises(InputError, match="the role 'useful'"):
        roles.heads("useful")
    assert np.isnan(roles.agreement("facilitating"))
    both = HeadRoles(np.concatenate([kept, [[[0.9, 0.9, 0.9, 0.2]]]]), np.concatenate([held, [[[0.8, 0.8, 0.8, 0.9]]]]))
    assert both.agreement("facilitating") == pytest.approx(1 / 3)
    assert both.agreement("interfering") == pytest.approx(1 / 2)


def test_the_pull_is_the_published_penalty_and_reaches_every_logit() -> None:
    """-lambda times the mean of logits clamped to 4, as autograd has it inside; none gets beyond."""
    begin = torch.tensor([[-4.0, -1.0, 3.9], [0.0, 3.5, 2.0]])
    numbers = _Drawn(begin, 0.1, 1.0)
    numbers.regularise()
    logits = begin.clone().requires_grad_()
    (-0.1 * logits.clamp(-4, 4).mean()).backward()
    torch.testing.assert_close(numbers.logits.grad, logits.grad)
    optimizer = numbers.optimizer()
    optimizer.step()
    numbers.settle(optimizer)
    torch.testing.assert_close(numbers.logits.detach(), (begin + 1).clamp(max=4))
    assert _Drawn(begin - 9, 0.1, 1.0).logits.min() == -4


def test_gates_go_where_they_are_drawn(exact: Any) -> None:
    drawn = head_roles(exact, EXAMPLES, gating=Gating(steps=12, pull=1e4, starts=2))
    assert (drawn.kept > 0.95).all() and (drawn.held < 0.05).all()
    assert drawn.heads("irrelevant").all() and drawn.agreement("irrelevant") == 1
    one, again = (head_roles(exact, EXAMPLES, gating=Gating(steps=2, starts=2)) for _ in range(2))
    assert np.array_equal(one.held, again.held) and not np.array_equal(one.held[0], one.held[1])


@pytest.mark.zoo
def test_sparse_gates_of_the_zoo_raise_the_margin_with_few_heads(zoo: Any) -> None:
    model, examples = zoo("llama-memory"), load_examples("zoo:conflict/validation", limit=64)
    rows = AnswerRows.margins(model, examples, "plain")
    before = rows.under(torch.ones(6, 8), Budget(10_000)).mean()
    for learning in (Learning(norm="l1", steps=25), Learning("sigmoid", "l0", steps=25)):
        values = 1 + learned_gate(model, examples, learning=learning).values
        assert (values == 1).sum() > 16
        assert rows.under(torch.from_numpy(values).float(), Budget(10_000)).mean() > before + 0.5
