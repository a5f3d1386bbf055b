"""What a way to decode is shown of a benchmark, as prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.rules import Rule
from lens_truth.evaluate.asker import Asker, questions_of
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of

if TYPE_CHECKING:
    from lens_truth.evaluate.benchmark import Benchmark

Shown = tuple[list[PromptTokens], list[PromptTokens | None]]
"""The prompts of both passes."""


def shown_prompts(asker: Asker, benchmark: Benchmark, decoder: Decoder | Rule) -> Shown:
    """What is shown of every example, and what a second pass is shown, where that is something else."""
    model = asker.model
    wording = decoder.worded(benchmark.wording) if isinstance(decoder, Decoder) else benchmark.wording
    written = replace(benchmark, wording=wording, n_new=benchmark.n_new or 1)
    prompts = list(questions_of(model, written, asker.template).rows)
    others: list[PromptTokens | None] = []
    for example in map(decoder.other, benchmark.examples):
        if example is None:
            others.append(None)
            continue
        images, tokenizer = images_for(model, [example]), tokenizer_of(model)
        others += encode_prompts(tokenizer, [prompt_of(tokenizer, example, asker.template, wording, images)], images)
    return prompts, others


def rule_values(asker: Asker, benchmarks: Sequence[Benchmark], rule: Rule, rows: int) -> Float[Tensor, " N"]:
    """What a rule goes by at the ends of the first so many prompts of each benchmark."""
    some = [replace(benchmark, examples=benchmark.examples[:rows]) for benchmark in benchmarks]
    return torch.cat([_in_batches(asker, shown_prompts(asker, its, rule), rule.values) for its in some])


def factors_on(asker: Asker, benchmark: Benchmark, gate: DynamicGate) -> Float[Tensor, " N"]:
    """By how much of itself a dynamic gate acts at the end of every prompt."""
    return _in_batches(asker, shown_prompts(asker, benchmark, gate), gate.factors).float()


def _in_batches(
    asker: Asker, shown: Shown, values: Callable[[Hooked, list[PromptTokens], list[PromptTokens | None]], Tensor]
) -> Float[Tensor, " N"]:
    """In the order of the prompts."""
    prompts, others = shown
    lengths = [max(len(row.ids), len(other.ids) if other else 0) for row, other in zip(prompts, others, strict=True)]
    longest_first = sorted(range(len(prompts)), key=lambda row: -lengths[row])
    budget = Budget.of(asker.model, asker.batch_size, rows=16)

    def of_rows(some: Sequence[int]) -> Tensor:
        return values(asker.model, [prompts[row] for row in some], [others[row] for row in some])

    made = within_budget(longest_first, lambda row, _: lengths[row], budget, of_rows)
    found = torch.cat([its for _, its in made])
    return found[torch.tensor(longest_first, device=found.device).argsort()]
