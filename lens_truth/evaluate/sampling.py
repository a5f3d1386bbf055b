"""Several answers of a model to each question, sampled; each from random numbers of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from lens_truth.data.examples import Example
from lens_truth.decoding.greedy import Finite, end_tokens, greedy
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import MATCHES, Answer, first_line
from lens_truth.evaluate.asker import questions_of
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.generate import Questions
from lens_truth.io.files import hash_of
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.prefixes import Family
from lens_truth.models.prompts import PromptTokens, Template
from lens_truth.models.sharing import Begun, Sharing, shared_families

_ROWS = 128
"""At once on a CPU, unless more are asked for."""


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled. The default is that of H-Neurons' consistency filter (arXiv 2512.01797).

    >>> lens_truth.Sampling(n=4, temperature=0.7)
    """

    n: int = 10
    """Answers to each question."""
    temperature: float = 1.0
    top_p: float = 0.9
    """Of the tokens that `top_k` leaves, the likeliest whose probabilities sum to this."""
    top_k: int = 50
    """So many likeliest tokens; 0 for all."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"{self.n} sampled answers were asked for; it must be at least 1")
        if not 0 < self.temperature < math.inf:
            raise InputError(
                f"the temperature is {self.temperature}; samples need a finite one above 0 (at 0 all answers would be "
                "the same)"
            )
        if not 0 < self.top_p <= 1 or self.top_k < 0:
            raise InputError(
                f"top-p is {self.top_p} and top-k {self.top_k}; top-p lies above 0 and is at most 1, top-k is a number "
                "of tokens, or 0 for all"
            )


@dataclass(frozen=True)
class SampledAnswers:
    """Q questions and n answers to each.

    >>> sampled = lens_truth.sampled_answers(model, lens_truth.load_examples("facts:closed-book/test", limit=100))
    >>> sampled.right().mean(1)  # the share of right ones, a question
    >>> lens_truth.SampledAnswers(sampled.questions[:5], sampled.prompts[:5], sampled.answers[:5]).n_tokens
    """

    questions: tuple[Example, ...]
    """Each once, with its right answer and that one's aliases."""
    prompts: tuple[PromptTokens, ...]
    """What the model was shown."""
    answers: tuple[tuple[Answer, ...], ...]
    """To each question; their margins are the log-probabilities of their tokens, at temperature 1 and among all
    tokens."""

    @cached_property
    def n_tokens(self) -> Int[np.ndarray, "Q n"]:
        """Tokens of each answer, without the one that ends it."""
        return np.array([[len(answer.tokens) for answer in its] for its in self.answers])

    @cached_property
    def log_probs(self) -> Float[np.ndarray, "Q n"]:
        """Log-probability of each answer's tokens, in nats."""
        return np.array([[answer.margin for answer in its] for its in self.answers], dtype=float)

    def right(self, match: str = "contains") -> Bool[np.ndarray, "Q n"]:
        """Whether each answer is the right one or one of its aliases, as benchmarks read open answers: its first line
        is (`strict`), or it has it in it (`contains`)."""
        rule = MATCHES[match]
        pairs = zip(self.questions, self.answers, strict=True)
        return np.array(
            [[any(rule(its.text, gold) for gold in (q.answer, *q.aliases)) for its in answers] for q, answers in pairs]
        )


