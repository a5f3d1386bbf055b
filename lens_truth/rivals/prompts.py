"""What a way to decode is shown of a benchmark, as prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of

if TYPE_CHECKING:
    from lens_truth.evaluate.benchmark import Benchmark

Shown = tuple[list[PromptTokens], list[PromptTokens | None]]
"""The prompts of both passes."""
_AT_ONCE = 16


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
    found = [
        rule.values(asker.model, prompts, others)
        for benchmark in some
        for prompts, others in _batches(shown_prompts(asker, benchmark, rule))
    ]
    return torch.cat(found)


def factors_on(asker: Asker, benchmark: Benchmark, gate: DynamicGate) -> Float[Tensor, " N"]:
    """By how much of itself a dynamic gate acts at the end of every prompt."""
    shown = shown_prompts(asker, benchmark, gate)
    return torch.cat([gate.factors(asker.model, prompts, others) for prompts, others in _batches(shown)]).float()


def _batches(shown: Shown) -> Iterator[Shown]:
    prompts, others = shown
    for start in range(0, len(prompts), _AT_ONCE):
        yield prompts[start : start + _AT_ONCE], others[start : start + _AT_ONCE]
