"""A benchmark is questions with known answers; running one lets the model write, and marks what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from lens_truth.datasets import zoo
from lens_truth.datasets.world import Split
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import first_line, normalized, token_f1, yes_or_no
from lens_truth.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.models.batches import check_lengths, length_batches, pad_id, pad_rows, tokenizer_of
from lens_truth.models.prompts import Template, encode_prompts, judge_prompt, question_prompt

_GREEDY: dict[str, Any] = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
"""Whatever a checkpoint's own generation config says: a penalty on repetition falls on the words of the context."""

Mode = Literal["answer", "yes-no", "judge"]


@dataclass(frozen=True)
class Benchmark:
    """Questions of one kind."""

    name: str
    mode: Mode
    """`answer`: the answer must equal the supported one; `yes-no`: the same, and the answer is yes or no; `judge`:
    the model is shown an answer and says whether it is hallucinated (yes) or not (no)."""
    examples: tuple[Example, ...]
    """Supported examples only, except for `judge`, which shows answers of both labels."""


@dataclass(frozen=True)
class Outcome:
    """What came out of one benchmark."""

    correct: Float[np.ndarray, " N"]
    """1 where the answer is right (an answer that cannot be parsed is wrong)."""
    groups: tuple[str, ...]
    f1: float
    """Of the answer yes; for open answers SQuAD's mean F1 of words."""
    yes_ratio: float | None
    """Share of yes among all answers; None for open answers."""
    unparsed: float
    """Share of answers that are neither yes nor no (open answers: that are empty)."""
    answers: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def benchmark_of(name: str, mode: Mode, examples: Sequence[Example]) -> Benchmark:
    """A benchmark from labelled examples; unless it is to be judged, a question is asked once for its supported answer.

    Raises:
        InputError: if no example is left.
    """
    kept = tuple(e for e in examples if mode == "judge" or e.label == SUPPORTED)
    if not kept:
        raise InputError(f"benchmark '{name}' has no supported example")
    return Benchmark(name, mode, kept)


def zoo_benchmarks(split: Split, n: int, seed: int) -> list[Benchmark]:
    """The zoo's five benchmarks, `n` questions each from scenes of `split`; closed-book recall has 16 in all."""
    return [
        benchmark_of("conflict", "answer", zoo.conflict_examples(split, 2 * n, seed)),
        benchmark_of("open", "answer", zoo.text_examples(split, 2 * n, seed)),
        benchmark_of("judgement", "judge", zoo.text_examples(split, n, seed)),
        benchmark_of("presence", "yes-no", zoo.presence_examples(split, 2 * n, seed)),
        benchmark_of("closed-book", "answer", zoo.closed_book_examples()),
    ]


def run_benchmark(model: Any, benchmark: Benchmark, template: Template, *, batch_size: int = 256) -> Outcome:
    """The model's answers by greedy generation with its KV cache, marked.

    Open the context of `gate.attach(model)` around it to evaluate a gate.

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    tokenizer = tokenizer_of(model)
    judge = benchmark.mode == "judge"
    write = judge_prompt if judge else question_prompt
    prompts = encode_prompts(tokenizer, [write(tokenizer, example, template) for example in benchmark.examples])
    gold = [_yes_if(e.label == HALLUCINATED) if judge else e.answer for e in benchmark.examples]
    # One token more than the longest right answer shows whether the model stops there.
    n_new = 1 + max(
        len(ids) for ids in tokenizer([f" {answer}" for answer in gold], add_special_tokens=False)["input_ids"]
    )
    check_lengths([len(ids) + n_new for ids in prompts], [e.id for e in benchmark.examples], model)
    said = generate(model, prompts, n_new, batch_size)

    groups = tuple(example.group for example in benchmark.examples)
    if benchmark.mode == "answer":
        lines = [first_line(text) for text in said]
        correct = np.array([normalized(s) == normalized(g) for s, g in zip(lines, gold, strict=True)], dtype=float)
        f1 = float(np.mean([token_f1(s, g) for s, g in zip(lines, gold, strict=True)]))
        return Outcome(correct, groups, f1, None, float(np.mean([not line for line in lines])), tuple(lines))
    parsed = [yes_or_no(text) for text in said]
    wanted = [yes_or_no(answer) for answer in gold]
    if None in wanted:
        raise InputError(f"benchmark '{benchmark.name}' has the answer '{gold[wanted.index(None)]}', not yes or no")
    correct = np.array([p == g for p, g in zip(parsed, wanted, strict=True)], dtype=float)
    hits = sum(p == g == "yes" for p, g in zip(parsed, wanted, strict=True))
    f1 = 2 * hits / max(1, parsed.count("yes") + wanted.count("yes"))
    unparsed, yes_ratio = parsed.count(None) / len(parsed), parsed.count("yes") / len(parsed)
    return Outcome(correct, groups, f1, yes_ratio, unparsed, tuple(first_line(text) for text in said))


def generate(model: Any, prompts: Sequence[Sequence[int]], n_new: int, batch_size: int) -> list[str]:
    """Greedy continuations by Hugging Face's own `generate`, left-padded, in the order of the prompts."""
    tokenizer, hf = tokenizer_of(model), model.original_model
    texts = [""] * len(prompts)
    for rows in length_batches([len(ids) for ids in prompts], batch_size):
        ids, mask = pad_rows([prompts[row] for row in rows], model, side="left")
        with torch.no_grad():
            output = hf.generate(ids, attention_mask=mask, max_new_tokens=n_new, pad_token_id=pad_id(model), **_GREEDY)
        for row, text in zip(
            rows, tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True), strict=True
        ):
            texts[row] = text
    return texts


def _yes_if(condition: bool) -> str:
    return "yes" if condition else "no"
