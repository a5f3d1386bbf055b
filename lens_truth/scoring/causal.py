"""Causal scores: which heads act, by the gradient of the answer margin with respect to the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.data.examples import Example, question_pairs
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.common_gain import relative_layers
from lens_truth.models.finite import check_finite, check_slopes
from lens_truth.models.gradients import check_gradients
from lens_truth.models.hooks import Hooked, constant_weights, gate_heads, grid_of
from lens_truth.models.image_input import images_for
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.prompts import QUESTION, Encoded, Template, Wording, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.models.sharing import Begun, Place, Sharing, shared_families
from lens_truth.scoring.scores import HeadScores
from lens_truth.scoring.surface import length_controls, length_record
from lens_truth.stats.bootstrap import bootstrap_interval

_PARTS = 5


@stage("causal scores")
def causal_scores(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> HeadScores:
    """d(margin) / d(gate) of every head at a gate of ones, averaged over questions.

    The margin is the log-probability of the supported answer minus that of the hallucinated one (means, if a question
    has several), each summed over all tokens after the prompt, in nats; the score says how much the margin would grow
    for each unit that is added to the head's gain, to first order. Answers to one question go on from its prompt, which
    goes through the model once; two backward passes give every head, for the margin and for its per-token control.
    Metrics: ci_low and ci_high, a 95% bootstrap interval over groups; folds: the scores of five parts of the
    groups.

    A sum over tokens weighs the longer answer more, so length alone can make a map. Beside the score stand the metrics
    `per_token` (the same of log-probabilities per token) and, if there are ten questions whose answers are about as
    long (below 1.25 times as many tokens), `matched` (the score over these); `provenance["surface"]` says how often the
    supported answer is the shorter one, how many times as many tokens the other has, and how both maps correlate with
    the score. `lens_truth.data.moved_answers` gives the control in which no answer is supported.

    Where a norm behind the projection undoes a gain that all heads of a layer share (`common_gain_acts`), the scores of
    the layer sum to about zero: they say which heads should be stronger relative to its others.
    `provenance["relative_layers"]` lists such layers.

    >>> causal = lens_truth.causal_scores(model, lens_truth.load_examples("zoo:conflict", limit=200))

    Raises:
        InputError: if no question has answers of both labels, or an answer is empty or would be cut off.
    """
    pairs, encoded, weight = margin_rows(model, examples, template)
    tokens = np.array([row.n_answer_tokens for row in encoded], dtype=float)
    questions, budget = rows_of_questions(pairs, encoded), Budget.of(model, batch_size, backward=True)
    of_rows = np.array([weight.get(row, 0.0) for row in range(len(encoded))])
    with bar(None, "causal scores", sum(its.tokens for its in questions), shown=progress) as done:
        slopes = _slopes(model, questions, encoded, np.stack([of_rows, of_rows / tokens]), budget, done)
    by_group: dict[str, tuple[np.ndarray, float]] = {}
    for (supported, _), slope in zip(pairs, slopes[0], strict=True):
        total, count = by_group.get(group := examples[supported[0]].group, (0.0, 0.0))
        by_group[group] = (total + slope, count + 1)
    totals, counts = (np.stack(parts) for parts in zip(*by_group.values(), strict=True))
    low, high = bootstrap_interval(totals, counts, n_bootstrap, stream(seed, Stream.CAUSAL_INTERVALS))
    parts = np.array_split(stream(seed, Stream.CAUSAL_PARTS).permutation(len(counts)), min(_PARTS, len(counts)))
    folds = np.stack([totals[part].sum(0) / counts[part].sum() for part in parts])
    provenance = {**provenance_of(model, examples, template), "n_examples": len(examples)}
    provenance |= {"n_questions": int(counts.sum()), "seed": seed, **relative_record(model)}
    values = totals.sum(0) / counts.sum()
    maps, agreement = length_controls(pairs, tokens, values, *slopes)
    provenance["surface"] = {**length_record(pairs, tokens), **agreement}
    return HeadScores(values, "causal", {"ci_low": low, "ci_high": high, **maps}, folds, provenance)


@dataclass(frozen=True)
class QuestionRows:
    """The rows of its answers, and how many tokens go through the model for them."""

    rows: list[int]
    tokens: int


def rows_of_questions(pairs: Sequence[tuple[list[int], list[int]]], encoded: Sequence[Encoded]) -> list[QuestionRows]:
    """Of every question; its answers are those of both sides of its pair."""
    rows = [supported + hallucinated for supported, hallucinated in pairs]
    shared = [max(encoded[row].continuation for row in its) for its in rows]
    return [
        QuestionRows(its, begun + sum(encoded[row].n_answer_tokens for row in its))
        for its, begun in zip(rows, shared, strict=True)
    ]


def _slopes(
    model: Hooked,
    questions: Sequence[QuestionRows],
    encoded: Sequence[Encoded],
    weights: Float[np.ndarray, "2 N"],
    budget: Budget,
    done: Any,
) -> Float[np.ndarray, "2 Q L H"]:
    """Of every question, two sums of its rows' log-probabilities, by their slopes with respect to each head's gate."""
    result = np.empty((2, len(questions), *grid_of(model)))
    # Where answers have as many tokens, the second sum is the first one divided by it.
    times = [weights[1, its.rows] / weights[0, its.rows] for its in questions]
    alike = [bool((its == its[0]).all()) for its in times]

    def slopes_of(some: Sequence[int]) -> tuple[Float[Tensor, "q L H"], ...]:
        rows = [row for question in some for row in questions[question].rows]
        owner = [i for i, question in enumerate(some) for _ in questions[question].rows]
        gate = torch.ones(len(some), *grid_of(model), requires_grad=True)

        def attach(places: Sequence[Place]) -> AbstractContextManager[Any]:
            return gate_heads(model, gate[[owner[row] for _, row in places]])

        with torch.enable_grad(), constant_weights(model):
            sets = [[at for at, its in enumerate(owner) if its == i] for i in range(len(some))]
            log_prob = answer_log_probs(model, [encoded[row] for row in rows], attach, sets)
        sums = [(log_prob * torch.from_numpy(its[rows]).to(log_prob)).sum() for its in weights]
        (slope,) = torch.autograd.grad(sums[0], gate, retain_graph=not alike[some[0]])
        check_slopes(slope, model, [encoded[questions[question].rows[0]] for question in some])
        if alike[some[0]]:
            factor = torch.tensor([times[question][0] for question in some])
            return slope, slope * factor[:, None, None]
        return slope, *torch.autograd.grad(sums[1], gate)

    for kind in (False, True):
        order = sorted((i for i, its in enumerate(alike) if its is kind), key=lambda i: -questions[i].tokens)
        for some, slopes in within_budget(order, lambda question, _: questions[question].tokens, budget, slopes_of):
            result[:, list(some)] = torch.stack(slopes).double().numpy()
            done.update(sum(questions[question].tokens for question in some))
    return result


_Attach = Callable[[Sequence[Place]], AbstractContextManager[Any]]


def answer_log_probs(
    model: Hooked, encoded: Sequence[Encoded], attach: _Attach | None = None, sets: Sequence[Sequence[int]] = ()
) -> Float[Tensor, " B"]:
    """Log-probability of each answer after its prompt, summed over its tokens; differentiable. What prompts have in
    common goes through the model once, but for rows of different `sets`; `attach` is opened around each pass, for the
    rows in it."""
    prompts, rows = [row.prompt for row in encoded], [row.shown for row in encoded]
    attach = attach or (lambda _: nullcontext())
    families = shared_families(model, prompts, [len(row.ids) for row in rows], sets)
    parts, order = list[Tensor](), list[int]()
    for batch in Sharing(model, rows, attach).batches(families, [""], len(rows)):
        with attach(batch.at):
            parts.append(batch_log_probs(model, batch, [encoded[row] for _, row in batch.at]))
        order += [row for _, row in batch.at]
    back = torch.tensor(sorted(range(len(order)), key=order.__getitem__))
    return torch.cat(parts)[back.to(parts[0].device)]


def batch_log_probs(model: Hooked, batch: Begun, encoded: Sequence[Encoded]) -> Float[Tensor, " B"]:
    """The same of one batch, each row of which holds the answer of `encoded`."""
    places = [(i, p + shift) for i, (e, shift) in enumerate(zip(encoded, batch.shift, strict=True)) for p in _span(e)]
    row, position = (torch.tensor(its) for its in zip(*places, strict=True))
    of_tokens = token_log_probs(model, batch.rest, batch.mask, row, position, batch.given)
    log_probs = of_tokens.new_zeros(len(encoded)).index_add(0, row.to(of_tokens.device), of_tokens)
    check_finite(log_probs, model, batch.ids, batch.mask, batch.rows)
    return log_probs


def _span(e: Encoded) -> range:
    return range(e.continuation, e.answer[1])


def encode_answers(
    model: Hooked, examples: Sequence[Example], template: Template, wording: Wording = QUESTION
) -> list[Encoded]:
    """Prompts with their answers, whose log-probabilities are wanted."""
    encoded = encode(tokenizer_of(model), examples, template, images_for(model, examples), wording)
    check_lengths([len(e.ids) for e in encoded], [e.id for e in examples], model)
    first = next((example.id for example, e in zip(examples, encoded, strict=True) if e.continuation == 0), None)
    if first is not None:
        raise InputError(f"nothing stands before the answer of example '{first}', so it has no log-probability")
    return encoded


def relative_record(model: Hooked) -> dict[str, list[int]]:
    """For the provenance: the layers in which only relative gains act, if there are such."""
    layers = relative_layers(model)
    return {"relative_layers": layers} if layers else {}


def margin_rows(
    model: Hooked, examples: Sequence[Example], template: Template
) -> tuple[list[tuple[list[int], list[int]]], list[Encoded], dict[int, float]]:
    """Pairs, all rows encoded, and the weight with which each row of a pair enters its question's margin."""
    check_gradients(model)
    weight: dict[int, float] = {}
    pairs = question_pairs(examples)
    for supported, hallucinated in pairs:
        weight |= dict.fromkeys(supported, 1 / len(supported))
        weight |= dict.fromkeys(hallucinated, -1 / len(hallucinated))
    return pairs, encode_answers(model, examples, template), weight