@stage("sampling")
def sampled_answers(
    model: Hooked,
    examples: Sequence[Example],
    sampling: Sampling | None = None,
    *,
    template: Template = "plain",
    n_new: int | None = None,
    batch_size: int | None = None,
    log: AnswerLog | None = None,
    progress: bool = False,
) -> SampledAnswers:
    """Answers to every question that has a supported one, sampled by Hugging Face's `generate`.

    Each answer is drawn from a stream of its own, made of the seed, of what the model is shown and of the answer's
    number: one uniform number a token, which falls on one of the tokens that are left, in the order of the vocabulary.
    So an answer does not depend on what else is asked, on how many answers are asked for, or on the batch; only where
    rounding in another batch moves a probability across that very number (one token in a million) is it another one.
    What a log holds is taken from it.

    Under the plain template an answer is its first line, and ends there; under a chat template the whole turn. What
    questions share, and the prompt of all answers to one, goes through the model once. A gate is one that is attached.

    >>> sampled = lens_truth.sampled_answers(model, examples, lens_truth.Sampling(n=5), template="chat")

    Args:
        n_new: the most tokens of an answer; by default 16 more than the longest right one.
        batch_size: rows of up to 64 tokens in one forward pass; by default what fits.
        log: what it holds is not sampled again; each new answer is added at once.

    Raises:
        InputError: if no example is supported, or a prompt does not fit the context with its answer.
    """
    if n_new is not None and n_new < 1:
        raise InputError(f"the number of new tokens is {n_new}; it must be at least 1")
    sampling = sampling or Sampling()
    benchmark = benchmark_of("sampled", "answer", examples, n_new=n_new)
    asked = questions_of(model, benchmark, template)
    places = [(question, number) for question in range(len(asked.rows)) for number in range(sampling.n)]
    answers = dict[tuple[int, int], Answer]()
    keys = dict[tuple[int, int], str]()
    if log is not None:
        how = f"{sampling.temperature} {sampling.top_p} {sampling.top_k} {sampling.seed} {template}"
        contents = [f"{asked.rows[question].content} sample {number} {how}" for question, number in places]
        keys = dict(zip(places, log.keys(None, contents, asked.n_new, margins=True), strict=True))
        answers |= {place: known for place, key in keys.items() if (known := log.get(key)) is not None}
    budget = Budget.of(model, batch_size, rows=_ROWS)
    drawn = _drawn(model, asked, sampling, places, frozenset(answers), budget, line=template == "plain")
    with bar(None, "sampling", len(places) - len(answers), shown=progress) as done:
        for place, answer in drawn:
            if place not in answers:
                if log is not None:
                    id, name = benchmark.examples[place[0]].id, f"sample {place[1]}"
                    answer = log.add(keys[place], benchmark.name, id, name, answer)
                answers[place] = answer
                done.update()
    by_question = [
        tuple(answers[question, number] for number in range(sampling.n)) for question in range(len(asked.rows))
    ]
    return SampledAnswers(benchmark.examples, tuple(asked.rows), tuple(by_question))


def _drawn(
    model: Any,
    asked: Questions,
    sampling: Sampling,
    places: Sequence[tuple[int, int]],
    known: frozenset[tuple[int, int]],
    budget: Budget,
    *,
    line: bool,
) -> Iterator[tuple[tuple[int, int], Answer]]:
    """The answers, as soon as a batch is done. Of batches of which every answer is known none is made; the others are
    as if nothing were."""
    inner_model(model)  # which writes
    rows, n_new = [asked.rows[question].prompt for question, _ in places], asked.n_new
    lengths = [len(row.ids) + n_new for row in rows]
    families = shared_families(model, rows, lengths, alone=True)
    sharing = Sharing(model, rows, rooms=[n_new])

    def answers_of(some: Sequence[Family]) -> list[tuple[tuple[int, int], Answer]]:
        made = list[tuple[tuple[int, int], Answer]]()
        if known.issuperset(places[row] for family in some for row in family.rows):
            return made
        at_once = budget.rows(max(lengths[row] for family in some for row in family.rows), model.cfg.d_vocab)
        for batch in sharing.batches(some, [""], at_once):
            here = [places[row] for _, row in batch.at]
            if not known.issuperset(here):
                numbers = [_uniform(sampling.seed, rows[row].content, places[row][1], n_new) for _, row in batch.at]
                made += zip(here, _written(model, batch, sampling, np.stack(numbers), line), strict=True)
        return made

    def cost(family: Family, before: Family | None) -> int:
        return max(lengths[row] for row in family.rows)

    families.sort(key=lambda family: -cost(family, None))
    with torch.no_grad():
        for _, made in within_budget(families, cost, budget, answers_of):
            yield from made


def _uniform(seed: int, content: str, number: int, n: int) -> Float[np.ndarray, " n"]:
    """One random number a token."""
    return stream(seed, Stream.SAMPLES, int(hash_of(content), 16), number).random(n)


