"""Causal scores: which heads act, by the gradient of the answer margin with respect to the gate; and learned gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from lens_truth.data.examples import Example, question_pairs
from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream
from lens_truth.models.batches import check_lengths, length_batches, pad_rows, tokenizer_of
from lens_truth.models.common_gain import relative_layers
from lens_truth.models.finite import check_finite, check_slopes
from lens_truth.models.gradients import check_gradients
from lens_truth.models.hooks import Hooked, constant_weights, gate_heads, grid_of
from lens_truth.models.image_input import images_for
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.scoring.scores import HeadScores
from lens_truth.scoring.surface import length_controls, length_record
from lens_truth.stats.bootstrap import bootstrap_interval

_PARTS = 5
_TOKENS = 32
"""Of a row, half as many as elsewhere: a backward pass needs what every layer computed."""
_LEARNING_RATE = 0.05


def causal_scores(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int = 32,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> HeadScores:
    """d(margin) / d(gate) of every head at a gate of ones, averaged over questions.

    The margin is the log-probability of the supported answer minus that of the hallucinated one (means, if a question
    has several), each summed over all tokens after the prompt, in nats; the score says how much the margin would grow
    for each unit that is added to the head's gain, to first order. One backward pass per batch gives every head, for
    every row. Metrics: ci_low and ci_high, a 95% bootstrap interval over groups; folds: the scores of five parts of the
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
    pairs, encoded, weight = _margin_rows(model, examples, template)
    gradient = np.zeros((len(examples), *grid_of(model)))
    rows_used = sorted(weight)
    batches = length_batches([len(encoded[row].ids) for row in rows_used], batch_size, _TOKENS)
    for batch in tqdm(batches, desc="causal scores", disable=not progress, leave=False):
        rows = [rows_used[i] for i in batch]
        gate = torch.ones(len(rows), *grid_of(model), requires_grad=True)
        with torch.enable_grad(), constant_weights(model), gate_heads(model, gate):
            log_prob = answer_log_probs(model, [encoded[row] for row in rows])
        (slope,) = torch.autograd.grad(log_prob.sum(), gate)
        check_slopes(slope, model, [encoded[row] for row in rows])
        gradient[rows] = slope.double().numpy() * np.array([weight[row] for row in rows])[:, None, None]

    tokens = np.array([row.n_answer_tokens for row in encoded], dtype=float)
    by_group: dict[str, tuple[np.ndarray, float]] = {}
    for supported, hallucinated in pairs:
        total, count = by_group.get(group := examples[supported[0]].group, (0.0, 0.0))
        by_group[group] = (total + gradient[supported + hallucinated].sum(0), count + 1)
    totals, counts = (np.stack(parts) for parts in zip(*by_group.values(), strict=True))
    low, high = bootstrap_interval(totals, counts, n_bootstrap, stream(seed, Stream.CAUSAL_INTERVALS))
    parts = np.array_split(stream(seed, Stream.CAUSAL_PARTS).permutation(len(counts)), min(_PARTS, len(counts)))
    folds = np.stack([totals[part].sum(0) / counts[part].sum() for part in parts])
    provenance = {**provenance_of(model, examples, template), "n_examples": len(examples)}
    provenance |= {"n_questions": int(counts.sum()), "seed": seed, **_relative(model)}
    values = totals.sum(0) / counts.sum()
    maps, agreement = length_controls(pairs, tokens, values, gradient)
    provenance["surface"] = {**length_record(pairs, tokens), **agreement}
    return HeadScores(values, "causal", {"ci_low": low, "ci_high": high, **maps}, folds, provenance)


