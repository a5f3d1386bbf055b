"""Numbers that are not finite end everything that reads a model, with the layer and the row in which they begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build

from lens_truth.ablation.side_effects import side_effects, zoo_text
from lens_truth.attention.measuring import evidence_attention
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.asker import Asker, choose
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.models.finite import check_slopes
from lens_truth.models.loading import load
from lens_truth.models.prompts import PromptTokens
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import causal_scores
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import Learning

EXAMPLES = load_examples("zoo:text", limit=8)
ON_BAD_WORDS: dict[str, Callable[[Any], Any]] = {
    "capture": lambda model: capture(model, EXAMPLES),
    "causal": lambda model: causal_scores(model, EXAMPLES),
    "learned": lambda model: learned_gate(model, EXAMPLES, learning=Learning(steps=1)),
    "evidence": lambda model: evidence_attention(model, EXAMPLES),
    "choose": lambda model: choose(Asker(model, "plain"), EXAMPLES),
    "judge": lambda model: Asker(model, "plain").run(benchmark_of("mine", "judge", EXAMPLES), margins=True),
    "side effects": lambda model: side_effects(model, {"vanilla": None}, zoo_text()),
    "answer": lambda model: Asker(model, "plain").ask(benchmark_of("mine", "answer", EXAMPLES)),
}


def poisoned(hidden: torch.Tensor, hook: Any) -> torch.Tensor:
    """As where half precision ends: one row of the batch, at one token."""
    hidden = hidden.clone()
    hidden[min(1, len(hidden) - 1), -1] = torch.inf
    return hidden


@pytest.mark.parametrize("name", ON_BAD_WORDS)
def test_the_first_layer_is_named(tiny: Any, name: str) -> None:
    said = r"the model's numbers of example '.+' are not finite from layer 1 on, in float32$"
    with tiny.hooks(fwd_hooks=[("blocks.1.attn.hook_z", poisoned)]), pytest.raises(InputError, match=said):
        ON_BAD_WORDS[name](tiny)


def test_slopes_name_the_layer_in_which_the_way_back_ends(tiny: Any) -> None:
    slopes = torch.zeros(2, 3, 4)
    check_slopes(slopes, tiny, [PromptTokens([1], id="a"), PromptTokens([1], id="b")])
    slopes[1, :2, 3] = torch.nan
    with pytest.raises(InputError, match="of example 'b' are not finite on the way back, from layer 1 on, in float32"):
        check_slopes(slopes, tiny, [PromptTokens([1], id="a"), PromptTokens([1], id="b")])


def test_half_precision_is_told_its_cure(tokenizer: Any) -> None:
    half = load(build("llama", len(tokenizer)).half(), tokenizer=tokenizer)
    said = r"in float16; it ends at 65,504, so use bfloat16 or float32 \(--dtype\)$"
    with half.hooks(fwd_hooks=[("blocks.1.attn.hook_z", poisoned)]), pytest.raises(InputError, match=said):
        capture(half, EXAMPLES)


@pytest.mark.parametrize("margin", [float("nan"), float("inf")])
def test_the_log_of_answers_holds_json(tiny: Any, tmp_path: Path, margin: float) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswerLog(path, tiny, "tiny", "weights") as log, pytest.raises(InputError, match="not a number"):
        log.add("key", "choose", "a", "vanilla", Answer("yes", margin))
    path.write_text('{"key": "k", "answer": "yes", "margin": NaN}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1: is not an answer"):
        AnswerLog(path, tiny, "tiny", "weights")