def _written(
    model: Any, batch: Begun, sampling: Sampling, numbers: Float[np.ndarray, "B n"], line: bool
) -> list[Answer]:
    hf, tokenizer, begun = inner_model(model), tokenizer_of(model), batch.ids.shape[1]
    finite = Finite(partial(check_finite, model=model, ids=batch.ids, mask=batch.mask, rows=batch.rows))
    drawing = Drawing(sampling, torch.from_numpy(numbers))
    ends = StoppingCriteriaList([_LineEnd(tokenizer, begun)] if line else [])
    with greedy(model):
        more = {**batch.more, "attention_mask": batch.mask, "max_new_tokens": numbers.shape[1]}
        processors = LogitsProcessorList([finite, drawing])
        output = hf.generate(batch.ids, logits_processor=processors, stopping_criteria=ends, **more)
    log_probs = torch.stack(drawing.log_probs, dim=1).cpu()
    stops = end_tokens(model)
    found: list[Answer] = []
    for row, tokens in enumerate(output[:, begun:].cpu().tolist()):
        stop = next((place for place, token in enumerate(tokens) if token in stops), len(tokens))
        text, kept = _answer(tokenizer, tokens[:stop], line)
        found.append(Answer(text, float(log_probs[row, : len(kept)].double().sum()), tuple(kept)))
    return found


def _answer(tokenizer: Any, tokens: list[int], line: bool) -> tuple[str, list[int]]:
    """What was said, and the tokens that say it: all, or those up to the end of the first line that is not empty."""
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    if not line:
        return text, tokens
    said = first_line(text)
    beginnings = tokenizer.batch_decode([tokens[: n + 1] for n in range(len(tokens))], skip_special_tokens=True)
    needed = next((n + 1 for n, begun in enumerate(beginnings) if said in begun), 0) if said else 0
    return said, tokens[:needed]


class Drawing(LogitsProcessor):
    """Leaves to each row of logits one token: the one on which the row's number of this step falls, when the tokens
    that temperature, top-k and top-p leave lie side by side in the order of the vocabulary, each as wide as it is
    likely. Ranked by probability instead, two tokens that rounding exchanges would be exchanged in the answer too."""

    def __init__(self, sampling: Sampling, numbers: Float[Tensor, "B n"]) -> None:
        self._sampling, self._numbers = sampling, numbers
        warpers = [TemperatureLogitsWarper(float(sampling.temperature))]
        self._warpers = LogitsProcessorList(
            [*warpers, *([TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else [])]
        )
        self.log_probs: list[Float[Tensor, " B"]] = []
        """Of the tokens that were drawn, step by step, as the model has them."""

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """One step: minus infinity for all tokens but the drawn ones."""
        raw, k = scores.float(), min(self._sampling.top_k or scores.shape[1], scores.shape[1])
        tokens = raw.topk(k).indices.sort(1).values
        left: Float[Tensor, "B k"] = self._warpers(cast("Any", input_ids), cast("Any", raw.gather(1, tokens)))
        exact = torch.float32 if scores.device.type == "mps" else torch.float64
        ends = left.softmax(1, dtype=exact).cumsum(1)
        at = self._numbers[:, len(self.log_probs), None].to(ends)
        chosen = torch.searchsorted(ends, at * ends[:, -1:], right=True).clamp(max=k - 1)
        token = tokens.gather(1, chosen)
        self.log_probs.append(raw.log_softmax(1).gather(1, token)[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


class _LineEnd(StoppingCriteria):
    """A row ends behind its first line that is not empty."""

    def __init__(self, tokenizer: Any, begun: int) -> None:
        self._tokenizer, self._begun = tokenizer, begun

    def __call__(self, input_ids: Int[Tensor, "B T"], scores: Any, **_: Any) -> Any:
        texts = self._tokenizer.batch_decode(input_ids[:, self._begun :], skip_special_tokens=True)
        return torch.tensor(["\n" in text.lstrip() for text in texts], device=input_ids.device)
