"""Does a model find the supported answer more likely than the hallucinated one? Multiple choice without generation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from lens_truth.data.examples import Example, question_pairs
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.generate import Answer
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import length_batches
from lens_truth.models.prompts import Template
from lens_truth.scoring.causal import answer_log_probs, encode_answers


@dataclass(frozen=True)
class Choice:
    """The answers to one question, ranked."""

    group: str
    question: str
    margin: float
    """Log-probability of the likeliest supported answer minus that of the likeliest hallucinated one (nats)."""
    margin_per_token: float
    """The same with every answer's log-probability divided by its number of tokens: longer answers are less likely
    for no other reason than their length."""
    mass: float
    """Share of the supported answers in the probability of all answers (MC2 of TruthfulQA, Lin et al. 2022)."""


def choose(
    model: Any,
    examples: Sequence[Example],
    *,
    gate: HeadGate | None = None,
    template: Template = "plain",
    batch_size: int = 32,
    log: AnswerLog | None = None,
    progress: bool = False,
) -> list[Choice]:
    """Ranks the answers of every question that has answers of both labels.

    Args:
        gate: acts while the answers are read.
        log: the log-probabilities it holds (as margins) are not computed again; new ones are added to it.

    Raises:
        InputError: if no question has, or an answer is empty or would be cut off.
    """
    pairs = question_pairs(examples)
    encoded = encode_answers(model, examples, template)
    rows = sorted({row for pair in pairs for side in pair for row in side})
    log_prob = np.zeros(len(examples))
    keys = log.keys(gate, [f"{e.content} {e.continuation}" for e in encoded], 0, False) if log is not None else []
    if log is not None:
        for row in rows:
            if (known := log.get(keys[row])) is not None and known.margin is not None:
                log_prob[row] = known.margin
        rows = [row for row in rows if log.get(keys[row]) is None]
    batches = length_batches([len(encoded[row].ids) for row in rows], batch_size)
    for batch in tqdm(batches, desc="choose", disable=not progress, leave=False):
        some = [rows[i] for i in batch]
        with torch.no_grad(), gate.attach(model) if gate else nullcontext():
            log_prob[some] = answer_log_probs(model, [encoded[row] for row in some]).double().cpu().numpy()
        if log is not None:
            for row in some:
                answer = Answer(examples[row].answer, float(log_prob[row]))
                log.add(keys[row], "choose", examples[row].id, "gate" if gate else "vanilla", answer)
    n_tokens = np.array([e.answer[1] - e.continuation for e in encoded])

    def margin(values: Float[np.ndarray, " N"], pair: tuple[list[int], list[int]]) -> float:
        return float(values[pair[0]].max() - values[pair[1]].max())

    return [
        Choice(
            group=examples[pair[0][0]].group,
            question=examples[pair[0][0]].question,
            margin=margin(log_prob, pair),
            margin_per_token=margin(log_prob / n_tokens, pair),
            mass=float(np.exp(log_prob[pair[0]] - np.logaddexp.reduce(log_prob[pair[0] + pair[1]])).sum()),
        )
        for pair in pairs
    ]
