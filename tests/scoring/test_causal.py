"""Causal scores: exact against finite differences, for one token and many; learned gates learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import build

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.hooks import gate_heads
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.page.heads import HeadMap, notes
from lens_truth.scoring.causal import answer_log_probs, causal_scores
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import Learning

EXAMPLES = [
    Example("0", "a", "What?", "coral", 1, "The coral heart is in the attic."),
    Example("1", "a", "What?", "a long answer", 0, "The coral heart is in the attic."),
    Example("2", "a", "What?", "lilac", 0, "The coral heart is in the attic."),
    Example("3", "b", "Which room holds the heart?", "attic", 1, "The heart is in the attic, they say."),
    Example("4", "b", "Which room holds the heart?", "vault", 0, "The heart is in the attic, they say."),
    Example("5", "c", "Alone?", "yes", 1, "No partner."),
]


@pytest.fixture(scope="module")
def exact(tokenizer: Any) -> Any:
    """In double precision, so that small differences are meaningful."""
    return load(build("qwen2", len(tokenizer)).double(), tokenizer=tokenizer)


def margin(model: Any, gate: torch.Tensor) -> float:
    """Mean over the two questions that have both labels, written out."""

    def log_prob(row: int) -> float:
        encoded = encode(model.tokenizer, [EXAMPLES[row]], "plain")[0]
        with torch.no_grad(), gate_heads(model, gate):
            log_probs = model(torch.tensor([encoded.ids]))[0].log_softmax(-1)
        return sum(float(log_probs[p - 1, encoded.ids[p]]) for p in range(*encoded.answer))

    first = log_prob(0) - (log_prob(1) + log_prob(2)) / 2
    return (first + log_prob(3) - log_prob(4)) / 2


@pytest.mark.parametrize("batch_size", [1, 32])
def test_gradient_equals_finite_differences(exact: Any, batch_size: int) -> None:
    scores = causal_scores(exact, EXAMPLES, batch_size=batch_size)
    step = 5e-3  # fourth order: Hugging Face's norms and rotations stay in single precision, so no smaller step will do
    for layer, head in np.ndindex(3, 4):

        def at(change: float, where: tuple[int, int] = (layer, head)) -> float:
            gate = torch.ones(3, 4, dtype=torch.float64)
            gate[where] += change
            return margin(exact, gate)

        slope = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        assert scores.values[layer, head] == pytest.approx(slope, rel=2e-3, abs=2e-4)
    assert (scores.kind, scores.provenance["n_questions"]) == ("causal", 2)
    assert np.abs(scores.values).max() > 0.01


def test_log_probs_in_a_batch_equal_those_alone(exact: Any) -> None:
    encoded = encode(exact.tokenizer, EXAMPLES, "plain")
    together = answer_log_probs(exact, encoded)
    alone = torch.cat([answer_log_probs(exact, [e]) for e in encoded])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_log_probs_are_those_of_all_that_follows_the_prompt(exact: Any) -> None:
    """Also of a space that is a token of its own (before a digit), which is part of what the model would write."""
    example = Example("x", "x", "How many?", "7", 1)
    encoded = encode(exact.tokenizer, [example], "plain")
    ids = exact.tokenizer("Question: How many?\nAnswer: 7")["input_ids"]
    n_prompt = len(exact.tokenizer("Question: How many?\nAnswer:")["input_ids"])
    assert len(ids) - n_prompt == 2
    log_probs = exact(torch.tensor([ids]))[0].log_softmax(-1)
    expected = sum(log_probs[p - 1, ids[p]] for p in range(n_prompt, len(ids)))
    torch.testing.assert_close(answer_log_probs(exact, encoded)[0], expected, rtol=1e-6, atol=1e-6)


def test_no_gradient_reaches_the_weights(exact: Any) -> None:
    causal_scores(exact, EXAMPLES)
    assert all(parameter.requires_grad for parameter in exact.parameters())
    assert all(parameter.grad is None for parameter in exact.parameters())


def test_interval_narrows_around_the_score(zoo: Any) -> None:
    few = causal_scores(zoo("llama-memory"), load_examples("zoo:conflict", limit=40))
    many = causal_scores(zoo("llama-memory"), load_examples("zoo:conflict", limit=240))
    for scores in (few, many):
        assert (scores.metrics["ci_low"] <= scores.values).all() and (scores.values <= scores.metrics["ci_high"]).all()

    def width(scores: Any) -> float:
        return float((scores.metrics["ci_high"] - scores.metrics["ci_low"]).mean())

    assert width(many) < 0.7 * width(few)


def test_learned_gate_raises_the_margin_and_the_penalty_holds_it(zoo: Any) -> None:
    model, examples = zoo("llama-memory"), load_examples("zoo:conflict/validation", limit=64)
    loose = learned_gate(model, examples, learning=Learning(penalty=0.01, steps=12))
    tight = learned_gate(model, examples, learning=Learning(penalty=100.0, steps=12))
    assert np.abs(tight.values).mean() < 0.5 * np.abs(loose.values).mean()
    encoded = encode(model.tokenizer, examples, "plain")
    sign = torch.tensor([1.0 if e.label else -1.0 for e in examples])

    def mean_margin(gate: HeadGate) -> float:
        with torch.no_grad(), gate.attach(model):
            return float((answer_log_probs(model, encoded) * sign).sum() * 2 / len(examples))

    learned = HeadGate.from_scores(loose, 1.0, "none")
    assert mean_margin(learned) > mean_margin(HeadGate(torch.ones(6, 8))) + 0.5
    one, again = (learned_gate(model, examples, learning=Learning(steps=2)) for _ in range(2))
    assert np.array_equal(one.values, again.values) and one.values.any()


def test_behind_a_norm_scores_are_relative(tokenizer: Any) -> None:
    torch.manual_seed(7)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
    }
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    gemma = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**shape, initializer_range=0.3)).eval()
    model = load(gemma, tokenizer=tokenizer)
    scores = causal_scores(model, EXAMPLES)
    assert scores.provenance["relative_layers"] == scores.relative_layers == [0, 1, 2]
    assert np.abs(scores.values.sum(1)).max() < 1e-4 * np.abs(scores.values).max()
    said = scores.relative_said
    assert said.startswith("In 3 layers (0-2) a norm stands behind the heads' projection: there causal scores")
    assert scores.tables()[0].note == said
    assert said in " ".join(text.get_text().replace("\n", " ") for text in scores.plot().texts)
    assert said.rstrip(".") in notes(HeadMap(scores, (("run", "causal scores of tiny"),)))
    assert scores.crop(1, 4).relative_layers == [0] and "In 1 layer (0)" in scores.crop(1, 4).relative_said
    assert learned_gate(model, EXAMPLES, learning=Learning(steps=1)).relative_layers == [0, 1, 2]


def test_without_such_a_norm_they_are_not(tiny: Any) -> None:
    scores = causal_scores(tiny, EXAMPLES)
    assert "relative_layers" not in scores.provenance and scores.relative_said == "" == scores.tables()[0].note
    assert np.abs(scores.values.sum(1)).max() > 0.01 * np.abs(scores.values).max()
    for wrong in (3, "01", {"0": 1}, [["0"], None]):  # as a file might say it
        assert replace(scores, provenance={"relative_layers": wrong}).relative_layers == []


def test_bad_examples(exact: Any) -> None:
    with pytest.raises(InputError, match="no question has both"):
        causal_scores(exact, EXAMPLES[3:4])
    with pytest.raises(InputError, match="longer than the model's context"):
        causal_scores(exact, [*EXAMPLES, Example("x", "x", "q", "y" * 300, 1)])