def learned_gate(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    penalty: float = 1.0,
    steps: int = 60,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> HeadScores:
    """The gate itself fitted by Adam on a few examples: score g - 1, to be used as `HeadGate.from_scores(scores, 1,
    norm="none")`.

    The loss is the mean over questions of log(1 + exp(-margin)), plus `penalty` times the mean over heads of
    (g - 1)^2. Fit it on validation rows, never on the rows that judge it. Errors are those of `causal_scores`.

    >>> learned = lens_truth.learned_gate(model, lens_truth.load_examples("zoo:conflict", limit=100))
    >>> gate = lens_truth.HeadGate.from_scores(learned, 1, norm="none")
    """
    pairs, encoded, weight = _margin_rows(model, examples, template)
    gate = torch.ones(*grid_of(model), requires_grad=True)
    optimizer = torch.optim.Adam([gate], lr=_LEARNING_RATE)
    rng = stream(seed, Stream.GATE_STEPS)
    questions_at_once = max(1, batch_size // 2)
    rows_of = [supported + hallucinated for supported, hallucinated in pairs]
    queue: list[int] = []
    for _ in tqdm(range(steps), desc="learned gate", disable=not progress, leave=False):
        if len(queue) < questions_at_once:
            queue += rng.permutation(len(pairs)).tolist()
        chosen, queue = queue[:questions_at_once], queue[questions_at_once:]
        gate.grad = 2 * penalty * (gate.detach() - 1) / gate.numel()
        lengths = [sum(len(encoded[row].ids) for row in rows_of[question]) for question in chosen]
        for some in length_batches(lengths, batch_size, _TOKENS):
            rows = [row for i in some for row in rows_of[chosen[i]]]
            owner = [i for i, question in enumerate(some) for _ in rows_of[chosen[question]]]
            with torch.enable_grad(), constant_weights(model), gate_heads(model, gate):
                log_prob = answer_log_probs(model, [encoded[row] for row in rows])
            weights = torch.tensor([weight[row] for row in rows]).to(log_prob)
            owners = torch.tensor(owner, device=log_prob.device)
            margin = log_prob.new_zeros(len(some)).index_add(0, owners, log_prob * weights)
            loss = torch.nn.functional.softplus(-margin).sum() / len(chosen)
            (slope,) = torch.autograd.grad(loss, gate)
            check_slopes(slope.expand(len(rows), -1, -1), model, [encoded[row] for row in rows])
            gate.grad += slope
        optimizer.step()
    provenance = {**provenance_of(model, examples, template), "n_examples": len(examples), "penalty": penalty}
    provenance |= {"steps": steps, "learning_rate": _LEARNING_RATE, "seed": seed, **_relative(model)}
    tokens = np.array([row.n_answer_tokens for row in encoded], dtype=float)
    provenance["surface"] = length_record(pairs, tokens)
    return HeadScores((gate.detach() - 1).double().numpy(), "learned", provenance=provenance)


def answer_log_probs(model: Hooked, encoded: Sequence[Encoded]) -> Float[Tensor, " B"]:
    """Log-probability of each answer after its prompt, summed over its tokens; differentiable."""
    ids, mask = pad_rows([row.ids for row in encoded], model)
    spans = [range(e.continuation, e.answer[1]) for e in encoded]
    row = torch.tensor([i for i, span in enumerate(spans) for _ in span])
    position = torch.tensor([p for span in spans for p in span])
    of_tokens = token_log_probs(model, ids, mask, row, position, [e.image for e in encoded])
    log_probs = of_tokens.new_zeros(len(encoded)).index_add(0, row.to(of_tokens.device), of_tokens)
    check_finite(log_probs, model, ids, mask, encoded)
    return log_probs


def encode_answers(model: Hooked, examples: Sequence[Example], template: Template) -> list[Encoded]:
    """Prompts with their answers, whose log-probabilities are wanted."""
    encoded = encode(tokenizer_of(model), examples, template, images_for(model, examples))
    check_lengths([len(e.ids) for e in encoded], [e.id for e in examples], model)
    first = next((example.id for example, e in zip(examples, encoded, strict=True) if e.continuation == 0), None)
    if first is not None:
        raise InputError(f"nothing stands before the answer of example '{first}', so it has no log-probability")
    return encoded


def _relative(model: Hooked) -> dict[str, list[int]]:
    layers = relative_layers(model)
    return {"relative_layers": layers} if layers else {}


def _margin_rows(
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
